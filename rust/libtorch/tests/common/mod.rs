//! The library under test.

use native_torch::eval::libtorch;

/// Opens the library that `cargo build` put beside the tests.
pub fn open() -> libtorch::Info {
    let test = std::env::current_exe().unwrap();
    let library = test.ancestors().nth(2).unwrap().join("libnative_torch_libtorch.so");
    libtorch::open(Some(&library)).unwrap()
}
