//! The C interface between the engine and the library of the libtorch backend. Both compile this file.

use std::ffi::{c_char, c_void};

/// The version of [`Table`] and of all that it points to.
pub const TABLE_VERSION: u32 = 3;

/// What is computed; lengths for each point.
pub mod kind {
    /// f: `out` has length m.
    pub const VALUE: u32 = 0;
    /// J, row-major: `out` has length m n.
    pub const JACOBIAN: u32 = 1;
    /// J v: `a` is v, of length n; `out` has length m.
    pub const JVP: u32 = 2;
    /// J'u: `a` is u, of length m; `out` has length n.
    pub const VJP: u32 = 3;
    /// The Hessian of mu'f, both triangles: `a` is mu, of length m; `out` has length n n.
    pub const HESSIAN: u32 = 4;
    /// The Hessian of mu'f times v: `a` is mu, `b` is v; `out` has length n.
    pub const HVP: u32 = 5;
    /// The derivatives of u'f by the parameters: `a` is u; `out` has the length of all parameters.
    pub const PARAMETERS: u32 = 6;
}

/// A module to compile.
#[repr(C)]
pub struct Request {
    /// A TorchScript archive, which is read before the call returns.
    pub archive: *const u8,
    /// Its length in bytes.
    pub length: usize,
    /// -1 for the CPU, else the number of a CUDA device.
    pub device: i32,
    /// 1 to compute in double precision, 0 in single.
    pub is_double: u32,
    /// The number of input tensors.
    pub inputs: usize,
    /// The ranks of the inputs.
    pub ranks: *const usize,
    /// The sizes of all inputs.
    pub sizes: *const i64,
    /// For each input its integers, NULL where it is an input of floating-point numbers.
    pub integers: *const *const i64,
}

/// Takes the name, the shape and the rank of a tensor. The pointers are valid during the call.
pub type Visit = unsafe extern "C" fn(context: *mut c_void, name: *const c_char, sizes: *const i64, rank: usize);

/// Takes the name of a parameter and whether it is a float (or floats) and given by name alone: 1 or 0. The name is valid
/// during the call.
pub type VisitParameter =
    unsafe extern "C" fn(context: *mut c_void, name: *const c_char, is_float: u32, is_keyword: u32);

/// The functions of the backend, which its function `native_torch_libtorch` gives: it takes nothing, and the table is valid
/// for ever. Those that return 0 fail, and `message` then says why.
#[repr(C)]
pub struct Table {
    /// [`TABLE_VERSION`]; nothing else is read where it differs.
    pub version: u32,
    /// libtorch's version at run time: major, minor and patch, a byte each.
    pub libtorch: u32,
    /// The version that the library was built for.
    pub built_for: u32,
    /// Why the last call of this thread failed; valid until its next one.
    pub message: unsafe extern "C" fn() -> *const c_char,
    /// The number of CUDA devices that can be used.
    pub cuda_devices: unsafe extern "C" fn() -> u32,
    /// Visits the parameters of the operation of a name like `aten::add.Tensor`, in order; 0 where there is none.
    pub operation: unsafe extern "C" fn(name: *const c_char, context: *mut c_void, visit: VisitParameter) -> u32,
    /// Compiles a module; NULL on failure. Any number of threads may use it at once.
    pub compile: unsafe extern "C" fn(request: *const Request) -> *mut c_void,
    /// Frees a module.
    pub destroy: unsafe extern "C" fn(module: *mut c_void),
    /// Visits the outputs, in order.
    pub outputs: unsafe extern "C" fn(module: *const c_void, context: *mut c_void, visit: Visit) -> u32,
    /// Visits the parameters, in order.
    pub parameters: unsafe extern "C" fn(module: *const c_void, context: *mut c_void, visit: Visit) -> u32,
    /// Computes at one point on so many threads. The numbers are in double precision, or in single where `is_double` is 0,
    /// whatever the module's is.
    pub call: unsafe extern "C" fn(
        module: *const c_void,
        kind: u32,
        threads: u32,
        is_double: u32,
        x: *const c_void,
        a: *const c_void,
        b: *const c_void,
        out: *mut c_void,
    ) -> u32,
}
