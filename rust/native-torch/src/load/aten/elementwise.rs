//! Functions of each element, of two tensors' elements, and of numbers.

use std::f64::consts::FRAC_PI_2;

use super::{
    call::Call,
    constant::{Array, kept},
    shape::{expand, known},
    value::{Context, Item, MASKED, Marks, Operand},
};
use crate::{
    Error, Result,
    graph::{Comparison, Dim, GeluKind, Op, Unary},
    tensor::DType,
};

/// The value of a function of the graph, for known tensors.
fn apply(call: &mut Call, unary: Unary) -> Result<Item> {
    let x = call.tensor("self")?;
    let x = if x.constant().is_none() { numbers(call, &x)? } else { x };
    floats(call.context, &x)?;
    call.unary(unary, &x).map(Item::Tensor)
}

/// Refuses integers that functions of floating-point numbers cannot take.
fn floats(context: &Context, x: &Operand) -> Result<()> {
    let dtype = context.dtype(x);
    if dtype.is_float() {
        return Ok(());
    }
    Err(Error::unsupported(format!("a tensor of {}; floating-point numbers are computed with", dtype.name())))
}

macro_rules! plain {
    ($($name:ident: $unary:expr;)*) => {
        $(pub(super) fn $name(call: &mut Call) -> Result<Item> {
            apply(call, $unary)
        })*
    };
}

plain! {
    erf: Unary::Erf;
    exp: Unary::Exp;
    expm1: Unary::Expm1;
    hardsigmoid: Unary::Hardsigmoid;
    hardswish: Unary::Hardswish;
    log: Unary::Log;
    log1p: Unary::Log1p;
    log_sigmoid: Unary::LogSigmoid;
    mish: Unary::Mish;
    reciprocal: Unary::Reciprocal;
    relu: Unary::Relu;
    relu6: Unary::RELU6;
    rsqrt: Unary::Rsqrt;
    selu: Unary::SELU;
    sigmoid: Unary::Sigmoid;
    silu: Unary::Silu;
    sqrt: Unary::Sqrt;
    tanh: Unary::Tanh;
}

macro_rules! with_numbers {
    ($($name:ident($($argument:ident),*): $unary:expr;)*) => {
        $(pub(super) fn $name(call: &mut Call) -> Result<Item> {
            $(let $argument = call.float(stringify!($argument))?;)*
            apply(call, $unary)
        })*
    };
}

with_numbers! {
    celu(alpha): Unary::Celu { alpha };
    hardshrink(lambd): Unary::Hardshrink { lambd };
    hardtanh(min_val, max_val): Unary::Hardtanh { min: min_val, max: max_val };
    leaky_relu(negative_slope): Unary::LeakyRelu { slope: negative_slope };
    softplus(beta, threshold): Unary::Softplus { beta, threshold };
    softshrink(lambd): Unary::Softshrink { lambd };
    threshold(threshold, value): Unary::Threshold { threshold, value };
}

/// ELU, whose input scale only SELU and CELU use.
pub(super) fn elu(call: &mut Call) -> Result<Item> {
    let (alpha, scale, input_scale) = (call.float("alpha")?, call.float("scale")?, call.float("input_scale")?);
    if input_scale == 1.0 {
        return apply(call, Unary::Elu { alpha, scale });
    }
    // alpha (exp(s x) - 1) is CELU's with the limit 1 / s, times alpha; x above 0 stays.
    if alpha * input_scale == 1.0 && scale == 1.0 {
        return apply(call, Unary::Celu { alpha });
    }
    Err(Error::unsupported("an ELU whose input_scale is neither 1 nor 1 / alpha"))
}

pub(super) fn gelu(call: &mut Call) -> Result<Item> {
    let kind = match &*call.text("approximate")? {
        "none" => GeluKind::Exact,
        "tanh" => GeluKind::Tanh,
        other => return Err(Error::format(format!("argument `approximate` is '{}'", other.escape_debug()))),
    };
    apply(call, Unary::Gelu(kind))
}

/// Logarithms and powers to another base.
pub(super) fn log2(call: &mut Call) -> Result<Item> {
    to_base(call, std::f64::consts::LN_2)
}

pub(super) fn log10(call: &mut Call) -> Result<Item> {
    to_base(call, std::f64::consts::LN_10)
}

fn to_base(call: &mut Call, ln: f64) -> Result<Item> {
    let Item::Tensor(y) = apply(call, Unary::Log)? else { return Err(Error::internal("a tensor")) };
    call.unary(Unary::Affine { scale: 1.0 / ln, shift: 0.0 }, &y).map(Item::Tensor)
}

pub(super) fn exp2(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let y = call.unary(Unary::Affine { scale: std::f64::consts::LN_2, shift: 0.0 }, &x)?;
    call.unary(Unary::Exp, &y).map(Item::Tensor)
}

/// A function of each element that known tensors of any type have, too.
fn of_any(call: &mut Call, unary: Unary, f: fn(f64) -> f64) -> Result<Item> {
    let x = call.tensor("self")?;
    match x.constant() {
        Some(constant) => {
            let array = Array::of(constant)?;
            let dtype = if array.dtype == DType::Bool { DType::I64 } else { array.dtype };
            Ok(Item::Tensor(call.constant(array.map(dtype, f))))
        }
        None => call.unary(unary, &x).map(Item::Tensor),
    }
}

pub(super) fn abs(call: &mut Call) -> Result<Item> {
    of_any(call, Unary::Abs, f64::abs)
}

pub(super) fn neg(call: &mut Call) -> Result<Item> {
    if let Some(number) = number(call)? {
        return Ok(Item::Int(-number));
    }
    of_any(call, Unary::Neg, |v| -v)
}

