//! Branches and loops: plans within a plan. Which of them runs, and how often, the values at each point decide.

use std::sync::Mutex;

use super::{At, Kernel, Operands, Scratch, Write};
use crate::{
    Error, Result,
    eval::{call::Call, memory::Memory, plan::Plan},
    graph::{Graph, Subgraph},
    tensor::Real,
};

/// A loop may take this many turns at a point ...
const TURNS: usize = 1 << 20;
/// ... and keep this many numbers for a pass in reverse.
const KEPT: usize = 1 << 26;

/// A plan, and buffers for those that run it.
struct Inner<T> {
    plan: Plan<T>,
    free: Mutex<Vec<Memory<T>>>,
}

impl<T: Real> Inner<T> {
    fn new(graph: &Graph) -> Result<Self> {
        Ok(Self { plan: Plan::compile(graph)?, free: Mutex::default() })
    }

    /// Runs a call at one point.
    fn run(&self, call: Call, arguments: [&[f64]; 3], out: &mut [f64]) -> Result<()> {
        if out.is_empty() {
            return Ok(());
        }
        let lock = || self.free.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let free = lock().pop();
        let mut memory = free.unwrap_or_else(|| Memory::new(self.plan.sizes.len(), 1));
        self.plan.run_block(&mut memory, call, 1, arguments, out);
        let fault = memory.pass.scratch.fault.take();
        if fault.is_some() {
            // What was computed is not to be used again.
            memory.points = 0;
        }
        lock().push(memory);
        fault.map_or(Ok(()), Err)
    }

    fn is_curved(&self) -> bool {
        self.plan.curved.is_some()
    }

    fn cost(&self) -> f64 {
        self.plan.cost(self.plan.steps.len(), None)
    }
}

/// A function of one operand, `[n]` to `[m]`, that is run at one point at a time.
pub(super) trait Flow<T>: Send + Sync {
    /// Which operand that is; another one is a mask.
    const OPERAND: usize;
    fn sizes(&self) -> [usize; 2];
    fn run(&self, mask: bool, call: Call, arguments: [&[f64]; 3], out: &mut [f64]) -> Result<()>;
    fn is_curved(&self) -> bool;
    fn cost(&self) -> f64;
}

/// One of two plans.
pub(super) struct Branches<T>([Inner<T>; 2]);

impl<T: Real> Branches<T> {
    pub fn new([taken, other]: &[Subgraph; 2]) -> Result<Self> {
        Ok(Self([Inner::new(taken)?, Inner::new(other)?]))
    }
}

impl<T: Real> Flow<T> for Branches<T> {
    const OPERAND: usize = 1;

    fn sizes(&self) -> [usize; 2] {
        [self.0[0].plan.n, self.0[0].plan.m]
    }

    fn run(&self, mask: bool, call: Call, arguments: [&[f64]; 3], out: &mut [f64]) -> Result<()> {
        self.0[usize::from(!mask)].run(call, arguments, out)
    }

    fn is_curved(&self) -> bool {
        self.0.iter().any(Inner::is_curved)
    }

    fn cost(&self) -> f64 {
        self.0[0].cost().max(self.0[1].cost())
    }
}

/// A plan that is run again and again.
pub(super) struct Loop<T> {
    condition: Inner<T>,
    body: Inner<T>,
    scope: String,
}

impl<T: Real> Loop<T> {
    pub fn new(condition: &Graph, body: &Graph, scope: &str) -> Result<Self> {
        Ok(Self { condition: Inner::new(condition)?, body: Inner::new(body)?, scope: scope.to_owned() })
    }

    /// Takes turns from `x` on, which ends as the last state: `turn` is given each state before it is left.
    fn turns(&self, x: &mut [f64], mut turn: impl FnMut(&[f64]) -> Result<()>) -> Result<()> {
        let mut next = vec![0.0; self.body.plan.m];
        for _ in 0..TURNS {
            let mut again = [0.0];
            self.condition.run(Call::Value, [x, &[], &[]], &mut again)?;
            if again[0] == 0.0 {
                return Ok(());
            }
            turn(x)?;
            self.body.run(Call::Value, [x, &[], &[]], &mut next)?;
            x[..next.len()].copy_from_slice(&next);
        }
        let what = format!("the loop takes more than {TURNS} turns at this point; does it end?");
        Err(Error::argument(what).at(&self.scope))
    }

