//! A module that the backend compiled, for inputs of given shapes.
#![allow(unsafe_code)]

use std::{
    any::TypeId,
    ffi::{CStr, c_char, c_void},
    ptr::{self, NonNull},
};

use super::{
    super::{
        Device, Order, Signature,
        call::Call,
        matrix::{Form, Matrices},
    },
    library::Library,
    table::{Request, Visit, kind},
};
use crate::{
    Error, Result,
    tensor::{DType, Real},
};

/// An input of a module: its shape, and its numbers where they are integers, which never change.
pub struct Input<'a> {
    pub shape: &'a [usize],
    pub integers: Option<&'a [i64]>,
}

/// A compiled module.
pub struct Module {
    library: &'static Library,
    handle: NonNull<c_void>,
    pub dtype: DType,
    pub n: usize,
    pub m: usize,
    pub outputs: Vec<Signature>,
    pub parameters: Vec<Signature>,
}

// SAFETY: the table promises that any number of threads may use a module at once.
unsafe impl Send for Module {}
// SAFETY: as above.
unsafe impl Sync for Module {}

impl Drop for Module {
    fn drop(&mut self) {
        // SAFETY: the handle is the backend's, and is used no more.
        unsafe { (self.library.table.destroy)(self.handle.as_ptr()) }
    }
}

unsafe extern "C" fn push(context: *mut c_void, name: *const c_char, sizes: *const i64, rank: usize) {
    // SAFETY: the context is the list that `listed` passes on; the backend promises the others for this call.
    let (list, name) = unsafe { (&mut *context.cast::<Vec<Signature>>(), CStr::from_ptr(name)) };
    // SAFETY: as above.
    let sizes = (0..rank).map(|i| unsafe { *sizes.add(i) } as usize).collect();
    list.push(Signature { name: name.to_string_lossy().into_owned(), shape: sizes });
}

type List = unsafe extern "C" fn(*const c_void, *mut c_void, Visit) -> u32;

fn numel(values: &[Signature]) -> usize {
    values.iter().map(|value| value.shape.iter().product::<usize>()).sum()
}

impl Module {
    /// Compiles a TorchScript archive.
    pub fn compile(archive: &[u8], inputs: &[Input], dtype: DType, device: Device) -> Result<Self> {
        let library = Library::get(None)?;
        let ranks: Vec<usize> = inputs.iter().map(|input| input.shape.len()).collect();
        let sizes: Vec<i64> = inputs.iter().flat_map(|input| input.shape.iter().map(|&size| size as i64)).collect();
        let pointer = |input: &Input| input.integers.map_or(ptr::null(), <[i64]>::as_ptr);
        let integers: Vec<*const i64> = inputs.iter().map(pointer).collect();
        let request = Request {
            archive: archive.as_ptr(),
            length: archive.len(),
            device: match device {
                Device::Cpu => -1,
                Device::Cuda(index) => i32::from(index),
            },
            is_double: u32::from(dtype == DType::F64),
            inputs: inputs.len(),
            ranks: ranks.as_ptr(),
            sizes: sizes.as_ptr(),
            integers: integers.as_ptr(),
        };
        // SAFETY: all pointers of the request live during the call, and have the lengths that it says.
        let handle = unsafe { (library.table.compile)(&raw const request) };
        let Some(handle) = NonNull::new(handle) else { return Err(failure(library)) };
        let floats = inputs.iter().filter(|input| input.integers.is_none());
        let n = floats.map(|input| input.shape.iter().product::<usize>()).sum();
        let (outputs, parameters) = (Vec::new(), Vec::new());
        let mut module = Self { library, handle, dtype, n, m: 0, outputs, parameters };
        module.outputs = module.listed(library.table.outputs)?;
        module.parameters = module.listed(library.table.parameters)?;
        module.m = numel(&module.outputs);
        Ok(module)
    }