/// The argument `self` of a function of sizes, where it is one.
fn number(call: &Call) -> Result<Option<i64>> {
    let at = call.parameters.iter().position(|&parameter| parameter == "self");
    match at.and_then(|at| call.arguments.get(at)) {
        Some(Item::Int(value)) => Ok(Some(*value)),
        _ => Ok(None),
    }
}

pub(super) fn square(call: &mut Call) -> Result<Item> {
    of_any(call, Unary::Square, |v| v * v)
}

fn known_array(x: &Operand) -> Result<Array> {
    let constant = x.constant();
    let constant =
        constant.ok_or_else(|| Error::unsupported("a function of whole numbers, of values that depend on the inputs"));
    Array::of(constant?)
}

/// 1 or 0.
fn truth(value: bool) -> f64 {
    f64::from(u8::from(value))
}

fn floor_of(call: &mut Call, x: &Operand) -> Result<Operand> {
    call.unary(Unary::Floor, x)
}

fn ceil_of(call: &mut Call, x: &Operand) -> Result<Operand> {
    let minus = call.unary(Unary::Neg, x)?;
    let floor = call.unary(Unary::Floor, &minus)?;
    call.unary(Unary::Neg, &floor)
}

/// Rounded towards 0.
fn trunc_of(call: &mut Call, x: &Operand) -> Result<Operand> {
    let (below, above) = (floor_of(call, x)?, ceil_of(call, x)?);
    let zero = call.constant(Array::new(&[], vec![0.0], DType::F64));
    let negative = call.node(Op::Compare(Comparison::Less), &[x, &zero])?;
    call.node(Op::Where, &[&negative, &above, &below])
}

/// The same value without a derivative.
pub(super) fn detached(call: &mut Call, x: &Operand) -> Result<Operand> {
    match call.context.dtype(x) {
        dtype if x.constant().is_none() && dtype.is_float() && call.context.marks(x).is_none() => {
            call.unary(Unary::Detach, x)
        }
        _ => Ok(x.clone()),
    }
}

pub(super) fn detach(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    detached(call, &x).map(Item::Tensor)
}

macro_rules! roundings {
    ($($name:ident: $f:expr, $of:expr;)*) => {
        $(pub(super) fn $name(call: &mut Call) -> Result<Item> {
            let x = call.tensor("self")?;
            if let Some(constant) = x.constant() {
                let array = Array::of(constant)?;
                let dtype = array.dtype;
                return Ok(Item::Tensor(call.constant(array.map(dtype, $f))));
            }
            let x = numbers(call, &x)?;
            let of: fn(&mut Call, &Operand) -> Result<Operand> = $of;
            of(call, &x).map(Item::Tensor)
        })*
    };
}

roundings! {
    ceil: f64::ceil, ceil_of;
    floor: f64::floor, floor_of;
    round: f64::round_ties_even, |call, x| call.unary(Unary::Round, x);
    trunc: f64::trunc, trunc_of;
}

pub(super) fn logical_not(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    if let Some(constant) = x.constant() {
        return Ok(Item::Tensor(call.constant(Array::of(constant)?.map(DType::Bool, |v| truth(v == 0.0)))));
    }
    let (mask, [yes, no]) = (mask(call, &x)?, [1.0, 0.0].map(|v| call.constant(Array::new(&[], vec![v], DType::Bool))));
    call.node(Op::Where, &[&mask, &no, &yes]).map(Item::Tensor)
}

/// A function of each element that is made of others, and its value for known tensors.
macro_rules! composed {
    ($($name:ident: $f:expr, |$call:ident, $x:ident| $body:expr;)*) => {
        $(pub(super) fn $name($call: &mut Call) -> Result<Item> {
            let $x = $call.tensor("self")?;
            if let Some(constant) = $x.constant() {
                return Ok(Item::Tensor($call.constant(Array::of(constant)?.map(DType::F64, $f))));
            }
            let $x = &numbers($call, &$x)?;
            let y: Result<Operand> = $body;
            y.map(Item::Tensor)
        })*
    };
}

composed! {
    sin: f64::sin, |call, x| call.unary(Unary::Sin, x);
    cos: f64::cos, |call, x| cosine(call, x);
    tan: f64::tan, |call, x| {
        let (sine, cosine) = (call.unary(Unary::Sin, x)?, cosine(call, x)?);
        binary(call, Binary::Div, &sine, &cosine)
    };
    atan: f64::atan, |call, x| call.unary(Unary::Atan, x);
    // The arc from the point on the unit circle above x.
    asin: f64::asin, |call, x| arc_sine(call, x);
    acos: f64::acos, |call, x| {
        let arc = arc_sine(call, x)?;
        call.unary(Unary::Affine { scale: -1.0, shift: FRAC_PI_2 }, &arc)
    };
    sinh: f64::sinh, |call, x| {
        // With e = exp(x) - 1: (e + e / (e + 1)) / 2, exact where x is small.
        let e = call.unary(Unary::Expm1, x)?;
        let above = call.unary(Unary::Affine { scale: 1.0, shift: 1.0 }, &e)?;
        let other = binary(call, Binary::Div, &e, &above)?;
        let both = sum(call, &e, &other)?;
        times(call, &both, 0.5)
    };
    cosh: f64::cosh, |call, x| {
        let (e, minus) = (call.unary(Unary::Exp, x)?, call.unary(Unary::Neg, x)?);
        let other = call.unary(Unary::Exp, &minus)?;
        let both = sum(call, &e, &other)?;
        times(call, &both, 0.5)
    };
    atanh: f64::atanh, |call, x| {
        let minus = call.unary(Unary::Neg, x)?;
        let (above, below) = (call.unary(Unary::Log1p, x)?, call.unary(Unary::Log1p, &minus)?);
        let both = difference(call, &above, &below)?;
        times(call, &both, 0.5)
    };
}

