//! Tensors that are known when a program is read, computed then: masks, indices, positions.

use std::{rc::Rc, sync::Arc};

use super::value::{Constant, Operand};
use crate::{
    Error, Result,
    graph::{Broadcast, for_each_index},
    tensor::{DType, Storage, Tensor, contiguous_strides},
};

/// More elements than these are not computed while a program is read.
const LIMIT: usize = 1 << 26;

/// Numbers in row-major order. Integers and bools are exact: all that a double cannot hold are refused.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::load) struct Array {
    pub shape: Vec<usize>,
    pub data: Vec<f64>,
    /// `F64`, `I64` or `Bool`.
    pub dtype: DType,
}

/// The dtype in which numbers of another one are kept here.
pub(in crate::load) fn kept(dtype: DType) -> DType {
    match dtype {
        DType::Bool => DType::Bool,
        dtype if dtype.is_float() => DType::F64,
        _ => DType::I64,
    }
}

fn count(shape: &[usize]) -> Result<usize> {
    let count = shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size));
    count.filter(|&count| count <= LIMIT).ok_or_else(|| {
        Error::unsupported(format!("a constant of shape {shape:?}; at most {LIMIT} elements are computed in advance"))
    })
}

impl Array {
    pub fn new(shape: &[usize], data: Vec<f64>, dtype: DType) -> Self {
        Self { shape: shape.to_vec(), data, dtype: kept(dtype) }
    }

    /// The same number everywhere.
    pub fn full(shape: &[usize], value: f64, dtype: DType) -> Result<Self> {
        Ok(Self::new(shape, vec![value; count(shape)?], dtype))
    }

    /// The numbers of a tensor.
    pub fn of(constant: &Constant) -> Result<Self> {
        let tensor = &constant.tensor;
        count(tensor.shape())?;
        let dtype = kept(tensor.dtype());
        let place = |e: Error| e.at(format!("`{}`", constant.name));
        let data: Vec<f64> = if dtype == DType::I64 {
            let integers: Vec<i64> = tensor.to_vec().map_err(place)?;
            if integers.iter().any(|v| v.unsigned_abs() > 1 << 53) {
                return Err(place(Error::unsupported("integers beyond 2^53")));
            }
            integers.into_iter().map(|v| v as f64).collect()
        } else {
            tensor.to_vec().map_err(place)?
        };
        Ok(Self::new(tensor.shape(), data, dtype))
    }

    /// The tensor that holds these numbers.
    pub fn into_operand(self, name: &Rc<str>) -> Operand {
        let tensor = match self.dtype {
            DType::I64 => Tensor::from_slice(&self.shape, &self.data.iter().map(|&v| v as i64).collect::<Vec<_>>()),
            DType::Bool => {
                let bytes = self.data.iter().map(|&v| u8::from(v != 0.0)).collect();
                let storage = Arc::new(Storage::owned("memory", bytes));
                let strides = contiguous_strides(&self.shape);
                Tensor::new(DType::Bool, self.shape.clone(), strides, 0, storage).expect("the storage was made to fit")
            }
            _ => Tensor::from_slice(&self.shape, &self.data),
        };
        Operand::Constant(Constant { name: name.clone(), tensor })
    }

    /// The same numbers through a function.
    pub fn map(mut self, dtype: DType, f: impl Fn(f64) -> f64) -> Self {
        self.data.iter_mut().for_each(|v| *v = f(*v));
        Self { dtype: kept(dtype), ..self }
    }

    /// A function of two arrays' elements, each repeated to the common shape.
    pub fn zip(&self, other: &Array, dtype: DType, f: impl Fn(f64, f64) -> f64) -> Result<Self> {
        let shape = broadcast(&self.shape, &other.shape)?;
        let count = count(&shape)?;
        let (a, b) = (Broadcast::new(&self.shape, &shape), Broadcast::new(&other.shape, &shape));
        let data = (0..count).map(|e| f(self.data[a.at(e)], other.data[b.at(e)])).collect();
        Ok(Self::new(&shape, data, dtype))
    }

    /// The numbers repeated to this shape.
    pub fn repeated(&self, shape: &[usize]) -> Result<Self> {
        self.zip(&Array::full(shape, 0.0, self.dtype)?, self.dtype, |a, _| a)
    }

    /// A fold over dimensions, which stay with a size of 1.
    pub fn reduce(&self, dims: &[usize], start: f64, dtype: DType, f: impl Fn(f64, f64) -> f64) -> Self {
        let mut shape = self.shape.clone();
        dims.iter().for_each(|&dim| shape[dim] = 1);
        let strides = contiguous_strides(&shape);
        let mut data = vec![start; shape.iter().product()];
        let mut element = 0;
        for_each_index(&self.shape, |index| {
            let at: usize =
                index.iter().zip(&strides).zip(&shape).map(|((i, s), n)| if *n == 1 { 0 } else { i * s }).sum();
            data[at] = f(data[at], self.data[element]);
            element += 1;
        });
        Self::new(&shape, data, dtype)
    }

    /// The indices that it holds, each below `size`, negative ones counted from the end.
    pub fn indices(&self, size: usize) -> Result<Vec<usize>> {
        if self.dtype != DType::I64 {
            return Err(Error::unsupported("an index that does not hold integers"));
        }
        let index = |&v: &f64| {
            let at = if v < 0.0 { v + size as f64 } else { v };
            let fits = at >= 0.0 && at < size as f64;
            fits.then_some(at as usize)
                .ok_or_else(|| Error::format(format!("the index {v} is outside of a dimension of {size}")))
        };
        self.data.iter().map(index).collect()
    }
}

/// Integers, or bools where that is their type, as a known tensor.
pub(in crate::load) fn integers(name: &str, tensor: Tensor, dtype: DType) -> Result<Operand> {
    let constant = Constant { name: name.into(), tensor };
    if kept(dtype) != DType::Bool {
        return Ok(Operand::Constant(constant));
    }
    let array = Array::of(&constant)?;
    Ok(array.map(DType::Bool, |v| f64::from(u8::from(v != 0.0))).into_operand(&constant.name))
}

/// The common shape of two, where sizes of 1 and missing ones take the other's.
pub(in crate::load) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    let (long, short) = if a.len() >= b.len() { (a, b) } else { (b, a) };
    let missing = long.len() - short.len();
    let mut shape = long.to_vec();
    for (size, &other) in shape[missing..].iter_mut().zip(short) {
        *size = match (*size, other) {
            (1, other) => other,
            (size, 1) => size,
            (size, other) if size == other => size,
            _ => return Err(Error::format(format!("shapes {a:?} and {b:?} do not go together"))),
        };
    }
    Ok(shape)
}
