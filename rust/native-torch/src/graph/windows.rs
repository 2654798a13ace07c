//! Which elements of an operand each place of a result reads: the geometry of convolutions, pools, padding and
//! interpolation, stated once for all rooms.
//!
//! Dimensions read independently of each other: what a place reads is the product of what its indices read. So the
//! tables have the length of the dimensions, not of the images.

use super::{AvgPool, Blocks, Conv, Interpolation, MaxPool, Padding, Target, Upsample, pooled_size};

/// One element that a place of a result, or an index of one of its dimensions, reads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Read {
    /// The place in the operand.
    pub place: usize,
    /// The factor.
    pub weight: f64,
    /// In a convolution, the place in the kernel.
    pub tap: usize,
}

impl Read {
    /// What is read of this place, with the factor 1.
    pub fn at(place: usize) -> Self {
        Self { place, weight: 1.0, tap: 0 }
    }

    /// What is read by two dimensions together.
    pub fn and(self, other: Self) -> Self {
        Self { place: self.place + other.place, weight: self.weight * other.weight, tap: self.tap + other.tap }
    }
}

/// What each index of one dimension of a result reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    starts: Vec<usize>,
    reads: Vec<Read>,
}

impl Axis {
    /// From what is read by one index after the other.
    pub fn new<I: IntoIterator<Item = Read>>(indices: impl IntoIterator<Item = I>) -> Self {
        let mut axis = Self { starts: vec![0], reads: Vec::new() };
        for reads in indices {
            axis.reads.extend(reads);
            axis.starts.push(axis.reads.len());
        }
        axis
    }

    /// Each index reads one place.
    pub fn copies(places: impl IntoIterator<Item = usize>) -> Self {
        Self::new(places.into_iter().map(|place| [Read::at(place)]))
    }

    /// The number of indices.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether the dimension is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What an index reads.
    #[inline]
    pub fn reads(&self, index: usize) -> &[Read] {
        &self.reads[self.starts[index]..self.starts[index + 1]]
    }

    /// The same in an operand, and a kernel, in which neighbours are further apart.
    fn stretched(mut self, place: usize, tap: usize) -> Self {
        for read in &mut self.reads {
            read.place *= place;
            read.tap *= tap;
        }
        self
    }
}

/// What each place of a result reads: the product of its dimensions.
#[derive(Clone, Debug, PartialEq)]
pub struct Windows {
    axes: Vec<Axis>,
}

/// Windows along one dimension.
struct Steps {
    size: usize,
    count: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    before: usize,
}

impl Steps {
    /// The reads of each window, in order; those outside the operand are left out.
    fn axis(&self) -> Axis {
        let first = |from: usize, window: usize| from.saturating_sub(window * self.stride).div_ceil(self.dilation);
        let read = |window: usize, tap: usize| Read {
            place: window * self.stride + tap * self.dilation - self.before,
            weight: 1.0,
            tap,
        };
        Axis::new((0..self.count).map(|window| {
            let end = first(self.before + self.size, window).min(self.kernel);
            (first(self.before, window)..end).map(move |tap| read(window, tap))
        }))
    }

    /// The windows that reach each of `size` places, in order: what the transposed operation reads.
    fn transposed(&self) -> Axis {
        let read = |place: usize, tap: usize| {
            let start = (place + self.before).checked_sub(tap * self.dilation)?;
            let window = (start % self.stride == 0).then_some(start / self.stride)?;
            (window < self.count).then_some(Read { place: window, weight: 1.0, tap })
        };
        Axis::new((0..self.size).map(|place| (0..self.kernel).rev().filter_map(move |tap| read(place, tap))))
    }
}

impl Windows {
    /// From what the dimensions read, in places of the operand; at least one dimension is there, if of one index.
    pub fn new(mut axes: Vec<Axis>) -> Self {
        if axes.is_empty() {
            axes.push(Axis::copies([0]));
        }
        Self { axes }
    }

    /// Of dimensions that each read their own of the operand's dimensions, and of a kernel's.
    fn spatial(axes: impl IntoIterator<Item = Axis>, plane: &[usize], kernel: &[usize]) -> Self {
        let strides = strides(plane).into_iter().zip(strides(kernel).into_iter().chain(std::iter::repeat(0)));
        Self::new(axes.into_iter().zip(strides).map(|(axis, (place, tap))| axis.stretched(place, tap)).collect())
    }

