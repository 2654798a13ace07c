//! What each element of an operation's result reads: linear operations with fixed coefficients and maximum pools,
//! stated once for all rooms.

use super::{Axis, Op, Padding, Read, Windows, windows::strides};

/// What the elements of a result read of one operand, the same for all leading and all trailing indices: a linear map is
/// `y[o, q, i] = sum over the reads p of q of weight x[o, p, i]`, and a constant where nothing is read.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// How many leading indices there are.
    pub outer: usize,
    /// How many trailing indices there are.
    pub inner: usize,
    /// The number of places of the operand between them.
    pub plane: usize,
    /// What each place of the result reads.
    pub windows: Windows,
    /// What stands where nothing is read.
    pub constant: f64,
}

impl Map {
    /// The map of an operation on an operand of these sizes; `None` for operations that are not such a map.
    pub fn of(op: &Op, x: &[usize]) -> Option<Self> {
        Some(match op {
            Op::AvgPool(pool) => Self::planes(pool.kernel.len(), x, |plane| Windows::average(pool, plane)),
            Op::AdaptiveAvgPool(sizes) => Self::planes(sizes.len(), x, |plane| adaptive(sizes, plane)),
            Op::Upsample(upsample) => Self::planes(upsample.target.len(), x, |plane| {
                let result: Vec<usize> = (0..plane.len()).filter_map(|i| upsample.target.size(i, plane[i])).collect();
                Windows::interpolation(upsample, plane, &result)
            }),
            Op::Unfold(blocks) => Self::planes(blocks.kernel.len(), x, |plane| {
                let strides = strides(plane);
                let taps = (0..plane.len())
                    .map(|i| Axis::copies((0..blocks.kernel[i]).map(|k| k * blocks.dilation[i] * strides[i])));
                let starts = (0..plane.len())
                    .map(|i| Axis::copies((0..blocks.count(i, plane[i])).map(|l| l * blocks.stride[i] * strides[i])));
                Windows::new(taps.chain(starts).collect())
            }),
            Op::Fold { sizes, blocks } => {
                let counts: Vec<usize> = sizes.iter().enumerate().map(|(i, &size)| blocks.count(i, size)).collect();
                let plane: usize = blocks.kernel.iter().chain(&counts).product();
                let columns = [&x[..x.len() - 2], &[x.iter().rev().take(2).product::<usize>() / plane.max(1), plane]];
                Self::planes(1, &columns.concat(), |_| Windows::folding(blocks, sizes, &counts))
            }
            Op::Pad { amounts, padding } => {
                let constant = if let Padding::Constant(value) = padding { *value } else { 0.0 };
                let map = Self::planes(amounts.len(), x, |plane| Windows::padding(amounts, *padding, plane));
                Self { constant, ..map }
            }
            Op::Permute { dims } => Self::permutation(dims, x),
            Op::Slice { dim, start, end, step } => {
                let taken = (*start..*end.min(&x[*dim])).step_by(*step);
                Self::between(*dim, dim + 1, x, vec![Axis::copies(taken)])
            }
            Op::Sum { dims, .. } => Self::sum(dims, x, |_| 1.0),
            Op::Mean { dims, .. } => Self::sum(dims, x, |size| 1.0 / size as f64),
            _ => return None,
        })
    }

    /// What a maximum pool reads of an operand of these sizes: its result is the largest, and minus infinity where
    /// nothing is read. `None` for other operations.
    pub fn of_maximum(op: &Op, x: &[usize]) -> Option<Self> {
        let map = match op {
            Op::MaxPool(pool) => Self::planes(pool.kernel.len(), x, |plane| Windows::maximum(pool, plane)),
            Op::AdaptiveMaxPool(sizes) => Self::planes(sizes.len(), x, |plane| adaptive(sizes, plane)),
            _ => return None,
        };
        Some(Self { constant: f64::NEG_INFINITY, ..map })
    }

    /// A map of planes: the last dimensions.
    fn planes(dims: usize, x: &[usize], windows: impl FnOnce(&[usize]) -> Windows) -> Self {
        let (outer, plane) = x.split_at(x.len() - dims);
        let windows = windows(plane);
        let (outer, plane) = (outer.iter().product(), plane.iter().product());
        Self { outer, inner: 1, plane, windows, constant: 0.0 }
    }

    /// A map of the dimensions `first .. last`.
    fn between(first: usize, last: usize, x: &[usize], axes: Vec<Axis>) -> Self {
        let size = |sizes: &[usize]| sizes.iter().product();
        let (outer, inner, plane) = (size(&x[..first]), size(&x[last..]), size(&x[first..last]));
        Self { outer, inner, plane, windows: Windows::new(axes), constant: 0.0 }
    }

    /// Dimensions in another order. Those that stay where they are, and those that stay neighbours, move as one.
    fn permutation(dims: &[usize], x: &[usize]) -> Self {
        let moved = |(to, &from): (usize, &usize)| to != from;
        let first = dims.iter().enumerate().position(moved).unwrap_or(dims.len());
        let last = dims.iter().enumerate().rposition(moved).map_or(first, |last| last + 1);
        let strides = strides(&x[..last]);
        let runs = dims[first..last].chunk_by(|a, b| a + 1 == *b);
        let axis = |run: &[usize]| {
            let size: usize = run.iter().map(|&dim| x[dim]).product();
            Axis::copies((0..size).map(|i| i * strides[run[run.len() - 1]]))
        };
        Self::between(first, last, x, runs.map(axis).collect())
    }

