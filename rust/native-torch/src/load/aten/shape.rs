//! Operations that move numbers without changing them. Of known tensors they are other views of the same storage.

use super::{
    call::{Call, resolve},
    constant::Array,
    value::{Constant, Context, Item, Marks, Operand},
};
use crate::{
    Error, Result,
    graph::{Dim, Op, Padding, format_shape},
    tensor::{DType, contiguous_strides},
};

/// The same storage seen through other sizes and strides.
fn view(constant: &Constant, shape: Vec<usize>, strides: Vec<usize>, offset: usize) -> Result<Operand> {
    let tensor = constant.tensor.viewed(shape, strides, offset)?;
    Ok(Operand::Constant(Constant { name: constant.name.clone(), tensor }))
}

/// The dimensions in another order.
pub(super) fn permute(context: &mut Context, x: &Operand, dims: &[usize]) -> Result<Operand> {
    let rank = context.rank(x);
    let mut sorted = dims.to_vec();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..rank) {
        return Err(Error::format(format!("{dims:?} is no order of {rank} dimensions")));
    }
    if dims.iter().copied().eq(0..rank) {
        return Ok(x.clone());
    }
    match x {
        Operand::Constant(constant) => {
            let (shape, strides) = (constant.tensor.shape(), constant.tensor.strides());
            let pick = |list: &[usize]| dims.iter().map(|&dim| list[dim]).collect();
            view(constant, pick(shape), pick(strides), constant.tensor.offset())
        }
        Operand::Computed(value) => {
            let y = Operand::Computed(context.builder.node(Op::Permute { dims: dims.to_vec() }, &[*value])?);
            if let Some(Marks { places, value }) = context.marks(x).cloned() {
                let turned = permute(context, &places.into_operand(&"".into()), dims)?;
                let places = turned.constant().map(Array::of).transpose()?;
                let places = places.ok_or_else(|| Error::internal("a permutation of a known tensor"))?;
                context.mark(&y, Marks { places, value });
            }
            Ok(y)
        }
    }
}

/// Two dimensions exchanged.
pub(super) fn transpose(context: &mut Context, x: &Operand, a: usize, b: usize) -> Result<Operand> {
    let mut dims: Vec<usize> = (0..context.rank(x)).collect();
    if !dims.is_empty() {
        dims.swap(a, b);
    }
    permute(context, x, &dims)
}

/// The same numbers in another shape; one size may be left open.
pub(super) fn reshape(context: &mut Context, x: &Operand, target: &[Option<Dim>]) -> Result<Operand> {
    let shape = context.shape(x);
    let wrong = || {
        let target: Vec<String> =
            target.iter().map(|dim| dim.as_ref().map_or("-1".to_owned(), Dim::to_string)).collect();
        Error::format(format!("a tensor of shape {} cannot be seen as [{}]", format_shape(&shape), target.join(", ")))
    };
    if target.iter().filter(|dim| dim.is_none()).count() > 1 {
        return Err(wrong());
    }
    // An open size is known where all others are.
    let all = shape.iter().try_fold(1usize, |n, dim| n.checked_mul(dim.size()?));
    let others = target.iter().flatten().try_fold(1usize, |n, dim| n.checked_mul(dim.size()?));
    let mut open = Dim::Unknown;
    if let (Some(all), Some(others)) = (all, others) {
        let has_open = target.iter().any(Option::is_none);
        let fits = if has_open { others > 0 && all.is_multiple_of(others) } else { all == others };
        if !fits {
            return Err(wrong());
        }
        open = Dim::Size(all / others.max(1));
    }
    let target: Vec<Dim> = target.iter().map(|dim| dim.clone().unwrap_or_else(|| open.clone())).collect();
    let Operand::Constant(constant) = x else { return reshape_computed(context, x, &shape, &target) };
    let sizes: Vec<usize> = target.iter().map(Dim::size).collect::<Option<_>>().ok_or_else(wrong)?;
    if constant.tensor.shape() == sizes {
        return Ok(x.clone());
    }
    if constant.tensor.strides() == contiguous_strides(constant.tensor.shape()) {
        let strides = contiguous_strides(&sizes);
        return view(constant, sizes, strides, constant.tensor.offset());
    }
    let array = Array::of(constant)?;
    Ok(Array::new(&sizes, array.data, array.dtype).into_operand(&constant.name))
}

/// The dimensions that differ are joined to one and split anew.
fn reshape_computed(context: &mut Context, x: &Operand, shape: &[Dim], target: &[Dim]) -> Result<Operand> {
    let same = |a: &Dim, b: &Dim| *a != Dim::Unknown && a == b;
    let mut first = shape.iter().zip(target).take_while(|(a, b)| same(a, b)).count();
    if first == shape.len() && first == target.len() {
        return Ok(x.clone());
    }
    let rest = shape.len().min(target.len()) - first;
    let mut last = shape.iter().rev().zip(target.iter().rev()).take(rest).take_while(|(a, b)| same(a, b)).count();
    // Dimensions of one are split off from a neighbour, or joined to it.
    if first + last == shape.len() || first + last == target.len() {
        if first > 0 {
            first -= 1;
        } else {
            last = last.saturating_sub(1);
        }
    }
    let (from, to) = (&shape[first..shape.len() - last], &target[first..target.len() - last]);
    let mut y = x.clone();
    if from.len() != 1 {
        let end = (first + from.len()).max(1) - 1;
        y = moved(context, Op::Flatten { start: first, end }, &y)?;
    }
    match to.len() {
        0 => y = moved(context, Op::Sum { dims: vec![first], keepdim: false }, &y)?,
        1 => {}
        _ => y = moved(context, Op::Unflatten { dim: first, sizes: to.iter().map(Dim::size).collect() }, &y)?,
    }
    if let (Some(marks), Some(sizes)) = (context.marks(x), target.iter().map(Dim::size).collect::<Option<Vec<_>>>()) {
        let places = Array::new(&sizes, marks.places.data.clone(), DType::Bool);
        let value = marks.value;
        context.mark(&y, Marks { places, value });
    }
    Ok(y)
}

