//! The libtorch backend: modules of TorchScript, their values and derivatives, behind a table of C functions that the
//! engine opens on demand.
//!
//! Neither a panic nor a C++ exception leaves a function of the table.
#![deny(missing_docs)]

mod cpp;
mod cuda;
mod function;
mod precision;
#[path = "../../native-torch/src/eval/libtorch/table.rs"]
mod table;

use std::{
    cell::RefCell,
    ffi::{CStr, CString, c_char, c_void},
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
    sync::OnceLock,
};

use function::{Failure, Function, Outcome};
use tch::Kind;

use table::{Request, TABLE_VERSION, Table, Visit, VisitParameter};

thread_local! {
    static MESSAGE: RefCell<CString> = RefCell::default();
}

/// What `body` gives; `failed` where it fails or panics, and the reason in `MESSAGE`.
fn guard<T>(failed: T, body: impl FnOnce() -> Outcome<T>) -> T {
    let result = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(Failure(format!("the libtorch backend panicked: {}", text.unwrap_or("for no reason that it tells"))))
    });
    result.unwrap_or_else(|Failure(message)| {
        let message = CString::new(message.replace('\0', " ")).unwrap_or_default();
        MESSAGE.with(|last| *last.borrow_mut() = message);
        failed
    })
}

unsafe extern "C" fn message() -> *const c_char {
    MESSAGE.with(|last| last.borrow().as_ptr())
}

unsafe extern "C" fn cuda_devices() -> u32 {
    guard(0, || Ok(cuda::devices()))
}

unsafe extern "C" fn operation(name: *const c_char, context: *mut c_void, visit: VisitParameter) -> u32 {
    guard(0, || {
        // SAFETY: the caller gives a text, and a context that `visit` takes.
        unsafe { cpp::operation(CStr::from_ptr(name), context, visit) }?;
        Ok(1)
    })
}

unsafe extern "C" fn compile(request: *const Request) -> *mut c_void {
    guard(ptr::null_mut(), || {
        // SAFETY: the caller gives a request that is valid during the call.
        let function = unsafe { Function::compile(&*request) }?;
        Ok(Box::into_raw(Box::new(function)).cast())
    })
}

unsafe extern "C" fn destroy(module: *mut c_void) {
    guard((), || {
        // SAFETY: the caller gives back what `compile` gave, once.
        drop(unsafe { Box::from_raw(module.cast::<Function>()) });
        Ok(())
    });
}

unsafe extern "C" fn outputs(module: *const c_void, context: *mut c_void, visit: Visit) -> u32 {
    guard(0, || {
        // SAFETY: the caller gives what `compile` gave, and a context that `visit` takes.
        unsafe { visit_all(&(*module.cast::<Function>()).outputs, context, visit) };
        Ok(1)
    })
}

unsafe extern "C" fn parameters(module: *const c_void, context: *mut c_void, visit: Visit) -> u32 {
    guard(0, || {
        // SAFETY: as for `outputs`.
        unsafe { visit_all((*module.cast::<Function>()).parameters()?, context, visit) };
        Ok(1)
    })
}

unsafe fn visit_all<'a>(values: impl IntoIterator<Item = &'a function::Signature>, context: *mut c_void, visit: Visit) {
    for value in values {
        // SAFETY: the pointers live during the call; the context is the caller's.
        unsafe { visit(context, value.name.as_ptr(), value.shape.as_ptr(), value.shape.len()) };
    }
}

unsafe extern "C" fn call(
    module: *const c_void,
    kind: u32,
    threads: u32,
    is_double: u32,
    x: *const c_void,
    a: *const c_void,
    b: *const c_void,
    out: *mut c_void,
) -> u32 {
    guard(0, || {
        let numbers = if is_double != 0 { Kind::Double } else { Kind::Float };
        // SAFETY: the caller gives what `compile` gave, and arrays of the lengths that the kind asks for.
        unsafe { (*module.cast::<Function>()).call(kind, threads, numbers, [x, a, b], out) }?;
        Ok(1)
    })
}

/// The functions of the backend, valid for ever.
#[unsafe(no_mangle)]
pub extern "C" fn native_torch_libtorch() -> *const Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        let (built_for, libtorch) = cpp::versions();
        if built_for == libtorch {
            cpp::configure();
        }
        Table {
            version: TABLE_VERSION,
            libtorch,
            built_for,
            message,
            cuda_devices,
            operation,
            compile,
            destroy,
            outputs,
            parameters,
            call,
        }
    })
}
