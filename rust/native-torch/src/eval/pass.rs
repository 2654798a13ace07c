//! Passes through a plan: values and tangents forward, adjoints in reverse, and both for products with the Hessian.

use std::ops::Range;

use super::{
    chain::Chain,
    kernels::{At, Operands, Place, Scratch, Write},
    matrix::convert,
    memory::{Adjoints, Layout, Memory, Pass, Slots, grown},
    plan::{Plan, Step},
};
use crate::tensor::Real;

/// More elements of values than these are not kept for derivatives at the same point when only f is asked for.
const KEEP: usize = 1 << 20;

impl<T: Real> Plan<T> {
    /// Computes all values at these points, unless they are there already. `x` is `[point, n]`.
    pub fn values<'a, N: Real>(
        &'a self,
        memory: &'a mut Memory<T>,
        points: usize,
        x: &[N],
    ) -> (Point<'a, T>, &'a mut Pass<T>) {
        let layout = &self.layouts.kept;
        if memory.points != points || !self.is_known(memory, x) {
            memory.points = 0;
            self.run(layout, true, memory, points, x);
            memory.points = points;
        }
        let values = Slots::new(layout, &memory.values[..layout.total * points]);
        (Point { plan: self, values, points }, &mut memory.pass)
    }

    /// Whether all values are there for these points.
    fn is_known<N: Real>(&self, memory: &Memory<T>, x: &[N]) -> bool {
        let (points, slots) = (memory.points, Slots::new(&self.layouts.kept, &memory.values));
        // Bit by bit, so that a NaN is the same point, too.
        let same = |(a, b): (&T, &N)| a.to_f64().to_bits() == T::from_f64(b.to_f64()).to_f64().to_bits();
        let mut offset = 0;
        self.inputs.iter().all(|&slot| {
            let size = self.sizes[slot];
            let known = slots.get(slot, points, size * points);
            let all = (0..points).all(|p| {
                let x = &x[p * self.n + offset..][..size];
                known.iter().skip(p).step_by(points).zip(x).all(same)
            });
            offset += size;
            all
        })
    }

    /// f at these points: the outputs' values. They are kept only where they are few.
    pub fn results<'a, N: Real>(&'a self, memory: &'a mut Memory<T>, points: usize, x: &[N]) -> Slots<'a, T> {
        if self.layouts.kept.total * points <= KEEP {
            return self.values(memory, points, x).0.values;
        }
        let layout = &self.layouts.values;
        memory.points = 0;
        self.run(layout, false, memory, points, x);
        Slots::new(layout, &memory.values)
    }

    /// The elements of values that one point takes where only f is asked for.
    pub fn value_room(&self) -> usize {
        if self.layouts.kept.total <= KEEP { self.layouts.kept.total } else { self.layouts.values.total }
    }

    /// Computes the values, chain by chain; all of them are kept, or the last one of each chain as long as it is needed.
    fn run<N: Real>(&self, layout: &Layout, kept: bool, memory: &mut Memory<T>, points: usize, x: &[N]) {
        let values = grown(&mut memory.values, layout.total * points);
        let mut offset = 0;
        for &slot in &self.inputs {
            let size = self.sizes[slot];
            let (_, value) = Slots::writing(layout, values, slot, points, size * points);
            interleave(points, |p| &x[p * self.n + offset..][..size], value);
            offset += size;
        }
        let Pass { scratch, chain: blocks, .. } = &mut memory.pass;
        for chain in &self.chains {
            let (head, links) = (&self.steps[chain.start], &self.steps[chain.start + 1..chain.end]);
            let length = self.sizes[head.result] * points;
            // What is kept and short is in the first-level cache anyway.
            if links.is_empty() || (kept && Chain::<T>::is_block(length)) {
                for step in &self.steps[chain.clone()] {
                    let (slots, y) =
                        Slots::writing(layout, values, step.result, points, self.sizes[step.result] * points);
                    step.kernel.forward(Operands { slots, places: &step.operands, points }, y, scratch);
                }
                continue;
            }
            let (slot, whole) =
                if kept { (head.result, length * chain.len()) } else { (head.result + links.len(), length) };
            let (slots, all) = Slots::writing(layout, values, slot, points, whole);
            let (y, rest) = all.split_at_mut(length);
            let results = if kept { rest } else { grown(blocks, Chain::<T>::room(links.len())) };
            let x = Operands { slots, places: &head.operands, points };
            let mut chain = Chain::new(links, head.result, slots, points, results, kept);
            if (0..head.operands.len()).any(|operand| head.kernel.is_elementwise(operand)) {
                chain.lead(head, x, y);
            } else {
                head.kernel.forward_chain(x, y, scratch, &mut chain);
            }
        }
    }
}

