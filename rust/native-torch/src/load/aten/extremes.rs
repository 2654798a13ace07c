//! Extremes and order along dimensions: maxima, minima, where they are, sorting; and what is computed safely with them.
//!
//! A maximum over dimensions is a maximum pool whose window is all of them. An order is counted: the rank of an element is
//! the number of those that stand before it.

use super::{
    call::Call,
    constant::Array,
    elementwise::{self, choose, logic_or_and},
    reduction::reduced,
    shape::{known, permute, reshape, slice, unsqueeze},
    value::{Item, Operand},
};
use crate::{
    Error, Result,
    graph::{Comparison, Dim, MaxPool, Op, Unary},
    tensor::{DType, contiguous_strides},
};

/// More elements than these are not put in order, since each is compared with all others.
const LIMIT: usize = 1 << 11;

/// The greatest (`sign` 1) or smallest (`sign` -1) elements over dimensions.
pub(super) fn extreme(call: &mut Call, x: &Operand, dims: &[usize], keepdim: bool, sign: f64) -> Result<Operand> {
    let rank = call.context.rank(x);
    let squeezed = |shape: Vec<Dim>| -> Vec<Option<Dim>> {
        let each = shape.into_iter().enumerate();
        match keepdim {
            true => each.map(|(dim, size)| Some(if dims.contains(&dim) { Dim::Size(1) } else { size })).collect(),
            false => each.filter(|(dim, _)| !dims.contains(dim)).map(|(_, size)| Some(size)).collect(),
        }
    };
    let target = squeezed(call.context.shape(x));
    let shape = call.context.shape(x);
    if dims.iter().any(|&dim| shape[dim].size() == Some(0)) {
        return Err(Error::format("a maximum or minimum of no elements"));
    }
    if let Some(constant) = x.constant() {
        let array = Array::of(constant)?;
        let start = f64::NEG_INFINITY * sign;
        let found = array.reduce(dims, start, array.dtype, |a, b| {
            if a.is_nan() || b.is_nan() {
                f64::NAN
            } else if sign > 0.0 {
                a.max(b)
            } else {
                a.min(b)
            }
        });
        let found = call.constant(found);
        return reshape(call.context, &found, &target);
    }
    if rank == 0 || dims.is_empty() {
        return Ok(x.clone());
    }
    let x = elementwise::numbers(call, x)?;
    let turned = if sign < 0.0 { call.unary(Unary::Neg, &x)? } else { x };
    let kept: Vec<usize> = (0..rank).filter(|dim| !dims.contains(dim)).collect();
    let order: Vec<usize> = kept.iter().chain(dims).copied().collect();
    let mut y = permute(call.context, &turned, &order)?;
    let length: Option<usize> = dims.iter().map(|&dim| shape[dim].size()).product();
    let length = length.ok_or_else(|| Error::argument("a maximum over a symbolic size; give the input's shape"))?;
    // The window is the last of two or three dimensions.
    let open: Vec<Option<Dim>> = kept.iter().map(|&dim| Some(shape[dim].clone())).collect();
    let front: Vec<Option<Dim>> = match open.len() {
        0 => vec![Some(Dim::Size(1))],
        1 | 2 => open,
        _ => vec![None],
    };
    let flat: Vec<Option<Dim>> = front.into_iter().chain([Some(Dim::Size(length))]).collect();
    y = reshape(call.context, &y, &flat)?;
    let pool =
        MaxPool { kernel: vec![length], stride: vec![length], padding: vec![0], dilation: vec![1], ceil_mode: false };
    y = call.node(Op::MaxPool(pool), &[&y])?;
    y = reshape(call.context, &y, &target)?;
    if sign < 0.0 { call.unary(Unary::Neg, &y) } else { Ok(y) }
}

pub(super) fn amax(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let (dims, keepdim) = reduced(call, &x)?;
    extreme(call, &x, &dims, keepdim, 1.0).map(Item::Tensor)
}

pub(super) fn amin(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let (dims, keepdim) = reduced(call, &x)?;
    extreme(call, &x, &dims, keepdim, -1.0).map(Item::Tensor)
}

pub(super) fn aminmax(call: &mut Call) -> Result<Item> {
    Ok(Item::List(vec![amin(call)?, amax(call)?]))
}

