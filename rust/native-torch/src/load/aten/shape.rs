//! Operations that move numbers without changing them. Of known tensors they are other views of the same storage.

use super::{
    constant::Array,
    value::{Constant, Context, Marks, Operand},
};
use crate::{
    Error, Result,
    graph::{Dim, Op, format_shape},
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

pub(super) fn node(context: &mut Context, op: Op, x: &Operand) -> Result<Operand> {
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
