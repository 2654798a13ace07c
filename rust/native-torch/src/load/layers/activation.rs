//! Functions of each element, softmax and its kin, gates.

use super::{Expects, Fields, Place, Rule, Standard, python_bool, resolve};
use crate::{
    Error, Result,
    graph::{Dim, GeluKind, Op, Unary, ValueId},
    load::{compose, value::python_float},
    tensor::Tensor,
};

#[derive(Debug)]
struct Activation {
    unary: Unary,
    arguments: Vec<(&'static str, String)>,
}

fn activation(unary: Unary, arguments: Vec<(&'static str, String)>) -> Result<Standard> {
    Ok(Standard::new(Activation { unary, arguments }))
}

/// Whether the result takes the input's place in memory; the values are the same.
fn inplace(fields: &Fields) -> Result<(&'static str, String)> {
    Ok(("inplace", python_bool(fields.bool_or("inplace", false)?)))
}

pub(super) fn leaky_relu(fields: &Fields) -> Result<Standard> {
    let slope = fields.float_or("negative_slope", 0.01)?;
    activation(Unary::LeakyRelu { slope }, vec![("negative_slope", python_float(slope)), inplace(fields)?])
}

pub(super) fn gelu(fields: &Fields) -> Result<Standard> {
    let approximate = fields.text_or("approximate", "none")?;
    let kind = match approximate {
        "none" => GeluKind::Exact,
        "tanh" => GeluKind::Tanh,
        other => {
            let other = other.escape_debug();
            return Err(Error::format(format!("attribute `approximate` is '{other}'; none or tanh is expected")));
        }
    };
    activation(Unary::Gelu(kind), vec![("approximate", format!("'{approximate}'"))])
}

/// The functions without attributes that change their values.
macro_rules! plain {
    ($($name:ident: $unary:expr;)*) => {
        $(pub(super) fn $name(_: &Fields) -> Result<Standard> {
            activation($unary, Vec::new())
        })*
    };
}

plain! {
    log_sigmoid: Unary::LogSigmoid;
    sigmoid: Unary::Sigmoid;
    softsign: Unary::Softsign;
    tanh: Unary::Tanh;
    tanhshrink: Unary::Tanhshrink;
}

/// Those that may work in place.
macro_rules! in_place {
    ($($name:ident: $unary:expr;)*) => {
        $(pub(super) fn $name(fields: &Fields) -> Result<Standard> {
            activation($unary, vec![inplace(fields)?])
        })*
    };
}

in_place! {
    hardsigmoid: Unary::Hardsigmoid;
    hardswish: Unary::Hardswish;
    mish: Unary::Mish;
    relu: Unary::Relu;
    selu: Unary::SELU;
    silu: Unary::Silu;
}

pub(super) fn hardtanh(fields: &Fields) -> Result<Standard> {
    bounded(fields, -1.0, 1.0)
}

pub(super) fn relu6(fields: &Fields) -> Result<Standard> {
    bounded(fields, 0.0, 6.0)
}

/// `ReLU6` is a `Hardtanh` with other bounds, and stores them under the same names.
fn bounded(fields: &Fields, min: f64, max: f64) -> Result<Standard> {
    let (min, max) = (fields.threshold_or("min_val", min)?, fields.threshold_or("max_val", max)?);
    if min >= max {
        return Err(Error::format(format!("attribute `max_val` is {max}, which is not above min_val={min}")));
    }
    let arguments = vec![("min_val", python_float(min)), ("max_val", python_float(max)), inplace(fields)?];
    activation(Unary::Hardtanh { min, max }, arguments)
}

/// In evaluation the slope is the middle of the range that training draws it from.
pub(super) fn rrelu(fields: &Fields) -> Result<Standard> {
    let (lower, upper) = (fields.float_or("lower", 1.0 / 8.0)?, fields.float_or("upper", 1.0 / 3.0)?);
    let arguments = vec![("lower", python_float(lower)), ("upper", python_float(upper)), inplace(fields)?];
    activation(Unary::LeakyRelu { slope: (lower + upper) / 2.0 }, arguments)
}

pub(super) fn elu(fields: &Fields) -> Result<Standard> {
    let alpha = fields.float_or("alpha", 1.0)?;
    let arguments = vec![("alpha", python_float(alpha)), inplace(fields)?];
    activation(Unary::Elu { alpha, scale: 1.0 }, arguments)
}

pub(super) fn celu(fields: &Fields) -> Result<Standard> {
    let alpha = fields.float_or("alpha", 1.0)?;
    if alpha == 0.0 || !(1.0 / alpha).is_finite() {
        return Err(Error::format("attribute `alpha` is 0, which torch refuses"));
    }
    let arguments = vec![("alpha", python_float(alpha)), inplace(fields)?];
    activation(Unary::Celu { alpha }, arguments)
}

pub(super) fn hardshrink(fields: &Fields) -> Result<Standard> {
    let lambd = fields.threshold_or("lambd", 0.5)?;
    activation(Unary::Hardshrink { lambd }, vec![("lambd", python_float(lambd))])
}

pub(super) fn softshrink(fields: &Fields) -> Result<Standard> {
    let lambd = fields.float_or("lambd", 0.5)?;
    if lambd < 0.0 {
        return Err(Error::format(format!("attribute `lambd` is {lambd}; torch refuses one below 0")));
    }
    activation(Unary::Softshrink { lambd }, vec![("lambd", python_float(lambd))])
}

pub(super) fn threshold(fields: &Fields) -> Result<Standard> {
    let (threshold, value) = (fields.threshold("threshold")?, fields.float("value")?);
    let arguments = vec![("threshold", python_float(threshold)), ("value", python_float(value)), inplace(fields)?];
    activation(Unary::Threshold { threshold, value }, arguments)
}

pub(super) fn softplus(fields: &Fields) -> Result<Standard> {
    let (beta, threshold) = (fields.float_or("beta", 1.0)?, fields.threshold_or("threshold", 20.0)?);
    if beta == 0.0 {
        return Err(Error::unsupported("beta=0 makes every value infinite, which is not supported"));
    }
    let arguments = vec![("beta", python_float(beta)), ("threshold", python_float(threshold))];
    activation(Unary::Softplus { beta, threshold }, arguments)
}

impl Rule for Activation {
    fn arguments(&self) -> Vec<(&'static str, String)> {
        self.arguments.clone()
    }

    fn expects(&self) -> Expects {
        Expects::Any
    }

    fn apply(&self, x: ValueId, place: &mut Place) -> Result<ValueId> {
        place.builder.unary(self.unary, x)
    }
}

/// The layers that share numbers out along a dimension.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sharing {
    Softmax,
    LogSoftmax,
    Softmin,
    Softmax2d,
}

#[derive(Debug)]
struct Softmax {
    kind: Sharing,
    dim: Option<i64>,
}

pub(super) fn softmax(fields: &Fields) -> Result<Standard> {
    Ok(Standard::new(Softmax { kind: Sharing::Softmax, dim: fields.optional_int("dim")? }))
}

pub(super) fn log_softmax(fields: &Fields) -> Result<Standard> {
    Ok(Standard::new(Softmax { kind: Sharing::LogSoftmax, dim: fields.optional_int("dim")? }))
}

pub(super) fn softmin(fields: &Fields) -> Result<Standard> {
    Ok(Standard::new(Softmax { kind: Sharing::Softmin, dim: fields.optional_int("dim")? }))
}

pub(super) fn softmax2d(_: &Fields) -> Result<Standard> {
    Ok(Standard::new(Softmax { kind: Sharing::Softmax2d, dim: Some(-3) }))
}

impl Rule for Softmax {
    fn arguments(&self) -> Vec<(&'static str, String)> {
        match self.kind {
            Sharing::Softmax2d => Vec::new(),
            _ => vec![("dim", self.dim.map_or("None".to_owned(), |dim| dim.to_string()))],
        }
    }

