//! From boxes of inputs to boxes of every value of a graph: by interval propagation, and by linear relaxation.
//!
//! A bound holds for the exact value and for what a forward pass in f64 computes: sums are moved outward by the error
//! bound of a dot product, functions by a few units in the last place. Bounds may be infinite and are never NaN.

pub(crate) mod envelope;
pub(crate) mod form;
mod interval;
mod linear;
pub(crate) mod relax;
mod unary;

pub use interval::Interval;
pub(crate) use interval::Sum;
pub(crate) use linear::Backward;
pub use linear::linear;
pub(crate) use unary::{bends, value as unary_value};

use crate::{
    Error, Result,
    graph::{Comparison, Graph, Node, Op, Source, ValueId},
};
use form::{Place, Term};

/// The intervals of every value of a graph.
#[derive(Clone, Debug)]
pub struct Bounds {
    values: Vec<Vec<Interval>>,
}

impl Bounds {
    /// The intervals of a value's elements, flat and row-major.
    pub fn of(&self, value: ValueId) -> &[Interval] {
        &self.values[value.index()]
    }
}

/// The intervals of all values, from those of the inputs: one for each element, the inputs in signature order, each
/// flat and row-major. Sizes must be known.
///
/// ```
/// use native_torch::{bounds::{Interval, propagate}, graph::{Builder, Dim, Unary}, tensor::Tensor};
///
/// let mut b = Builder::new();
/// let x = b.input("x", vec![Dim::Size(2)]);
/// let weight = b.parameter("weight", Tensor::from_slice(&[1, 2], &[1.0, -2.0]));
/// let z = b.linear(x, weight, None)?;
/// let y = b.unary(Unary::Relu, z)?;
/// let graph = b.finish(&[("y", y)])?;
/// let bounds = propagate(&graph, &[Interval::new(0.0, 1.0), Interval::new(0.0, 1.0)])?;
/// assert!(bounds.of(z)[0].contains(-2.0) && bounds.of(z)[0].contains(1.0));
/// assert_eq!(bounds.of(y)[0].lower, 0.0);
/// # Ok::<(), native_torch::Error>(())
/// ```
pub fn propagate(graph: &Graph, inputs: &[Interval]) -> Result<Bounds> {
    let mut bounds = Bounds::of_inputs(graph, inputs)?;
    for node in graph.nodes() {
        bounds.intersect_rule(graph, node)?;
    }
    Ok(bounds)
}

/// How many threads are meant: 0 stands for as many as the machine has.
pub(crate) fn threads(threads: usize) -> usize {
    if threads > 0 { threads } else { std::thread::available_parallelism().map_or(1, usize::from) }
}

fn check_inputs(graph: &Graph, inputs: &[Interval]) -> Result<()> {
    let n: usize = graph.inputs().iter().map(|input| graph.numel(input.value)).sum();
    if inputs.len() != n {
        return Err(Error::argument(format!(
            "the model has {n} input elements, but {} bounds were given",
            inputs.len()
        )));
    }
    match inputs.iter().position(|x| !x.is_valid()) {
        Some(i) => Err(Error::argument(format!(
            "the bounds of x[{i}] are [{}, {}]; the lower must not exceed the upper, and a number must lie between",
            inputs[i].lower, inputs[i].upper
        ))),
        None => Ok(()),
    }
}

impl Bounds {
    /// The intervals of the inputs alone.
    fn of_inputs(graph: &Graph, inputs: &[Interval]) -> Result<Self> {
        graph.check_concrete()?;
        check_inputs(graph, inputs)?;
        let mut bounds = Bounds { values: vec![Vec::new(); graph.values().len()] };
        let mut rest = inputs;
        for input in graph.inputs() {
            let (own, others) = rest.split_at(graph.numel(input.value));
            bounds.values[input.value.index()] = own.to_vec();
            rest = others;
        }
        for output in graph.outputs() {
            bounds.load_parameter(graph, output.value)?;
        }
        Ok(bounds)
    }

