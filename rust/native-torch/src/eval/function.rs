//! The face of both engines: a compiled function in either precision, with checked lengths.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use super::{
    Backend, Device,
    call::{Call, Thread},
    hessian::Method,
    jacobian::Seeding,
    libtorch::{self, Input, Module},
    matrix::Form,
    plan::Plan,
};
use crate::{
    Error, ErrorKind, Result,
    diff::{Pattern, Structure, hessian_structure, jacobian_structure},
    graph::{Dim, Graph, Named},
    load::{Model, ModuleInput, Program, Script},
    save,
    tensor::{DType, Real},
};

/// Structures that take more numbers than these are not looked for when a dense matrix is wanted.
const SEARCH: usize = 1 << 24;

/// In which order a dense matrix is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// One row after another.
    RowMajor,
    /// One column after another.
    ColumnMajor,
}

/// The name and sizes of an input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The name.
    pub name: String,
    /// The sizes.
    pub shape: Vec<usize>,
}

/// A graph compiled to run: values and derivatives of f from n inputs to m outputs.
///
/// It never changes and may be used from many threads, each with a [`Workspace`] of its own. Numbers come and go as `f64`
/// or `f32`; a function compiled in [`DType::F32`] computes in `f32` between, and slices of `f32` save it the conversion.
///
/// Every method takes K points: `x` has length K n, and all other lengths follow. Blocks of points are computed as
/// products of matrices. With one thread, the methods allocate nothing once a workspace has seen each kind of call.
/// Values at the last points are kept in the workspace where they take less than 8 MB, so that f, J and H at the same x
/// share the forward pass.
///
/// ```
/// use native_torch::{eval::{Function, Order}, graph::{Builder, Dim, Unary}, tensor::{DType, Tensor}};
///
/// let mut b = Builder::new();
/// let x = b.input("x", vec![Dim::Size(2)]);
/// let weight = b.parameter("weight", Tensor::from_slice(&[1, 2], &[1.0, 2.0]));
/// let z = b.linear(x, weight, None)?;
/// let y = b.unary(Unary::Tanh, z)?;
/// let f = Function::compile(&b.finish(&[("y", y)])?, DType::F64)?;
///
/// let mut workspace = f.workspace();
/// let mut jacobian = [0.0; 2];
/// f.jacobian(&mut workspace, &[0.0, 0.0], Order::RowMajor, &mut jacobian)?;
/// assert_eq!(jacobian, [1.0, 2.0]);
/// # Ok::<(), native_torch::Error>(())
/// ```
pub struct Function {
    id: u64,
    /// Of all functions but those of TorchScript that runs as it is and has no graph.
    graph: Option<Arc<Graph>>,
    engine: Engine<Plan<f64>, Plan<f32>, Module>,
    inputs: Vec<Signature>,
    outputs: Vec<Signature>,
    jacobian: Derivative<Seeding>,
    hessian: Derivative<Method>,
}

/// What is known about a matrix of derivatives; found when it is first asked for.
struct Derivative<S> {
    way: OnceLock<Way<S>>,
    /// Where the way's structure is not exact.
    exact: OnceLock<Structure>,
    pattern: OnceLock<Pattern>,
}

impl<S> Default for Derivative<S> {
    fn default() -> Self {
        Self { way: OnceLock::new(), exact: OnceLock::new(), pattern: OnceLock::new() }
    }
}

/// How a matrix is computed.
struct Way<S> {
    structure: Structure,
    seeding: S,
    /// Whether the structure is the matrix's, and not only a larger one.
    exact: bool,
}

/// The buffers that one call at a time needs to evaluate a [`Function`].
pub struct Workspace {
    id: u64,
    threads: Engine<Vec<Thread<f64>>, Vec<Thread<f32>>, usize>,
    pool: Option<rayon::ThreadPool>,
}

/// The native engine in one of the two precisions, or libtorch.
enum Engine<D, S, L> {
    F64(D),
    F32(S),
    Libtorch(L),
}

/// An expression with `$x` bound to what either precision of the native engine holds; another for libtorch.
macro_rules! either {
    ($engine:expr, $x:ident => $body:expr, $l:ident => $libtorch:expr) => {
        match $engine {
            Engine::F64($x) => $body,
            Engine::F32($x) => $body,
            Engine::Libtorch($l) => $libtorch,
        }
    };
}

