//! Status codes, the last error of each thread, and the wrapper around every call.

use std::{
    cell::{Cell, RefCell},
    ffi::{CString, c_char},
    mem::MaybeUninit,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

use engine::{Error, ErrorKind, Result};

use crate::types::required;

/// What became of a call. Codes may be added: treat one that you do not know as an error.
#[repr(i32)]
#[must_use]
#[non_exhaustive]
#[allow(non_camel_case_types, clippy::upper_case_acronyms)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NtStatus {
    /// All went well.
    NT_OK = 0,
    /// An argument is wrong: NULL, a length, a shape, a constant.
    NT_ERROR_ARGUMENT = 1,
    /// The operating system refused to read or write.
    NT_ERROR_IO = 2,
    /// A file is malformed: truncated, contradicts itself, or claims more than it holds.
    NT_ERROR_FORMAT = 3,
    /// A file or model is well formed, but asks for something that is not there.
    NT_ERROR_UNSUPPORTED = 4,
    /// A solver failed for a reason of its own.
    NT_ERROR_SOLVER = 5,
    /// A defect of this library. Workspaces that took part must not be used again; nothing else is affected.
    NT_ERROR_INTERNAL = 6,
}

impl From<ErrorKind> for NtStatus {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Argument => NtStatus::NT_ERROR_ARGUMENT,
            ErrorKind::Io => NtStatus::NT_ERROR_IO,
            ErrorKind::Format => NtStatus::NT_ERROR_FORMAT,
            ErrorKind::Unsupported => NtStatus::NT_ERROR_UNSUPPORTED,
            ErrorKind::Solver => NtStatus::NT_ERROR_SOLVER,
            _ => NtStatus::NT_ERROR_INTERNAL,
        }
    }
}

thread_local! {
    static LAST_ERROR: RefCell<Option<CString>> = const { RefCell::new(None) };
    static PANIC: Cell<Option<String>> = const { Cell::new(None) };
}

/// The message of the last call on this thread that did not return `NT_OK`; an empty string if there was none.
///
/// UTF-8, ends with NUL, belongs to the library, and is valid until the next call on this thread that fails.
#[unsafe(no_mangle)]
pub extern "C" fn nt_last_error() -> *const c_char {
    let message = LAST_ERROR.try_with(|last| last.borrow().as_ref().map(|message| message.as_ptr()));
    message.ok().flatten().unwrap_or(c"".as_ptr())
}

/// Panics on purpose and returns `NT_ERROR_INTERNAL`: for hosts and language bindings that want to see that a defect of
/// this library does not end their process.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_check_panic() -> NtStatus {
    guard(|| panic!("this panic was asked for"))
}

/// Runs the body of a call: an error becomes its status and message, a panic is caught and becomes `NT_ERROR_INTERNAL`.
pub fn guard(body: impl FnOnce() -> Result<()>) -> NtStatus {
    keep_panics_quiet();
    // The body's captures are arguments, which it leaves behind; a workspace knows by its lock that a panic passed.
    match panic::catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => NtStatus::NT_OK,
        Ok(Err(error)) => fail(&error),
        Err(payload) => {
            // Dropping a payload of another type might panic in turn.
            if !payload.is::<&str>() && !payload.is::<String>() {
                std::mem::forget(payload);
            }
            let what = PANIC.try_with(Cell::take).ok().flatten();
            let what = what.unwrap_or_else(|| "a panic of unknown origin".to_owned());
            fail(&Error::internal(format!("a defect of native-torch (please report it): {what}")))
        }
    }
}

/// Runs a constructor. `out` becomes NULL where it fails.
pub fn construct<T>(out: Option<&mut MaybeUninit<Option<Box<T>>>>, make: impl FnOnce() -> Result<T>) -> NtStatus {
    guard(|| {
        let out = required(out, "out")?.write(None);
        *out = Some(Box::new(make()?));
        Ok(())
    })
}

fn fail(error: &Error) -> NtStatus {
    let message = CString::new(error.message().replace('\0', "\\0")).unwrap_or_default();
    // While a thread ends, its message may be gone already; the status says enough.
    let _ = LAST_ERROR.try_with(|last| last.replace(Some(message)));
    error.kind().into()
}

/// Instead of printing a panic, keeps its message and place for the error. The standard library in this file is not the
/// host's, so that this hook sees no panics but ours.
fn keep_panics_quiet() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        panic::set_hook(Box::new(|info| {
            let payload = info.payload();
            let text = payload.downcast_ref::<&str>().copied();
            let message = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
            let place = info.location().map(|place| format!(" at {}:{}", place.file(), place.line()));
            let _ = PANIC.try_with(|last| last.set(Some(format!("{message}{}", place.unwrap_or_default()))));
        }));
    });
}