    /// Narrows a value's intervals to what they have in common with these.
    pub(crate) fn intersect(&mut self, value: ValueId, ranges: &[Interval]) {
        let own = &mut self.values[value.index()];
        if own.is_empty() {
            *own = ranges.to_vec();
        }
        own.iter_mut().zip(ranges).for_each(|(own, range)| *own = own.intersect(*range));
    }

    /// Whether there is an interval for each element of a graph's inputs and of what its nodes compute.
    pub(crate) fn fits(&self, graph: &Graph) -> bool {
        let inputs = graph.inputs().iter().map(|input| input.value);
        let computed = graph.nodes().iter().map(|node| node.outputs[0]);
        self.values.len() == graph.values().len()
            && inputs.chain(computed).all(|value| self.of(value).len() == graph.numel(value))
    }

    /// What both say of the values of one graph.
    #[must_use]
    pub(crate) fn intersection(mut self, other: &Bounds) -> Bounds {
        for (own, other) in self.values.iter_mut().zip(&other.values) {
            own.iter_mut().zip(other).for_each(|(own, other)| *own = own.intersect(*other));
        }
        self
    }

    /// Makes room for so many values.
    pub(crate) fn extend(&mut self, values: usize) {
        self.values.resize(values, Vec::new());
    }

    /// Changes a value's intervals.
    pub(crate) fn update(&mut self, value: ValueId, change: impl FnMut(&mut Interval)) {
        self.values[value.index()].iter_mut().for_each(change);
    }

    /// Narrows the intervals of a node's result by its operation's rule.
    pub(crate) fn intersect_rule(&mut self, graph: &Graph, node: &Node) -> Result<()> {
        let ranges = self.rule(graph, node)?;
        self.intersect(node.outputs[0], &ranges);
        Ok(())
    }

