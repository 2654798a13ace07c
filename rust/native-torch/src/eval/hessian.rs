//! The Hessian of mu'f: the sum over curved steps of G' D G, or products with few directions where it is sparse.

use super::{
    jacobian::Seeding,
    kernels::Write,
    matmul::{Left, Part, Sizes, matmul},
    matrix::Matrices,
    memory::{Memory, Pass, Slots, grown},
    pass::Point,
    plan::{Plan, Step},
};
use crate::{
    diff::{Colours, Structure},
    tensor::Real,
};

/// Elements of the tangents and the triangle that G' D G may take; beyond, the Hessian is computed as products.
const ROOM: usize = 1 << 25;

impl<T: Real> Plan<T> {
    /// The cheapest way to a Hessian of this structure (both triangles).
    pub fn hessian_seeding(&self, structure: &Structure) -> Seeding {
        let seeding = |colours| Seeding { forward: true, colours };
        let Some((_, end)) = self.curved else { return seeding(None) };
        // A product with one direction: a pass forward and one in reverse, then those of the adjoints.
        let each = (self.cost(end, None) + self.cost(end + 1, None)).max(1.0);
        if !structure.is_full() {
            let fits = self.hessian_room() <= ROOM;
            let limit = if fits { (0.9 * self.hessian_cost() / each) as usize } else { self.n };
            if let Some(colours) = Colours::of_columns(structure, limit.min(self.n)) {
                return seeding(Some(colours));
            }
        }
        // Products of matrices are faster than the passes that products with H take.
        let products = self.hessian_room() > ROOM || self.n as f64 * each < 0.6 * self.hessian_cost();
        seeding(products.then(|| Colours::each(self.n)))
    }

    /// The elements that G' D G takes at one point.
    fn hessian_room(&self) -> usize {
        self.n.saturating_mul(self.layouts.tangents.total.saturating_add(self.n))
    }

    /// The elements that the Hessian takes at one point.
    pub fn hessian_lanes(&self, seeding: &Seeding) -> usize {
        match &seeding.colours {
            Some(colours) => colours.count * (self.layouts.bent.total + self.layouts.passing.total),
            None => self.hessian_room(),
        }
    }

    /// The Hessians at these points; `h` is zero and has the lower triangle's structure.
    pub fn hessian(
        &self,
        memory: &mut Memory<T>,
        points: usize,
        [x, mu]: [&[f64]; 2],
        seeding: &Seeding,
        h: &mut Matrices,
    ) {
        if self.curved.is_none() || self.n == 0 {
            return;
        }
        let Some(colours) = &seeding.colours else { return self.hessian_sum(memory, points, [x, mu], h) };
        let (bent, passing) = (&self.layouts.bent, &self.layouts.passing);
        let lanes = self.lanes(if bent.total > passing.total { bent } else { passing }, points, colours.count);
        for first in (0..colours.count).step_by(lanes) {
            let columns = lanes.min(colours.count - first);
            let lane = |column: usize| (colours.of[column] as usize).checked_sub(first).filter(|&l| l < columns);
            let (point, pass) = self.values(memory, points, x);
            point.seed_columns(bent, &mut pass.tangents, columns, lane);
            point.hessian_times(pass, columns, mu);
            point.input_adjoints(passing, &pass.second, columns, |offset, size, g| {
                let Some(g) = g else { return };
                for p in 0..points {
                    let g = &g[p * columns * size..][..columns * size];
                    for i in 0..size {
                        h.pick_symmetric(p, offset + i, |column| lane(column).map(|lane| g[lane * size + i]));
                    }
                }
            });
        }
    }

