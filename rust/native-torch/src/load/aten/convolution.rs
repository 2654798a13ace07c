//! Convolutions and pools.

use super::{
    call::Call,
    shape::{known, reshape},
    value::{Item, Operand},
};
use crate::{
    Error, Result,
    graph::{AvgPool, Blocks, Conv, Dim, Interpolation, MaxPool, Op, Padding, Target, Upsample},
};

/// The number of spatial dimensions that an operation's name ends with: `conv2d`, `max_pool2d_with_indices`.
fn spatial(call: &Call) -> Result<usize> {
    let digit =
        call.operation.bytes().zip(call.operation.bytes().skip(1)).find(|(c, d)| c.is_ascii_digit() && *d == b'd');
    digit
        .map(|(c, _)| usize::from(c - b'0'))
        .ok_or_else(|| Error::internal("an operation without dimensions in its name"))
}

fn kernel(call: &Call, weight: &Operand) -> Result<Vec<usize>> {
    let sizes = call.context.sizes(weight, "a convolution")?;
    sizes
        .get(2..)
        .map(<[usize]>::to_vec)
        .filter(|kernel| !kernel.is_empty())
        .ok_or_else(|| Error::format(format!("the weight of a convolution has the shape {sizes:?}")))
}

fn apply(call: &mut Call, op: Op) -> Result<Item> {
    let (x, weight) = (call.tensor("input")?, call.tensor("weight")?);
    let bias = call.optional_tensor("bias")?;
    let operands: Vec<&Operand> = [&x, &weight].into_iter().chain(&bias).collect();
    call.node(op, &operands).map(Item::Tensor)
}

fn groups(call: &Call) -> Result<usize> {
    usize::try_from(call.int("groups")?).map_err(|_| Error::format("argument `groups` is negative"))
}

fn both(padding: Vec<usize>) -> Vec<(usize, usize)> {
    padding.into_iter().map(|amount| (amount, amount)).collect()
}

/// Convolutions, with numbers for the padding or its name.
pub(super) fn convolution(call: &mut Call) -> Result<Item> {
    let weight = call.tensor("weight")?;
    let kernel = kernel(call, &weight)?;
    let dims = kernel.len();
    let (stride, dilation) = (call.each("stride", dims, None)?, call.each("dilation", dims, None)?);
    let padding = match call.text("padding") {
        Ok(name) => named_padding(&name, &kernel, &dilation)?,
        Err(_) => both(call.each("padding", dims, None)?),
    };
    let conv = Conv { stride, padding, dilation, groups: groups(call)? };
    apply(call, Op::Conv(conv))
}

/// What `same` and `valid` come to; torch puts the odd one behind.
fn named_padding(name: &str, kernel: &[usize], dilation: &[usize]) -> Result<Vec<(usize, usize)>> {
    match name {
        "valid" => Ok(vec![(0, 0); kernel.len()]),
        "same" => Ok(kernel
            .iter()
            .zip(dilation)
            .map(|(kernel, dilation)| {
                let total = dilation.saturating_mul(kernel.saturating_sub(1));
                (total / 2, total - total / 2)
            })
            .collect()),
        other => Err(Error::format(format!("argument `padding` is '{}'", other.escape_debug()))),
    }
}

pub(super) fn transposed(call: &mut Call) -> Result<Item> {
    let weight = call.tensor("weight")?;
    let dims = kernel(call, &weight)?.len();
    let (stride, dilation) = (call.each("stride", dims, None)?, call.each("dilation", dims, None)?);
    let padding = both(call.each("padding", dims, None)?);
    let output_padding = call.each("output_padding", dims, None)?;
    let conv = Conv { stride, padding, dilation, groups: groups(call)? };
    apply(call, Op::ConvTranspose { conv, output_padding })
}

/// Either of the two.
pub(super) fn general(call: &mut Call) -> Result<Item> {
    if call.bool("transposed")? { transposed(call) } else { convolution(call) }
}

pub(super) fn average_pool(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let dims = spatial(call)?;
    let kernel = call.each("kernel_size", dims, None)?;
    let pool = AvgPool {
        stride: call.each("stride", dims, Some(&kernel))?,
        padding: call.each("padding", dims, None)?,
        ceil_mode: call.bool("ceil_mode")?,
        count_include_pad: call.bool("count_include_pad")?,
        divisor: if dims == 1 { None } else { call.optional_int("divisor_override")? },
        kernel,
    };
    call.node(Op::AvgPool(pool), &[&x]).map(Item::Tensor)
}

pub(super) fn maximum_pool(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let dims = spatial(call)?;
    let kernel = call.each("kernel_size", dims, None)?;
    let pool = MaxPool {
        stride: call.each("stride", dims, Some(&kernel))?,
        padding: call.each("padding", dims, None)?,
        dilation: call.each("dilation", dims, None)?,
        ceil_mode: call.bool("ceil_mode")?,
        kernel,
    };
    call.node(Op::MaxPool(pool), &[&x]).map(Item::Tensor)
}

/// The same, of whose results the indices are not computed.
pub(super) fn maximum_pool_with_indices(call: &mut Call) -> Result<Item> {
    Ok(Item::List(vec![maximum_pool(call)?, Item::None]))
}

fn target(call: &Call, dims: usize) -> Result<Vec<Option<usize>>> {
    Ok(call.each("output_size", dims, None)?.into_iter().map(Some).collect())
}

pub(super) fn adaptive_average_pool(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let target = target(call, spatial(call)?)?;
    call.node(Op::AdaptiveAvgPool(target), &[&x]).map(Item::Tensor)
}

pub(super) fn adaptive_maximum_pool(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let target = target(call, spatial(call)?)?;
    let y = call.node(Op::AdaptiveMaxPool(target), &[&x])?;
    Ok(Item::List(vec![Item::Tensor(y), Item::None]))
}