/// `to[element, point] = from(point)[element]`
fn interleave<'a, T: Real, N: Real>(points: usize, from: impl Fn(usize) -> &'a [N], to: &mut [T]) {
    if points == 1 {
        return convert(from(0), to);
    }
    for p in 0..points {
        to.iter_mut().skip(p).step_by(points).zip(from(p)).for_each(|(to, from)| *to = T::from_f64(from.to_f64()));
    }
}

/// The values at some points: where derivatives are taken.
#[derive(Clone, Copy)]
pub(super) struct Point<'a, T> {
    pub plan: &'a Plan<T>,
    pub values: Slots<'a, T>,
    pub points: usize,
}

impl<'a, T: Real> Point<'a, T> {
    /// The operands and the result of a step.
    pub fn at(&self, step: &'a Step<T>) -> At<'a, T> {
        let x = Operands { slots: self.values, places: &step.operands, points: self.points };
        At { x, y: self.values.get(step.result, self.points, self.plan.sizes[step.result] * self.points) }
    }

    /// Sets the inputs' tangents to `v`, `[point, n]`: one column.
    pub fn seed_direction<N: Real>(&self, layout: &Layout, tangents: &mut Vec<T>, v: &[N]) {
        let Self { plan, points, .. } = *self;
        let tangents = grown(tangents, layout.total * points);
        let mut offset = 0;
        for &slot in &plan.inputs {
            let size = plan.sizes[slot];
            let (_, t) = Slots::writing(layout, tangents, slot, points, size * points);
            interleave(points, |p| &v[p * plan.n + offset..][..size], t);
            offset += size;
        }
    }

    /// Sets the inputs' tangents so that the column of each input element, as `column` tells, is 1 there.
    pub fn seed_columns(
        &self,
        layout: &Layout,
        tangents: &mut Vec<T>,
        columns: usize,
        column: impl Fn(usize) -> Option<usize>,
    ) {
        let Self { plan, points, .. } = *self;
        let lanes = points * columns;
        let tangents = grown(tangents, layout.total * lanes);
        let mut offset = 0;
        for &slot in &plan.inputs {
            let size = plan.sizes[slot];
            let (_, t) = Slots::writing(layout, tangents, slot, lanes, size * lanes);
            t.fill(T::ZERO);
            for element in 0..size {
                if let Some(column) = column(offset + element) {
                    (0..points).for_each(|p| t[(element * points + p) * columns + column] = T::ONE);
                }
            }
            offset += size;
        }
    }

    /// Pushes tangents through these steps. With `stored`, those of this step's operand are the unit vectors of its
    /// elements from there on, and its stored Jacobian need not be multiplied.
    pub fn push(
        &self,
        layout: &Layout,
        pass: &mut Pass<T>,
        columns: usize,
        steps: Range<usize>,
        stored: Option<(usize, usize)>,
    ) {
        let Self { plan, points, .. } = *self;
        let lanes = points * columns;
        let tangents = grown(&mut pass.tangents, layout.total * lanes);
        for position in steps {
            let step = &plan.steps[position];
            let (slots, out) = Slots::writing(layout, tangents, step.result, lanes, plan.sizes[step.result] * lanes);
            match (stored.filter(|&(stored, _)| stored == position), step.kernel.jacobian()) {
                // All columns of a single point stand as they are stored.
                (Some(_), Some(jacobian)) if points == 1 && out.len() == jacobian.len() => {
                    out.copy_from_slice(jacobian)
                }
                (Some((_, first)), Some(jacobian)) => {
                    let width = jacobian.len() / plan.sizes[step.result].max(1);
                    for (from, to) in jacobian.chunks_exact(width.max(1)).zip(out.chunks_exact_mut(lanes)) {
                        let from = &from[first..first + columns];
                        to.chunks_exact_mut(columns).for_each(|to| to.copy_from_slice(from));
                    }
                }
                _ => {
                    let mut write = Write::Set;
                    for (operand, slot) in step.active() {
                        let t = slots.get(slot, lanes, plan.sizes[slot] * lanes);
                        step.kernel.jvp(operand, self.at(step), columns, t, out, write, &mut pass.scratch);
                        write = Write::Add;
                    }
                    if write == Write::Set {
                        out.fill(T::ZERO);
                    }
                }
            }
        }
    }

    /// Sets the outputs' adjoints: `fill(point, offset, rows of an output's elements)` is called for each output, whose
    /// elements begin at the offset, on zeros.
    pub fn seed_adjoints(
        &self,
        layout: &Layout,
        adjoints: &mut Adjoints<T>,
        rows: usize,
        spare: &mut Vec<T>,
        mut fill: impl FnMut(usize, usize, &mut [T]),
    ) {
        let Self { plan, points, .. } = *self;
        let lanes = points * rows;
        adjoints.begin(layout.total * lanes);
        let mut offset = 0;
        for place in &plan.outputs {
            let size = match place {
                Place::Constant(numbers) => numbers.len(),
                Place::Slot(slot, size) => {
                    let (_, g) = Slots::writing(layout, &mut adjoints.memory, *slot, lanes, size * lanes);
                    let mut seed = |g: &mut [T]| {
                        g.fill(T::ZERO);
                        let each = (size * rows).max(1);
                        g.chunks_exact_mut(each).enumerate().for_each(|(p, g)| fill(p, offset, g));
                    };
                    if adjoints.written[*slot] {
                        // Two outputs may be the same value: their adjoints add up.
                        let sum = grown(spare, g.len());
                        seed(sum);
                        g.iter_mut().zip(sum).for_each(|(g, &mut s)| *g += s);
                    } else {
                        seed(g);
                    }
                    adjoints.written[*slot] = true;
                    *size
                }
            };
            offset += size;
        }
    }

    /// Sets the outputs' adjoints to `u`, `[point, m]`: one row.
    pub fn seed_weights<N: Real>(&self, layout: &Layout, adjoints: &mut Adjoints<T>, spare: &mut Vec<T>, u: &[N]) {
        let m = self.plan.m;
        self.seed_adjoints(layout, adjoints, 1, spare, |p, offset, g| {
            convert(&u[p * m + offset..][..g.len()], g);
        });
    }

    /// Pulls adjoints back through these steps. With `stored`, those of this step's result are the unit vectors of its
    /// elements from there on, and its stored Jacobian need not be multiplied.
    pub fn pull(
        &self,
        layout: &Layout,
        adjoints: &mut Adjoints<T>,
        scratch: &mut Scratch<T>,
        rows: usize,
        steps: Range<usize>,
        stored: Option<(usize, usize)>,
    ) {
        let Self { plan, points, .. } = *self;
        for position in steps.rev() {
            let step = &plan.steps[position];
            let first = stored.filter(|&(stored, _)| stored == position).map(|(_, first)| first);
            if first.is_none() && !adjoints.written[step.result] {
                continue;
            }
            let Some(first) = first else {
                self.pull_step(layout, adjoints, scratch, rows, step);
                continue;
            };
            let jacobian = step.kernel.jacobian().expect("the caller knows that it is stored");
            for (_, slot) in step.active() {
                let size = plan.sizes[slot];
                let lanes = points * rows;
                let (_, out) = Slots::writing(layout, &mut adjoints.memory, slot, lanes, size * lanes);
                let jacobian = &jacobian[first * size..][..rows * size];
                out.chunks_exact_mut((rows * size).max(1)).for_each(|out| out.copy_from_slice(jacobian));
                adjoints.written[slot] = true;
            }
        }
    }

    /// Adds a step's part to the adjoints of its operands.
    fn pull_step(
        &self,
        layout: &Layout,
        adjoints: &mut Adjoints<T>,
        scratch: &mut Scratch<T>,
        rows: usize,
        step: &Step<T>,
    ) {
        let Self { plan, points, .. } = *self;
        let lanes = points * rows;
        for (operand, slot) in step.active() {
            let (slots, out) = Slots::writing(layout, &mut adjoints.memory, slot, lanes, plan.sizes[slot] * lanes);
            let write = if adjoints.written[slot] { Write::Add } else { Write::Set };
            let g = slots.get(step.result, lanes, plan.sizes[step.result] * lanes);
            step.kernel.vjp(operand, self.at(step), rows, g, out, write, scratch);
            adjoints.written[slot] = true;
        }
    }

    /// The inputs' adjoints: `emit(offset, elements of all rows of all points)`, without numbers where nothing depends on
    /// an input.
    pub fn input_adjoints(
        &self,
        layout: &Layout,
        adjoints: &Adjoints<T>,
        rows: usize,
        mut emit: impl FnMut(usize, usize, Option<&[T]>),
    ) {
        let Self { plan, points, .. } = *self;
        let slots = Slots::new(layout, &adjoints.memory);
        let lanes = points * rows;
        let mut offset = 0;
        for &slot in &plan.inputs {
            let size = plan.sizes[slot];
            emit(offset, size, adjoints.written[slot].then(|| slots.get(slot, lanes, size * lanes)));
            offset += size;
        }
    }

    /// The Hessian of `mu' f` times the directions in the inputs' tangents (of the layout `bent`), so many columns at
    /// each point: forward over reverse. `second` receives the products as rows of adjoints.
    pub fn hessian_times<N: Real>(&self, pass: &mut Pass<T>, columns: usize, mu: &[N]) {
        let Self { plan, points, .. } = *self;
        let (bent, passing) = (&plan.layouts.bent, &plan.layouts.passing);
        let lanes = points * columns;
        pass.second.begin(passing.total * lanes);
        let Some((begin, end)) = plan.curved else { return };
        self.push(bent, pass, columns, 0..end, None);
        self.seed_weights(passing, &mut pass.adjoints, &mut pass.curved, mu);
        for (position, step) in plan.steps.iter().enumerate().rev() {
            if pass.second.written[step.result] {
                self.pull_step(passing, &mut pass.second, &mut pass.scratch, columns, step);
            }
            if position < begin || !pass.adjoints.written[step.result] {
                continue;
            }
            for (pair, [left, right]) in step.curved_pairs() {
                let (size, length) = (plan.sizes[left], plan.sizes[right] * lanes);
                let adjoints = Slots::new(passing, &pass.adjoints.memory);
                let lambda = adjoints.get(step.result, points, plan.sizes[step.result] * points);
                let t = Slots::new(bent, &pass.tangents).get(right, lanes, length);
                let curved = grown(&mut pass.curved, size * lanes);
                step.kernel.curvature(pair, self.at(step), lambda, columns, t, curved, &mut pass.scratch);
                let (_, out) = Slots::writing(passing, &mut pass.second.memory, left, lanes, size * lanes);
                if !std::mem::replace(&mut pass.second.written[left], true) {
                    out.fill(T::ZERO);
                }
                // From columns to rows.
                for (lane, out) in out.chunks_exact_mut(size.max(1)).enumerate() {
                    let curved = curved.iter().skip(lane).step_by(lanes);
                    out.iter_mut().zip(curved).for_each(|(out, &c)| *out += c);
                }
            }
            if position > begin {
                self.pull_step(passing, &mut pass.adjoints, &mut pass.scratch, 1, step);
            }
        }
    }
}