/// A sine a quarter of a turn ahead.
fn cosine(call: &mut Call, x: &Operand) -> Result<Operand> {
    let ahead = call.unary(Unary::Affine { scale: 1.0, shift: FRAC_PI_2 }, x)?;
    call.unary(Unary::Sin, &ahead)
}

fn arc_sine(call: &mut Call, x: &Operand) -> Result<Operand> {
    let square = call.unary(Unary::Square, x)?;
    let height = call.unary(Unary::Affine { scale: -1.0, shift: 1.0 }, &square)?;
    let inverse = call.unary(Unary::Rsqrt, &height)?;
    let slope = product(call, x, &inverse)?;
    call.unary(Unary::Atan, &slope)
}

/// -1, 0 or 1.
pub(super) fn sign(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    if let Some(constant) = x.constant() {
        let array = Array::of(constant)?;
        let dtype = array.dtype;
        return Ok(Item::Tensor(call.constant(array.map(dtype, |v| if v == 0.0 { 0.0 } else { v.signum() }))));
    }
    let x = numbers(call, &x)?;
    let [minus, zero, plus] = [-1.0, 0.0, 1.0].map(|v| call.constant(Array::new(&[], vec![v], DType::F64)));
    let below = call.node(Op::Compare(Comparison::Less), &[&x, &zero])?;
    let above = call.node(Op::Compare(Comparison::Greater), &[&x, &zero])?;
    let rest = call.node(Op::Where, &[&below, &minus, &zero])?;
    call.node(Op::Where, &[&above, &plus, &rest]).map(Item::Tensor)
}

/// A tensor as a mask: where it is not 0.
pub(super) fn mask(call: &mut Call, x: &Operand) -> Result<Operand> {
    match x.constant() {
        Some(constant) => Ok(call.constant(Array::of(constant)?.map(DType::Bool, |v| truth(v != 0.0)))),
        None if call.context.dtype(x) == DType::Bool => Ok(x.clone()),
        None => {
            let zero = call.constant(Array::new(&[], vec![0.0], DType::F64));
            call.node(Op::Compare(Comparison::NotEqual), &[x, &zero])
        }
    }
}

/// A tensor as numbers: a computed mask as 1 where it holds and 0 elsewhere.
pub(super) fn numbers(call: &mut Call, x: &Operand) -> Result<Operand> {
    if x.constant().is_some() || call.context.dtype(x) != DType::Bool {
        return Ok(x.clone());
    }
    let [one, zero] = [1.0, 0.0].map(|v| call.constant(Array::new(&[], vec![v], DType::F64)));
    call.node(Op::Where, &[x, &one, &zero])
}

/// A function of two elements.
#[derive(Clone, Copy, PartialEq)]
enum Binary {
    Add,
    Sub,
    Mul,
    Div,
}

impl Binary {
    fn value(self, a: f64, b: f64) -> f64 {
        match self {
            Binary::Add => a + b,
            Binary::Sub => a - b,
            Binary::Mul => a * b,
            Binary::Div => a / b,
        }
    }

    fn op(self) -> Op {
        match self {
            Binary::Add => Op::Add,
            Binary::Sub => Op::Sub,
            Binary::Mul => Op::Mul,
            Binary::Div => Op::Div,
        }
    }
}

/// The type that a function of two tensors gives.
fn promoted(a: DType, b: DType) -> DType {
    match (kept(a), kept(b)) {
        (DType::F64, _) | (_, DType::F64) => DType::F64,
        (DType::Bool, DType::Bool) => DType::Bool,
        _ => DType::I64,
    }
}

/// The one number that a known tensor without dimensions is.
fn single(x: &Operand) -> Result<Option<f64>> {
    let Some(constant) = x.constant() else { return Ok(None) };
    if !constant.tensor.shape().is_empty() {
        return Ok(None);
    }
    Ok(Array::of(constant)?.data.first().copied())
}

fn binary(call: &mut Call, function: Binary, a: &Operand, b: &Operand) -> Result<Operand> {
    if let (Some(x), Some(y)) = (a.constant(), b.constant()) {
        let (x, y) = (Array::of(x)?, Array::of(y)?);
        let dtype = match (function, promoted(x.dtype, y.dtype)) {
            (Binary::Div, _) => DType::F64,
            (Binary::Mul, dtype) => dtype,
            (Binary::Add, DType::Bool) => DType::Bool,
            (_, dtype) => dtype,
        };
        let sum = x.zip(&y, dtype, |a, b| function.value(a, b))?;
        let sum = if sum.dtype == DType::Bool { sum.map(DType::Bool, |v| truth(v != 0.0)) } else { sum };
        return Ok(call.constant(sum));
    }
    let masks = [a, b].iter().all(|x| call.context.dtype(x) == DType::Bool);
    match function {
        Binary::Add if masks => return logic(call, Logic::Or, a, b),
        Binary::Mul if masks => return logic(call, Logic::And, a, b),
        _ => {}
    }
    let (a, b) = (&numbers(call, a)?, &numbers(call, b)?);
    // Numbers need no parameters.
    let affine = match (function, single(a)?, single(b)?) {
        (Binary::Add, _, Some(c)) => Some((a, 1.0, c)),
        (Binary::Add, Some(c), _) => Some((b, 1.0, c)),
        (Binary::Sub, _, Some(c)) => Some((a, 1.0, -c)),
        (Binary::Sub, Some(c), _) => Some((b, -1.0, c)),
        (Binary::Mul, _, Some(c)) => Some((a, c, 0.0)),
        (Binary::Mul, Some(c), _) => Some((b, c, 0.0)),
        (Binary::Div, _, Some(c)) if (1.0 / c).is_normal() => Some((a, 1.0 / c, 0.0)),
        _ => None,
    };
    match affine {
        Some((x, 1.0, 0.0)) => return Ok(x.clone()),
        Some((x, scale, shift)) if scale.is_finite() && shift.is_finite() => {
            return call.unary(Unary::Affine { scale, shift }, x);
        }
        _ => {}
    }
    let (x, y) = (as_float(call, a)?, as_float(call, b)?);
    if function == Binary::Add {
        return masked_sum(call, [x, y]);
    }
    call.node(function.op(), &[&x, &y])
}

