//! The legacy stream, behind its magic number.
#![no_main]

const MAGIC: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // Most mutations of the magic number lead nowhere; those that keep it in another protocol are kept.
    let is_whole = bytes.starts_with(b"\x80") || bytes.starts_with(b"L");
    let front = if is_whole { &[] } else { MAGIC };
    native_torch_fuzz::use_up([front, bytes].concat());
});
