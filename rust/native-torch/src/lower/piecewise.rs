//! Continuous piecewise linear functions of one element, in every form.
//!
//! Big-M of one kink: Tjeng, Xiao and Tedrake, Evaluating Robustness of Neural Networks with Mixed Integer Programming,
//! ICLR 2019; of several: the incremental model (Vielma, Ahmed and Nemhauser, Mixed-Integer Models for Nonseparable
//! Piecewise-Linear Optimization, Operations Research 2010), which is big-M where there is one.

use super::{Domain, Element, Form, Lowering, Rule, VarId, smooth};
use crate::{
    Error, Result,
    bounds::{Interval, form, unary_value},
    graph::{Node, Source, Unary},
};

/// A range that passes a kink by this fraction of its width, or less, counts as not passing it: the formulation is then
/// wrong by at most that much, which no solver can tell, and has no coefficient that small.
const STABLE: f64 = 1e-10;

/// A line `slope z + constant`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Line {
    pub slope: f64,
    pub constant: f64,
}

impl Line {
    pub(super) fn at(self, z: f64) -> f64 {
        // What is flat is so at infinity, too.
        if self.slope == 0.0 { self.constant } else { self.slope * z + self.constant }
    }
}

/// A continuous function made of lines, one more than there are kinks.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Piecewise {
    kinks: Vec<f64>,
    lines: Vec<Line>,
}

impl Piecewise {
    /// From the first line, the kinks, and the slopes behind them.
    fn new(first: Line, kinks: &[(f64, f64)]) -> Self {
        let mut function = Self { kinks: Vec::new(), lines: vec![first] };
        for &(kink, slope) in kinks {
            let before = function.lines[function.lines.len() - 1];
            function.kinks.push(kink);
            function.lines.push(Line { slope, constant: before.constant + (before.slope - slope) * kink });
        }
        function
    }

    /// The function, if it is one.
    pub(super) fn of(unary: Unary) -> Option<Self> {
        let line = |slope: f64, constant: f64| Line { slope, constant };
        Some(match unary {
            Unary::Relu => Self::new(line(0.0, 0.0), &[(0.0, 1.0)]),
            Unary::LeakyRelu { slope: 1.0 } => Self::new(line(1.0, 0.0), &[]),
            Unary::LeakyRelu { slope } => Self::new(line(slope, 0.0), &[(0.0, 1.0)]),
            Unary::Abs => Self::new(line(-1.0, 0.0), &[(0.0, 1.0)]),
            // Where the two contradict, the upper one wins.
            Unary::Clamp { min, max } | Unary::Hardtanh { min, max } if min >= max => Self::new(line(0.0, max), &[]),
            Unary::Clamp { min, max } | Unary::Hardtanh { min, max } => {
                let middle = line(1.0, 0.0);
                let first = if min == f64::NEG_INFINITY { middle } else { line(0.0, min) };
                let kinks = [(min, 1.0), (max, 0.0)];
                let finite: Vec<_> = kinks.into_iter().filter(|kink| kink.0.is_finite()).collect();
                Self::new(first, &finite)
            }
            Unary::Hardsigmoid => {
                Self { kinks: vec![-3.0, 3.0], lines: vec![line(0.0, 0.0), line(1.0 / 6.0, 0.5), line(0.0, 1.0)] }
            }
            Unary::Softshrink { lambd: 0.0 } => Self::new(line(1.0, 0.0), &[]),
            Unary::Softshrink { lambd } => Self::new(line(1.0, lambd), &[(-lambd, 0.0), (lambd, 1.0)]),
            Unary::Threshold { threshold, value } if threshold == value => {
                Self::new(line(0.0, value), &[(threshold, 1.0)])
            }
            _ => return None,
        })
    }

    /// Only the pieces that a range reaches.
    pub(super) fn within(&self, range: Interval) -> Self {
        let hardly = |a: f64, b: f64| b.is_finite() && a <= STABLE * b;
        let (mut first, mut last) = (0, self.kinks.len());
        while first < last {
            let kink = self.kinks[first];
            if range.lower >= kink || hardly(kink - range.lower, range.upper - kink) {
                first += 1;
            } else {
                break;
            }
        }
        while last > first {
            let kink = self.kinks[last - 1];
            if range.upper <= kink || hardly(range.upper - kink, kink - range.lower) {
                last -= 1;
            } else {
                break;
            }
        }
        Self { kinks: self.kinks[first..last].to_vec(), lines: self.lines[first..=last].to_vec() }
    }