    fn expects(&self) -> Expects {
        Expects::Given
    }

    fn apply(&self, x: ValueId, place: &mut Place) -> Result<ValueId> {
        let rank = place.rank(x);
        if self.kind == Sharing::Softmax2d && !matches!(rank, 3 | 4) {
            return Err(place.wrong_input(x, "but [N, C, H, W] or [C, H, W] is expected"));
        }
        // What torch chooses where no dim was given, with a warning.
        let implicit = if matches!(rank, 0 | 1 | 3) { 0 } else { 1 };
        let dim = self.dim.unwrap_or(implicit);
        let dim = resolve(dim, rank.max(1))
            .ok_or_else(|| place.wrong_input(x, &format!("in which dim={dim} is no dimension; give another shape")))?;
        match self.kind {
            Sharing::Softmax | Sharing::Softmax2d => place.builder.node(Op::Softmax { dim }, &[x]),
            Sharing::LogSoftmax => place.builder.node(Op::LogSoftmax { dim }, &[x]),
            Sharing::Softmin => {
                let negative = place.builder.unary(Unary::Neg, x)?;
                place.builder.node(Op::Softmax { dim }, &[negative])
            }
        }
    }
}

/// The first half along a dimension, gated by the sigmoid of the second (Dauphin et al., 2017).
#[derive(Debug)]
struct Glu {
    dim: i64,
}

pub(super) fn glu(fields: &Fields) -> Result<Standard> {
    Ok(Standard::new(Glu { dim: fields.int_or("dim", -1)? }))
}

impl Rule for Glu {
    fn arguments(&self) -> Vec<(&'static str, String)> {
        vec![("dim", self.dim.to_string())]
    }

