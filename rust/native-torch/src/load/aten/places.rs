//! Elements of tensors by their places: indices, gathering and scattering, diagonals, views by strides.
//!
//! Where the places are known, what is read is one selection from the tensor's elements in their order, and what is
//! written is a selection from these and the new ones. Where an index is computed, masks that compare it with all that it
//! may be choose.

use super::{
    call::Call,
    constant::{Array, broadcast, kept},
    elementwise::{self, choose},
    product::product,
    shape::{concatenate, expand, gather as rows, known, permute, reshape, slice, unsqueeze},
    value::{Context, Item, Operand},
};
use crate::{
    Error, Result,
    graph::{Comparison, Dim, Op, for_each_index},
    tensor::{DType, contiguous_strides},
};

/// More places than these are not listed.
const LIMIT: usize = 1 << 26;

fn count(shape: &[usize]) -> Result<usize> {
    let count = shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size));
    count
        .filter(|&count| count <= LIMIT)
        .ok_or_else(|| Error::unsupported(format!("{shape:?} elements are chosen one by one; at most {LIMIT} are")))
}

/// The elements at these places of a tensor's order, in this shape.
fn take_at(context: &mut Context, x: &Operand, places: &[usize], shape: &[usize]) -> Result<Operand> {
    let flat = reshape(context, x, &[None])?;
    rows(context, &flat, 0, places, shape)
}

/// The places that strides and an offset lead to.
pub(super) fn strided(sizes: &[usize], strides: &[usize], offset: usize) -> Result<Vec<usize>> {
    let mut places = Vec::with_capacity(count(sizes)?);
    for_each_index(sizes, |index| {
        let along = index.iter().zip(strides).map(|(&i, &stride)| i.saturating_mul(stride));
        places.push(along.fold(offset, usize::saturating_add));
    });
    Ok(places)
}

/// A part of a tensor that strides describe; each of its places must be there.
fn strided_view(call: &mut Call, x: &Operand, shape: &[usize], strides: &[usize], offset: usize) -> Result<Operand> {
    let all: usize = call.context.sizes(x, "a view by strides")?.iter().product();
    let places = strided(shape, strides, offset)?;
    if places.iter().any(|&place| place >= all) {
        return Err(Error::format(format!(
            "sizes {shape:?}, strides {strides:?} and offset {offset} lead beyond the {all} elements of the tensor"
        )));
    }
    take_at(call.context, x, &places, shape)
}

/// The tensor with other elements at these places, the last one where a place is named twice.
pub(super) fn put_at(context: &mut Context, x: &Operand, places: &[usize], new: &Operand) -> Result<Operand> {
    let sizes = context.sizes(x, "elements that are replaced")?;
    let mut from: Vec<usize> = (0..count(&sizes)?).collect();
    let own = from.len();
    for (i, &place) in places.iter().enumerate() {
        from[place] = own + i;
    }
    let [old, new] = [reshape(context, x, &[None])?, reshape(context, new, &[None])?];
    let all = join(context, &old, &new)?;
    take_at(context, &all, &from, &sizes)
}

/// One behind the other; a known integer counts as a number beside what is computed.
fn join(context: &mut Context, old: &Operand, new: &Operand) -> Result<Operand> {
    let parts = match (old.constant(), new.constant()) {
        (Some(_), Some(_)) => [old.clone(), new.clone()],
        _ => {
            let float = |x: &Operand| match x.constant() {
                Some(constant) if !constant.tensor.dtype().is_float() => {
                    Ok(Array::of(constant)?.map(DType::F64, |v| v).into_operand(&constant.name))
                }
                _ => Ok(x.clone()),
            };
            [float(old)?, float(new)?]
        }
    };
    concatenate(context, &parts, 0)
}

/// The tensor with elements added at these places, as often as each is named.
fn add_at(call: &mut Call, x: &Operand, places: &[usize], new: &Operand) -> Result<Operand> {
    let sizes = call.context.sizes(x, "elements that are added to")?;
    let all = count(&sizes)?;
    let mut sources: Vec<Vec<usize>> = vec![Vec::new(); all];
    places.iter().enumerate().for_each(|(i, &place)| sources[place].push(i));
    let turns = sources.iter().map(Vec::len).max().unwrap_or(0);
    if turns == 0 {
        return Ok(x.clone());
    }
    // Where there are fewer, a zero behind the others is added.
    let from = |turn: usize| sources.iter().map(move |list| list.get(turn).copied().unwrap_or(places.len()));
    count(&[turns, all])?;
    let from: Vec<usize> = (0..turns).flat_map(from).collect();
    let zero = call.constant(Array::new(&[1], vec![0.0], kept(call.context.dtype(new))));
    let new = elementwise::numbers(call, new)?;
    let flat = reshape(call.context, &new, &[None])?;
    let padded = join(call.context, &flat, &zero)?;
    let terms = take_at(call.context, &padded, &from, &[turns, all])?;
    let sum = match terms.constant() {
        Some(constant) => {
            let array = Array::of(constant)?;
            let mut sum = array.reduce(&[0], 0.0, array.dtype, |a, b| a + b);
            sum.shape = vec![all];
            call.constant(sum)
        }
        None => call.node(Op::Sum { dims: vec![0], keepdim: false }, &[&terms])?,
    };
    let sum = reshape(call.context, &sum, &known(&sizes))?;
    elementwise::sum(call, x, &sum)
}

