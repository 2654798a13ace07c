//! Linear bounds of each operation's result in terms of its operands, over the operands' intervals.

use super::{
    Bounds, Interval,
    envelope::{Envelope, Line},
    form::{self, Place, Term},
};
use crate::{
    Result,
    graph::{Graph, Node, Op, Unary},
};

/// Relative margin for the rounding of a plane's coefficients and of the operation itself.
const MARGIN: f64 = 16.0 * f64::EPSILON;

/// Affine functions of a node's operands: one for each element of its result.
#[derive(Clone, Debug)]
pub(crate) struct Planes {
    starts: Vec<usize>,
    terms: Vec<Term>,
    constants: Vec<f64>,
}

impl Planes {
    fn new() -> Self {
        Self { starts: vec![0], terms: Vec::new(), constants: Vec::new() }
    }

    fn push(&mut self, terms: &[Term], constant: f64) {
        self.terms.extend(terms.iter().filter(|term| term.coefficient != 0.0));
        self.starts.push(self.terms.len());
        self.constants.push(constant);
    }

    /// Whether each plane is an element of the first operand, none taken twice.
    fn is_choice(&self) -> bool {
        let mut taken = Vec::new();
        (0..self.len()).all(|e| match self.plane(e) {
            ([Term { operand: 0, element, coefficient: 1.0 }], 0.0) => {
                taken.resize(taken.len().max(element + 1), false);
                !std::mem::replace(&mut taken[*element], true)
            }
            _ => false,
        })
    }

    /// Whether a plane has more than one term.
    fn combines(&self) -> bool {
        self.starts.windows(2).any(|ends| ends[1] - ends[0] > 1)
    }

    /// The number of planes.
    pub(crate) fn len(&self) -> usize {
        self.constants.len()
    }

    /// The terms and the constant of an element's plane. Infinite constants say nothing.
    pub(crate) fn plane(&self, element: usize) -> (&[Term], f64) {
        (&self.terms[self.starts[element]..self.starts[element + 1]], self.constants[element])
    }
}

/// What is known of a node's result in terms of its operands.
pub(crate) enum Relaxation {
    /// Element for element the same as the first operand.
    Same,
    /// `W x + b`, the batch's rows one after another.
    Dense(Dense),
    /// Equations.
    Exact(Planes),
    /// Planes below and above.
    Between([Planes; 2]),
}

impl Relaxation {
    /// Whether the result is a choice of elements of the first operand, none taken twice.
    pub(crate) fn is_choice(&self) -> bool {
        match self {
            Relaxation::Same => true,
            Relaxation::Exact(planes) => planes.is_choice(),
            Relaxation::Dense(_) | Relaxation::Between(_) => false,
        }
    }

    /// Whether elements are added up, so that more can be said of the result than of each summand.
    pub(crate) fn combines(&self) -> bool {
        match self {
            Relaxation::Same => false,
            Relaxation::Dense(_) => true,
            Relaxation::Exact(planes) => planes.combines(),
            Relaxation::Between(sides) => sides.iter().any(Planes::combines),
        }
    }

    /// Whether the result is an affine function of the operands.
    pub(crate) fn is_affine(&self) -> bool {
        !matches!(self, Relaxation::Between(_))
    }
}

/// A layer with a weight for each pair of elements.
pub(crate) struct Dense {
    /// `[out, features]`
    pub weight: Vec<f64>,
    /// `[out]`
    pub bias: Vec<f64>,
    pub features: usize,
    pub batch: usize,
}

impl Dense {
    pub(crate) fn out(&self) -> usize {
        self.bias.len()
    }
}

