//! Compiled functions: values and derivatives.

use std::{
    mem::MaybeUninit,
    sync::{Mutex, MutexGuard, TryLockError},
};

use engine::{
    Error, Result, bounds,
    diff::Pattern,
    eval::{Backend, Device, Function, Order, Signature, Workspace},
    tensor::DType,
};

use crate::{
    formulation::intervals,
    model::NtModel,
    status::{NtStatus, construct, guard},
    strings::{NtStrings, Strings},
    types::{NtShape, NtSlice, NtSliceMut, NtStr, give, optional_text, read, required, shape, write},
};

/// A model compiled for one shape of input: f from n inputs to m outputs, and its derivatives. It never changes; any
/// number of threads may use it at once, each with a workspace of its own.
pub struct NtFunction {
    function: Function,
    inputs: Values,
    outputs: Values,
    parameters: Values,
}

/// The memory of one thread for the calls of one function. Used by two calls at once, it is an error for the later one.
pub struct NtWorkspace(Mutex<Workspace>);

/// The precision of a computation: `NT_FLOAT64` or `NT_FLOAT32`. Arrays are double either way.
pub type NtDType = u32;
/// Double precision.
pub const NT_FLOAT64: NtDType = 0;
/// Single precision.
pub const NT_FLOAT32: NtDType = 1;

/// In which order the entries of a matrix are written: `NT_ROW_MAJOR`, `NT_COLUMN_MAJOR` or `NT_PATTERN`.
pub type NtOrder = u32;
/// One row after another, dense.
pub const NT_ROW_MAJOR: NtOrder = 0;
/// One column after another, dense.
pub const NT_COLUMN_MAJOR: NtOrder = 1;
/// The entries of the sparsity pattern alone, in its order.
pub const NT_PATTERN: NtOrder = 2;

/// Inputs or outputs in the order of the signature.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NtValues {
    /// How many there are.
    pub count: usize,
    /// Their names.
    pub names: NtStrings,
    /// Where the sizes of each begin in `sizes`, and the end of the last: `count + 1` entries.
    pub shape_starts: *const usize,
    /// The sizes of all.
    pub sizes: *const usize,
}

/// What a function takes and gives.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NtSignature {
    /// The number of input elements: of all inputs together, the batch dimension included.
    pub n: usize,
    /// The number of output elements.
    pub m: usize,
    /// The precision of the computation.
    pub dtype: NtDType,
    /// The inputs; `x` is each of them flat and row-major, one after another.
    pub inputs: NtValues,
    /// The outputs; `y` is each of them flat and row-major, one after another.
    pub outputs: NtValues,
}

/// The places of the entries of a sparse matrix, sorted by row, then column; none twice. Rows and columns count from 0.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NtPattern {
    /// The number of entries.
    pub count: usize,
    /// The row of each.
    pub rows: *const usize,
    /// The column of each.
    pub columns: *const usize,
}

/// What [`NtValues`] points into.
struct Values {
    names: Strings,
    shape_starts: Vec<usize>,
    sizes: Vec<usize>,
}

impl Values {
    fn new(values: &[Signature]) -> Self {
        let ends = values.iter().scan(0, |end, value| {
            *end += value.shape.len();
            Some(*end)
        });
        Self {
            names: values.iter().map(|value| &value.name).collect(),
            shape_starts: std::iter::once(0).chain(ends).collect(),
            sizes: values.iter().flat_map(|value| value.shape.iter().copied()).collect(),
        }
    }

    fn as_c(&self) -> NtValues {
        NtValues {
            count: self.shape_starts.len() - 1,
            names: self.names.as_c(),
            shape_starts: self.shape_starts.as_ptr(),
            sizes: self.sizes.as_ptr(),
        }
    }
}

fn dtype(dtype: NtDType) -> Result<DType> {
    match dtype {
        NT_FLOAT64 => Ok(DType::F64),
        NT_FLOAT32 => Ok(DType::F32),
        other => Err(Error::argument(format!("dtype is {other}; NT_FLOAT64 and NT_FLOAT32 are known"))),
    }
}