    /// Of average pooling on a plane of these sizes.
    pub fn average(pool: &AvgPool, plane: &[usize]) -> Self {
        let axes = (0..plane.len()).map(|i| {
            let (size, padding) = (plane[i], pool.padding[i]);
            let (kernel, stride) = (pool.kernel[i], pool.stride[i]);
            let count = pooled_size(size, padding, kernel, stride, 1, pool.ceil_mode).unwrap_or(0);
            let steps = Steps { size, count, kernel, stride, dilation: 1, before: padding };
            let mut axis = steps.axis();
            for window in 0..count {
                // As ATen counts: the window is cut at the padded end, and at the input's own ends without padding.
                let start = window * stride;
                let end = (start + kernel).min(size + 2 * padding);
                let reads = &mut axis.reads[axis.starts[window]..axis.starts[window + 1]];
                let length = if pool.count_include_pad { end - start } else { reads.len() };
                let divisor = match (pool.divisor, i) {
                    (None, _) => length as f64,
                    (Some(divisor), 0) => divisor as f64,
                    (Some(_), _) => 1.0,
                };
                reads.iter_mut().for_each(|read| read.weight = 1.0 / divisor);
            }
            axis
        });
        Self::spatial(axes, plane, &[])
    }

    /// Of maximum pooling on a plane of these sizes.
    pub fn maximum(pool: &MaxPool, plane: &[usize]) -> Self {
        let axes = (0..plane.len()).map(|i| {
            let (size, before, kernel) = (plane[i], pool.padding[i], pool.kernel[i]);
            let (stride, dilation) = (pool.stride[i], pool.dilation[i]);
            let count = pooled_size(size, before, kernel, stride, dilation, pool.ceil_mode).unwrap_or(0);
            Steps { size, count, kernel, stride, dilation, before }.axis()
        });
        Self::spatial(axes, plane, &[])
    }

    /// Of adaptive pooling of a plane to these sizes: as many windows, the same length but for one, that cover it. With
    /// the weights of the mean.
    pub fn adaptive(plane: &[usize], result: &[usize]) -> Self {
        let axes = plane.iter().zip(result).map(|(&size, &count)| {
            Axis::new((0..count).map(|window| {
                let (start, end) = (window * size / count, ((window + 1) * size).div_ceil(count));
                (start..end).map(move |place| Read { weight: 1.0 / (end - start) as f64, ..Read::at(place) })
            }))
        });
        Self::spatial(axes, plane, &[])
    }

    /// Of a convolution with a kernel of these sizes. Places in the padding are left out.
    pub fn convolution(conv: &Conv, kernel: &[usize], plane: &[usize], result: &[usize]) -> Self {
        let axes = (0..plane.len()).map(|i| Self::steps(conv, i, kernel[i], plane[i], result[i]).axis());
        Self::spatial(axes, plane, kernel)
    }

    /// Of a transposed convolution.
    pub fn transposed_convolution(conv: &Conv, kernel: &[usize], plane: &[usize], result: &[usize]) -> Self {
        let axes = (0..plane.len()).map(|i| Self::steps(conv, i, kernel[i], result[i], plane[i]).transposed());
        Self::spatial(axes, plane, kernel)
    }

    fn steps(conv: &Conv, i: usize, kernel: usize, size: usize, count: usize) -> Steps {
        Steps { size, count, kernel, stride: conv.stride[i], dilation: conv.dilation[i], before: conv.padding[i].0 }
    }

    /// Of padding: one place, or none where a constant stands.
    pub fn padding(amounts: &[(isize, isize)], padding: Padding, plane: &[usize]) -> Self {
        let axes = plane.iter().zip(amounts).map(|(&size, &(before, after))| {
            let count = usize::try_from(size as isize + before + after).unwrap_or(0);
            let source = move |i: usize| padded_source(i as isize - before, size as isize, (before, after), padding);
            Axis::new((0..count).map(|i| source(i).map(|place| Read::at(place as usize))))
        });
        Self::spatial(axes, plane, &[])
    }

