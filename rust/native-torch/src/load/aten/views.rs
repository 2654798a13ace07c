//! Rules of the operations that move numbers without changing them: views, pieces, indices, padding.

use super::{
    call::{Call, resolve},
    constant::Array,
    places::diagonal_of,
    shape,
    value::{Context, Item, Operand},
};
use crate::{
    Error, Result,
    graph::{Dim, Op, Padding},
    tensor::DType,
};

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

pub(super) fn permute(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let dims = call.dim_list("dims", call.context.rank(&x))?;
    shape::permute(call.context, &x, &dims).map(Item::Tensor)
}

pub(super) fn transpose(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let rank = call.context.rank(&x);
    let (a, b) = (call.dim("dim0", rank)?, call.dim("dim1", rank)?);
    shape::transpose(call.context, &x, a, b).map(Item::Tensor)
}

/// The matrix transposed; vectors stay.
pub(super) fn t(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    match call.context.rank(&x) {
        2 => shape::transpose(call.context, &x, 0, 1).map(Item::Tensor),
        rank if rank < 2 => Ok(Item::Tensor(x)),
        rank => Err(Error::format(format!("the transposed of a tensor of {rank} dimensions"))),
    }
}

/// All dimensions in the opposite order.
pub(super) fn reversed(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let dims: Vec<usize> = (0..call.context.rank(&x)).rev().collect();
    shape::permute(call.context, &x, &dims).map(Item::Tensor)
}

/// All elements in one dimension.
pub(super) fn ravel(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    shape::reshape(call.context, &x, &[None]).map(Item::Tensor)
}

/// The last two dimensions exchanged.
pub(super) fn matrix_transpose(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    match call.context.rank(&x) {
        rank if rank < 2 => Err(Error::format("the transposed of less than a matrix")),
        rank => shape::transpose(call.context, &x, rank - 2, rank - 1).map(Item::Tensor),
    }
}

pub(super) fn movedim(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let rank = call.context.rank(&x);
    let (from, to) = (call.dim_list("source", rank)?, call.dim_list("destination", rank)?);
    if from.len() != to.len() {
        return Err(Error::format("source and destination differ in length"));
    }
    let mut rest = (0..rank).filter(|dim| !from.contains(dim));
    let dims: Option<Vec<usize>> =
        (0..rank).map(|dim| to.iter().position(|&t| t == dim).map(|i| from[i]).or_else(|| rest.next())).collect();
    shape::permute(call.context, &x, &dims.ok_or_else(|| Error::internal("an order of dimensions"))?).map(Item::Tensor)
}

pub(super) fn reshape(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let target = call.dims("size")?;
    shape::reshape(call.context, &x, &target).map(Item::Tensor)
}

/// The shape of another tensor.
pub(super) fn reshape_as(call: &mut Call) -> Result<Item> {
    let (x, other) = (call.tensor("self")?, call.tensor("other")?);
    let target: Vec<Option<Dim>> = call.context.shape(&other).into_iter().map(Some).collect();
    shape::reshape(call.context, &x, &target).map(Item::Tensor)
}

pub(super) fn flatten(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let rank = call.context.rank(&x);
    let (start, end) = (call.dim("start_dim", rank)?, call.dim("end_dim", rank)?);
    if start > end {
        return Err(Error::format(format!("dimensions {start} to {end} are flattened")));
    }
    match &x {
        Operand::Computed(_) if rank == 0 || start < end => shape::node(call.context, Op::Flatten { start, end }, &x),
        Operand::Constant(constant) if rank == 0 || start < end => {
            let mut sizes = constant.tensor.shape().to_vec();
            let joined = sizes.iter().skip(start).take(end + 1 - start).product();
            sizes.splice(start..(end + 1).min(rank), [joined]);
            shape::reshape(call.context, &x, &shape::known(&sizes))
        }
        _ => Ok(x),
    }
    .map(Item::Tensor)
}

pub(super) fn unflatten(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let dim = call.dim("dim", call.context.rank(&x))?;
    let sizes = call.dims("sizes")?;
    if let Operand::Computed(_) = x {
        let sizes = sizes.into_iter().map(|size| size.and_then(|size| size.size())).collect();
        return shape::node(call.context, Op::Unflatten { dim, sizes }, &x).map(Item::Tensor);
    }
    let mut target: Vec<Option<Dim>> = call.context.shape(&x).into_iter().map(Some).collect();
    target.splice(dim..=dim, sizes);
    shape::reshape(call.context, &x, &target).map(Item::Tensor)
}