/// The numbers of a known index.
fn known_index(index: &Operand) -> Result<Option<Array>> {
    index.constant().map(Array::of).transpose()
}

fn required(index: &Operand) -> Result<Array> {
    known_index(index)?.ok_or_else(|| {
        Error::unsupported("an index that depends on the values of the inputs; where it is an input of integers, give them with the shapes")
    })
}

/// A mask of where a computed index is each of so many numbers, along a new last dimension.
fn matches(call: &mut Call, index: &Operand, size: usize) -> Result<Operand> {
    let index = elementwise::numbers(call, index)?;
    let rank = call.context.rank(&index);
    let index = unsqueeze(call.context, &index, rank)?;
    let all = call.constant(Array::new(&[size], (0..size).map(|i| i as f64).collect(), DType::F64));
    call.node(Op::Compare(Comparison::Equal), &[&index, &all])
}

/// A dimension moved to the end.
fn to_end(context: &mut Context, x: &Operand, dim: usize) -> Result<Operand> {
    let rank = context.rank(x);
    let dims: Vec<usize> = (0..rank).filter(|&d| d != dim).chain([dim]).collect();
    permute(context, x, &dims)
}

/// The last dimension moved to where it belongs.
fn from_end(context: &mut Context, x: &Operand, dim: usize) -> Result<Operand> {
    let rank = context.rank(x);
    let mut dims: Vec<usize> = (0..rank - 1).collect();
    dims.insert(dim, rank - 1);
    permute(context, x, &dims)
}

/// For each element of an index the place in a tensor that has the same indices but in one dimension.
fn places_along(index: &Array, sizes: &[usize], dim: usize) -> Result<Vec<usize>> {
    let fits = index.shape.len() == sizes.len()
        && index.shape.iter().zip(sizes).enumerate().all(|(d, (&own, &size))| d == dim || own <= size);
    if !fits {
        return Err(Error::format(format!("an index of shape {:?} for a tensor of shape {sizes:?}", index.shape)));
    }
    let along = index.indices(sizes[dim])?;
    let strides = contiguous_strides(sizes);
    let mut places = Vec::with_capacity(along.len());
    for_each_index(&index.shape, |at| {
        let other = at.iter().zip(&strides).enumerate().map(|(d, (&i, &stride))| if d == dim { 0 } else { i * stride });
        places.push(other.sum::<usize>() + along[places.len()] * strides[dim]);
    });
    Ok(places)
}

/// A scalar as a vector of one element.
fn at_least_vector(call: &mut Call, x: &Operand) -> Result<Operand> {
    if call.context.rank(x) > 0 { Ok(x.clone()) } else { reshape(call.context, x, &known(&[1])) }
}

pub(super) fn gather(call: &mut Call) -> Result<Item> {
    let (x, index) = (call.tensor("self")?, call.tensor("index")?);
    let shape: Vec<Option<Dim>> = call.context.shape(&index).into_iter().map(Some).collect();
    let [x, index] = [at_least_vector(call, &x)?, at_least_vector(call, &index)?];
    let dim = call.dim("dim", call.context.rank(&x))?;
    let sizes = call.context.sizes(&x, "gathering")?;
    if let Some(index) = known_index(&index)? {
        let places = places_along(&index, &sizes, dim)?;
        let taken = take_at(call.context, &x, &places, &index.shape)?;
        return reshape(call.context, &taken, &shape).map(Item::Tensor);
    }
    let wanted = call.context.sizes(&index, "gathering")?;
    if wanted.len() != sizes.len() {
        return Err(Error::format(format!("an index of shape {wanted:?} for a tensor of shape {sizes:?}")));
    }
    let mut part = x.clone();
    for d in (0..sizes.len()).filter(|&d| d != dim) {
        part = slice(call.context, &part, d, 0, wanted[d], 1)?;
    }
    let index = to_end(call.context, &index, dim)?;
    let mask = matches(call, &index, sizes[dim])?;
    let part = to_end(call.context, &part, dim)?;
    let rank = sizes.len();
    let part = unsqueeze(call.context, &part, rank - 1)?;
    let zero = call.constant(Array::new(&[], vec![0.0], DType::F64));
    let chosen = choose(call, &mask, &part, &zero)?;
    let taken = call.node(Op::Sum { dims: vec![rank], keepdim: false }, &[&chosen])?;
    let taken = from_end(call.context, &taken, dim)?;
    reshape(call.context, &taken, &shape).map(Item::Tensor)
}