/// An operation that keeps marked places as they are.
fn moved(context: &mut Context, op: Op, x: &Operand) -> Result<Operand> {
    let value = context.raw(x);
    context.builder.node(op, &[value]).map(Operand::Computed)
}

fn node(context: &mut Context, op: Op, x: &Operand) -> Result<Operand> {
    let value = context.value(x);
    context.builder.node(op, &[value]).map(Operand::Computed)
}

/// Known sizes as a shape for [`reshape`].
pub(super) fn known(sizes: &[usize]) -> Vec<Option<Dim>> {
    sizes.iter().map(|&size| Some(Dim::Size(size))).collect()
}

/// A new dimension of one.
pub(super) fn unsqueeze(context: &mut Context, x: &Operand, at: usize) -> Result<Operand> {
    let Operand::Constant(constant) = x else { return insert_ones(context, x, at, 1) };
    let (mut sizes, mut strides) = (constant.tensor.shape().to_vec(), constant.tensor.strides().to_vec());
    sizes.insert(at, 1);
    strides.insert(at, 1);
    view(constant, sizes, strides, constant.tensor.offset())
}

/// New dimensions of one, also where sizes are not known.
fn insert_ones(context: &mut Context, x: &Operand, at: usize, count: usize) -> Result<Operand> {
    let rank = context.rank(x);
    let ones = || std::iter::repeat_n(Some(1), count);
    let own = context.shape(x);
    let mut y = x.clone();
    let (dim, sizes): (usize, Vec<Option<usize>>) = if rank == 0 {
        y = node(context, Op::Flatten { start: 0, end: 0 }, &y)?;
        (0, ones().collect())
    } else if at > 0 {
        (at - 1, std::iter::once(own[at - 1].size()).chain(ones()).collect())
    } else {
        (0, ones().chain([own[0].size()]).collect())
    };
    if sizes.len() == 1 {
        return Ok(y);
    }
    node(context, Op::Unflatten { dim, sizes }, &y)
}

/// Dimensions removed that have a size of one; others stay.
pub(super) fn squeeze(context: &mut Context, x: &Operand, dims: &[usize]) -> Result<Operand> {
    let shape = context.shape(x);
    let gone = |dim: usize| dims.contains(&dim) && shape[dim].size() == Some(1);
    if let Operand::Constant(constant) = x {
        let keep = |list: &[usize]| (0..list.len()).filter(|&dim| !gone(dim)).map(|dim| list[dim]).collect();
        let tensor = &constant.tensor;
        return view(constant, keep(tensor.shape()), keep(tensor.strides()), tensor.offset());
    }
    let left = |(dim, size): (usize, &Dim)| (!gone(dim)).then(|| Some(size.clone()));
    let target: Vec<Option<Dim>> = shape.iter().enumerate().filter_map(left).collect();
    reshape(context, x, &target)
}

/// Every `step`-th index from `start` to before `end`, both within the size.
pub(super) fn slice(
    context: &mut Context,
    x: &Operand,
    dim: usize,
    start: usize,
    end: usize,
    step: usize,
) -> Result<Operand> {
    let size = context.shape(x)[dim].size();
    if start == 0 && step == 1 && size.is_some_and(|size| end >= size) {
        return Ok(x.clone());
    }
    let Operand::Constant(constant) = x else { return node(context, Op::Slice { dim, start, end, step }, x) };
    let (mut shape, mut strides) = (constant.tensor.shape().to_vec(), constant.tensor.strides().to_vec());
    let start = start.min(shape[dim]);
    let taken = end.min(shape[dim]).saturating_sub(start).div_ceil(step.max(1));
    let offset = constant.tensor.offset() + start * strides[dim];
    shape[dim] = taken;
    strides[dim] = strides[dim].saturating_mul(step);
    view(constant, shape, strides, offset)
}

/// One index of a dimension, which is gone then.
pub(super) fn select(context: &mut Context, x: &Operand, dim: usize, index: i64) -> Result<Operand> {
    let shape = context.shape(x);
    let at = match (usize::try_from(index), shape[dim].size()) {
        (Ok(at), None) => at,
        (_, None) => return Err(Error::argument("an index from the end of a symbolic size; give the input's shape")),
        (_, Some(size)) => {
            let at = if index < 0 { index.saturating_add(size as i64) } else { index };
            let at = usize::try_from(at).ok().filter(|&at| at < size);
            at.ok_or_else(|| Error::format(format!("index {index} of dimension {dim} of {}", format_shape(&shape))))?
        }
    };
    let taken = slice(context, x, dim, at, at + 1, 1)?;
    // A slice of a symbolic size does not know that it has one element.
    if shape[dim].size().is_some() {
        return squeeze(context, &taken, &[dim]);
    }
    node(context, Op::Sum { dims: vec![dim], keepdim: false }, &taken)
}