pub(super) fn unsqueeze(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let at = call.dim("dim", call.context.rank(&x) + 1)?;
    shape::unsqueeze(call.context, &x, at).map(Item::Tensor)
}

pub(super) fn squeeze(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let rank = call.context.rank(&x);
    let dims = if call.has("dim") { call.dim_list("dim", rank)? } else { (0..rank).collect() };
    if rank == 0 {
        return Ok(Item::Tensor(x));
    }
    shape::squeeze(call.context, &x, &dims).map(Item::Tensor)
}

pub(super) fn slice(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let dim = call.dim("dim", call.context.rank(&x))?;
    let (start, end) = range(call, &call.context.shape(&x)[dim])?;
    let step = step(call)?;
    shape::slice(call.context, &x, dim, start, end, step).map(Item::Tensor)
}

pub(super) fn narrow(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let dim = call.dim("dim", call.context.rank(&x))?;
    let (start, length) = (call.int("start")?, call.int("length")?);
    let size = call.context.shape(&x)[dim].size();
    let start = if start < 0 { size.map_or(start, |size| start.saturating_add(size as i64)) } else { start };
    match (usize::try_from(start), usize::try_from(length)) {
        (Ok(start), Ok(length)) => {
            shape::slice(call.context, &x, dim, start, start.saturating_add(length), 1).map(Item::Tensor)
        }
        _ => Err(Error::format(format!("{length} elements from {start} on"))),
    }
}

pub(super) fn select(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let dim = call.dim("dim", call.context.rank(&x))?;
    let index = call.int("index")?;
    shape::select(call.context, &x, dim, index).map(Item::Tensor)
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
    let before = shape::slice(context, x, dim, 0, start, 1)?;
    let behind = shape::slice(context, x, dim, end, sizes[dim], 1)?;
    let pieces: Vec<Operand> = [(before, start), (part.clone(), end - start), (behind, sizes[dim] - end)]
        .into_iter()
        .filter(|(_, length)| *length > 0)
        .map(|(piece, _)| piece)
        .collect();
    shape::concatenate(context, &pieces, dim)
}

/// The same with a distance between the indices.
fn replaced_in_steps(
    context: &mut Context,
    x: &Operand,
    part: &Operand,
    dim: usize,
    [start, end, step]: [usize; 3],
) -> Result<Operand> {
    if step == 1 {
        return replaced(context, x, part, dim, start, end);
    }
    let sizes = context.sizes(x, "a part that is replaced")?;
    let mut from: Vec<usize> = (0..sizes[dim]).collect();
    (start..end).step_by(step).enumerate().for_each(|(i, to)| from[to] = sizes[dim] + i);
    let both = shape::concatenate(context, &[x.clone(), part.clone()], dim)?;
    shape::gather(context, &both, dim, &from, &[from.len()])
}

pub(super) fn slice_scatter(call: &mut Call) -> Result<Item> {
    let (x, part) = (call.tensor("self")?, call.tensor("src")?);
    let dim = call.dim("dim", call.context.rank(&x))?;
    let (start, end) = range(call, &call.context.shape(&x)[dim])?;
    let step = step(call)?;
    let mut shape: Vec<Option<Dim>> = call.context.shape(&x).into_iter().map(Some).collect();
    shape[dim] = Some(Dim::Size(end.saturating_sub(start).div_ceil(step)));
    let part = shape::expand(call.context, &part, &shape)?;
    replaced_in_steps(call.context, &x, &part, dim, [start, end.max(start), step]).map(Item::Tensor)
}

pub(super) fn select_scatter(call: &mut Call) -> Result<Item> {
    let (x, part) = (call.tensor("self")?, call.tensor("src")?);
    let dim = call.dim("dim", call.context.rank(&x))?;
    let size = call.context.sizes(&x, "a part that is replaced")?[dim];
    let at = Array::new(&[1], vec![call.int("index")? as f64], DType::I64).indices(size)?[0];
    let part = shape::unsqueeze(call.context, &part, dim)?;
    replaced(call.context, &x, &part, dim, at, at + 1).map(Item::Tensor)
}