    /// The rule of each operation.
    fn rule(&mut self, graph: &Graph, node: &Node) -> Result<Vec<Interval>> {
        let stored = match node.op {
            Op::Linear | Op::Conv(_) | Op::ConvTranspose { .. } | Op::LayerNorm { .. } | Op::RmsNorm { .. } => 1,
            _ => node.inputs.len(),
        };
        for &operand in &node.inputs[..stored] {
            self.load_parameter(graph, operand)?;
        }
        let mut out = vec![Interval::ALL; graph.numel(node.outputs[0])];
        let sums = |row: usize, terms: &[Term], constant: f64| {
            out[row] = self.sum(node, terms, constant);
            Ok(())
        };
        match &node.op {
            Op::Unary(unary) => return Ok(self.map(node, |x| unary::range(*unary, x))),
            Op::Add => form::sum(graph, node, [1.0, 1.0], sums)?,
            Op::Sub => form::sum(graph, node, [1.0, -1.0], sums)?,
            Op::Mul => return Ok(self.product(graph, node)),
            Op::Div => {
                let [a, b] = form::broadcasts(graph, node);
                let (x, y) = (self.of(node.inputs[0]), self.of(node.inputs[1]));
                out.iter_mut().enumerate().for_each(|(e, out)| *out = x[a.at(e)].divided_by(y[b.at(e)]));
            }
            Op::Linear => form::linear(graph, node, sums)?,
            Op::Conv(_) | Op::ConvTranspose { .. } => form::convolution(graph, node, sums)?,
            Op::AvgPool(_)
            | Op::AdaptiveAvgPool(_)
            | Op::Upsample(_)
            | Op::Unfold(_)
            | Op::Fold { .. }
            | Op::Pad { .. }
            | Op::Permute { .. }
            | Op::Slice { .. }
            | Op::Sum { .. }
            | Op::Mean { .. } => {
                let map = form::map_of(graph, node);
                if map.windows.is_copy() {
                    return Ok(self.gather(node, &form::copies(&map)));
                }
                form::map(&map, sums)?;
            }
            Op::MaxPool(_) | Op::AdaptiveMaxPool(_) => form::max_pool(graph, node, |row, candidates| {
                let x = self.of(node.inputs[0]);
                let largest =
                    |end: fn(Interval) -> f64| candidates.iter().map(|&c| end(x[c])).fold(f64::NEG_INFINITY, f64::max);
                out[row] = Interval::new(largest(|x| x.lower), largest(|x| x.upper));
                Ok(())
            })?,
            Op::Prelu => {
                let [_, weight] = form::broadcasts(graph, node);
                let (x, w) = (self.of(node.inputs[0]), self.of(node.inputs[1]));
                let rule = |e: usize| prelu(x[e], w[weight.at(e)]);
                return Ok((0..out.len()).map(rule).collect());
            }
            Op::Compare(comparison) => {
                let [a, b] = form::broadcasts(graph, node);
                let (x, y) = (self.of(node.inputs[0]), self.of(node.inputs[1]));
                out.iter_mut().enumerate().for_each(|(e, out)| *out = compared(*comparison, x[a.at(e)], y[b.at(e)]));
            }
            Op::If(branches) => {
                let x = self.of(node.inputs[1]);
                let of = |branch: &Graph| -> Result<Vec<Interval>> {
                    let bounds = propagate(branch, x)?;
                    Ok(branch.outputs().iter().flat_map(|output| bounds.of(output.value).to_vec()).collect())
                };
                let [taken, other] = branches;
                return match decided(self.of(node.inputs[0])[0]) {
                    Some(holds) => of(if holds { taken } else { other }),
                    None => Ok(of(taken)?.into_iter().zip(of(other)?).map(|(a, b)| a.hull(b)).collect()),
                };
            }
            Op::While { .. } => return Err(endless(node)),
            Op::Where => {
                let places: [_; 3] = form::broadcasts(graph, node);
                let at = |operand: usize, e: usize| self.of(node.inputs[operand])[places[operand].at(e)];
                for (e, out) in out.iter_mut().enumerate() {
                    *out = match decided(at(0, e)) {
                        Some(holds) => at(if holds { 1 } else { 2 }, e),
                        None => at(1, e).hull(at(2, e)),
                    };
                }
            }
            Op::LayerNorm { axes, eps } => return self.norm(graph, node, *axes, |group| normalised(group, *eps)),
            Op::RmsNorm { axes, eps } => {
                let eps = eps.unwrap_or(f64::EPSILON);
                return self.norm(graph, node, *axes, |group| scaled_to_one(group, eps));
            }
            Op::LogSoftmax { dim } => {
                for group in form::softmax_groups(graph, node, *dim) {
                    log_softmax(self.of(node.inputs[0]), &group, &mut out);
                }
            }
            Op::Softmax { dim } => {
                for group in form::softmax_groups(graph, node, *dim) {
                    softmax(self.of(node.inputs[0]), &group, &mut out);
                }
            }
            Op::Flatten { .. } | Op::Unflatten { .. } => return Ok(self.map(node, |x| x)),
            Op::Embedding => return Ok(self.gather(node, &form::embedding(graph, node)?)),
            Op::Cat { dim } => return Ok(self.gather(node, &form::cat(graph, node, *dim))),
        }
        Ok(out)
    }

    /// Parameters become points where they are elements like any other.
    fn load_parameter(&mut self, graph: &Graph, value: ValueId) -> Result<()> {
        if let Source::Parameter(index) = graph.values()[value.index()].source
            && self.of(value).is_empty()
        {
            self.values[value.index()] = form::numbers(graph, index)?.into_iter().map(Interval::point).collect();
        }
        Ok(())
    }

    fn map(&self, node: &Node, rule: impl Fn(Interval) -> Interval) -> Vec<Interval> {
        self.of(node.inputs[0]).iter().map(|&x| rule(x)).collect()
    }

    fn sum(&self, node: &Node, terms: &[Term], constant: f64) -> Interval {
        let mut sum = Sum::new(constant);
        for term in terms {
            sum.add(term.coefficient, self.of(node.inputs[term.operand])[term.element]);
        }
        sum.finish()
    }