/// Tensors one after another along a dimension.
pub(super) fn concatenate(context: &mut Context, parts: &[Operand], dim: usize) -> Result<Operand> {
    if let [one] = parts {
        return Ok(one.clone());
    }
    let constants: Option<Vec<&Constant>> = parts.iter().map(Operand::constant).collect();
    let Some(constants) = constants else {
        let values: Vec<_> = parts.iter().map(|part| context.value(part)).collect();
        return context.builder.node(Op::Cat { dim }, &values).map(Operand::Computed);
    };
    let arrays: Vec<Array> = constants.iter().map(|constant| Array::of(constant)).collect::<Result<_>>()?;
    let Some(first) = arrays.first() else { return Err(Error::format("a concatenation of nothing")) };
    let (mut shape, outer): (Vec<usize>, usize) = (first.shape.clone(), first.shape[..dim].iter().product());
    if arrays.iter().any(|array| {
        array.shape.len() != shape.len() || (0..shape.len()).any(|d| d != dim && array.shape[d] != shape[d])
    }) {
        return Err(Error::format(format!("a concatenation of shapes that differ, along dimension {dim}")));
    }
    shape[dim] = arrays.iter().map(|array| array.shape[dim]).sum();
    let mut data = Vec::new();
    for o in 0..outer {
        for array in &arrays {
            let length: usize = array.shape[dim..].iter().product();
            data.extend_from_slice(&array.data[o * length..(o + 1) * length]);
        }
    }
    Ok(Array::new(&shape, data, first.dtype).into_operand(&constants[0].name))
}

/// Dimensions of one repeated to these sizes, and new ones in front; `None` keeps a size.
pub(super) fn expand(context: &mut Context, x: &Operand, target: &[Option<Dim>]) -> Result<Operand> {
    let shape = context.shape(x);
    let wrong = || Error::format(format!("a tensor of shape {} cannot be expanded", format_shape(&shape)));
    let new = target.len().checked_sub(shape.len()).ok_or_else(wrong)?;
    let wanted = |dim: usize| target[new + dim].clone().unwrap_or_else(|| shape[dim].clone());
    if let Operand::Constant(constant) = x {
        let size = |dim: &Option<Dim>, own: usize| match dim {
            None => Ok(own),
            Some(dim) => dim.size().ok_or_else(|| {
                Error::argument("a known tensor is repeated to a symbolic size; give the input's shape")
            }),
        };
        let (own, old) = (constant.tensor.shape(), constant.tensor.strides());
        let (mut sizes, mut strides) = (Vec::new(), Vec::new());
        for (dim, wanted) in target.iter().enumerate() {
            let existing = dim.checked_sub(new);
            let size = size(wanted, existing.map_or(1, |dim| own[dim]))?;
            let kept = existing.filter(|&dim| own[dim] == size);
            if kept.is_none() && existing.is_some_and(|dim| own[dim] != 1) {
                return Err(wrong());
            }
            sizes.push(size);
            strides.push(kept.map_or(0, |dim| old[dim]));
        }
        return view(constant, sizes, strides, constant.tensor.offset());
    }
    let mut y = if new > 0 { insert_ones(context, x, 0, new)? } else { x.clone() };
    for (dim, wanted) in
        (0..new).map(|dim| (dim, target[dim].clone())).chain((0..shape.len()).map(|dim| (new + dim, Some(wanted(dim)))))
    {
        let own = context.shape(&y)[dim].clone();
        let wanted = wanted.ok_or_else(wrong)?;
        if own == wanted || (own.size() != Some(1) && own.agrees(&wanted)) {
            continue;
        }
        let (Some(1), Some(times)) = (own.size(), wanted.size()) else {
            if own.size() == Some(1) {
                return Err(Error::argument("a tensor is repeated to a symbolic size; give the input's shape"));
            }
            return Err(wrong());
        };
        y = repeat(context, &y, dim, times)?;
    }
    Ok(y)
}

/// A tensor so many times after itself along a dimension.
pub(super) fn repeat(context: &mut Context, x: &Operand, dim: usize, times: usize) -> Result<Operand> {
    const LIMIT: usize = 1 << 16;
    match times {
        0 => slice(context, x, dim, 0, 0, 1),
        1..=LIMIT => concatenate(context, &vec![x.clone(); times], dim),
        _ => Err(Error::unsupported(format!("a tensor is repeated {times} times; at most {LIMIT} are"))),
    }
}

/// The given indices of a dimension, in their order; `shape` stands in its place.
pub(super) fn gather(
    context: &mut Context,
    x: &Operand,
    dim: usize,
    indices: &[usize],
    shape: &[usize],
) -> Result<Operand> {
    let rank = context.rank(x);
    if let Operand::Constant(constant) = x {
        let array = Array::of(constant)?;
        let (outer, inner): (usize, usize) =
            (array.shape[..dim].iter().product(), array.shape[dim + 1..].iter().product());
        let mut data = Vec::with_capacity(outer * indices.len() * inner);
        for o in 0..outer {
            for &index in indices {
                data.extend_from_slice(&array.data[(o * array.shape[dim] + index) * inner..][..inner]);
            }
        }
        let sizes = [&array.shape[..dim], shape, &array.shape[dim + 1..]].concat();
        return Ok(Array::new(&sizes, data, array.dtype).into_operand(&constant.name));
    }
    // Runs of neighbours are slices.
    let runs: Vec<&[usize]> = indices.chunk_by(|a, b| a + 1 == *b).collect();
    let along: Operand = if runs.len() <= 8 && !runs.is_empty() {
        let parts = runs.iter().map(|run| slice(context, x, dim, run[0], run[run.len() - 1] + 1, 1));
        let parts = parts.collect::<Result<Vec<_>>>()?;
        concatenate(context, &parts, dim)?
    } else {
        let sizes = context.sizes(x, "an index")?;
        let mut front: Vec<usize> = (0..rank).collect();
        front.remove(dim);
        front.insert(0, dim);
        let turned = permute(context, x, &front)?;
        let width: usize = sizes.iter().product::<usize>() / sizes[dim].max(1);
        let table = reshape(context, &turned, &known(&[sizes[dim], width]))?;
        let rows = Array::new(&[indices.len()], indices.iter().map(|&i| i as f64).collect(), DType::I64);
        let rows = rows.into_operand(&"index".into());
        let values = [context.value(&table), context.value(&rows)];
        let taken = Operand::Computed(context.builder.node(Op::Embedding, &values)?);
        let mut others = sizes.clone();
        others.remove(dim);
        let taken = reshape(context, &taken, &known(&[&[indices.len()], &others[..]].concat()))?;
        let mut back: Vec<usize> = (1..rank).collect();
        back.insert(dim, 0);
        permute(context, &taken, &back)?
    };
    if shape == [indices.len()] {
        return Ok(along);
    }
    let mut target: Vec<Option<Dim>> = context.shape(&along).into_iter().map(Some).collect();
    target.splice(dim..=dim, known(shape));
    reshape(context, &along, &target)
}