/// Pieces of these lengths.
fn pieces(call: &mut Call, x: &Operand, dim: usize, lengths: &[usize]) -> Result<Item> {
    let mut start = 0;
    let mut parts = Vec::new();
    for &length in lengths {
        parts.push(shape::slice(call.context, x, dim, start, start.saturating_add(length), 1)?);
        start = start.saturating_add(length);
    }
    Ok(tensors(parts))
}

pub(super) fn split_with_sizes(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let dim = call.dim("dim", call.context.rank(&x))?;
    let lengths = call.sizes("split_sizes")?;
    let size = call.context.shape(&x)[dim].size();
    if size.is_some_and(|size| lengths.iter().fold(0usize, |sum, &l| sum.saturating_add(l)) != size) {
        return Err(Error::format(format!("pieces of {lengths:?} of a dimension of {}", size.unwrap_or(0))));
    }
    pieces(call, &x, dim, &lengths)
}

/// The lengths of pieces of at most this length.
fn lengths(size: usize, length: usize) -> Result<Vec<usize>> {
    const LIMIT: usize = 1 << 20;
    if length == 0 || size / length > LIMIT {
        return Err(Error::format(format!("a dimension of {size} in pieces of {length}")));
    }
    Ok((0..size.div_ceil(length).max(1)).map(|i| length.min(size - (i * length).min(size))).collect())
}

pub(super) fn split(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let dim = call.dim("dim", call.context.rank(&x))?;
    let size = call.context.shape(&x)[dim].size();
    let size = size.ok_or_else(|| Error::argument("a symbolic size is split; give the input's shape"))?;
    let length = usize::try_from(call.int("split_size")?).unwrap_or(0);
    let lengths = lengths(size, length)?;
    pieces(call, &x, dim, &lengths)
}

pub(super) fn chunk(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let dim = call.dim("dim", call.context.rank(&x))?;
    let size = call.context.shape(&x)[dim].size();
    let size = size.ok_or_else(|| Error::argument("a symbolic size is split; give the input's shape"))?;
    let chunks = usize::try_from(call.int("chunks")?).ok().filter(|&chunks| chunks > 0);
    let chunks = chunks.ok_or_else(|| Error::format("argument `chunks` must be positive"))?;
    let lengths = lengths(size, size.div_ceil(chunks).max(1))?;
    pieces(call, &x, dim, &lengths)
}

/// So many pieces, of which the first ones are longer by one where they are not all the same.
pub(super) fn tensor_split(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let dim = call.dim("dim", call.context.rank(&x))?;
    let size = call.context.shape(&x)[dim].size();
    let size = size.ok_or_else(|| Error::argument("a symbolic size is split; give the input's shape"))?;
    let count = usize::try_from(call.int("sections")?).ok().filter(|count| (1..=1 << 20).contains(count));
    let count = count.ok_or_else(|| Error::format("argument `sections` must be positive"))?;
    let lengths: Vec<usize> = (0..count).map(|i| size / count + usize::from(i < size % count)).collect();
    pieces(call, &x, dim, &lengths)
}

/// Pieces between these indices.
pub(super) fn tensor_split_at(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let dim = call.dim("dim", call.context.rank(&x))?;
    let size = call.context.sizes(&x, "a split")?[dim] as i64;
    let mut parts = Vec::new();
    let mut start = 0;
    for end in call.ints("indices")?.into_iter().map(Some).chain([None]) {
        let end = end.map_or(size, |end| (if end < 0 { end + size } else { end }).clamp(0, size)) as usize;
        parts.push(shape::slice(call.context, &x, dim, start, end.max(start), 1)?);
        start = end;
    }
    Ok(tensors(parts))
}

/// Tensors repeated to their common shape.
pub(super) fn broadcast_tensors(call: &mut Call) -> Result<Item> {
    let parts = call.tensors("tensors")?;
    let mut common = Vec::new();
    for part in &parts {
        common = super::constant::broadcast(&common, &call.context.sizes(part, "a common shape")?)?;
    }
    let parts = parts.iter().map(|part| shape::expand(call.context, part, &shape::known(&common)));
    parts.collect::<Result<Vec<_>>>().map(tensors)
}

