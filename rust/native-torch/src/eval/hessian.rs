//! The Hessian of mu'f: the sum over curved steps of G' D G, or products with few directions where it is sparse.

use std::ops::Range;

use super::{
    kernels::Write,
    matmul::{Left, Part, Sizes, matmul},
    matrix::Matrices,
    memory::{Layout, Memory, Pass, Slots, grown},
    narrow::Waist,
    pass::Point,
    plan::{Plan, Step},
};
use crate::{
    diff::{Colours, Structure, Terms},
    tensor::Real,
};

/// Elements of the tangents and the triangle that G' D G may take; beyond, the Hessian is computed as products.
const ROOM: usize = 1 << 25;
/// Operations that a block of the sum takes beyond its products, and those for each of its numbers.
const BLOCK: f64 = 300.0;
const EACH: f64 = 6.0;

/// How a Hessian is computed.
pub(super) enum Method {
    /// The sum of G' D G, with a column of G for each input.
    Whole,
    /// The same where rows of G have few entries.
    Blocks(Blocks),
    /// The same with fewer columns behind a narrow place.
    Through(Waist),
    /// Products with directions of these colours.
    Products(Colours),
}

/// A sum of G' D G in which the inputs that no row of G has in common share a column, and elements that depend on the
/// same inputs are a dense block.
pub(super) struct Blocks {
    colours: Colours,
    /// The curved steps of this kind, each with its blocks; the others take G in reverse.
    steps: Vec<(usize, Vec<Block>)>,
    /// Whether the sum has a number for every place, and not for the structure's entries only.
    whole: bool,
}

struct Block {
    /// Inputs that its elements depend on, and where G has them.
    inputs: Vec<u32>,
    lanes: Vec<u32>,
    elements: Vec<usize>,
}

impl<T: Real> Plan<T> {
    /// The cheapest way to a Hessian of this structure (both triangles).
    pub fn hessian_method(&self, structure: &Structure, terms: Option<&Terms>) -> Method {
        let Some((_, end)) = self.curved else { return Method::Whole };
        // A product with one direction: a pass forward and one in reverse, then those of the adjoints.
        let each = (self.cost(end, None) + self.cost(end + 1, None)).max(1.0);
        let whole_fits = self.hessian_room(None) <= ROOM;
        let mut best = if whole_fits { self.hessian_cost() } else { f64::INFINITY };
        let mut method = None;
        if let Some((cost, waist)) = self.waist()
            && cost < 0.95 * best
            && self.waist_room(waist) <= ROOM
        {
            (best, method) = (cost, Some(Method::Through(waist)));
        }
        if let Some((cost, blocks)) = terms.and_then(|terms| self.blocks(structure, terms)) {
            // What is saved must pay for gathering the blocks.
            if cost < 0.7 * best && self.hessian_room(Some(&blocks)) <= ROOM {
                (best, method) = (cost, Some(Method::Blocks(blocks)));
            }
        }
        if !structure.is_full() {
            let limit = ((0.9 * best / each) as usize).min(self.n);
            if let Some(colours) = Colours::of_columns(structure, limit) {
                return Method::Products(colours);
            }
        }
        // Products of matrices are faster than the passes that products with H take.
        if self.n as f64 * each < 0.6 * best {
            return Method::Products(Colours::each(self.n));
        }
        method.unwrap_or(Method::Whole)
    }

