//! Pickles, as `data.pkl` of an archive that is right in all else.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let storages = [0x3f; 256];
    let records = [
        ("data.pkl", bytes),
        ("data/0", &storages[..24]),
        ("data/1", &storages[..8]),
        ("data/2", &storages[..]),
        ("data/3", &storages[..64]),
        ("version", b"3\n"),
    ];
    native_torch_fuzz::use_up(native_torch_fuzz::zip(&records));
});
