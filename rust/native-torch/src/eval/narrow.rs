//! The Hessian through a narrow place of the network: first that of all behind it, by its own few elements, which is then
//! carried to the inputs as one more curved step.
//!
//! Behind a function of each element, `a = s(z)`, that everything after it reads alone, `H = sum of G'DG before + G' S G`,
//! where G is the Jacobian of z, and S the Hessian of `mu'f` by z: `diag(s') A diag(s') + diag(s'' a-bar)`, with A the
//! Hessian by a and a-bar the adjoint of a. A takes tangents in as many directions as a has elements, instead of one for
//! each input.

use super::{
    kernels::{Place, Write},
    matmul::{Left, Part, Sizes, matmul},
    matrix::{Matrices, mirror},
    memory::{Memory, Pass, Slots, grown},
    pass::Point,
    plan::Plan,
};
use crate::tensor::Real;

/// A function of each element whose result is all that the steps behind it read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waist {
    /// The function's step, and the slot of its operand.
    position: usize,
    operand: usize,
    /// The step behind it whose stored Jacobian is the first product.
    reader: Option<usize>,
}

impl<T: Real> Plan<T> {
    /// The waist that saves most operations, and what the Hessian then takes.
    pub fn waist(&self) -> Option<(f64, Waist)> {
        let (begin, end) = self.curved?;
        // The first slot that the outputs, and the steps from each on, read.
        let read = |place: &Place<T>| match place {
            Place::Slot(slot, _) => *slot,
            Place::Constant(_) => usize::MAX,
        };
        let mut first_read = vec![self.outputs.iter().map(read).min().unwrap_or(usize::MAX); self.steps.len() + 1];
        for (i, step) in self.steps.iter().enumerate().rev() {
            let own = step.active().map(|(_, slot)| slot).min();
            first_read[i] = first_read[i + 1].min(own.unwrap_or(usize::MAX));
        }
        let alone = (0..end).filter(|&i| first_read[i + 1] >= self.steps[i].result);
        let candidates = alone.filter_map(|position| self.waist_at(position));
        let n = self.n as f64;
        let costs = candidates.map(|waist| {
            let width = self.sizes[waist.operand] as f64;
            let sums = |range: std::ops::Range<usize>, columns: f64| -> f64 {
                let pairs = self.steps[range].iter().flat_map(|step| step.curved_pairs());
                pairs.map(|(_, [left, _])| columns * columns * self.sizes[left] as f64).sum()
            };
            let behind = self.cost(end, waist.reader) - self.cost(waist.position + 1, None);
            let cost = width * behind
                + sums(waist.position + 1..end + 1, width)
                + n * self.cost(waist.position, self.first)
                + sums(begin..waist.position.max(begin), n)
                + (2.0 * width + n) * width * n;
            (cost, waist)
        });
        costs.min_by(|a, b| a.0.total_cmp(&b.0))
    }

    /// The waist of the step at a position, whose result is all that is read behind it, if it is one.
    fn waist_at(&self, position: usize) -> Option<Waist> {
        let step = &self.steps[position];
        let (_, operand) = step.active().next()?;
        if step.operands.len() > 1 || !step.kernel.is_elementwise(0) {
            return None;
        }
        let result = step.result;
        let is_output = |place: &Place<T>| matches!(place, Place::Slot(slot, _) if *slot == result);
        let reads = |&i: &usize| self.steps[i].active().any(|(_, slot)| slot == result);
        let mut readers = (position + 1..self.steps.len()).filter(reads);
        let reader = readers.next().filter(|&i| self.steps[i].kernel.jacobian().is_some());
        let is_single = readers.next().is_none() && !self.outputs.iter().any(is_output);
        Some(Waist { position, operand, reader: reader.filter(|_| is_single) })
    }

    /// The elements that the Hessian takes at one point.
    pub fn waist_room(&self, waist: Waist) -> usize {
        let width = self.sizes[waist.operand];
        let tangents = |columns: usize, total: usize| columns.saturating_mul(total);
        let most = tangents(width, self.layouts.passing.total).max(tangents(self.n, self.layouts.tangents.total));
        most.saturating_add(self.n.max(width).saturating_mul(self.n.saturating_add(2 * width)))
    }

