//! A module for inputs of given shapes: values and derivatives at one point.

use std::{
    cell::Cell,
    ffi::{CString, c_int, c_void},
    slice,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use tch::{Device, Kind, TchError, Tensor};

use crate::{
    cpp::{self, Mode, Module},
    cuda::{self, Graphs},
    precision::Precision,
    table::{Request, kind},
};

/// Why a call failed.
#[derive(Debug)]
pub struct Failure(pub String);

/// What a call gives.
pub type Outcome<T> = Result<T, Failure>;

impl From<TchError> for Failure {
    fn from(error: TchError) -> Self {
        let text = error.to_string();
        // The rest is where libtorch's own code stood.
        let end = text.find("\nException raised from").unwrap_or(text.len());
        Self(text[..end].trim().to_owned())
    }
}

/// A tensor's name and sizes.
pub struct Signature {
    pub name: CString,
    pub shape: Vec<i64>,
}

impl Signature {
    fn numel(&self) -> i64 {
        self.shape.iter().product()
    }
}

/// What forward takes at one place.
enum Input {
    Floats(Vec<i64>),
    Integers(Tensor),
}

/// A module for inputs of given shapes.
pub struct Function {
    module: Module,
    device: Device,
    kind: Kind,
    n: i64,
    m: i64,
    inputs: Vec<Input>,
    pub outputs: Vec<Signature>,
    parameters: OnceLock<Vec<(Signature, Tensor)>>,
    /// Whether rows of derivatives can be computed together; not every operation of libtorch can.
    is_mapped: AtomicBool,
    /// On a CUDA device.
    graphs: Option<Graphs>,
}

/// Numbers that a call gives one after another: so many of a tensor, or zeros.
pub struct Part {
    numbers: Option<Tensor>,
    length: i64,
}

/// Takes the parts of what a call gives, in order.
pub type Give<'a> = dyn FnMut(Part) -> Outcome<()> + 'a;

/// Rows of derivatives that are computed together have this many numbers in all at most.
const ROWS: i64 = 1 << 16;

/// Lets this thread's calls use so many threads.
fn use_threads(threads: u32) {
    static LAST: AtomicU32 = AtomicU32::new(0);
    thread_local!(static MINE: Cell<u32> = const { Cell::new(0) });
    // One part of the setting is the process's, another the thread's.
    if LAST.swap(threads, Ordering::Relaxed) != threads || MINE.replace(threads) != threads {
        tch::set_num_threads(threads.try_into().unwrap_or(c_int::MAX));
    }
}

impl Function {
    /// Loads the archive, and runs it once to see what it gives.
    ///
    /// # Safety
    /// The request's pointers must be valid for what it says.
    pub unsafe fn compile(request: &Request) -> Outcome<Self> {
        use_threads(1);
        let _held = Precision::hold(request.is_double != 0);
        if request.device >= 0 {
            let devices = cuda::devices();
            if u32::try_from(request.device).is_ok_and(|index| index >= devices) {
                return Err(no_device(request.device, devices));
            }
        }
        let device = usize::try_from(request.device).map_or(Device::Cpu, Device::Cuda);
        // SAFETY: the caller's promise.
        let (archive, ranks) = unsafe { (list(request.archive, request.length), list(request.ranks, request.inputs)) };
        // SAFETY: as above.
        let (mut sizes, integers) =
            unsafe { (list(request.sizes, ranks.iter().sum()), list(request.integers, request.inputs)) };
        let mut inputs = Vec::new();
        for (&rank, &integers) in ranks.iter().zip(integers) {
            let (shape, rest) = sizes.split_at(rank);
            sizes = rest;
            inputs.push(if integers.is_null() {
                Input::Floats(shape.to_vec())
            } else {
                // SAFETY: the caller gives as many integers as the sizes say; they are copied.
                let blob =
                    unsafe { Tensor::f_from_blob(integers.cast(), shape, &strides(shape), Kind::Int64, Device::Cpu) };
                Input::Integers(blob?.f_detach_copy()?.f_to_device(device)?)
            });
        }
        let n = inputs.iter().map(Input::floats).sum();
        let module = Module::load(archive, request.device, request.is_double != 0)?;
        let kind = if request.is_double != 0 { Kind::Double } else { Kind::Float };
        let mut function = Self {
            module,
            device,
            kind,
            n,
            m: 0,
            inputs,
            outputs: Vec::new(),
            parameters: OnceLock::new(),
            is_mapped: true.into(),
            graphs: Graphs::on(device),
        };
        // What is not defined at zeros, as the inverse of a matrix, is asked elsewhere.
        let outputs = function.named(&Tensor::f_zeros([n], (kind, device))?).or_else(|failure| {
            let elsewhere = Tensor::f_arange(n, (kind, device))?.f_add_scalar(1)?.f_square()?.f_sin()?;
            function.named(&elsewhere).map_err(|_| failure)
        })?;
        for (name, tensor) in outputs {
            // Comparisons are numbers 0 and 1, as on the native engine.
            if !tensor.is_floating_point() && tensor.kind() != Kind::Bool {
                let (name, kind) = (name.to_string_lossy(), tensor.kind());
                return Err(Failure(format!(
                    "output `{name}`: it holds {kind:?}; outputs of floating-point numbers are computed"
                )));
            }
            function.outputs.push(Signature { name, shape: tensor.size() });
        }
        if function.outputs.is_empty() {
            return Err(Failure("forward returns no tensor".to_owned()));
        }
        function.m = function.outputs.iter().map(Signature::numel).sum();
        Ok(function)
    }

    /// The outputs at x.
    fn named(&self, x: &Tensor) -> Outcome<cpp::Named> {
        tch::no_grad(|| self.module.forward(&self.arguments(x)?, 0))
    }

    /// The parameters' names and sizes.
    pub fn parameters(&self) -> Outcome<impl Iterator<Item = &Signature>> {
        Ok(self.leaves()?.iter().map(|(signature, _)| signature))
    }

    fn leaves(&self) -> Outcome<&[(Signature, Tensor)]> {
        if self.parameters.get().is_none() {
            let found = self.module.parameters()?.into_iter();
            let found = found.map(|(name, tensor)| (Signature { name, shape: tensor.size() }, tensor));
            let _ = self.parameters.set(found.collect());
        }
        Ok(self.parameters.get().expect("it was set"))
    }

    /// What forward takes, as views of one vector where they are floats.
    fn arguments(&self, x: &Tensor) -> Outcome<Vec<Tensor>> {
        let mut start = 0;
        let mut argument = |input: &Input| match input {
            Input::Integers(tensor) => Ok(tensor.shallow_clone()),
            Input::Floats(shape) => {
                let length = input.floats();
                let part = if length == self.n { x.shallow_clone() } else { x.f_narrow(0, start, length)? };
                start += length;
                Ok(part.f_view(&shape[..])?)
            }
        };
        self.inputs.iter().map(&mut argument).collect()
    }

    fn forward(&self, x: &Tensor, order: u32) -> Outcome<Vec<Tensor>> {
        let named = self.module.forward(&self.arguments(x)?, order)?;
        let fits = named.len() == self.outputs.len()
            && named.iter().zip(&self.outputs).all(|((_, found), expected)| found.size() == expected.shape);
        if !fits {
            return Err(Failure(
                "the outputs have other shapes at this point than when the model was compiled; one of fixed shapes is needed"
                    .to_owned(),
            ));
        }
        Ok(named.into_iter().map(|(_, tensor)| tensor).collect())
    }

    /// All outputs, one after another, as a function of the vector x.
    fn flat(&self, x: &Tensor, order: u32) -> Outcome<Tensor> {
        let flat = |output: &Tensor| output.f_reshape([-1])?.f_to_dtype(self.kind, false, false);
        let flat: Vec<Tensor> = self.forward(x, order)?.iter().map(flat).collect::<Result<_, _>>()?;
        match &flat[..] {
            [only] => Ok(only.shallow_clone()),
            all => Ok(Tensor::f_cat(all, 0)?),
        }
    }

    /// Computes one of [`kind`] in its own precision, of numbers in single or double precision.
    ///
    /// # Safety
    /// The arrays must have the lengths that the kind asks for.
    pub unsafe fn call(
        &self,
        what: u32,
        threads: u32,
        numbers: Kind,
        [x, a, b]: [*const c_void; 3],
        out: *mut c_void,
    ) -> Outcome<()> {
        use_threads(threads);
        let _held = Precision::hold(self.kind == Kind::Double);
        let (n, m) = (self.n, self.m);
        let given = match what {
            kind::VALUE | kind::JACOBIAN => vec![(x, n)],
            kind::JVP => vec![(x, n), (a, n)],
            kind::VJP | kind::HESSIAN | kind::PARAMETERS => vec![(x, n), (a, m)],
            kind::HVP => vec![(x, n), (a, m), (b, n)],
            other => return Err(Failure(format!("the backend does not know the call {other}"))),
        };
        // SAFETY: the caller's promise.
        let given = given.into_iter().map(|(data, length)| unsafe { blob(data, &[length], numbers) });
        let given: Vec<Tensor> = given.collect::<Outcome<_>>()?;
        let mut out = out;
        let mut write = |part: Part| {
            // SAFETY: the caller's promise: `out` has room for all parts of what is asked.
            out = unsafe { part.write(out, numbers) }?;
            Ok(())
        };
        // The caller's own memory where the device and the precision are its.
        let moved =
            || given.iter().map(|tensor| Ok(tensor.f_to_device_(self.device, self.kind, false, false)?)).collect();
        match &self.graphs {
            Some(graphs) => graphs.call(what, &given, moved, |given, give| self.compute(what, given, give), &mut write),
            None => self.compute(what, &moved()?, &mut write),
        }
    }

    /// Computes one of [`kind`] of numbers on the device: x and the weights that follow it.
    fn compute(&self, what: u32, given: &[Tensor], give: &mut Give) -> Outcome<()> {
        let (n, m) = (self.n, self.m);
        if what == kind::VALUE {
            let outputs = tch::no_grad(|| self.forward(&given[0], 0))?;
            return outputs
                .into_iter()
                .zip(&self.outputs)
                .try_for_each(|(output, signature)| give(Part { numbers: Some(output), length: signature.numel() }));
        }
        let x = given[0].f_detach()?.f_set_requires_grad(true)?;
        let y = self.flat(&x, if matches!(what, kind::HESSIAN | kind::HVP) { 2 } else { 1 })?;
        let by_x = |output: &Tensor, weight: &Tensor, mode: Mode| {
            Ok::<_, Failure>(cpp::gradient(output, weight, &[&x], mode)?.pop().flatten())
        };
        match what {
            kind::JACOBIAN => self.rows(&y, &x, m, give),
            kind::VJP => give(Part { numbers: by_x(&y, &given[1], Mode::Plain)?, length: n }),
            kind::JVP => give(Part { numbers: self.product(&y, &x, &given[1])?, length: m }),
            kind::HESSIAN | kind::HVP => {
                let g = by_x(&y, &given[1], Mode::Differentiable)?;
                match (g, what) {
                    (Some(g), kind::HESSIAN) => self.rows(&g, &x, n, give),
                    (Some(g), _) => give(Part { numbers: by_x(&g, &given[2], Mode::Plain)?, length: n }),
                    (None, kind::HESSIAN) => give(Part { numbers: None, length: n * n }),
                    (None, _) => give(Part { numbers: None, length: n }),
                }
            }
            _ => {
                let leaves = self.leaves()?;
                let inputs: Vec<&Tensor> = leaves.iter().map(|(_, tensor)| tensor).collect();
                let found = cpp::gradient(&y, &given[1], &inputs, Mode::Plain)?;
                found
                    .into_iter()
                    .zip(leaves)
                    .try_for_each(|(numbers, (signature, _))| give(Part { numbers, length: signature.numel() }))
            }
        }
    }

    /// J v.
    fn product(&self, y: &Tensor, x: &Tensor, v: &Tensor) -> Outcome<Option<Tensor>> {
        // J'u is linear in u, so that its derivative along v is J v; not every operation has it.
        let u = Tensor::f_zeros([self.m], (self.kind, self.device))?.f_set_requires_grad(true)?;
        let g = cpp::gradient(y, &u, &[x], Mode::Differentiable)?.pop().flatten();
        let Some(g) = g.filter(|_| self.n > 0) else { return Ok(None) };
        if let Ok(mut found) = cpp::gradient(&g, v, &[&u], Mode::Plain) {
            return Ok(found.pop().flatten());
        }
        let mut product = Vec::new();
        self.rows(y, x, self.m, &mut |Part { numbers, length }| {
            product.push(match numbers {
                Some(rows) => rows.f_view([length / self.n, self.n])?.f_mv(v)?,
                None => Tensor::f_zeros([length / self.n], (self.kind, self.device))?,
            });
            Ok(())
        })?;
        Ok(Some(Tensor::f_cat(&product, 0)?))
    }

    /// The derivatives of each of `count` elements of `y` by `x`, row by row.
    fn rows(&self, y: &Tensor, x: &Tensor, count: i64, give: &mut Give) -> Outcome<()> {
        let n = self.n;
        if !y.requires_grad() {
            return give(Part { numbers: None, length: count * n });
        }
        let unit = Tensor::f_eye(count, (self.kind, self.device))?;
        let mut start = 0;
        while start < count {
            let together = (ROWS / n.max(count)).clamp(1, count - start);
            if together > 1 && self.is_mapped.load(Ordering::Relaxed) {
                let weights = unit.f_narrow(0, start, together)?;
                match cpp::gradient(y, &weights, &[x], Mode::Mapped) {
                    Ok(mut found) => {
                        give(Part { numbers: found.pop().flatten(), length: together * n })?;
                        start += together;
                        continue;
                    }
                    Err(_) => self.is_mapped.store(false, Ordering::Relaxed),
                }
            }
            let numbers = cpp::gradient(y, &unit.f_get(start)?, &[x], Mode::Plain)?.pop().flatten();
            give(Part { numbers, length: n })?;
            start += 1;
        }
        Ok(())
    }
}

impl Part {
    /// The same numbers.
    pub fn again(&self) -> Self {
        Self { numbers: self.numbers.as_ref().map(Tensor::shallow_clone), length: self.length }
    }

    /// Writes it, and gives where it ends.
    ///
    /// # Safety
    /// `out` must have room for it in numbers of this kind.
    unsafe fn write(&self, out: *mut c_void, kind: Kind) -> Outcome<*mut c_void> {
        let size = self.length as usize * kind.elt_size_in_bytes();
        match &self.numbers {
            Some(numbers) => {
                // SAFETY: the caller's promise.
                let mut blob = unsafe { blob(out, &numbers.size(), kind) }?;
                tch::no_grad(|| blob.f_copy_(numbers))?;
            }
            // SAFETY: as above.
            None => unsafe { out.write_bytes(0, size) },
        }
        // SAFETY: as above.
        Ok(unsafe { out.byte_add(size) })
    }
}

impl Input {
    fn floats(&self) -> i64 {
        match self {
            Input::Floats(shape) => shape.iter().product(),
            Input::Integers(_) => 0,
        }
    }
}

fn no_device(index: i32, devices: u32) -> Failure {
    Failure(match devices {
        0 => "there is no CUDA device that this libtorch can use: it needs an NVIDIA GPU with its driver, and a libtorch \
              with CUDA (libtorch_cuda.so and the libraries that it names) where the backend finds libtorch; use the \
              device \"cpu\" otherwise"
            .to_owned(),
        1 => format!("there is no device cuda:{index}, but one, cuda:0"),
        _ => format!("there is no device cuda:{index}, but cuda:0 to cuda:{}", devices - 1),
    })
}

/// # Safety
/// The pointer must be that of `length` values, or any for none.
unsafe fn list<'a, T>(data: *const T, length: usize) -> &'a [T] {
    // SAFETY: the caller's promise.
    if length == 0 { &[] } else { unsafe { slice::from_raw_parts(data, length) } }
}

/// Of a tensor that lies in one piece.
fn strides(shape: &[i64]) -> Vec<i64> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i].max(1);
    }
    strides
}

/// # Safety
/// `data` must have the numbers of such a tensor, and outlive it.
unsafe fn blob(data: *const c_void, shape: &[i64], kind: Kind) -> Outcome<Tensor> {
    // SAFETY: the caller's promise.
    Ok(unsafe { Tensor::f_from_blob(data.cast(), shape, &strides(shape), kind, Device::Cpu) }?)
}
