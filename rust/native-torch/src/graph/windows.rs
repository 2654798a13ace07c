//! Which elements of a plane (the last dimensions of a value) each place of a result reads: the geometry of
//! convolutions, pools and padding, stated once for all rooms.

use super::{AvgPool, Conv, MaxPool, Padding, pooled_size};

/// For each place of a result plane, the places of the operand plane that it reads, in row-major order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Windows {
    starts: Vec<usize>,
    reads: Vec<u32>,
}

/// The geometry of windows along one dimension.
#[derive(Clone, Copy, Debug)]
struct Axis {
    size: usize,
    count: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    before: usize,
}

impl Windows {
    /// The windows of average pooling on a plane of these sizes.
    pub fn average(pool: &AvgPool, plane: &[usize]) -> Self {
        Self::pool(plane, [&pool.kernel, &pool.stride, &pool.padding, &vec![1; plane.len()]], pool.ceil_mode)
    }

    /// The windows of maximum pooling on a plane of these sizes.
    pub fn maximum(pool: &MaxPool, plane: &[usize]) -> Self {
        Self::pool(plane, [&pool.kernel, &pool.stride, &pool.padding, &pool.dilation], pool.ceil_mode)
    }

    fn pool(plane: &[usize], [kernel, stride, padding, dilation]: [&[usize]; 4], ceil_mode: bool) -> Self {
        Self::new((0..plane.len()).map(|i| {
            let count = pooled_size(plane[i], padding[i], kernel[i], stride[i], dilation[i], ceil_mode);
            Axis {
                size: plane[i],
                count: count.unwrap_or(0),
                kernel: kernel[i],
                stride: stride[i],
                dilation: dilation[i],
                before: padding[i],
            }
        }))
    }

    /// The windows of a convolution with a kernel of these sizes. Places in the padding are left out.
    pub fn convolution(conv: &Conv, kernel: &[usize], plane: &[usize], result: &[usize]) -> Self {
        Self::new((0..plane.len()).map(|i| Axis {
            size: plane[i],
            count: result[i],
            kernel: kernel[i],
            stride: conv.stride[i],
            dilation: conv.dilation[i],
            before: conv.padding[i].0,
        }))
    }

    /// What padding of these amounts reads: one place, or none where a constant stands.
    pub fn padding(amounts: &[(usize, usize)], padding: Padding, plane: &[usize]) -> Self {
        let mut windows = Self { starts: vec![0], reads: Vec::new() };
        let result: Vec<usize> = plane.iter().zip(amounts).map(|(d, (a, b))| d + a + b).collect();
        for_each_index(&result, |index| {
            let mut place = Some(0);
            for (axis, &i) in index.iter().enumerate() {
                let source = padded_source(i, amounts[axis].0, plane[axis], padding);
                place = place.zip(source).map(|(place, source)| place * plane[axis] + source);
            }
            windows.reads.extend(place.map(|place| place as u32));
            windows.starts.push(windows.reads.len());
        });
        windows
    }

    fn new(axes: impl Iterator<Item = Axis>) -> Self {
        let axes: Vec<Axis> = axes.collect();
        let counts: Vec<usize> = axes.iter().map(|a| a.count).collect();
        let kernel: Vec<usize> = axes.iter().map(|a| a.kernel).collect();
        let mut windows = Self { starts: vec![0], reads: Vec::new() };
        for_each_index(&counts, |window| {
            for_each_index(&kernel, |tap| {
                let mut place = Some(0);
                for (a, (&w, &t)) in axes.iter().zip(window.iter().zip(tap)) {
                    let i = (w * a.stride + t * a.dilation).checked_sub(a.before).filter(|&i| i < a.size);
                    place = place.zip(i).map(|(place, i)| place * a.size + i);
                }
                windows.reads.extend(place.map(|place| place as u32));
            });
            windows.starts.push(windows.reads.len());
        });
        windows
    }

    /// The windows of a result whose dimensions read independently of each other: `axes` has for each index of each
    /// dimension its offsets in the operand, which add up.
    pub fn product(axes: &[Vec<Vec<usize>>]) -> Self {
        let mut windows = Self { starts: vec![0], reads: Vec::new() };
        let counts: Vec<usize> = axes.iter().map(Vec::len).collect();
        for_each_index(&counts, |index| {
            let lists: Vec<&Vec<usize>> = axes.iter().zip(index).map(|(axis, &i)| &axis[i]).collect();
            let lengths: Vec<usize> = lists.iter().map(|list| list.len()).collect();
            for_each_index(&lengths, |read| {
                windows.reads.push(lists.iter().zip(read).map(|(list, &k)| list[k]).sum::<usize>() as u32);
            });
            windows.starts.push(windows.reads.len());
        });
        windows
    }