    /// 1 where the slopes rise, -1 where they fall; neither where they do both.
    fn convexity(&self) -> Option<f64> {
        let rises = |sign: f64| self.lines.windows(2).all(|pair| sign * (pair[1].slope - pair[0].slope) > 0.0);
        [1.0, -1.0].into_iter().find(|&sign| rises(sign))
    }

    /// The slope, where there is one piece.
    pub(super) fn only_slope(&self) -> Option<f64> {
        if let [line] = self.lines[..] { Some(line.slope) } else { None }
    }

    /// The places where the pieces meet, and the ends of the range.
    fn places(&self, range: Interval) -> Vec<f64> {
        [range.lower].into_iter().chain(self.kinks.iter().copied()).chain([range.upper]).collect()
    }
}

/// One element of a layer on its way into the formulation: `y = unary(z)`.
pub(super) struct Bend<'a> {
    pub at: u32,
    pub element: usize,
    pub unary: Unary,
    /// Its pieces within the range.
    pub function: &'a Piecewise,
    pub z: VarId,
    pub range: Interval,
    /// The block and the bounds of `y`.
    pub block: &'static str,
    pub y: Interval,
}

impl Bend<'_> {
    /// The index of what belongs to one piece: the pieces of all elements are counted through, however many of an
    /// element's lie within its range. One kink takes one index.
    fn place(&self, piece: usize) -> usize {
        let pieces = match Piecewise::of(self.unary).map_or(0, |whole| whole.kinks.len()) {
            0 | 1 => 1,
            kinks => kinks + 1,
        };
        self.element * pieces + piece
    }
}