impl Workspace {
    /// Lets calls with this workspace use so many threads, itself included; a new workspace uses one. The threads share
    /// the points of a call, or the large products of a single one. Results do not depend on their number.
    ///
    /// Fails for 0 and for more than 1024, and where the system does not give the threads.
    pub fn set_threads(&mut self, threads: usize) -> Result<()> {
        if !(1..=1024).contains(&threads) {
            return Err(Error::argument(format!("threads is {threads}; a call uses 1 to 1024")));
        }
        let pool = || rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        // libtorch has threads of its own.
        self.pool = if threads == 1 || matches!(self.threads, Engine::Libtorch(_)) {
            None
        } else {
            Some(pool().map_err(|e| Error::argument(format!("{threads} threads cannot be started: {e}")))?)
        };
        either!(&mut self.threads, all => *all = all[0].team(threads), count => *count = threads);
        Ok(())
    }

    /// How many threads calls with this workspace use.
    pub fn threads(&self) -> usize {
        either!(&self.threads, all => all.len(), count => *count)
    }
}

impl Function {
    /// Compiles a graph whose sizes are all known, to compute in [`DType::F64`] or [`DType::F32`] on the native engine.
    pub fn compile(graph: &Graph, dtype: DType) -> Result<Self> {
        let engine = match dtype {
            DType::F64 => Engine::F64(Plan::compile(graph)?),
            DType::F32 => Engine::F32(Plan::compile(graph)?),
            _ => return Err(no_precision(dtype)),
        };
        let signatures = |values: &[Named]| values.iter().map(|value| signature(graph, value)).collect();
        Ok(Self::new(Some(graph.clone()), engine, signatures(graph.inputs()), signatures(graph.outputs())))
    }

    /// Compiles a graph whose sizes are all known for a backend. libtorch is given the graph as TorchScript.
    ///
    /// Fails as [`Function::compile`] does, as [`libtorch::open`] does, and where libtorch itself does.
    pub fn compile_for(graph: &Graph, dtype: DType, backend: Backend) -> Result<Self> {
        match backend {
            Backend::Native => Self::compile(graph, dtype),
            Backend::Libtorch(device) => Self::on_libtorch(graph, dtype, device),
        }
    }

    /// Compiles a model for inputs of these shapes, one for each of [`Model::inputs`], or for those that it asks for by
    /// itself, and with the integers of those inputs that hold such.
    ///
    /// TorchScript runs on libtorch as it is, whatever its operations; what it holds as float numbers is converted to
    /// `dtype`. Programs of torch.export whose operations no graph has run there call by call. Patterns are full then where
    /// the native engine does not know the operations.
    pub fn of_model(
        model: &Model,
        shapes: Option<&[Vec<Dim>]>,
        integers: &[i64],
        dtype: DType,
        backend: Backend,
    ) -> Result<Self> {
        match (model, backend) {
            (Model::Script(script), Backend::Libtorch(device)) => {
                Self::of_script(script, shapes, integers, dtype, device)
            }
            (Model::Program(program), Backend::Libtorch(device)) => {
                Self::of_program(program, shapes, integers, dtype, device)
            }
            _ => Self::compile_for(&model.graph_given(shapes, integers)?, dtype, backend),
        }
    }

    /// The graph on libtorch, or the program's own calls where no graph has its operations.
    fn of_program(
        program: &Program,
        shapes: Option<&[Vec<Dim>]>,
        integers: &[i64],
        dtype: DType,
        device: Device,
    ) -> Result<Self> {
        let least = program.least();
        let graph = program.graph_given(shapes.unwrap_or(&least), integers);
        match graph.and_then(|graph| Self::on_libtorch(&graph, dtype, device)) {
            Err(error) if error.kind() == ErrorKind::Unsupported => {}
            done => return done,
        }
        checked(dtype)?;
        let declared = libtorch::declared()?;
        let (code, sizes) = program.source(shapes, &declared)?;
        let signature =
            |(input, shape): (ModuleInput, Vec<usize>)| (Signature { name: input.name, shape }, input.dtype);
        let inputs: Vec<(Signature, DType)> = program.inputs().into_iter().zip(sizes).map(signature).collect();
        let (given, floats) = given(&inputs, integers)?;
        let mut module = Module::compile(&save::code(code, dtype)?, &given, dtype, device)?;
        for (output, name) in module.outputs.iter_mut().zip(program.outputs()) {
            name.clone_into(&mut output.name);
        }
        Self::of_module(module, None, floats)
    }