/// Where the first of the greatest or smallest elements of a dimension is, as numbers.
fn place(call: &mut Call, x: &Operand, dim: usize, keepdim: bool, sign: f64) -> Result<Operand> {
    let size = call.context.shape(x).get(dim).map_or(Some(1), Dim::size);
    let size =
        size.ok_or_else(|| Error::argument("the place of an extreme along a symbolic size; give the input's shape"))?;
    let rank = call.context.rank(x);
    if rank == 0 {
        return Ok(call.constant(Array::new(&[], vec![0.0], DType::I64)));
    }
    let best = extreme(call, x, &[dim], true, sign)?;
    let mut shape = vec![1; rank];
    shape[dim] = size;
    let dtype = if x.constant().is_some() { DType::I64 } else { DType::F64 };
    let indices = call.constant(Array::new(&shape, (0..size).map(|i| i as f64).collect(), dtype));
    let beyond = call.constant(Array::new(&[], vec![size as f64], dtype));
    let is_best = elementwise::compared(call, Comparison::Equal, x, &best)?;
    let candidates = choose(call, &is_best, &indices, &beyond)?;
    extreme(call, &candidates, &[dim], keepdim, -1.0)
}

/// The greatest elements of a dimension, and where they are.
fn with_places(call: &mut Call, sign: f64) -> Result<Item> {
    let x = call.tensor("self")?;
    let (dim, keepdim) = (call.dim("dim", call.context.rank(&x))?, call.bool("keepdim")?);
    let dims = if call.context.rank(&x) == 0 { Vec::new() } else { vec![dim] };
    let values = extreme(call, &x, &dims, keepdim, sign)?;
    let places = place(call, &x, dim, keepdim, sign)?;
    Ok(Item::List(vec![Item::Tensor(values), Item::Tensor(places)]))
}

pub(super) fn maximum_with_places(call: &mut Call) -> Result<Item> {
    with_places(call, 1.0)
}

pub(super) fn minimum_with_places(call: &mut Call) -> Result<Item> {
    with_places(call, -1.0)
}

fn place_of(call: &mut Call, sign: f64) -> Result<Item> {
    let x = call.tensor("self")?;
    let keepdim = call.bool("keepdim")?;
    if !call.is_none("dim")? {
        let dim = call.dim("dim", call.context.rank(&x))?;
        return place(call, &x, dim, keepdim, sign).map(Item::Tensor);
    }
    let rank = call.context.rank(&x);
    let flat = reshape(call.context, &x, &[None])?;
    let found = place(call, &flat, 0, false, sign)?;
    let target = known(&vec![1; if keepdim { rank } else { 0 }]);
    reshape(call.context, &found, &target).map(Item::Tensor)
}

pub(super) fn argmax(call: &mut Call) -> Result<Item> {
    place_of(call, 1.0)
}

pub(super) fn argmin(call: &mut Call) -> Result<Item> {
    place_of(call, -1.0)
}

/// The elements `from .. to` of the order along a dimension, and where they were; equal ones stay in their order.
fn ordered(call: &mut Call, x: &Operand, dim: usize, [from, to]: [usize; 2], descending: bool) -> Result<[Operand; 2]> {
    let sizes = call.context.sizes(x, "an order")?;
    let Some(&size) = sizes.get(dim) else {
        return Ok([x.clone(), call.constant(Array::new(&[], vec![0.0], DType::I64))]);
    };
    if to > size {
        return Err(Error::format(format!("{to} elements of a dimension of {size}")));
    }
    if let Some(constant) = x.constant() {
        return ordered_constant(call, &Array::of(constant)?, dim, [from, to], descending);
    }
    if size > LIMIT {
        return Err(Error::unsupported(format!("{size} computed elements are put in order; at most {LIMIT} are")));
    }
    let x = elementwise::numbers(call, x)?;
    let rank = sizes.len();
    let to_end: Vec<usize> = (0..rank).filter(|&d| d != dim).chain([dim]).collect();
    let turned = permute(call.context, &x, &to_end)?;
    let [own, other] = [unsqueeze(call.context, &turned, rank)?, unsqueeze(call.context, &turned, rank - 1)?];
    // Which element, along the last dimension, stands before which.
    let comparison = if descending { Comparison::Greater } else { Comparison::Less };
    let beyond = elementwise::compared(call, comparison, &other, &own)?;
    let same = elementwise::compared(call, Comparison::Equal, &other, &own)?;
    let earlier = (0..size * size).map(|e| f64::from(u8::from(e % size < e / size))).collect();
    let earlier = call.constant(Array::new(&[size, size], earlier, DType::Bool));
    let tied = logic_or_and(call, &same, &earlier, false)?;
    let before = logic_or_and(call, &beyond, &tied, true)?;
    let before = elementwise::numbers(call, &before)?;
    let ranks = call.node(Op::Sum { dims: vec![rank], keepdim: false }, &[&before])?;
    // Which element has which rank.
    let ranks = unsqueeze(call.context, &ranks, rank - 1)?;
    let wanted = call.constant(Array::new(&[to - from, 1], (from..to).map(|k| k as f64).collect(), DType::F64));
    let chosen = call.node(Op::Compare(Comparison::Equal), &[&ranks, &wanted])?;
    let indices = call.constant(Array::new(&[size], (0..size).map(|i| i as f64).collect(), DType::F64));
    let zero = call.constant(Array::new(&[], vec![0.0], DType::F64));
    let mut back: Vec<usize> = (0..rank - 1).collect();
    back.insert(dim, rank - 1);
    let mut pick = |values: &Operand| -> Result<Operand> {
        let terms = choose(call, &chosen, values, &zero)?;
        let sums = call.node(Op::Sum { dims: vec![rank], keepdim: false }, &[&terms])?;
        permute(call.context, &sums, &back)
    };
    Ok([pick(&other)?, pick(&indices)?])
}