/// Where a Python slice begins and ends in a dimension.
fn range(call: &Call, dim: &Dim) -> Result<(usize, usize)> {
    let (start, end) = (call.optional_int("start")?.unwrap_or(0), call.optional_int("end")?.unwrap_or(i64::MAX));
    match dim.size() {
        Some(size) => {
            let clamp =
                |at: i64| (if at < 0 { at.saturating_add(size as i64) } else { at }).clamp(0, size as i64) as usize;
            Ok((clamp(start), clamp(end)))
        }
        None => match (usize::try_from(start), usize::try_from(end)) {
            (Ok(start), Ok(end)) => Ok((start, end)),
            _ => Err(Error::argument("a slice from the end of a symbolic size; give the input's shape")),
        },
    }
}

fn step(call: &Call) -> Result<usize> {
    let step = call.int("step")?;
    usize::try_from(step)
        .ok()
        .filter(|&step| step > 0)
        .ok_or_else(|| Error::format(format!("a slice with the step {step}")))
}

fn tensors(operands: Vec<Operand>) -> Item {
    Item::List(operands.into_iter().map(Item::Tensor).collect())
}

pub(super) fn aten_permute(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let dims = call.dim_list("dims", call.context.rank(&x))?;
    permute(call.context, &x, &dims).map(Item::Tensor)
}

pub(super) fn aten_transpose(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let rank = call.context.rank(&x);
    let (a, b) = (call.dim("dim0", rank)?, call.dim("dim1", rank)?);
    transpose(call.context, &x, a, b).map(Item::Tensor)
}

/// The matrix transposed; vectors stay.
pub(super) fn aten_t(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    match call.context.rank(&x) {
        2 => transpose(call.context, &x, 0, 1).map(Item::Tensor),
        rank if rank < 2 => Ok(Item::Tensor(x)),
        rank => Err(Error::format(format!("the transposed of a tensor of {rank} dimensions"))),
    }
}

/// The last two dimensions exchanged.
pub(super) fn aten_matrix_transpose(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    match call.context.rank(&x) {
        rank if rank < 2 => Err(Error::format("the transposed of less than a matrix")),
        rank => transpose(call.context, &x, rank - 2, rank - 1).map(Item::Tensor),
    }
}

pub(super) fn aten_movedim(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let rank = call.context.rank(&x);
    let (from, to) = (call.dim_list("source", rank)?, call.dim_list("destination", rank)?);
    if from.len() != to.len() {
        return Err(Error::format("source and destination differ in length"));
    }
    let mut rest = (0..rank).filter(|dim| !from.contains(dim));
    let dims: Option<Vec<usize>> =
        (0..rank).map(|dim| to.iter().position(|&t| t == dim).map(|i| from[i]).or_else(|| rest.next())).collect();
    permute(call.context, &x, &dims.ok_or_else(|| Error::internal("an order of dimensions"))?).map(Item::Tensor)
}

pub(super) fn aten_reshape(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let target = call.dims("size")?;
    reshape(call.context, &x, &target).map(Item::Tensor)
}

/// The shape of another tensor.
pub(super) fn aten_reshape_as(call: &mut Call) -> Result<Item> {
    let (x, other) = (call.tensor("self")?, call.tensor("other")?);
    let target: Vec<Option<Dim>> = call.context.shape(&other).into_iter().map(Some).collect();
    reshape(call.context, &x, &target).map(Item::Tensor)
}

pub(super) fn aten_flatten(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let rank = call.context.rank(&x);
    let (start, end) = (call.dim("start_dim", rank)?, call.dim("end_dim", rank)?);
    if start > end {
        return Err(Error::format(format!("dimensions {start} to {end} are flattened")));
    }
    match &x {
        Operand::Computed(_) if rank == 0 || start < end => node(call.context, Op::Flatten { start, end }, &x),
        Operand::Constant(constant) if rank == 0 || start < end => {
            let mut sizes = constant.tensor.shape().to_vec();
            let joined = sizes.iter().skip(start).take(end + 1 - start).product();
            sizes.splice(start..(end + 1).min(rank), [joined]);
            reshape(call.context, &x, &known(&sizes))
        }
        _ => Ok(x),
    }
    .map(Item::Tensor)
}

pub(super) fn aten_unflatten(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let dim = call.dim("dim", call.context.rank(&x))?;
    let sizes = call.dims("sizes")?;
    if let Operand::Computed(_) = x {
        let sizes = sizes.into_iter().map(|size| size.and_then(|size| size.size())).collect();
        return node(call.context, Op::Unflatten { dim, sizes }, &x).map(Item::Tensor);
    }
    let mut target: Vec<Option<Dim>> = call.context.shape(&x).into_iter().map(Some).collect();
    target.splice(dim..=dim, sizes);
    reshape(call.context, &x, &target).map(Item::Tensor)
}

