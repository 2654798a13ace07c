//! Affine chains.
//!
//! A scaling is `s x + t` with numbers for each index of one dimension, or for all elements: what a BatchNorm and arithmetic
//! with constants are. Before or behind a linear layer or a convolution it goes into the weights; a linear layer behind
//! another is the product of both; and of scalings that are left, two become one.

use crate::{
    Result,
    graph::{Conv, Graph, Node, Op, Source, Unary, ValueId},
    tensor::Tensor,
};

/// A linear layer is made for scalings up to this many features, since it stores their square.
const LARGEST_DIAGONAL: usize = 2048;

/// Joins chains of affine operations, where nothing else reads what is between them and all of their nodes may be folded.
/// A product of two linear layers is made where it has no more weights than both. Sizes must be known, and constants
/// folded ([`constants`](super::constants)).
pub fn affine(graph: &Graph, may_fold: impl Fn(&Node) -> bool) -> Result<Graph> {
    let mut folding = Folding { uses: graph.uses(), free: Vec::new(), graph: graph.clone() };
    folding.free = graph.nodes().iter().map(may_fold).collect();
    for at in 0..graph.nodes().len() {
        while folding.free[at] && folding.join_weights(at)? {}
    }
    for at in 0..graph.nodes().len() {
        if folding.free[at] {
            folding.join_scalings(at)?;
        }
    }
    folding.graph.remove_unused();
    Ok(folding.graph)
}

/// What has stored weights and a bias as its further operands.
fn has_weights(op: &Op) -> bool {
    matches!(op, Op::Linear | Op::Conv(_) | Op::ConvTranspose { .. })
}

struct Folding {
    graph: Graph,
    /// How often each value is read.
    uses: Vec<usize>,
    /// Which nodes may be folded.
    free: Vec<bool>,
}

/// `s x + t`, the numbers along one dimension of x or the same for all of it.
struct Scaling {
    x: ValueId,
    axis: Option<usize>,
    scale: Vec<f64>,
    shift: Vec<f64>,
}

impl Scaling {
    fn at(numbers: &[f64], i: usize) -> f64 {
        if numbers.len() == 1 { numbers[0] } else { numbers[i] }
    }

    fn scale(&self, i: usize) -> f64 {
        Self::at(&self.scale, i)
    }

    fn shift(&self, i: usize) -> f64 {
        Self::at(&self.shift, i)
    }

    /// Whether its numbers lie along this dimension.
    fn is_along(&self, axis: usize) -> bool {
        self.axis.is_none_or(|own| own == axis)
    }
}

/// A linear layer or a convolution with its numbers.
struct Weighted {
    x: ValueId,
    weight: Vec<f64>,
    sizes: Vec<usize>,
    /// One for each channel of the result; zeros where the layer has none.
    bias: Vec<f64>,
}

impl Folding {
    /// The node that computes a value, if it may be folded and nothing else reads its result.
    fn before(&self, value: ValueId) -> Option<usize> {
        match self.graph.values()[value.index()].source {
            Source::Node { node, .. } if self.free[node] && self.uses[value.index()] == 1 => Some(node),
            _ => None,
        }
    }

    fn numbers(&self, value: ValueId) -> Result<Option<Vec<f64>>> {
        let Source::Parameter(parameter) = self.graph.values()[value.index()].source else { return Ok(None) };
        let parameter = &self.graph.parameters()[parameter];
        parameter.tensor.to_vec().map(Some).map_err(|e| e.at(format!("parameter `{}`", parameter.name)))
    }

    /// The node as a scaling.
    fn scaling(&self, at: usize) -> Result<Option<Scaling>> {
        let node = &self.graph.nodes()[at];
        let uniform =
            |scale: f64, shift: f64| Scaling { x: node.inputs[0], axis: None, scale: vec![scale], shift: vec![shift] };
        match node.op {
            Op::Unary(Unary::Affine { scale, shift }) => return Ok(Some(uniform(scale, shift))),
            Op::Unary(Unary::Neg) => return Ok(Some(uniform(-1.0, 0.0))),
            Op::Add | Op::Sub | Op::Mul | Op::Div => {}
            _ => return Ok(None),
        }
        let (x, c, turned) = match (self.numbers(node.inputs[0])?, self.numbers(node.inputs[1])?) {
            (None, Some(c)) => (0, c, false),
            (Some(c), None) => (1, c, true),
            _ => return Ok(None),
        };
        let (x, stored) = (node.inputs[x], node.inputs[1 - x]);
        let (sizes, own) = (self.graph.sizes(x), self.graph.sizes(stored));
        if sizes != self.graph.sizes(node.outputs[0]) || c.iter().any(|v| !v.is_finite()) {
            return Ok(None);
        }
        let long: Vec<usize> = (0..own.len()).filter(|&d| own[d] > 1).collect();
        let axis = match long[..] {
            [] if c.len() == 1 => None,
            [d] => Some(sizes.len() - own.len() + d),
            _ => return Ok(None),
        };
        let one = vec![1.0];
        let (scale, shift) = match (&node.op, turned) {
            (Op::Mul, _) => (c, vec![0.0]),
            (Op::Add, _) => (one, c),
            (Op::Sub, false) => (one, c.iter().map(|v| -v).collect()),
            (Op::Sub, true) => (vec![-1.0], c),
            (Op::Div, false) if c.iter().all(|v| v.recip().is_finite()) => {
                (c.iter().map(|v| v.recip()).collect(), vec![0.0])
            }
            _ => return Ok(None),
        };
        Ok(Some(Scaling { x, axis, scale, shift }))
    }

