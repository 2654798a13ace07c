//! The versions of the library and of its interface.

use std::ffi::{CStr, c_char};

/// The version of this interface: of the functions, structs and constants in this header. It changes whenever code that
/// was compiled against an older header, or that declares the functions itself, would no longer work.
pub const NT_ABI_VERSION: u32 = 4;

/// `NT_ABI_VERSION` of the library that is loaded. Compare it with the header's before any other call.
#[unsafe(no_mangle)]
pub extern "C" fn nt_abi_version() -> u32 {
    NT_ABI_VERSION
}

/// The version of the library that is loaded, such as `0.1.0`: a string that is valid for ever.
#[unsafe(no_mangle)]
pub extern "C" fn nt_version() -> *const c_char {
    const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => c"",
    };
    VERSION.as_ptr()
}