/// Elements by their places in the order of all.
pub(super) fn take(call: &mut Call) -> Result<Item> {
    let (x, index) = (call.tensor("self")?, call.tensor("index")?);
    let all = call.context.sizes(&x, "an index")?.iter().product();
    let index = required(&index)?;
    let places = index.indices(all)?;
    take_at(call.context, &x, &places, &index.shape).map(Item::Tensor)
}

/// `gather` with an index that is repeated to the tensor's sizes in all other dimensions.
pub(super) fn take_along_dim(call: &mut Call) -> Result<Item> {
    let (x, index) = (call.tensor("self")?, call.tensor("indices")?);
    if call.is_none("dim")? {
        let [x, index] = [reshape(call.context, &x, &[None])?, reshape(call.context, &index, &[None])?];
        return call.apply("gather", vec![Item::Tensor(x), Item::Int(0), Item::Tensor(index)]);
    }
    let dim = call.dim("dim", call.context.rank(&x))?;
    let [mut own, mut other] =
        [&x, &index].map(|x| call.context.sizes(x, "an index")).map(|sizes| sizes.unwrap_or_default());
    if own.len() != other.len() || own.is_empty() {
        return Err(Error::format(format!("an index of shape {other:?} for a tensor of shape {own:?}")));
    }
    let along = (own[dim], other[dim]);
    (own[dim], other[dim]) = (1, 1);
    let mut common = broadcast(&own, &other)?;
    common[dim] = along.0;
    let x = expand(call.context, &x, &known(&common))?;
    common[dim] = along.1;
    let index = expand(call.context, &index, &known(&common))?;
    call.apply("gather", vec![Item::Tensor(x), Item::Int(dim as i64), Item::Tensor(index)])
}

/// What lists of indices name: the dimensions in front, the places, and the shape of the result.
struct Named {
    places: Vec<usize>,
    shape: Vec<usize>,
}

/// The places that indices of some dimensions lead to, as `x[.., index, ..]` has them.
fn named(sizes: &[usize], given: &[Option<Array>]) -> Result<Named> {
    // Bools stand for the indices at which they hold, in as many dimensions as they have.
    let mut lists: Vec<Option<Array>> = Vec::new();
    for array in given {
        match array {
            Some(array) if array.dtype == DType::Bool => {
                let holds: Vec<usize> = (0..array.data.len()).filter(|&e| array.data[e] != 0.0).collect();
                let strides = contiguous_strides(&array.shape);
                for (d, &stride) in strides.iter().enumerate() {
                    if sizes.get(lists.len()) != Some(&array.shape[d]) {
                        return Err(Error::format(format!(
                            "a mask of shape {:?} for a tensor of shape {sizes:?}",
                            array.shape
                        )));
                    }
                    let along = holds.iter().map(|e| (e / stride % array.shape[d]) as f64).collect();
                    lists.push(Some(Array::new(&[holds.len()], along, DType::I64)));
                }
            }
            other => lists.push(other.clone()),
        }
    }
    if lists.len() > sizes.len() {
        return Err(Error::format(format!("{} indices of a tensor of {} dimensions", lists.len(), sizes.len())));
    }
    lists.resize(sizes.len(), None);
    let dims: Vec<usize> = (0..sizes.len()).filter(|&dim| lists[dim].is_some()).collect();
    let mut common = Vec::new();
    for array in lists.iter().flatten() {
        common = broadcast(&common, &array.shape)?;
    }
    let strides = contiguous_strides(sizes);
    let mut offsets = vec![0; count(&common)?];
    for &dim in &dims {
        let array = lists[dim].as_ref().expect("it is one of those").repeated(&common)?;
        let indices = array.indices(sizes[dim])?;
        offsets.iter_mut().zip(indices).for_each(|(offset, index)| *offset += index * strides[dim]);
    }
    // Indices of neighbours stand where these do, all others in front.
    let neighbours = dims.windows(2).all(|pair| pair[0] + 1 == pair[1]);
    let front = if neighbours { dims.first().copied().unwrap_or(0) } else { 0 };
    let rest: Vec<usize> = (0..sizes.len()).filter(|dim| lists[*dim].is_none()).collect();
    let (before, behind) = rest.split_at(rest.iter().filter(|&&dim| dim < front).count());
    let pick = |dims: &[usize], of: &[usize]| -> Vec<usize> { dims.iter().map(|&dim| of[dim]).collect() };
    let shape = [&pick(before, sizes)[..], &common, &pick(behind, sizes)].concat();
    count(&shape)?;
    let outer = strided(&pick(before, sizes), &pick(before, &strides), 0)?;
    let inner = strided(&pick(behind, sizes), &pick(behind, &strides), 0)?;
    let mut places = Vec::with_capacity(outer.len() * offsets.len() * inner.len());
    for o in outer {
        for offset in &offsets {
            places.extend(inner.iter().map(|i| o + offset + i));
        }
    }
    Ok(Named { places, shape })
}

