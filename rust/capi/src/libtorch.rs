//! The libtorch backend as a whole.

use std::{
    ffi::{CString, c_char},
    mem::MaybeUninit,
    path::Path,
    sync::OnceLock,
};

use engine::eval::libtorch;

use crate::{
    status::{NtStatus, guard},
    types::{NtStr, give, optional_text},
};

/// The libtorch backend that is open.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NtLibtorch {
    /// The version of libtorch, such as `2.13.0`; valid for ever.
    pub version: *const c_char,
    /// The path of the backend's library; valid for ever.
    pub path: *const c_char,
    /// How many CUDA devices it can use.
    pub cuda_devices: usize,
}

/// Opens the libtorch backend, which is a library of its own, and says what it is. A process opens it once; without this
/// call, that happens when a function is first compiled for it.
///
/// `path` is the library `libnative_torch_libtorch.so`; NULL stands for what the environment variable
/// NATIVE_TORCH_LIBTORCH names, and without that for the library beside this one or beside the program.
///
/// `NT_ERROR_ARGUMENT`: another one is open already. `NT_ERROR_UNSUPPORTED`: it is not there, libtorch is missing, or either
/// has another version; the message says what to do.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_libtorch_open(path: NtStr, out: Option<&mut MaybeUninit<NtLibtorch>>) -> NtStatus {
    static TEXTS: OnceLock<[CString; 2]> = OnceLock::new();
    guard(|| {
        let info = libtorch::open(optional_text(path, "path")?.map(Path::new))?;
        let owned = |text: &str| CString::new(text).unwrap_or_default();
        let [version, path] = TEXTS.get_or_init(|| [owned(&info.version), owned(&info.path.to_string_lossy())]);
        give(out, NtLibtorch { version: version.as_ptr(), path: path.as_ptr(), cuda_devices: info.cuda_devices })
    })
}
