//! Functions of each element, and Softmax.

use super::{Expects, Fields, Place, Rule, Standard, python_bool, resolve};
use crate::{
    Error, Result,
    graph::{GeluKind, Op, Unary, ValueId},
    load::value::python_float,
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

pub(super) fn relu(fields: &Fields) -> Result<Standard> {
    activation(Unary::Relu, vec![inplace(fields)?])
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

pub(super) fn sigmoid(_: &Fields) -> Result<Standard> {
    activation(Unary::Sigmoid, Vec::new())
}

pub(super) fn tanh(_: &Fields) -> Result<Standard> {
    activation(Unary::Tanh, Vec::new())
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

#[derive(Debug)]
struct Softmax {
    dim: Option<i64>,
}

pub(super) fn softmax(fields: &Fields) -> Result<Standard> {
    Ok(Standard::new(Softmax { dim: fields.optional_int("dim")? }))
}

impl Rule for Softmax {
    fn arguments(&self) -> Vec<(&'static str, String)> {
        vec![("dim", self.dim.map_or("None".to_owned(), |dim| dim.to_string()))]
    }

    fn expects(&self) -> Expects {
        Expects::Given
    }

    fn apply(&self, x: ValueId, place: &mut Place) -> Result<ValueId> {
        let rank = place.rank(x);
        // What torch chooses where no dim was given, with a warning.
        let implicit = if matches!(rank, 0 | 1 | 3) { 0 } else { 1 };
        let dim = self.dim.unwrap_or(implicit);
        let resolved = resolve(dim, rank.max(1))
            .ok_or_else(|| place.wrong_input(x, &format!("in which dim={dim} is no dimension; give another shape")))?;
        place.builder.node(Op::Softmax { dim: resolved }, &[x])
    }
}