    /// The sum over curved steps of G' D G, where G is the Jacobian of the step's operand and D its second derivative
    /// weighted by its adjoint.
    fn hessian_sum(&self, memory: &mut Memory<T>, points: usize, [x, mu]: [&[f64]; 2], h: &mut Matrices) {
        let Some((begin, end)) = self.curved else { return };
        let (n, layout) = (self.n, &self.layouts.tangents);
        let (point, pass) = self.values(memory, points, x);
        let kept = &self.layouts.kept;
        point.seed_weights(kept, &mut pass.adjoints, &mut pass.curved, mu);
        point.pull(kept, &mut pass.adjoints, &mut pass.scratch, 1, begin + 1..self.steps.len(), None);
        let mut pushed = 0;
        if self.first.is_none() && self.split > 0 {
            point.seed_columns(layout, &mut pass.tangents, n, Some);
        }
        grown(&mut pass.hessian, points * n * n).fill(T::ZERO);
        for position in begin..=end {
            let step = &self.steps[position];
            if !pass.adjoints.written[step.result] {
                continue;
            }
            for (pair, (left, right)) in step.curved_pairs() {
                if position < self.split {
                    point.push(layout, pass, n, pushed..position, Some(0));
                    pushed = position;
                } else {
                    for (which, slot) in [left, right].into_iter().enumerate().take(1 + usize::from(left != right)) {
                        point.operand_jacobian(pass, slot, which);
                    }
                }
                point.add_curvature(pass, position, pair, [left, right]);
            }
        }
        for (p, sum) in pass.hessian.chunks_exact(n * n).enumerate().take(points) {
            h.triangle(p, sum);
        }
    }
}

impl<T: Real> Point<'_, T> {
    /// The Jacobian of a slot by the inputs, `[element, point, n]`, by a pass in reverse.
    fn operand_jacobian(&self, pass: &mut Pass<T>, slot: usize, which: usize) {
        let Self { plan, points, .. } = *self;
        let (n, size, layout) = (plan.n, plan.sizes[slot], &plan.layouts.passing);
        let lanes = plan.lanes(layout, points, size);
        let g = grown(&mut pass.operands[which], size * points * n);
        g.fill(T::ZERO);
        let maker = plan.maker(slot);
        for first in (0..size).step_by(lanes.max(1)) {
            let rows = lanes.min(size - first);
            pass.second.begin(layout.total * points * rows);
            let single = |i: &usize| {
                let step: &Step<T> = &plan.steps[*i];
                step.kernel.jacobian().is_some() && step.active().count() == 1
            };
            let stored = maker.filter(single).map(|i| (i, first));
            if stored.is_none() {
                let length = size * points * rows;
                let (_, seed) = Slots::writing(layout, &mut pass.second.memory, slot, points * rows, length);
                seed.fill(T::ZERO);
                for lane in 0..points * rows {
                    seed[lane * size + first + lane % rows] = T::ONE;
                }
                pass.second.written[slot] = true;
            }
            let steps = 0..maker.map_or(0, |i| i + 1);
            self.pull(layout, &mut pass.second, &mut pass.scratch, rows, steps, stored);
            self.input_adjoints(layout, &pass.second, rows, |offset, length, adjoints| {
                let Some(adjoints) = adjoints.filter(|_| length > 0) else { return };
                for (lane, line) in adjoints.chunks_exact(length).enumerate() {
                    let (p, row) = (lane / rows, first + lane % rows);
                    g[(row * points + p) * n + offset..][..length].copy_from_slice(line);
                }
            });
        }
    }

    /// Adds `G' D G` for one pair of operands of a step, in the lower triangles.
    fn add_curvature(&self, pass: &mut Pass<T>, position: usize, pair: (usize, usize), [left, right]: [usize; 2]) {
        let Self { plan, points, .. } = *self;
        let (n, step) = (plan.n, &plan.steps[position]);
        let lanes = points * n;
        let (size, width) = (plan.sizes[left], plan.sizes[right]);
        let (g, t) = if position < plan.split {
            let tangents = Slots::new(&plan.layouts.tangents, &pass.tangents);
            (tangents.get(left, lanes, size * lanes), tangents.get(right, lanes, width * lanes))
        } else {
            let [a, b] = &pass.operands;
            let b = if left == right { a } else { b };
            (&a[..size * lanes], &b[..width * lanes])
        };
        let adjoints = Slots::new(&plan.layouts.kept, &pass.adjoints.memory);
        let lambda = adjoints.get(step.result, points, plan.sizes[step.result] * points);
        let curved = grown(&mut pass.curved, size * lanes);
        step.kernel.curvature(pair, self.at(step), lambda, n, t, curved, &mut pass.scratch);
        let sizes = Sizes { m: n, n, k: size };
        for (p, h) in pass.hessian.chunks_exact_mut(n * n).enumerate().take(points) {
            if size > 0 {
                let g = Left::transposed(&g[p * n..], lanes);
                let curved = &curved[p * n..];
                matmul(&mut pass.scratch.panel, sizes, g, curved, lanes, h, n, Write::Add, Part::Lower);
            }
        }
    }
}