    /// The states before each turn, one behind another.
    fn states(&self, x: &[f64]) -> Result<Vec<f64>> {
        let (mut states, mut x) = (Vec::new(), x.to_vec());
        self.turns(&mut x, |state| {
            states.extend_from_slice(state);
            match states.len() <= KEPT {
                true => Ok(()),
                false => Err(Error::argument(format!(
                    "the loop takes so many turns at this point that its {} numbers do not fit in the memory for derivatives",
                    states.len()
                ))
                .at(&self.scope)),
            }
        })?;
        Ok(states)
    }
}

impl<T: Real> Flow<T> for Loop<T> {
    const OPERAND: usize = 0;

    fn sizes(&self) -> [usize; 2] {
        [self.body.plan.n, self.body.plan.m]
    }

    fn run(&self, _: bool, call: Call, [x, a, b]: [&[f64]; 3], out: &mut [f64]) -> Result<()> {
        let [n, m] = self.sizes();
        match call {
            Call::Value => {
                let mut x = x.to_vec();
                self.turns(&mut x, |_| Ok(()))?;
                out.copy_from_slice(&x[..m]);
            }
            Call::Jvp => {
                let (mut t, mut next) = (a.to_vec(), vec![0.0; m]);
                self.turns(&mut x.to_vec(), |state| {
                    self.body.run(Call::Jvp, [state, &t, &[]], &mut next)?;
                    t[..m].copy_from_slice(&next);
                    Ok(())
                })?;
                out.copy_from_slice(&t[..m]);
            }
            Call::Vjp => {
                let (mut g, mut back) = (a.to_vec(), vec![0.0; n]);
                out.fill(0.0);
                for state in self.states(x)?.rchunks_exact(n.max(1)) {
                    self.body.run(Call::Vjp, [state, &g, &[]], &mut back)?;
                    g.copy_from_slice(&back[..m]);
                    add(&back[m..], &mut out[m..]);
                }
                out[..m].copy_from_slice(&g);
            }
            Call::Hvp => {
                let states = self.states(x)?;
                let (mut tangents, mut t, mut next) = (Vec::with_capacity(states.len()), b.to_vec(), vec![0.0; m]);
                for state in states.chunks_exact(n.max(1)) {
                    tangents.extend_from_slice(&t);
                    self.body.run(Call::Jvp, [state, &t, &[]], &mut next)?;
                    t[..m].copy_from_slice(&next);
                }
                // Adjoints, and their derivatives in the direction.
                let (mut g, mut second, mut back) = (a.to_vec(), vec![0.0; m], vec![0.0; n]);
                let mut bent = vec![0.0; n];
                out.fill(0.0);
                for (state, t) in states.rchunks_exact(n.max(1)).zip(tangents.rchunks_exact(n.max(1))) {
                    self.body.run(Call::Hvp, [state, &g, t], &mut bent)?;
                    self.body.run(Call::Vjp, [state, &second, &[]], &mut back)?;
                    add(&back, &mut bent);
                    second.copy_from_slice(&bent[..m]);
                    add(&bent[m..], &mut out[m..]);
                    self.body.run(Call::Vjp, [state, &g, &[]], &mut back)?;
                    g.copy_from_slice(&back[..m]);
                }
                out[..m].copy_from_slice(&second);
            }
            Call::Jacobian(..) | Call::Hessian(..) => return Err(Error::internal("a matrix of a loop")),
        }
        Ok(())
    }

    fn is_curved(&self) -> bool {
        self.body.is_curved()
    }

    fn cost(&self) -> f64 {
        // How many turns there will be is not known.
        10.0 * (self.body.cost() + self.condition.cost())
    }
}

fn add(from: &[f64], to: &mut [f64]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
}

/// The kernel of a flow.
pub(super) struct Nested<F>(pub F);