pub(super) fn aten_unsqueeze(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let at = call.dim("dim", call.context.rank(&x) + 1)?;
    unsqueeze(call.context, &x, at).map(Item::Tensor)
}

pub(super) fn aten_squeeze(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let rank = call.context.rank(&x);
    let dims = if call.has("dim") { call.dim_list("dim", rank)? } else { (0..rank).collect() };
    if rank == 0 {
        return Ok(Item::Tensor(x));
    }
    squeeze(call.context, &x, &dims).map(Item::Tensor)
}

pub(super) fn aten_slice(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let dim = call.dim("dim", call.context.rank(&x))?;
    let (start, end) = range(call, &call.context.shape(&x)[dim])?;
    let step = step(call)?;
    slice(call.context, &x, dim, start, end, step).map(Item::Tensor)
}

pub(super) fn aten_narrow(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let dim = call.dim("dim", call.context.rank(&x))?;
    let (start, length) = (call.int("start")?, call.int("length")?);
    let size = call.context.shape(&x)[dim].size();
    let start = if start < 0 { size.map_or(start, |size| start.saturating_add(size as i64)) } else { start };
    match (usize::try_from(start), usize::try_from(length)) {
        (Ok(start), Ok(length)) => {
            slice(call.context, &x, dim, start, start.saturating_add(length), 1).map(Item::Tensor)
        }
        _ => Err(Error::format(format!("{length} elements from {start} on"))),
    }
}

pub(super) fn aten_select(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let dim = call.dim("dim", call.context.rank(&x))?;
    let index = call.int("index")?;
    select(call.context, &x, dim, index).map(Item::Tensor)
}

/// The tensor with a part of it replaced: the slice of a dimension, or one index of it.
fn replaced(
    context: &mut Context,
    x: &Operand,
    part: &Operand,
    dim: usize,
    start: usize,
    end: usize,
) -> Result<Operand> {
    let sizes = context.sizes(x, "a part that is replaced")?;
    let before = slice(context, x, dim, 0, start, 1)?;
    let behind = slice(context, x, dim, end, sizes[dim], 1)?;
    let pieces: Vec<Operand> = [(before, start), (part.clone(), end - start), (behind, sizes[dim] - end)]
        .into_iter()
        .filter(|(_, length)| *length > 0)
        .map(|(piece, _)| piece)
        .collect();
    concatenate(context, &pieces, dim)
}

pub(super) fn aten_slice_scatter(call: &mut Call) -> Result<Item> {
    let (x, part) = (call.tensor("self")?, call.tensor("src")?);
    let dim = call.dim("dim", call.context.rank(&x))?;
    if call.int("step")? != 1 {
        return Err(Error::unsupported("every second or later element is replaced; slices with a step of 1 are"));
    }
    let (start, end) = range(call, &call.context.shape(&x)[dim])?;
    let mut shape: Vec<Option<Dim>> = call.context.shape(&x).into_iter().map(Some).collect();
    shape[dim] = Some(Dim::Size(end.saturating_sub(start)));
    let part = expand(call.context, &part, &shape)?;
    replaced(call.context, &x, &part, dim, start, end.max(start)).map(Item::Tensor)
}

pub(super) fn aten_select_scatter(call: &mut Call) -> Result<Item> {
    let (x, part) = (call.tensor("self")?, call.tensor("src")?);
    let dim = call.dim("dim", call.context.rank(&x))?;
    let size = call.context.sizes(&x, "a part that is replaced")?[dim];
    let at = Array::new(&[1], vec![call.int("index")? as f64], DType::I64).indices(size)?[0];
    let part = unsqueeze(call.context, &part, dim)?;
    replaced(call.context, &x, &part, dim, at, at + 1).map(Item::Tensor)
}

/// Pieces of these lengths.
fn split(call: &mut Call, x: &Operand, dim: usize, lengths: &[usize]) -> Result<Item> {
    let mut start = 0;
    let mut parts = Vec::new();
    for &length in lengths {
        parts.push(slice(call.context, x, dim, start, start.saturating_add(length), 1)?);
        start = start.saturating_add(length);
    }
    Ok(tensors(parts))
}

pub(super) fn aten_split_with_sizes(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let dim = call.dim("dim", call.context.rank(&x))?;
    let lengths = call.sizes("split_sizes")?;
    let size = call.context.shape(&x)[dim].size();
    if size.is_some_and(|size| lengths.iter().fold(0usize, |sum, &l| sum.saturating_add(l)) != size) {
        return Err(Error::format(format!("pieces of {lengths:?} of a dimension of {}", size.unwrap_or(0))));
    }
    split(call, &x, dim, &lengths)
}

/// The lengths of pieces of at most this length.
fn lengths(size: usize, length: usize) -> Result<Vec<usize>> {
    const LIMIT: usize = 1 << 20;
    if length == 0 || size / length > LIMIT {
        return Err(Error::format(format!("a dimension of {size} in pieces of {length}")));
    }
    Ok((0..size.div_ceil(length).max(1)).map(|i| length.min(size - (i * length).min(size))).collect())
}

pub(super) fn aten_split(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let dim = call.dim("dim", call.context.rank(&x))?;
    let size = call.context.shape(&x)[dim].size();
    let size = size.ok_or_else(|| Error::argument("a symbolic size is split; give the input's shape"))?;
    let length = usize::try_from(call.int("split_size")?).unwrap_or(0);
    let lengths = lengths(size, length)?;
    split(call, &x, dim, &lengths)
}

pub(super) fn aten_chunk(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let dim = call.dim("dim", call.context.rank(&x))?;
    let size = call.context.shape(&x)[dim].size();
    let size = size.ok_or_else(|| Error::argument("a symbolic size is split; give the input's shape"))?;
    let chunks = usize::try_from(call.int("chunks")?).ok().filter(|&chunks| chunks > 0);
    let chunks = chunks.ok_or_else(|| Error::format("argument `chunks` must be positive"))?;
    let lengths = lengths(size, size.div_ceil(chunks).max(1))?;
    split(call, &x, dim, &lengths)
}