/// Vectors repeated along the dimensions of all others.
pub(super) fn meshgrid(call: &mut Call) -> Result<Item> {
    let parts = call.tensors("tensors")?;
    let turned = call.has("indexing") && &*call.text("indexing")? == "xy" && parts.len() >= 2;
    let sizes: Vec<usize> =
        parts.iter().map(|part| Ok(call.context.sizes(part, "a grid")?.iter().product())).collect::<Result<_>>()?;
    let mut grids = Vec::new();
    for (dim, part) in parts.iter().enumerate() {
        let mut own = vec![1; sizes.len()];
        own[dim] = sizes[dim];
        let grid = shape::reshape(call.context, part, &shape::known(&own))?;
        let grid = shape::expand(call.context, &grid, &shape::known(&sizes))?;
        grids.push(if turned { shape::transpose(call.context, &grid, 0, 1)? } else { grid });
    }
    Ok(tensors(grids))
}

/// `repeat` with as many ones in front as there are dimensions more.
pub(super) fn tile(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let mut times = call.ints("dims")?;
    while times.len() < call.context.rank(&x) {
        times.insert(0, 1);
    }
    call.apply("repeat", vec![Item::Tensor(x), Item::ints(times)])
}

/// Tensors of at least so many dimensions one after another along one of them: `hstack`, `vstack`, `dstack` and
/// `column_stack`.
pub(super) fn stacked(call: &mut Call) -> Result<Item> {
    let mut parts = call.tensors("tensors")?;
    let (ranks, dim) = match call.operation {
        "vstack" | "row_stack" => (2, 0),
        "dstack" => (3, 2),
        "column_stack" => (2, 1),
        _ => (1, usize::from(parts.first().is_some_and(|part| call.context.rank(part) > 1))),
    };
    for part in &mut parts {
        while call.context.rank(part) < ranks {
            // Vectors are rows, or columns of `column_stack`; `dstack` makes an image of one row of them.
            let rank = call.context.rank(part);
            let behind = rank > 0 && (call.operation == "column_stack" || (ranks == 3 && rank == 2));
            *part = shape::unsqueeze(call.context, part, if behind { rank } else { 0 })?;
        }
    }
    if parts.is_empty() {
        return Err(Error::format("a stack of nothing"));
    }
    shape::concatenate(call.context, &parts, dim).map(Item::Tensor)
}

/// The differences of neighbours, so many times.
pub(super) fn difference(call: &mut Call) -> Result<Item> {
    if !call.is_none("prepend")? || !call.is_none("append")? {
        return Err(Error::unsupported("differences with what is put in front or behind; use torch.cat before"));
    }
    let mut x = call.tensor("self")?;
    let dim = call.dim("dim", call.context.rank(&x))?;
    for _ in 0..call.int("n")?.clamp(0, 1 << 10) {
        let size = call.context.sizes(&x, "differences")?[dim];
        let after = shape::slice(call.context, &x, dim, 1.min(size), size, 1)?;
        let before = shape::slice(call.context, &x, dim, 0, size.saturating_sub(1), 1)?;
        x = super::elementwise::difference(call, &after, &before)?;
    }
    Ok(Item::Tensor(x))
}

/// A quarter of a turn, so many times.
pub(super) fn rot90(call: &mut Call) -> Result<Item> {
    let x = Item::Tensor(call.tensor("self")?);
    let dims = call.ints("dims")?;
    let [a, b] = dims[..] else { return Err(Error::format("a turn of other than two dimensions")) };
    let flip = |call: &mut Call, x: Item, dims: Vec<i64>| call.apply("flip", vec![x, Item::ints(dims)]);
    let swap = |call: &mut Call, x: Item| call.apply("transpose.int", vec![x, Item::Int(a), Item::Int(b)]);
    match call.int("k")?.rem_euclid(4) {
        0 => Ok(x),
        1 => flip(call, x, vec![b]).and_then(|x| swap(call, x)),
        2 => flip(call, x, vec![a, b]),
        _ => flip(call, x, vec![a]).and_then(|x| swap(call, x)),
    }
}

pub(super) fn unbind(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let dim = call.dim("dim", call.context.rank(&x))?;
    let size = call.context.shape(&x)[dim].size();
    let size = size.ok_or_else(|| Error::argument("a symbolic size is split; give the input's shape"))?;
    lengths(size, 1)?;
    let parts = (0..size).map(|i| shape::select(call.context, &x, dim, i as i64));
    parts.collect::<Result<Vec<_>>>().map(tensors)
}

