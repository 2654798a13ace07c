//! Linear relaxation through the whole network: the backward pass of CROWN (Zhang, Weng, Chen, Hsieh and Daniel,
//! Efficient Neural Network Robustness Certification with General Activation Functions, NeurIPS 2018).
//!
//! An element's lower bound is pulled back, from `1 v` to affine functions of earlier and earlier values, until only
//! inputs are left; the upper bound is the negative of the lower bound of `-v`. Each step replaces a value by the plane
//! below it where its coefficient is positive and by the plane above it where that is negative.
//!
//! Rounding: a coefficient of a value v that is a sum of k products is wrong by at most `gamma_k` times the sum of their
//! magnitudes (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., eq. 3.1 and 3.5), which changes the
//! bound by that times the largest magnitude of v. A forward pass in f64 has errors of the same kind and size. So for
//! each bound the sum of `|coefficient of row| (sum |weight| |largest v| + |constant|)` over all rows is kept, and the
//! bound is moved outward by `gamma_k` times it, with a k that exceeds the number of operations in any of the sums.

use std::{
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::{
    Bounds, Interval,
    form::Term,
    propagate,
    relax::{Dense, Planes, Relaxation, relax},
};
use crate::{
    Result,
    eval::{Panels, add_transposed_product},
    graph::{Graph, Node, Source, ValueId},
};

/// Elements whose bounds are pulled back together, at most.
const ROWS: usize = 64;

/// The largest number of coefficients of one value that a thread keeps.
const COEFFICIENTS: usize = 1 << 23;

/// The intervals of all values by interval propagation and linear relaxation, from those of the inputs: one for each
/// element, the inputs in signature order, each flat and row-major. Sizes must be known. Never wider than
/// [`propagate`](super::propagate)'s. `threads` work at it; 0 stands for as many as the machine has.
///
/// ```
/// use native_torch::{bounds::{self, Interval}, graph::{Builder, Dim, Unary}, tensor::Tensor};
///
/// // relu(x) - relu(x) / 2 is relu(x) / 2: intervals cannot see that both terms have the same sign.
/// let mut b = Builder::new();
/// let x = b.input("x", vec![Dim::Size(1)]);
/// let copies = b.parameter("copies", Tensor::from_slice(&[2, 1], &[1.0, 1.0]));
/// let z = b.linear(x, copies, None)?;
/// let z = b.unary(Unary::Relu, z)?;
/// let weight = b.parameter("weight", Tensor::from_slice(&[1, 2], &[1.0, -0.5]));
/// let y = b.linear(z, weight, None)?;
/// let graph = b.finish(&[("y", y)])?;
/// let input = [Interval::new(1.0, 2.0)];
/// assert!(bounds::propagate(&graph, &input)?.of(y)[0].upper >= 1.5);
/// let range = bounds::linear(&graph, &input, 1)?.of(y)[0];
/// assert!((range.lower - 0.5).abs() < 1e-9 && (range.upper - 1.0).abs() < 1e-9);
/// # Ok::<(), native_torch::Error>(())
/// ```
pub fn linear(graph: &Graph, inputs: &[Interval], threads: usize) -> Result<Bounds> {
    let mut bounds = propagate(graph, inputs)?;
    let mut backward = Backward::new(graph, threads);
    for node in 0..graph.nodes().len() {
        backward.visit(&mut bounds, node)?;
    }
    Ok(bounds)
}

/// Backward passes through a graph whose nodes are visited in order.
pub(crate) struct Backward<'a> {
    graph: &'a Graph,
    threads: usize,
    used: Vec<bool>,
    /// Values whose elements are inputs, each once: intervals of linear functions of them are exact.
    free: Vec<bool>,
    /// Values whose intervals are exact but for rounding: affine functions of free ones.
    exact: Vec<bool>,
    /// The steps of the nodes passed so far.
    steps: Vec<Option<Step>>,
    /// More than the number of operations in any sum.
    operations: usize,
}

/// What a pass does at a node.
struct Step {
    relaxation: Relaxation,
    /// For each plane below, and each above, `sum |weight| |largest operand| + |constant|`; the same for both where they
    /// are.
    sizes: [Vec<f64>; 2],
}

/// The coefficients of a value's elements in several bounds: `[element, bound]`.
struct Coefficients {
    data: Vec<f64>,
    /// Elements with a coefficient other than 0.
    live: Vec<bool>,
}

impl Coefficients {
    fn zero(elements: usize, bounds: usize) -> Self {
        Self { data: vec![0.0; elements * bounds], live: vec![false; elements] }
    }
}