    /// Of the sum of blocks at their places in an image of these sizes. The operand is `[.. taps, .. windows]`.
    pub fn folding(blocks: &Blocks, sizes: &[usize], counts: &[usize]) -> Self {
        let operand = strides(&[&blocks.kernel[..], counts].concat());
        let axes = (0..sizes.len()).map(|i| {
            let (size, count, kernel) = (sizes[i], counts[i], blocks.kernel[i]);
            let steps =
                Steps { size, count, kernel, stride: blocks.stride[i], dilation: blocks.dilation[i], before: 0 };
            let mut axis = steps.transposed();
            for read in &mut axis.reads {
                *read = Read::at(read.tap * operand[i] + read.place * operand[sizes.len() + i]);
            }
            axis
        });
        Self::new(axes.collect())
    }

    /// Of interpolation to these sizes.
    pub fn interpolation(upsample: &Upsample, plane: &[usize], result: &[usize]) -> Self {
        let factor = |i: usize| match &upsample.target {
            Target::Factors { factors, recompute: false } => Some(factors[i]),
            _ => None,
        };
        // ATen's limit for two dimensions.
        let small = result.len() == 2 && result[0] + result[1] <= 128;
        let axes = (0..plane.len()).map(|i| {
            let (size, count) = (plane[i], result[i]);
            let Upsample { mode, align_corners, .. } = *upsample;
            Resize { mode, size, count, factor: factor(i), align_corners, small }.axis()
        });
        Self::spatial(axes, plane, &[])
    }

    /// The number of places of the result.
    pub fn len(&self) -> usize {
        self.axes.iter().map(Axis::len).product()
    }

    /// Whether the result is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many reads there are in all.
    pub fn total(&self) -> usize {
        self.axes.iter().map(|axis| axis.reads.len()).product()
    }

    /// Whether each place reads at most one, and that with the factor 1.
    pub fn is_copy(&self) -> bool {
        let single = |axis: &Axis| (0..axis.len()).all(|index| axis.reads(index).len() <= 1);
        self.axes.iter().all(|axis| single(axis) && axis.reads.iter().all(|read| read.weight == 1.0))
    }

    /// The number of rows: places that differ in the last dimension only.
    pub fn rows(&self) -> usize {
        self.axes[..self.axes.len() - 1].iter().map(Axis::len).product()
    }

    /// What the places of a row read by their common indices, into `reads`.
    pub fn row(&self, row: usize, reads: &mut Vec<Read>) {
        let (mut rest, leading) = (row, &self.axes[..self.axes.len() - 1]);
        reads.clear();
        reads.push(Read::at(0));
        // From the last dimension to the first, each in front of those that are there.
        for axis in leading.iter().rev() {
            let own = axis.reads(rest % axis.len());
            rest /= axis.len();
            let count = reads.len();
            reads.resize(count * own.len(), Read::at(0));
            for (k, &read) in own.iter().enumerate().rev() {
                for i in 0..count {
                    reads[k * count + i] = reads[i].and(read);
                }
            }
        }
    }

    /// What the places of every row read by their last index.
    pub fn last(&self) -> &Axis {
        self.axes.last().expect("at least one dimension")
    }

    /// Calls `f` with each place of the result, in order, and what it reads: in row-major order of the window.
    pub fn for_each(&self, mut f: impl FnMut(usize, &[Read])) {
        let (mut common, mut reads, mut place) = (Vec::new(), Vec::new(), 0);
        for row in 0..self.rows() {
            self.row(row, &mut common);
            for index in 0..self.last().len() {
                let own = self.last().reads(index);
                reads.clear();
                reads.extend(common.iter().flat_map(|&read| own.iter().map(move |&own| read.and(own))));
                f(place, &reads);
                place += 1;
            }
        }
    }
}

/// Which place stands at a position relative to the operand's first; `None` for the constant.
fn padded_source(position: isize, size: isize, amounts: (isize, isize), padding: Padding) -> Option<isize> {
    let last = size - 1;
    match padding {
        Padding::Constant(_) => Some(position).filter(|p| (0..=last).contains(p)),
        Padding::Reflect if position < 0 => Some(-position),
        Padding::Reflect if position > last => Some(2 * last - position),
        Padding::Reflect => Some(position),
        Padding::Replicate => Some(position.clamp(0, last)),
        Padding::Circular => {
            // Negative amounts cut first: what is left goes round.
            let [cut, end] = [amounts.0, amounts.1].map(|amount| (-amount).max(0));
            Some(cut + (position - cut).rem_euclid(size - cut - end))
        }
    }
}