/// The linear bounds of a node. Of several valid ones those are taken that are close at the fraction `place`, between 0
/// and 1, of the operands' intervals.
pub(crate) fn relax(graph: &Graph, node: &Node, bounds: &Bounds, place: f64) -> Result<Relaxation> {
    let x = |operand: usize| bounds.of(node.inputs[operand]);
    let range = bounds.of(node.outputs[0]);
    Ok(match &node.op {
        Op::Unary(Unary::Detach) => Relaxation::Same,
        Op::Unary(unary) => {
            let envelope = Envelope::new(*unary);
            let line = |e: usize| envelope.lines(x(0)[e], range[e], place).map(|line| single(e, line));
            between(range.len(), line)
        }
        Op::Linear => Relaxation::Dense(dense(graph, node)?),
        Op::Add => exact(|emit| form::sum(graph, node, [1.0, 1.0], emit))?,
        Op::Sub => exact(|emit| form::sum(graph, node, [1.0, -1.0], emit))?,
        Op::Conv(_) | Op::ConvTranspose { .. } => exact(|emit| form::convolution(graph, node, emit))?,
        Op::AvgPool(_)
        | Op::AdaptiveAvgPool(_)
        | Op::Upsample(_)
        | Op::Unfold(_)
        | Op::Fold { .. }
        | Op::Pad { .. }
        | Op::Permute { .. }
        | Op::Slice { .. }
        | Op::Sum { .. }
        | Op::Mean { .. } => exact(|emit| form::map(&form::map_of(graph, node), emit))?,
        Op::Flatten { .. } | Op::Unflatten { .. } => Relaxation::Same,
        Op::Embedding => copies(&form::embedding(graph, node)?),
        Op::Cat { dim } => copies(&form::cat(graph, node, *dim)),
        Op::Prelu => {
            let [_, weight] = form::broadcasts(graph, node);
            between(range.len(), |e| {
                let slope = x(1)[weight.at(e)];
                if slope.lower != slope.upper {
                    return [(Vec::new(), range[e].lower), (Vec::new(), range[e].upper)];
                }
                let envelope = Envelope::new(Unary::LeakyRelu { slope: slope.lower });
                envelope.lines(x(0)[e], range[e], place).map(|line| single(e, line))
            })
        }
        Op::Mul | Op::Div => {
            let places: [_; 2] = form::broadcasts(graph, node);
            between(range.len(), |e| {
                let at = [places[0].at(e), places[1].at(e)];
                let (a, b) = (x(0)[at[0]], x(1)[at[1]]);
                let same = node.inputs[0] == node.inputs[1] && at[0] == at[1];
                let planes = match node.op {
                    Op::Mul if same => square(a, range[e], place),
                    Op::Mul => product(a, b, range[e], place),
                    _ => quotient(a, b, range[e], place),
                };
                planes.map(|plane| plane.with(at))
            })
        }
        Op::Where => {
            let places: [_; 3] = form::broadcasts(graph, node);
            between(range.len(), |e| match super::decided(x(0)[places[0].at(e)]) {
                Some(holds) => {
                    let operand = if holds { 1 } else { 2 };
                    let taken = Term { operand, element: places[operand].at(e), coefficient: 1.0 };
                    [(vec![taken], 0.0), (vec![taken], 0.0)]
                }
                None => [(Vec::new(), range[e].lower), (Vec::new(), range[e].upper)],
            })
        }
        Op::MaxPool(_) | Op::AdaptiveMaxPool(_) => max_pool(graph, node, bounds)?,
        Op::While { .. } => return Err(super::endless(node)),
        Op::Compare(_)
        | Op::If(_)
        | Op::LayerNorm { .. }
        | Op::RmsNorm { .. }
        | Op::Softmax { .. }
        | Op::LogSoftmax { .. } => {
            between(range.len(), |e| [(Vec::new(), range[e].lower), (Vec::new(), range[e].upper)])
        }
    })
}

fn single(element: usize, line: Line) -> (Vec<Term>, f64) {
    (vec![Term { operand: 0, element, coefficient: line.slope }], line.intercept)
}