/// A sum, of which a term may be a mask with minus infinities.
fn masked_sum(call: &mut Call, terms: [Operand; 2]) -> Result<Operand> {
    let mut marked: Option<Array> = None;
    let mut values = Vec::new();
    for term in &terms {
        let minus_infinity = |v: f64| v == f64::NEG_INFINITY;
        let (value, places) = match term {
            Operand::Computed(_) => match call.context.marks(term) {
                Some(Marks { places, value }) if minus_infinity(*value) => {
                    let places = places.clone();
                    (call.context.raw(term), Some(places))
                }
                _ => (call.value(term), None),
            },
            Operand::Constant(constant) => {
                let array = Array::of(constant)?;
                if array.data.iter().any(|&v| minus_infinity(v)) {
                    let finite = array.clone().map(DType::F64, |v| if minus_infinity(v) { MASKED } else { v });
                    let places = array.map(DType::Bool, |v| truth(minus_infinity(v)));
                    (call.context.raw(&finite.into_operand(&constant.name)), Some(places))
                } else {
                    (call.value(term), None)
                }
            }
        };
        values.push(value);
        marked = match (marked, places) {
            (Some(a), Some(b)) => Some(a.zip(&b, DType::Bool, f64::max)?),
            (a, b) => a.or(b),
        };
    }
    let sum = Operand::Computed(call.context.builder.node(Op::Add, &values)?);
    if let Some(places) = marked {
        let sizes = call.context.sizes(&sum, "a mask")?;
        let places = places.repeated(&sizes)?;
        call.context.mark(&sum, Marks { places, value: f64::NEG_INFINITY });
    }
    Ok(sum)
}

/// A tensor as an operand of the graph, where known integers count as floating-point numbers.
fn as_float(call: &Call, x: &Operand) -> Result<Operand> {
    match x.constant() {
        Some(constant) if !constant.tensor.dtype().is_float() => {
            Ok(Array::of(constant)?.map(DType::F64, |v| v).into_operand(&constant.name))
        }
        Some(_) => Ok(x.clone()),
        None => floats(call.context, x).map(|()| x.clone()),
    }
}

/// `b` times the number `alpha`.
fn scaled(call: &mut Call, b: Operand) -> Result<Operand> {
    let alpha = call.scalar("alpha")?;
    if alpha == 1.0 {
        return Ok(b);
    }
    let dtype = if alpha.fract() == 0.0 && !call.context.dtype(&b).is_float() { DType::I64 } else { DType::F64 };
    let alpha = call.constant(Array::new(&[], vec![alpha], dtype));
    binary(call, Binary::Mul, &b, &alpha)
}

pub(super) fn add(call: &mut Call) -> Result<Item> {
    let (a, b) = (call.tensor("self")?, call.tensor("other")?);
    let b = scaled(call, b)?;
    binary(call, Binary::Add, &a, &b).map(Item::Tensor)
}

pub(super) fn sub(call: &mut Call) -> Result<Item> {
    let (a, b) = (call.tensor("self")?, call.tensor("other")?);
    let b = scaled(call, b)?;
    binary(call, Binary::Sub, &a, &b).map(Item::Tensor)
}

/// `other - alpha self`.
pub(super) fn rsub(call: &mut Call) -> Result<Item> {
    let (a, b) = (call.tensor("self")?, call.tensor("other")?);
    let a = scaled(call, a)?;
    binary(call, Binary::Sub, &b, &a).map(Item::Tensor)
}

pub(super) fn mul(call: &mut Call) -> Result<Item> {
    let (a, b) = (call.tensor("self")?, call.tensor("other")?);
    product(call, &a, &b).map(Item::Tensor)
}

/// The element-wise product.
pub(super) fn product(call: &mut Call, a: &Operand, b: &Operand) -> Result<Operand> {
    binary(call, Binary::Mul, a, b)
}

/// The sum.
pub(super) fn sum(call: &mut Call, a: &Operand, b: &Operand) -> Result<Operand> {
    binary(call, Binary::Add, a, b)
}

/// The quotient.
pub(super) fn quotient(call: &mut Call, a: &Operand, b: &Operand) -> Result<Operand> {
    binary(call, Binary::Div, a, b)
}

/// The difference.
pub(super) fn difference(call: &mut Call, a: &Operand, b: &Operand) -> Result<Operand> {
    binary(call, Binary::Sub, a, b)
}

/// A tensor times a number.
pub(super) fn times(call: &mut Call, x: &Operand, factor: f64) -> Result<Operand> {
    let factor = call.constant(Array::new(&[], vec![factor], DType::F64));
    binary(call, Binary::Mul, x, &factor)
}

