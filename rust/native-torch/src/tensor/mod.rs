//! Tensors as files hold them: a dtype, a shape, strides, and a view into shared storage.

mod dtype;
mod gather;
pub(crate) mod pages;
mod real;
mod source;
mod storage;

use std::sync::Arc;

pub use dtype::{DType, Element};
pub use real::Real;
pub use source::Source;
pub use storage::Storage;

use crate::{Error, Result};

/// An expanded tensor (stride 0) is not written out beyond this many elements.
const EXPANSION_LIMIT: usize = 1 << 24;

/// A strided view into a shared [`Storage`]. Shape, strides and offset count elements.
#[derive(Clone, Debug)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    strides: Vec<usize>,
    offset: usize,
    storage: Arc<Storage>,
    conjugate: bool,
    negative: bool,
}

impl Tensor {
    /// A view into `storage`; an error if the view reaches beyond it.
    pub fn new(
        dtype: DType,
        shape: Vec<usize>,
        strides: Vec<usize>,
        offset: usize,
        storage: Arc<Storage>,
    ) -> Result<Self> {
        if shape.len() != strides.len() {
            return Err(Error::format(format!("a tensor has {} sizes but {} strides", shape.len(), strides.len())));
        }
        let available = storage.len() / dtype.size();
        let overflow =
            || Error::format(format!("the sizes {shape:?} with strides {strides:?} and offset {offset} overflow"));
        let numel = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        // A zero anywhere makes the tensor empty, whatever the product of the others.
        let empty = shape.contains(&0);
        if !empty {
            numel.ok_or_else(overflow)?;
            let mut last = offset;
            for (&d, &s) in shape.iter().zip(&strides) {
                let reach = (d - 1).checked_mul(s).ok_or_else(overflow)?;
                last = last.checked_add(reach).ok_or_else(overflow)?;
            }
            if last >= available {
                return Err(Error::format(format!(
                    "sizes {shape:?}, strides {strides:?} and offset {offset} reach element {last}, but storage `{}` \
                     holds {available} elements of {}",
                    storage.name(),
                    dtype.name()
                )));
            }
        }
        Ok(Self { dtype, shape, strides, offset, storage, conjugate: false, negative: false })
    }

    /// Says that the values are the conjugates of those that are stored, their negatives, or both: torch's lazy `conj` and
    /// `neg`.
    #[must_use]
    pub fn with_signs(mut self, conjugate: bool, negative: bool) -> Self {
        (self.conjugate, self.negative) = (conjugate, negative);
        self
    }

    /// The same storage seen through other sizes, strides and another offset; an error if that reaches beyond it.
    pub fn viewed(&self, shape: Vec<usize>, strides: Vec<usize>, offset: usize) -> Result<Self> {
        let view = Self::new(self.dtype, shape, strides, offset, self.storage.clone())?;
        Ok(view.with_signs(self.conjugate, self.negative))
    }

    /// Whether the other tensor is the same view of the same storage, so that all its elements are these.
    pub fn is_same_view(&self, other: &Self) -> bool {
        let view = |t: &Self| (t.dtype, t.offset, t.conjugate, t.negative);
        Arc::ptr_eq(&self.storage, &other.storage)
            && view(self) == view(other)
            && (&self.shape, &self.strides) == (&other.shape, &other.strides)
    }

    /// A contiguous tensor of its own storage.
    ///
    /// # Panics
    /// If `data` does not have as many elements as `shape` says.
    pub fn from_slice<T: Element>(shape: &[usize], data: &[T]) -> Self {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "tensor of shape {shape:?}");
        let width = size_of::<T>();
        let mut bytes = vec![0; size_of_val(data)];
        bytes.chunks_exact_mut(width).zip(data).for_each(|(place, v)| v.write(place));
        let storage = Arc::new(Storage::owned("memory", bytes));
        Self::new(T::DTYPE, shape.to_vec(), contiguous_strides(shape), 0, storage).expect("the storage was made to fit")
    }

    /// The dtype of the elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The sizes of the dimensions.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The strides of the dimensions, in elements.
    pub fn strides(&self) -> &[usize] {
        &self.strides
    }

    /// The position of the first element in the storage, in elements.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The storage, possibly shared with other tensors.
    pub fn storage(&self) -> &Arc<Storage> {
        &self.storage
    }

    /// The number of elements.
    pub fn numel(&self) -> usize {
        if self.shape.contains(&0) { 0 } else { self.shape.iter().product() }
    }

    /// The elements in row-major order, converted exactly where the target can hold them.
    ///
    /// Fails on a wrong checksum, on a complex dtype, and where a tensor that repeats its storage would be written
    /// out beyond 2^24 elements.
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        let big_endian = self.storage.is_big_endian();
        let mut values = self.collect(T::from_f64(0.0), &|bytes, out| self.dtype.read(bytes, big_endian, out))?;
        if self.negative {
            values.iter_mut().for_each(|value| *value = value.negated());
        }
        Ok(values)
    }

    /// The elements in row-major order as real and imaginary part; the imaginary part of a real dtype is zero.
    ///
    /// Fails as [`Tensor::to_vec`], but not on a complex dtype.
    pub fn to_complex_vec<T: Element>(&self) -> Result<Vec<[T; 2]>> {
        let big_endian = self.storage.is_big_endian();
        let zero = [T::from_f64(0.0); 2];
        let mut values = self.collect(zero, &|bytes, out| self.dtype.read_complex(bytes, big_endian, out))?;
        for [real, imaginary] in &mut values {
            if self.negative {
                *real = real.negated();
            }
            if self.negative != self.conjugate {
                *imaginary = imaginary.negated();
            }
        }
        Ok(values)
    }

    /// The elements in row-major order, as `convert` makes them of bytes.
    fn collect<O: Copy>(&self, zero: O, convert: &Convert<O>) -> Result<Vec<O>> {
        let numel = self.numel();
        let size = self.dtype.size();
        if numel > (self.storage.len() / size).max(EXPANSION_LIMIT) {
            return Err(Error::unsupported(format!(
                "a tensor of shape {:?} repeats its storage `{}` and would take {numel} elements; at most \
                 {EXPANSION_LIMIT} are written out",
                self.shape,
                self.storage.name()
            )));
        }
        if numel == 0 || self.strides == contiguous_strides(&self.shape) {
            let mut out = pages::vec(numel);
            if numel > 0 {
                let range = self.offset * size..(self.offset + numel) * size;
                self.storage.pieces(range, &mut |bytes| convert(bytes, &mut out))?;
            }
            return Ok(out);
        }
        let mut out = pages::vec(numel);
        out.resize(numel, zero);
        gather::gather(self, &mut out, convert)?;
        Ok(out)
    }
}

