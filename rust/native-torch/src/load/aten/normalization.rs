//! Normalisations and softmax.

use super::{
    call::Call,
    elementwise,
    shape::{known, reshape, slice},
    value::{Item, Marks, Operand},
};
use crate::{
    Error, Result,
    graph::{Dim, Op, Unary},
    load::compose,
    tensor::DType,
};

/// The results beside the first are only of use in training.
fn first_of_three(y: Operand) -> Item {
    Item::List(vec![Item::Tensor(y), Item::None, Item::None])
}

fn batch_norm_with(call: &mut Call, training: bool) -> Result<Operand> {
    let x = call.tensor("input")?;
    let eps = call.float("eps")?;
    let rank = call.context.rank(&x);
    if rank < 2 {
        return Err(Error::format("batch normalisation of less than [N, C]"));
    }
    let x = call.value(&x);
    let optional = |call: &mut Call, name: &str| -> Result<Option<_>> {
        let operand = if call.has(name) { call.optional_tensor(name)? } else { None };
        Ok(operand.map(|operand| call.value(&operand)))
    };
    let (weight, bias) = (optional(call, "weight")?, optional(call, "bias")?);
    let (mean, variance) = (optional(call, "running_mean")?, optional(call, "running_var")?);
    let builder = &mut call.context.builder;
    let y = match (mean, variance) {
        (Some(mean), Some(variance)) if !training => {
            compose::with_statistics(builder, x, [mean, variance], weight, bias, eps, rank - 2)?
        }
        _ => {
            let normal = compose::over_batch(builder, x, eps)?;
            compose::affine_per_channel(builder, normal, rank - 2, weight, bias)?
        }
    };
    Ok(Operand::Computed(y))
}

/// With the running statistics, or in training with those of the batch.
pub(super) fn batch_norm(call: &mut Call) -> Result<Item> {
    let training = call.bool("training")?;
    batch_norm_with(call, training).map(Item::Tensor)
}

/// The same, of which the first result is the normalised tensor.
pub(super) fn native_batch_norm(call: &mut Call) -> Result<Item> {
    let training = call.bool("training")?;
    batch_norm_with(call, training).map(first_of_three)
}

pub(super) fn native_batch_norm_evaluated(call: &mut Call) -> Result<Item> {
    batch_norm_with(call, false).map(first_of_three)
}

/// The running statistics that training would leave come behind.
pub(super) fn native_batch_norm_functional(call: &mut Call) -> Result<Item> {
    let training = call.bool("training")?;
    let y = batch_norm_with(call, training)?;
    let results = std::iter::once(Item::Tensor(y)).chain(std::iter::repeat_n(Item::None, 4));
    Ok(Item::List(results.collect()))
}

pub(super) fn instance_norm(call: &mut Call) -> Result<Item> {
    if !call.bool("use_input_stats")? {
        return batch_norm_with(call, false).map(Item::Tensor);
    }
    let x = call.tensor("input")?;
    let eps = call.float("eps")?;
    let trailing = call.context.rank(&x).checked_sub(2).filter(|&trailing| trailing > 0);
    let trailing = trailing.ok_or_else(|| Error::format("instance normalisation of less than [N, C, L]"))?;
    let normal = call.node(Op::LayerNorm { axes: trailing, eps }, &[&x])?;
    affine(call, &normal, trailing).map(Item::Tensor)
}

/// `weight x + bias` for each channel.
fn affine(call: &mut Call, x: &Operand, behind: usize) -> Result<Operand> {
    let (weight, bias) = (call.optional_tensor("weight")?, call.optional_tensor("bias")?);
    let (weight, bias) = (weight.map(|w| call.value(&w)), bias.map(|b| call.value(&b)));
    let x = call.value(x);
    compose::affine_per_channel(&mut call.context.builder, x, behind, weight, bias).map(Operand::Computed)
}

fn layer_norm_of(call: &mut Call) -> Result<Operand> {
    let x = call.tensor("input")?;
    let shape = call.sizes("normalized_shape")?;
    let own = call.context.shape(&x);
    let start = own.len().checked_sub(shape.len());
    let fits = start.is_some_and(|start| own[start..].iter().zip(&shape).all(|(a, &b)| a.agrees(&Dim::Size(b))));
    if !fits {
        return Err(Error::format(format!("normalized_shape {shape:?} is not that of the last dimensions")));
    }
    let eps = call.float("eps")?;
    let (weight, bias) = (call.optional_tensor("weight")?, call.optional_tensor("bias")?);
    let axes = shape.len();
    let op = Op::LayerNorm { axes, eps };
    match (&weight, &bias) {
        (Some(weight), Some(bias)) => call.node(op, &[&x, weight, bias]),
        (Some(weight), None) => call.node(op, &[&x, weight]),
        (None, None) => call.node(op, &[&x]),
        (None, Some(bias)) => {
            let normal = call.node(op, &[&x])?;
            elementwise::sum(call, &normal, bias)
        }
    }
}