/// The elements that indices of some dimensions name, as `x[.., index, ..]` has them.
pub(super) fn index(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let given = call.optional_tensors("indices")?;
    let sizes = call.context.sizes(&x, "an index")?;
    if given.iter().flatten().all(|index| index.constant().is_some()) {
        let arrays: Vec<Option<Array>> =
            given.iter().map(|index| index.as_ref().map(required).transpose()).collect::<Result<_>>()?;
        let mut only = arrays.iter().enumerate().filter_map(|(dim, array)| Some((dim, array.as_ref()?)));
        // One dimension is indexed by rows of the others.
        if let (Some((dim, array)), None) = (only.next(), only.next())
            && array.dtype != DType::Bool
            && dim < sizes.len()
        {
            let indices = array.indices(sizes[dim])?;
            return rows(call.context, &x, dim, &indices, &array.shape).map(Item::Tensor);
        }
        let named = named(&sizes, &arrays)?;
        return take_at(call.context, &x, &named.places, &named.shape).map(Item::Tensor);
    }
    computed_index(call, &x, &sizes, &given).map(Item::Tensor)
}

/// The same where indices are computed: a product with rows that are 1 at the index.
fn computed_index(call: &mut Call, x: &Operand, sizes: &[usize], given: &[Option<Operand>]) -> Result<Operand> {
    let dims: Vec<usize> = (0..given.len()).filter(|&dim| given[dim].is_some()).collect();
    let neighbours = dims.windows(2).all(|pair| pair[0] + 1 == pair[1]);
    if given.len() > sizes.len() || !neighbours {
        return Err(Error::unsupported("computed indices of dimensions that are not neighbours"));
    }
    if given.iter().flatten().any(|index| call.context.dtype(index) == DType::Bool) {
        return Err(Error::unsupported(
            "a mask that depends on the values of the inputs chooses elements, so that their number does, too; use torch.where",
        ));
    }
    let (first, last) = (dims[0], dims[dims.len() - 1]);
    let joined: usize = sizes[first..=last].iter().product();
    let mut flat: Option<Operand> = None;
    for &dim in &dims {
        let index = given[dim].clone().expect("it is one of those");
        let index = wrapped(call, &index, sizes[dim])?;
        flat = Some(match flat {
            None => index,
            Some(flat) => {
                let flat = elementwise::times(call, &flat, sizes[dim] as f64)?;
                elementwise::sum(call, &flat, &index)?
            }
        });
    }
    let flat = flat.ok_or_else(|| Error::internal("an index"))?;
    let shape = call.context.sizes(&flat, "an index")?;
    let flat = reshape(call.context, &flat, &[None])?;
    let mask = matches(call, &flat, joined)?;
    let choice = elementwise::numbers(call, &mask)?;
    let table = reshape(call.context, x, &known(&[&sizes[..first], &[joined], &sizes[last + 1..]].concat()))?;
    let others = [&sizes[..first], &sizes[last + 1..]].concat();
    let rank = others.len() + 1;
    let order: Vec<usize> = [first].into_iter().chain((0..rank).filter(|&dim| dim != first)).collect();
    let table = permute(call.context, &table, &order)?;
    let table = reshape(call.context, &table, &known(&[joined, others.iter().product()]))?;
    let taken = product(call, &choice, &table)?;
    let taken = reshape(call.context, &taken, &known(&[&shape[..], &others].concat()))?;
    let order: Vec<usize> = (shape.len()..shape.len() + first)
        .chain(0..shape.len())
        .chain(shape.len() + first..shape.len() + others.len())
        .collect();
    permute(call.context, &taken, &order)
}

/// An index of which the negative ones count from the end.
fn wrapped(call: &mut Call, index: &Operand, size: usize) -> Result<Operand> {
    if let Some(array) = known_index(index)? {
        let indices = array.indices(size)?.into_iter().map(|i| i as f64).collect();
        return Ok(call.constant(Array::new(&array.shape, indices, DType::F64)));
    }
    let index = elementwise::numbers(call, index)?;
    let [zero, size] = [0.0, size as f64].map(|v| call.constant(Array::new(&[], vec![v], DType::F64)));
    let below = call.node(Op::Compare(Comparison::Less), &[&index, &zero])?;
    let above = elementwise::sum(call, &index, &size)?;
    choose(call, &below, &above, &index)
}

