//! What `cpp/module.cpp` offers.

use std::{
    ffi::{CStr, CString, c_char, c_int, c_void},
    ptr::{self, NonNull},
};

use tch::Tensor;
use torch_sys::C_tensor;

use crate::{
    function::{Failure, Outcome},
    table::VisitParameter,
};

#[repr(C)]
struct Opaque(c_void);

type Give = unsafe extern "C" fn(context: *mut c_void, name: *const c_char, tensor: *mut C_tensor);

unsafe extern "C" {
    fn ntl_message() -> *const c_char;
    fn ntl_compiled_for() -> u32;
    fn ntl_loaded() -> u32;
    fn ntl_configure();
    fn ntl_set_default(is_double: bool);
    fn ntl_operation(name: *const c_char, context: *mut c_void, visit: VisitParameter) -> bool;
    fn ntl_load(data: *const u8, count: usize, device: c_int, is_double: bool) -> *mut Opaque;
    fn ntl_free(module: *mut Opaque);
    fn ntl_parameters(module: *const Opaque, context: *mut c_void, give: Give) -> bool;
    fn ntl_forward(
        module: *const Opaque,
        inputs: *const *const C_tensor,
        count: usize,
        order: u32,
        context: *mut c_void,
        give: Give,
    ) -> bool;
    fn ntl_gradient(
        output: *const C_tensor,
        weight: *const C_tensor,
        inputs: *const *const C_tensor,
        count: usize,
        differentiable: bool,
        mapped_over: bool,
        gradients: *mut *mut C_tensor,
    ) -> bool;
}

/// A module of TorchScript.
pub struct Module(NonNull<Opaque>);

// SAFETY: forward changes nothing of a module in evaluation mode, and libtorch's executor locks what it keeps.
unsafe impl Send for Module {}
// SAFETY: as above.
unsafe impl Sync for Module {}

/// Named tensors.
pub type Named = Vec<(CString, Tensor)>;

fn checked(done: bool) -> Outcome<()> {
    if done {
        return Ok(());
    }
    // SAFETY: the message of this thread is valid until its next failure.
    let message = unsafe { CStr::from_ptr(ntl_message()) };
    Err(Failure(message.to_string_lossy().trim().to_owned()))
}

unsafe extern "C" fn push(context: *mut c_void, name: *const c_char, tensor: *mut C_tensor) {
    // SAFETY: the context is the list that `collect` passes on; the tensor is ours from now on.
    unsafe { (*context.cast::<Named>()).push((CStr::from_ptr(name).to_owned(), Tensor::from_ptr(tensor))) };
}

/// The versions of libtorch that this was compiled for and that is loaded.
pub fn versions() -> (u32, u32) {
    // SAFETY: they read constants.
    unsafe { (ntl_compiled_for(), ntl_loaded()) }
}

/// Sets what holds for the whole library.
pub fn configure() {
    // SAFETY: it sets flags of libtorch's context.
    unsafe { ntl_configure() }
}

/// Sets in which precision operations make floating-point numbers of integers alone.
pub fn set_default(is_double: bool) {
    // SAFETY: it sets a number that libtorch reads.
    unsafe { ntl_set_default(is_double) }
}

/// Visits the parameters of an operation.
///
/// # Safety
/// The context must be one that `visit` takes.
pub unsafe fn operation(name: &CStr, context: *mut c_void, visit: VisitParameter) -> Outcome<()> {
    // SAFETY: the name ends with NUL; the caller's promise.
    checked(unsafe { ntl_operation(name.as_ptr(), context, visit) })
}

impl Module {
    /// Loads an archive.
    pub fn load(archive: &[u8], device: c_int, is_double: bool) -> Outcome<Self> {
        // SAFETY: the archive outlives the call, which copies what it keeps.
        let module = unsafe { ntl_load(archive.as_ptr(), archive.len(), device, is_double) };
        checked(!module.is_null())?;
        Ok(Self(NonNull::new(module).expect("it was checked")))
    }

    /// The parameters of floating-point numbers.
    pub fn parameters(&self) -> Outcome<Named> {
        let mut found = Named::new();
        // SAFETY: `push` takes a list.
        checked(unsafe { ntl_parameters(self.0.as_ptr(), ptr::from_mut(&mut found).cast(), push) })?;
        Ok(found)
    }

    /// The results of forward under the keys that lead to them, to be differentiated so often, twice at most.
    pub fn forward(&self, inputs: &[Tensor], order: u32) -> Outcome<Named> {
        let mut found = Named::new();
        let inputs: Vec<*const C_tensor> = inputs.iter().map(Tensor::as_ptr).collect();
        let context = ptr::from_mut(&mut found).cast();
        // SAFETY: the tensors live during the call, and `push` takes a list.
        let done = unsafe { ntl_forward(self.0.as_ptr(), inputs.as_ptr(), inputs.len(), order, context, push) };
        checked(done)?;
        Ok(found)
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // SAFETY: it is used no more.
        unsafe { ntl_free(self.0.as_ptr()) }
    }
}

/// How a gradient is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// For its numbers.
    Plain,
    /// To be differentiated again.
    Differentiable,
    /// For its numbers, with a first dimension of the weight in front: for all of its entries at once.
    Mapped,
}

/// The derivatives of the sum of the products of `output` and `weight` by each of `inputs`, which `output` may not depend
/// on. The graph is kept.
pub fn gradient(output: &Tensor, weight: &Tensor, inputs: &[&Tensor], mode: Mode) -> Outcome<Vec<Option<Tensor>>> {
    if !output.requires_grad() || inputs.is_empty() {
        return Ok(inputs.iter().map(|_| None).collect());
    }
    let pointers: Vec<*const C_tensor> = inputs.iter().map(|tensor| tensor.as_ptr()).collect();
    let mut found = vec![ptr::null_mut(); inputs.len()];
    // SAFETY: the tensors live during the call, and there is room for each gradient.
    checked(unsafe {
        ntl_gradient(
            output.as_ptr(),
            weight.as_ptr(),
            pointers.as_ptr(),
            pointers.len(),
            mode == Mode::Differentiable,
            mode == Mode::Mapped,
            found.as_mut_ptr(),
        )
    })?;
    // SAFETY: those that are not NULL are ours.
    Ok(found.into_iter().map(|found| (!found.is_null()).then(|| unsafe { Tensor::from_ptr(found) })).collect())
}