impl<F> Nested<F> {
    /// Runs a call at a point; what fails is kept for the caller, and gives no number.
    fn at<T: Real>(
        &self,
        x: Operands<T>,
        p: usize,
        call: Call,
        arguments: [&[f64]; 2],
        out: &mut [f64],
        scratch: &mut Scratch<T>,
    ) where
        F: Flow<T>,
    {
        let column = |operand: usize| -> Vec<f64> {
            let (numbers, constant) = x.get(operand);
            match constant {
                true => numbers.iter().map(|v| v.to_f64()).collect(),
                false => numbers.iter().skip(p).step_by(x.points).map(|v| v.to_f64()).collect(),
            }
        };
        let mask = F::OPERAND == 0 || column(0)[0] != 0.0;
        if let Err(error) = self.0.run(mask, call, [&column(F::OPERAND), arguments[0], arguments[1]], out) {
            out.fill(f64::NAN);
            scratch.fault.get_or_insert(error);
        }
    }
}

fn put<T: Real>(from: &[f64], to: &mut [T], write: Write) {
    let pairs = to.iter_mut().zip(from);
    match write {
        Write::Set => pairs.for_each(|(to, &from)| *to = T::from_f64(from)),
        Write::Add => pairs.for_each(|(to, &from)| *to += T::from_f64(from)),
    }
}

impl<T: Real, F: Flow<T>> Kernel<T> for Nested<F> {
    fn forward(&self, x: Operands<T>, y: &mut [T], scratch: &mut Scratch<T>) {
        let mut out = vec![0.0; self.0.sizes()[1]];
        for p in 0..x.points {
            self.at(x, p, Call::Value, [&[]; 2], &mut out, scratch);
            y.iter_mut().skip(p).step_by(x.points).zip(&out).for_each(|(y, &v)| *y = T::from_f64(v));
        }
    }

    fn jvp(&self, _: usize, at: At<T>, columns: usize, t: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        let lanes = at.points() * columns;
        let mut result = vec![0.0; self.0.sizes()[1]];
        for lane in 0..lanes {
            let t: Vec<f64> = t.iter().skip(lane).step_by(lanes).map(|t| t.to_f64()).collect();
            self.at(at.x, lane / columns, Call::Jvp, [&t, &[]], &mut result, s);
            for (out, v) in out.iter_mut().skip(lane).step_by(lanes).zip(&result) {
                put(std::slice::from_ref(v), std::slice::from_mut(out), write);
            }
        }
    }

    fn vjp(&self, _: usize, at: At<T>, rows: usize, g: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        let [n, m] = self.0.sizes();
        let mut result = vec![0.0; n];
        for lane in 0..at.points() * rows {
            let g: Vec<f64> = g[lane * m..(lane + 1) * m].iter().map(|g| g.to_f64()).collect();
            self.at(at.x, lane / rows, Call::Vjp, [&g, &[]], &mut result, s);
            put(&result, &mut out[lane * n..(lane + 1) * n], write);
        }
    }

    fn is_smooth(&self, operand: usize) -> bool {
        operand == F::OPERAND
    }

    fn curved(&self) -> &'static [(usize, usize)] {
        match (self.0.is_curved(), F::OPERAND) {
            (false, _) => &[],
            (true, 0) => &[(0, 0)],
            (true, _) => &[(1, 1)],
        }
    }

    fn curvature(
        &self,
        _: (usize, usize),
        at: At<T>,
        lambda: &[T],
        columns: usize,
        t: &[T],
        out: &mut [T],
        s: &mut Scratch<T>,
    ) {
        let ([n, m], lanes) = (self.0.sizes(), at.points() * columns);
        let mut result = vec![0.0; n];
        for lane in 0..lanes {
            let p = lane / columns;
            let lambda: Vec<f64> = lambda[p * m..(p + 1) * m].iter().map(|v| v.to_f64()).collect();
            let t: Vec<f64> = t.iter().skip(lane).step_by(lanes).map(|t| t.to_f64()).collect();
            self.at(at.x, p, Call::Hvp, [&lambda, &t], &mut result, s);
            out.iter_mut().skip(lane).step_by(lanes).zip(&result).for_each(|(out, &v)| *out = T::from_f64(v));
        }
    }

    fn cost(&self) -> f64 {
        self.0.cost()
    }
}