/// So many pieces, of which the first ones are longer by one where they are not all the same.
pub(super) fn aten_tensor_split(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let dim = call.dim("dim", call.context.rank(&x))?;
    let size = call.context.shape(&x)[dim].size();
    let size = size.ok_or_else(|| Error::argument("a symbolic size is split; give the input's shape"))?;
    let count = usize::try_from(call.int("sections")?).ok().filter(|count| (1..=1 << 20).contains(count));
    let count = count.ok_or_else(|| Error::format("argument `sections` must be positive"))?;
    let lengths: Vec<usize> = (0..count).map(|i| size / count + usize::from(i < size % count)).collect();
    split(call, &x, dim, &lengths)
}

pub(super) fn aten_unbind(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let dim = call.dim("dim", call.context.rank(&x))?;
    let size = call.context.shape(&x)[dim].size();
    let size = size.ok_or_else(|| Error::argument("a symbolic size is split; give the input's shape"))?;
    lengths(size, 1)?;
    let parts = (0..size).map(|i| select(call.context, &x, dim, i as i64));
    parts.collect::<Result<Vec<_>>>().map(tensors)
}

pub(super) fn aten_cat(call: &mut Call) -> Result<Item> {
    let parts = call.tensors("tensors")?;
    // torch passes over empty tensors of rank 1, whatever the rank of the others.
    let is_empty = |part: &Operand| call.context.shape(part) == [Dim::Size(0)];
    let several = parts.iter().any(|part| !is_empty(part));
    let parts: Vec<Operand> = parts.iter().filter(|part| !several || !is_empty(part)).cloned().collect();
    let first = parts.first().ok_or_else(|| Error::format("a concatenation of nothing"))?;
    let dim = call.dim("dim", call.context.rank(first))?;
    concatenate(call.context, &parts, dim).map(Item::Tensor)
}

pub(super) fn aten_stack(call: &mut Call) -> Result<Item> {
    let parts = call.tensors("tensors")?;
    let first = parts.first().ok_or_else(|| Error::format("a stack of nothing"))?;
    let dim = call.dim("dim", call.context.rank(first) + 1)?;
    let parts = parts.iter().map(|part| unsqueeze(call.context, part, dim)).collect::<Result<Vec<_>>>()?;
    concatenate(call.context, &parts, dim).map(Item::Tensor)
}

pub(super) fn aten_expand(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let target = call.dims("size")?;
    expand(call.context, &x, &target).map(Item::Tensor)
}

pub(super) fn aten_expand_as(call: &mut Call) -> Result<Item> {
    let (x, other) = (call.tensor("self")?, call.tensor("other")?);
    let target: Vec<Option<Dim>> = call.context.shape(&other).into_iter().map(Some).collect();
    expand(call.context, &x, &target).map(Item::Tensor)
}

pub(super) fn aten_repeat(call: &mut Call) -> Result<Item> {
    let mut x = call.tensor("self")?;
    let times = call.sizes("repeats")?;
    let new = times.len().checked_sub(call.context.rank(&x));
    let new = new.ok_or_else(|| Error::format("there are fewer repeats than dimensions"))?;
    for _ in 0..new {
        x = unsqueeze(call.context, &x, 0)?;
    }
    for (dim, &times) in times.iter().enumerate() {
        x = repeat(call.context, &x, dim, times)?;
    }
    Ok(Item::Tensor(x))
}

pub(super) fn aten_roll(call: &mut Call) -> Result<Item> {
    let mut x = call.tensor("self")?;
    let sizes = call.context.sizes(&x, "a roll")?;
    let (shifts, dims) = (call.ints("shifts")?, call.dim_list("dims", sizes.len())?);
    if dims.is_empty() && shifts.len() == 1 {
        let flat = reshape(call.context, &x, &[None])?;
        let rolled = roll(call.context, &flat, 0, shifts[0], sizes.iter().product())?;
        return reshape(call.context, &rolled, &known(&sizes)).map(Item::Tensor);
    }
    if dims.len() != shifts.len() {
        return Err(Error::format("shifts and dims differ in length"));
    }
    for (&dim, &shift) in dims.iter().zip(&shifts) {
        x = roll(call.context, &x, dim, shift, sizes[dim])?;
    }
    Ok(Item::Tensor(x))
}

fn roll(context: &mut Context, x: &Operand, dim: usize, shift: i64, size: usize) -> Result<Operand> {
    let shift = shift.rem_euclid(size.max(1) as i64) as usize;
    if shift == 0 {
        return Ok(x.clone());
    }
    let parts = [slice(context, x, dim, size - shift, size, 1)?, slice(context, x, dim, 0, size - shift, 1)?];
    concatenate(context, &parts, dim)
}

pub(super) fn aten_flip(call: &mut Call) -> Result<Item> {
    let mut x = call.tensor("self")?;
    let sizes = call.context.sizes(&x, "a flip")?;
    for dim in call.dim_list("dims", sizes.len())? {
        let back: Vec<usize> = (0..sizes[dim]).rev().collect();
        x = gather(call.context, &x, dim, &back, &[back.len()])?;
    }
    Ok(Item::Tensor(x))
}