    /// The sum by blocks with the best number of curved steps in it, and its cost; `None` where no row of G is short.
    fn blocks(&self, structure: &Structure, terms: &Terms) -> Option<(f64, Blocks)> {
        let n = self.n as f64;
        let pairs = |&position: &usize| self.steps[position].curved_pairs().next().is_some();
        let curved: Vec<usize> = (0..self.steps.len()).filter(pairs).collect();
        // What the steps from each on cost in reverse.
        let mut reverse = vec![0.0; curved.len() + 1];
        for (i, &position) in curved.iter().enumerate().rev() {
            let sizes = self.steps[position].curved_pairs().map(|(_, [left, _])| self.sizes[left] as f64);
            reverse[i] = reverse[i + 1] + self.cost_reverse(position) + n * n * sizes.sum::<f64>();
        }
        let (mut best, mut longest, mut sum) = (None, 0, 0.0);
        let mut found: Vec<(usize, Range<usize>)> = Vec::new();
        for (i, &position) in curved.iter().enumerate() {
            let node = self.steps[position].node;
            let Some((_, own)) = terms.nodes.iter().find(|(other, _)| *other == node) else { break };
            for (inputs, elements) in terms.rows.alike(own.clone()) {
                let (width, count) = (inputs.len() as f64, elements.len() as f64);
                longest = longest.max(inputs.len());
                sum += BLOCK + width * (width * count + EACH * (count + width));
            }
            found.push((position, own.clone()));
            // There are at least as many colours as inputs in a row.
            let cost = longest as f64 * self.cost(position, None) + sum + reverse[i + 1];
            if best.is_none_or(|(_, other, _)| cost < other) && longest < self.n {
                best = Some((i + 1, cost, longest));
            }
        }
        let (count, cost, longest) = best?;
        let (last, own) = &found[count - 1];
        let colours = Colours::of_columns(&terms.rows.first_rows(own.end), self.n - 1)?;
        let cost = cost + (colours.count - longest) as f64 * self.cost(*last, None);
        let block = |own: &Range<usize>, (inputs, elements): (&[u32], Vec<usize>)| Block {
            inputs: inputs.to_vec(),
            lanes: inputs.iter().map(|&input| colours.of[input as usize]).collect(),
            elements: elements.into_iter().map(|row| row - own.start).collect(),
        };
        let blocks = |(position, own): &(usize, Range<usize>)| {
            let alike = terms.rows.alike(own.clone()).filter(|(inputs, _)| !inputs.is_empty());
            (*position, alike.map(|alike| block(own, alike)).collect())
        };
        let steps = found[..count].iter().map(blocks).collect();
        let whole = count < curved.len() || structure.is_full();
        Some((cost, Blocks { colours, steps, whole }))
    }

    /// The elements that G' D G takes at one point.
    fn hessian_room(&self, blocks: Option<&Blocks>) -> usize {
        let square = self.n.saturating_mul(self.n);
        match blocks {
            None => self.n.saturating_mul(self.layouts.tangents.total).saturating_add(square),
            Some(blocks) => {
                let tangents = blocks.colours.count.saturating_mul(self.layouts.passing.total);
                tangents.saturating_add(if blocks.whole { square } else { 0 })
            }
        }
    }

    /// The elements that the Hessian takes at one point.
    pub fn hessian_lanes(&self, method: &Method) -> usize {
        match method {
            Method::Products(colours) => colours.count * (self.layouts.bent.total + self.layouts.passing.total),
            Method::Blocks(blocks) => self.hessian_room(Some(blocks)),
            Method::Through(waist) => self.waist_room(*waist),
            Method::Whole => self.hessian_room(None),
        }
    }

    /// The Hessians at these points; `h` is zero and has the lower triangle's structure.
    pub fn hessian<N: Real>(
        &self,
        memory: &mut Memory<T>,
        points: usize,
        [x, mu]: [&[N]; 2],
        method: &Method,
        h: &mut Matrices<N>,
    ) {
        if self.curved.is_none() || self.n == 0 {
            return;
        }
        let colours = match method {
            Method::Products(colours) => colours,
            Method::Blocks(blocks) => return self.hessian_sum(memory, points, [x, mu], Some(blocks), h),
            Method::Through(waist) => return self.hessian_through(memory, points, [x, mu], *waist, h),
            Method::Whole => return self.hessian_sum(memory, points, [x, mu], None, h),
        };
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
                        h.pick_symmetric(p, offset + i, |_, column| lane(column).map(|lane| g[lane * size + i]));
                    }
                }
            });
        }
    }

    /// The sum over curved steps of G' D G, where G is the Jacobian of the step's operand and D its second derivative
    /// weighted by its adjoint.
    fn hessian_sum<N: Real>(
        &self,
        memory: &mut Memory<T>,
        points: usize,
        [x, mu]: [&[N]; 2],
        blocks: Option<&Blocks>,
        h: &mut Matrices<N>,
    ) {
        let Some((begin, end)) = self.curved else { return };
        let (point, pass) = self.values(memory, points, x);
        point.weigh(pass, mu);
        let (n, whole) = (self.n, blocks.is_none_or(|blocks| blocks.whole));
        let each = if whole { n * n } else { h.structure.len() };
        grown(&mut pass.hessian, points * each).fill(T::ZERO);
        let behind = match blocks {
            Some(blocks) => {
                let mut pushed = 0;
                let (layout, colours) = (&self.layouts.passing, &blocks.colours);
                let lane = |column: usize| Some(colours.of[column] as usize);
                point.seed_columns(layout, &mut pass.tangents, colours.count, lane);
                for (position, blocks) in &blocks.steps {
                    if pass.adjoints.written[self.steps[*position].result] {
                        point.push(layout, pass, colours.count, pushed..*position, None);
                        pushed = *position;
                        point.add_blocks(pass, *position, colours.count, blocks, h.structure, whole);
                    }
                }
                blocks.steps.last().map_or(begin, |(position, _)| position + 1)
            }
            None => {
                if self.first.is_none() && self.split > 0 {
                    point.seed_columns(&self.layouts.tangents, &mut pass.tangents, n, Some);
                }
                let first = self.first.map(|first| (first, 0));
                point.add_forward(&self.layouts.tangents, pass, n, 0..self.split, first);
                self.split.max(begin)
            }
        };
        for position in behind..=end {
            let step = &self.steps[position];
            if !pass.adjoints.written[step.result] {
                continue;
            }
            for (pair, slots) in step.curved_pairs() {
                let [left, right] = slots;
                for (which, slot) in slots.into_iter().enumerate().take(1 + usize::from(left != right)) {
                    point.operand_jacobian(pass, slot, which);
                }
                point.add_curvature(pass, position, pair, slots, n, None);
            }
        }
        for (p, sum) in pass.hessian.chunks_exact(each.max(1)).enumerate().take(points) {
            if whole {
                h.triangle(p, sum);
            } else {
                let structure = h.structure;
                for row in 0..n {
                    h.pick_symmetric(p, row, |k, _| Some(sum[structure.start(row) + k]));
                }
            }
        }
    }
}