/// The tensor with other elements where indices name them; they are added where `accumulate` says so.
pub(super) fn index_put(call: &mut Call) -> Result<Item> {
    let (x, values) = (call.tensor("self")?, call.tensor("values")?);
    let given = call.optional_tensors("indices")?;
    let accumulate = call.bool("accumulate")?;
    if let [Some(mask)] = &given[..]
        && mask.constant().is_none()
        && call.context.dtype(mask) == DType::Bool
    {
        if accumulate || call.context.sizes(&values, "an index")?.iter().product::<usize>() != 1 {
            return Err(Error::unsupported(
                "a mask that depends on the values of the inputs, with several new values; use torch.where",
            ));
        }
        let value = reshape(call.context, &values, &[])?;
        let mut mask = mask.clone();
        for _ in call.context.rank(&mask)..call.context.rank(&x) {
            let rank = call.context.rank(&mask);
            mask = unsqueeze(call.context, &mask, rank)?;
        }
        return choose(call, &mask, &value, &x).map(Item::Tensor);
    }
    let arrays: Vec<Option<Array>> =
        given.iter().map(|index| index.as_ref().map(required).transpose()).collect::<Result<_>>()?;
    let sizes = call.context.sizes(&x, "an index")?;
    let named = named(&sizes, &arrays)?;
    let values = expand(call.context, &values, &known(&named.shape))?;
    match accumulate {
        true => add_at(call, &x, &named.places, &values),
        false => put_at(call.context, &x, &named.places, &values),
    }
    .map(Item::Tensor)
}

/// What an index of one dimension names in a tensor.
fn rows_of(call: &mut Call, x: &Operand) -> Result<(Named, usize)> {
    let dim = call.dim("dim", call.context.rank(x))?;
    let index = call.tensor("index")?;
    let index = required(&at_least_vector(call, &index)?)?;
    let sizes = call.context.sizes(x, "an index")?;
    let mut given = vec![None; dim];
    given.push(Some(index));
    Ok((named(&sizes, &given)?, dim))
}

pub(super) fn index_add(call: &mut Call) -> Result<Item> {
    let (x, source) = (call.tensor("self")?, call.tensor("source")?);
    let alpha = call.float("alpha")?;
    let (named, _) = rows_of(call, &x)?;
    let source = elementwise::times(call, &source, alpha)?;
    let source = reshape(call.context, &source, &known(&named.shape))?;
    add_at(call, &x, &named.places, &source).map(Item::Tensor)
}

pub(super) fn index_copy(call: &mut Call) -> Result<Item> {
    let (x, source) = (call.tensor("self")?, call.tensor("source")?);
    let (named, _) = rows_of(call, &x)?;
    let source = reshape(call.context, &source, &known(&named.shape))?;
    put_at(call.context, &x, &named.places, &source).map(Item::Tensor)
}

pub(super) fn index_fill(call: &mut Call) -> Result<Item> {
    let (x, value) = (call.tensor("self")?, call.tensor("value")?);
    let (named, _) = rows_of(call, &x)?;
    let value = expand(call.context, &value, &known(&named.shape))?;
    put_at(call.context, &x, &named.places, &value).map(Item::Tensor)
}

/// The places that `index` names, and the part of `from` that goes there.
fn scattered(call: &mut Call, from: &str) -> Result<(Operand, Vec<usize>, Operand)> {
    let (x, index, new) = (call.tensor("self")?, call.tensor("index")?, call.tensor(from)?);
    let [x, index] = [at_least_vector(call, &x)?, at_least_vector(call, &index)?];
    let dim = call.dim("dim", call.context.rank(&x))?;
    let index = required(&index)?;
    let sizes = call.context.sizes(&x, "scattering")?;
    let places = places_along(&index, &sizes, dim)?;
    if call.context.rank(&new) == 0 {
        let new = expand(call.context, &new, &known(&index.shape))?;
        return Ok((x, places, new));
    }
    let mut new = new;
    let own = call.context.sizes(&new, "scattering")?;
    if own.len() != index.shape.len() || own.iter().zip(&index.shape).any(|(own, wanted)| own < wanted) {
        return Err(Error::format(format!("an index of shape {:?} for a source of shape {own:?}", index.shape)));
    }
    for (d, &size) in index.shape.iter().enumerate() {
        new = slice(call.context, &new, d, 0, size, 1)?;
    }
    Ok((x, places, new))
}

/// The result in the shape of `self`, which may have no dimensions.
fn shaped_as_self(call: &mut Call, y: &Operand) -> Result<Item> {
    let x = call.tensor("self")?;
    let shape: Vec<Option<Dim>> = call.context.shape(&x).into_iter().map(Some).collect();
    reshape(call.context, y, &shape).map(Item::Tensor)
}

