//! Calls at many points: in blocks whose values stand side by side, spread over threads where asked for.

use super::{
    hessian::Method,
    jacobian::Seeding,
    kernels::Place,
    matrix::{Form, Matrices, convert},
    memory::{Layout, Memory, Slots},
    plan::Plan,
};
use crate::{Error, diff::Structure, tensor::Real};

/// Elements of one kind of buffer (tangents, adjoints) that a pass may take, beyond what one direction needs.
const BUDGET: usize = 1 << 22;
/// Points that are taken at a time: enough that a product reads its weights rarely, and so few that what they take stays
/// in the second-level cache. Many directions at one point are enough by themselves.
const BLOCK: usize = 48;
const CACHED: usize = 1 << 16;

/// What is asked for at each point.
#[derive(Clone, Copy)]
pub(super) enum Call<'a> {
    /// f
    Value,
    /// `J v` for `v`.
    Jvp,
    /// `J' u` for `u`.
    Vjp,
    /// The Hessian of `mu' f` times `v`, for `mu` and `v`.
    Hvp,
    Jacobian(Form, &'a Seeding, &'a Structure),
    /// The Hessian of `mu' f`, for `mu`; the structure is the lower triangle's.
    Hessian(Form, &'a Method, &'a Structure),
}

/// What one thread needs.
pub(super) struct Thread<T> {
    memory: Memory<T>,
}

impl<T> Thread<T> {
    /// What went wrong in a call; the values of that point are not used again.
    pub fn take_fault(&mut self) -> Option<Error> {
        let fault = self.memory.pass.scratch.fault.take()?;
        self.memory.points = 0;
        Some(fault)
    }
}

impl<T: Real> Thread<T> {
    /// For a plan whose kernels may use so many threads.
    pub fn new(plan: &Plan<T>, threads: usize) -> Self {
        Self::of(plan.sizes.len(), threads)
    }

    fn of(slots: usize, threads: usize) -> Self {
        Self { memory: Memory::new(slots, threads) }
    }

    /// So many threads for the same plan. The first one runs what is not split into points, with all of them.
    pub fn team(&self, threads: usize) -> Vec<Self> {
        let slots = self.memory.pass.adjoints.written.len();
        (0..threads).map(|i| Self::of(slots, if i == 0 { threads } else { 1 })).collect()
    }
}

impl<T: Real> Plan<T> {
    /// How many of the wanted directions at each of some points a pass takes at a time.
    pub fn lanes(&self, layout: &Layout, points: usize, wanted: usize) -> usize {
        let lanes = BUDGET / (layout.total * points).max(1);
        if lanes >= wanted { wanted } else { (lanes / 24 * 24).max(1) }
    }

    /// How many points are taken at a time.
    fn block(&self, call: Call) -> usize {
        let [kept, passing, bent] = [&self.layouts.kept, &self.layouts.passing, &self.layouts.bent].map(|l| l.total);
        let room = match call {
            Call::Value => self.value_room(),
            Call::Jvp | Call::Vjp => kept + passing,
            Call::Hvp => kept + bent + 2 * passing,
            Call::Jacobian(_, seeding, _) => kept + self.directions(seeding) * passing,
            Call::Hessian(_, seeding, _) => 2 * kept + self.hessian_lanes(seeding),
        };
        (CACHED / room.max(1)).clamp(1, BLOCK)
    }

    /// The lengths of the arguments at one point.
    fn lengths(&self, call: Call) -> [usize; 3] {
        let (n, m) = (self.n, self.m);
        match call {
            Call::Value | Call::Jacobian(..) => [n, 0, 0],
            Call::Jvp => [n, n, 0],
            Call::Vjp | Call::Hessian(..) => [n, m, 0],
            Call::Hvp => [n, m, n],
        }
    }

    /// Runs a call at so many points on all these threads; with more than one, inside their pool.
    pub fn call<N: Real>(
        &self,
        threads: &mut [Thread<T>],
        call: Call,
        points: usize,
        arguments: [&[N]; 3],
        out: &mut [N],
    ) {
        if out.is_empty() {
            return;
        }
        if points == 1 {
            return self.run_block(&mut threads[0].memory, call, 1, arguments, out);
        }
        let (block, each) = (self.block(call), out.len() / points);
        // The blocks do not depend on the number of threads, nor so the results.
        let share = points.div_ceil(block).div_ceil(threads.len()) * block;
        if share >= points {
            return self.run_blocks(&mut threads[0], call, block, arguments, out, each);
        }
        rayon::scope(|scope| {
            for (i, (thread, out)) in threads.iter_mut().zip(out.chunks_mut(share * each)).enumerate() {
                let lengths = self.lengths(call);
                let part = |k: usize| {
                    let start = i * share * lengths[k];
                    &arguments[k][start..start + out.len() / each * lengths[k]]
                };
                let arguments = [part(0), part(1), part(2)];
                scope.spawn(move |_| self.run_blocks(thread, call, block, arguments, out, each));
            }
        });
    }

