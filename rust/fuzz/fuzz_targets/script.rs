//! Serialized code, as `code/__torch__.py` of a TorchScript archive that is right in all else.
#![no_main]

/// A module `__torch__.M` with a weight of 2 x 3, a list, a number and a module of its own class.
const DATA: &[u8] = b"\x80\x02c__torch__\nM\nq\x00)\x81}(X\x06\x00\x00\x00weightctorch._utils\n_rebuild_tensor_v2\n(\
    (X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQK\x00(K\x02K\x03t(K\x03K\x01t\
    \x89ccollections\nOrderedDict\n)RtRX\x08\x00\x00\x00training\x88X\x04\x00\x00\x00list](K\x01K\x02eX\x05\x00\x00\x00inner\
    h\x00)\x81}(X\x01\x00\x00\x00nK\x03ubub.";

libfuzzer_sys::fuzz_target!(|code: &[u8]| {
    let storage = [0x3f; 24];
    let records = [
        ("data.pkl", DATA),
        ("data/0", &storage[..]),
        ("constants.pkl", b"\x80\x02)."),
        ("code/__torch__.py", code),
        ("version", b"3\n"),
    ];
    native_torch_fuzz::use_up(native_torch_fuzz::zip(&records));
});