fn pattern(pattern: &Pattern) -> NtPattern {
    NtPattern { count: pattern.len(), rows: pattern.rows.as_ptr(), columns: pattern.columns.as_ptr() }
}

/// How a matrix is wanted.
enum Layout {
    Dense(Order),
    Pattern,
}

fn layout(order: NtOrder) -> Result<Layout> {
    match order {
        NT_ROW_MAJOR => Ok(Layout::Dense(Order::RowMajor)),
        NT_COLUMN_MAJOR => Ok(Layout::Dense(Order::ColumnMajor)),
        NT_PATTERN => Ok(Layout::Pattern),
        other => {
            let known = "NT_ROW_MAJOR, NT_COLUMN_MAJOR and NT_PATTERN are known";
            Err(Error::argument(format!("order is {other}; {known}")))
        }
    }
}

impl NtWorkspace {
    fn lock(&self) -> Result<MutexGuard<'_, Workspace>> {
        self.0.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                Error::argument("the workspace is in use by another call; give each thread a workspace of its own")
            }
            TryLockError::Poisoned(_) => {
                Error::internal("an earlier call with this workspace met a defect of native-torch; make a new one")
            }
        })
    }
}

/// Both handles of a call, checked.
fn handles<'a>(
    function: Option<&'a NtFunction>,
    workspace: Option<&'a NtWorkspace>,
) -> Result<(&'a Function, MutexGuard<'a, Workspace>)> {
    let function = required(function, "function")?;
    Ok((&function.function, required(workspace, "workspace")?.lock()?))
}

/// Compiles a model for one shape of input.
///
/// `shape` holds the sizes of the input's dimensions, the batch included; NULL stands for the model's own input shape
/// with one example in its batch (`nt_model_input_shape`; `[1, 64]` where that is `[NT_ANY_SIZE, 64]`). `dtype` is the
/// precision of the computation, `NT_FLOAT64` or `NT_FLOAT32`; weights are widened or rounded to it.
///
/// `NT_ERROR_ARGUMENT`: the shape does not fit, or is NULL where the model does not fix it; the message names the layer.
/// `NT_ERROR_UNSUPPORTED`: a layer is custom or not supported; the message names it and says why.
/// `NT_ERROR_FORMAT`: the file's record of a tensor is damaged.
///
/// `out` receives the function, to be freed with `nt_function_destroy`; NULL on failure.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_function_compile(
    model: Option<&NtModel>,
    shape: NtShape,
    dtype: NtDType,
    out: Option<&mut MaybeUninit<Option<Box<NtFunction>>>>,
) -> NtStatus {
    construct(out, || compile(model, shape, dtype, Backend::Native))
}

fn compile(model: Option<&NtModel>, shape: NtShape, dtype: NtDType, backend: Backend) -> Result<NtFunction> {
    let dtype = self::dtype(dtype)?;
    let function = required(model, "model")?.function(self::shape(shape)?, dtype, backend)?;
    let [inputs, outputs, parameters] = [function.inputs(), function.outputs(), function.parameters()].map(Values::new);
    Ok(NtFunction { function, inputs, outputs, parameters })
}