pub(super) fn cat(call: &mut Call) -> Result<Item> {
    let parts = call.tensors("tensors")?;
    // torch passes over empty tensors of rank 1, whatever the rank of the others.
    let is_empty = |part: &Operand| call.context.shape(part) == [Dim::Size(0)];
    let several = parts.iter().any(|part| !is_empty(part));
    let parts: Vec<Operand> = parts.iter().filter(|part| !several || !is_empty(part)).cloned().collect();
    let first = parts.first().ok_or_else(|| Error::format("a concatenation of nothing"))?;
    let dim = call.dim("dim", call.context.rank(first))?;
    shape::concatenate(call.context, &parts, dim).map(Item::Tensor)
}

pub(super) fn stack(call: &mut Call) -> Result<Item> {
    let parts = call.tensors("tensors")?;
    let first = parts.first().ok_or_else(|| Error::format("a stack of nothing"))?;
    let dim = call.dim("dim", call.context.rank(first) + 1)?;
    let parts = parts.iter().map(|part| shape::unsqueeze(call.context, part, dim)).collect::<Result<Vec<_>>>()?;
    shape::concatenate(call.context, &parts, dim).map(Item::Tensor)
}

pub(super) fn expand(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let target = call.dims("size")?;
    shape::expand(call.context, &x, &target).map(Item::Tensor)
}

pub(super) fn expand_as(call: &mut Call) -> Result<Item> {
    let (x, other) = (call.tensor("self")?, call.tensor("other")?);
    let target: Vec<Option<Dim>> = call.context.shape(&other).into_iter().map(Some).collect();
    shape::expand(call.context, &x, &target).map(Item::Tensor)
}

pub(super) fn repeat(call: &mut Call) -> Result<Item> {
    let mut x = call.tensor("self")?;
    let times = call.sizes("repeats")?;
    let new = times.len().checked_sub(call.context.rank(&x));
    let new = new.ok_or_else(|| Error::format("there are fewer repeats than dimensions"))?;
    for _ in 0..new {
        x = shape::unsqueeze(call.context, &x, 0)?;
    }
    for (dim, &times) in times.iter().enumerate() {
        x = shape::repeat(call.context, &x, dim, times)?;
    }
    Ok(Item::Tensor(x))
}

pub(super) fn roll(call: &mut Call) -> Result<Item> {
    let mut x = call.tensor("self")?;
    let sizes = call.context.sizes(&x, "a roll")?;
    let (shifts, dims) = (call.ints("shifts")?, call.dim_list("dims", sizes.len())?);
    if dims.is_empty() && shifts.len() == 1 {
        let flat = shape::reshape(call.context, &x, &[None])?;
        let flat = rolled(call.context, &flat, 0, shifts[0], sizes.iter().product())?;
        return shape::reshape(call.context, &flat, &shape::known(&sizes)).map(Item::Tensor);
    }
    if dims.len() != shifts.len() {
        return Err(Error::format("shifts and dims differ in length"));
    }
    for (&dim, &shift) in dims.iter().zip(&shifts) {
        x = rolled(call.context, &x, dim, shift, sizes[dim])?;
    }
    Ok(Item::Tensor(x))
}

fn rolled(context: &mut Context, x: &Operand, dim: usize, shift: i64, size: usize) -> Result<Operand> {
    let shift = shift.rem_euclid(size.max(1) as i64) as usize;
    if shift == 0 {
        return Ok(x.clone());
    }
    let parts =
        [shape::slice(context, x, dim, size - shift, size, 1)?, shape::slice(context, x, dim, 0, size - shift, 1)?];
    shape::concatenate(context, &parts, dim)
}

pub(super) fn flip(call: &mut Call) -> Result<Item> {
    let mut x = call.tensor("self")?;
    let sizes = call.context.sizes(&x, "a flip")?;
    for dim in call.dim_list("dims", sizes.len())? {
        let back: Vec<usize> = (0..sizes[dim]).rev().collect();
        x = shape::gather(call.context, &x, dim, &back, &[back.len()])?;
    }
    Ok(Item::Tensor(x))
}

pub(super) fn index_select(call: &mut Call) -> Result<Item> {
    let (x, index) = (call.tensor("self")?, call.tensor("index")?);
    let dim = call.dim("dim", call.context.rank(&x))?;
    let size = call.context.sizes(&x, "an index")?[dim];
    let Some(constant) = index.constant() else {
        let given = (0..=dim).map(|d| if d == dim { Item::Tensor(index.clone()) } else { Item::None });
        return call.apply("index.Tensor", vec![Item::Tensor(x), Item::List(given.collect())]);
    };
    let indices = Array::of(constant)?.indices(size)?;
    shape::gather(call.context, &x, dim, &indices, &[indices.len()]).map(Item::Tensor)
}

