//! Tensors as a table, and their numbers.

use std::{collections::HashMap, sync::Arc};

use engine::{
    Error, Result,
    load::{NamedTensor, TensorInfo},
    tensor::Tensor,
};

use crate::{
    strings::{NtStrings, Strings},
    types::{NtIntegersMut, NtSliceMut, integers, write},
};

/// The tensors of a file or a model, also those that cannot be used. All arrays but the last two have `count` entries.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NtTensors {
    /// How many tensors there are.
    pub count: usize,
    /// The keys that lead to each, joined by dots: `2.0.weight`, counted from the model, part or value.
    pub names: NtStrings,
    /// How each is stored: `strided` for a plain dense tensor, else `sparse_coo`, `sparse_csr`, `sparse_csc`, `sparse_bsr`,
    /// `sparse_bsc`, `quantized`, `nested`, `meta`, `uninitialized`, `subclass` or `unknown`.
    pub kinds: NtStrings,
    /// Their element types in the file, by torch's names: `float32`. Empty where the file does not say.
    pub dtypes: NtStrings,
    /// Why a tensor cannot be used; empty where it can.
    pub reasons: NtStrings,
    /// 1 for a parameter, 0 for a buffer or another tensor.
    pub is_parameter: *const u8,
    /// The storage that each lies in: a number that is the same for tensors that share one, and `SIZE_MAX` for those that
    /// cannot be used.
    pub storages: *const usize,
    /// Where the sizes of each begin in `sizes`, and the end of the last: `count + 1` entries. A tensor that cannot be used
    /// may have none.
    pub shape_starts: *const usize,
    /// The sizes of all.
    pub sizes: *const usize,
}

/// What [`NtTensors`] points into.
#[derive(Debug)]
pub struct Tensors {
    tensors: Vec<Result<Tensor>>,
    names: Strings,
    kinds: Strings,
    dtypes: Strings,
    reasons: Strings,
    is_parameter: Vec<u8>,
    storages: Vec<usize>,
    shape_starts: Vec<usize>,
    sizes: Vec<usize>,
}

impl Tensors {
    /// The table of these tensors.
    pub fn new(all: Vec<NamedTensor>) -> Self {
        let mut numbers = HashMap::new();
        let mut storage = |tensor: &Result<Tensor>| match tensor {
            Ok(tensor) => {
                let next = numbers.len();
                *numbers.entry(Arc::as_ptr(tensor.storage())).or_insert(next)
            }
            Err(_) => usize::MAX,
        };
        let info = || all.iter().map(|tensor: &NamedTensor| &tensor.info);
        let shape = |info: &TensorInfo| info.shape.clone().unwrap_or_default();
        let ends = info().scan(0, |end, info| {
            *end += shape(info).len();
            Some(*end)
        });
        Self {
            names: all.iter().map(|tensor| &tensor.name).collect(),
            kinds: info().map(|info| &info.kind).collect(),
            dtypes: info().map(|info| info.dtype.as_deref().unwrap_or_default()).collect(),
            reasons: all.iter().map(|tensor| tensor.tensor.as_ref().err().map_or("", Error::message)).collect(),
            is_parameter: info().map(|info| info.is_parameter.into()).collect(),
            storages: all.iter().map(|tensor| storage(&tensor.tensor)).collect(),
            shape_starts: std::iter::once(0).chain(ends).collect(),
            sizes: info().flat_map(shape).collect(),
            tensors: all.into_iter().map(|tensor| tensor.tensor).collect(),
        }
    }

    /// Pointers that are valid as long as this value.
    pub fn as_c(&self) -> NtTensors {
        NtTensors {
            count: self.tensors.len(),
            names: self.names.as_c(),
            kinds: self.kinds.as_c(),
            dtypes: self.dtypes.as_c(),
            reasons: self.reasons.as_c(),
            is_parameter: self.is_parameter.as_ptr(),
            storages: self.storages.as_ptr(),
            shape_starts: self.shape_starts.as_ptr(),
            sizes: self.sizes.as_ptr(),
        }
    }

    fn tensor(&self, index: usize) -> Result<&Tensor> {
        let tensor = self
            .tensors
            .get(index)
            .ok_or_else(|| Error::argument(format!("tensor {index} of {}; they count from 0", self.tensors.len())))?;
        tensor.as_ref().map_err(Error::clone)
    }

    /// Writes the numbers of a tensor; of complex ones, the real and the imaginary part in turn.
    pub fn values(&self, index: usize, values: NtSliceMut) -> Result<()> {
        let tensor = self.tensor(index)?;
        let count = if tensor.dtype().is_complex() { tensor.numel().saturating_mul(2) } else { tensor.numel() };
        let values = write(values, "values", count, &[])?;
        check_length(values.len(), count)?;
        if tensor.dtype().is_complex() {
            values.copy_from_slice(tensor.to_complex_vec()?.as_flattened());
        } else {
            values.copy_from_slice(&tensor.to_vec()?);
        }
        Ok(())
    }

    /// Writes the numbers of a tensor of integers or bools, those of `uint64` with their bits.
    pub fn integers(&self, index: usize, values: NtIntegersMut) -> Result<()> {
        let tensor = self.tensor(index)?;
        let dtype = tensor.dtype();
        if dtype.is_float() || dtype.is_complex() {
            return Err(Error::argument(format!("tensor {index} is of dtype {}, not of integers", dtype.name())));
        }
        let values = integers(values, "values", tensor.numel())?;
        check_length(values.len(), tensor.numel())?;
        if dtype == engine::tensor::DType::U64 {
            let found = tensor.to_vec::<u64>()?;
            values.iter_mut().zip(found).for_each(|(value, found)| *value = found as i64);
        } else {
            values.copy_from_slice(&tensor.to_vec()?);
        }
        Ok(())
    }
}

fn check_length(found: usize, expected: usize) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(Error::argument(format!("values has length {found}, but {expected} is expected")))
}