/// The dimension of an image that interpolation resizes, in the arithmetic of ATen's `upsample` functions.
struct Resize {
    mode: Interpolation,
    size: usize,
    count: usize,
    /// Where places are found by a factor instead of the sizes' ratio.
    factor: Option<f64>,
    align_corners: bool,
    /// Whether ATen takes its kernel for small images, which finds nearest neighbours in single precision.
    small: bool,
}

impl Resize {
    fn axis(&self) -> Axis {
        Axis::new((0..self.count).map(|index| self.reads(index)))
    }

    /// The distance of neighbours, in places of the operand.
    fn step(&self) -> f64 {
        match self.factor {
            _ if self.align_corners => (self.size - 1) as f64 / self.count.saturating_sub(1).max(1) as f64,
            Some(factor) => 1.0 / factor,
            None => self.size as f64 / self.count as f64,
        }
    }

    fn reads(&self, index: usize) -> Vec<Read> {
        let last = (self.size - 1) as f64;
        let read = |place: f64, weight: f64| Read { weight, ..Read::at(place.clamp(0.0, last) as usize) };
        let centre =
            if self.align_corners { self.step() * index as f64 } else { self.step() * (index as f64 + 0.5) - 0.5 };
        match self.mode {
            Interpolation::Nearest | Interpolation::NearestExact => vec![read(self.nearest(index), 1.0)],
            Interpolation::Linear => {
                let centre = centre.max(0.0);
                let first = centre.floor().min(last);
                let t = (centre - first).clamp(0.0, 1.0);
                vec![read(first, 1.0 - t), read(first + 1.0, t)]
            }
            Interpolation::Cubic => {
                // Keys, Cubic convolution interpolation, 1981, with the parameter -0.75.
                const A: f64 = -0.75;
                let near = |x: f64| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
                let far = |x: f64| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
                let first = centre.floor();
                let t = centre - first;
                let weights = [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)];
                (0..4).map(|k| read(first + k as f64 - 1.0, weights[k])).collect()
            }
        }
    }

    /// ATen rounds the product to single precision before it rounds down; its kernel for small images rounds the step,
    /// too, and has no product where a size is kept or doubled.
    fn nearest(&self, index: usize) -> f64 {
        let exact = self.mode == Interpolation::NearestExact;
        let step = if self.small && self.factor.is_none() {
            f64::from(self.size as f32 / self.count as f32)
        } else if self.small {
            f64::from(self.step() as f32)
        } else {
            self.step()
        };
        match index {
            _ if self.small && !exact && self.count == self.size => index as f64,
            _ if self.small && !exact && self.count == 2 * self.size => (index / 2) as f64,
            _ if exact => f64::from((((index as f64) + 0.5) * step) as f32).floor(),
            _ => f64::from((index as f64 * step) as f32).floor(),
        }
    }
}

/// The distance between neighbours along each dimension of a row-major array.
pub(super) fn strides(sizes: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; sizes.len()];
    for dim in (1..sizes.len()).rev() {
        strides[dim - 1] = strides[dim] * sizes[dim];
    }
    strides
}

