//! The engine's face: a compiled function in either precision, with checked lengths.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use super::plan::{Call, Entries, Memory, Plan};
use crate::{
    Error, Result,
    diff::{Pattern, hessian_pattern, jacobian_pattern},
    graph::Graph,
    tensor::{DType, Real},
};

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
/// It never changes and may be used from many threads, each with a [`Workspace`] of its own. Numbers come and go as
/// `f64`; a function compiled in [`DType::F32`] computes in `f32` between.
///
/// Every method takes K points: `x` has length K n, and all other lengths follow. The methods allocate nothing once a
/// workspace has seen each kind of call. Values at one point are kept in the workspace, so that f, J and H at the same
/// x share the forward pass.
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
    jacobian_pattern: OnceLock<Pattern>,
    hessian_pattern: OnceLock<Pattern>,
}

/// The buffers that one thread needs to evaluate a [`Function`].
pub struct Workspace {
    id: u64,
    memory: Engine<Memory<f64>, Single>,
    /// A dense Jacobian from which the entries of the pattern are taken.
    dense: Vec<f64>,
}

/// Memory for `f32`, with the narrowed arguments and results.
struct Single {
    memory: Memory<f32>,
    arguments: [Vec<f32>; 3],
    result: Vec<f32>,
}

/// One of the two precisions.
enum Engine<D, S> {
    F64(D),
    F32(S),
}