    fn expects(&self) -> Expects {
        Expects::Given
    }

    fn apply(&self, x: ValueId, place: &mut Place) -> Result<ValueId> {
        let dim = resolve(self.dim, place.rank(x)).ok_or_else(|| {
            place.wrong_input(x, &format!("in which dim={} is no dimension; give another shape", self.dim))
        })?;
        let size = place.builder.ty(x).shape[dim].size();
        let half = match size {
            Some(size) if size % 2 == 0 => size / 2,
            Some(size) => {
                let what = format!("of which dim={} has the odd size {size}; two halves are needed", self.dim);
                return Err(place.wrong_input(x, &what));
            }
            None => return Err(place.wrong_input(x, &format!("of which dim={} must be known; give it", self.dim))),
        };
        let mut part = |start: usize| place.builder.node(Op::Slice { dim, start, end: start + half, step: 1 }, &[x]);
        let (value, gate) = (part(0)?, part(half)?);
        let gate = place.builder.unary(Unary::Sigmoid, gate)?;
        place.builder.node(Op::Mul, &[value, gate])
    }
}

/// `x` above 0, `weight x` elsewhere (He et al., 2015), with one weight or one for each channel.
#[derive(Debug)]
struct Prelu {
    parameters: usize,
    weight: Tensor,
}

pub(super) fn prelu(fields: &Fields) -> Result<Standard> {
    let parameters = fields.size("num_parameters")?;
    let weight = fields.required_tensor("weight", &[parameters], &format!("the sizes num_parameters={parameters}"))?;
    if parameters == 0 {
        return Err(Error::format("attribute `num_parameters` is 0; a positive int is expected"));
    }
    fields.mention::<()>("init");
    Ok(Standard::new(Prelu { parameters, weight }))
}

impl Rule for Prelu {
    fn arguments(&self) -> Vec<(&'static str, String)> {
        vec![("num_parameters", self.parameters.to_string())]
    }

    fn expects(&self) -> Expects {
        if self.parameters == 1 { Expects::Any } else { Expects::Given }
    }

    fn apply(&self, x: ValueId, place: &mut Place) -> Result<ValueId> {
        let shape = place.builder.ty(x).shape.clone();
        if self.parameters > 1 && !shape.get(1).is_some_and(|channels| channels.agrees(&Dim::Size(self.parameters))) {
            return Err(place.wrong_input(x, &format!("but [N, {}, ..] is expected", self.parameters)));
        }
        let weight = place.parameter("weight", &self.weight);
        let weight = if self.parameters == 1 {
            weight
        } else {
            compose::before_dimensions(place.builder, weight, shape.len() - 2)?
        };
        if shape.is_empty() {
            // A scalar has no dimension along which to repeat the weight: it is one element for a while.
            let one = place.builder.node(Op::Flatten { start: 0, end: 0 }, &[x])?;
            let y = place.builder.node(Op::Prelu, &[one, weight])?;
            return place.builder.node(Op::Sum { dims: vec![0], keepdim: false }, &[y]);
        }
        place.builder.node(Op::Prelu, &[x, weight])
    }
}