fn ordered_constant(
    call: &Call,
    array: &Array,
    dim: usize,
    [from, to]: [usize; 2],
    descending: bool,
) -> Result<[Operand; 2]> {
    let stride = contiguous_strides(&array.shape)[dim];
    let size = array.shape[dim];
    let mut shape = array.shape.clone();
    shape[dim] = to - from;
    let (mut values, mut places) = (Array::full(&shape, 0.0, array.dtype)?, Array::full(&shape, 0.0, DType::I64)?);
    let outer = array.data.len() / (size * stride).max(1);
    for line in 0..outer * stride {
        let (o, i) = (line / stride, line % stride);
        let at = |k: usize| array.data[(o * size + k) * stride + i];
        let mut order: Vec<usize> = (0..size).collect();
        order.sort_by(|&a, &b| if descending { at(b).total_cmp(&at(a)) } else { at(a).total_cmp(&at(b)) });
        for (k, &source) in order[from..to].iter().enumerate() {
            let e = (o * (to - from) + k) * stride + i;
            (values.data[e], places.data[e]) = (at(source), source as f64);
        }
    }
    Ok([call.constant(values), call.constant(places)])
}

fn tensors([values, places]: [Operand; 2]) -> Item {
    Item::List(vec![Item::Tensor(values), Item::Tensor(places)])
}

/// The number of elements of a dimension; a scalar has one.
fn length(call: &Call, x: &Operand, dim: usize) -> Result<usize> {
    Ok(call.context.sizes(x, "an order")?.get(dim).copied().unwrap_or(1))
}

pub(super) fn sort(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let dim = call.dim("dim", call.context.rank(&x))?;
    let (all, descending) = (length(call, &x, dim)?, call.bool("descending")?);
    ordered(call, &x, dim, [0, all], descending).map(tensors)
}

pub(super) fn topk(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let dim = call.dim("dim", call.context.rank(&x))?;
    let k = usize::try_from(call.int("k")?).map_err(|_| Error::format("argument `k` is negative"))?;
    let largest = call.bool("largest")?;
    ordered(call, &x, dim, [0, k], largest).map(tensors)
}

/// The element of this rank, from the smallest on.
fn ranked(call: &mut Call, x: &Operand, dim: usize, rank: usize, keepdim: bool) -> Result<Item> {
    let found = ordered(call, x, dim, [rank, rank + 1], false)?;
    if keepdim || call.context.rank(x) == 0 {
        return Ok(tensors(found));
    }
    let mut shape: Vec<Option<Dim>> = call.context.shape(x).into_iter().map(Some).collect();
    shape.remove(dim);
    let [values, places] = found;
    Ok(tensors([reshape(call.context, &values, &shape)?, reshape(call.context, &places, &shape)?]))
}

pub(super) fn kthvalue(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let dim = call.dim("dim", call.context.rank(&x))?;
    let k = usize::try_from(call.int("k")?).ok().and_then(|k| k.checked_sub(1));
    let k = k.ok_or_else(|| Error::format("argument `k` is not positive"))?;
    let keepdim = call.bool("keepdim")?;
    ranked(call, &x, dim, k, keepdim)
}

/// The lower one of the two in the middle.
pub(super) fn median(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    if !call.has("dim") {
        let flat = reshape(call.context, &x, &[None])?;
        let all = length(call, &flat, 0)?;
        let Item::List(mut found) = ranked(call, &flat, 0, all.saturating_sub(1) / 2, false)? else {
            return Err(Error::internal("a median"));
        };
        return Ok(found.swap_remove(0));
    }
    let dim = call.dim("dim", call.context.rank(&x))?;
    let (all, keepdim) = (length(call, &x, dim)?, call.bool("keepdim")?);
    ranked(call, &x, dim, all.saturating_sub(1) / 2, keepdim)
}