pub(super) fn div(call: &mut Call) -> Result<Item> {
    let (a, b) = (call.tensor("self")?, call.tensor("other")?);
    let rounding = if call.is_none("rounding_mode")? { None } else { Some(call.text("rounding_mode")?) };
    let Some(rounding) = rounding else { return binary(call, Binary::Div, &a, &b).map(Item::Tensor) };
    match &*rounding {
        "floor" => rounded_quotient(call, f64::floor, floor_of),
        "trunc" => rounded_quotient(call, f64::trunc, trunc_of),
        other => Err(Error::format(format!("argument `rounding_mode` is '{}'", other.escape_debug()))),
    }
}

/// A function of two known tensors.
fn fold_of(call: &Call, a: &Operand, b: &Operand, f: impl Fn(f64, f64) -> f64) -> Result<Operand> {
    let (a, b) = (known_array(a)?, known_array(b)?);
    let result = a.zip(&b, promoted(a.dtype, b.dtype), f)?;
    Ok(call.constant(result))
}

fn fold(call: &mut Call, f: impl Fn(f64, f64) -> f64) -> Result<Item> {
    let (a, b) = (call.tensor("self")?, call.tensor("other")?);
    fold_of(call, &a, &b, f).map(Item::Tensor)
}

/// Whether both arguments are known.
fn both_known(call: &Call) -> Result<bool> {
    Ok(call.tensor("self")?.constant().is_some() && call.tensor("other")?.constant().is_some())
}

pub(super) fn floor_divide(call: &mut Call) -> Result<Item> {
    rounded_quotient(call, f64::floor, floor_of)
}

/// A quotient that is rounded.
fn rounded_quotient(
    call: &mut Call,
    f: fn(f64) -> f64,
    of: fn(&mut Call, &Operand) -> Result<Operand>,
) -> Result<Item> {
    let (a, b) = (call.tensor("self")?, call.tensor("other")?);
    if both_known(call)? {
        return fold_of(call, &a, &b, |a, b| f(a / b)).map(Item::Tensor);
    }
    let quotient = binary(call, Binary::Div, &a, &b)?;
    of(call, &quotient).map(Item::Tensor)
}

/// The rest of a division rounded towards 0.
pub(super) fn fmod(call: &mut Call) -> Result<Item> {
    if both_known(call)? {
        return fold(call, |a, b| a % b);
    }
    rest(call, trunc_of)
}

/// The rest of a division rounded down.
pub(super) fn remainder(call: &mut Call) -> Result<Item> {
    if both_known(call)? {
        return fold(call, |a, b| a - (a / b).floor() * b);
    }
    rest(call, floor_of)
}

fn rest(call: &mut Call, of: fn(&mut Call, &Operand) -> Result<Operand>) -> Result<Item> {
    let (a, b) = (call.tensor("self")?, call.tensor("other")?);
    let quotient = binary(call, Binary::Div, &a, &b)?;
    let whole = of(call, &quotient)?;
    let taken = product(call, &whole, &b)?;
    difference(call, &a, &taken).map(Item::Tensor)
}

/// Comparisons. Of a computed value and infinity the answer is known, since no finite number is that.
fn compare(call: &mut Call, comparison: Comparison) -> Result<Item> {
    let (a, b) = (call.tensor("self")?, call.tensor("other")?);
    compared(call, comparison, &a, &b).map(Item::Tensor)
}

pub(super) fn compared(call: &mut Call, comparison: Comparison, a: &Operand, b: &Operand) -> Result<Operand> {
    let f = |a: f64, b: f64| comparison.holds(a, b);
    if let (Some(a), Some(b)) = (a.constant(), b.constant()) {
        let result = Array::of(a)?.zip(&Array::of(b)?, DType::Bool, |a, b| truth(f(a, b)))?;
        return Ok(call.constant(result));
    }
    if let (Operand::Computed(_), Some(number)) = (a, single(b)?)
        && number.is_infinite()
    {
        let sizes = call.context.sizes(a, "a comparison")?;
        let places = match call.context.marks(a) {
            Some(marks) if marks.value == f64::NEG_INFINITY => marks.places.clone(),
            _ => Array::full(&sizes, 0.0, DType::Bool)?,
        };
        let result =
            places.map(DType::Bool, |place| truth(f(if place != 0.0 { f64::NEG_INFINITY } else { 0.0 }, number)));
        return Ok(call.constant(result));
    }
    call.node(Op::Compare(comparison), &[a, b])
}

macro_rules! comparisons {
    ($($name:ident: $comparison:ident;)*) => {
        $(pub(super) fn $name(call: &mut Call) -> Result<Item> {
            compare(call, Comparison::$comparison)
        })*
    };
}

comparisons! {
    eq: Equal;
    ne: NotEqual;
    gt: Greater;
    ge: GreaterEqual;
    lt: Less;
    le: LessEqual;
}

/// A function of two truth values.
#[derive(Clone, Copy)]
enum Logic {
    And,
    Or,
    Xor,
}

/// Where both of two masks hold, or where one does.
pub(super) fn logic_or_and(call: &mut Call, a: &Operand, b: &Operand, or: bool) -> Result<Operand> {
    logic(call, if or { Logic::Or } else { Logic::And }, a, b)
}

/// A function of where two tensors are not 0.
fn logic(call: &mut Call, function: Logic, a: &Operand, b: &Operand) -> Result<Operand> {
    let (a, b) = (mask(call, a)?, mask(call, b)?);
    if let (Some(x), Some(y)) = (a.constant(), b.constant()) {
        let f = |a: f64, b: f64| match function {
            Logic::And => a * b,
            Logic::Or => a.max(b),
            Logic::Xor => truth(a != b),
        };
        let result = Array::of(x)?.zip(&Array::of(y)?, DType::Bool, f)?;
        return Ok(call.constant(result));
    }
    let [yes, no] = [1.0, 0.0].map(|v| call.constant(Array::new(&[], vec![v], DType::Bool)));
    match function {
        Logic::And => call.node(Op::Where, &[&a, &b, &no]),
        Logic::Or => call.node(Op::Where, &[&a, &yes, &b]),
        Logic::Xor => call.node(Op::Compare(Comparison::NotEqual), &[&a, &b]),
    }
}