/// Interpolation: `upsample_nearest2d`, `_upsample_nearest_exact2d`, `upsample_bilinear2d` and so on.
pub(super) fn upsample(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let dims = spatial(call)?;
    let mode = match call.operation.trim_start_matches('_') {
        name if name.starts_with("upsample_nearest_exact") => Interpolation::NearestExact,
        name if name.starts_with("upsample_nearest") => Interpolation::Nearest,
        name if name.starts_with("upsample_bicubic") => Interpolation::Cubic,
        _ => Interpolation::Linear,
    };
    let align_corners = call.has("align_corners") && call.bool("align_corners")?;
    let given = if call.is_none("output_size")? { None } else { Some(call.each("output_size", dims, None)?) };
    let factors = if call.has("scale_factors") {
        call.optional_floats("scale_factors")?
    } else {
        let one = |name: &str| if call.has(name) { call.optional_float(name) } else { Ok(None) };
        let all = [one("scales_d")?, one("scales_h")?, one("scales_w")?, one("scales")?];
        Some(all.into_iter().flatten().collect::<Vec<f64>>()).filter(|all| all.len() == dims)
    };
    let shape = call.context.shape(&x);
    let target = match (given, factors) {
        // A factor given beside the sizes says where places are read.
        (Some(sizes), Some(factors)) => {
            let follows = |(i, size): (usize, &usize)| {
                let own = shape.get(i + 2).and_then(Dim::size);
                own.is_none_or(|own| (own as f64 * factors[i]) as usize == *size)
            };
            if sizes.iter().enumerate().all(follows) {
                Target::Factors { factors, recompute: false }
            } else {
                Target::Sizes(sizes)
            }
        }
        (Some(sizes), None) => Target::Sizes(sizes),
        (None, Some(factors)) => Target::Factors { factors, recompute: false },
        (None, None) => return Err(Error::format("neither sizes nor factors are given")),
    };
    call.node(Op::Upsample(Upsample { mode, target, align_corners }), &[&x]).map(Item::Tensor)
}

fn blocks(call: &Call) -> Result<Blocks> {
    Ok(Blocks {
        kernel: call.each("kernel_size", 2, None)?,
        stride: call.each("stride", 2, None)?,
        dilation: call.each("dilation", 2, None)?,
    })
}

/// The padding of windows put around an image, or taken away.
fn framed(call: &mut Call, x: Operand, sign: isize) -> Result<Operand> {
    let padding = call.each("padding", 2, None)?;
    if padding == [0, 0] {
        return Ok(x);
    }
    let amount = |padding: &usize| isize::try_from(*padding).map(|amount| (sign * amount, sign * amount)).ok();
    let amounts: Option<Vec<(isize, isize)>> = padding.iter().map(amount).collect();
    let amounts = amounts.ok_or_else(|| Error::format(format!("argument `padding` is {padding:?}")))?;
    call.node(Op::Pad { amounts, padding: Padding::Constant(0.0) }, &[&x])
}

/// The windows of images as columns.
pub(super) fn unfold(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let x = framed(call, x, 1)?;
    call.node(Op::Unfold(blocks(call)?), &[&x]).map(Item::Tensor)
}

/// Columns summed at their places in images.
pub(super) fn fold(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let sizes = call.each("output_size", 2, None)?.into_iter().zip(call.each("padding", 2, None)?);
    let sizes = sizes.map(|(size, padding)| size.saturating_add(padding.saturating_mul(2))).collect();
    let y = call.node(Op::Fold { sizes, blocks: blocks(call)? }, &[&x])?;
    framed(call, y, -1).map(Item::Tensor)
}

/// Blocks of channels become blocks of places.
pub(super) fn pixel_shuffle(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let r = usize::try_from(call.int("upscale_factor")?).ok().filter(|&r| r > 0);
    let r = r.ok_or_else(|| Error::format("argument `upscale_factor` must be positive"))?;
    let sizes = call.context.sizes(&x, "pixel_shuffle")?;
    let Some((outer, &[channels, h, w])) = sizes.split_last_chunk::<3>() else {
        return Err(Error::format(format!("pixel_shuffle of a tensor of shape {sizes:?}")));
    };
    let area = r.checked_mul(r).filter(|area| channels % area == 0);
    let area = area.ok_or_else(|| Error::format(format!("{channels} channels are no multiple of {r} x {r}")))?;
    let split = reshape(call.context, &x, &known(&[outer, &[channels / area, r, r, h, w]].concat()))?;
    let o = outer.len();
    let order: Vec<usize> = (0..o).chain([0, 3, 1, 4, 2].map(|dim| o + dim)).collect();
    let turned = super::shape::permute(call.context, &split, &order)?;
    reshape(call.context, &turned, &known(&[outer, &[channels / area, h * r, w * r]].concat())).map(Item::Tensor)
}

/// The channels of groups taken in turn.
pub(super) fn channel_shuffle(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let sizes = call.context.sizes(&x, "channel_shuffle")?;
    let groups = usize::try_from(call.int("groups")?).ok().filter(|&groups| groups > 0);
    let groups = groups.filter(|groups| sizes.len() > 2 && sizes[1].is_multiple_of(*groups));
    let groups =
        groups.ok_or_else(|| Error::format(format!("a tensor of shape {sizes:?} has no such groups of channels")))?;
    let split = [&sizes[..1], &[groups, sizes[1] / groups], &sizes[2..]].concat();
    let split = reshape(call.context, &x, &known(&split))?;
    let turned = super::shape::transpose(call.context, &split, 1, 2)?;
    reshape(call.context, &turned, &known(&sizes)).map(Item::Tensor)
}
