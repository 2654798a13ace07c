//! Smooth layers as nonlinear equations `variable == expression`.

use super::{Domain, Element, Expression, Lowering, Opcode, Rule, VarId, formulation::to_u32};
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

/// What an operation makes of two elements.
enum Pair {
    Constant(f64),
    Scaled(f64, VarId),
    Expression(Expression),
}

/// `f(z)`. Sigmoids are written with tanh, which cannot overflow.
fn expression(unary: Unary, z: VarId, range: Interval) -> Expression {
    match unary {
        Unary::Relu => Expression::call(Opcode::Max, [z.into(), 0.0.into()]),
        Unary::LeakyRelu { slope } => choose(greater(z, 0.0), z, mul(slope, z)),
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
        Unary::Exp => call(Opcode::Exp, z),
        Unary::Hardshrink { lambd } => choose(greater(call(Opcode::Abs, z), lambd), z, 0.0),
        Unary::Hardsigmoid => div(clamped(add(z, 3.0), 0.0, 6.0), 6.0),
        Unary::Hardswish => mul(z, div(clamped(add(z, 3.0), 0.0, 6.0), 6.0)),
        Unary::Log => call(Opcode::Log, z),
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
fn exponential_unit(z: VarId, range: Interval, [right, left, rate]: [f64; 3]) -> Expression {
    let scaled = |factor: f64, z: Expression| if factor == 1.0 { z } else { mul(factor, z) };
    let negative = if range.upper <= 0.0 { z.into() } else { Expression::call(Opcode::Min, [z.into(), 0.0.into()]) };
    let curve = scaled(left, sub(call(Opcode::Exp, scaled(rate, negative)), 1.0));
    if range.upper <= 0.0 { curve } else { choose(greater(z, 0.0), scaled(right, z.into()), curve) }
}

fn greater(a: impl Into<Expression>, b: impl Into<Expression>) -> Expression {
    Expression::call(Opcode::Greater, [a.into(), b.into()])
}

fn choose(condition: Expression, a: impl Into<Expression>, b: impl Into<Expression>) -> Expression {
    Expression::call(Opcode::IfElse, [condition, a.into(), b.into()])
}

/// `min(max(z, low), high)`, without the bounds that are infinite.
fn clamped(z: Expression, low: f64, high: f64) -> Expression {
    let z = if low == f64::NEG_INFINITY { z } else { Expression::call(Opcode::Max, [z, low.into()]) };
    if high == f64::INFINITY { z } else { Expression::call(Opcode::Min, [z, high.into()]) }
}

/// torch's softplus with its threshold, where the function jumps by `log(1 + exp(-threshold)) / beta`. A branch that
/// the bounds exclude is left out; the other one is guarded, so that what is not chosen does not overflow.
fn softplus(beta: f64, threshold: f64, z: VarId, range: Interval) -> Expression {
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
        let inputs = self.operand(node, 0)?.to_vec();
        let mut block = None;
        let mut out = Vec::with_capacity(inputs.len());
        for (i, element) in inputs.into_iter().enumerate() {
            let (y, z) = (self.bounds.of(node.outputs[0])[i], self.bounds.of(node.inputs[0])[i]);
            out.push(match (element, unary) {
                (_, Unary::Softplus { beta: 0.0, .. }) => {
                    return Err(Error::unsupported(format!("{}: softplus with beta = 0 is not finite", node.scope)));
                }
                (Element::Constant(c), _) => Element::Constant(unary_value(unary, c)),
                (_, Unary::Softplus { beta, threshold }) if Interval::point(beta).times(z).lower > threshold => element,
                (Element::Variable(variable), _) => {
                    let block = *block.get_or_insert_with(|| self.block(at, "y", Some(node.outputs[0])));
                    Element::Variable(self.define(at, block, i, y, &expression(unary, variable, z))?)
                }
            });
        }
        self.set(node, out);
        Ok(())
    }

    /// `y == a b`; linear where one of them is a number.
    pub(super) fn product(&mut self, at: u32, node: &Node) -> Result<()> {
        self.pairwise(at, node, |pair| match pair {
            (Element::Constant(a), Element::Constant(b)) => Pair::Constant(a * b),
            (Element::Constant(c), Element::Variable(x)) | (Element::Variable(x), Element::Constant(c)) => {
                Pair::Scaled(c, x)
            }
            (Element::Variable(a), Element::Variable(b)) => Pair::Expression(mul(a, b)),
        })
    }

    /// Element-wise quotients.
    pub(super) fn quotient(&mut self, at: u32, node: &Node) -> Result<()> {
        self.pairwise(at, node, |pair| match pair {
            (Element::Constant(a), Element::Constant(b)) => Pair::Constant(a / b),
            (Element::Variable(x), Element::Constant(c)) if (1.0 / c).is_finite() => Pair::Scaled(1.0 / c, x),
            (Element::Variable(x), Element::Constant(c)) => Pair::Expression(div(x, c)),
            (Element::Constant(c), Element::Variable(x)) => Pair::Expression(div(c, x)),
            (Element::Variable(a), Element::Variable(b)) => Pair::Expression(div(a, b)),
        })
    }

    /// PReLU whose weights are variables.
    pub(super) fn prelu_of_two(&mut self, at: u32, node: &Node) -> Result<()> {
        self.pairwise(at, node, |pair| match pair {
            (Element::Constant(x), Element::Constant(w)) => Pair::Constant(if x > 0.0 { x } else { w * x }),
            (Element::Constant(x), Element::Variable(_)) if x > 0.0 => Pair::Constant(x),
            (Element::Constant(x), Element::Variable(w)) => Pair::Scaled(x, w),
            (Element::Variable(x), Element::Constant(w)) => Pair::Expression(choose(greater(x, 0.0), x, mul(w, x))),
            (Element::Variable(x), Element::Variable(w)) => Pair::Expression(choose(greater(x, 0.0), x, mul(w, x))),
        })
    }

    /// An operation of two operands, element by element.
    fn pairwise(&mut self, at: u32, node: &Node, rule: impl Fn((Element, Element)) -> Pair) -> Result<()> {
        let a = self.operand(node, 0)?.to_vec();
        let b = self.operand(node, 1)?.to_vec();
        let places = form::broadcasts(self.graph, node);
        let block = self.block(at, "y", Some(node.outputs[0]));
        let count = self.graph.numel(node.outputs[0]);
        let mut out = Vec::with_capacity(count);
        for i in 0..count {
            let y = self.bounds.of(node.outputs[0])[i];
            out.push(match rule((a[places[0].at(i)], b[places[1].at(i)])) {
                Pair::Constant(c) => Element::Constant(c),
                Pair::Scaled(c, x) => {
                    self.terms.clear();
                    if c != 0.0 {
                        self.terms.push((x, -c));
                    }
                    self.equation(at, block, i, y, 0.0)
                }
                Pair::Expression(expression) => Element::Variable(self.define(at, block, i, y, &expression)?),
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
        let means = centred.then(|| self.block(at, "mean", None));
        let scales = self.block(at, "scale", None);
        let normals = self.block(at, "normal", (!affine).then_some(value));
        let block = if affine { self.block(at, "y", Some(value)) } else { normals };
        let variables = self.as_variables(at, &inputs);
        let mut out = Vec::with_capacity(inputs.len());
        for (g, group) in variables.chunks(size).enumerate() {
            let ranges = self.bounds.of(node.inputs[0])[g * size..][..size].to_vec();
            let n = size as f64;
            let mean = match means {
                None => None,
                Some(means) => {
                    self.terms.clear();
                    self.terms.extend(group.iter().map(|&x| (x, -1.0 / n)));
                    let Element::Variable(mean) = self.equation(at, means, g, bounds::mean(&ranges), 0.0) else {
                        continue;
                    };
                    Some(mean)
                }
            };
            let from_mean = |x: VarId| mean.map_or(x.into(), |mean| sub(x, mean));
            let square = |&x: &VarId| Expression::call(Opcode::Pow, [from_mean(x), 2.0.into()]);
            let squares = Expression::call(Opcode::Add, group.iter().map(square).collect::<Vec<_>>());
            let (scale_range, normals_range) = if centred {
                (bounds::deviation_scale(&bounds::deviations(&ranges), eps), bounds::normalised(&ranges, eps))
            } else {
                (bounds::root_mean_square(&ranges, eps), bounds::scaled_to_one(&ranges, eps))
            };
            let scale_expression = call(Opcode::Sqrt, add(div(squares, n), eps));
            let scale = self.define(at, scales, g, scale_range, &scale_expression)?;
            for (k, (&x, range)) in group.iter().zip(normals_range).enumerate() {
                let i = g * size + k;
                let normal = self.define(at, normals, i, range, &div(from_mean(x), scale))?;
                if !affine {
                    out.push(Element::Variable(normal));
                    continue;
                }
                self.terms.clear();
                match weight.as_ref().map_or(1.0, |weight| weight[k]) {
                    0.0 => {}
                    w => self.terms.push((normal, -w)),
                }
                let y = self.bounds.of(value)[i];
                out.push(self.equation(at, block, i, y, bias.as_ref().map_or(0.0, |bias| bias[k])));
            }
        }
        self.set(node, out);
        Ok(())
    }

    /// With `shift = log sum exp(x)`: `p == exp(x - shift)` and `sum p == 1`, which determines the shift and keeps
    /// every exponent below zero.
    pub(super) fn softmax(&mut self, at: u32, node: &Node, dim: usize) -> Result<()> {
        let value = node.outputs[0];
        self.shifted(at, node, dim, 1.0, |this, block, i, x, shift| {
            let y = this.bounds.of(value)[i];
            let p = this.define(at, block, i, y, &call(Opcode::Exp, sub(x, shift)))?;
            Ok([p, p])
        })
    }

    /// The same with `y == x - shift` and `p == exp(y)`.
    pub(super) fn log_softmax(&mut self, at: u32, node: &Node, dim: usize) -> Result<()> {
        let value = node.outputs[0];
        let mut probabilities = None;
        self.shifted(at, node, dim, 0.0, |this, block, i, x, shift| {
            let range = this.bounds.of(value)[i];
            this.terms.clear();
            this.terms.extend([(x, -1.0), (shift, 1.0)]);
            let Element::Variable(y) = this.equation(at, block, i, range, 0.0) else {
                return Err(Error::internal("an equation of two variables has one more"));
            };
            let p_block = *probabilities.get_or_insert_with(|| this.block(at, "p", None));
            let p = this.define(at, p_block, i, Interval::new(0.0, 1.0), &call(Opcode::Exp, y))?;
            Ok([y, p])
        })
    }

    /// Groups of elements that share a `shift = log sum exp(x)`. `emit` gives an element's result and a variable of
    /// which those of a group add up to 1; `alone` is the result of an element that is the only one of its group.
    fn shifted(
        &mut self,
        at: u32,
        node: &Node,
        dim: usize,
        alone: f64,
        mut emit: impl FnMut(&mut Self, u32, usize, VarId, VarId) -> Result<[VarId; 2]>,
    ) -> Result<()> {
        let inputs = self.operand(node, 0)?.to_vec();
        let groups = form::softmax_groups(self.graph, node, dim);
        let mut out = vec![Element::Constant(alone); inputs.len()];
        if groups.iter().all(|group| group.len() == 1) {
            self.set(node, out);
            return Ok(());
        }
        let variables = self.as_variables(at, &inputs);
        let shifts = self.block(at, "shift", None);
        let block = self.block(at, "y", Some(node.outputs[0]));
        for (g, group) in groups.iter().enumerate() {
            let ranges: Vec<Interval> = group.iter().map(|&i| self.bounds.of(node.inputs[0])[i]).collect();
            let members: Vec<VarId> = group.iter().map(|&i| variables[i]).collect();
            let rule = Rule::LogSumExp(self.formulation.add_list(&members));
            let range = bounds::log_sum_exp(&ranges);
            let shift = self.formulation.push_variable(shifts, g, range, Domain::Continuous, rule);
            let mut total = Vec::with_capacity(group.len());
            for (&i, &x) in group.iter().zip(&members) {
                let [y, p] = emit(self, block, i, x, shift)?;
                out[i] = Element::Variable(y);
                total.push((p, 1.0));
            }
            self.formulation.push_row(1.0, &total, 1.0, at);
        }
        self.set(node, out);
        Ok(())
    }

    /// A new variable with its nonlinear equation.
    fn define(
        &mut self,
        at: u32,
        block: u32,
        index: usize,
        bounds: Interval,
        expression: &Expression,
    ) -> Result<VarId> {
        let rule = Rule::Definition(to_u32(self.formulation.definitions.len()));
        let variable = self.formulation.push_variable(block, index, bounds, Domain::Continuous, rule);
        self.formulation.definitions.push(variable, expression, at)?;
        Ok(variable)
    }
}
