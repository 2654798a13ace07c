//! The library under test.

use std::path::PathBuf;

use native_torch::eval::libtorch;

/// The library that `cargo build` put beside the tests.
pub fn library() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join("libnative_torch_libtorch.so")
}

/// Opens it in this process's own copy of the engine.
#[allow(dead_code, reason = "the C ABI has another one")]
pub fn open() -> libtorch::Info {
    libtorch::open(Some(&library())).unwrap()
}