    /// The node as a layer with weights.
    fn weighted(&self, at: usize) -> Result<Option<Weighted>> {
        let node = &self.graph.nodes()[at];
        let Some(weight) = self.numbers(node.inputs[1])? else { return Ok(None) };
        let sizes = self.graph.sizes(node.inputs[1]);
        let channels = match &node.op {
            Op::ConvTranspose { conv, .. } => sizes[1] * conv.groups,
            _ => sizes[0],
        };
        let bias = match node.inputs.get(2) {
            Some(&bias) => self.numbers(bias)?,
            None => Some(vec![0.0; channels]),
        };
        Ok(bias.map(|bias| Weighted { x: node.inputs[0], weight, sizes, bias }))
    }

    /// The dimension of the channels in a layer's operand and result.
    fn channels(&self, at: usize) -> usize {
        let node = &self.graph.nodes()[at];
        let rank = self.graph.ty(node.outputs[0]).rank();
        let spatial = if node.op == Op::Linear { 0 } else { self.graph.ty(node.inputs[1]).rank() - 2 };
        rank - 1 - spatial
    }

    /// Joins a node with the one before it, where one of them has weights; whether it did.
    fn join_weights(&mut self, at: usize) -> Result<bool> {
        let node = &self.graph.nodes()[at];
        if has_weights(&node.op) {
            let Some(before) = self.before(node.inputs[0]) else { return Ok(false) };
            if let Some(scaling) = self.scaling(before)? {
                let Some(layer) = self.weighted(at)? else { return Ok(false) };
                return self.scaling_before(at, before, layer, &scaling);
            }
            if node.op != Op::Linear || self.graph.nodes()[before].op != Op::Linear {
                return Ok(false);
            }
            return match (self.weighted(before)?, self.weighted(at)?) {
                (Some(first), Some(second)) => self.product(at, before, &second, &first),
                _ => Ok(false),
            };
        }
        let Some(scaling) = self.scaling(at)? else { return Ok(false) };
        let Some(before) = self.before(scaling.x) else { return Ok(false) };
        if !has_weights(&self.graph.nodes()[before].op) || !scaling.is_along(self.channels(before)) {
            return Ok(false);
        }
        match self.weighted(before)? {
            Some(layer) => self.scaling_behind(at, before, layer, &scaling),
            None => Ok(false),
        }
    }

    fn scaling_behind(&mut self, at: usize, before: usize, mut layer: Weighted, scaling: &Scaling) -> Result<bool> {
        let op = self.graph.nodes()[before].op.clone();
        let per_row: usize = layer.sizes[1..].iter().product();
        let transposed = match &op {
            Op::ConvTranspose { conv, .. } => Some(layer.sizes[0] / conv.groups),
            _ => None,
        };
        for (place, w) in layer.weight.iter_mut().enumerate() {
            let row = place / per_row.max(1);
            let channel = match transposed {
                None => row,
                Some(rows) => {
                    let taps: usize = layer.sizes[2..].iter().product();
                    row / rows * layer.sizes[1] + place % per_row / taps
                }
            };
            *w *= scaling.scale(channel);
        }
        for (channel, b) in layer.bias.iter_mut().enumerate() {
            *b = scaling.scale(channel) * *b + scaling.shift(channel);
        }
        self.replace(at, before, op, layer)
    }