/// Calls `f` with every index of a row-major array of these sizes, the last one running fastest.
pub fn for_each_index(sizes: &[usize], mut f: impl FnMut(&[usize])) {
    if sizes.contains(&0) {
        return;
    }
    let mut index = vec![0; sizes.len()];
    loop {
        f(&index);
        let Some(axis) = (0..sizes.len()).rev().find(|&a| index[a] + 1 < sizes[a]) else { return };
        index[axis] += 1;
        index[axis + 1..].fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(windows: &Windows) -> Vec<Vec<usize>> {
        let mut all = Vec::new();
        windows.for_each(|_, reads| all.push(reads.iter().map(|read| read.place).collect()));
        all
    }

    fn weights(windows: &Windows) -> Vec<Vec<f64>> {
        let mut all = Vec::new();
        windows.for_each(|_, reads| all.push(reads.iter().map(|read| read.weight).collect()));
        all
    }

    #[test]
    fn padding_reads_what_its_mode_says() {
        let line = |amounts, padding| places(&Windows::padding(&[amounts], padding, &[3]));
        assert_eq!(line((2, 1), Padding::Constant(0.0)), [vec![], vec![], vec![0], vec![1], vec![2], vec![]]);
        assert_eq!(line((2, 1), Padding::Reflect).concat(), [2, 1, 0, 1, 2, 1]);
        assert_eq!(line((2, 1), Padding::Replicate).concat(), [0, 0, 0, 1, 2, 2]);
        assert_eq!(line((2, 1), Padding::Circular).concat(), [1, 2, 0, 1, 2, 0]);
        assert_eq!(line((-1, 1), Padding::Constant(0.0)), [vec![1], vec![2], vec![]]);
        assert_eq!(line((-1, 1), Padding::Reflect).concat(), [1, 2, 1]);
        assert_eq!(line((-1, 2), Padding::Circular).concat(), [1, 2, 1, 2]);
    }

    #[test]
    fn average_pools_count_as_torch_does() {
        let pool = |count_include_pad| AvgPool {
            kernel: vec![3],
            stride: vec![2],
            padding: vec![1],
            ceil_mode: true,
            count_include_pad,
            divisor: None,
        };
        // Four elements: windows start at -1, 1, 3; the last reaches one place beyond the padding.
        assert_eq!(places(&Windows::average(&pool(true), &[4])), [vec![0, 1], vec![1, 2, 3], vec![3]]);
        let third = 1.0 / 3.0;
        assert_eq!(weights(&Windows::average(&pool(true), &[4])), [vec![third; 2], vec![third; 3], vec![0.5]]);
        assert_eq!(weights(&Windows::average(&pool(false), &[4])), [vec![0.5; 2], vec![third; 3], vec![1.0]]);
        assert_eq!(places(&Windows::adaptive(&[5], &[3])), [vec![0, 1], vec![1, 2, 3], vec![3, 4]]);
    }

    #[test]
    fn windows_are_products_of_their_dimensions() {
        let pool = MaxPool {
            kernel: vec![2, 2],
            stride: vec![1, 1],
            padding: vec![0, 0],
            dilation: vec![1, 3],
            ceil_mode: false,
        };
        let windows = Windows::maximum(&pool, &[2, 5]);
        assert_eq!(places(&windows), [vec![0, 3, 5, 8], vec![1, 4, 6, 9]]);
        assert_eq!((windows.len(), windows.total(), windows.rows()), (2, 8, 1));
        let cube = Windows::adaptive(&[2, 2, 3], &[1, 2, 1]);
        assert_eq!(places(&cube), [vec![0, 1, 2, 6, 7, 8], vec![3, 4, 5, 9, 10, 11]]);
    }

    #[test]
    fn a_transposed_convolution_reads_what_the_convolution_writes() {
        let conv = Conv { stride: vec![2], padding: vec![(1, 1)], dilation: vec![2], groups: 1 };
        let pairs = |windows: &Windows, swap: bool| {
            let mut pairs = Vec::new();
            windows.for_each(|q, reads| {
                pairs.extend(reads.iter().map(|r| if swap { (q, r.place, r.tap) } else { (r.place, q, r.tap) }));
            });
            pairs.sort_unstable();
            pairs
        };
        let forward = Windows::convolution(&conv, &[3], &[8], &[3]);
        let back = Windows::transposed_convolution(&conv, &[3], &[3], &[8]);
        assert_eq!(pairs(&forward, false), pairs(&back, true));
    }

    #[test]
    fn interpolation_weighs_neighbours() {
        let axis = |mode, align_corners, count| {
            let upsample = Upsample { mode, target: Target::Sizes(vec![count]), align_corners };
            let windows = Windows::interpolation(&upsample, &[3], &[count]);
            (places(&windows), weights(&windows))
        };
        assert_eq!(axis(Interpolation::Nearest, false, 4).0.concat(), [0, 0, 1, 2]);
        assert_eq!(axis(Interpolation::NearestExact, false, 4).0.concat(), [0, 1, 1, 2]);
        let (places, weights) = axis(Interpolation::Linear, true, 5);
        assert_eq!((&places[1][..], &weights[1][..]), (&[0, 1][..], &[0.5, 0.5][..]));
        assert_eq!((&places[4][..], &weights[4][..]), (&[2, 2][..], &[1.0, 0.0][..]));
        let (_, weights) = axis(Interpolation::Cubic, false, 7);
        assert!(weights.iter().all(|w| (w.iter().sum::<f64>() - 1.0).abs() < 1e-15));
    }
}