macro_rules! logical {
    ($($name:ident, $bitwise:ident: $function:ident, $bits:expr;)*) => {
        $(pub(super) fn $name(call: &mut Call) -> Result<Item> {
            let (a, b) = (call.tensor("self")?, call.tensor("other")?);
            logic(call, Logic::$function, &a, &b).map(Item::Tensor)
        }

        pub(super) fn $bitwise(call: &mut Call) -> Result<Item> {
            let (a, b) = (call.tensor("self")?, call.tensor("other")?);
            if [&a, &b].iter().all(|x| call.context.dtype(x) == DType::Bool) {
                return logic(call, Logic::$function, &a, &b).map(Item::Tensor);
            }
            let bits: fn(i64, i64) -> i64 = $bits;
            fold(call, |a, b| bits(a as i64, b as i64) as f64)
        })*
    };
}

logical! {
    logical_and, bitwise_and: And, |a, b| a & b;
    logical_or, bitwise_or: Or, |a, b| a | b;
    logical_xor, bitwise_xor: Xor, |a, b| a ^ b;
}

/// Where a tensor is no number, or infinite.
pub(super) fn isnan(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    compared(call, Comparison::NotEqual, &x, &x).map(Item::Tensor)
}

pub(super) fn isinf(call: &mut Call) -> Result<Item> {
    let Item::Tensor(size) = abs(call)? else { return Err(Error::internal("a tensor")) };
    let infinity = call.constant(Array::new(&[], vec![f64::INFINITY], DType::F64));
    compared(call, Comparison::Equal, &size, &infinity).map(Item::Tensor)
}

/// `self + value tensor1 tensor2`.
pub(super) fn addcmul(call: &mut Call) -> Result<Item> {
    add_combined(call, Binary::Mul)
}

/// `self + value tensor1 / tensor2`.
pub(super) fn addcdiv(call: &mut Call) -> Result<Item> {
    add_combined(call, Binary::Div)
}

fn add_combined(call: &mut Call, function: Binary) -> Result<Item> {
    let (x, a, b) = (call.tensor("self")?, call.tensor("tensor1")?, call.tensor("tensor2")?);
    let value = call.float("value")?;
    let both = binary(call, function, &a, &b)?;
    let both = times(call, &both, value)?;
    sum(call, &x, &both).map(Item::Tensor)
}

/// `self + weight (end - self)`.
pub(super) fn lerp(call: &mut Call) -> Result<Item> {
    let (x, end, weight) = (call.tensor("self")?, call.tensor("end")?, call.tensor("weight")?);
    let distance = difference(call, &end, &x)?;
    let moved = product(call, &weight, &distance)?;
    sum(call, &x, &moved).map(Item::Tensor)
}

pub(super) fn pow(call: &mut Call) -> Result<Item> {
    let (x, exponent) = (call.tensor("self")?, call.tensor("exponent")?);
    if let (Some(x), Some(exponent)) = (x.constant(), exponent.constant()) {
        let (x, exponent) = (Array::of(x)?, Array::of(exponent)?);
        let result = x.zip(&exponent, promoted(x.dtype, exponent.dtype), f64::powf)?;
        return Ok(Item::Tensor(call.constant(result)));
    }
    match (single(&x)?, single(&exponent)?, exponent.constant()) {
        (_, Some(number), _) => power(call, &x, number),
        // A number to computed powers.
        (Some(base), None, None) if base > 0.0 => {
            let exponent = numbers(call, &exponent)?;
            let y = times(call, &exponent, base.ln())?;
            call.unary(Unary::Exp, &y)
        }
        (_, None, Some(constant)) => powers(call, &x, &Array::of(constant)?),
        (_, None, None) => {
            let (x, exponent) = (as_float(call, &x)?, numbers(call, &exponent)?);
            let logarithm = call.unary(Unary::Log, &x)?;
            let y = product(call, &exponent, &logarithm)?;
            call.unary(Unary::Exp, &y)
        }
    }
    .map(Item::Tensor)
}

pub(super) fn power(call: &mut Call, x: &Operand, exponent: f64) -> Result<Operand> {
    let x = &numbers(call, x)?;
    let unary = match exponent {
        1.0 => return Ok(x.clone()),
        2.0 => Unary::Square,
        0.5 => Unary::Sqrt,
        -0.5 => Unary::Rsqrt,
        -1.0 => Unary::Reciprocal,
        exponent => Unary::Pow { exponent },
    };
    call.unary(unary, x)
}

/// Each element to a power of its own, of which there are few.
fn powers(call: &mut Call, x: &Operand, exponents: &Array) -> Result<Operand> {
    const FEW: usize = 64;
    let mut all = exponents.data.clone();
    all.sort_by(f64::total_cmp);
    all.dedup();
    if all.len() > FEW {
        return Err(Error::unsupported(format!("{} different powers; at most {FEW} are computed", all.len())));
    }
    let mut result: Option<Operand> = None;
    for exponent in all {
        let y = power(call, x, exponent)?;
        result = Some(match result {
            None => y,
            Some(others) => {
                let here = call.constant(exponents.clone().map(DType::Bool, |v| truth(v == exponent)));
                // What is not chosen may be infinite, so that it must not be multiplied.
                select(call, &here, &y, &others)?
            }
        });
    }
    result.ok_or_else(|| Error::unsupported("a power of no elements"))
}

