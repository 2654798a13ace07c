//! The libtorch backend: its library, opened when it is first asked for, and the modules that it compiles.
//!
//! The engine links nothing of libtorch. `libnative_torch_libtorch` is opened with `RTLD_DEEPBIND`, so that what libtorch
//! brings (LLVM, BLAS, OpenMP) and what the host brings do not meet.

mod library;
mod module;
mod table;

use std::path::{Path, PathBuf};

use library::Library;
pub(super) use module::{Input, Module};
pub(super) use table::kind;

use crate::{Result, load::Parameter};

/// What the loaded backend is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Where its library is.
    pub path: PathBuf,
    /// The version of libtorch, as `2.13.0`.
    pub version: String,
    /// How many CUDA devices it can use.
    pub cuda_devices: usize,
}

/// Opens the library of the backend, which is done once in a process and otherwise happens when a function is first
/// compiled for it.
///
/// It is the file `path`; without one, that which the environment variable `NATIVE_TORCH_LIBTORCH` names; without that,
/// `libnative_torch_libtorch.so` in the folder of this library or of the program. Fails with
/// [`ErrorKind::Unsupported`](crate::ErrorKind) where there is none, where libtorch is missing, and where either has
/// another version, and says what to do; with [`ErrorKind::Argument`](crate::ErrorKind) where another file is open already.
pub fn open(path: Option<&Path>) -> Result<Info> {
    Library::get(path).map(Library::info)
}

/// The operations of libtorch by their names.
pub(super) fn declared() -> Result<impl Fn(&str) -> Option<Vec<Parameter>>> {
    let library = Library::get(None)?;
    Ok(|name: &str| library.operation(name))
}