    /// The Hessians at these points.
    pub fn hessian_through<N: Real>(
        &self,
        memory: &mut Memory<T>,
        points: usize,
        [x, mu]: [&[N]; 2],
        waist: Waist,
        h: &mut Matrices<N>,
    ) {
        let Some((begin, end)) = self.curved else { return };
        let Waist { position, operand, .. } = waist;
        let (n, width, result) = (self.n, self.sizes[operand], self.steps[position].result);
        let (point, pass) = self.values(memory, points, x);
        point.weigh(pass, mu);
        let is_read = position < begin || pass.adjoints.written[result];
        if !is_read || width == 0 {
            return;
        }
        grown(&mut pass.hessian, points * width * width).fill(T::ZERO);
        if waist.reader.is_none() {
            point.seed_identity(pass, result, width);
        }
        let reader = waist.reader.map(|reader| (reader, 0));
        point.add_forward(&self.layouts.passing, pass, width, position + 1..end + 1, reader);
        point.bend(pass, waist);
        std::mem::swap(&mut pass.hessian, &mut pass.operands[0]);
        grown(&mut pass.hessian, points * n * n).fill(T::ZERO);
        let layout = &self.layouts.tangents;
        if self.first.is_none() {
            point.seed_columns(layout, &mut pass.tangents, n, Some);
        }
        let first = self.first.map(|first| (first, 0));
        let pushed = point.add_forward(layout, pass, n, 0..position, first);
        point.push(layout, pass, n, pushed..position, first);
        let lanes = points * n;
        let g = Slots::new(layout, &pass.tangents).get(operand, lanes, width * lanes);
        let product = grown(&mut pass.curved, width * n);
        for (p, h) in pass.hessian.chunks_exact_mut((n * n).max(1)).enumerate().take(points) {
            let (panel, g) = (&mut pass.scratch.panel, &g[p * n..]);
            let inner = Left::rows(&pass.operands[0][p * width * width..], width);
            matmul(panel, Sizes { m: width, n, k: width }, inner, g, lanes, product, n, Write::Set, Part::All);
            let sizes = Sizes { m: n, n, k: width };
            matmul(panel, sizes, Left::transposed(g, lanes), product, n, h, n, Write::Add, Part::Lower);
        }
        pass.hessian.chunks_exact((n * n).max(1)).enumerate().take(points).for_each(|(p, sum)| h.triangle(p, sum));
        // Each buffer grows for its purpose once.
        std::mem::swap(&mut pass.hessian, &mut pass.operands[0]);
    }
}