impl Lowering<'_> {
    /// PReLU with stored weights; with weights that the model computes, nonlinear equations.
    pub(super) fn prelu(&mut self, at: u32, node: &Node) -> Result<()> {
        if !matches!(self.graph.values()[node.inputs[1].index()].source, Source::Parameter(_)) {
            return self.prelu_of_two(at, node);
        }
        let weight = form::stored(self.graph, node, 1, "weight")?;
        let places: [_; 2] = form::broadcasts(self.graph, node);
        self.piecewise(at, node, |i| Unary::LeakyRelu { slope: weight[places[1].at(i)] })
    }

    /// `y = f(z)` with a piecewise linear `f` for each element.
    pub(super) fn piecewise(&mut self, at: u32, node: &Node, unary: impl Fn(usize) -> Unary) -> Result<()> {
        let form = self.form(node)?;
        let inputs = self.operand(node, 0)?.to_vec();
        let value = node.outputs[0];
        let mut out = Vec::with_capacity(inputs.len());
        for (i, element) in inputs.into_iter().enumerate() {
            let unary = unary(i);
            let Some(function) = Piecewise::of(unary) else {
                return Err(Error::internal(format!("{unary:?} is not piecewise linear")));
            };
            if let Element::Constant(c) = element {
                out.push(Element::Constant(unary_value(unary, c)));
                continue;
            }
            let (y, range) = (self.bounds.of(value)[i], self.bounds.of(node.inputs[0])[i]);
            let function = function.within(range);
            out.push(match function.lines[..] {
                [Line { slope: 1.0, constant: 0.0 }] => element,
                [Line { slope: 0.0, constant }] => Element::Constant(constant),
                [line] => self.equation(at, "y", i, y, &[(element, line.slope)], line.constant),
                _ if form == Form::Nonlinear => {
                    let expression = smooth::expression(unary, element, range);
                    self.define(at, "y", i, y, &expression)?
                }
                _ => {
                    let z = self.variable(at, element);
                    let bend = Bend { at, element: i, unary, function: &function, z, range, block: "y", y };
                    Element::Variable(self.bend(node, form, &bend)?)
                }
            });
        }
        self.set(node, out);
        Ok(())
    }

    /// One element with a kink within its range, with variables.
    pub(super) fn bend(&mut self, node: &Node, form: Form, bend: &Bend) -> Result<VarId> {
        match form {
            Form::BigM(m) => {
                let range = self.range_for_big_m(node, bend, m)?;
                Ok(match bend.function.convexity() {
                    Some(sign) if bend.function.kinks.len() == 1 => self.two_lines(bend, range, sign),
                    _ => self.incremental(bend, range),
                })
            }
            Form::Nonlinear => {
                let expression = smooth::expression(bend.unary, Element::Variable(bend.z), bend.range);
                let y = self.define(bend.at, bend.block, bend.element, bend.y, &expression)?;
                Ok(self.variable(bend.at, y))
            }
            Form::Epigraph => self.epigraph(node, bend),
            Form::Indicator => Ok(self.switched(bend)),
            _ => self.hinges(node, form, bend),
        }
    }

    fn bent_variable(&mut self, bend: &Bend) -> VarId {
        let rule = Rule::Unary(bend.unary, bend.z);
        self.new_variable(bend.at, bend.block, bend.element, bend.y, Domain::Continuous, rule)
    }

    /// The range that big-M may count on. Where the bounds are infinite, that is the caller's number around the kinks.
    fn range_for_big_m(&self, node: &Node, bend: &Bend, m: Option<f64>) -> Result<Interval> {
        let Bend { range, element, function, .. } = *bend;
        let Some(m) = m else {
            return if range.is_finite() { Ok(range) } else { Err(self.unbounded(node, element, range, "big_m")) };
        };
        let (first, last) = (function.kinks[0], function.kinks[function.kinks.len() - 1]);
        let needed =
            [first - range.lower, range.upper - last].into_iter().filter(|d| d.is_finite()).fold(0.0, f64::max);
        if m < needed {
            return Err(self.small_m(node, element, m, needed));
        }
        Ok(Interval::new(range.lower.max(first - m), range.upper.min(last + m)))
    }

    /// With slopes that rise, `y` is above both lines, and below that of the two which the binary chooses; with slopes
    /// that fall, all of it upside down.
    fn two_lines(&mut self, bend: &Bend, range: Interval, sign: f64) -> VarId {
        let Bend { at, z, function, .. } = *bend;
        let (kink, [left, right]) = (function.kinks[0], [function.lines[0], function.lines[1]]);
        let y = self.bent_variable(bend);
        let rule = Rule::Within { of: z, from: kink, to: f64::INFINITY };
        let on = self.new_variable(at, "on", bend.place(0), Interval::new(0.0, 1.0), Domain::Binary, rule);
        self.on_one_side(bend, y, sign);
        // How far the lines are apart at the ends of the range.
        let (below, above) =
            ((right.slope - left.slope) * (kink - range.lower), (right.slope - left.slope) * (range.upper - kink));
        let other = -sign;
        self.one_sided(other, &[(z, -right.slope), (y, 1.0), (on, below)], right.constant + below, at);
        self.one_sided(other, &[(z, -left.slope), (y, 1.0), (on, -above)], left.constant, at);
        y
    }

    /// `y` on the convex side of every line. Flat lines are bounds.
    fn on_one_side(&mut self, bend: &Bend, y: VarId, sign: f64) {
        for line in &bend.function.lines {
            if line.slope == 0.0 {
                let limits = &mut self.formulation.variables;
                let (lower, upper) = (&mut limits.lower[y.index()], &mut limits.upper[y.index()]);
                (*lower, *upper) =
                    if sign > 0.0 { (lower.max(line.constant), *upper) } else { (*lower, upper.min(line.constant)) };
            } else {
                self.one_sided(sign, &[(bend.z, -line.slope), (y, 1.0)], line.constant, bend.at);
            }
        }
    }

    /// `sum >= limit` for a positive sign, `sum <= limit` for a negative one.
    pub(super) fn one_sided(&mut self, sign: f64, terms: &[(VarId, f64)], limit: f64, at: u32) {
        let (lower, upper) = if sign > 0.0 { (limit, f64::INFINITY) } else { (f64::NEG_INFINITY, limit) };
        self.formulation.push_row(lower, terms, upper, at);
    }

    /// The range as consecutive pieces that fill one after another, each with a binary that lets it begin.
    fn incremental(&mut self, bend: &Bend, range: Interval) -> VarId {
        let Bend { at, z, function, .. } = *bend;
        let places = function.places(range);
        let y = self.bent_variable(bend);
        let (mut position, mut value) = (vec![(z, -1.0)], vec![(y, -1.0)]);
        let mut before: Option<VarId> = None;
        for (piece, (ends, line)) in places.windows(2).zip(&function.lines).enumerate() {
            let length = ends[1] - ends[0];
            let index = bend.place(piece);
            let rule = Rule::Way { of: z, from: ends[0], to: ends[1] };
            let part = self.new_variable(at, "part", index, Interval::new(0.0, length), Domain::Continuous, rule);
            position.push((part, 1.0));
            value.push((part, line.slope));
            if let Some(on) = before {
                self.one_sided(-1.0, &[(part, 1.0), (on, -length)], 0.0, at);
            }
            if piece < function.kinks.len() {
                let rule = Rule::Within { of: z, from: ends[1], to: f64::INFINITY };
                let on = self.new_variable(at, "on", index, Interval::new(0.0, 1.0), Domain::Binary, rule);
                self.one_sided(1.0, &[(part, 1.0), (on, -length)], 0.0, at);
                before = Some(on);
            }
        }
        let (begin, at_begin) = (-range.lower, -function.lines[0].at(range.lower));
        self.formulation.push_row(begin, &position, begin, at);
        self.formulation.push_row(at_begin, &value, at_begin, at);
        y
    }

    fn epigraph(&mut self, node: &Node, bend: &Bend) -> Result<VarId> {
        let Some(sign) = bend.function.convexity() else {
            return Err(Error::unsupported(format!(
                "{}: element {} is neither convex nor concave within its bounds, so that it has no epigraph; other forms: \
                 nonlinear, big_m, sos1, quadratic, complementarity, indicator, partition",
                node.scope, bend.element
            )));
        };
        let y = self.bent_variable(bend);
        self.on_one_side(bend, y, sign);
        Ok(y)
    }

    /// A binary for each piece, or one for both of two, which puts `y` on its line and `z` between its ends.
    fn switched(&mut self, bend: &Bend) -> VarId {
        let Bend { at, z, function, .. } = *bend;
        let y = self.bent_variable(bend);
        let places = function.places(Interval::ALL);
        let pieces = function.lines.len();
        let mut switch = |piece: usize| {
            let rule = Rule::Within { of: z, from: places[piece], to: places[piece + 1] };
            self.new_variable(
                at,
                "on",
                bend.place(if pieces == 2 { 0 } else { piece }),
                Interval::new(0.0, 1.0),
                Domain::Binary,
                rule,
            )
        };
        let switches: Vec<(VarId, bool)> = if pieces == 2 {
            let on = switch(1);
            vec![(on, false), (on, true)]
        } else {
            (0..pieces).map(|piece| (switch(piece), true)).collect()
        };
        for (piece, (line, &(on, active))) in function.lines.iter().zip(&switches).enumerate() {
            let on_line = (line.constant, &[(z, -line.slope), (y, 1.0)][..], line.constant);
            self.formulation.push_indicator(on, active, on_line, at);
            self.formulation.push_indicator(on, active, (places[piece], &[(z, 1.0)], places[piece + 1]), at);
        }
        if pieces > 2 {
            let one: Vec<(VarId, f64)> = switches.iter().map(|&(on, _)| (on, 1.0)).collect();
            self.formulation.push_row(1.0, &one, 1.0, at);
        }
        y
    }

    /// The first line and a multiple of `max(z - kink, 0)` for each kink.
    fn hinges(&mut self, node: &Node, form: Form, bend: &Bend) -> Result<VarId> {
        let Bend { at, element, z, function, y: bounds, .. } = *bend;
        let first = function.lines[0];
        if let ([kink], [Line { slope: 0.0, constant: 0.0 }, Line { slope: 1.0, .. }]) =
            (&function.kinks[..], &function.lines[..])
        {
            let hinge = Hinge { kink: *kink, piece: 0, block: bend.block, index: element, bounds };
            return self.hinge(node, form, bend, &hinge);
        }
        let mut sum = vec![(z, -first.slope)];
        for (k, &kink) in function.kinks.iter().enumerate() {
            let bounds = Interval::new(0.0, bend.range.upper - kink);
            let hinge = Hinge { kink, piece: k, block: "positive", index: bend.place(k), bounds };
            let p = self.hinge(node, form, bend, &hinge)?;
            sum.push((p, function.lines[k].slope - function.lines[k + 1].slope));
        }
        let y = self.bent_variable(bend);
        sum.push((y, 1.0));
        self.formulation.push_row(first.constant, &sum, first.constant, at);
        Ok(y)
    }

    /// `p == max(z - kink, 0)`: the positive part, with a negative one of which it is exclusive.
    fn hinge(&mut self, node: &Node, form: Form, bend: &Bend, hinge: &Hinge) -> Result<VarId> {
        let Bend { at, z, range, .. } = *bend;
        let Hinge { kink, index, .. } = *hinge;
        let place = bend.place(hinge.piece);
        let bounds = hinge.bounds.intersect(Interval::new(0.0, f64::INFINITY));
        let rule = Rule::Way { of: z, from: kink, to: f64::INFINITY };
        if let Form::Partition(parts) = form {
            let shares = self.partition(node, bend, kink, place, parts)?;
            let p = self.new_variable(at, hinge.block, index, bounds, Domain::Continuous, rule);
            self.sum_of_shares(bend, kink, p, shares);
            return Ok(p);
        }
        let p = self.new_variable(at, hinge.block, index, bounds, Domain::Continuous, rule);
        let rest = Interval::new(0.0, kink - range.lower);
        let rule = Rule::Way { of: z, from: kink, to: f64::NEG_INFINITY };
        let n = self.new_variable(at, "negative", place, rest, Domain::Continuous, rule);
        self.formulation.push_row(kink, &[(z, 1.0), (p, -1.0), (n, 1.0)], kink, at);
        match form {
            Form::Sos1 => self.formulation.sos1.push(&[(p, 1.0), (n, 2.0)], at),
            Form::Complementarity => self.formulation.complementarities.push(p, n, at),
            Form::Quadratic(relaxation) => {
                let lower = if relaxation.is_some() { f64::NEG_INFINITY } else { 0.0 };
                self.formulation.quadratic.push(lower, &[], &[(p, n, 1.0)], relaxation.unwrap_or(0.0), at);
            }
            _ => return Err(self.no_such_form(node, form)),
        }
        Ok(p)
    }

    /// `y = z g` with `g` hardsigmoid in the given form: a quadratic row.
    pub(super) fn hardswish(&mut self, at: u32, node: &Node) -> Result<()> {
        let form = self.form(node)?;
        let inputs = self.operand(node, 0)?.to_vec();
        let gate = Piecewise::of(Unary::Hardsigmoid).expect("it is piecewise linear");
        let mut out = Vec::with_capacity(inputs.len());
        for (i, element) in inputs.into_iter().enumerate() {
            let (y, range) = (self.bounds.of(node.outputs[0])[i], self.bounds.of(node.inputs[0])[i]);
            let gate = gate.within(range);
            out.push(match (element, &gate.lines[..]) {
                (Element::Constant(c), _) => Element::Constant(unary_value(Unary::Hardswish, c)),
                (_, [Line { slope: 0.0, constant: 0.0 }]) => Element::Constant(0.0),
                (_, [Line { slope: 0.0, .. }]) => element,
                _ if form == Form::Nonlinear => {
                    let expression = smooth::expression(Unary::Hardswish, element, range);
                    self.define(at, "y", i, y, &expression)?
                }
                (_, lines) => {
                    let z = self.variable(at, element);
                    // With one piece it is z times a line.
                    let (factor, line) = if let [line] = *lines {
                        (z, line)
                    } else {
                        let unary = Unary::Hardsigmoid;
                        let y = Interval::new(0.0, 1.0);
                        let bend = Bend { at, element: i, unary, function: &gate, z, range, block: "gate", y };
                        (self.bend(node, form, &bend)?, Line { slope: 1.0, constant: 0.0 })
                    };
                    let rule = Rule::Unary(Unary::Hardswish, z);
                    let y = self.new_variable(at, "y", i, y, Domain::Continuous, rule);
                    let terms = [(z, -line.constant), (y, 1.0)];
                    self.formulation.quadratic.push(0.0, &terms, &[(z, factor, -line.slope)], 0.0, at);
                    Element::Variable(y)
                }
            });
        }
        self.set(node, out);
        Ok(())
    }
}

/// A positive part `max(z - kink, 0)` to be made, and where its variable belongs.
struct Hinge {
    kink: f64,
    /// Which of the kinks it is, and the block and index of the positive part.
    piece: usize,
    block: &'static str,
    index: usize,
    bounds: Interval,
}