/// Rows of a table.
pub(super) fn embedding(call: &mut Call) -> Result<Item> {
    let (table, indices) = (call.tensor("weight")?, call.tensor("indices")?);
    if let Some(constant) = indices.constant() {
        let rows = call.context.sizes(&table, "an embedding")?.first().copied().unwrap_or(0);
        let array = Array::of(constant)?;
        let found = array.indices(rows)?;
        return shape::gather(call.context, &table, 0, &found, &array.shape).map(Item::Tensor);
    }
    if call.context.dtype(&indices).is_float() {
        return call.apply("index.Tensor", vec![Item::Tensor(table), Item::List(vec![Item::Tensor(indices)])]);
    }
    call.node(Op::Embedding, &[&table, &indices]).map(Item::Tensor)
}

/// What torch calls padding: pairs from the last dimension on.
fn padded(call: &mut Call, x: &Operand, name: &str, padding: Padding) -> Result<Operand> {
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
        return shape::node(call.context, Op::Pad { amounts, padding }, x);
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
        let mut wider = Array::full(&shape, value, array.dtype)?;
        for o in 0..outer {
            for to in 0..shape[dim] {
                let from = to as isize - before;
                if (0..size).contains(&from) {
                    let (from, to) = ((o * size as usize + from as usize) * inner, (o * shape[dim] + to) * inner);
                    wider.data[to..to + inner].copy_from_slice(&array.data[from..from + inner]);
                }
            }
        }
        array = wider;
    }
    Ok(array.into_operand(&constant.name))
}

pub(super) fn constant_pad(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let value = call.float("value")?;
    padded(call, &x, "pad", Padding::Constant(value)).map(Item::Tensor)
}

pub(super) fn pad(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let padding = match &*call.text("mode")? {
        "constant" => Padding::Constant(call.optional_float("value")?.unwrap_or(0.0)),
        "reflect" => Padding::Reflect,
        "replicate" => Padding::Replicate,
        "circular" => Padding::Circular,
        other => return Err(Error::unsupported(format!("padding of the mode `{}`", other.escape_debug()))),
    };
    padded(call, &x, "pad", padding).map(Item::Tensor)
}

pub(super) fn reflection_pad(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    padded(call, &x, "padding", Padding::Reflect).map(Item::Tensor)
}

pub(super) fn replication_pad(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    padded(call, &x, "padding", Padding::Replicate).map(Item::Tensor)
}

/// The tensor itself: copies, memory formats, dropout in evaluation.
pub(super) fn same(call: &mut Call) -> Result<Item> {
    call.tensor(call.parameters[0]).map(Item::Tensor)
}

/// Dropout, which the program must have switched off.
pub(super) fn dropout(call: &mut Call) -> Result<Item> {
    if call.bool("train")? && call.float("p")? != 0.0 {
        return Err(Error::unsupported(
            "dropout in training mode, which gives other numbers in each call; call model.eval() before exporting",
        ));
    }
    call.tensor("input").map(Item::Tensor)
}

/// The size of a dimension.
pub(super) fn sym_size(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let dim = call.dim("dim", call.context.rank(&x))?;
    Ok(call.context.shape(&x).get(dim).map_or(Item::Int(1), Item::size))
}

/// The number of elements.
pub(super) fn sym_numel(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let sizes: Option<Vec<usize>> = call.context.shape(&x).iter().map(Dim::size).collect();
    let count = sizes.map(|sizes| sizes.iter().product::<usize>());
    Ok(count.map_or(Item::Size(Dim::Unknown), |count| Item::Int(i64::try_from(count).unwrap_or(i64::MAX))))
}

/// Views that keep all elements in their order.
pub(super) const KEEPS_ORDER: [&str; 19] = [
    "view",
    "reshape",
    "_unsafe_view",
    "view_as",
    "reshape_as",
    "flatten",
    "unflatten",
    "unsqueeze",
    "squeeze",
    "ravel",
    "alias",
    "contiguous",
    "detach",
    "lift_fresh",
    "to",
    "type_as",
    "dropout",
    "feature_dropout",
    "alpha_dropout",
];