pub(super) fn scatter(call: &mut Call) -> Result<Item> {
    let from = if call.has("src") { "src" } else { "value" };
    if call.has("reduce") {
        return Err(Error::unsupported("a scatter that reduces; use scatter_add"));
    }
    let (x, places, new) = scattered(call, from)?;
    let y = put_at(call.context, &x, &places, &new)?;
    shaped_as_self(call, &y)
}

pub(super) fn scatter_add(call: &mut Call) -> Result<Item> {
    let (x, places, new) = scattered(call, "src")?;
    let y = add_at(call, &x, &places, &new)?;
    shaped_as_self(call, &y)
}

/// Sums and means of what goes to the same place.
pub(super) fn scatter_reduce(call: &mut Call) -> Result<Item> {
    let reduce = call.text("reduce")?;
    let (x, places, new) = scattered(call, "src")?;
    let included = call.bool("include_self")?;
    let sizes = call.context.sizes(&x, "scattering")?;
    let mut counts = vec![0.0f64; sizes.iter().product()];
    places.iter().for_each(|&place| counts[place] += 1.0);
    let own: Vec<f64> = counts.iter().map(|&count| f64::from(u8::from(included || count == 0.0))).collect();
    let own = call.constant(Array::new(&sizes, own, DType::F64));
    let x = elementwise::product(call, &x, &own)?;
    let sum = add_at(call, &x, &places, &new)?;
    let y = match &*reduce {
        "sum" => sum,
        "mean" => {
            let each = counts.iter().map(|&count| 1.0 / (count + f64::from(u8::from(included))).max(1.0)).collect();
            let each = call.constant(Array::new(&sizes, each, DType::F64));
            elementwise::product(call, &sum, &each)?
        }
        other => {
            return Err(Error::unsupported(format!(
                "scatter_reduce by `{}`; sum and mean are computed",
                other.escape_debug()
            )));
        }
    };
    shaped_as_self(call, &y)
}

/// The elements of a tensor one after another where a known mask holds.
pub(super) fn masked_scatter(call: &mut Call) -> Result<Item> {
    let (x, mask, source) = (call.tensor("self")?, call.tensor("mask")?, call.tensor("source")?);
    let sizes = call.context.sizes(&x, "a mask")?;
    let mask = required(&mask)?.repeated(&sizes)?;
    let places: Vec<usize> = (0..mask.data.len()).filter(|&e| mask.data[e] != 0.0).collect();
    let source = reshape(call.context, &source, &[None])?;
    let source = slice(call.context, &source, 0, 0, places.len(), 1)?;
    put_at(call.context, &x, &places, &source).map(Item::Tensor)
}

/// The sizes and strides of a diagonal, and the place of its first element.
pub(super) fn diagonal_of(
    sizes: &[usize],
    [first, second]: [usize; 2],
    offset: i64,
) -> Result<(Vec<usize>, Vec<usize>, usize)> {
    if first == second {
        return Err(Error::format("the diagonal of one dimension with itself"));
    }
    let strides = contiguous_strides(sizes);
    let (rows, columns) = (sizes[first] as i64, sizes[second] as i64);
    let (down, right) = ((-offset).max(0), offset.max(0));
    let length = (rows - down).min(columns - right).max(0) as usize;
    let start = if length == 0 { 0 } else { down as usize * strides[first] + right as usize * strides[second] };
    let pick = |of: &[usize], last: usize| -> Vec<usize> {
        (0..of.len()).filter(|&dim| dim != first && dim != second).map(|dim| of[dim]).chain([last]).collect()
    };
    Ok((pick(sizes, length), pick(&strides, strides[first] + strides[second]), start))
}

fn diagonal_place(call: &Call, x: &Operand) -> Result<(Vec<usize>, Vec<usize>, usize)> {
    let sizes = call.context.sizes(x, "a diagonal")?;
    if sizes.len() < 2 {
        return Err(Error::format("the diagonal of less than a matrix"));
    }
    let dims = [call.dim("dim1", sizes.len())?, call.dim("dim2", sizes.len())?];
    diagonal_of(&sizes, dims, call.int("offset")?)
}

pub(super) fn diagonal(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let (shape, strides, start) = diagonal_place(call, &x)?;
    strided_view(call, &x, &shape, &strides, start).map(Item::Tensor)
}

pub(super) fn diagonal_scatter(call: &mut Call) -> Result<Item> {
    let (x, new) = (call.tensor("self")?, call.tensor("src")?);
    let (shape, strides, start) = diagonal_place(call, &x)?;
    let places = strided(&shape, &strides, start)?;
    let new = expand(call.context, &new, &known(&shape))?;
    put_at(call.context, &x, &places, &new).map(Item::Tensor)
}

