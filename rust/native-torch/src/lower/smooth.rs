//! Nonlinear layers as equations `variable == expression`, or as expressions.

use super::{Cone, Domain, Element, Expression, Form, Lowering, Opcode, Relation, Rule, Space, VarId};
use crate::{
    Error, Result,
    bounds::{self, Interval, form, unary_value},
    graph::{GeluKind, Node, Unary},
};

/// Above this the exponential overflows.
const EXP_LIMIT: f64 = 700.0;

fn add(a: impl Into<Expression>, b: impl Into<Expression>) -> Expression {
    Expression::call(Opcode::Add, [a.into(), b.into()])
}

fn mul(a: impl Into<Expression>, b: impl Into<Expression>) -> Expression {
    Expression::call(Opcode::Mul, [a.into(), b.into()])
}

fn sub(a: impl Into<Expression>, b: impl Into<Expression>) -> Expression {
    Expression::call(Opcode::Sub, [a.into(), b.into()])
}

fn div(a: impl Into<Expression>, b: impl Into<Expression>) -> Expression {
    Expression::call(Opcode::Div, [a.into(), b.into()])
}

fn call(opcode: Opcode, a: impl Into<Expression>) -> Expression {
    Expression::call(opcode, [a.into()])
}

impl From<VarId> for Expression {
    fn from(variable: VarId) -> Self {
        Expression::Variable(variable)
    }
}

impl From<Element> for Expression {
    fn from(element: Element) -> Self {
        match element {
            Element::Variable(variable) => Expression::Variable(variable),
            Element::Constant(c) => Expression::Constant(c),
            Element::Expression(number) => Expression::Shared(number),
        }
    }
}

/// `a x`.
pub(super) fn scaled(a: f64, x: Element) -> Expression {
    if a == 1.0 {
        x.into()
    } else if a == -1.0 {
        call(Opcode::Neg, x)
    } else {
        mul(a, x)
    }
}

/// A sum of one expression or more.
pub(super) fn sum(operands: Vec<Expression>) -> Expression {
    Expression::call(Opcode::Add, operands)
}

/// What an operation makes of two elements.
enum Pair {
    Constant(f64),
    Scaled(f64, Element),
    Expression(Expression),
}

/// `f(z)`. Sigmoids are written with tanh, which cannot overflow.
pub(super) fn expression(unary: Unary, z: Element, range: Interval) -> Expression {
    match unary {
        Unary::Relu => Expression::call(Opcode::Max, [z.into(), 0.0.into()]),
        Unary::LeakyRelu { slope } => {
            Expression::call(if slope < 1.0 { Opcode::Max } else { Opcode::Min }, [z.into(), mul(slope, z)])
        }
        Unary::Gelu(GeluKind::Exact) => {
            let erf = call(Opcode::Erf, mul(std::f64::consts::FRAC_1_SQRT_2, z));
            mul(mul(0.5, z), add(1.0, erf))
        }
        Unary::Gelu(GeluKind::Tanh) => {
            let cube = Expression::call(Opcode::Pow, [z.into(), 3.0.into()]);
            let argument = mul((2.0 / std::f64::consts::PI).sqrt(), add(z, mul(0.044715, cube)));
            mul(mul(0.5, z), add(1.0, call(Opcode::Tanh, argument)))
        }
        Unary::Sigmoid => sigmoid(z.into()),
        Unary::Tanh => call(Opcode::Tanh, z),
        Unary::Abs => call(Opcode::Abs, z),
        Unary::Affine { scale, shift } => add(mul(scale, z), shift),
        Unary::Clamp { min, max } | Unary::Hardtanh { min, max } => clamped(z.into(), min, max),
        Unary::Celu { alpha } => exponential_unit(z, range, [1.0, alpha, 1.0 / alpha]),
        Unary::Elu { alpha, scale } => exponential_unit(z, range, [scale, alpha * scale, 1.0]),
        Unary::Detach => z.into(),
        // Formulations have these only where bounds decide them.
        Unary::Floor | Unary::Round => unary_value(unary, range.lower).into(),
        Unary::Atan => call(Opcode::Atan, z),
        Unary::Sin => call(Opcode::Sin, z),
        Unary::Erf => call(Opcode::Erf, z),
        Unary::Exp => call(Opcode::Exp, z),
        Unary::Expm1 => sub(call(Opcode::Exp, z), 1.0),
        Unary::Hardshrink { lambd } => choose(greater(call(Opcode::Abs, z), lambd), z, 0.0),
        Unary::Hardsigmoid => div(clamped(add(z, 3.0), 0.0, 6.0), 6.0),
        Unary::Hardswish => mul(z, div(clamped(add(z, 3.0), 0.0, 6.0), 6.0)),
        Unary::Log => call(Opcode::Log, z),
        Unary::Log1p => call(Opcode::Log1p, z),
        Unary::LogSigmoid => {
            let small = call(Opcode::Exp, call(Opcode::Neg, call(Opcode::Abs, z)));
            sub(Expression::call(Opcode::Min, [z.into(), 0.0.into()]), call(Opcode::Log1p, small))
        }
        Unary::Mish => mul(z, call(Opcode::Tanh, softplus(1.0, f64::INFINITY, z, range))),
        Unary::Neg => call(Opcode::Neg, z),
        Unary::Pow { exponent } => Expression::call(Opcode::Pow, [z.into(), exponent.into()]),
        Unary::Reciprocal => div(1.0, z),
        Unary::Rsqrt => div(1.0, call(Opcode::Sqrt, z)),
        Unary::Silu => mul(z, sigmoid(z.into())),
        Unary::Softshrink { lambd } => {
            let outside = sub(z, clamped(z.into(), -lambd, lambd));
            if lambd == 0.0 { z.into() } else { outside }
        }
        Unary::Softsign => div(z, add(1.0, call(Opcode::Abs, z))),
        Unary::Sqrt => call(Opcode::Sqrt, z),
        Unary::Square => Expression::call(Opcode::Pow, [z.into(), 2.0.into()]),
        Unary::Tanhshrink => sub(z, call(Opcode::Tanh, z)),
        Unary::Threshold { threshold, value } => choose(greater(z, threshold), z, value),
        Unary::Softplus { beta, threshold } => softplus(beta, threshold, z, range),
    }
}