/// Undoes a view in pieces for what is written into one of them.
pub(super) fn write_back_piece(
    context: &mut Context,
    operation: &str,
    x: &Operand,
    view: &[Item],
    (pieces, piece): (&[Item], usize),
    new: &Operand,
) -> Result<Operand> {
    let is_unbound = operation == "unbind";
    let dim = match (operation, view.get(if is_unbound { 1 } else { 2 })) {
        ("hsplit" | "vsplit", _) | (_, None) => {
            return Err(Error::unsupported(format!("it writes in place into what {operation} made of another tensor")));
        }
        (_, Some(Item::Int(dim))) => resolve(*dim, context.rank(x))?,
        (_, Some(other)) => return Err(Error::format(format!("a dimension that is {}", other.kind()))),
    };
    let mut length = |item: &Item| match item {
        Item::Tensor(_) if is_unbound => Ok(1),
        Item::Tensor(operand) => Ok(context.sizes(operand, "a part that is replaced")?[dim]),
        _ => Err(Error::internal("a piece that is no tensor")),
    };
    let lengths: Vec<usize> = pieces.iter().map(&mut length).collect::<Result<_>>()?;
    let start: usize = lengths[..piece].iter().sum();
    let new = if is_unbound { shape::unsqueeze(context, new, dim)? } else { new.clone() };
    replaced(context, x, &new, dim, start, start + lengths[piece])
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
            shape::permute(context, new, &back)
        }
        "transpose" | "swapaxes" | "swapdims" => {
            let (a, b) = int(1).zip(int(2)).ok_or_else(refusal)?;
            let (a, b) = (resolve(a, rank)?, resolve(b, rank)?);
            shape::transpose(context, new, a, b)
        }
        "t" => shape::transpose(context, new, 0, 1.min(rank.saturating_sub(1))),
        "slice" => {
            let dim = resolve(int(1).unwrap_or(0), rank)?;
            let size = context.sizes(x, "a part that is replaced")?[dim] as i64;
            let bound = |at: usize, missing: i64| {
                let at = int(at).unwrap_or(missing);
                (if at < 0 { at.saturating_add(size) } else { at }).clamp(0, size) as usize
            };
            let (start, end) = (bound(2, 0), bound(3, size));
            let step = usize::try_from(int(4).unwrap_or(1)).ok().filter(|&step| step > 0).ok_or_else(refusal)?;
            replaced_in_steps(context, x, new, dim, [start, end.max(start), step])
        }
        "select" => {
            let dim = resolve(int(1).unwrap_or(0), rank)?;
            let size = context.sizes(x, "a part that is replaced")?[dim];
            let at = Array::new(&[1], vec![int(2).unwrap_or(0) as f64], DType::I64).indices(size)?[0];
            let new = shape::unsqueeze(context, new, dim)?;
            replaced(context, x, &new, dim, at, at + 1)
        }
        "narrow" => {
            let (dim, start, length) =
                int(1).zip(int(2)).zip(int(3)).map(|((d, s), l)| (d, s, l)).ok_or_else(refusal)?;
            let dim = resolve(dim, rank)?;
            let size = context.sizes(x, "a part that is replaced")?[dim] as i64;
            let start = (if start < 0 { start + size } else { start }).clamp(0, size);
            replaced(context, x, new, dim, start as usize, (start + length.max(0)).min(size) as usize)
        }
        "mT" | "mH" if rank >= 2 => shape::transpose(context, new, rank - 2, rank - 1),
        "numpy_T" => shape::permute(context, new, &(0..rank).rev().collect::<Vec<_>>()),
        "diagonal" => {
            let sizes = context.sizes(x, "a diagonal")?;
            let dim = |at: usize, missing: i64| resolve(int(at).unwrap_or(missing), rank);
            let (shape, strides, start) = diagonal_of(&sizes, [dim(2, 0)?, dim(3, 1)?], int(1).unwrap_or(0))?;
            let places = super::places::strided(&shape, &strides, start)?;
            super::places::put_at(context, x, &places, new)
        }
        name if KEEPS_ORDER.contains(&name) => {
            let target: Vec<Option<Dim>> = context.shape(x).into_iter().map(Some).collect();
            shape::reshape(context, new, &target)
        }
        _ => Err(refusal()),
    }
}