impl<T: Real> Point<'_, T> {
    /// Sets a slot's tangents to an identity, in the layout `passing`.
    fn seed_identity(&self, pass: &mut Pass<T>, slot: usize, width: usize) {
        let Self { plan, points, .. } = *self;
        let (layout, lanes) = (&plan.layouts.passing, points * width);
        let tangents = grown(&mut pass.tangents, layout.total * lanes);
        let (_, t) = Slots::writing(layout, tangents, slot, lanes, width * lanes);
        t.fill(T::ZERO);
        for (element, lines) in t.chunks_exact_mut(lanes).enumerate() {
            lines.chunks_exact_mut(width).for_each(|line| line[element] = T::ONE);
        }
    }

    /// From the Hessian by the function's result (lower triangle) to that by its operand (whole).
    fn bend(&self, pass: &mut Pass<T>, waist: Waist) {
        let Self { plan, points, .. } = *self;
        let step = &plan.steps[waist.position];
        let width = plan.sizes[step.result];
        let length = width * points;
        let (ones, rest) = grown(&mut pass.operands[0], 3 * length).split_at_mut(length);
        let (slope, bend) = rest.split_at_mut(length);
        ones.fill(T::ONE);
        bend.fill(T::ZERO);
        step.kernel.jvp(0, self.at(step), 1, ones, slope, Write::Set, &mut pass.scratch);
        let adjoints = Slots::new(&plan.layouts.kept, &pass.adjoints.memory);
        let lambda = adjoints.get(step.result, points, length);
        for (pair, _) in step.curved_pairs() {
            step.kernel.curvature(pair, self.at(step), lambda, 1, ones, bend, &mut pass.scratch);
        }
        for (p, h) in pass.hessian.chunks_exact_mut(width * width).enumerate().take(points) {
            for (i, line) in h.chunks_exact_mut(width).enumerate() {
                let here = slope[i * points + p];
                let slopes = slope.iter().skip(p).step_by(points);
                line[..=i].iter_mut().zip(slopes).for_each(|(h, &slope)| *h *= here * slope);
                line[i] += bend[i * points + p];
            }
            mirror(width, h);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        diff::Structure,
        eval::{Order, hessian::Method, matrix::Form},
        graph::{Builder, Dim, Unary, ValueId},
        tensor::Tensor,
    };

    fn linear(b: &mut Builder, x: ValueId, [m, n]: [usize; 2]) -> ValueId {
        let numbers: Vec<f64> = (0..m * n).map(|k| ((k * k + m) as f64 * 0.37).sin() / 3.0).collect();
        let weight = b.parameter("weight", Tensor::from_slice(&[m, n], &numbers));
        b.linear(x, weight, None).unwrap()
    }

    /// `n` inputs, a waist of six and two outputs, with what may stand before and behind it.
    fn plan(n: usize, waist: Unary, before: bool, residual: bool, leak: bool) -> Plan<f64> {
        let mut b = Builder::new();
        let x = b.input("x", vec![Dim::Size(n)]);
        let h = if before { b.unary(Unary::Sin, x).unwrap() } else { x };
        let h = linear(&mut b, h, [6, n]);
        let a = b.unary(waist, h).unwrap();
        let h = linear(&mut b, a, [6, 6]);
        let h = b.unary(Unary::Tanh, h).unwrap();
        let h = if residual { b.add(h, a).unwrap() } else { h };
        let h = linear(&mut b, h, [6, 6]);
        let h = b.unary(Unary::Sigmoid, h).unwrap();
        let y = linear(&mut b, h, [2, 6]);
        let outputs = if leak { vec![("y", y), ("x", x)] } else { vec![("y", y)] };
        Plan::compile(&b.finish(&outputs).unwrap()).unwrap()
    }

    #[test]
    fn it_is_the_sum_over_all_columns() {
        for (waist, before, residual) in [
            (Unary::Tanh, false, false),
            (Unary::Tanh, false, true),
            (Unary::Relu, false, false),
            (Unary::Relu, true, true),
            (Unary::Sigmoid, true, false),
        ] {
            let plan = plan(20, waist, before, residual, false);
            let structure = Structure::full(20, 20);
            let (_, found) = plan.waist().unwrap();
            assert_eq!((found.position, found.reader.is_some()), (1 + usize::from(before), !residual));
            let method = Method::Through(found);
            for points in [1, 3] {
                let x: Vec<f64> = (0..20 * points).map(|i| (i as f64 * 1.3).cos()).collect();
                let mu: Vec<f64> = (0..2 * points).map(|i| 1.0 - i as f64).collect();
                let mut memory = Memory::new(plan.sizes.len(), 1);
                let mut run = |method: &Method| {
                    let mut numbers = vec![0.0; 400 * points];
                    let mut h = Matrices::zeros(&mut numbers, Form::Dense(Order::RowMajor), &structure);
                    plan.hessian(&mut memory, points, [&x[..], &mu[..]], method, &mut h);
                    numbers
                };
                let (through, whole) = (run(&method), run(&Method::Whole));
                let most = whole.iter().fold(0.0f64, |most, v| most.max(v.abs()));
                assert!(most > 1e-4, "{waist:?} {before} {residual} {points}: {most}");
                for (a, b) in through.iter().zip(&whole) {
                    assert!((a - b).abs() < 1e-11 * most, "{waist:?} {points}: {a} and {b}");
                }
            }
        }
    }

    #[test]
    fn it_serves_where_inputs_are_many_and_read_before_it_alone() {
        let method = |plan: Plan<f64>| plan.hessian_method(&Structure::full(plan.n, plan.n), None);
        assert!(matches!(method(plan(20, Unary::Tanh, false, false, false)), Method::Through(_)));
        assert!(matches!(method(plan(4, Unary::Tanh, false, false, false)), Method::Whole));
        assert!(plan(20, Unary::Tanh, false, false, true).waist().is_none());
    }
}