/// The logarithm of a sum of exponentials, of which the greatest is taken out so that none overflows.
pub(super) fn log_sum_exp(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let (dims, keepdim) = reduced(call, &x)?;
    if dims.is_empty() {
        return Ok(Item::Tensor(x));
    }
    let x = elementwise::numbers(call, &x)?;
    let greatest = extreme(call, &x, &dims, true, 1.0)?;
    let greatest = elementwise::detached(call, &greatest)?;
    let distance = elementwise::difference(call, &x, &greatest)?;
    let terms = call.unary(Unary::Exp, &distance)?;
    let sum = call.node(Op::Sum { dims: dims.clone(), keepdim }, &[&terms])?;
    let logarithm = call.unary(Unary::Log, &sum)?;
    let target: Vec<Option<Dim>> = call.context.shape(&logarithm).into_iter().map(Some).collect();
    let greatest = reshape(call.context, &greatest, &target)?;
    elementwise::sum(call, &logarithm, &greatest).map(Item::Tensor)
}

/// The product over one dimension, by halves.
fn product_of(call: &mut Call, x: &Operand, dim: usize) -> Result<Operand> {
    let mut y = x.clone();
    loop {
        let size = call.context.shape(&y)[dim].size();
        let size = size.ok_or_else(|| Error::argument("a product over a symbolic size; give the input's shape"))?;
        if size <= 1 {
            return Ok(y);
        }
        let half = size / 2;
        let [a, b] = [slice(call.context, &y, dim, 0, half, 1)?, slice(call.context, &y, dim, half, 2 * half, 1)?];
        let both = elementwise::product(call, &a, &b)?;
        y = if size % 2 == 0 {
            both
        } else {
            let rest = slice(call.context, &y, dim, size - 1, size, 1)?;
            super::shape::concatenate(call.context, &[both, rest], dim)?
        };
    }
}

pub(super) fn product(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let x = elementwise::numbers(call, &x)?;
    let rank = call.context.rank(&x);
    if rank == 0 {
        return Ok(Item::Tensor(x));
    }
    let (x, dim, target) = match call.has("dim") {
        false => (reshape(call.context, &x, &[None])?, 0, Vec::new()),
        true => {
            let dim = call.dim("dim", rank)?;
            let mut target: Vec<Option<Dim>> = call.context.shape(&x).into_iter().map(Some).collect();
            if call.bool("keepdim")? {
                target[dim] = Some(Dim::Size(1))
            } else {
                drop(target.remove(dim))
            }
            (x, dim, target)
        }
    };
    if call.context.shape(&x)[dim].size() == Some(0) {
        return Err(Error::unsupported("a product of no elements"));
    }
    let y = product_of(call, &x, dim)?;
    reshape(call.context, &y, &target).map(Item::Tensor)
}

/// A combination of each element with all before it along a dimension, in as many steps as the size has digits.
fn accumulated(call: &mut Call, combine: fn(&mut Call, &Operand, &Operand) -> Result<Operand>) -> Result<Operand> {
    let x = call.tensor("self")?;
    let mut y = elementwise::numbers(call, &x)?;
    let rank = call.context.rank(&y);
    if rank == 0 {
        return Ok(y);
    }
    let dim = call.dim("dim", rank)?;
    let size = length(call, &y, dim)?;
    let mut step = 1;
    while step < size {
        let head = slice(call.context, &y, dim, 0, step, 1)?;
        let [tail, before] =
            [slice(call.context, &y, dim, step, size, 1)?, slice(call.context, &y, dim, 0, size - step, 1)?];
        let tail = combine(call, &tail, &before)?;
        y = super::shape::concatenate(call.context, &[head, tail], dim)?;
        step *= 2;
    }
    Ok(y)
}

pub(super) fn cumulative_product(call: &mut Call) -> Result<Item> {
    accumulated(call, elementwise::product).map(Item::Tensor)
}

/// The greatest element so far; its place is not computed.
pub(super) fn cumulative_maximum(call: &mut Call) -> Result<Item> {
    Ok(Item::List(vec![
        Item::Tensor(accumulated(call, |call, a, b| elementwise::extremum_of(call, a, b, 1.0))?),
        Item::None,
    ]))
}

pub(super) fn cumulative_minimum(call: &mut Call) -> Result<Item> {
    Ok(Item::List(vec![
        Item::Tensor(accumulated(call, |call, a, b| elementwise::extremum_of(call, a, b, -1.0))?),
        Item::None,
    ]))
}