pub(super) fn layer_norm(call: &mut Call) -> Result<Item> {
    layer_norm_of(call).map(Item::Tensor)
}

pub(super) fn native_layer_norm(call: &mut Call) -> Result<Item> {
    layer_norm_of(call).map(first_of_three)
}

pub(super) fn rms_norm(call: &mut Call) -> Result<Item> {
    let x = call.tensor("input")?;
    let op = Op::RmsNorm { axes: call.sizes("normalized_shape")?.len(), eps: call.optional_float("eps")? };
    let weight = call.optional_tensor("weight")?;
    let operands: Vec<&Operand> = [&x].into_iter().chain(&weight).collect();
    call.node(op, &operands).map(Item::Tensor)
}

fn group_norm_of(call: &mut Call, groups: &str) -> Result<Operand> {
    let x = call.tensor("input")?;
    let groups = usize::try_from(call.int(groups)?).ok().filter(|&groups| groups > 0);
    let groups = groups.ok_or_else(|| Error::format("the number of groups must be positive"))?;
    let (shape, eps) = (call.context.shape(&x), call.float("eps")?);
    let channels = shape.get(1).and_then(Dim::size).filter(|channels| channels % groups == 0);
    let channels =
        channels.ok_or_else(|| Error::format(format!("the channels cannot be split into {groups} groups")))?;
    let x = call.value(&x);
    let normal = compose::over_groups(&mut call.context.builder, x, groups, channels, eps)?;
    affine(call, &Operand::Computed(normal), shape.len() - 2)
}

pub(super) fn group_norm(call: &mut Call) -> Result<Item> {
    group_norm_of(call, "num_groups").map(Item::Tensor)
}

pub(super) fn native_group_norm(call: &mut Call) -> Result<Item> {
    group_norm_of(call, "group").map(first_of_three)
}

/// A softmax over a dimension, or its logarithm.
fn soft(call: &mut Call, op: fn(usize) -> Op) -> Result<Item> {
    let x = call.tensor("self")?;
    let dim = call.dim("dim", call.context.rank(&x))?;
    call.node(op(dim), &[&x]).map(Item::Tensor)
}

pub(super) fn softmax(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let dim = call.dim("dim", call.context.rank(&x))?;
    softmax_of(call, &x, dim).map(Item::Tensor)
}

/// A softmax, to which masked places may be any very small number.
pub(super) fn softmax_of(call: &mut Call, x: &Operand, dim: usize) -> Result<Operand> {
    let value = call.context.raw(x);
    let y = Operand::Computed(call.context.builder.node(Op::Softmax { dim }, &[value])?);
    match call.context.marks(x).cloned() {
        Some(Marks { places, value }) if value == f64::NEG_INFINITY && !places.shape.is_empty() => {
            // What is masked as a whole is 0 / 0.
            let whole = places.reduce(&[dim], 1.0, DType::Bool, f64::min).repeated(&places.shape)?;
            call.context.mark(&y, Marks { places: whole, value: f64::NAN });
        }
        Some(marks) => call.context.mark(&y, marks),
        None => {}
    }
    Ok(y)
}

pub(super) fn log_softmax(call: &mut Call) -> Result<Item> {
    soft(call, |dim| Op::LogSoftmax { dim })
}

pub(super) fn glu(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let dim = call.dim("dim", call.context.rank(&x))?;
    let size = call.context.sizes(&x, "a gate")?[dim];
    if !size.is_multiple_of(2) {
        return Err(Error::format(format!("a gate over a dimension of {size}, which is odd")));
    }
    let value = slice(call.context, &x, dim, 0, size / 2, 1)?;
    let gate = slice(call.context, &x, dim, size / 2, size, 1)?;
    let gate = call.unary(Unary::Sigmoid, &gate)?;
    elementwise::product(call, &value, &gate).map(Item::Tensor)
}

pub(super) fn prelu(call: &mut Call) -> Result<Item> {
    let (x, weight) = (call.tensor("self")?, call.tensor("weight")?);
    let rank = call.context.rank(&x);
    let mut sizes = call.context.sizes(&weight, "prelu")?;
    // One number for each channel stands in front of the dimensions behind them; a single one is repeated everywhere.
    if call.operation == "prelu" {
        let single = sizes.iter().product::<usize>() == 1;
        sizes = if single { vec![] } else { [&sizes[..], &vec![1; rank.saturating_sub(2)]].concat() };
    }
    let weight = reshape(call.context, &weight, &known(&sizes))?;
    call.node(Op::Prelu, &[&x, &weight]).map(Item::Tensor)
}