/// A matrix with a vector on its diagonal, of each vector along the last dimension.
pub(super) fn diag_embed(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let rank = call.context.rank(&x);
    let dims = [call.dim("dim1", rank + 1)?, call.dim("dim2", rank + 1)?];
    let offset = call.int("offset")?;
    let mut sizes = call.context.sizes(&x, "a diagonal")?;
    let size = sizes.pop().unwrap_or(1) + usize::try_from(offset.unsigned_abs()).unwrap_or(LIMIT);
    let mut shape = sizes;
    let (low, high) = (dims[0].min(dims[1]), dims[0].max(dims[1]));
    shape.insert(low.min(shape.len()), size);
    shape.insert(high.min(shape.len()), size);
    count(&shape)?;
    let zeros = call.constant(Array::full(&shape, 0.0, DType::F64)?);
    let (sizes, strides, start) = diagonal_of(&shape, dims, offset)?;
    let places = strided(&sizes, &strides, start)?;
    put_at(call.context, &zeros, &places, &x).map(Item::Tensor)
}

/// The diagonal of a matrix, or a matrix with this diagonal.
pub(super) fn diag(call: &mut Call) -> Result<Item> {
    let x = call.argument("self")?.clone();
    let offset = call.argument("diagonal")?.clone();
    let is_vector = call.context.rank(&call.tensor("self")?) == 1;
    call.apply(if is_vector { "diag_embed" } else { "diagonal" }, vec![x, offset])
}

/// Windows of a dimension along a new last one.
pub(super) fn windows(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let sizes = call.context.sizes(&x, "windows")?;
    let dim = call.dim("dimension", sizes.len())?;
    let (size, step) = (call.int("size")?, call.int("step")?);
    let own = sizes.get(dim).copied().unwrap_or(1);
    let (Some(size), Some(step)) =
        (usize::try_from(size).ok().filter(|&s| s <= own), usize::try_from(step).ok().filter(|&s| s > 0))
    else {
        return Err(Error::format(format!("windows of {size} in steps of {step} in a dimension of {own}")));
    };
    let mut strides = contiguous_strides(&sizes);
    let mut shape = sizes.clone();
    if let Some(along) = shape.get_mut(dim) {
        *along = (own - size) / step + 1;
    }
    shape.push(size);
    strides.push(strides.get(dim).copied().unwrap_or(1));
    if let Some(stride) = strides.get_mut(dim).filter(|_| !sizes.is_empty()) {
        *stride = stride.saturating_mul(step);
    }
    strided_view(call, &x, &shape, &strides, 0).map(Item::Tensor)
}

/// A view by strides of a tensor without gaps.
pub(super) fn as_strided(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let (sizes, strides) = (call.sizes("size")?, call.sizes("stride")?);
    let offset = usize::try_from(call.optional_int("storage_offset")?.unwrap_or(0))
        .map_err(|_| Error::format("argument `storage_offset` is negative"))?;
    if sizes.len() != strides.len() {
        return Err(Error::format("sizes and strides differ in length"));
    }
    strided_view(call, &x, &sizes, &strides, offset).map(Item::Tensor)
}

pub(super) fn as_strided_scatter(call: &mut Call) -> Result<Item> {
    let (x, new) = (call.tensor("self")?, call.tensor("src")?);
    let (sizes, strides) = (call.sizes("size")?, call.sizes("stride")?);
    let offset = usize::try_from(call.optional_int("storage_offset")?.unwrap_or(0)).unwrap_or(usize::MAX);
    let all: usize = call.context.sizes(&x, "a view by strides")?.iter().product();
    let places = strided(&sizes, &strides, offset)?;
    if sizes.len() != strides.len() || places.iter().any(|&place| place >= all) {
        return Err(Error::format("a view by strides that leads beyond the tensor"));
    }
    put_at(call.context, &x, &places, &new).map(Item::Tensor)
}

/// 1 at each index along a new last dimension.
pub(super) fn one_hot(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let classes = usize::try_from(call.int("num_classes")?).ok();
    let Some(array) = known_index(&x)? else {
        let classes =
            classes.ok_or_else(|| Error::unsupported("classes whose number depends on the values of the inputs"))?;
        let mask = matches(call, &x, classes)?;
        return elementwise::numbers(call, &mask).map(Item::Tensor);
    };
    let classes = classes.unwrap_or_else(|| array.data.iter().fold(0.0f64, |m, &v| m.max(v + 1.0)) as usize);
    let indices = array.indices(classes)?;
    let shape = [&array.shape[..], &[classes]].concat();
    let mut hot = Array::full(&shape, 0.0, DType::I64)?;
    indices.iter().enumerate().for_each(|(i, &index)| hot.data[i * classes + index] = 1.0);
    Ok(Item::Tensor(call.constant(hot)))
}