/// A view by strides of a tensor without gaps, where it is one of its shapes or of its orders of dimensions.
pub(super) fn aten_as_strided(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let (sizes, strides) = (call.sizes("size")?, call.sizes("stride")?);
    let offset = call.optional_int("storage_offset")?.unwrap_or(0);
    let own = call.context.sizes(&x, "as_strided")?;
    let count = |sizes: &[usize]| sizes.iter().try_fold(1usize, |n, &size| n.checked_mul(size));
    let refusal = || {
        Error::unsupported(format!(
            "a tensor of shape {own:?} is seen with sizes {sizes:?}, strides {strides:?} and offset {offset}; only all of its \
             elements in another shape or order are"
        ))
    };
    if sizes.len() != strides.len() || offset != 0 || count(&sizes) != count(&own) {
        return Err(refusal());
    }
    // The dimensions in the order of memory: those with the greatest strides first.
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&dim| (std::cmp::Reverse(strides[dim]), dim));
    let dense: Vec<usize> = order.iter().map(|&dim| sizes[dim]).collect();
    let expected = contiguous_strides(&dense);
    if order.iter().zip(&expected).any(|(&dim, &stride)| sizes[dim] > 1 && strides[dim] != stride) {
        return Err(refusal());
    }
    let y = reshape(call.context, &x, &known(&dense))?;
    let mut back = vec![0; order.len()];
    order.iter().enumerate().for_each(|(at, &dim)| back[dim] = at);
    permute(call.context, &y, &back).map(Item::Tensor)
}

/// The indices that lists of known integers name, where one dimension is indexed or neighbours are.
pub(super) fn aten_index(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let given = call.optional_tensors("indices")?;
    let sizes = call.context.sizes(&x, "an index")?;
    if given.len() > sizes.len() {
        return Err(Error::format(format!("{} indices of a tensor of {} dimensions", given.len(), sizes.len())));
    }
    let mut places = Vec::new();
    for (dim, index) in given.iter().enumerate() {
        let Some(index) = index else { continue };
        let Some(constant) = index.constant() else {
            return Err(Error::unsupported("an index that depends on the input"));
        };
        let array = Array::of(constant)?;
        if array.dtype == DType::Bool {
            return Err(Error::unsupported("an index of bools, which gives as many elements as are true"));
        }
        places.push((dim, array));
    }
    let (Some(&(first, _)), Some(&(last, _))) = (places.first(), places.last()) else { return Ok(Item::Tensor(x)) };
    if last + 1 - first != places.len() {
        return Err(Error::unsupported("indices of dimensions that are not neighbours"));
    }
    // Neighbours become one dimension, and their indices one.
    let mut shape = Vec::new();
    for (_, array) in &places {
        shape = super::constant::broadcast(&shape, &array.shape)?;
    }
    let mut flat = vec![0usize; shape.iter().product()];
    for (dim, array) in &places {
        let indices = array.repeated(&shape)?.indices(sizes[*dim])?;
        flat.iter_mut().zip(indices).for_each(|(flat, index)| *flat = *flat * sizes[*dim] + index);
    }
    let joined: usize = sizes[first..=last].iter().product();
    let table = reshape(call.context, &x, &known(&[&sizes[..first], &[joined], &sizes[last + 1..]].concat()))?;
    gather(call.context, &table, first, &flat, &shape).map(Item::Tensor)
}

pub(super) fn aten_index_select(call: &mut Call) -> Result<Item> {
    let (x, index) = (call.tensor("self")?, call.tensor("index")?);
    let dim = call.dim("dim", call.context.rank(&x))?;
    let size = call.context.sizes(&x, "an index")?[dim];
    let Some(constant) = index.constant() else {
        return Err(Error::unsupported("an index that depends on the input"));
    };
    let indices = Array::of(constant)?.indices(size)?;
    gather(call.context, &x, dim, &indices, &[indices.len()]).map(Item::Tensor)
}

/// Rows of a table.
pub(super) fn aten_embedding(call: &mut Call) -> Result<Item> {
    let (table, indices) = (call.tensor("weight")?, call.tensor("indices")?);
    if let Some(constant) = indices.constant() {
        let rows = call.context.sizes(&table, "an embedding")?.first().copied().unwrap_or(0);
        let array = Array::of(constant)?;
        let found = array.indices(rows)?;
        return gather(call.context, &table, 0, &found, &array.shape).map(Item::Tensor);
    }
    call.node(Op::Embedding, &[&table, &indices]).map(Item::Tensor)
}

/// What torch calls padding: pairs from the last dimension on.
pub(super) fn pad(call: &mut Call, x: &Operand, name: &str, padding: Padding) -> Result<Operand> {
    let amounts = call.ints(name)?;
    let rank = call.context.rank(x);
    if !amounts.len().is_multiple_of(2) || amounts.len() / 2 > rank {
        return Err(Error::format(format!("{} amounts of padding for {rank} dimensions", amounts.len())));
    }
    let amount = |amount: i64| isize::try_from(amount).map_err(|_| Error::format("the padding is too large"));
    let pairs = amounts.chunks_exact(2).rev().map(|pair| Ok((amount(pair[0])?, amount(pair[1])?)));
    let amounts = pairs.collect::<Result<Vec<_>>>()?;
    if amounts.iter().all(|&pair| pair == (0, 0)) {
        return Ok(x.clone());
    }
    let (Some(constant), Padding::Constant(value)) = (x.constant(), padding) else {
        return node(call.context, Op::Pad { amounts, padding }, x);
    };
    // Of known integers there is no operation of the graph.
    let mut array = Array::of(constant)?;
    let first = rank - amounts.len();
    for (i, &(before, after)) in amounts.iter().enumerate() {
        let dim = first + i;
        let size = array.shape[dim] as isize;
        let (inner, outer): (usize, usize) =
            (array.shape[dim + 1..].iter().product(), array.shape[..dim].iter().product());
        let mut shape = array.shape.clone();
        shape[dim] = usize::try_from(size.saturating_add(before).saturating_add(after))
            .map_err(|_| Error::format("the padding takes more than there is"))?;
        let mut padded = Array::full(&shape, value, array.dtype)?;
        for o in 0..outer {
            for to in 0..shape[dim] {
                let from = to as isize - before;
                if (0..size).contains(&from) {
                    let (from, to) = ((o * size as usize + from as usize) * inner, (o * shape[dim] + to) * inner);
                    padded.data[to..to + inner].copy_from_slice(&array.data[from..from + inner]);
                }
            }
        }
        array = padded;
    }
    Ok(array.into_operand(&constant.name))
}

