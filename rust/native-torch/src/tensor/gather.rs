//! Strided elements in the order in which they are stored, so that a view of a long storage takes little memory.

use super::{Convert, Tensor};
use crate::Result;

/// Bytes that are held at a time.
const WINDOW: usize = 1 << 22;
/// Bytes that are read at a place where nothing says that what follows is needed.
const PROBE: usize = 1 << 14;
/// Elements that are converted at a time.
const BLOCK: usize = 1 << 12;

/// A dimension: its size, and its strides in the storage and in the row-major result, in elements.
#[derive(Clone, Copy)]
struct Axis {
    size: usize,
    stride: usize,
    step: usize,
}

/// Writes the elements of a tensor that is not empty to `out` in row-major order.
pub(super) fn gather<O: Copy>(tensor: &Tensor, out: &mut [O], convert: &Convert<O>) -> Result<()> {
    let mut step = 1;
    let mut axes: Vec<Axis> = Vec::new();
    for (&size, &stride) in tensor.shape.iter().zip(&tensor.strides).rev() {
        if size > 1 {
            axes.push(Axis { size, stride, step });
        }
        step *= size;
    }
    let size = tensor.dtype.size();
    let last = tensor.offset + axes.iter().map(|axis| (axis.size - 1) * axis.stride).sum::<usize>();
    axes.sort_by_key(|axis| std::cmp::Reverse(axis.stride));
    let inner = axes.pop().unwrap_or(Axis { size: 1, stride: 1, step: 1 });
    // As many elements of the innermost dimension as fit into the bytes that are read at once.
    let block = (PROBE / size / inner.stride.max(1)).clamp(1, BLOCK);

    let mut window = Window { tensor, end: (last + 1) * size, bytes: Vec::new(), start: 0 };
    let (mut packed, mut values) = (Vec::new(), Vec::new());
    let mut index = vec![0; axes.len()];
    loop {
        let sum = |f: fn(&Axis) -> usize| index.iter().zip(&axes).map(|(i, axis)| i * f(axis)).sum::<usize>();
        let (from, to) = (tensor.offset + sum(|axis| axis.stride), sum(|axis| axis.step));
        for first in (0..inner.size).step_by(block) {
            let count = block.min(inner.size - first);
            let start = (from + first * inner.stride) * size;
            let bytes = window.bytes(start, ((count - 1) * inner.stride + 1) * size)?;
            packed.clear();
            (0..count).for_each(|i| packed.extend_from_slice(&bytes[i * inner.stride * size..][..size]));
            values.clear();
            convert(&packed, &mut values)?;
            for (i, &value) in values.iter().enumerate() {
                out[to + (first + i) * inner.step] = value;
            }
        }
        let Some(axis) = (0..axes.len()).rev().find(|&a| index[a] + 1 < axes[a].size) else { return Ok(()) };
        index[axis] += 1;
        index[axis + 1..].fill(0);
    }
}

/// A part of the storage in memory.
struct Window<'a> {
    tensor: &'a Tensor,
    /// Where the tensor ends in the storage, in bytes.
    end: usize,
    bytes: Vec<u8>,
    start: usize,
}

impl Window<'_> {
    /// The bytes of the storage from `start` on.
    fn bytes(&mut self, start: usize, length: usize) -> Result<&[u8]> {
        let held = self.start..self.start + self.bytes.len();
        if start < held.start || start + length > held.end {
            // What follows what was held is likely to be needed as a whole, and so is the beginning.
            let follows = self.bytes.is_empty() || (held.start..held.end + PROBE).contains(&start);
            let most = (if follows { WINDOW } else { PROBE }).max(length);
            let range = start..(start + most).min(self.end);
            let mut buffer = std::mem::take(&mut self.bytes);
            let found = self.tensor.storage.read(range, &mut buffer)?;
            self.bytes = found.to_vec();
            self.start = start;
        }
        Ok(&self.bytes[start - self.start..][..length])
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DType, Tensor};

    /// What the definition of a strided tensor says, element by element.
    fn by_definition(data: &[f64], shape: &[usize], strides: &[usize], offset: usize) -> Vec<f64> {
        let numel: usize = shape.iter().product();
        let element = |mut flat: usize| {
            let mut at = offset;
            for (&size, &stride) in shape.iter().zip(strides).rev() {
                at += flat % size * stride;
                flat /= size;
            }
            data[at]
        };
        (0..numel).map(element).collect()
    }

    #[test]
    fn views_of_long_storages_are_read_as_defined() {
        let data: Vec<f64> = (0..3 << 20).map(f64::from).collect();
        let base = Tensor::from_slice(&[data.len()], &data);
        for (shape, strides, offset) in [
            (vec![3, 2048, 512], vec![1, 1536, 3], 0),
            (vec![1024, 3072], vec![1, 1024], 0),
            (vec![700, 700], vec![1, 4000], 17),
            (vec![5, 4], vec![600_000, 150_000], 1),
            (vec![1000, 1000], vec![1, 1], 5),
            (vec![2, 3, 2], vec![0, 1_000_000, 2], 9),
            (vec![1, 1], vec![7, 7], 3),
        ] {
            let tensor =
                Tensor::new(DType::F64, shape.clone(), strides.clone(), offset, base.storage().clone()).unwrap();
            let found = tensor.to_vec::<f64>().unwrap();
            assert!(found == by_definition(&data, &shape, &strides, offset), "{shape:?} {strides:?}");
        }
    }
}