    fn scaling_before(&mut self, at: usize, before: usize, mut layer: Weighted, scaling: &Scaling) -> Result<bool> {
        let op = self.graph.nodes()[at].op.clone();
        let shifts = scaling.shift.iter().any(|t| *t != 0.0);
        let groups = match &op {
            Op::Linear => 1,
            // Padding is 0 behind the scaling, not before it.
            Op::Conv(conv) if !shifts || conv.padding.iter().all(|&amounts| amounts == (0, 0)) => conv.groups,
            _ => return Ok(false),
        };
        if !scaling.is_along(self.channels(at)) {
            return Ok(false);
        }
        let (rows, columns) = (layer.sizes[0], layer.sizes[1]);
        let taps: usize = layer.sizes[2..].iter().product();
        for (place, w) in layer.weight.iter_mut().enumerate() {
            let (row, column) = (place / taps / columns, place / taps % columns);
            let channel = row / (rows / groups) * columns + column;
            layer.bias[row] += *w * scaling.shift(channel);
            *w *= scaling.scale(channel);
        }
        layer.x = scaling.x;
        self.replace(at, before, op, layer)
    }

    /// Two linear layers as one.
    fn product(&mut self, at: usize, before: usize, second: &Weighted, first: &Weighted) -> Result<bool> {
        let (out, hidden, input) = (second.sizes[0], first.sizes[0], first.sizes[1]);
        if out * input > hidden * (out + input) {
            return Ok(false);
        }
        let mut weight = vec![0.0; out * input];
        let mut bias = second.bias.clone();
        for o in 0..out {
            let row = &mut weight[o * input..(o + 1) * input];
            for h in 0..hidden {
                let w = second.weight[o * hidden + h];
                bias[o] += w * first.bias[h];
                row.iter_mut().zip(&first.weight[h * input..]).for_each(|(sum, v)| *sum += w * v);
            }
        }
        self.replace(at, before, Op::Linear, Weighted { x: first.x, weight, sizes: vec![out, input], bias })
    }

    /// Two scalings as one layer: a linear one where the numbers lie along the last dimension, and else a convolution
    /// of single elements.
    fn join_scalings(&mut self, at: usize) -> Result<()> {
        let Some(second) = self.scaling(at)? else { return Ok(()) };
        let Some(before) = self.before(second.x) else { return Ok(()) };
        let Some(first) = self.scaling(before)? else { return Ok(()) };
        let sizes = self.graph.sizes(first.x);
        let axis = match (first.axis, second.axis) {
            (a, None) | (None, a) => a,
            (a, b) if a == b => a,
            _ => return Ok(()),
        };
        let Some(axis) = axis else {
            let (scale, shift) = (second.scale(0) * first.scale(0), second.scale(0) * first.shift(0) + second.shift(0));
            let scope = self.scope(at, before);
            let op = Op::Unary(Unary::Affine { scale, shift });
            return self.graph.rewrite(at, op, vec![first.x], scope);
        };
        let (count, spatial) = (sizes[axis], sizes.len() - axis - 1);
        let diagonal: Vec<f64> = (0..count).map(|i| second.scale(i) * first.scale(i)).collect();
        let bias = (0..count).map(|i| second.scale(i) * first.shift(i) + second.shift(i)).collect();
        let (op, weight, sizes) = match spatial {
            0 if count <= LARGEST_DIAGONAL => {
                let mut weight = vec![0.0; count * count];
                diagonal.iter().enumerate().for_each(|(i, &s)| weight[i * count + i] = s);
                (Op::Linear, weight, vec![count, count])
            }
            1..=3 if axis <= 1 => {
                let conv = Conv {
                    stride: vec![1; spatial],
                    padding: vec![(0, 0); spatial],
                    dilation: vec![1; spatial],
                    groups: count,
                };
                (Op::Conv(conv), diagonal, [vec![count, 1], vec![1; spatial]].concat())
            }
            _ => return Ok(()),
        };
        self.replace(at, before, op, Weighted { x: first.x, weight, sizes, bias }).map(|_| ())
    }

    /// Puts a layer in the place of a node and the one before it.
    fn replace(&mut self, at: usize, before: usize, op: Op, layer: Weighted) -> Result<bool> {
        let finite = layer.weight.iter().chain(&layer.bias).all(|v| v.is_finite());
        if !finite {
            return Ok(false);
        }
        let scope = self.scope(at, before);
        let channels = layer.bias.len();
        let weight = Tensor::from_slice(&layer.sizes, &layer.weight);
        let weight = self.graph.add_parameter(format!("weight of {scope}"), weight);
        let bias = self.graph.add_parameter(format!("bias of {scope}"), Tensor::from_slice(&[channels], &layer.bias));
        self.graph.rewrite(at, op, vec![layer.x, weight, bias], scope)?;
        Ok(true)
    }

    /// Both places, each once: a layer may take several operations.
    fn scope(&self, at: usize, before: usize) -> String {
        let [first, second] = [before, at].map(|at| self.graph.nodes()[at].scope.clone());
        if first.ends_with(&second) { first } else { format!("{first}, {second}") }
    }
}