    fn product(&self, graph: &Graph, node: &Node) -> Vec<Interval> {
        let (x, y) = (self.of(node.inputs[0]), self.of(node.inputs[1]));
        let [a, b] = form::broadcasts(graph, node);
        let square = node.inputs[0] == node.inputs[1];
        let rule = |e: usize| {
            let product = x[a.at(e)].times(y[b.at(e)]);
            if square { product.intersect(Interval::new(0.0, f64::INFINITY)) } else { product }
        };
        (0..graph.numel(node.outputs[0])).map(rule).collect()
    }

    fn gather(&self, node: &Node, places: &[Place]) -> Vec<Interval> {
        let take = |place: &Place| match *place {
            Place::Element { operand, element } => self.of(node.inputs[operand])[element],
            Place::Constant(c) => Interval::point(c),
        };
        places.iter().map(take).collect()
    }

    /// A normalisation of groups of elements with its affine part.
    fn norm(
        &self,
        graph: &Graph,
        node: &Node,
        axes: usize,
        rule: impl Fn(&[Interval]) -> Vec<Interval>,
    ) -> Result<Vec<Interval>> {
        let x = self.of(node.inputs[0]);
        let sizes = graph.sizes(node.inputs[0]);
        let size: usize = sizes[sizes.len() - axes..].iter().product();
        let weight = (node.inputs.len() > 1).then(|| form::stored(graph, node, 1, "weight")).transpose()?;
        let bias = (node.inputs.len() > 2).then(|| form::stored(graph, node, 2, "bias")).transpose()?;
        let mut out = Vec::with_capacity(x.len());
        for group in x.chunks(size.max(1)) {
            for (i, normal) in rule(group).into_iter().enumerate() {
                let mut sum = Sum::new(bias.as_ref().map_or(0.0, |bias| bias[i]));
                sum.add(weight.as_ref().map_or(1.0, |weight| weight[i]), normal);
                out.push(sum.finish());
            }
        }
        Ok(out)
    }
}

/// The error for loops of which the values decide how long they run.
pub(crate) fn endless(node: &Node) -> Error {
    Error::unsupported(
        "a loop whose number of turns depends on values has neither bounds nor a formulation; use the network's values and \
         derivatives (in JuMP: gray_box = true)",
    )
    .at(&node.scope)
}

/// Whether a comparison holds for all numbers of two intervals, 1, for none, 0, or for some.
fn compared(comparison: Comparison, x: Interval, y: Interval) -> Interval {
    let (above, below) = (x.lower > y.upper, x.upper < y.lower);
    let (not_below, not_above) = (x.lower >= y.upper, x.upper <= y.lower);
    let (holds, fails) = match comparison {
        Comparison::Greater => (above, not_above),
        Comparison::GreaterEqual => (not_below, below),
        Comparison::Less => (below, not_below),
        Comparison::LessEqual => (not_above, above),
        Comparison::Equal => (not_below && not_above, above || below),
        Comparison::NotEqual => (above || below, not_below && not_above),
    };
    Interval::new(f64::from(u8::from(holds)), f64::from(u8::from(!fails)))
}

/// Whether a mask holds, where its interval says it.
pub(crate) fn decided(mask: Interval) -> Option<bool> {
    (mask.lower == mask.upper).then_some(mask.lower != 0.0)
}

/// The interval of the mean.
pub(crate) fn mean(x: &[Interval]) -> Interval {
    let mut sum = Sum::new(0.0);
    x.iter().for_each(|&v| sum.add(1.0 / x.len() as f64, v));
    sum.finish()
}

/// The interval of `log(sum of exp(x))`, which rises with every element.
pub(crate) fn log_sum_exp(x: &[Interval]) -> Interval {
    let at = |end: fn(&Interval) -> f64| {
        let largest = x.iter().map(end).fold(f64::NEG_INFINITY, f64::max);
        let shifted = |v: f64| if v == largest { 1.0 } else { libm::exp(v - largest) };
        largest + libm::log(x.iter().map(end).map(shifted).sum())
    };
    let ends = Interval::new(at(|x| x.lower), at(|x| x.upper));
    ends.widen((x.len() as f64 + 8.0) * f64::EPSILON * (1.0 + ends.magnitude()))
}