/// Appends the elements that bytes hold.
type Convert<'a, O> = dyn Fn(&[u8], &mut Vec<O>) -> Result<()> + 'a;

/// The strides of a row-major tensor without gaps.
pub fn contiguous_strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis].saturating_mul(shape[axis].max(1));
    }
    strides
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_is_read_through_its_strides() {
        let base = Tensor::from_slice(&[2, 3], &[0.0f32, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let transposed = Tensor::new(DType::F32, vec![3, 2], vec![1, 3], 0, base.storage().clone()).unwrap();
        assert_eq!(transposed.to_vec::<f64>().unwrap(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        let row = base.viewed(vec![3], vec![1], 3).unwrap();
        assert!(base.viewed(vec![3], vec![1], 4).is_err());
        assert_eq!(row.to_vec::<f32>().unwrap(), [3.0, 4.0, 5.0]);
        let expanded = Tensor::new(DType::F32, vec![2, 2], vec![0, 1], 4, base.storage().clone()).unwrap();
        assert_eq!(expanded.to_vec::<f32>().unwrap(), [4.0, 5.0, 4.0, 5.0]);
    }

    #[test]
    fn signs_and_parts_of_complex_numbers_are_those_of_torch() {
        let storage =
            Arc::new(Storage::owned("x", [1.0f32, 2.0, -3.0, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect()));
        let tensor = Tensor::new(DType::C64, vec![2], vec![1], 0, storage).unwrap();
        let read = |tensor: Tensor| tensor.to_complex_vec::<f64>().unwrap();
        assert_eq!(read(tensor.clone()), [[1.0, 2.0], [-3.0, 4.0]]);
        assert_eq!(read(tensor.clone().with_signs(true, false)), [[1.0, -2.0], [-3.0, -4.0]]);
        assert_eq!(read(tensor.clone().with_signs(true, true)), [[-1.0, 2.0], [3.0, 4.0]]);
        assert_eq!(tensor.to_vec::<f64>().unwrap_err().kind(), crate::ErrorKind::Unsupported);
        let real = Tensor::from_slice(&[2], &[1.0f64, -2.0]).with_signs(false, true);
        assert_eq!(real.to_vec::<f64>().unwrap(), [-1.0, 2.0]);
        assert_eq!(real.to_complex_vec::<f64>().unwrap(), [[-1.0, 0.0], [2.0, 0.0]]);
    }

    #[test]
    fn a_view_beyond_its_storage_is_refused() {
        let storage = Tensor::from_slice(&[6], &[0.0f32; 6]).storage().clone();
        for (shape, strides, offset) in [
            (vec![7], vec![1], 0),
            (vec![6], vec![1], 1),
            (vec![2, 2], vec![5, 1], 0),
            (vec![usize::MAX, 2], vec![1, 1], 0),
            (vec![2], vec![usize::MAX], 1),
        ] {
            let error = Tensor::new(DType::F32, shape, strides, offset, storage.clone()).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Format, "{error}");
        }
        Tensor::new(DType::F32, vec![0, usize::MAX], vec![1, 1], 9, storage).unwrap();
    }

    #[test]
    fn a_huge_expanded_tensor_is_not_written_out() {
        let storage = Tensor::from_slice(&[1], &[1.0f32]).storage().clone();
        let tensor = Tensor::new(DType::F32, vec![1 << 40], vec![0], 0, storage).unwrap();
        assert_eq!(tensor.to_vec::<f64>().unwrap_err().kind(), crate::ErrorKind::Unsupported);
    }
}
