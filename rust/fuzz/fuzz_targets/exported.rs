//! Programs of torch.export: the JSON of a program, with weights of a fixed size beside it.
#![no_main]

libfuzzer_sys::fuzz_target!(|program: &[u8]| {
    let config = br#"{"config": {"0.weight": {"path_name": "weight_0", "is_param": true, "use_pickle": false, "tensor_meta": {"dtype": 7,
        "sizes": [{"as_int": 2}, {"as_int": 3}], "strides": [{"as_int": 3}, {"as_int": 1}], "storage_offset": {"as_int": 0}, "layout": 7}},
        "0.bias": {"path_name": "weight_0", "is_param": true, "use_pickle": false, "tensor_meta": {"dtype": 7, "sizes": [{"as_int": 2}],
        "strides": [{"as_int": 1}], "storage_offset": {"as_int": 1}, "layout": 7}}}}"#;
    native_torch_fuzz::use_up(native_torch_fuzz::zip(&[
        ("models/model.json", program),
        ("data/weights/model_weights_config.json", config),
        ("data/weights/weight_0", &[0x3f; 24]),
        ("data/constants/model_constants_config.json", br#"{"config": {}}"#),
    ]));
});
