//! Numbers that do not change: parameters and what is computed of them alone.

use std::{collections::HashMap, ops::Deref, sync::Arc};

use crate::{
    Result,
    tensor::{Real, Tensor},
};

/// Shared numbers.
#[derive(Clone, Debug)]
pub(in crate::eval) struct Constant<T>(Arc<Vec<T>>);

impl<T> Deref for Constant<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> From<Vec<T>> for Constant<T> {
    fn from(numbers: Vec<T>) -> Self {
        Self(Arc::new(numbers))
    }
}

/// The parameters that were read; a view that several parameters share is read once.
#[derive(Default)]
pub(in crate::eval) struct Constants<T>(HashMap<View, Constant<T>>);

#[derive(PartialEq, Eq, Hash)]
struct View {
    storage: usize,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
    dtype: &'static str,
}

impl<T: Real> Constants<T> {
    /// The numbers of a tensor.
    pub fn read(&mut self, tensor: &Tensor) -> Result<Constant<T>> {
        let view = View {
            storage: Arc::as_ptr(tensor.storage()) as usize,
            offset: tensor.offset(),
            shape: tensor.shape().to_vec(),
            strides: tensor.strides().to_vec(),
            dtype: tensor.dtype().name(),
        };
        if let Some(known) = self.0.get(&view) {
            return Ok(known.clone());
        }
        let numbers = Constant::from(tensor.to_vec::<T>()?);
        self.0.insert(view, numbers.clone());
        Ok(numbers)
    }
}
