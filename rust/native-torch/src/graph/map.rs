//! Linear operations with fixed coefficients: what each element of their result is made of, stated once for all rooms.

use super::{Op, Padding, Windows, average_divisors};

/// A linear map of one operand that is the same for all leading and all trailing indices: the result is
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
    /// The weight of each read, in the order of the windows; without them all are 1.
    pub weights: Option<Vec<f64>>,
    /// What stands where nothing is read.
    pub constant: f64,
}

impl Map {
    /// The map of an operation on an operand of these sizes; `None` for operations that are not such a map.
    pub fn of(op: &Op, x: &[usize]) -> Option<Self> {
        Some(match op {
            Op::AvgPool(pool) => {
                let plane = &x[x.len() - pool.kernel.len()..];
                let windows = Windows::average(pool, plane);
                let divisors = average_divisors(pool, plane);
                let weights =
                    windows.iter().flat_map(|(q, reads)| reads.iter().map(move |_| q)).map(|q| 1.0 / divisors[q]);
                let weights = Some(weights.collect());
                Self { weights, ..Self::planes(windows, x, plane.len()) }
            }
            Op::Pad { amounts, padding } => {
                let plane = &x[x.len() - amounts.len()..];
                let constant = if let Padding::Constant(value) = padding { *value } else { 0.0 };
                Self { constant, ..Self::planes(Windows::padding(amounts, *padding, plane), x, plane.len()) }
            }
            Op::Permute { dims } => {
                let moved = |(to, &from): (usize, &usize)| to != from;
                let first = dims.iter().enumerate().position(moved).unwrap_or(dims.len());
                let last = dims.iter().enumerate().rposition(moved).map_or(first, |last| last + 1);
                let strides = strides(&x[..last]);
                let axis = |&dim: &usize| (0..x[dim]).map(|i| vec![i * strides[dim]]).collect();
                Self::between(first, last, dims[first..last].iter().map(axis).collect(), x)
            }
            Op::Slice { dim, start, end, step } => {
                let taken = (*start..*end.min(&x[*dim])).step_by(*step);
                Self::between(*dim, dim + 1, vec![taken.map(|i| vec![i]).collect()], x)
            }
            Op::Sum { dims, .. } => Self::sum(dims, x),
            Op::Mean { dims, .. } => {
                let map = Self::sum(dims, x);
                let count: usize = dims.iter().map(|&dim| x[dim]).product();
                let weights = Some(vec![1.0 / count as f64; map.windows.total()]);
                Self { weights, ..map }
            }
            _ => return None,
        })
    }

    /// Sums over dimensions.
    fn sum(dims: &[usize], x: &[usize]) -> Self {
        let first = dims.iter().copied().min().unwrap_or(0);
        let last = dims.iter().copied().max().map_or(0, |last| last + 1);
        let strides = strides(&x[..last]);
        let axis = |dim: usize| {
            let all = (0..x[dim]).map(|i| i * strides[dim]);
            if dims.contains(&dim) { vec![all.collect()] } else { all.map(|i| vec![i]).collect() }
        };
        Self::between(first, last, (first..last).map(axis).collect(), x)
    }

    /// A map of the dimensions `first .. last`, from what each index of each of the result's dimensions reads.
    fn between(first: usize, last: usize, axes: Vec<Vec<Vec<usize>>>, x: &[usize]) -> Self {
        let size = |sizes: &[usize]| sizes.iter().product();
        Self {
            outer: size(&x[..first]),
            inner: size(&x[last..]),
            plane: size(&x[first..last]),
            windows: Windows::product(&axes),
            weights: None,
            constant: 0.0,
        }
    }

    /// A map of planes: the last dimensions.
    fn planes(windows: Windows, x: &[usize], dims: usize) -> Self {
        let (outer, plane) = x.split_at(x.len() - dims);
        let (outer, plane) = (outer.iter().product(), plane.iter().product());
        Self { outer, inner: 1, plane, windows, weights: None, constant: 0.0 }
    }

    /// The number of elements of the result.
    pub fn len(&self) -> usize {
        self.outer * self.windows.len() * self.inner
    }

    /// Whether the result has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether each element of the result is a copy of one of the operand's, or the constant.
    pub fn is_copy(&self) -> bool {
        self.weights.is_none() && self.windows.iter().all(|(_, reads)| reads.len() <= 1)
    }

    /// Calls `f` for each element of the result, in order, with the elements of the operand behind it and their weights.
    pub fn for_each(&self, mut f: impl FnMut(usize, &mut dyn Iterator<Item = (usize, f64)>)) {
        let mut element = 0;
        for o in 0..self.outer {
            for (place, reads) in self.windows.iter() {
                let weights = self.weights.as_ref().map(|weights| &weights[self.windows.range(place)]);
                for i in 0..self.inner {
                    let at = |p: u32| (o * self.plane + p as usize) * self.inner + i;
                    let weight = |k: usize| weights.map_or(1.0, |weights| weights[k]);
                    f(element, &mut reads.iter().enumerate().map(|(k, &p)| (at(p), weight(k))));
                    element += 1;
                }
            }
        }
    }
}

/// The distance between neighbours along each dimension of a row-major array.
fn strides(sizes: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; sizes.len()];
    for dim in (1..sizes.len()).rev() {
        strides[dim - 1] = strides[dim] * sizes[dim];
    }
    strides
}

/// From elements of a result to those of an operand that is repeated to the result's sizes.
#[derive(Clone, Debug)]
pub struct Broadcast(Option<Vec<u32>>);

impl Broadcast {
    /// The rule for an operand of these sizes: its dimensions stand under the result's last ones, and a size of 1 is
    /// repeated.
    pub fn new(operand: &[usize], result: &[usize]) -> Self {
        if operand == result {
            return Self(None);
        }
        let missing = result.len() - operand.len();
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
        Self(Some(elements))
    }

    /// Whether every element stands for itself.
    pub fn is_identity(&self) -> bool {
        self.0.is_none()
    }

    /// The operand's element that stands for an element of the result.
    #[inline]
    pub fn at(&self, element: usize) -> usize {
        self.0.as_ref().map_or(element, |elements| elements[element] as usize)
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
        assert!(Broadcast::new(&[2, 3], &[2, 3]).is_identity());
    }
}
