//! Zip archives, byte for byte.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| native_torch_fuzz::use_up(bytes.to_vec()));