/// Compiles a model for a backend, "native" or "libtorch", and a device, "cpu", "cuda" or "cuda:1"; the native engine knows
/// "cpu" alone. NULL stands for "native" and "cpu". The rest is as for `nt_function_compile`.
///
/// libtorch is opened when it is first asked for (`nt_libtorch_open`). Programs that torch.jit.save wrote run on it as they
/// are, and those of torch.export call by call where the native engine does not know their operations; patterns are full
/// then and bounds infinite. Other models are handed to it as TorchScript. What was saved on another device is moved.
///
/// In addition, `NT_ERROR_ARGUMENT`: there is no such backend or device. `NT_ERROR_UNSUPPORTED`: the libtorch backend is
/// not there or of another version, the device is not there, or libtorch lacks an operation; the message says what to do.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_function_compile_for(
    model: Option<&NtModel>,
    shape: NtShape,
    dtype: NtDType,
    backend: NtStr,
    device: NtStr,
    out: Option<&mut MaybeUninit<Option<Box<NtFunction>>>>,
) -> NtStatus {
    construct(out, || {
        let device: Device = optional_text(device, "device")?.unwrap_or("cpu").parse()?;
        let backend = optional_text(backend, "backend")?.unwrap_or("native");
        compile(model, shape, dtype, Backend::named(backend, device)?)
    })
}

/// Frees a function; NULL is allowed. Its workspaces can then only be freed, before or after.
#[unsafe(no_mangle)]
pub extern "C" fn nt_function_destroy(function: Option<Box<NtFunction>>) -> NtStatus {
    guard(|| {
        drop(function);
        Ok(())
    })
}

/// What a function takes and gives. `out` receives pointers that are valid as long as the function.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_function_signature(
    function: Option<&NtFunction>,
    out: Option<&mut MaybeUninit<NtSignature>>,
) -> NtStatus {
    guard(|| {
        let NtFunction { function, inputs, outputs, .. } = required(function, "function")?;
        let signature = NtSignature {
            n: function.n(),
            m: function.m(),
            dtype: if function.dtype() == DType::F32 { NT_FLOAT32 } else { NT_FLOAT64 },
            inputs: inputs.as_c(),
            outputs: outputs.as_c(),
        };
        give(out, signature)
    })
}

/// The entries of the m x n Jacobian that can be other than zero. The first call computes them. `out` receives pointers
/// that are valid as long as the function.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_function_jacobian_pattern(
    function: Option<&NtFunction>,
    out: Option<&mut MaybeUninit<NtPattern>>,
) -> NtStatus {
    guard(|| give(out, pattern(required(function, "function")?.function.jacobian_pattern())))
}

/// The entries of the lower triangle (row >= column) of the n x n Hessian of mu'f that can be other than zero, whatever
/// mu is; none for a net of ReLUs. The first call computes them. `out` receives pointers that are valid as long as the
/// function.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_function_hessian_pattern(
    function: Option<&NtFunction>,
    out: Option<&mut MaybeUninit<NtPattern>>,
) -> NtStatus {
    guard(|| give(out, pattern(required(function, "function")?.function.hessian_pattern())))
}

/// Bounds of the outputs where the inputs lie within bounds, by interval propagation: no value in double precision lies
/// outside. Lengths: `lower` and `upper` n, `y_lower` and `y_upper` m. Bounds may be infinite.
///
/// `NT_ERROR_ARGUMENT`: a length is wrong; a lower bound exceeds its upper one. `NT_ERROR_FORMAT`: the file's record of a
/// tensor is damaged.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_function_bounds(
    function: Option<&NtFunction>,
    lower: NtSlice,
    upper: NtSlice,
    y_lower: NtSliceMut,
    y_upper: NtSliceMut,
) -> NtStatus {
    guard(|| {
        let function = &required(function, "function")?.function;
        let (n, m) = (function.n(), function.m());
        let y_lower = write(y_lower, "y_lower", m, &[lower, upper])?;
        let y_upper = write(y_upper, "y_upper", m, &[lower, upper])?;
        for (name, found) in [("y_lower", y_lower.len()), ("y_upper", y_upper.len())] {
            if found != m {
                return Err(Error::argument(format!("{name} has length {found}, but {m} is expected")));
            }
        }
        let inputs = intervals(read(lower, "lower", n)?, read(upper, "upper", n)?)?;
        let Some(graph) = function.graph() else {
            y_lower.fill(f64::NEG_INFINITY);
            y_upper.fill(f64::INFINITY);
            return Ok(());
        };
        let bounds = bounds::propagate(graph, &inputs)?;
        let outputs = graph.outputs().iter().flat_map(|output| bounds.of(output.value));
        for (output, (lower, upper)) in outputs.zip(y_lower.iter_mut().zip(y_upper)) {
            (*lower, *upper) = (output.lower, output.upper);
        }
        Ok(())
    })
}

