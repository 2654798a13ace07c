//! Sums, means, variances and norms over dimensions.

use super::{
    call::Call,
    constant::{Array, kept},
    elementwise,
    extremes::extreme,
    shape::{squeeze, transpose},
    value::{Item, Operand},
};
use crate::{
    Error, Result,
    graph::{Comparison, Op, Unary},
    tensor::DType,
};

/// Dimensions that a reduction names, all where it names none.
pub(super) fn reduced(call: &Call, x: &Operand) -> Result<(Vec<usize>, bool)> {
    let rank = call.context.rank(x);
    let dims = if call.has("dim") { call.optional_ints("dim")?.unwrap_or_default() } else { Vec::new() };
    let keepdim = call.has("keepdim") && call.bool("keepdim")?;
    if dims.is_empty() || rank == 0 {
        return Ok(((0..rank).collect(), keepdim));
    }
    Ok((call.dim_list("dim", rank)?, keepdim))
}

/// A reduction of a known tensor.
fn fold(
    call: &mut Call,
    x: &Operand,
    start: f64,
    dtype: Option<DType>,
    f: fn(f64, f64) -> f64,
) -> Result<Option<Operand>> {
    let Some(constant) = x.constant() else { return Ok(None) };
    let (dims, keepdim) = reduced(call, x)?;
    let array = Array::of(constant)?;
    let dtype = dtype.unwrap_or(if array.dtype == DType::Bool { DType::I64 } else { array.dtype });
    let mut result = array.reduce(&dims, start, kept(dtype), f);
    if !keepdim {
        result.shape = (0..result.shape.len()).filter(|dim| !dims.contains(dim)).map(|dim| result.shape[dim]).collect();
    }
    Ok(Some(call.constant(result)))
}

/// A reduction of a computed tensor.
fn reduce(call: &mut Call, x: &Operand, op: fn(Vec<usize>, bool) -> Op) -> Result<Operand> {
    let (dims, keepdim) = reduced(call, x)?;
    if dims.is_empty() {
        return Ok(x.clone());
    }
    call.node(op(dims, keepdim), &[x])
}

fn sum_of(call: &mut Call, x: &Operand) -> Result<Operand> {
    if let Some(known) = fold(call, x, 0.0, None, |a, b| a + b)? {
        return Ok(known);
    }
    let x = elementwise::numbers(call, x)?;
    reduce(call, &x, |dims, keepdim| Op::Sum { dims, keepdim })
}

pub(super) fn sum(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    sum_of(call, &x).map(Item::Tensor)
}

pub(super) fn mean(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    reduce(call, &x, |dims, keepdim| Op::Mean { dims, keepdim }).map(Item::Tensor)
}

/// The mean squared distance from the mean, over all but `correction` of the elements.
fn variance_of(call: &mut Call) -> Result<(Operand, Operand)> {
    let x = call.tensor("self")?;
    let correction = match call.has("correction") {
        true => call.optional_float("correction")?.unwrap_or(1.0),
        false => f64::from(u8::from(call.bool("unbiased")?)),
    };
    let (dims, keepdim) = reduced(call, &x)?;
    let sizes = call.context.sizes(&x, "a variance")?;
    let count: usize = dims.iter().map(|&dim| sizes[dim]).product();
    let mean = call.node(Op::Mean { dims: dims.clone(), keepdim: true }, &[&x])?;
    let distance = elementwise::difference(call, &x, &mean)?;
    let square = call.unary(Unary::Square, &distance)?;
    let total = call.node(Op::Sum { dims: dims.clone(), keepdim }, &[&square])?;
    let variance = elementwise::times(call, &total, 1.0 / (count as f64 - correction))?;
    let mean = if keepdim { mean } else { squeeze(call.context, &mean, &dims)? };
    Ok((variance, mean))
}

pub(super) fn variance(call: &mut Call) -> Result<Item> {
    Ok(Item::Tensor(variance_of(call)?.0))
}

pub(super) fn deviation(call: &mut Call) -> Result<Item> {
    let variance = variance_of(call)?.0;
    call.unary(Unary::Sqrt, &variance).map(Item::Tensor)
}

pub(super) fn variance_and_mean(call: &mut Call) -> Result<Item> {
    let (variance, mean) = variance_of(call)?;
    Ok(Item::List(vec![Item::Tensor(variance), Item::Tensor(mean)]))
}

/// The root of the sum of squares, and other norms of vectors.
pub(super) fn vector_norm(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let order = call.optional_float("ord")?.unwrap_or(2.0);
    let y = match order {
        2.0 => {
            let squares = call.unary(Unary::Square, &x)?;
            let sum = sum_of(call, &squares)?;
            call.unary(Unary::Sqrt, &sum)?
        }
        1.0 => {
            let sizes = call.unary(Unary::Abs, &x)?;
            sum_of(call, &sizes)?
        }
        order if order.is_infinite() => {
            let Item::Tensor(sizes) = elementwise::abs(call)? else { return Err(Error::internal("a tensor")) };
            let (dims, keepdim) = reduced(call, &x)?;
            extreme(call, &sizes, &dims, keepdim, order.signum())?
        }
        0.0 => {
            let there = elementwise::mask(call, &x)?;
            let there = elementwise::numbers(call, &there)?;
            sum_of(call, &there)?
        }
        order => {
            let Item::Tensor(sizes) = elementwise::abs(call)? else { return Err(Error::internal("a tensor")) };
            let powers = elementwise::power(call, &sizes, order)?;
            let sum = sum_of(call, &powers)?;
            elementwise::power(call, &sum, 1.0 / order)?
        }
    };
    Ok(Item::Tensor(y))
}