/// Sums or means of the rows of a table that each bag names.
pub(super) fn embedding_bag(call: &mut Call) -> Result<Item> {
    let (table, indices, offsets) = (call.tensor("weight")?, call.tensor("indices")?, call.tensor("offsets")?);
    let (indices, mut offsets) = (required(&indices)?, required(&offsets)?.data);
    if indices.shape.len() != 1 || call.int("mode")? == 2 || call.optional_int("padding_idx")?.is_some_and(|at| at >= 0)
    {
        return Err(Error::unsupported("bags by their greatest elements, or with a padding index"));
    }
    if call.bool("include_last_offset")? {
        offsets.pop();
    }
    let sizes = call.context.sizes(&table, "an embedding")?;
    let [table_rows, width] = sizes[..] else { return Err(Error::format("a table that is no matrix")) };
    let found = indices.indices(table_rows)?;
    let mut taken = rows(call.context, &table, 0, &found, &[found.len()])?;
    if let Some(weights) = call.optional_tensor("per_sample_weights")? {
        let weights = unsqueeze(call.context, &weights, 1)?;
        taken = elementwise::product(call, &taken, &weights)?;
    }
    // The bag of each index: the last one that begins at or before it.
    let bag = |i: usize| offsets.iter().rposition(|&offset| offset <= i as f64);
    let bags: Vec<usize> = (0..found.len())
        .map(bag)
        .collect::<Option<_>>()
        .ok_or_else(|| Error::format("the first offset of the bags is not 0"))?;
    let places: Vec<usize> = bags.iter().flat_map(|bag| (0..width).map(move |i| bag * width + i)).collect();
    let zeros = call.constant(Array::full(&[offsets.len(), width], 0.0, DType::F64)?);
    let mut sums = add_at(call, &zeros, &places, &taken)?;
    if call.int("mode")? == 1 {
        let mut each = vec![0.0f64; offsets.len()];
        bags.iter().for_each(|&bag| each[bag] += 1.0);
        let each = each.into_iter().map(|count| 1.0 / count.max(1.0)).collect();
        let each = call.constant(Array::new(&[offsets.len(), 1], each, DType::F64));
        sums = elementwise::product(call, &sums, &each)?;
    }
    Ok(Item::List(vec![Item::Tensor(sums), Item::None, Item::None, Item::None]))
}

/// Each element so many times after itself.
pub(super) fn repeat_interleave(call: &mut Call) -> Result<Item> {
    let x = call.tensor(if call.has("self") { "self" } else { "repeats" })?;
    let repeats = call.tensor("repeats")?;
    if !call.has("self") {
        let array = required(&repeats)?;
        let each = array.data.iter().enumerate().flat_map(|(i, &times)| std::iter::repeat_n(i as f64, times as usize));
        let each: Vec<f64> = each.collect();
        return Ok(Item::Tensor(call.constant(Array::new(&[each.len()], each, DType::I64))));
    }
    let (x, dim) = match call.is_none("dim")? {
        true => (reshape(call.context, &x, &[None])?, 0),
        false => (x.clone(), call.dim("dim", call.context.rank(&x))?),
    };
    let size = call.context.sizes(&x, "a repetition")?[dim];
    let array = required(&repeats)?;
    if array.data.len() != 1 && array.data.len() != size {
        return Err(Error::format(format!("{} repeats of a dimension of {size}", array.data.len())));
    }
    let times = |i: usize| array.data[if array.data.len() == 1 { 0 } else { i }].max(0.0) as usize;
    count(&[(0..size).map(times).fold(0, usize::saturating_add)])?;
    let indices: Vec<usize> = (0..size).flat_map(|i| std::iter::repeat_n(i, times(i))).collect();
    rows(call.context, &x, dim, &indices, &[indices.len()]).map(Item::Tensor)
}

/// The rows and columns of a triangle of a matrix.
pub(super) fn triangle_indices(call: &mut Call) -> Result<Item> {
    let (rows, columns, offset) = (call.sizes("row")?[0], call.sizes("col")?[0], call.int("offset")?);
    count(&[rows, columns])?;
    let below = call.operation == "tril_indices";
    let kept = |&(row, column): &(usize, usize)| {
        let distance = column as i64 - row as i64;
        if below { distance <= offset } else { distance >= offset }
    };
    let places: Vec<(usize, usize)> =
        (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))).filter(kept).collect();
    let both = places.iter().map(|place| place.0).chain(places.iter().map(|place| place.1));
    let array = Array::new(&[2, places.len()], both.map(|v| v as f64).collect(), DType::I64);
    Ok(Item::Tensor(call.constant(array)))
}