fn sigmoid(z: Expression) -> Expression {
    add(0.5, mul(0.5, call(Opcode::Tanh, mul(0.5, z))))
}

/// `right z` above 0, `left (exp(rate z) - 1)` elsewhere; what is not chosen does not overflow.
fn exponential_unit(z: Element, range: Interval, [right, left, rate]: [f64; 3]) -> Expression {
    let scaled = |factor: f64, z: Expression| if factor == 1.0 { z } else { mul(factor, z) };
    let negative = if range.upper <= 0.0 { z.into() } else { Expression::call(Opcode::Min, [z.into(), 0.0.into()]) };
    let curve = scaled(left, sub(call(Opcode::Exp, scaled(rate, negative)), 1.0));
    if range.upper <= 0.0 { curve } else { choose(greater(z, 0.0), scaled(right, z.into()), curve) }
}

pub(super) fn greater(a: impl Into<Expression>, b: impl Into<Expression>) -> Expression {
    Expression::call(Opcode::Greater, [a.into(), b.into()])
}

pub(super) fn choose(condition: Expression, a: impl Into<Expression>, b: impl Into<Expression>) -> Expression {
    Expression::call(Opcode::IfElse, [condition, a.into(), b.into()])
}

/// `min(max(z, low), high)`, without the bounds that are infinite.
fn clamped(z: Expression, low: f64, high: f64) -> Expression {
    let z = if low == f64::NEG_INFINITY { z } else { Expression::call(Opcode::Max, [z, low.into()]) };
    if high == f64::INFINITY { z } else { Expression::call(Opcode::Min, [z, high.into()]) }
}

/// torch's softplus with its threshold, where the function jumps by `log(1 + exp(-threshold)) / beta`. A branch that
/// the bounds exclude is left out; the other one is guarded, so that what is not chosen does not overflow.
fn softplus(beta: f64, threshold: f64, z: Element, range: Interval) -> Expression {
    let scaled = || if beta == 1.0 { Expression::from(z) } else { mul(beta, z) };
    let smooth = |t: Expression| {
        let soft = call(Opcode::Log1p, call(Opcode::Exp, t));
        if beta == 1.0 { soft } else { div(soft, beta) }
    };
    let t = Interval::point(beta).times(range);
    if t.upper <= threshold && t.upper <= EXP_LIMIT {
        return smooth(scaled());
    }
    let limit = threshold.min(EXP_LIMIT);
    let guarded = smooth(Expression::call(Opcode::Min, [scaled(), limit.into()]));
    // Beyond the limit of exp, softplus is its argument to the last bit.
    let linear: Expression = if beta > 0.0 || threshold <= EXP_LIMIT { z.into() } else { 0.0.into() };
    choose(greater(scaled(), limit), linear, guarded)
}