    fn of_script(
        script: &Script,
        shapes: Option<&[Vec<Dim>]>,
        integers: &[i64],
        dtype: DType,
        device: Device,
    ) -> Result<Self> {
        let open = match shapes {
            Some(shapes) => script.specialised(shapes, integers),
            None => script.shapes().and_then(|shapes| script.specialised(&shapes, integers)),
        };
        // What the native engine cannot read may run all the same; which inputs hold integers is known of traced code.
        let (inputs, graph): (Vec<(Signature, DType)>, Option<Graph>) = match open {
            Ok((graph, inputs)) => {
                let sizes = |shape: &[Dim]| shape.iter().map(Dim::size).collect::<Option<Vec<usize>>>();
                let input = |input: ModuleInput| {
                    let shape = input.shape.as_deref().and_then(sizes);
                    let shape =
                        shape.ok_or_else(|| Error::argument(format!("give all sizes of input `{}`", input.name)))?;
                    Ok((Signature { name: input.name, shape }, input.dtype))
                };
                (inputs.into_iter().map(input).collect::<Result<_>>()?, Some(graph))
            }
            Err(error) => (inputs_of(script, shapes, integers, error)?, None),
        };
        let (given, floats) = given(&inputs, integers)?;
        match (Module::compile(&script.archive()?, &given, checked(dtype)?, device), graph) {
            (Ok(module), graph) => Self::of_module(module, graph, floats),
            // Inputs that the code knows by keys, for one, are tensors of the graph.
            (Err(error), Some(graph)) => Self::on_libtorch(&graph, dtype, device).map_err(|_| error),
            (Err(error), None) => Err(error),
        }
    }

    fn on_libtorch(graph: &Graph, dtype: DType, device: Device) -> Result<Self> {
        graph.check_concrete()?;
        let inputs: Vec<Signature> = graph.inputs().iter().map(|value| signature(graph, value)).collect();
        let given: Vec<Input> = inputs.iter().map(|input| Input { shape: &input.shape, integers: None }).collect();
        let module = Module::compile(&save::script(graph, checked(dtype)?)?, &given, dtype, device)?;
        Self::of_module(module, Some(graph.clone()), inputs)
    }

    /// The graph, if there is one, says what the outputs are called; libtorch must find the same shapes.
    fn of_module(module: Module, graph: Option<Graph>, inputs: Vec<Signature>) -> Result<Self> {
        let outputs = match &graph {
            Some(graph) => graph.outputs().iter().map(|value| signature(graph, value)).collect(),
            None => module.outputs.clone(),
        };
        let shapes = |values: &[Signature]| values.iter().map(|value| value.shape.clone()).collect::<Vec<_>>();
        if shapes(&outputs) != shapes(&module.outputs) {
            let (ours, its) = (shapes(&outputs), shapes(&module.outputs));
            return Err(Error::internal(format!("the outputs have the shapes {ours:?}, on libtorch {its:?}")));
        }
        Ok(Self::new(graph, Engine::Libtorch(module), inputs, outputs))
    }

