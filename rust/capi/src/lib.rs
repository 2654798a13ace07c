//! The C ABI: the library `libnative_torch`, whose header is `include/native_torch.h`.
//!
//! One file per handle. What holds for every function stands at the top of the header (`cbindgen.toml`).
#![deny(missing_docs)]
// Rust promises no layout for the `Option` of a struct around a `NonNull`, which is what `NtSlice` is; the tests in
// `types.rs` check it instead.
#![allow(improper_ctypes_definitions)]
// The attribute on each function is what puts `NT_MUST_USE` into the header.
#![allow(clippy::double_must_use)]

pub mod bounds;
pub mod formulation;
pub mod function;
pub mod libtorch;
pub mod model;
pub mod source;
pub mod status;
pub mod strings;
pub mod tensors;
pub mod types;
pub mod value;
pub mod version;