pub(super) fn clamp(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let is_tensor = |name: &str| {
        let at = call.parameters.iter().position(|&parameter| parameter == name);
        let item = at.and_then(|at| call.arguments.get(at));
        item.is_some_and(|item| matches!(super::call::plain(item), Ok(Item::Tensor(_))))
    };
    if is_tensor("min") || is_tensor("max") {
        let mut y = x;
        for (name, sign) in [("min", 1.0), ("max", -1.0)] {
            if call.has(name)
                && let Some(bound) = call.optional_tensor(name)?
            {
                y = limited(call, &y, &bound, sign)?;
            }
        }
        return Ok(Item::Tensor(y));
    }
    let bound = |call: &Call, name: &str, missing: f64| match call.has(name) {
        true => Ok(call.optional_float(name)?.unwrap_or(missing)),
        false => Ok(missing),
    };
    let (min, max) = (bound(call, "min", f64::NEG_INFINITY)?, bound(call, "max", f64::INFINITY)?);
    if let Some(constant) = x.constant() {
        let array = Array::of(constant)?;
        let dtype = array.dtype;
        return Ok(Item::Tensor(call.constant(array.map(dtype, |v| v.max(min).min(max)))));
    }
    if (min, max) == (f64::NEG_INFINITY, f64::INFINITY) {
        return Ok(Item::Tensor(x));
    }
    call.unary(Unary::Clamp { min, max }, &x).map(Item::Tensor)
}

/// The tensor where it is beyond a bound on the right side, the bound elsewhere; on the bound the derivative is the
/// tensor's.
fn limited(call: &mut Call, x: &Operand, bound: &Operand, sign: f64) -> Result<Operand> {
    let comparison = if sign > 0.0 { Comparison::GreaterEqual } else { Comparison::LessEqual };
    let within = compared(call, comparison, x, bound)?;
    choose(call, &within, x, bound)
}

fn extremum(call: &mut Call, sign: f64) -> Result<Item> {
    let (a, b) = (call.tensor("self")?, call.tensor("other")?);
    extremum_of(call, &a, &b, sign).map(Item::Tensor)
}

/// The greater (`sign` 1) or the smaller (-1) of two, which share the derivative where they are equal.
pub(super) fn extremum_of(call: &mut Call, a: &Operand, b: &Operand, sign: f64) -> Result<Operand> {
    if a.constant().is_some() && b.constant().is_some() {
        return fold_of(call, a, b, |a, b| {
            if a.is_nan() || b.is_nan() {
                f64::NAN
            } else if sign > 0.0 {
                a.max(b)
            } else {
                a.min(b)
            }
        });
    }
    let (total, distance) = (sum(call, a, b)?, difference(call, a, b)?);
    let distance = call.unary(Unary::Abs, &distance)?;
    let distance = times(call, &distance, sign)?;
    let twice = sum(call, &total, &distance)?;
    times(call, &twice, 0.5)
}

pub(super) fn maximum(call: &mut Call) -> Result<Item> {
    extremum(call, 1.0)
}

pub(super) fn minimum(call: &mut Call) -> Result<Item> {
    extremum(call, -1.0)
}

/// The elements of one tensor where a known condition holds, those of another elsewhere.
pub(super) fn choose(call: &mut Call, condition: &Operand, a: &Operand, b: &Operand) -> Result<Operand> {
    let Some(condition) = condition.constant() else {
        return select(call, condition, a, b);
    };
    let condition = Array::of(condition)?.map(DType::Bool, |v| truth(v != 0.0));
    if let (Some(a), Some(b)) = (a.constant(), b.constant()) {
        let (a, b) = (Array::of(a)?, Array::of(b)?);
        let dtype = promoted(a.dtype, b.dtype);
        let common = a.zip(&b, dtype, |a, _| a)?;
        let shape = condition.zip(&common, dtype, |_, _| 0.0)?.shape;
        let (a, b, condition) = (a.repeated(&shape)?, b.repeated(&shape)?, condition.repeated(&shape)?);
        let pick = condition.data.iter().zip(a.data.iter().zip(&b.data));
        let data = pick.map(|(&c, (&a, &b))| if c != 0.0 { a } else { b }).collect();
        return Ok(call.constant(Array::new(&shape, data, dtype)));
    }
    let shapes = [a, b].map(|x| call.context.sizes(x, "a choice"));
    let [a_shape, b_shape] = shapes;
    let shape = super::constant::broadcast(&super::constant::broadcast(&a_shape?, &b_shape?)?, &condition.shape)?;
    let always = |value: f64| condition.data.iter().all(|&c| c == value);
    for (value, side) in [(1.0, a), (0.0, b)] {
        if always(value) {
            return expand(call.context, side, &known(&shape));
        }
    }
    // `a` times the condition plus `b` times its opposite; known sides are chosen exactly, so that they may be infinite.
    let mut terms = Vec::new();
    for (side, holds) in [(a, 1.0), (b, 0.0)] {
        let chosen = |c: f64| c == holds;
        let term = match side.constant() {
            Some(constant) => {
                let array = Array::of(constant)?.map(DType::F64, |v| v);
                let array = condition.zip(&array, DType::F64, |c, v| if chosen(c) { v } else { 0.0 })?;
                call.constant(array)
            }
            None => {
                let factor = call.constant(condition.clone().map(DType::F64, |c| truth(chosen(c))));
                // Where no marked place is chosen, what stands there does not matter.
                let hidden = match call.context.marks(side) {
                    None => false,
                    Some(marks) => condition
                        .zip(&marks.places, DType::F64, |c, m| truth(m != 0.0 && chosen(c)))?
                        .data
                        .iter()
                        .all(|&v| v == 0.0),
                };
                if hidden {
                    let values = [call.context.raw(side), call.context.raw(&factor)];
                    Operand::Computed(call.context.builder.node(Op::Mul, &values)?)
                } else {
                    product(call, side, &factor)?
                }
            }
        };
        terms.push(term);
    }
    let chosen = sum(call, &terms[0], &terms[1])?;
    expand(call.context, &chosen, &known(&shape))
}