    fn new(
        graph: Option<Graph>,
        engine: Engine<Plan<f64>, Plan<f32>, Module>,
        inputs: Vec<Signature>,
        outputs: Vec<Signature>,
    ) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            graph: graph.map(Arc::new),
            engine,
            inputs,
            outputs,
            jacobian: Derivative::default(),
            hessian: Derivative::default(),
        }
    }

    /// The graph that was compiled; none of TorchScript that runs on libtorch and has operations that a graph has not.
    pub fn graph(&self) -> Option<&Graph> {
        self.graph.as_deref()
    }

    /// The precision of the computation.
    pub fn dtype(&self) -> DType {
        match &self.engine {
            Engine::F64(_) => DType::F64,
            Engine::F32(_) => DType::F32,
            Engine::Libtorch(module) => module.dtype,
        }
    }

    /// The number of input elements.
    pub fn n(&self) -> usize {
        either!(&self.engine, plan => plan.n, module => module.n)
    }

    /// The number of output elements.
    pub fn m(&self) -> usize {
        either!(&self.engine, plan => plan.m, module => module.m)
    }

    /// The inputs in signature order.
    pub fn inputs(&self) -> &[Signature] {
        &self.inputs
    }

    /// The outputs in signature order.
    pub fn outputs(&self) -> &[Signature] {
        &self.outputs
    }

    /// The element-wise chains that are computed together, as the numbers of the graph's nodes: an operation, and those
    /// that follow it with an element of what the chain has for each of their own. None on libtorch.
    pub fn chains(&self) -> Vec<Vec<usize>> {
        either!(&self.engine, plan => plan.chains().collect(), _module => Vec::new())
    }

    /// Buffers for one call at a time, on one thread.
    pub fn workspace(&self) -> Workspace {
        let threads = match &self.engine {
            Engine::F64(plan) => Engine::F64(vec![Thread::new(plan, 1)]),
            Engine::F32(plan) => Engine::F32(vec![Thread::new(plan, 1)]),
            Engine::Libtorch(_) => Engine::Libtorch(1),
        };
        Workspace { id: self.id, threads, pool: None }
    }

    /// The places of the Jacobian's entries that can be other than zero.
    pub fn jacobian_pattern(&self) -> &Pattern {
        self.jacobian.pattern.get_or_init(|| self.jacobian_entries().pattern())
    }

    /// The places of the entries of the Hessian's lower triangle that can be other than zero, for any mu.
    pub fn hessian_pattern(&self) -> &Pattern {
        self.hessian.pattern.get_or_init(|| self.hessian_entries().pattern())
    }

    fn jacobian_way(&self) -> &Way<Seeding> {
        self.jacobian.way.get_or_init(|| {
            let found = self.graph.as_ref().and_then(|graph| jacobian_structure(graph, SEARCH));
            let exact = found.is_some() || self.graph.is_none();
            let structure = found.unwrap_or_else(|| Structure::full(self.m(), self.n()));
            let rows = Seeding { forward: false, colours: None };
            let seeding = either!(&self.engine, plan => plan.jacobian_seeding(&structure), _module => rows);
            Way { structure, seeding, exact }
        })
    }

    /// For the lower triangle.
    fn hessian_way(&self) -> &Way<Method> {
        self.hessian.way.get_or_init(|| {
            let flat = either!(&self.engine, plan => plan.curved.is_none(), _module => false);
            let graph = self.graph.as_ref().filter(|_| !flat);
            let found = graph.and_then(|graph| hessian_structure(graph, SEARCH));
            let exact = flat || found.is_some() || self.graph.is_none();
            let (structure, terms) = match found {
                Some((structure, terms)) => (structure, Some(terms)),
                None if flat => (Structure::empty(self.n()), None),
                None => (Structure::full(self.n(), self.n()), None),
            };
            let method =
                |terms| either!(&self.engine, plan => plan.hessian_method(&structure, terms), _module => Method::Whole);
            let seeding = method(terms.as_ref());
            Way { structure: structure.lower(), seeding, exact }
        })
    }

    fn jacobian_entries(&self) -> &Structure {
        let way = self.jacobian_way();
        let find = || jacobian_structure(self.known(), usize::MAX).expect("there is no limit");
        if way.exact { &way.structure } else { self.jacobian.exact.get_or_init(find) }
    }

    fn hessian_entries(&self) -> &Structure {
        let way = self.hessian_way();
        let find = || hessian_structure(self.known(), usize::MAX).expect("there is no limit").0.lower();
        if way.exact { &way.structure } else { self.hessian.exact.get_or_init(find) }
    }

    /// The graph where a structure is known not to be exact.
    fn known(&self) -> &Graph {
        self.graph.as_deref().expect("without a graph all entries count")
    }

    /// The number of points in `x`, after a check of all lengths: `(name, found, expected per point)`.
    fn points<N>(&self, workspace: &Workspace, x: &[N], others: &[(&str, usize, usize)]) -> Result<usize> {
        if workspace.id != self.id {
            return Err(Error::argument("the workspace belongs to another function; make one with workspace()"));
        }
        let n = self.n();
        // Without inputs there is one point. A division takes longer than the comparison.
        let points = if x.len() == n { 1 } else { x.len().checked_div(n).unwrap_or(1) };
        if points * n != x.len() || points == 0 {
            return Err(Error::argument(format!("x has length {}, but a multiple of n = {n} is expected", x.len())));
        }
        for &(name, found, each) in others {
            if points.checked_mul(each) != Some(found) {
                return Err(Error::argument(format!(
                    "{name} has length {found}, but {points} x {each} is expected for {points} point(s)"
                )));
            }
        }
        Ok(points)
    }

    /// Runs a call at so many points, in the function's precision.
    fn call<N: Real>(
        &self,
        workspace: &mut Workspace,
        call: Call,
        points: usize,
        arguments: [&[N]; 3],
        out: &mut [N],
    ) -> Result<()> {
        let Workspace { threads, pool, .. } = workspace;
        if let (Engine::Libtorch(module), Engine::Libtorch(threads)) = (&self.engine, &*threads) {
            return module.call(*threads, call, points, arguments, out);
        }
        let run = || match (&self.engine, threads) {
            (Engine::F64(plan), Engine::F64(threads)) => plan.call(threads, call, points, arguments, out),
            (Engine::F32(plan), Engine::F32(threads)) => plan.call(threads, call, points, arguments, out),
            _ => unreachable!("the workspace was checked"),
        };
        match pool {
            Some(pool) => pool.install(run),
            None => run(),
        }
        let threads = &mut workspace.threads;
        let fault = either!(threads, all => all.iter_mut().find_map(Thread::take_fault), _count => None);
        fault.map_or(Ok(()), Err)
    }

    /// f: `y` has length K m.
    pub fn value<N: Real>(&self, workspace: &mut Workspace, x: &[N], y: &mut [N]) -> Result<()> {
        let points = self.points(workspace, x, &[("y", y.len(), self.m())])?;
        self.call(workspace, Call::Value, points, [x, &[], &[]], y)
    }

    /// J: `jacobian` has length K m n; each point's matrix is dense.
    pub fn jacobian<N: Real>(
        &self,
        workspace: &mut Workspace,
        x: &[N],
        order: Order,
        jacobian: &mut [N],
    ) -> Result<()> {
        let length = self.n().saturating_mul(self.m());
        let points = self.points(workspace, x, &[("the Jacobian", jacobian.len(), length)])?;
        let Way { structure, seeding, .. } = self.jacobian_way();
        let call = Call::Jacobian(Form::Dense(order), seeding, structure);
        self.call(workspace, call, points, [x, &[], &[]], jacobian)
    }

    /// J in the order of [`Function::jacobian_pattern`]: `values` has length K times the pattern's.
    pub fn jacobian_values<N: Real>(&self, workspace: &mut Workspace, x: &[N], values: &mut [N]) -> Result<()> {
        let structure = self.jacobian_entries();
        let points = self.points(workspace, x, &[("the Jacobian's values", values.len(), structure.len())])?;
        let call = Call::Jacobian(Form::Entries, &self.jacobian_way().seeding, structure);
        self.call(workspace, call, points, [x, &[], &[]], values)
    }

    /// J v: `v` has length K n, `out` K m.
    pub fn jvp<N: Real>(&self, workspace: &mut Workspace, x: &[N], v: &[N], out: &mut [N]) -> Result<()> {
        let (n, m) = (self.n(), self.m());
        let points = self.points(workspace, x, &[("v", v.len(), n), ("the result", out.len(), m)])?;
        self.call(workspace, Call::Jvp, points, [x, v, &[]], out)
    }

    /// J' u: `u` has length K m, `out` K n.
    pub fn vjp<N: Real>(&self, workspace: &mut Workspace, x: &[N], u: &[N], out: &mut [N]) -> Result<()> {
        let (n, m) = (self.n(), self.m());
        let points = self.points(workspace, x, &[("u", u.len(), m), ("the result", out.len(), n)])?;
        self.call(workspace, Call::Vjp, points, [x, u, &[]], out)
    }

    /// The Hessian of mu'f in the order of [`Function::hessian_pattern`] (lower triangle): `mu` has length K m,
    /// `values` K times the pattern's.
    pub fn hessian_values<N: Real>(
        &self,
        workspace: &mut Workspace,
        x: &[N],
        mu: &[N],
        values: &mut [N],
    ) -> Result<()> {
        let structure = self.hessian_entries();
        let others = [("mu", mu.len(), self.m()), ("the Hessian's values", values.len(), structure.len())];
        let points = self.points(workspace, x, &others)?;
        let call = Call::Hessian(Form::Entries, &self.hessian_way().seeding, structure);
        self.call(workspace, call, points, [x, mu, &[]], values)
    }

    /// The Hessian of mu'f, both triangles: `mu` has length K m, `hessian` K n n.
    pub fn hessian<N: Real>(&self, workspace: &mut Workspace, x: &[N], mu: &[N], hessian: &mut [N]) -> Result<()> {
        let n = self.n();
        let others = [("mu", mu.len(), self.m()), ("the Hessian", hessian.len(), n.saturating_mul(n))];
        let points = self.points(workspace, x, &others)?;
        let Way { structure, seeding, .. } = self.hessian_way();
        let call = Call::Hessian(Form::Dense(Order::RowMajor), seeding, structure);
        self.call(workspace, call, points, [x, mu, &[]], hessian)
    }

    /// The Hessian of mu'f times v: `mu` has length K m, `v` and `out` K n.
    pub fn hvp<N: Real>(&self, workspace: &mut Workspace, x: &[N], mu: &[N], v: &[N], out: &mut [N]) -> Result<()> {
        let (n, m) = (self.n(), self.m());
        let others = [("mu", mu.len(), m), ("v", v.len(), n), ("the result", out.len(), n)];
        let points = self.points(workspace, x, &others)?;
        self.call(workspace, Call::Hvp, points, [x, mu, v], out)
    }

    /// The parameters by which [`Function::parameter_gradient`] gives derivatives, in its order; none on the native engine.
    pub fn parameters(&self) -> &[Signature] {
        match &self.engine {
            Engine::Libtorch(module) => &module.parameters,
            _ => &[],
        }
    }

    /// The derivatives of u'f by all of [`Function::parameters`], each flat and row-major, one after another: `u` has
    /// length K m, `gradient` K times the number of their elements. libtorch computes them;
    /// [`ErrorKind::Unsupported`](crate::ErrorKind) on the native engine.
    pub fn parameter_gradient(
        &self,
        workspace: &mut Workspace,
        x: &[f64],
        u: &[f64],
        gradient: &mut [f64],
    ) -> Result<()> {
        let Engine::Libtorch(module) = &self.engine else {
            return Err(Error::unsupported(
                "the native engine has no derivatives by parameters; compile for the backend \"libtorch\"",
            ));
        };
        let others = [("u", u.len(), self.m()), ("the gradient", gradient.len(), module.parameter_count())];
        let points = self.points(workspace, x, &others)?;
        let threads = workspace.threads();
        module.compute(libtorch::kind::PARAMETERS, threads, points, [x, u, &[]], gradient)
    }
}