    /// Sums over dimensions; `weight` is given the size of each.
    fn sum(dims: &[usize], x: &[usize], weight: impl Fn(usize) -> f64) -> Self {
        let first = dims.iter().copied().min().unwrap_or(0);
        let last = dims.iter().copied().max().map_or(0, |last| last + 1);
        let strides = strides(&x[..last]);
        let axis = |dim: usize| {
            let places = (0..x[dim]).map(|i| i * strides[dim]);
            if !dims.contains(&dim) {
                return Axis::copies(places);
            }
            let weight = weight(x[dim]);
            Axis::new([places.map(|place| Read { weight, ..Read::at(place) })])
        };
        Self::between(first, last, x, (first..last).map(axis).collect())
    }

    /// The number of elements of the result.
    pub fn len(&self) -> usize {
        self.outer * self.windows.len() * self.inner
    }

    /// Whether the result has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many reads there are in all.
    pub fn total(&self) -> usize {
        self.outer * self.windows.total() * self.inner
    }

    /// Calls `f` for each element of the result with the elements of the operand behind it and their weights; in order.
    pub fn for_each(&self, mut f: impl FnMut(usize, &mut dyn Iterator<Item = (usize, f64)>)) {
        for o in 0..self.outer {
            self.windows.for_each(|place, reads| {
                for i in 0..self.inner {
                    let element = (o * self.windows.len() + place) * self.inner + i;
                    let read = |read: &Read| ((o * self.plane + read.place) * self.inner + i, read.weight);
                    f(element, &mut reads.iter().map(read));
                }
            });
        }
    }
}

fn adaptive(sizes: &[Option<usize>], plane: &[usize]) -> Windows {
    let result: Vec<usize> = sizes.iter().zip(plane).map(|(size, &own)| size.unwrap_or(own)).collect();
    Windows::adaptive(plane, &result)
}

/// From elements of a result to those of an operand that is repeated to the result's sizes.
#[derive(Clone, Debug)]
pub struct Broadcast(Repetition);

#[derive(Clone, Debug)]
enum Repetition {
    /// Every element stands for itself.
    None,
    /// Each of so many elements stands for `inner` elements of the result, all of them again and again.
    Block { inner: usize, length: usize },
    /// The operand's element for each one of the result.
    Table(Vec<u32>),
}

impl Broadcast {
    /// The rule for an operand of these sizes: its dimensions stand under the result's last ones, and a size of 1 is
    /// repeated.
    pub fn new(operand: &[usize], result: &[usize]) -> Self {
        if operand == result {
            return Self(Repetition::None);
        }
        let missing = result.len() - operand.len();
        let whole = |dim: usize| dim >= missing && operand[dim - missing] == result[dim];
        let wide = |dim: &usize| *dim >= missing && operand[*dim - missing] != 1;
        let first = (0..result.len()).find(wide).unwrap_or(result.len());
        let end = (0..result.len()).rfind(wide).map_or(first, |last| last + 1);
        if (first..end).all(whole) {
            let product = |sizes: &[usize]| sizes.iter().product::<usize>().max(1);
            return Self(Repetition::Block { inner: product(&result[end..]), length: product(&result[first..end]) });
        }
        let mut strides = vec![0; result.len()];
        let mut stride = 1;
        for (dim, &size) in operand.iter().enumerate().rev() {
            if size != 1 {
                strides[missing + dim] = stride;
            }
            stride *= size;
        }
        let mut elements = Vec::with_capacity(result.iter().product());
        super::for_each_index(result, |index| {
            elements.push(index.iter().zip(&strides).map(|(i, stride)| i * stride).sum::<usize>() as u32);
        });
        Self(Repetition::Table(elements))
    }

    /// Whether every element stands for itself.
    pub fn is_identity(&self) -> bool {
        matches!(self.0, Repetition::None)
    }

    /// For an operand whose elements are repeated as a block: for how many elements of the result in a row each of them
    /// stands, and how many there are.
    pub fn block(&self) -> Option<(usize, usize)> {
        match self.0 {
            Repetition::Block { inner, length } => Some((inner, length)),
            _ => None,
        }
    }

    /// The operand's element that stands for an element of the result.
    #[inline]
    pub fn at(&self, element: usize) -> usize {
        match &self.0 {
            Repetition::None => element,
            Repetition::Block { inner, length } => element / inner % length,
            Repetition::Table(elements) => elements[element] as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operands_are_repeated_along_missing_dimensions_and_those_of_one() {
        let all = |operand: &[usize], result: &[usize]| {
            let broadcast = Broadcast::new(operand, result);
            (0..result.iter().product()).map(|e| broadcast.at(e)).collect::<Vec<_>>()
        };
        assert_eq!(all(&[2, 1], &[2, 3]), [0, 0, 0, 1, 1, 1]);
        assert_eq!(all(&[3], &[2, 3]), [0, 1, 2, 0, 1, 2]);
        assert_eq!(all(&[], &[2]), [0, 0]);
        assert_eq!(all(&[2, 1], &[2, 2, 2]), [0, 0, 1, 1, 0, 0, 1, 1]);
        assert_eq!(all(&[2, 1, 2], &[2, 2, 2]), [0, 1, 0, 1, 2, 3, 2, 3]);
        assert_eq!(Broadcast::new(&[2, 1, 1], &[3, 2, 4, 5]).block(), Some((20, 2)));
        assert!(Broadcast::new(&[2, 3], &[2, 3]).is_identity());
    }
}
