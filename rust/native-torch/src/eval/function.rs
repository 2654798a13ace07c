//! The engine's face: a compiled function in either precision, with checked lengths.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use super::{
    call::{Call, Thread},
    hessian::Method,
    jacobian::Seeding,
    matrix::Form,
    plan::Plan,
};
use crate::{
    Error, Result,
    diff::{Pattern, Structure, hessian_structure, jacobian_structure},
    graph::Graph,
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
    graph: Arc<Graph>,
    engine: Engine<Plan<f64>, Plan<f32>>,
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
    threads: Engine<Vec<Thread<f64>>, Vec<Thread<f32>>>,
    pool: Option<rayon::ThreadPool>,
}

/// One of the two precisions.
enum Engine<D, S> {
    F64(D),
    F32(S),
}

/// An expression with `$x` bound to what either precision holds.
macro_rules! either {
    ($engine:expr, $x:ident => $body:expr) => {
        match $engine {
            Engine::F64($x) => $body,
            Engine::F32($x) => $body,
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
        self.pool = if threads == 1 {
            None
        } else {
            Some(pool().map_err(|e| Error::argument(format!("{threads} threads cannot be started: {e}")))?)
        };
        either!(&mut self.threads, all => *all = all[0].team(threads));
        Ok(())
    }

    /// How many threads calls with this workspace use.
    pub fn threads(&self) -> usize {
        either!(&self.threads, all => all.len())
    }
}

impl Function {
    /// Compiles a graph whose sizes are all known, to compute in [`DType::F64`] or [`DType::F32`].
    pub fn compile(graph: &Graph, dtype: DType) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let engine = match dtype {
            DType::F64 => Engine::F64(Plan::compile(graph)?),
            DType::F32 => Engine::F32(Plan::compile(graph)?),
            other => {
                return Err(Error::argument(format!("cannot compute in {}; use float64 or float32", other.name())));
            }
        };
        let signatures = |values: &[crate::graph::Named]| {
            let signature = |v: &crate::graph::Named| Signature { name: v.name.clone(), shape: graph.sizes(v.value) };
            values.iter().map(signature).collect()
        };
        Ok(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            inputs: signatures(graph.inputs()),
            outputs: signatures(graph.outputs()),
            graph: Arc::new(graph.clone()),
            engine,
            jacobian: Derivative::default(),
            hessian: Derivative::default(),
        })
    }

    /// The graph that was compiled.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The precision of the computation.
    pub fn dtype(&self) -> DType {
        match self.engine {
            Engine::F64(_) => DType::F64,
            Engine::F32(_) => DType::F32,
        }
    }

    /// The number of input elements.
    pub fn n(&self) -> usize {
        either!(&self.engine, plan => plan.n)
    }

    /// The number of output elements.
    pub fn m(&self) -> usize {
        either!(&self.engine, plan => plan.m)
    }

    /// The inputs in signature order.
    pub fn inputs(&self) -> &[Signature] {
        &self.inputs
    }

    /// The outputs in signature order.
    pub fn outputs(&self) -> &[Signature] {
        &self.outputs
    }

    /// Buffers for one call at a time, on one thread.
    pub fn workspace(&self) -> Workspace {
        let threads = match &self.engine {
            Engine::F64(plan) => Engine::F64(vec![Thread::new(plan, 1)]),
            Engine::F32(plan) => Engine::F32(vec![Thread::new(plan, 1)]),
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
            let found = jacobian_structure(&self.graph, SEARCH);
            let exact = found.is_some();
            let structure = found.unwrap_or_else(|| Structure::full(self.m(), self.n()));
            let seeding = either!(&self.engine, plan => plan.jacobian_seeding(&structure));
            Way { structure, seeding, exact }
        })
    }

    /// For the lower triangle.
    fn hessian_way(&self) -> &Way<Method> {
        self.hessian.way.get_or_init(|| {
            let flat = either!(&self.engine, plan => plan.curved.is_none());
            let found = if flat { None } else { hessian_structure(&self.graph, SEARCH) };
            let exact = flat || found.is_some();
            let (structure, terms) = match found {
                Some((structure, terms)) => (structure, Some(terms)),
                None if flat => (Structure::empty(self.n()), None),
                None => (Structure::full(self.n(), self.n()), None),
            };
            let seeding = either!(&self.engine, plan => plan.hessian_method(&structure, terms.as_ref()));
            Way { structure: structure.lower(), seeding, exact }
        })
    }

    fn jacobian_entries(&self) -> &Structure {
        let way = self.jacobian_way();
        let find = || jacobian_structure(&self.graph, usize::MAX).expect("there is no limit");
        if way.exact { &way.structure } else { self.jacobian.exact.get_or_init(find) }
    }

    fn hessian_entries(&self) -> &Structure {
        let way = self.hessian_way();
        let find = || hessian_structure(&self.graph, usize::MAX).expect("there is no limit").0.lower();
        if way.exact { &way.structure } else { self.hessian.exact.get_or_init(find) }
    }

    /// The number of points in `x`, after a check of all lengths: `(name, found, expected per point)`.
    fn points<N>(&self, workspace: &Workspace, x: &[N], others: &[(&str, usize, usize)]) -> Result<usize> {
        if workspace.id != self.id {
            return Err(Error::argument("the workspace belongs to another function; make one with workspace()"));
        }
        let n = self.n();
        // Without inputs there is one point.
        let points = x.len().checked_div(n).unwrap_or(1);
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
        let run = || match (&self.engine, threads) {
            (Engine::F64(plan), Engine::F64(threads)) => plan.call(threads, call, points, arguments, out),
            (Engine::F32(plan), Engine::F32(threads)) => plan.call(threads, call, points, arguments, out),
            _ => unreachable!("the workspace was checked"),
        };
        match pool {
            Some(pool) => pool.install(run),
            None => run(),
        }
        let fault = either!(&mut workspace.threads, threads => threads.iter_mut().find_map(Thread::take_fault));
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
}