fn signature(graph: &Graph, value: &Named) -> Signature {
    Signature { name: value.name.clone(), shape: graph.sizes(value.value) }
}

fn no_precision(dtype: DType) -> Error {
    Error::argument(format!("cannot compute in {}; use float64 or float32", dtype.name()))
}

fn checked(dtype: DType) -> Result<DType> {
    if matches!(dtype, DType::F64 | DType::F32) { Ok(dtype) } else { Err(no_precision(dtype)) }
}

/// The inputs as libtorch takes them, with the integers of those that hold such, and those of floating-point numbers.
fn given<'a>(inputs: &'a [(Signature, DType)], integers: &'a [i64]) -> Result<(Vec<Input<'a>>, Vec<Signature>)> {
    let (mut given, mut floats, mut rest) = (Vec::new(), Vec::new(), integers);
    for (signature, dtype) in inputs {
        if dtype.is_float() {
            given.push(Input { shape: &signature.shape, integers: None });
            floats.push(signature.clone());
            continue;
        }
        let count = signature.shape.iter().product();
        let (own, others) = rest.split_at_checked(count).ok_or_else(|| {
            Error::argument(format!("input `{}` holds {count} integers; {} are left", signature.name, rest.len()))
        })?;
        rest = others;
        given.push(Input { shape: &signature.shape, integers: Some(own) });
    }
    Ok((given, floats))
}

/// The inputs of a script that has no graph, because of `error`.
fn inputs_of(
    script: &Script,
    shapes: Option<&[Vec<Dim>]>,
    integers: &[i64],
    error: Error,
) -> Result<Vec<(Signature, DType)>> {
    let mut inputs = script.inputs();
    if inputs.iter().all(|input| input.shape.is_none())
        && let Some(set) = shapes.and_then(|shapes| script.integers_by_size(shapes, integers))
    {
        set.into_iter().for_each(|at| inputs.get_mut(at).into_iter().for_each(|input| input.dtype = DType::I64));
    }
    let sizes = |shape: &[Dim]| shape.iter().map(Dim::size).collect::<Option<Vec<usize>>>();
    let input = |(at, input): (usize, &ModuleInput)| {
        let shape = shapes.map_or(input.shape.as_deref(), |shapes| shapes.get(at).map(Vec::as_slice));
        Some((Signature { name: input.name.clone(), shape: sizes(shape?)? }, input.dtype))
    };
    let fits = shapes.is_none_or(|shapes| shapes.len() == inputs.len());
    let all: Option<Vec<_>> = inputs.iter().enumerate().map(input).collect();
    all.filter(|_| fits && error.kind() == ErrorKind::Unsupported).ok_or(error)
}