impl<T: Real> Point<'_, T> {
    /// The adjoints of all values but those that no curved step makes or follows, by `mu`.
    pub fn weigh<N: Real>(&self, pass: &mut Pass<T>, mu: &[N]) {
        let (kept, begin) = (&self.plan.layouts.kept, self.plan.curved.map_or(0, |(begin, _)| begin + 1));
        self.seed_weights(kept, &mut pass.adjoints, &mut pass.curved, mu);
        self.pull(kept, &mut pass.adjoints, &mut pass.scratch, 1, begin..self.plan.steps.len(), None);
    }

    /// Adds `G' D G` of the curved steps among these, from tangents pushed forward through them (see [`Point::push`]), and
    /// tells up to which step they are.
    pub fn add_forward(
        &self,
        layout: &Layout,
        pass: &mut Pass<T>,
        columns: usize,
        steps: Range<usize>,
        stored: Option<(usize, usize)>,
    ) -> usize {
        let mut pushed = steps.start;
        for position in steps {
            let step = &self.plan.steps[position];
            if !pass.adjoints.written[step.result] {
                continue;
            }
            for (pair, slots) in step.curved_pairs() {
                self.push(layout, pass, columns, pushed..position, stored);
                pushed = position;
                self.add_curvature(pass, position, pair, slots, columns, Some(layout));
            }
        }
        pushed
    }

    /// Adds `G' D G` for a curved step from tangents whose columns are shared, block by block.
    fn add_blocks(
        &self,
        pass: &mut Pass<T>,
        position: usize,
        columns: usize,
        blocks: &[Block],
        structure: &Structure,
        whole: bool,
    ) {
        let Self { plan, points, .. } = *self;
        let step = &plan.steps[position];
        let each = if whole { plan.n * plan.n } else { structure.len() };
        let adjoints = Slots::new(&plan.layouts.kept, &pass.adjoints.memory);
        let lambda = adjoints.get(step.result, points, plan.sizes[step.result] * points);
        for (pair, [left, _]) in step.curved_pairs() {
            let length = plan.sizes[left] * points * columns;
            let t = Slots::new(&plan.layouts.passing, &pass.tangents).get(left, points * columns, length);
            let curved = grown(&mut pass.curved, length);
            step.kernel.curvature(pair, self.at(step), lambda, columns, t, curved, &mut pass.scratch);
            for block in blocks {
                let (width, count) = (block.inputs.len(), block.elements.len());
                let work = grown(&mut pass.operands[0], width * (2 * count + width));
                let (g, rest) = work.split_at_mut(width * count);
                let (bent, product) = rest.split_at_mut(width * count);
                for (p, h) in pass.hessian.chunks_exact_mut(each.max(1)).enumerate().take(points) {
                    for (from, to) in [(t, &mut *g), (&*curved, &mut *bent)] {
                        for (&element, to) in block.elements.iter().zip(to.chunks_exact_mut(width)) {
                            let line = &from[(element * points + p) * columns..][..columns];
                            to.iter_mut().zip(&block.lanes).for_each(|(to, &lane)| *to = line[lane as usize]);
                        }
                    }
                    let sizes = Sizes { m: width, n: width, k: count };
                    let g = Left::transposed(&*g, width);
                    matmul(&mut pass.scratch.panel, sizes, g, bent, width, product, width, Write::Set, Part::Lower);
                    for (i, (&row, line)) in block.inputs.iter().zip(product.chunks_exact(width)).enumerate() {
                        let row = row as usize;
                        let sums = if whole { &mut h[row * plan.n..] } else { &mut h[structure.start(row)..] };
                        let entries = line[..=i].iter().zip(&block.inputs);
                        if whole {
                            entries.for_each(|(v, &column)| sums[column as usize] += *v);
                            continue;
                        }
                        // Both are sorted.
                        let mut places = structure.row(row).iter().zip(sums);
                        for (v, column) in entries {
                            let place = places.find(|(other, _)| *other == column);
                            *place.expect("the structure has the terms of all blocks").1 += *v;
                        }
                    }
                }
            }
        }
    }

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

    /// Adds `G' D G` for one pair of operands of a step, in lower triangles of so many columns; G is the tangents of this
    /// layout, or from the passes in reverse.
    fn add_curvature(
        &self,
        pass: &mut Pass<T>,
        position: usize,
        pair: (usize, usize),
        [left, right]: [usize; 2],
        columns: usize,
        layout: Option<&Layout>,
    ) {
        let Self { plan, points, .. } = *self;
        let (step, lanes) = (&plan.steps[position], points * columns);
        let (size, width) = (plan.sizes[left], plan.sizes[right]);
        let (g, t) = if let Some(layout) = layout {
            let tangents = Slots::new(layout, &pass.tangents);
            (tangents.get(left, lanes, size * lanes), tangents.get(right, lanes, width * lanes))
        } else {
            let [a, b] = &pass.operands;
            let b = if left == right { a } else { b };
            (&a[..size * lanes], &b[..width * lanes])
        };
        let adjoints = Slots::new(&plan.layouts.kept, &pass.adjoints.memory);
        let lambda = adjoints.get(step.result, points, plan.sizes[step.result] * points);
        let curved = grown(&mut pass.curved, size * lanes);
        step.kernel.curvature(pair, self.at(step), lambda, columns, t, curved, &mut pass.scratch);
        let sizes = Sizes { m: columns, n: columns, k: size };
        for (p, h) in pass.hessian.chunks_exact_mut(columns * columns).enumerate().take(points) {
            if size > 0 {
                let g = Left::transposed(&g[p * columns..], lanes);
                let curved = &curved[p * columns..];
                matmul(&mut pass.scratch.panel, sizes, g, curved, lanes, h, columns, Write::Add, Part::Lower);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        diff::hessian_structure,
        graph::{Builder, Conv, Dim, Op, Unary},
        tensor::Tensor,
    };

    #[test]
    fn terms_of_images_are_blocks_and_those_of_vectors_are_not() {
        let mut b = Builder::new();
        let x = b.input("x", [1, 1, 16, 16].map(Dim::Size).to_vec());
        let weight = b.parameter("weight", Tensor::from_slice(&[3, 1, 3, 3], &[0.5; 27]));
        let conv = Conv { stride: vec![1; 2], padding: vec![(1, 1); 2], dilation: vec![1; 2], groups: 1 };
        let h = b.node(Op::Conv(conv), &[x, weight]).unwrap();
        let h = b.unary(Unary::Tanh, h).unwrap();
        let h = b.node(Op::Flatten { start: 1, end: 3 }, &[h]).unwrap();
        let weight = b.parameter("weight", Tensor::from_slice(&[2, 768], &[0.5; 1536]));
        let h = b.linear(h, weight, None).unwrap();
        let y = b.unary(Unary::Tanh, h).unwrap();
        let method = |graph| {
            let plan = Plan::<f64>::compile(&graph).unwrap();
            let (structure, terms) = hessian_structure(&graph, usize::MAX).unwrap();
            plan.hessian_method(&structure, Some(&terms))
        };
        let Method::Blocks(blocks) = method(b.finish(&[("y", y)]).unwrap()) else { panic!("not by blocks") };
        // The windows of 3 x 3 take 9 directions; the two results take G in reverse.
        assert_eq!((blocks.colours.count, blocks.steps.len(), blocks.whole), (9, 1, true));
        assert!(blocks.steps[0].1.iter().all(|block| block.inputs.len() <= 9 && block.elements.len() % 3 == 0));
        let mut b = Builder::new();
        let x = b.input("x", vec![Dim::Size(5)]);
        let weight = b.parameter("weight", Tensor::from_slice(&[4, 5], &[0.5; 20]));
        let h = b.linear(x, weight, None).unwrap();
        let y = b.unary(Unary::Tanh, h).unwrap();
        assert!(matches!(method(b.finish(&[("y", y)]).unwrap()), Method::Whole));
    }
}
