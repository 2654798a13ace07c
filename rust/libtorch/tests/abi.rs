//! The conformance suite on the libtorch backend through the C ABI: what is evaluated.

#[path = "../../capi/tests/abi/mod.rs"]
mod abi;
mod common;
#[path = "../../capi/tests/foreign/mod.rs"]
mod foreign;

use std::{
    ffi::{CStr, CString},
    mem::MaybeUninit,
    os::unix::ffi::OsStrExt,
    sync::Once,
};

use foreign::{C, Foreign};
use native_torch_conformance::suite;

/// What computes, once its library is open.
fn backend() -> &'static CStr {
    static OPENED: Once = Once::new();
    OPENED.call_once(|| {
        let library = CString::new(common::library().as_os_str().as_bytes()).unwrap();
        let mut found = MaybeUninit::uninit();
        // SAFETY: the path ends with NUL, and there is room for what the library is.
        assert_eq!(unsafe { (C.nt_libtorch_open)(library.as_ptr(), found.as_mut_ptr()) }, 0);
    });
    c"libtorch"
}

suite! { Foreign:
    models { values_are_those_of_torch, single_precision_is_that_of_torch, the_default_shape_holds_one_example,
             a_function_serves_many_threads }
    derivatives { jacobians_are_those_of_torch, products_are_those_of_torch, hessians_are_those_of_torch,
                  several_points_are_as_one_by_one }
    errors { wrong_lengths_are_refused, wrong_shapes_are_refused, foreign_workspaces_are_refused }
}