/// Lower bounds that are being pulled back.
struct Pass {
    /// The number of bounds.
    width: usize,
    /// For each value of the graph, what has arrived there.
    values: Vec<Option<Coefficients>>,
    constants: Vec<f64>,
    /// What the error is a multiple of.
    sizes: Vec<f64>,
    panels: Panels<f64>,
}

impl<'a> Backward<'a> {
    pub(crate) fn new(graph: &'a Graph, threads: usize) -> Self {
        let mut free = vec![false; graph.values().len()];
        graph.inputs().iter().for_each(|input| free[input.value.index()] = true);
        Self {
            graph,
            threads: super::threads(threads),
            used: graph.used_values(),
            exact: vec![false; graph.values().len()],
            free,
            steps: graph.nodes().iter().map(|_| None).collect(),
            operations: 16 + 2 * graph.nodes().len(),
        }
    }

    /// Bounds the results of a node, where those before it are done: by its interval, intersected with what is known,
    /// and by a backward pass where that can be better.
    pub(crate) fn visit(&mut self, bounds: &mut Bounds, at: usize) -> Result<()> {
        let node = &self.graph.nodes()[at];
        let value = node.outputs[0];
        bounds.intersect_rule(self.graph, node)?;
        if !self.used[value.index()] {
            return Ok(());
        }
        let step = Step::new(self.graph, node, bounds)?;
        self.operations += step.operations(self.graph, node);
        self.free[value.index()] = step.relaxation.is_choice() && self.free[node.inputs[0].index()];
        let exact = self.interval_is_exact(node, &step.relaxation);
        let combines = step.relaxation.combines();
        self.exact[value.index()] = exact;
        self.steps[at] = Some(step);
        if combines && !exact {
            let ranges = self.pull_back(bounds, at);
            bounds.intersect(value, &ranges);
        }
        Ok(())
    }

    /// Whether the intervals of a value that has been visited are exact but for rounding.
    pub(crate) fn is_exact(&self, value: ValueId) -> bool {
        self.exact[value.index()]
    }

    /// Whether the operation's interval is exact.
    fn interval_is_exact(&self, node: &Node, relaxation: &Relaxation) -> bool {
        let is_parameter = |v: &&ValueId| matches!(self.graph.values()[v.index()].source, Source::Parameter(_));
        let mut computed = node.inputs.iter().filter(|v| !is_parameter(v));
        match (computed.next(), computed.next()) {
            (Some(x), None) => relaxation.is_affine() && self.free[x.index()],
            (computed, _) => computed.is_none(),
        }
    }

    /// The ranges of a node's result by backward passes.
    fn pull_back(&self, bounds: &Bounds, at: usize) -> Vec<Interval> {
        let elements = bounds.of(self.graph.nodes()[at].outputs[0]).len();
        let largest = self.graph.values().iter().enumerate();
        let largest = largest.filter(|(v, _)| self.used[*v]).map(|(v, _)| bounds.values[v].len()).max().unwrap_or(1);
        let rows = (COEFFICIENTS / (2 * largest.max(1))).clamp(4, ROWS);
        let chunks: Vec<Range<usize>> =
            (0..elements).step_by(rows).map(|first| first..(first + rows).min(elements)).collect();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            let mut panels = Panels::new(1);
            while let Some(chunk) = chunks.get(next.fetch_add(1, Ordering::Relaxed)) {
                let (ranges, own) = self.pass(bounds, at, chunk.clone(), panels);
                panels = own;
                done.push((chunk.start, ranges));
            }
            done
        };
        let threads = self.threads.min(chunks.len());
        let mut done = if threads <= 1 {
            work()
        } else {
            std::thread::scope(|scope| {
                let others: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
                let join = |thread: std::thread::ScopedJoinHandle<'_, Vec<_>>| match thread.join() {
                    Ok(done) => done,
                    Err(panic) => std::panic::resume_unwind(panic),
                };
                others.into_iter().flat_map(join).collect()
            })
        };
        done.sort_by_key(|part| part.0);
        let ranges: Vec<Interval> = done.into_iter().flat_map(|part| part.1).collect();
        debug_assert_eq!(ranges.len(), elements);
        ranges
    }

    /// The ranges of some elements of a node's result, and the buffer that was lent.
    fn pass(
        &self,
        bounds: &Bounds,
        at: usize,
        rows: Range<usize>,
        panels: Panels<f64>,
    ) -> (Vec<Interval>, Panels<f64>) {
        let nodes = self.graph.nodes();
        let (count, width) = (rows.len(), 2 * rows.len());
        let mut values: Vec<Option<Coefficients>> = self.graph.values().iter().map(|_| None).collect();
        let value = nodes[at].outputs[0];
        let mut seed = Coefficients::zero(bounds.of(value).len(), width);
        for (k, row) in rows.enumerate() {
            seed.data[row * width + k] = 1.0;
            seed.data[row * width + count + k] = -1.0;
            seed.live[row] = true;
        }
        values[value.index()] = Some(seed);
        let mut pass = Pass { width, values, constants: vec![0.0; width], sizes: vec![0.0; width], panels };
        for (node, step) in nodes[..=at].iter().zip(&self.steps).rev() {
            if let (Some(own), Some(step)) = (pass.values[node.outputs[0].index()].take(), step) {
                pass.replace(bounds, node, step, own);
            }
        }
        let mut operations = self.operations;
        for (v, coefficients) in std::mem::take(&mut pass.values).into_iter().enumerate() {
            if let Some(coefficients) = coefficients {
                pass.finish(&bounds.values[v], &coefficients);
                operations += coefficients.live.len();
            }
        }
        // Twice gamma, so that the rounding of this and of the sizes themselves does no harm.
        let gamma = f64::EPSILON * operations as f64;
        let end = |k: usize| {
            let bound = pass.constants[k] - gamma * pass.sizes[k];
            // Infinities of both signs, and the product of one with 0, say nothing.
            if bound.is_nan() { f64::NEG_INFINITY } else { bound.min(f64::MAX) }
        };
        let ranges = (0..count).map(|k| Interval::new(end(k), -end(count + k))).collect();
        (ranges, pass.panels)
    }
}

