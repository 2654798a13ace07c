//! The C interface between the backend and its CUDA part. Both compile this file.

use std::ffi::{c_char, c_void};

/// Launches the kernels that are recorded; whether all were.
pub type Launch = unsafe extern "C" fn(context: *mut c_void) -> bool;

/// The functions of the library, which its function `native_torch_cuda` gives: it takes nothing, and gives NULL where the
/// library was built without CUDA's headers.
#[repr(C)]
pub struct Graphs {
    /// Why the last call of this thread failed; valid until its next one.
    pub message: unsafe extern "C" fn() -> *const c_char,
    /// Runs `launch` on the device, and again to record the kernels that it launches there, all of which must be on the
    /// stream that is current for it. NULL where something fails or cannot be recorded. Meanwhile no other thread may use
    /// a CUDA device.
    pub record: unsafe extern "C" fn(device: i32, launch: Launch, context: *mut c_void) -> *mut c_void,
    /// Launches what was recorded, on the current stream; whether that was done.
    pub replay: unsafe extern "C" fn(graph: *mut c_void) -> bool,
    /// Frees a recording, after all tensors that it writes.
    pub destroy: unsafe extern "C" fn(graph: *mut c_void),
}