/// Makes a workspace for calls of this function. A call allocates nothing once the workspace has seen its kind before;
/// values at the last point are kept, so that f, J and H at one x share the forward pass.
///
/// `out` receives the workspace, to be freed with `nt_workspace_destroy`; NULL on failure.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_workspace_create(
    function: Option<&NtFunction>,
    out: Option<&mut MaybeUninit<Option<Box<NtWorkspace>>>>,
) -> NtStatus {
    construct(out, || Ok(NtWorkspace(Mutex::new(required(function, "function")?.function.workspace()))))
}

/// Frees a workspace; NULL is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn nt_workspace_destroy(workspace: Option<Box<NtWorkspace>>) -> NtStatus {
    guard(|| {
        drop(workspace);
        Ok(())
    })
}

/// Lets calls with this workspace use so many threads, the caller's included; a new workspace uses one. The threads share
/// the points of a call, or the large products of a single one; results do not depend on their number. Only calls on one
/// thread promise not to allocate.
///
/// `NT_ERROR_ARGUMENT`: `threads` is 0 or more than 1024; the system does not give so many; another call is using the workspace.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_workspace_set_threads(workspace: Option<&NtWorkspace>, threads: usize) -> NtStatus {
    guard(|| required(workspace, "workspace")?.lock()?.set_threads(threads))
}

/// f at K points. Lengths: `x` K n, `y` K m.
///
/// This and all that follow: K is the length of `x` divided by n; points stand one after another in every array. A NULL
/// handle or array, a wrong length, an array to write that overlaps one to read, a workspace of another function and one
/// that another call is using are `NT_ERROR_ARGUMENT`; what is written then is unspecified.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_function_value(
    function: Option<&NtFunction>,
    workspace: Option<&NtWorkspace>,
    x: NtSlice,
    y: NtSliceMut,
) -> NtStatus {
    guard(|| {
        let (function, mut workspace) = handles(function, workspace)?;
        let y = write(y, "y", function.m(), &[x])?;
        function.value(&mut workspace, read(x, "x", function.n())?, y)
    })
}

/// The m x n Jacobian at K points. Lengths: `x` K n; `values` K m n for `NT_ROW_MAJOR` and `NT_COLUMN_MAJOR`, K times the
/// count of `nt_function_jacobian_pattern` for `NT_PATTERN`.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_function_jacobian(
    function: Option<&NtFunction>,
    workspace: Option<&NtWorkspace>,
    x: NtSlice,
    order: NtOrder,
    values: NtSliceMut,
) -> NtStatus {
    guard(|| {
        let (function, mut workspace) = handles(function, workspace)?;
        let layout = layout(order)?;
        let per_point = match layout {
            Layout::Dense(_) => function.n().saturating_mul(function.m()),
            Layout::Pattern => function.jacobian_pattern().len(),
        };
        let values = write(values, "values", per_point, &[x])?;
        let x = read(x, "x", function.n())?;
        match layout {
            Layout::Dense(order) => function.jacobian(&mut workspace, x, order, values),
            Layout::Pattern => function.jacobian_values(&mut workspace, x, values),
        }
    })
}

/// J v at K points, each with a v of its own. Lengths: `x` and `v` K n, `out` K m.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_function_jvp(
    function: Option<&NtFunction>,
    workspace: Option<&NtWorkspace>,
    x: NtSlice,
    v: NtSlice,
    out: NtSliceMut,
) -> NtStatus {
    guard(|| {
        let (function, mut workspace) = handles(function, workspace)?;
        let out = write(out, "out", function.m(), &[x, v])?;
        function.jvp(&mut workspace, read(x, "x", function.n())?, read(v, "v", function.n())?, out)
    })
}

