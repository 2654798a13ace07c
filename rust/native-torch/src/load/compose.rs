//! Normalisations made of several operations of the graph, for layers and for calls alike.

use crate::{
    Result,
    graph::{Builder, Op, Unary, ValueId},
};

/// One number for each channel, ready to be repeated along the dimensions behind them.
pub(super) fn before_dimensions(builder: &mut Builder, channels: ValueId, behind: usize) -> Result<ValueId> {
    if behind == 0 {
        return Ok(channels);
    }
    let sizes = std::iter::once(None).chain(std::iter::repeat_n(Some(1), behind)).collect();
    builder.node(Op::Unflatten { dim: 0, sizes }, &[channels])
}

/// `w x + b` with one number for each channel, where they are given.
pub(super) fn affine_per_channel(
    builder: &mut Builder,
    x: ValueId,
    behind: usize,
    weight: Option<ValueId>,
    bias: Option<ValueId>,
) -> Result<ValueId> {
    let mut x = x;
    for (parameter, op) in [(weight, Op::Mul), (bias, Op::Add)] {
        if let Some(parameter) = parameter {
            let parameter = before_dimensions(builder, parameter, behind)?;
            x = builder.node(op, &[x, parameter])?;
        }
    }
    Ok(x)
}

/// `scale x + shift` with `scale = w / sqrt(variance + eps)` and `shift = b - scale mean`, as torch computes it.
pub(super) fn with_statistics(
    builder: &mut Builder,
    x: ValueId,
    [mean, variance]: [ValueId; 2],
    weight: Option<ValueId>,
    bias: Option<ValueId>,
    eps: f64,
    behind: usize,
) -> Result<ValueId> {
    let variance = builder.unary(Unary::Affine { scale: 1.0, shift: eps }, variance)?;
    let mut scale = builder.unary(Unary::Rsqrt, variance)?;
    if let Some(weight) = weight {
        scale = builder.node(Op::Mul, &[scale, weight])?;
    }
    let shift = builder.node(Op::Mul, &[mean, scale])?;
    let shift = match bias {
        Some(bias) => builder.node(Op::Sub, &[bias, shift])?,
        None => builder.unary(Unary::Neg, shift)?,
    };
    let scale = before_dimensions(builder, scale, behind)?;
    let shift = before_dimensions(builder, shift, behind)?;
    let scaled = builder.node(Op::Mul, &[x, scale])?;
    builder.add(scaled, shift)
}

/// Each channel of `[N, C, ..]` normalised over the whole batch.
pub(super) fn over_batch(builder: &mut Builder, x: ValueId, eps: f64) -> Result<ValueId> {
    // Channels come first, so that all that is normalised together stands behind them.
    let rank = builder.ty(x).rank();
    let mut dims: Vec<usize> = (0..rank).collect();
    dims.swap(0, 1);
    let turned = builder.node(Op::Permute { dims: dims.clone() }, &[x])?;
    let normal = builder.node(Op::LayerNorm { axes: rank - 1, eps }, &[turned])?;
    builder.node(Op::Permute { dims }, &[normal])
}

/// Groups of the channels of `[N, C, ..]` normalised together.
pub(super) fn over_groups(
    builder: &mut Builder,
    x: ValueId,
    groups: usize,
    channels: usize,
    eps: f64,
) -> Result<ValueId> {
    let rank = builder.ty(x).rank();
    let sizes = vec![Some(groups), Some(channels / groups)];
    let grouped = builder.node(Op::Unflatten { dim: 1, sizes }, &[x])?;
    let normal = builder.node(Op::LayerNorm { axes: rank - 1, eps }, &[grouped])?;
    builder.node(Op::Flatten { start: 1, end: 2 }, &[normal])
}