pub(super) fn aten_constant_pad(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let value = call.float("value")?;
    pad(call, &x, "pad", Padding::Constant(value)).map(Item::Tensor)
}

pub(super) fn aten_pad(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let padding = match &*call.text("mode")? {
        "constant" => Padding::Constant(call.optional_float("value")?.unwrap_or(0.0)),
        "reflect" => Padding::Reflect,
        "replicate" => Padding::Replicate,
        "circular" => Padding::Circular,
        other => return Err(Error::unsupported(format!("padding of the mode `{}`", other.escape_debug()))),
    };
    pad(call, &x, "pad", padding).map(Item::Tensor)
}

pub(super) fn aten_reflection_pad(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    pad(call, &x, "padding", Padding::Reflect).map(Item::Tensor)
}

pub(super) fn aten_replication_pad(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    pad(call, &x, "padding", Padding::Replicate).map(Item::Tensor)
}

/// The tensor itself: copies, memory formats, dropout in evaluation.
pub(super) fn aten_same(call: &mut Call) -> Result<Item> {
    call.tensor(call.parameters[0]).map(Item::Tensor)
}

/// Dropout, which the program must have switched off.
pub(super) fn aten_dropout(call: &mut Call) -> Result<Item> {
    if call.bool("train")? && call.float("p")? != 0.0 {
        return Err(Error::unsupported(
            "dropout in training mode, which gives other numbers in each call; call model.eval() before exporting",
        ));
    }
    call.tensor("input").map(Item::Tensor)
}

/// The size of a dimension.
pub(super) fn aten_sym_size(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let dim = call.dim("dim", call.context.rank(&x))?;
    Ok(call.context.shape(&x).get(dim).map_or(Item::Int(1), Item::size))
}

/// The number of elements.
pub(super) fn aten_sym_numel(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let sizes: Option<Vec<usize>> = call.context.shape(&x).iter().map(Dim::size).collect();
    let count = sizes.map(|sizes| sizes.iter().product::<usize>());
    Ok(count.map_or(Item::Size(Dim::Unknown), |count| Item::Int(i64::try_from(count).unwrap_or(i64::MAX))))
}

/// Undoes a view for what is written into it: the tensor that is seen, with the numbers of the view.
pub(super) fn write_back(
    context: &mut Context,
    operation: &str,
    x: &Operand,
    view: &[Item],
    new: &Operand,
) -> Result<Operand> {
    let rank = context.rank(x);
    let int = |at: usize| match view.get(at) {
        Some(Item::Int(value)) => Some(*value),
        _ => None,
    };
    let ints = |at: usize| match view.get(at) {
        Some(Item::List(items)) => {
            items.iter().map(|item| if let Item::Int(v) = item { Some(*v) } else { None }).collect()
        }
        Some(Item::Int(value)) => Some(vec![*value]),
        _ => None,
    };
    let refusal = || {
        Error::unsupported(format!(
            "it writes in place into what {operation} made of another tensor; write `x = x.op()` instead of `x.op_()` there"
        ))
    };
    match operation {
        "permute" => {
            let dims: Vec<i64> = ints(1).ok_or_else(refusal)?;
            let dims = dims.into_iter().map(|dim| resolve(dim, rank)).collect::<Result<Vec<_>>>()?;
            let mut back = vec![0; rank];
            dims.iter().enumerate().for_each(|(to, &from)| back[from] = to);
            permute(context, new, &back)
        }
        "transpose" | "swapaxes" | "swapdims" => {
            let (a, b) = int(1).zip(int(2)).ok_or_else(refusal)?;
            let (a, b) = (resolve(a, rank)?, resolve(b, rank)?);
            transpose(context, new, a, b)
        }
        "t" => transpose(context, new, 0, 1.min(rank.saturating_sub(1))),
        "slice" => {
            let dim = resolve(int(1).unwrap_or(0), rank)?;
            let size = context.sizes(x, "a part that is replaced")?[dim] as i64;
            let bound = |at: usize, missing: i64| {
                let at = int(at).unwrap_or(missing);
                (if at < 0 { at.saturating_add(size) } else { at }).clamp(0, size) as usize
            };
            let (start, end) = (bound(2, 0), bound(3, size));
            if int(4).unwrap_or(1) != 1 {
                return Err(refusal());
            }
            replaced(context, x, new, dim, start, end.max(start))
        }
        "select" => {
            let dim = resolve(int(1).unwrap_or(0), rank)?;
            let size = context.sizes(x, "a part that is replaced")?[dim];
            let at = Array::new(&[1], vec![int(2).unwrap_or(0) as f64], DType::I64).indices(size)?[0];
            let new = unsqueeze(context, new, dim)?;
            replaced(context, x, &new, dim, at, at + 1)
        }
        "expand" | "expand_as" | "split" | "split_with_sizes" | "chunk" | "tensor_split" | "unbind" | "as_strided"
        | "movedim" => Err(refusal()),
        // The others keep all elements in their order.
        _ => {
            let target: Vec<Option<Dim>> = context.shape(x).into_iter().map(Some).collect();
            reshape(context, new, &target)
        }
    }
}