impl Step {
    fn new(graph: &Graph, node: &Node, bounds: &Bounds) -> Result<Self> {
        let relaxation = relax(graph, node, bounds, 0.5)?;
        let size = |planes: &Planes| -> Vec<f64> {
            let magnitude = |term: &Term| {
                let of = bounds.of(node.inputs[term.operand])[term.element];
                term.coefficient.abs() * largest(of)
            };
            let of = |e: usize| {
                let (terms, constant) = planes.plane(e);
                terms.iter().map(magnitude).sum::<f64>() + constant.abs()
            };
            (0..planes.len()).map(of).collect()
        };
        let sizes = match &relaxation {
            Relaxation::Same => [Vec::new(), Vec::new()],
            Relaxation::Dense(dense) => [dense_sizes(dense, bounds.of(node.inputs[0])), Vec::new()],
            Relaxation::Exact(planes) => [size(planes), Vec::new()],
            Relaxation::Between([below, above]) => [size(below), size(above)],
        };
        Ok(Self { relaxation, sizes })
    }

    /// The number of operations in the longest sums: of a row, of a coefficient, of constants.
    fn operations(&self, graph: &Graph, node: &Node) -> usize {
        let of = |planes: &Planes| {
            let mut reads: Vec<Vec<usize>> = node.inputs.iter().map(|&v| vec![0; graph.numel(v)]).collect();
            let mut longest = 0;
            for e in 0..planes.len() {
                let (terms, _) = planes.plane(e);
                terms.iter().for_each(|term| reads[term.operand][term.element] += 1);
                longest = longest.max(terms.len());
            }
            longest + reads.into_iter().flatten().max().unwrap_or(0) + planes.len()
        };
        match &self.relaxation {
            Relaxation::Same => 1,
            Relaxation::Dense(dense) => dense.features + (1 + dense.batch) * dense.out(),
            Relaxation::Exact(planes) => of(planes),
            Relaxation::Between([below, above]) => of(below) + of(above),
        }
    }
}

/// The largest magnitude of a value, which may be infinite.
fn largest(x: Interval) -> f64 {
    x.lower.abs().max(x.upper.abs())
}

fn dense_sizes(dense: &Dense, x: &[Interval]) -> Vec<f64> {
    let magnitudes: Vec<f64> = x.iter().map(|&x| largest(x)).collect();
    let mut sizes = Vec::with_capacity(dense.batch * dense.out());
    for x in magnitudes.chunks(dense.features.max(1)).take(dense.batch) {
        for (o, bias) in dense.bias.iter().enumerate() {
            let row = &dense.weight[o * dense.features..(o + 1) * dense.features];
            let term = |(w, x): (&f64, &f64)| if *w == 0.0 { 0.0 } else { w.abs() * x };
            sizes.push(row.iter().zip(x).map(term).sum::<f64>() + bias.abs());
        }
    }
    sizes
}