    fn run_blocks<N: Real>(
        &self,
        thread: &mut Thread<T>,
        call: Call,
        block: usize,
        arguments: [&[N]; 3],
        out: &mut [N],
        each: usize,
    ) {
        let lengths = self.lengths(call);
        for (i, out) in out.chunks_mut(block * each).enumerate() {
            let points = out.len() / each;
            let part = |k: usize| &arguments[k][i * block * lengths[k]..][..points * lengths[k]];
            self.run_block(&mut thread.memory, call, points, [part(0), part(1), part(2)], out);
        }
    }

    pub fn run_block<N: Real>(
        &self,
        memory: &mut Memory<T>,
        call: Call,
        points: usize,
        [x, a, b]: [&[N]; 3],
        out: &mut [N],
    ) {
        let passing = &self.layouts.passing;
        match call {
            Call::Value => self.emit_outputs(self.results(memory, points, x), points, out, true),
            Call::Jvp => {
                let (point, pass) = self.values(memory, points, x);
                point.seed_direction(passing, &mut pass.tangents, a);
                point.push(passing, pass, 1, 0..self.steps.len(), None);
                self.emit_outputs(Slots::new(passing, &pass.tangents), points, out, false);
            }
            Call::Vjp => {
                let (point, pass) = self.values(memory, points, x);
                point.seed_weights(passing, &mut pass.adjoints, &mut pass.curved, a);
                point.pull(passing, &mut pass.adjoints, &mut pass.scratch, 1, 0..self.steps.len(), None);
                point.input_adjoints(passing, &pass.adjoints, 1, |offset, size, g| {
                    self.emit_input(offset, size, g, out);
                });
            }
            Call::Hvp => {
                if self.curved.is_none() {
                    return out.fill(N::ZERO);
                }
                let (point, pass) = self.values(memory, points, x);
                point.seed_direction(&self.layouts.bent, &mut pass.tangents, b);
                point.hessian_times(pass, 1, a);
                point.input_adjoints(passing, &pass.second, 1, |offset, size, g| {
                    self.emit_input(offset, size, g, out);
                });
            }
            Call::Jacobian(form, seeding, structure) => {
                self.jacobian(memory, points, x, seeding, &mut Matrices::zeros(out, form, structure));
            }
            Call::Hessian(form, seeding, structure) => {
                self.hessian(memory, points, [x, a], seeding, &mut Matrices::zeros(out, form, structure));
            }
        }
    }

    /// Writes the outputs' values or tangents, `[point, m]`. Constant outputs have a value, but no tangent.
    fn emit_outputs<N: Real>(&self, slots: Slots<T>, points: usize, out: &mut [N], values: bool) {
        let mut offset = 0;
        for place in &self.outputs {
            let size = place.size();
            for p in 0..points {
                let out = &mut out[p * self.m + offset..][..size];
                match place {
                    Place::Slot(slot, _) if points == 1 => convert(slots.get(*slot, 1, size), out),
                    Place::Slot(slot, _) => {
                        let from = slots.get(*slot, points, size * points).iter().skip(p).step_by(points);
                        out.iter_mut().zip(from).for_each(|(to, from)| *to = N::from_f64(from.to_f64()));
                    }
                    Place::Constant(numbers) if values => convert(numbers, out),
                    Place::Constant(_) => out.fill(N::ZERO),
                }
            }
            offset += size;
        }
    }

    /// Writes an input's adjoints at all points, `[point, n]`.
    fn emit_input<N: Real>(&self, offset: usize, size: usize, g: Option<&[T]>, out: &mut [N]) {
        for (p, out) in out.chunks_exact_mut(self.n).enumerate() {
            let out = &mut out[offset..offset + size];
            match g {
                Some(g) => convert(&g[p * size..(p + 1) * size], out),
                None => out.fill(N::ZERO),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Builder, Dim, Unary};

    #[test]
    fn values_at_the_same_point_are_not_computed_again() {
        let mut b = Builder::new();
        let x = b.input("x", vec![Dim::Size(1)]);
        let y = b.unary(Unary::Tanh, x).unwrap();
        let plan = Plan::<f64>::compile(&b.finish(&[("y", y)]).unwrap()).unwrap();
        let mut threads = [Thread::new(&plan, 1)];
        let run = |threads: &mut [Thread<f64>], call, x: f64| {
            let mut y = [0.0];
            plan.call(threads, call, 1, [&[x], &[1.0], &[]], &mut y);
            y[0]
        };
        let value = |threads: &mut [Thread<f64>], x| run(threads, Call::Value, x);
        assert_eq!(value(&mut threads, 0.5), Real::tanh::<true>(0.5));
        // A mark that a new computation would overwrite.
        threads[0].memory.values[1] = 42.0;
        assert_eq!(value(&mut threads, 0.5), 42.0);
        assert_eq!(run(&mut threads, Call::Jvp, 0.5), 1.0 - 42.0 * 42.0);
        assert_ne!(value(&mut threads, -0.5), 42.0);
        // The sign of zero tells points apart.
        assert_eq!(value(&mut threads, 0.0).to_bits(), 0.0f64.to_bits());
        assert_eq!(value(&mut threads, -0.0).to_bits(), (-0.0f64).to_bits());
    }
}