/// `torch.linalg.norm`: the norm of all elements, or of vectors; of matrices Frobenius' norm alone.
pub(super) fn any_norm(call: &mut Call) -> Result<Item> {
    let of_vectors = match call.argument("ord")? {
        Item::None => true,
        Item::Text(text) => &**text == "fro",
        _ => match call.is_none("dim")? {
            true => call.context.rank(&call.tensor("self")?) < 2,
            false => call.ints("dim")?.len() == 1,
        },
    };
    if !of_vectors {
        return Err(Error::unsupported("a norm of matrices other than Frobenius'"));
    }
    let order = match call.argument("ord")? {
        Item::None | Item::Text(_) => Item::Float(2.0),
        other => other.clone(),
    };
    let rest = ["dim", "keepdim"].map(|name| call.argument(name).cloned());
    let [dim, keepdim] = rest;
    let given = vec![call.argument("self")?.clone(), order, dim?, keepdim?];
    call.apply("linalg_vector_norm", given)
}

/// A weight of the direction of `v` and the size of `g`, of each index of one dimension (Salimans and Kingma, 2016).
pub(super) fn weight_norm(call: &mut Call) -> Result<Item> {
    Ok(Item::Tensor(normed_weight(call)?.0))
}

/// The same with the norms of `v`.
pub(super) fn weight_norm_with_norm(call: &mut Call) -> Result<Item> {
    let (weight, norm) = normed_weight(call)?;
    Ok(Item::List(vec![Item::Tensor(weight), Item::Tensor(norm)]))
}

fn normed_weight(call: &mut Call) -> Result<(Operand, Operand)> {
    let (v, g) = (call.tensor("v")?, call.tensor("g")?);
    let rank = call.context.rank(&v);
    // -1 stands for all dimensions.
    let kept = if call.int("dim")? == -1 { None } else { Some(call.dim("dim", rank)?) };
    let dims: Vec<usize> = (0..rank).filter(|&dim| Some(dim) != kept).collect();
    let norm = match v.constant() {
        // A known weight stays known, since convolutions need it.
        Some(constant) => {
            let sums = Array::of(constant)?.reduce(&dims, 0.0, DType::F64, |sum, v| sum + v * v);
            call.constant(sums.map(DType::F64, f64::sqrt))
        }
        None => {
            let squares = call.unary(Unary::Square, &v)?;
            let sum = call.node(Op::Sum { dims, keepdim: true }, &[&squares])?;
            call.unary(Unary::Sqrt, &sum)?
        }
    };
    let scale = elementwise::quotient(call, &g, &norm)?;
    Ok((elementwise::product(call, &v, &scale)?, norm))
}

/// Whether any element is true, or all are.
pub(super) fn any(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    if let Some(known) = fold(call, &x, 0.0, Some(DType::Bool), |a, b| f64::from(u8::from(a != 0.0 || b != 0.0)))? {
        return Ok(Item::Tensor(known));
    }
    let holds = elementwise::mask(call, &x)?;
    let count = sum_of(call, &holds)?;
    elementwise::mask(call, &count).map(Item::Tensor)
}

pub(super) fn all(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    if let Some(known) = fold(call, &x, 1.0, Some(DType::Bool), |a, b| f64::from(u8::from(a != 0.0 && b != 0.0)))? {
        return Ok(Item::Tensor(known));
    }
    // None is false.
    let holds = elementwise::mask(call, &x)?;
    let [one, zero] = [1.0, 0.0].map(|v| call.constant(Array::new(&[], vec![v], DType::F64)));
    let fails = call.node(Op::Where, &[&holds, &zero, &one])?;
    let count = sum_of(call, &fails)?;
    call.node(Op::Compare(Comparison::Equal), &[&count, &zero]).map(Item::Tensor)
}

/// Sums along a dimension, each of all elements before it.
pub(super) fn cumulative_sum(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let dim = call.dim("dim", call.context.rank(&x))?;
    let Some(constant) = x.constant() else {
        // The product with a triangle of ones.
        let size = call.context.sizes(&x, "a cumulative sum")?.get(dim).copied().unwrap_or(1);
        if call.context.rank(&x) == 0 {
            return Ok(Item::Tensor(x));
        }
        let ones = (0..size * size).map(|e| f64::from(u8::from(e % size <= e / size))).collect();
        let triangle = call.constant(Array::new(&[size, size], ones, DType::F64));
        let last = call.context.rank(&x) - 1;
        let turned = transpose(call.context, &x, dim, last)?;
        let sums = call.node(Op::Linear, &[&turned, &triangle])?;
        return transpose(call.context, &sums, dim, last).map(Item::Tensor);
    };
    let mut array = Array::of(constant)?;
    let (length, inner): (usize, usize) = match array.shape.get(dim) {
        Some(&length) => (length, array.shape[dim + 1..].iter().product()),
        None => (1, 1),
    };
    for slice in array.data.chunks_exact_mut((length * inner).max(1)) {
        (inner..slice.len()).for_each(|i| slice[i] += slice[i - inner]);
    }
    if array.dtype == DType::Bool {
        array.dtype = DType::I64;
    }
    Ok(Item::Tensor(call.constant(array)))
}