fn between(len: usize, mut planes: impl FnMut(usize) -> [(Vec<Term>, f64); 2]) -> Relaxation {
    let mut all = [Planes::new(), Planes::new()];
    for element in 0..len {
        for (all, (terms, constant)) in all.iter_mut().zip(planes(element)) {
            all.push(&terms, constant);
        }
    }
    Relaxation::Between(all)
}

fn exact(rows: impl FnOnce(&mut dyn FnMut(usize, &[Term], f64) -> Result<()>) -> Result<()>) -> Result<Relaxation> {
    let mut planes = Planes::new();
    rows(&mut |element, terms, constant| {
        debug_assert_eq!(element, planes.len(), "rows come in order");
        planes.push(terms, constant);
        Ok(())
    })?;
    Ok(Relaxation::Exact(planes))
}

fn copies(places: &[Place]) -> Relaxation {
    let mut planes = Planes::new();
    for place in places {
        match *place {
            Place::Element { operand, element } => planes.push(&[Term { operand, element, coefficient: 1.0 }], 0.0),
            Place::Constant(c) => planes.push(&[], c),
        }
    }
    Relaxation::Exact(planes)
}

fn dense(graph: &Graph, node: &Node) -> Result<Dense> {
    let sizes = graph.sizes(node.inputs[1]);
    let (out, features) = (sizes[0], sizes[1]);
    let bias = if node.inputs.len() > 2 { form::stored(graph, node, 2, "bias")? } else { vec![0.0; out] };
    let batch = graph.numel(node.outputs[0]) / out.max(1);
    Ok(Dense { weight: form::stored(graph, node, 1, "weight")?, bias, features, batch })
}

/// `a x + b y + c` for two operands x and y.
#[derive(Clone, Copy)]
struct Plane {
    a: f64,
    b: f64,
    c: f64,
}

impl Plane {
    fn with(self, at: [usize; 2]) -> (Vec<Term>, f64) {
        let terms = [(0, self.a), (1, self.b)];
        let terms = terms.map(|(operand, coefficient)| Term { operand, element: at[operand], coefficient });
        (terms.to_vec(), self.c)
    }

    fn constants(range: Interval) -> [Self; 2] {
        [range.lower, range.upper].map(|c| Plane { a: 0.0, b: 0.0, c })
    }

    /// The lower plane moved down and the upper one up.
    fn apart([lower, upper]: [Self; 2], margin: f64) -> [Self; 2] {
        [Plane { c: lower.c - margin, ..lower }, Plane { c: upper.c + margin, ..upper }]
    }
}

fn is_point(x: Interval) -> bool {
    x.lower == x.upper
}

/// `x y` (McCormick, 1976): of the two planes on each side the mixture that is closest where both operands are at
/// `place`.
fn product(x: Interval, y: Interval, range: Interval, place: f64) -> [Plane; 2] {
    if is_point(y) {
        return [Plane { a: y.lower, b: 0.0, c: 0.0 }; 2];
    }
    if is_point(x) {
        return [Plane { a: 0.0, b: x.lower, c: 0.0 }; 2];
    }
    if !x.is_finite() || !y.is_finite() {
        return Plane::constants(range);
    }
    // The plane that is exact where x = p or y = q.
    let plane = |p: f64, q: f64| Plane { a: q, b: p, c: -p * q };
    let mix = |first: Plane, second: Plane| {
        let at = |v: f64, w: f64| (1.0 - place) * v + place * w;
        Plane { a: at(first.a, second.a), b: at(first.b, second.b), c: at(first.c, second.c) }
    };
    let lower = mix(plane(x.lower, y.lower), plane(x.upper, y.upper));
    let upper = mix(plane(x.lower, y.upper), plane(x.upper, y.lower));
    Plane::apart([lower, upper], MARGIN * x.magnitude() * y.magnitude())
}

