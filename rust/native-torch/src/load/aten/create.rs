//! Tensors that are made of numbers.

use super::{
    call::{Call, plain},
    constant::Array,
    value::Item,
};
use crate::{Error, Result, tensor::DType};

/// The dtype that a call asks for, else that of the number that fills it.
fn dtype(call: &Call, missing: DType) -> Result<DType> {
    Ok(call.dtype("dtype")?.unwrap_or(missing))
}

fn full_of(call: &mut Call, sizes: &[usize], value: f64, missing: DType) -> Result<Item> {
    let array = Array::full(sizes, value, dtype(call, missing)?)?;
    Ok(Item::Tensor(call.constant(array)))
}

/// The type of a number among the arguments.
fn kind(call: &Call, name: &str) -> Result<DType> {
    let at = call.parameters.iter().position(|&parameter| parameter == name);
    Ok(match at.and_then(|at| call.arguments.get(at)).map(plain).transpose()? {
        Some(Item::Int(_)) => DType::I64,
        Some(Item::Bool(_)) => DType::Bool,
        _ => DType::F64,
    })
}

pub(super) fn full(call: &mut Call) -> Result<Item> {
    let (sizes, value) = (call.sizes("size")?, call.float("fill_value")?);
    let missing = kind(call, "fill_value")?;
    full_of(call, &sizes, value, missing)
}

pub(super) fn zeros(call: &mut Call) -> Result<Item> {
    let sizes = call.sizes("size")?;
    full_of(call, &sizes, 0.0, DType::F64)
}

pub(super) fn ones(call: &mut Call) -> Result<Item> {
    let sizes = call.sizes("size")?;
    full_of(call, &sizes, 1.0, DType::F64)
}

/// A number, or zeros or ones, of the sizes and the type of another tensor.
fn like(call: &mut Call, value: f64) -> Result<Item> {
    let x = call.tensor("self")?;
    let sizes = match call.has("size") {
        true => call.sizes("size")?,
        false => call.context.sizes(&x, "a tensor of the same sizes")?,
    };
    let own = call.context.dtype(&x);
    full_of(call, &sizes, value, own)
}

pub(super) fn zeros_like(call: &mut Call) -> Result<Item> {
    like(call, 0.0)
}

pub(super) fn ones_like(call: &mut Call) -> Result<Item> {
    like(call, 1.0)
}

pub(super) fn full_like(call: &mut Call) -> Result<Item> {
    let value = call.float("fill_value")?;
    like(call, value)
}

pub(super) fn scalar_tensor(call: &mut Call) -> Result<Item> {
    let value = call.float("s")?;
    full_of(call, &[], value, DType::F64)
}

pub(super) fn arange(call: &mut Call) -> Result<Item> {
    let (start, end) = (if call.has("start") { call.float("start")? } else { 0.0 }, call.float("end")?);
    let step = if call.has("step") { call.float("step")? } else { 1.0 };
    let count = ((end - start) / step).ceil();
    if !count.is_finite() || !(0.0..1e9).contains(&count) {
        return Err(Error::format(format!("numbers from {start} to {end} in steps of {step}")));
    }
    let whole =
        ["start", "end", "step"].iter().all(|name| !call.has(name) || matches!(kind(call, name), Ok(DType::I64)));
    let array = Array::full(&[count as usize], 0.0, dtype(call, if whole { DType::I64 } else { DType::F64 })?)?;
    let mut array = array;
    array.data.iter_mut().enumerate().for_each(|(i, v)| *v = start + i as f64 * step);
    Ok(Item::Tensor(call.constant(array)))
}

pub(super) fn linspace(call: &mut Call) -> Result<Item> {
    let array = spaced(call)?;
    Ok(Item::Tensor(call.constant(array)))
}

/// A number to powers that are evenly spaced.
pub(super) fn logspace(call: &mut Call) -> Result<Item> {
    let (array, base) = (spaced(call)?, call.float("base")?);
    let dtype = array.dtype;
    Ok(Item::Tensor(call.constant(array.map(dtype, |exponent| base.powf(exponent)))))
}

/// Evenly spaced numbers.
fn spaced(call: &Call) -> Result<Array> {
    let (start, end) = (call.float("start")?, call.float("end")?);
    let steps = usize::try_from(call.int("steps")?).map_err(|_| Error::format("argument `steps` is negative"))?;
    let mut array = Array::full(&[steps], start, dtype(call, DType::F64)?)?;
    let step = (end - start) / steps.saturating_sub(1).max(1) as f64;
    // From both ends, so that both are exact.
    let back = |i: usize| end - (steps - 1 - i) as f64 * step;
    array
        .data
        .iter_mut()
        .enumerate()
        .for_each(|(i, v)| *v = if i < steps / 2 { start + i as f64 * step } else { back(i) });
    if steps == 1 {
        array.data[0] = start;
    }
    Ok(array)
}

pub(super) fn eye(call: &mut Call) -> Result<Item> {
    let n = usize::try_from(call.int("n")?).map_err(|_| Error::format("argument `n` is negative"))?;
    let m = if call.has("m") { usize::try_from(call.int("m")?).unwrap_or(0) } else { n };
    let mut array = Array::full(&[n, m], 0.0, dtype(call, DType::F64)?)?;
    (0..n.min(m)).for_each(|i| array.data[i * m + i] = 1.0);
    Ok(Item::Tensor(call.constant(array)))
}

/// The triangle below or above a diagonal of a known matrix; zeros elsewhere.
fn triangle(call: &mut Call, below: bool) -> Result<Item> {
    let x = call.tensor("self")?;
    let diagonal = call.int("diagonal")?;
    let sizes = call.context.sizes(&x, "a triangle")?;
    let Some((_, &[rows, columns])) = sizes.split_last_chunk::<2>() else {
        return Err(Error::format("a triangle of less than a matrix"));
    };
    let keep = |e: usize| {
        let (row, column) = ((e / columns) as i64, (e % columns) as i64);
        if below { column - row <= diagonal } else { column - row >= diagonal }
    };
    if let Some(constant) = x.constant() {
        let mut array = Array::of(constant)?;
        let area = rows * columns;
        array.data.iter_mut().enumerate().filter(|(e, _)| !keep(e % area)).for_each(|(_, v)| *v = 0.0);
        return Ok(Item::Tensor(call.constant(array)));
    }
    let mask = (0..rows * columns).map(|e| f64::from(u8::from(keep(e)))).collect();
    let mask = call.constant(Array::new(&[rows, columns], mask, DType::F64));
    super::elementwise::product(call, &x, &mask).map(Item::Tensor)
}

pub(super) fn lower_triangle(call: &mut Call) -> Result<Item> {
    triangle(call, true)
}

pub(super) fn upper_triangle(call: &mut Call) -> Result<Item> {
    triangle(call, false)
}

/// One number of a known tensor.
pub(super) fn item(call: &mut Call) -> Result<Item> {
    let x = call.tensor("self")?;
    let constant = x.constant().ok_or_else(|| Error::unsupported("a number that depends on the input"))?;
    match constant.tensor.numel() {
        1 => plain(&Item::Tensor(x)),
        _ => Err(Error::format("the number of a tensor of several elements")),
    }
}
