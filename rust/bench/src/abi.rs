//! The library as a C program sees it: opened from its file, called through pointers.

use std::{
    ffi::{CString, c_char, c_void},
    path::Path,
    ptr::null_mut,
};

use libloading::{Library, Symbol};

/// A borrowed array, as the header spells it.
#[repr(C)]
struct Slice<T> {
    data: *const T,
    length: usize,
}

/// A borrowed array to write to.
#[repr(C)]
struct SliceMut {
    data: *mut f64,
    length: usize,
}

fn read(values: &[f64]) -> Slice<f64> {
    Slice { data: values.as_ptr(), length: values.len() }
}

fn write(values: &mut [f64]) -> SliceMut {
    SliceMut { data: values.as_mut_ptr(), length: values.len() }
}

type Handle = *const c_void;

/// A compiled function behind the C ABI; it lives as long as the process.
pub struct Foreign {
    function: Handle,
    workspace: Handle,
    value: extern "C" fn(Handle, Handle, Slice<f64>, SliceMut) -> i32,
    jacobian: extern "C" fn(Handle, Handle, Slice<f64>, u32, SliceMut) -> i32,
    hessian: extern "C" fn(Handle, Handle, Slice<f64>, Slice<f64>, u32, SliceMut) -> i32,
}

/// Entries row by row.
const ROW_MAJOR: u32 = 0;

impl Foreign {
    /// Opens the library and compiles the model in f64 for one point of these sizes.
    pub fn open(library: &Path, model: &Path, sizes: &[usize]) -> Self {
        let name = CString::new(model.as_os_str().as_encoded_bytes()).expect("a path without zero bytes");
        // SAFETY: the functions have these signatures in `include/native_torch.h`; the pointers outlive the calls. The
        // library is never closed, so that its functions stay where they are.
        unsafe {
            let library: &'static Library = Box::leak(Box::new(Library::new(library).expect("the library opens")));
            let open: Symbol<extern "C" fn(*const c_char, *mut Handle) -> i32> = library.get(b"nt_model_open").unwrap();
            let compile: Symbol<extern "C" fn(Handle, Slice<usize>, u32, *mut Handle) -> i32> =
                library.get(b"nt_function_compile").unwrap();
            let create: Symbol<extern "C" fn(Handle, *mut Handle) -> i32> =
                library.get(b"nt_workspace_create").unwrap();
            let (mut model, mut function, mut workspace): (Handle, Handle, Handle) =
                (null_mut(), null_mut(), null_mut());
            assert_eq!(open(name.as_ptr(), &mut model), 0);
            let shape = Slice { data: sizes.as_ptr(), length: sizes.len() };
            assert_eq!(compile(model, shape, 0, &mut function), 0);
            assert_eq!(create(function, &mut workspace), 0);
            Self {
                function,
                workspace,
                value: *library.get(b"nt_function_value").unwrap(),
                jacobian: *library.get(b"nt_function_jacobian").unwrap(),
                hessian: *library.get(b"nt_function_hessian").unwrap(),
            }
        }
    }

    /// f at `x`.
    pub fn value(&self, x: &[f64], y: &mut [f64]) {
        assert_eq!((self.value)(self.function, self.workspace, read(x), write(y)), 0);
    }

    /// J at `x`, row-major.
    pub fn jacobian(&self, x: &[f64], jacobian: &mut [f64]) {
        assert_eq!((self.jacobian)(self.function, self.workspace, read(x), ROW_MAJOR, write(jacobian)), 0);
    }

    /// H of mu'f at `x`, row-major.
    pub fn hessian(&self, x: &[f64], mu: &[f64], hessian: &mut [f64]) {
        assert_eq!((self.hessian)(self.function, self.workspace, read(x), read(mu), ROW_MAJOR, write(hessian)), 0);
    }
}