/// The interval of `x_i - mean(x)` for every element.
pub(crate) fn deviations(x: &[Interval]) -> Vec<Interval> {
    let n = x.len() as f64;
    let deviation = |i: usize| {
        let mut sum = Sum::new(0.0);
        for (j, &x) in x.iter().enumerate() {
            sum.add(if i == j { 1.0 - 1.0 / n } else { -1.0 / n }, x);
        }
        sum.finish()
    };
    // Sums over n elements for each of n would be n^2: all but one term are shared where every end is finite.
    if x.len() <= 64 || !x.iter().all(|x| x.is_finite()) {
        return (0..x.len()).map(deviation).collect();
    }
    let mean = mean(x);
    let rest = |x: Interval| {
        let others = Interval::new(mean.lower - x.lower / n, mean.upper - x.upper / n);
        let own = 1.0 - 1.0 / n;
        let exact = Interval::new(own * x.lower - others.upper, own * x.upper - others.lower);
        exact.widen(8.0 * f64::EPSILON * (mean.magnitude() + x.magnitude()))
    };
    x.iter().map(|&x| rest(x)).collect()
}

/// The interval of `sqrt(var(x) + eps)`, from those of the deviations.
pub(crate) fn deviation_scale(deviations: &[Interval], eps: f64) -> Interval {
    let n = deviations.len() as f64;
    let mut variance = Sum::new(eps);
    for &d in deviations {
        let nearest = if d.contains(0.0) { 0.0 } else { d.lower.abs().min(d.upper.abs()) };
        let farthest = d.lower.abs().max(d.upper.abs());
        variance.add(1.0 / n, Interval::function(nearest * nearest, farthest * farthest));
    }
    let variance = variance.finish();
    Interval::function(variance.lower.max(0.0).sqrt(), variance.upper.sqrt())
}

/// The interval of `(x_i - mean) / sqrt(var + eps)`.
///
/// The deviations sum to zero, so `n var >= d_i^2 n / (n - 1)`, and the quotient is at most `d_i / sqrt(d_i^2 / (n - 1)
/// plus eps)`, which grows with `d_i` and never exceeds `sqrt(n - 1)`. On the other side of zero the largest variance
/// bounds it.
pub(crate) fn normalised(x: &[Interval], eps: f64) -> Vec<Interval> {
    let deviations = deviations(x);
    let scale = deviation_scale(&deviations, eps);
    let others = (x.len() - 1) as f64;
    let steep = |d: f64| {
        if d == 0.0 || others == 0.0 {
            0.0
        } else if d.is_infinite() || eps <= 0.0 {
            d.signum() * others.sqrt()
        } else {
            let square = d * d / others + eps;
            if square.is_finite() { d / square.sqrt() } else { d.signum() * others.sqrt() }
        }
    };
    let flat = |d: f64| if d != 0.0 && scale.upper.is_finite() { d / scale.upper } else { 0.0 };
    let rule = |d: &Interval| {
        let lower = if d.lower < 0.0 { steep(d.lower) } else { flat(d.lower) };
        let upper = if d.upper > 0.0 { steep(d.upper) } else { flat(d.upper) };
        Interval::function(lower, upper)
    };
    deviations.iter().map(rule).collect()
}

/// The interval of `sqrt(mean of x^2 + eps)`.
pub(crate) fn root_mean_square(x: &[Interval], eps: f64) -> Interval {
    // As if the elements were deviations from a mean.
    deviation_scale(x, eps)
}