    /// Windows that are given place by place.
    pub fn from_places(places: impl IntoIterator<Item = impl IntoIterator<Item = usize>>) -> Self {
        let mut windows = Self { starts: vec![0], reads: Vec::new() };
        for reads in places {
            windows.reads.extend(reads.into_iter().map(|place| place as u32));
            windows.starts.push(windows.reads.len());
        }
        windows
    }

    /// The number of places of the result.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether the result is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the given place of the result reads.
    pub fn reads(&self, place: usize) -> &[u32] {
        &self.reads[self.range(place)]
    }

    /// Where the reads of the given place stand among those of all places.
    pub fn range(&self, place: usize) -> std::ops::Range<usize> {
        self.starts[place]..self.starts[place + 1]
    }

    /// How many reads there are in all.
    pub fn total(&self) -> usize {
        self.reads.len()
    }

    /// All places of the result with what they read.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &[u32])> {
        (0..self.len()).map(|place| (place, self.reads(place)))
    }
}

/// The divisor of each window of average pooling, by place of the result.
pub fn average_divisors(pool: &AvgPool, plane: &[usize]) -> Vec<f64> {
    let counts: Vec<usize> = (0..plane.len())
        .map(|i| pooled_size(plane[i], pool.padding[i], pool.kernel[i], pool.stride[i], 1, pool.ceil_mode).unwrap_or(0))
        .collect();
    let mut divisors = Vec::new();
    for_each_index(&counts, |window| {
        let mut size = 1;
        for (i, &w) in window.iter().enumerate() {
            // As ATen counts: the window is cut at the padded end, and at the input's own ends without padding.
            let start = w * pool.stride[i];
            let end = (start + pool.kernel[i]).min(plane[i] + 2 * pool.padding[i]);
            size *= if pool.count_include_pad {
                end - start
            } else {
                end.min(plane[i] + pool.padding[i]).saturating_sub(start.max(pool.padding[i]))
            };
        }
        divisors.push(pool.divisor.map_or(size as f64, |divisor| divisor as f64));
    });
    divisors
}

fn padded_source(i: usize, before: usize, size: usize, padding: Padding) -> Option<usize> {
    let position = i as isize - before as isize;
    let last = size as isize - 1;
    let source = match padding {
        Padding::Constant(_) => Some(position).filter(|p| (0..=last).contains(p))?,
        Padding::Reflect if position < 0 => -position,
        Padding::Reflect if position > last => 2 * last - position,
        Padding::Reflect => position,
        Padding::Replicate => position.clamp(0, last),
        Padding::Circular => position.rem_euclid(size as isize),
    };
    Some(source as usize)
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

    fn all(windows: &Windows) -> Vec<Vec<u32>> {
        windows.iter().map(|(_, reads)| reads.to_vec()).collect()
    }

    #[test]
    fn padding_reads_what_its_mode_says() {
        let line = |padding| all(&Windows::padding(&[(2, 1)], padding, &[3]));
        assert_eq!(line(Padding::Constant(0.0)), [vec![], vec![], vec![0], vec![1], vec![2], vec![]]);
        assert_eq!(line(Padding::Reflect).concat(), [2, 1, 0, 1, 2, 1]);
        assert_eq!(line(Padding::Replicate).concat(), [0, 0, 0, 1, 2, 2]);
        assert_eq!(line(Padding::Circular).concat(), [1, 2, 0, 1, 2, 0]);
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
        assert_eq!(all(&Windows::average(&pool(true), &[4])), [vec![0, 1], vec![1, 2, 3], vec![3]]);
        assert_eq!(average_divisors(&pool(true), &[4]), [3.0, 3.0, 2.0]);
        assert_eq!(average_divisors(&pool(false), &[4]), [2.0, 3.0, 1.0]);
    }

    #[test]
    fn dilated_windows_skip() {
        let pool = MaxPool { kernel: vec![2], stride: vec![1], padding: vec![0], dilation: vec![3], ceil_mode: false };
        assert_eq!(all(&Windows::maximum(&pool, &[5])), [vec![0, 3], vec![1, 4]]);
    }
}