/// The elements of one tensor where a computed mask holds, those of another elsewhere.
fn select(call: &mut Call, condition: &Operand, a: &Operand, b: &Operand) -> Result<Operand> {
    let condition = mask(call, condition)?;
    let masks = [a, b].iter().all(|x| call.context.dtype(x) == DType::Bool);
    let mut side = |x: &Operand| match masks {
        true => Ok(x.clone()),
        false => {
            let x = numbers(call, x)?;
            as_float(call, &x)
        }
    };
    let (a, b) = (side(a)?, side(b)?);
    call.node(Op::Where, &[&condition, &a, &b])
}

pub(super) fn where_(call: &mut Call) -> Result<Item> {
    let (condition, a, b) = (call.tensor("condition")?, call.tensor("self")?, call.tensor("other")?);
    choose(call, &condition, &a, &b).map(Item::Tensor)
}

pub(super) fn masked_fill(call: &mut Call) -> Result<Item> {
    let (x, mask, value) = (call.tensor("self")?, call.tensor("mask")?, call.tensor("value")?);
    choose(call, &mask, &value, &x).map(Item::Tensor)
}

/// The same number, or tensor, in all places of a tensor.
pub(super) fn fill(call: &mut Call) -> Result<Item> {
    let (x, value) = (call.tensor("self")?, call.tensor("value")?);
    let value = match value.constant() {
        Some(constant) => Array::of(constant)?.map(call.context.dtype(&x), |v| v).into_operand(&constant.name),
        None => value,
    };
    let shape: Vec<Option<Dim>> = call.context.shape(&x).into_iter().map(Some).collect();
    expand(call.context, &value, &shape).map(Item::Tensor)
}

pub(super) fn zero(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let sizes = call.context.sizes(&x, "zeros")?;
    let zeros = Array::full(&sizes, 0.0, call.context.dtype(&x))?;
    Ok(Item::Tensor(call.constant(zeros)))
}

/// The numbers of one tensor in the shape of another.
pub(super) fn copy(call: &mut Call) -> Result<Item> {
    let (x, from) = (call.tensor("self")?, call.tensor("src")?);
    let shape: Vec<Option<Dim>> = call.context.shape(&x).into_iter().map(Some).collect();
    expand(call.context, &from, &shape).map(Item::Tensor)
}

/// The same numbers in another type; between floating-point types nothing changes, since all is computed in one.
pub(super) fn to_dtype(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let Some(dtype) = call.dtype("dtype")? else { return Ok(Item::Tensor(x)) };
    convert(call, &x, dtype).map(Item::Tensor)
}

pub(super) fn to_other(call: &mut Call) -> Result<Item> {
    let (x, other) = (call.tensor("self")?, call.tensor("other")?);
    let dtype = call.context.dtype(&other);
    convert(call, &x, dtype).map(Item::Tensor)
}

fn convert(call: &mut Call, x: &Operand, dtype: DType) -> Result<Operand> {
    let own = call.context.dtype(x);
    if kept(own) == kept(dtype) {
        return Ok(x.clone());
    }
    let Some(constant) = x.constant() else {
        return match (kept(own), kept(dtype)) {
            (_, DType::Bool) => mask(call, x),
            // Integers of masks are kept as floating-point numbers.
            (DType::Bool, _) => numbers(call, x),
            _ => Err(Error::unsupported(format!(
                "a computed tensor is converted to {}, which has no derivative",
                dtype.name()
            ))),
        };
    };
    let array = Array::of(constant)?;
    let converted = match kept(dtype) {
        DType::Bool => array.map(dtype, |v| truth(v != 0.0)),
        DType::I64 => array.map(dtype, f64::trunc),
        _ => array.map(dtype, |v| v),
    };
    Ok(converted.into_operand(&constant.name))
}

/// Sums, differences and products of sizes.
pub(super) fn sym_arithmetic(call: &mut Call) -> Result<Item> {
    let operation = call.operation;
    let both: Option<(f64, f64)> = call.float("a").ok().zip(call.float("b").ok());
    let is_int = call.arguments.iter().all(|item| matches!(item, Item::Int(_) | Item::Bool(_)));
    let Some((a, b)) = both else { return Ok(Item::Size(Dim::Unknown)) };
    let value = match operation {
        "add" => a + b,
        "sub" => a - b,
        "mul" => a * b,
        "truediv" => return Ok(Item::Float(a / b)),
        "floordiv" => (a / b).floor(),
        "mod" => a - (a / b).floor() * b,
        "pow" => a.powf(b),
        "sym_max" => a.max(b),
        "sym_min" => a.min(b),
        "eq" => return Ok(Item::Bool(a == b)),
        "ne" => return Ok(Item::Bool(a != b)),
        "lt" => return Ok(Item::Bool(a < b)),
        "le" => return Ok(Item::Bool(a <= b)),
        "gt" => return Ok(Item::Bool(a > b)),
        "ge" => return Ok(Item::Bool(a >= b)),
        other => return Err(Error::internal(format!("arithmetic of sizes without a rule for {other}"))),
    };
    Ok(if is_int { Item::Int(value as i64) } else { Item::Float(value) })
}

/// An assertion about sizes, or about what the program already knows.
pub(super) fn ignore(_: &mut Call) -> Result<Item> {
    Ok(Item::None)
}