impl Lowering<'_> {
    /// `y == f(z)`.
    pub(super) fn smooth(&mut self, at: u32, node: &Node, unary: Unary) -> Result<()> {
        let form = self.form(node)?;
        let inputs = self.operand(node, 0)?.to_vec();
        let mut out = Vec::with_capacity(inputs.len());
        for (i, element) in inputs.into_iter().enumerate() {
            let (y, z) = (self.bounds.of(node.outputs[0])[i], self.bounds.of(node.inputs[0])[i]);
            out.push(match (element, unary) {
                (_, Unary::Softplus { beta: 0.0, .. }) => {
                    return Err(Error::unsupported(format!("{}: softplus with beta = 0 is not finite", node.scope)));
                }
                (Element::Constant(c), _) => Element::Constant(unary_value(unary, c)),
                (_, Unary::Softplus { beta, threshold }) if Interval::point(beta).times(z).lower > threshold => element,
                (_, Unary::Softplus { beta, threshold }) if form != Form::Nonlinear => {
                    self.softplus_epigraph(at, node, form, i, element, [beta, threshold])?
                }
                _ => self.define(at, "y", i, y, &expression(unary, element, z))?,
            });
        }
        self.set(node, out);
        Ok(())
    }

    /// `y >= log(1 + exp(beta z)) / beta`, as it stands or by two exponential cones: `exp(beta (z - y)) + exp(-beta y) <=
    /// 1`. The function of which it is the epigraph has no threshold; where torch's falls by more than a solver can
    /// tell, that is an error.
    fn softplus_epigraph(
        &mut self,
        at: u32,
        node: &Node,
        form: Form,
        i: usize,
        element: Element,
        [beta, threshold]: [f64; 2],
    ) -> Result<Element> {
        let (bounds, range) = (self.bounds.of(node.outputs[0])[i], self.bounds.of(node.inputs[0])[i]);
        let drop = libm::log1p(libm::exp(-threshold)) / beta;
        let reached = Interval::point(beta).times(range).upper > threshold;
        if beta < 0.0 || (reached && drop > 1e-8) {
            return Err(Error::unsupported(format!(
                "{}: softplus with beta = {beta} and threshold = {threshold} is not convex within the bounds of element \
                 {i}, so that it has no {form}; its other form is nonlinear",
                node.scope
            )));
        }
        let z = self.variable(at, element);
        // Above the threshold the epigraph begins by the drop higher than torch's values.
        let bounds = Interval::new(bounds.lower, bounds.upper + if reached { drop } else { 0.0 });
        let rule = Rule::Unary(Unary::Softplus { beta, threshold: f64::INFINITY }, z);
        let y = self.new_variable(at, "y", i, bounds, Domain::Continuous, rule);
        if form == Form::Epigraph {
            let smooth = softplus(beta, f64::INFINITY, element, range);
            self.formulation.definitions.push(y, Relation::AtLeast, &smooth, at)?;
            return Ok(Element::Variable(y));
        }
        let unit = Interval::new(0.0, 1.0);
        let mut shares = Vec::with_capacity(2);
        for (name, terms) in [("share", vec![(z, beta), (y, -beta)]), ("rest", vec![(y, -beta)])] {
            let rule = Rule::Exp(self.formulation.add_weighted_list(&terms));
            let share = self.new_variable(at, name, i, unit, Domain::Continuous, rule);
            let members: [(&[(VarId, f64)], f64); 3] = [(&terms, 0.0), (&[], 1.0), (&[(share, 1.0)], 0.0)];
            self.formulation.cones.push(Cone::Exponential, &members, at);
            shares.push((share, 1.0));
        }
        self.one_sided(-1.0, &shares, 1.0, at);
        Ok(Element::Variable(y))
    }

    /// `y == a b`; linear where one of them is a number.
    pub(super) fn product(&mut self, at: u32, node: &Node) -> Result<()> {
        self.pairwise(at, node, |pair| match pair {
            (Element::Constant(a), Element::Constant(b)) => Pair::Constant(a * b),
            (Element::Constant(c), x) | (x, Element::Constant(c)) => Pair::Scaled(c, x),
            (a, b) => Pair::Expression(mul(a, b)),
        })
    }

    /// Element-wise quotients.
    pub(super) fn quotient(&mut self, at: u32, node: &Node) -> Result<()> {
        self.pairwise(at, node, |pair| match pair {
            (Element::Constant(a), Element::Constant(b)) => Pair::Constant(a / b),
            (x, Element::Constant(c)) if (1.0 / c).is_finite() => Pair::Scaled(1.0 / c, x),
            (a, b) => Pair::Expression(div(a, b)),
        })
    }

    /// PReLU whose weights are not fixed.
    pub(super) fn prelu_of_two(&mut self, at: u32, node: &Node) -> Result<()> {
        self.pairwise(at, node, |pair| match pair {
            (Element::Constant(x), Element::Constant(w)) => Pair::Constant(if x > 0.0 { x } else { w * x }),
            (Element::Constant(x), _) if x > 0.0 => Pair::Constant(x),
            (Element::Constant(x), w) => Pair::Scaled(x, w),
            (x, w) => Pair::Expression(choose(greater(x, 0.0), x, mul(w, x))),
        })
    }

    /// An operation of two operands, element by element.
    fn pairwise(&mut self, at: u32, node: &Node, rule: impl Fn((Element, Element)) -> Pair) -> Result<()> {
        let a = self.operand(node, 0)?.to_vec();
        let b = self.operand(node, 1)?.to_vec();
        let places: [_; 2] = form::broadcasts(self.graph, node);
        let count = self.graph.numel(node.outputs[0]);
        let mut out = Vec::with_capacity(count);
        for i in 0..count {
            let y = self.bounds.of(node.outputs[0])[i];
            out.push(match rule((a[places[0].at(i)], b[places[1].at(i)])) {
                Pair::Constant(c) => Element::Constant(c),
                Pair::Scaled(c, x) => self.equation(at, "y", i, y, &[(x, c)], 0.0),
                Pair::Expression(expression) => self.define(at, "y", i, y, &expression)?,
            });
        }
        self.set(node, out);
        Ok(())
    }

    /// Per group `mean == sum x / n`, `scale == sqrt(sum (x - mean)^2 / n + eps)`, `normal == (x - mean) / scale`, and
    /// the affine part `y == w normal + b` where there is one; without centring, the mean is left out.
    pub(super) fn norm(&mut self, at: u32, node: &Node, axes: usize, eps: f64, centred: bool) -> Result<()> {
        let inputs = self.operand(node, 0)?.to_vec();
        let sizes = self.graph.sizes(node.inputs[0]);
        let size = sizes[sizes.len() - axes..].iter().product::<usize>().max(1);
        let value = node.outputs[0];
        let weight = (node.inputs.len() > 1).then(|| form::stored(self.graph, node, 1, "weight")).transpose()?;
        let bias = (node.inputs.len() > 2).then(|| form::stored(self.graph, node, 2, "bias")).transpose()?;
        let affine = weight.is_some() || bias.is_some();
        let mut out = Vec::with_capacity(inputs.len());
        for (g, group) in inputs.chunks(size).enumerate() {
            let ranges = self.bounds.of(node.inputs[0])[g * size..][..size].to_vec();
            let n = size as f64;
            let mean = centred.then(|| {
                let terms: Vec<(Element, f64)> = group.iter().map(|&x| (x, 1.0 / n)).collect();
                self.equation(at, "mean", g, bounds::mean(&ranges), &terms, 0.0)
            });
            let from_mean = |x: Element| mean.map_or_else(|| x.into(), |mean| sub(x, mean));
            let square = |&x: &Element| Expression::call(Opcode::Pow, [from_mean(x), 2.0.into()]);
            let squares = sum(group.iter().map(square).collect());
            let (scale_range, normals) = if centred {
                (bounds::deviation_scale(&bounds::deviations(&ranges), eps), bounds::normalised(&ranges, eps))
            } else {
                (bounds::root_mean_square(&ranges, eps), bounds::scaled_to_one(&ranges, eps))
            };
            let scale = self.define(at, "scale", g, scale_range, &call(Opcode::Sqrt, add(div(squares, n), eps)))?;
            for (k, (&x, range)) in group.iter().zip(normals).enumerate() {
                let i = g * size + k;
                let normal = self.define(at, "normal", i, range, &div(from_mean(x), scale))?;
                if !affine {
                    out.push(normal);
                    continue;
                }
                let (w, b) = (weight.as_ref().map_or(1.0, |w| w[k]), bias.as_ref().map_or(0.0, |b| b[k]));
                let y = self.bounds.of(value)[i];
                out.push(self.equation(at, "y", i, y, &[(normal, w)], b));
            }
        }
        self.set(node, out);
        Ok(())
    }

    /// In full space, with `shift = log sum exp(x)`: `p == exp(x - shift)` and `sum p == 1`, which determines the shift
    /// and keeps every exponent below zero. In reduced space `exp(x - shift) / sum exp(x - shift)` with the largest `x`
    /// as shift.
    pub(super) fn softmax(&mut self, at: u32, node: &Node, dim: usize) -> Result<()> {
        let value = node.outputs[0];
        self.shifted(at, node, dim, false, |this, i, x, shift| {
            let y = this.bounds.of(value)[i];
            let p = this.define(at, "y", i, y, &call(Opcode::Exp, sub(x, shift)))?;
            Ok([p, p])
        })
    }

    /// The same with `y == x - shift` and `p == exp(y)`; in reduced space `x - shift - log(sum exp(x - shift))`.
    pub(super) fn log_softmax(&mut self, at: u32, node: &Node, dim: usize) -> Result<()> {
        let value = node.outputs[0];
        self.shifted(at, node, dim, true, |this, i, x, shift| {
            let range = this.bounds.of(value)[i];
            let y = this.equation(at, "y", i, range, &[(x, 1.0), (Element::Variable(shift), -1.0)], 0.0);
            let p = this.define(at, "p", i, Interval::new(0.0, 1.0), &call(Opcode::Exp, y))?;
            Ok([y, p])
        })
    }

    /// Groups of elements that share a `shift = log sum exp(x)`. `emit` gives an element's result and what of a group
    /// adds up to 1; `log` says whether the result is the logarithm of that.
    fn shifted(
        &mut self,
        at: u32,
        node: &Node,
        dim: usize,
        log: bool,
        mut emit: impl FnMut(&mut Self, usize, Element, VarId) -> Result<[Element; 2]>,
    ) -> Result<()> {
        let inputs = self.operand(node, 0)?.to_vec();
        let groups = form::softmax_groups(self.graph, node, dim);
        let mut out = vec![Element::Constant(if log { 0.0 } else { 1.0 }); inputs.len()];
        for (g, group) in groups.iter().enumerate().filter(|(_, group)| group.len() > 1) {
            if self.options.space == Space::Reduced {
                self.softmax_expressions(at, &inputs, group, log, &mut out)?;
                continue;
            }
            let ranges: Vec<Interval> = group.iter().map(|&i| self.bounds.of(node.inputs[0])[i]).collect();
            let members: Vec<VarId> = group.iter().map(|&i| self.variable(at, inputs[i])).collect();
            let rule = Rule::LogSumExp(self.formulation.add_list(&members));
            let range = bounds::log_sum_exp(&ranges);
            let shift = self.new_variable(at, "shift", g, range, Domain::Continuous, rule);
            let mut total = Vec::with_capacity(group.len());
            for (&i, &x) in group.iter().zip(&members) {
                let [y, p] = emit(self, i, Element::Variable(x), shift)?;
                out[i] = y;
                total.push((self.variable(at, p), 1.0));
            }
            self.formulation.push_row(1.0, &total, 1.0, at);
        }
        self.set(node, out);
        Ok(())
    }

    fn softmax_expressions(
        &mut self,
        at: u32,
        inputs: &[Element],
        group: &[usize],
        log: bool,
        out: &mut [Element],
    ) -> Result<()> {
        let largest = Expression::call(Opcode::Max, group.iter().map(|&i| inputs[i].into()).collect::<Vec<_>>());
        let shift = self.share(at, &largest)?;
        let mut exponents = Vec::with_capacity(group.len());
        let mut exponentials = Vec::with_capacity(group.len());
        for &i in group {
            let exponent = self.share(at, &sub(inputs[i], Expression::Shared(shift)))?;
            exponents.push(exponent);
            exponentials.push(self.share(at, &call(Opcode::Exp, Expression::Shared(exponent)))?);
        }
        let total = sum(exponentials.iter().map(|&e| Expression::Shared(e)).collect());
        let total = self.share(at, &if log { call(Opcode::Log, total) } else { total })?;
        for (k, &i) in group.iter().enumerate() {
            let result = if log {
                sub(Expression::Shared(exponents[k]), Expression::Shared(total))
            } else {
                div(Expression::Shared(exponentials[k]), Expression::Shared(total))
            };
            out[i] = Element::Expression(self.share(at, &result)?);
        }
        Ok(())
    }
}