    fn listed(&self, list: List) -> Result<Vec<Signature>> {
        let mut found: Vec<Signature> = Vec::new();
        // SAFETY: `push` takes such a list, and the handle is the backend's.
        let done = unsafe { list(self.handle.as_ptr(), ptr::from_mut(&mut found).cast(), push) };
        if done == 0 { Err(failure(self.library)) } else { Ok(found) }
    }

    /// The numbers of `a`, `b` and the result at one point.
    fn lengths(&self, what: u32) -> [usize; 3] {
        let (n, m) = (self.n, self.m);
        match what {
            kind::VALUE => [0, 0, m],
            kind::JACOBIAN => [0, 0, m * n],
            kind::JVP => [n, 0, m],
            kind::VJP => [m, 0, n],
            kind::HESSIAN => [m, 0, n * n],
            kind::HVP => [m, n, n],
            _ => [m, 0, self.parameter_count()],
        }
    }

    /// The number of elements of all parameters.
    pub fn parameter_count(&self) -> usize {
        numel(&self.parameters)
    }

    /// What the native engine's plans compute, one point after another.
    pub fn call<N: Real>(
        &self,
        threads: usize,
        call: Call,
        points: usize,
        arguments: [&[N]; 3],
        out: &mut [N],
    ) -> Result<()> {
        let compute = |what, out: &mut [N]| self.compute(what, threads, points, arguments, out);
        let (what, form, structure, rows) = match call {
            Call::Value => return compute(kind::VALUE, out),
            Call::Jvp => return compute(kind::JVP, out),
            Call::Vjp => return compute(kind::VJP, out),
            Call::Hvp => return compute(kind::HVP, out),
            Call::Jacobian(Form::Dense(Order::RowMajor), ..) => return compute(kind::JACOBIAN, out),
            Call::Hessian(Form::Dense(_), ..) => return compute(kind::HESSIAN, out),
            Call::Jacobian(form, _, structure) => (kind::JACOBIAN, form, structure, self.m),
            Call::Hessian(form, _, structure) => (kind::HESSIAN, form, structure, self.n),
        };
        let each = rows * self.n;
        let mut dense = vec![N::ZERO; points * each];
        compute(what, &mut dense)?;
        let mut matrices = Matrices::zeros(out, form, structure);
        for (point, dense) in dense.chunks_exact(each.max(1)).enumerate() {
            for row in 0..rows {
                matrices.pick(point, row, |column| Some(dense[row * self.n + column]));
            }
        }
        Ok(())
    }

    /// Computes one of [`kind`] at each of so many points, one after another.
    pub fn compute<N: Real>(
        &self,
        what: u32,
        threads: usize,
        points: usize,
        [x, a, b]: [&[N]; 3],
        out: &mut [N],
    ) -> Result<()> {
        let [of_a, of_b, of_out] = self.lengths(what);
        let given = [(x.len(), self.n), (a.len(), of_a), (b.len(), of_b), (out.len(), of_out)];
        if given.iter().any(|&(found, each)| found != points * each) {
            return Err(Error::internal("a call of the libtorch backend has arrays of wrong lengths"));
        }
        let is_double = TypeId::of::<N>() == TypeId::of::<f64>();
        assert!(is_double || TypeId::of::<N>() == TypeId::of::<f32>(), "f64 and f32 are the only real types");
        for point in 0..points {
            let part = |all: &[N], each: usize| all[point * each..][..each].as_ptr().cast();
            // SAFETY: the arrays have the lengths of one point (checked above) and the precision that is told, and the
            // handle is the backend's.
            let done = unsafe {
                (self.library.table.call)(
                    self.handle.as_ptr(),
                    what,
                    threads as u32,
                    u32::from(is_double),
                    part(x, self.n),
                    part(a, of_a),
                    part(b, of_b),
                    out[point * of_out..][..of_out].as_mut_ptr().cast(),
                )
            };
            if done == 0 {
                return Err(failure(self.library));
            }
        }
        Ok(())
    }
}

fn failure(library: &Library) -> Error {
    Error::unsupported(format!("libtorch: {}", library.message()))
}