/// J'u at K points, each with a u of its own. Lengths: `x` K n, `u` K m, `out` K n.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_function_vjp(
    function: Option<&NtFunction>,
    workspace: Option<&NtWorkspace>,
    x: NtSlice,
    u: NtSlice,
    out: NtSliceMut,
) -> NtStatus {
    guard(|| {
        let (function, mut workspace) = handles(function, workspace)?;
        let out = write(out, "out", function.n(), &[x, u])?;
        function.vjp(&mut workspace, read(x, "x", function.n())?, read(u, "u", function.m())?, out)
    })
}

/// The n x n Hessian of mu'f at K points, each with a mu of its own. Lengths: `x` K n; `mu` K m; `values` K n n for
/// `NT_ROW_MAJOR` and `NT_COLUMN_MAJOR`, which give both triangles and are the same; K times the count of
/// `nt_function_hessian_pattern` for `NT_PATTERN`, which gives the lower triangle.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_function_hessian(
    function: Option<&NtFunction>,
    workspace: Option<&NtWorkspace>,
    x: NtSlice,
    mu: NtSlice,
    order: NtOrder,
    values: NtSliceMut,
) -> NtStatus {
    guard(|| {
        let (function, mut workspace) = handles(function, workspace)?;
        let layout = layout(order)?;
        let per_point = match layout {
            Layout::Dense(_) => function.n().saturating_mul(function.n()),
            Layout::Pattern => function.hessian_pattern().len(),
        };
        let values = write(values, "values", per_point, &[x, mu])?;
        let (x, mu) = (read(x, "x", function.n())?, read(mu, "mu", function.m())?);
        match layout {
            Layout::Dense(_) => function.hessian(&mut workspace, x, mu, values),
            Layout::Pattern => function.hessian_values(&mut workspace, x, mu, values),
        }
    })
}

/// The Hessian of mu'f times v at K points, each with a mu and a v of its own. Lengths: `x` and `v` K n, `mu` K m, `out`
/// K n.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_function_hvp(
    function: Option<&NtFunction>,
    workspace: Option<&NtWorkspace>,
    x: NtSlice,
    mu: NtSlice,
    v: NtSlice,
    out: NtSliceMut,
) -> NtStatus {
    guard(|| {
        let (function, mut workspace) = handles(function, workspace)?;
        let (n, m) = (function.n(), function.m());
        let out = write(out, "out", n, &[x, mu, v])?;
        function.hvp(&mut workspace, read(x, "x", n)?, read(mu, "mu", m)?, read(v, "v", n)?, out)
    })
}

/// The parameters by which `nt_function_parameter_gradient` gives derivatives, in its order; none on the native engine.
/// `out` receives pointers that are valid as long as the function.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_function_parameters(
    function: Option<&NtFunction>,
    out: Option<&mut MaybeUninit<NtValues>>,
) -> NtStatus {
    guard(|| give(out, required(function, "function")?.parameters.as_c()))
}

/// The derivatives of u'f by the parameters at K points, each with a u of its own. Lengths: `x` K n, `u` K m, `out` K times
/// the number of elements of all of `nt_function_parameters`, each flat and row-major, one after another.
///
/// `NT_ERROR_UNSUPPORTED`: the function was compiled for the native engine, which does not give them.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_function_parameter_gradient(
    function: Option<&NtFunction>,
    workspace: Option<&NtWorkspace>,
    x: NtSlice,
    u: NtSlice,
    out: NtSliceMut,
) -> NtStatus {
    guard(|| {
        let (function, mut workspace) = handles(function, workspace)?;
        let each = function.parameters().iter().map(|p| p.shape.iter().product::<usize>()).sum();
        let out = write(out, "out", each, &[x, u])?;
        function.parameter_gradient(&mut workspace, read(x, "x", function.n())?, read(u, "u", function.m())?, out)
    })
}