/// `x^2`: a tangent and the secant.
fn square(x: Interval, range: Interval, place: f64) -> [Plane; 2] {
    if !x.is_finite() {
        return Plane::constants(range);
    }
    let touch = x.lower + place * (x.upper - x.lower);
    let lower = Plane { a: 2.0 * touch, b: 0.0, c: -touch * touch };
    let upper = Plane { a: x.lower + x.upper, b: 0.0, c: -x.lower * x.upper };
    Plane::apart([lower, upper], MARGIN * x.magnitude() * x.magnitude())
}

/// `x / y` as the product of x and a variable between linear bounds of `1 / y`.
fn quotient(x: Interval, y: Interval, range: Interval, place: f64) -> [Plane; 2] {
    if is_point(y) && y.lower != 0.0 {
        let factor = 1.0 / y.lower;
        return Plane::apart([Plane { a: factor, b: 0.0, c: 0.0 }; 2], MARGIN * (factor * x.magnitude()).abs());
    }
    if !x.is_finite() || !y.is_finite() || y.contains(0.0) {
        return Plane::constants(range);
    }
    // 1 / y is convex for positive y and concave for negative y; margins make up for the rounding of the lines.
    let (touch, ends) = (y.lower + place * (y.upper - y.lower), y.lower * y.upper);
    let tangent = Line { slope: -1.0 / (touch * touch), intercept: 2.0 / touch };
    let secant = Line { slope: -1.0 / ends, intercept: (y.lower + y.upper) / ends };
    let size = |line: Line| line.slope.abs() * y.magnitude() + line.intercept.abs();
    let margin = MARGIN * (size(tangent) + size(secant));
    let [below, above] = if y.lower > 0.0 { [tangent, secant] } else { [secant, tangent] };
    let below = Line { intercept: below.intercept - margin, ..below };
    let above = Line { intercept: above.intercept + margin, ..above };
    let inverse = Interval::function(1.0 / y.upper, 1.0 / y.lower);
    let [lower, upper] = product(x, inverse, range, place);
    let through =
        |plane: Plane, line: Line| Plane { a: plane.a, b: plane.b * line.slope, c: plane.c + plane.b * line.intercept };
    let lower = through(lower, if lower.b >= 0.0 { below } else { above });
    let upper = through(upper, if upper.b >= 0.0 { above } else { below });
    Plane::apart([lower, upper], MARGIN * x.magnitude() * (size(below) + size(above) + inverse.magnitude()))
}

/// The maximum is not below the element with the largest lower bound. It is not above the secant of `max(x, second)`,
/// where x is the element with the largest upper bound and `second` the largest upper bound of the others.
fn max_pool(graph: &Graph, node: &Node, bounds: &Bounds) -> Result<Relaxation> {
    let x = bounds.of(node.inputs[0]);
    let mut planes = [Planes::new(), Planes::new()];
    form::max_pool(graph, node, |_, window| {
        let best = |end: fn(Interval) -> f64| window.iter().copied().max_by(|&a, &b| end(x[a]).total_cmp(&end(x[b])));
        let (lowest, highest) = (best(|x| x.lower).unwrap_or(0), best(|x| x.upper).unwrap_or(0));
        planes[0].push(&[Term { operand: 0, element: lowest, coefficient: 1.0 }], 0.0);
        let others = window.iter().filter(|&&c| c != highest).map(|&c| x[c].upper);
        let second = others.fold(f64::NEG_INFINITY, f64::max);
        let own = x[highest];
        let term = |coefficient: f64| [Term { operand: 0, element: highest, coefficient }];
        if second <= own.lower {
            planes[1].push(&term(1.0), 0.0);
        } else if !own.is_finite() || second >= own.upper {
            planes[1].push(&[], own.upper);
        } else {
            let slope = (own.upper - second) / (own.upper - own.lower);
            let margin = MARGIN * (own.magnitude() + second.abs());
            planes[1].push(&term(slope), second - slope * own.lower + margin);
        }
        Ok(())
    })?;
    Ok(Relaxation::Between(planes))
}
