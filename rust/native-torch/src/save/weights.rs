//! The numbers of weights as files hold them: contiguous, little-endian, in one floating-point type, each tensor once.

use super::aten::Weight;
use crate::{
    Result,
    tensor::{DType, Element, Tensor},
};

/// The dtype in which values of a dtype are written, where `float` is the type that is computed in.
pub(super) fn dtype(of: DType, float: DType) -> DType {
    match of {
        _ if of.is_float() => float,
        _ if of.is_complex() => {
            if float == DType::F64 {
                DType::C128
            } else {
                DType::C64
            }
        }
        DType::Bool | DType::I32 | DType::I16 | DType::I8 | DType::U8 => of,
        _ => DType::I64,
    }
}

/// The numbers of a tensor.
pub(super) fn bytes(tensor: &Tensor, float: DType) -> Result<Vec<u8>> {
    match dtype(tensor.dtype(), float) {
        DType::F64 => little_endian::<f64>(tensor),
        DType::F32 => little_endian::<f32>(tensor),
        DType::C128 => Ok(little_endian_of(tensor.to_complex_vec::<f64>()?.as_flattened())),
        DType::C64 => Ok(little_endian_of(tensor.to_complex_vec::<f32>()?.as_flattened())),
        DType::Bool => Ok(tensor.to_vec::<f64>()?.into_iter().map(|v| u8::from(v != 0.0)).collect()),
        short @ (DType::I32 | DType::I16 | DType::I8 | DType::U8) => {
            let bytes = |value: i64| value.to_le_bytes().into_iter().take(short.size());
            Ok(tensor.to_vec::<i64>()?.into_iter().flat_map(bytes).collect())
        }
        _ => little_endian::<i64>(tensor),
    }
}

fn little_endian<T: Element>(tensor: &Tensor) -> Result<Vec<u8>> {
    Ok(little_endian_of(&tensor.to_vec::<T>()?))
}

fn little_endian_of<T: Element>(numbers: &[T]) -> Vec<u8> {
    let mut bytes = vec![0; size_of_val(numbers)];
    bytes.chunks_exact_mut(size_of::<T>()).zip(numbers).for_each(|(place, number)| number.write(place));
    bytes
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