fn narrow<'a>(from: &[f64], to: &'a mut Vec<f32>) -> &'a [f32] {
    to.clear();
    to.extend(from.iter().map(|&v| v as f32));
    to
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
            jacobian_pattern: OnceLock::new(),
            hessian_pattern: OnceLock::new(),
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
        match &self.engine {
            Engine::F64(plan) => plan.n(),
            Engine::F32(plan) => plan.n(),
        }
    }

    /// The number of output elements.
    pub fn m(&self) -> usize {
        match &self.engine {
            Engine::F64(plan) => plan.m(),
            Engine::F32(plan) => plan.m(),
        }
    }

    /// The inputs in signature order.
    pub fn inputs(&self) -> &[Signature] {
        &self.inputs
    }

    /// The outputs in signature order.
    pub fn outputs(&self) -> &[Signature] {
        &self.outputs
    }

    /// Buffers for one thread.
    pub fn workspace(&self) -> Workspace {
        let memory = match &self.engine {
            Engine::F64(plan) => Engine::F64(plan.memory()),
            Engine::F32(plan) => Engine::F32(Single {
                memory: plan.memory(),
                arguments: [Vec::new(), Vec::new(), Vec::new()],
                result: Vec::new(),
            }),
        };
        Workspace { id: self.id, memory, dense: Vec::new() }
    }

    /// The places of the Jacobian's entries that can be other than zero.
    pub fn jacobian_pattern(&self) -> &Pattern {
        self.jacobian_pattern.get_or_init(|| jacobian_pattern(&self.graph))
    }

    /// The places of the entries of the Hessian's lower triangle that can be other than zero, for any mu.
    pub fn hessian_pattern(&self) -> &Pattern {
        self.hessian_pattern.get_or_init(|| match &self.engine {
            Engine::F64(plan) if plan.is_flat() => Pattern::default(),
            Engine::F32(plan) if plan.is_flat() => Pattern::default(),
            _ => hessian_pattern(&self.graph),
        })
    }

    /// The number of points in `x`, after a check of all lengths: `(name, found, expected per point)`.
    fn points(&self, workspace: &Workspace, x: &[f64], others: &[(&str, usize, usize)]) -> Result<usize> {
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

    /// Runs a call that reads vectors and writes one, in the function's precision.
    fn call(&self, workspace: &mut Workspace, call: Call, arguments: [&[f64]; 3], out: &mut [f64]) {
        match (&self.engine, &mut workspace.memory) {
            (Engine::F64(plan), Engine::F64(memory)) => plan.call(memory, call, arguments, out),
            (Engine::F32(plan), Engine::F32(Single { memory, arguments: [first, second, third], result })) => {
                let [x, a, b] = arguments;
                result.resize(out.len(), 0.0);
                plan.call(memory, call, [narrow(x, first), narrow(a, second), narrow(b, third)], result);
                out.iter_mut().zip(result).for_each(|(to, from)| *to = (*from).into());
            }
            _ => unreachable!("the workspace was checked"),
        }
    }

    /// f: `y` has length K m.
    pub fn value(&self, workspace: &mut Workspace, x: &[f64], y: &mut [f64]) -> Result<()> {
        let points = self.points(workspace, x, &[("y", y.len(), self.m())])?;
        self.call(workspace, Call::Value(points), [x, &[], &[]], y);
        Ok(())
    }

    /// J: `jacobian` has length K m n; each point's matrix is dense.
    pub fn jacobian(&self, workspace: &mut Workspace, x: &[f64], order: Order, jacobian: &mut [f64]) -> Result<()> {
        let (n, m) = (self.n(), self.m());
        self.points(workspace, x, &[("the Jacobian", jacobian.len(), n.saturating_mul(m))])?;
        if jacobian.is_empty() {
            return Ok(());
        }
        for (x, jacobian) in x.chunks_exact(n).zip(jacobian.chunks_exact_mut(n * m)) {
            match (&self.engine, &mut workspace.memory) {
                (Engine::F64(plan), Engine::F64(memory)) => {
                    plan.jacobian(memory, x, |row, column, entries| place(entries, row, column, order, n, m, jacobian));
                }
                (Engine::F32(plan), Engine::F32(single)) => {
                    let x = narrow(x, &mut single.arguments[0]);
                    plan.jacobian(&mut single.memory, x, |row, column, entries| {
                        place(entries, row, column, order, n, m, jacobian);
                    });
                }
                _ => unreachable!("the workspace was checked"),
            }
        }
        Ok(())
    }

    /// J in the order of [`Function::jacobian_pattern`]: `values` has length K times the pattern's.
    pub fn jacobian_values(&self, workspace: &mut Workspace, x: &[f64], values: &mut [f64]) -> Result<()> {
        let (n, m) = (self.n(), self.m());
        let pattern = self.jacobian_pattern();
        self.points(workspace, x, &[("the Jacobian's values", values.len(), pattern.len())])?;
        if pattern.len() == n.saturating_mul(m) {
            return self.jacobian(workspace, x, Order::RowMajor, values);
        }
        let length = n.checked_mul(m).filter(|&length| length <= 1 << 31).ok_or_else(|| {
            Error::unsupported(format!("a Jacobian of {m} x {n} is larger than memory; use products with it"))
        })?;
        let mut dense = std::mem::take(&mut workspace.dense);
        dense.resize(length, 0.0);
        for (x, values) in x.chunks_exact(n.max(1)).zip(values.chunks_exact_mut(pattern.len().max(1))) {
            self.jacobian(workspace, x, Order::RowMajor, &mut dense)?;
            let places = pattern.rows.iter().zip(&pattern.columns);
            values.iter_mut().zip(places).for_each(|(v, (row, column))| *v = dense[row * n + column]);
        }
        workspace.dense = dense;
        Ok(())
    }

    /// J v: `v` has length K n, `out` K m.
    pub fn jvp(&self, workspace: &mut Workspace, x: &[f64], v: &[f64], out: &mut [f64]) -> Result<()> {
        let (n, m) = (self.n(), self.m());
        let points = self.points(workspace, x, &[("v", v.len(), n), ("the result", out.len(), m)])?;
        for p in 0..points {
            let (x, v) = (&x[p * n..(p + 1) * n], &v[p * n..(p + 1) * n]);
            let out = &mut out[p * m..(p + 1) * m];
            self.call(workspace, Call::Jvp, [x, v, &[]], out);
        }
        Ok(())
    }

    /// J' u: `u` has length K m, `out` K n.
    pub fn vjp(&self, workspace: &mut Workspace, x: &[f64], u: &[f64], out: &mut [f64]) -> Result<()> {
        let (n, m) = (self.n(), self.m());
        let points = self.points(workspace, x, &[("u", u.len(), m), ("the result", out.len(), n)])?;
        for p in 0..points {
            let (x, u) = (&x[p * n..(p + 1) * n], &u[p * m..(p + 1) * m]);
            let out = &mut out[p * n..(p + 1) * n];
            self.call(workspace, Call::Vjp, [x, u, &[]], out);
        }
        Ok(())
    }

    /// The Hessian of mu'f in the order of [`Function::hessian_pattern`] (lower triangle): `mu` has length K m,
    /// `values` K times the pattern's.
    pub fn hessian_values(&self, workspace: &mut Workspace, x: &[f64], mu: &[f64], values: &mut [f64]) -> Result<()> {
        let pattern = self.hessian_pattern();
        let length = pattern.len();
        let others = [("mu", mu.len(), self.m()), ("the Hessian's values", values.len(), length)];
        let points = self.points(workspace, x, &others)?;
        if length == 0 {
            return Ok(());
        }
        let n = self.n();
        self.hessian_at(workspace, points, x, mu, |p, h| {
            let places = pattern.rows.iter().zip(&pattern.columns);
            let values = &mut values[p * length..(p + 1) * length];
            values.iter_mut().zip(places).for_each(|(v, (row, column))| *v = h(row * n + column));
        })
    }

    /// The Hessian of mu'f, both triangles: `mu` has length K m, `hessian` K n n.
    pub fn hessian(&self, workspace: &mut Workspace, x: &[f64], mu: &[f64], hessian: &mut [f64]) -> Result<()> {
        let n = self.n();
        let others = [("mu", mu.len(), self.m()), ("the Hessian", hessian.len(), n.saturating_mul(n))];
        let points = self.points(workspace, x, &others)?;
        self.hessian_at(workspace, points, x, mu, |p, h| {
            let hessian = &mut hessian[p * n * n..(p + 1) * n * n];
            for i in 0..n {
                for j in 0..=i {
                    let value = h(i * n + j);
                    hessian[i * n + j] = value;
                    hessian[j * n + i] = value;
                }
            }
        })
    }

    /// Calls `emit` for each point with access to the lower triangle of the row-major Hessian.
    fn hessian_at(
        &self,
        workspace: &mut Workspace,
        points: usize,
        x: &[f64],
        mu: &[f64],
        mut emit: impl FnMut(usize, &dyn Fn(usize) -> f64),
    ) -> Result<()> {
        let (n, m) = (self.n(), self.m());
        if n == 0 {
            return Ok(());
        }
        for p in 0..points {
            let (x, mu) = (&x[p * n..(p + 1) * n], &mu[p * m..(p + 1) * m]);
            match (&self.engine, &mut workspace.memory) {
                (Engine::F64(plan), Engine::F64(memory)) => {
                    let h = plan.hessian(memory, x, mu)?;
                    emit(p, &|i| h[i]);
                }
                (Engine::F32(plan), Engine::F32(single)) => {
                    let [first, second, _] = &mut single.arguments;
                    let h = plan.hessian(&mut single.memory, narrow(x, first), narrow(mu, second))?;
                    emit(p, &|i| h[i].into());
                }
                _ => unreachable!("the workspace was checked"),
            }
        }
        Ok(())
    }

    /// The Hessian of mu'f times v: `mu` has length K m, `v` and `out` K n.
    pub fn hvp(&self, workspace: &mut Workspace, x: &[f64], mu: &[f64], v: &[f64], out: &mut [f64]) -> Result<()> {
        let (n, m) = (self.n(), self.m());
        let others = [("mu", mu.len(), m), ("v", v.len(), n), ("the result", out.len(), n)];
        let points = self.points(workspace, x, &others)?;
        for p in 0..points {
            let (x, v) = (&x[p * n..(p + 1) * n], &v[p * n..(p + 1) * n]);
            let (mu, out) = (&mu[p * m..(p + 1) * m], &mut out[p * n..(p + 1) * n]);
            self.call(workspace, Call::Hvp, [x, mu, v], out);
        }
        Ok(())
    }
}

/// Writes a piece of a row of the Jacobian.
fn place<T: Real>(
    entries: Entries<T>,
    row: usize,
    column: usize,
    order: Order,
    n: usize,
    m: usize,
    jacobian: &mut [f64],
) {
    let start = match order {
        Order::RowMajor => row * n + column,
        Order::ColumnMajor => column * m + row,
    };
    let step = if order == Order::RowMajor { 1 } else { m };
    let targets = jacobian[start..].iter_mut().step_by(step);
    match entries {
        Entries::Numbers(numbers) => targets.zip(numbers).for_each(|(j, v)| *j = v.to_f64()),
        Entries::Zeros(count) => targets.take(count).for_each(|j| *j = 0.0),
    }
}
