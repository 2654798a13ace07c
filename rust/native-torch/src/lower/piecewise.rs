//! Piecewise linear layers by big-M: ReLU, LeakyReLU, maximum pools.
//!
//! Tjeng, Xiao and Tedrake, Evaluating Robustness of Neural Networks with Mixed Integer Programming, ICLR 2019.

use super::{Domain, Element, Lowering, Rule, VarId, formulation::to_u32};
use crate::{
    Result,
    bounds::{Interval, form, unary_value},
    graph::{Node, Source, Unary},
};

/// A range that passes zero by this fraction of its width, or less, counts as not passing it: the formulation is then
/// wrong by at most that much, which no solver can tell, and has no coefficient that small.
const STABLE: f64 = 1e-10;

/// The sign that a neuron's input is certain to have.
enum Phase {
    Positive,
    Negative,
    Unstable,
}

fn phase(z: Interval) -> Phase {
    let hardly = |a: f64, b: f64| b.is_finite() && a <= STABLE * b;
    if z.lower >= 0.0 || hardly(-z.lower, z.upper) {
        Phase::Positive
    } else if z.upper <= 0.0 || hardly(z.upper, -z.lower) {
        Phase::Negative
    } else {
        Phase::Unstable
    }
}

impl Lowering<'_> {
    /// PReLU with stored weights; with weights that the model computes, a nonlinear equation.
    pub(super) fn prelu(&mut self, at: u32, node: &Node) -> Result<()> {
        if !matches!(self.graph.values()[node.inputs[1].index()].source, Source::Parameter(_)) {
            return self.prelu_of_two(at, node);
        }
        let weight = form::stored(self.graph, node, 1, "weight")?;
        let places = form::broadcasts(self.graph, node);
        self.bent(at, node, |i| weight[places[1].at(i)])
    }

    /// `y = z` for `z > 0` and `slope z` elsewhere, with a slope for each element.
    pub(super) fn bent(&mut self, at: u32, node: &Node, slopes: impl Fn(usize) -> f64) -> Result<()> {
        let inputs = self.operand(node, 0)?.to_vec();
        let (value, input) = (node.outputs[0], node.inputs[0]);
        let mut blocks = None;
        let mut out = Vec::with_capacity(inputs.len());
        for (i, element) in inputs.into_iter().enumerate() {
            let (y, z, slope) = (self.bounds.of(value)[i], self.bounds.of(input)[i], slopes(i));
            let variable = match element {
                Element::Constant(c) => {
                    out.push(Element::Constant(unary_value(Unary::LeakyRelu { slope }, c)));
                    continue;
                }
                Element::Variable(variable) => variable,
            };
            let phase = phase(z);
            if slope == 1.0 || matches!(phase, Phase::Positive) {
                out.push(element);
                continue;
            }
            if slope == 0.0 && matches!(phase, Phase::Negative) {
                out.push(Element::Constant(0.0));
                continue;
            }
            let y_block = match blocks {
                Some((y_block, _)) => y_block,
                None => self.block(at, "y", Some(value)),
            };
            let on_block = blocks.map_or_else(|| self.block(at, "on", None), |(_, on_block)| on_block);
            blocks = Some((y_block, on_block));
            if matches!(phase, Phase::Negative) {
                self.terms.clear();
                self.terms.push((variable, -slope));
                out.push(self.equation(at, y_block, i, y, 0.0));
            } else if z.is_finite() {
                out.push(Element::Variable(self.big_m(at, [y_block, on_block], i, slope, variable, [y, z])));
            } else {
                return Err(self.unbounded(node, i, z));
            }
        }
        self.set(node, out);
        Ok(())
    }

    /// For `slope < 1`, `y = max(z, slope z)`: `y` is above both, and below that of the two which the binary chooses.
    /// For `slope > 1`, `y = min(z, slope z)`, and all of it upside down. The two lines differ by at most
    /// `(slope - 1) lower` left of zero and by `(1 - slope) upper` right of it.
    fn big_m(
        &mut self,
        at: u32,
        [y_block, on_block]: [u32; 2],
        i: usize,
        slope: f64,
        z: VarId,
        [y_bounds, bounds]: [Interval; 2],
    ) -> VarId {
        let first = to_u32(self.formulation.rows.len());
        let count = if slope == 0.0 { 1 } else { 2 };
        let model = &mut self.formulation;
        let y = model.push_variable(y_block, i, y_bounds, Domain::Continuous, Rule::Rows { first, count });
        let on = model.push_variable(on_block, i, Interval::new(0.0, 1.0), Domain::Binary, Rule::Positive(z));
        let (left, right) = ((slope - 1.0) * bounds.lower, (1.0 - slope) * bounds.upper);
        // (limits that put y on the right side of a line, the terms of the line, the big-M of the binary, its constant)
        let (none, all) = (f64::NEG_INFINITY, f64::INFINITY);
        let one_sided = |limit: f64| if slope < 1.0 { (limit, all) } else { (none, limit) };
        let other_side = |limit: f64| if slope < 1.0 { (none, limit) } else { (limit, all) };
        let (lower, upper) = one_sided(0.0);
        model.push_row(lower, &[(z, -1.0), (y, 1.0)], upper, at);
        if slope != 0.0 {
            model.push_row(lower, &[(z, -slope), (y, 1.0)], upper, at);
        }
        let (lower, upper) = other_side(left);
        model.push_row(lower, &[(z, -1.0), (y, 1.0), (on, left)], upper, at);
        let (lower, upper) = other_side(0.0);
        model.push_row(lower, &[(z, -slope), (y, 1.0), (on, -right)], upper, at);
        y
    }

    /// `y` is above all elements of a window, and below the one that a binary chooses.
    pub(super) fn max_pool(&mut self, at: u32, node: &Node) -> Result<()> {
        let inputs = self.operand(node, 0)?.to_vec();
        let (value, bounds) = (node.outputs[0], self.bounds.of(node.inputs[0]));
        let (graph, mut blocks) = (self.graph, None);
        let mut out = Vec::with_capacity(self.bounds.of(value).len());
        form::max_pool(graph, node, |i, window| {
            let candidates = candidates(window, &inputs, bounds);
            if let [only] = candidates.as_slice() {
                out.push(inputs[*only]);
                return Ok(());
            }
            if let Some(&infinite) = candidates.iter().find(|&&c| !bounds[c].is_finite()) {
                return Err(self.unbounded(node, infinite, bounds[infinite]));
            }
            let elements: Vec<Element> = candidates.iter().map(|&c| inputs[c]).collect();
            let variables = self.as_variables(at, &elements);
            let (y_block, on_block) =
                *blocks.get_or_insert_with(|| (self.block(at, "y", Some(value)), self.block(at, "largest", None)));
            let ranges: Vec<Interval> = candidates.iter().map(|&c| bounds[c]).collect();
            let y = self.bounds.of(value)[i];
            out.push(Element::Variable(self.maximum(at, [y_block, on_block], i, &variables, &ranges, y)));
            Ok(())
        })?;
        self.set(node, out);
        Ok(())
    }

    fn maximum(
        &mut self,
        at: u32,
        [y_block, on_block]: [u32; 2],
        i: usize,
        candidates: &[VarId],
        ranges: &[Interval],
        bounds: Interval,
    ) -> VarId {
        let model = &mut self.formulation;
        let rule = Rule::Rows { first: to_u32(model.rows.len()), count: to_u32(candidates.len()) };
        let y = model.push_variable(y_block, i, bounds, Domain::Continuous, rule);
        for &x in candidates {
            model.push_row(0.0, &[(x, -1.0), (y, 1.0)], f64::INFINITY, at);
        }
        let list = model.add_list(candidates);
        let mut choice = Vec::with_capacity(candidates.len());
        for (position, (&x, range)) in candidates.iter().zip(ranges).enumerate() {
            let rule = Rule::Chosen { list, position: to_u32(position) };
            let index = model.blocks[on_block as usize].len as usize;
            let on = model.push_variable(on_block, index, Interval::new(0.0, 1.0), Domain::Binary, rule);
            let others = ranges.iter().enumerate().filter(|(k, _)| *k != position);
            let largest = others.map(|(_, r)| r.upper).fold(f64::NEG_INFINITY, f64::max);
            let big = (largest - range.lower).max(0.0);
            model.push_row(f64::NEG_INFINITY, &[(x, -1.0), (y, 1.0), (on, big)], big, at);
            choice.push((on, 1.0));
        }
        model.push_row(1.0, &choice, 1.0, at);
        y
    }
}

/// The elements of a window that can be its largest: each once, without those that another is never below.
fn candidates(window: &[usize], inputs: &[Element], bounds: &[Interval]) -> Vec<usize> {
    let mut left: Vec<usize> = Vec::with_capacity(window.len());
    for &c in window {
        if !left.iter().any(|&seen| inputs[seen] == inputs[c]) {
            left.push(c);
        }
    }
    let Some(&best) = left.iter().max_by(|&&a, &&b| bounds[a].lower.total_cmp(&bounds[b].lower)) else { return left };
    left.retain(|&c| c == best || bounds[c].upper > bounds[best].lower);
    left
}
