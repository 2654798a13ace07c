//! The numbers of weights as files hold them: contiguous, little-endian, in one floating-point type, each tensor once.

use super::aten::Weight;
use crate::{
    Result,
    tensor::{DType, Element, Tensor},
};

/// The dtype in which values of a graph's dtype are written, where `float` is the type that is computed in.
pub(super) fn dtype(of: DType, float: DType) -> DType {
    if of.is_float() { float } else { of }
}

/// The numbers of a tensor.
pub(super) fn bytes(tensor: &Tensor, float: DType) -> Result<Vec<u8>> {
    match dtype(tensor.dtype(), float) {
        DType::F64 => little_endian::<f64>(tensor),
        DType::F32 => little_endian::<f32>(tensor),
        DType::Bool => Ok(tensor.to_vec::<f64>()?.into_iter().map(|v| u8::from(v != 0.0)).collect()),
        _ => little_endian::<i64>(tensor),
    }
}

fn little_endian<T: Element>(tensor: &Tensor) -> Result<Vec<u8>> {
    let numbers: Vec<T> = tensor.to_vec()?;
    let mut bytes = vec![0; size_of_val(&numbers[..])];
    bytes.chunks_exact_mut(size_of::<T>()).zip(&numbers).for_each(|(place, number)| number.write(place));
    Ok(bytes)
}

/// For each weight, which of the stored tensors it is: tensors that are the same view are stored once.
pub(super) fn stored(weights: &[Weight]) -> Vec<usize> {
    let mut firsts: Vec<&Tensor> = Vec::new();
    let mut numbers = Vec::with_capacity(weights.len());
    for weight in weights {
        let found = firsts.iter().position(|first| first.is_same_view(&weight.tensor));
        numbers.push(found.unwrap_or(firsts.len()));
        if found.is_none() {
            firsts.push(&weight.tensor);
        }
    }
    numbers
}