impl Pass {
    /// Replaces a node's result by its operands.
    fn replace(&mut self, bounds: &Bounds, node: &Node, step: &Step, own: Coefficients) {
        match &step.relaxation {
            Relaxation::Same => self.rename(node.inputs[0], own),
            Relaxation::Dense(dense) => self.dense(bounds, node.inputs[0], dense, &step.sizes[0], &own),
            Relaxation::Exact(planes) => {
                for e in (0..own.live.len()).filter(|&e| own.live[e]) {
                    let a = &own.data[e * self.width..(e + 1) * self.width];
                    self.plane(bounds, node, planes, e, a, step.sizes[0][e]);
                }
            }
            Relaxation::Between(sides) => {
                let mut a = vec![0.0; self.width];
                for e in (0..own.live.len()).filter(|&e| own.live[e]) {
                    let row = &own.data[e * self.width..(e + 1) * self.width];
                    for (side, planes) in sides.iter().enumerate() {
                        let part = |v: f64| if side == 0 { v.max(0.0) } else { v.min(0.0) };
                        let mut any = false;
                        for (a, &v) in a.iter_mut().zip(row) {
                            // What has overflowed stays NaN.
                            *a = if v.is_nan() { v } else { part(v) };
                            any |= *a != 0.0;
                        }
                        if any {
                            self.plane(bounds, node, planes, e, &a, step.sizes[side][e]);
                        }
                    }
                }
            }
        }
    }

    fn rename(&mut self, operand: ValueId, own: Coefficients) {
        match &mut self.values[operand.index()] {
            Some(there) => {
                there.data.iter_mut().zip(&own.data).for_each(|(a, b)| *a += b);
                there.live.iter_mut().zip(&own.live).for_each(|(a, b)| *a |= b);
            }
            there => *there = Some(own),
        }
    }

    /// Adds `a` times the plane of an element.
    fn plane(&mut self, bounds: &Bounds, node: &Node, planes: &Planes, e: usize, a: &[f64], size: f64) {
        let width = self.width;
        let (terms, constant) = planes.plane(e);
        if !size.is_finite() {
            return self.give_up(a);
        }
        self.constant(a, constant, size);
        for term in terms {
            let value = node.inputs[term.operand].index();
            let there = self.values[value].get_or_insert_with(|| Coefficients::zero(bounds.values[value].len(), width));
            there.live[term.element] = true;
            let row = &mut there.data[term.element * width..(term.element + 1) * width];
            row.iter_mut().zip(a).for_each(|(sum, a)| *sum += term.coefficient * a);
        }
    }

    fn constant(&mut self, a: &[f64], constant: f64, size: f64) {
        for ((sum, total), a) in self.constants.iter_mut().zip(&mut self.sizes).zip(a) {
            *sum += a * constant;
            *total += a.abs() * size;
        }
    }

    /// Bounds that contain something unbounded say nothing.
    fn give_up(&mut self, a: &[f64]) {
        for (constant, _) in self.constants.iter_mut().zip(a).filter(|(_, a)| **a != 0.0) {
            *constant = f64::NEG_INFINITY;
        }
    }

    fn dense(&mut self, bounds: &Bounds, operand: ValueId, dense: &Dense, sizes: &[f64], own: &Coefficients) {
        let (width, out, features) = (self.width, dense.out(), dense.features);
        let mut there =
            self.values[operand.index()].take().unwrap_or_else(|| Coefficients::zero(bounds.of(operand).len(), width));
        for n in 0..dense.batch {
            // Rows that nothing depends on are left out of the product.
            let rows: Vec<usize> = (0..out).filter(|&o| own.live[n * out + o]).collect();
            if rows.is_empty() {
                continue;
            }
            for &o in &rows {
                let a = &own.data[(n * out + o) * width..][..width];
                let size = sizes[n * out + o];
                if size.is_finite() { self.constant(a, dense.bias[o], size) } else { self.give_up(a) }
            }
            let target = &mut there.data[n * features * width..][..features * width];
            let all = &own.data[n * out * width..][..out * width];
            if rows.len() == out {
                add_transposed_product(&mut self.panels, [features, out, width], &dense.weight, all, target);
            } else {
                let take = |from: &[f64], length: usize| -> Vec<f64> {
                    rows.iter().flat_map(|&o| &from[o * length..(o + 1) * length]).copied().collect()
                };
                let (weight, a) = (take(&dense.weight, features), take(all, width));
                add_transposed_product(&mut self.panels, [features, rows.len(), width], &weight, &a, target);
            }
            there.live[n * features..(n + 1) * features].fill(true);
        }
        self.values[operand.index()] = Some(there);
    }

    /// Replaces inputs and parameters by their bounds.
    fn finish(&mut self, x: &[Interval], own: &Coefficients) {
        for e in (0..own.live.len()).filter(|&e| own.live[e]) {
            let row = &own.data[e * self.width..(e + 1) * self.width];
            let (lower, upper, size) = (x[e].lower, x[e].upper, largest(x[e]));
            for ((sum, total), &a) in self.constants.iter_mut().zip(&mut self.sizes).zip(row) {
                if a != 0.0 {
                    *sum += a * if a > 0.0 { lower } else { upper };
                    *total += a.abs() * size;
                }
            }
        }
    }
}