/// The interval of `x_i / sqrt(mean of x^2 + eps)`, which rises with `x_i` and falls in magnitude with all others.
pub(crate) fn scaled_to_one(x: &[Interval], eps: f64) -> Vec<Interval> {
    let n = x.len() as f64;
    let nearest = |v: &Interval| if v.contains(0.0) { 0.0 } else { v.lower.abs().min(v.upper.abs()) };
    let farthest = |v: &Interval| v.lower.abs().max(v.upper.abs());
    let total = |of: &dyn Fn(&Interval) -> f64| x.iter().map(of).map(|v| v * v).sum::<f64>();
    let (least, most) = (total(&nearest), total(&farthest));
    let quotient = |v: f64, others: f64| {
        let square = (v * v + others.max(0.0)) / n + eps;
        match v {
            0.0 => 0.0,
            // The limit where the others are finite; where they are not, the magnitude is at most this.
            _ if !square.is_finite() => {
                if others == f64::INFINITY && v.is_finite() {
                    0.0
                } else {
                    n.sqrt().copysign(v)
                }
            }
            _ => v / square.sqrt(),
        }
    };
    let rule = |v: &Interval| {
        // Sums without one term are differences, whose rounding is relative to the sum.
        let few = (least - nearest(v).powi(2) - 4.0 * n * f64::EPSILON * least).max(0.0);
        let many = if most.is_finite() {
            (most - farthest(v).powi(2)).max(0.0) + 4.0 * n * f64::EPSILON * most
        } else {
            f64::INFINITY
        };
        let few = if few.is_nan() { 0.0 } else { few };
        let lower = quotient(v.lower, if v.lower < 0.0 { few } else { many });
        let upper = quotient(v.upper, if v.upper > 0.0 { few } else { many });
        let limit = n.sqrt();
        Interval::function(lower, upper).widen(n * f64::EPSILON).intersect(Interval::function(-limit, limit))
    };
    x.iter().map(rule).collect()
}

/// `x` above 0, `w x` elsewhere, for any `w` of its interval.
fn prelu(x: Interval, w: Interval) -> Interval {
    let positive = (x.upper > 0.0).then(|| Interval::new(x.lower.max(0.0), x.upper));
    let negative = (x.lower <= 0.0).then(|| Interval::new(x.lower, x.upper.min(0.0)).times(w));
    match (positive, negative) {
        (Some(a), Some(b)) => a.hull(b),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => x,
    }
}

/// `-log(1 + sum over j != i of exp(x_j - x_i))`, which falls with every `x_j` and rises with `x_i`.
fn log_softmax(x: &[Interval], group: &[usize], out: &mut [Interval]) {
    for &i in group {
        let log = |own: f64, other: fn(Interval) -> f64| {
            let others = || group.iter().filter(|&&j| j != i).map(|&j| other(x[j]));
            let largest = others().fold(own, f64::max);
            if largest.is_infinite() {
                return if largest > own { f64::NEG_INFINITY } else { 0.0 };
            }
            let sum = libm::exp(own - largest) + others().map(|v| libm::exp(v - largest)).sum::<f64>();
            own - largest - libm::log(sum)
        };
        let range = Interval::new(log(x[i].lower, |x| x.upper), log(x[i].upper, |x| x.lower));
        let magnitude = group.iter().map(|&j| x[j].magnitude()).fold(1.0, f64::max);
        let range = range.widen((group.len() as f64 + 16.0) * f64::EPSILON * magnitude);
        out[i] = range.intersect(Interval::new(f64::NEG_INFINITY, 0.0));
    }
}

/// `p_i = 1 / (1 + sum over j != i of exp(x_j - x_i))`, which falls with every `x_j` and rises with `x_i`.
fn softmax(x: &[Interval], group: &[usize], out: &mut [Interval]) {
    for &i in group {
        let probability = |own: f64, other: fn(Interval) -> f64| {
            let others = group.iter().filter(|&&j| j != i);
            1.0 / (1.0 + others.map(|&j| libm::exp(other(x[j]) - own)).sum::<f64>())
        };
        let range = Interval::new(probability(x[i].lower, |x| x.upper), probability(x[i].upper, |x| x.lower));
        // exp(a - b) has the relative error of rounding a - b, which is |a - b| units; beyond 745 it is 0 or inf.
        let margin = (group.len() as f64 + 1500.0) * f64::EPSILON;
        out[i] = Interval::new((range.lower * (1.0 - margin)).max(0.0), (range.upper * (1.0 + margin)).min(1.0));
    }
}
