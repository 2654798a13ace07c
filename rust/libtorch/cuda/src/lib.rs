//! CUDA graphs: the functions of `cpp/graphs.cpp` behind a table. What they need is libtorch's CUDA part, which is not
//! there on every machine, so that they are a library of their own.
#![deny(missing_docs)]

#[cfg_attr(not(has_cuda), allow(dead_code))]
mod table;

use table::Graphs;

#[cfg(has_cuda)]
mod cpp {
    use std::ffi::{c_char, c_void};

    use super::table::Launch;

    unsafe extern "C" {
        pub fn ntc_message() -> *const c_char;
        pub fn ntc_record(device: i32, launch: Launch, context: *mut c_void) -> *mut c_void;
        pub fn ntc_replay(graph: *mut c_void) -> bool;
        pub fn ntc_destroy(graph: *mut c_void);
    }
}

/// The functions, valid for ever; NULL where there are none.
#[unsafe(no_mangle)]
pub extern "C" fn native_torch_cuda() -> *const Graphs {
    #[cfg(has_cuda)]
    {
        static GRAPHS: Graphs = Graphs {
            message: cpp::ntc_message,
            record: cpp::ntc_record,
            replay: cpp::ntc_replay,
            destroy: cpp::ntc_destroy,
        };
        &raw const GRAPHS
    }
    #[cfg(not(has_cuda))]
    std::ptr::null()
}
