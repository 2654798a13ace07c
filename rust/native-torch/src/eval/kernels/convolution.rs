//! Convolution: blocks of windows are gathered into a matrix and multiplied by the weights. Back, and in the transposed
//! convolution, products with the weights are scattered block by block.

use super::{At, Constant, Kernel, Operands, Scratch, Write};
use crate::{
    eval::matmul::{Left, Part, Sizes, matmul},
    graph::{Conv, for_each_index},
    tensor::Real,
};

/// How many elements of gathered windows are multiplied at a time: what the second-level cache holds well.
const BLOCK: usize = 1 << 15;

pub(super) struct Convolution<T> {
    /// `[group, out, in, tap]`
    weight: Constant<T>,
    bias: Option<Constant<T>>,
    images: usize,
    groups: usize,
    /// Channels of the input and of the result, per group.
    channels: usize,
    out: usize,
    /// Elements of a plane of the input and of the result.
    plane: usize,
    places: usize,
    /// The number of taps of the kernel.
    taps: usize,
    /// For each spatial dimension.
    axes: Vec<Axis>,
    /// For each tap, its position in each spatial dimension.
    positions: Vec<usize>,
}

struct Axis {
    size: usize,
    count: usize,
    stride: usize,
    dilation: usize,
    before: usize,
}

impl<T: Real> Convolution<T> {
    pub fn new(
        conv: &Conv,
        weight: Constant<T>,
        bias: Option<Constant<T>>,
        x: &[usize],
        w: &[usize],
        y: &[usize],
    ) -> Self {
        let spatial = conv.stride.len();
        let start = x.len() - spatial;
        let axes = (0..spatial).map(|i| Axis {
            size: x[start + i],
            count: y[start + i],
            stride: conv.stride[i],
            dilation: conv.dilation[i],
            before: conv.padding[i].0,
        });
        let mut positions = Vec::new();
        for_each_index(&w[2..], |index| positions.extend_from_slice(index));
        Self {
            weight,
            bias,
            images: x[..start - 1].iter().product(),
            groups: conv.groups,
            channels: w[1],
            out: w[0] / conv.groups,
            plane: x[start..].iter().product(),
            places: y[start..].iter().product(),
            taps: w[2..].iter().product(),
            axes: axes.collect(),
            positions,
        }
    }

    /// How many products are summed for one result.
    fn depth(&self) -> usize {
        self.channels * self.taps
    }

    /// How many places are gathered at a time.
    fn block(&self, columns: usize) -> usize {
        (BLOCK / (self.depth() * columns).max(1)).clamp(8, self.places.max(8))
    }

    /// Where in the input plane each of the places `first .. first + count` reads for each tap: `[tap, place]`, with
    /// `usize::MAX` for the padding.
    fn locate(&self, first: usize, count: usize, places: &mut Vec<usize>) {
        places.clear();
        for tap in 0..self.taps {
            let tap = &self.positions[tap * self.axes.len()..][..self.axes.len()];
            for place in first..first + count {
                let mut rest = place;
                let (mut source, mut step) = (Some(0), 1);
                for (axis, &t) in self.axes.iter().zip(tap).rev() {
                    let i = (rest % axis.count * axis.stride + t * axis.dilation).checked_sub(axis.before);
                    source = source.zip(i.filter(|&i| i < axis.size)).map(|(source, i)| source + i * step);
                    rest /= axis.count;
                    step *= axis.size;
                }
                places.push(source.unwrap_or(usize::MAX));
            }
        }
    }

    /// The weights of a group: `[out, in, tap]`.
    fn group(&self, group: usize) -> &[T] {
        let size = self.out * self.depth();
        &self.weight[group * size..(group + 1) * size]
    }

    /// `out (+)= W * t` for so many images `t`, `[image, channel, place, column]`.
    fn gather(&self, images: usize, columns: usize, t: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        let (depth, block) = (self.depth(), self.block(columns));
        s.take(depth * block * columns);
        for first in (0..self.places).step_by(block) {
            let count = block.min(self.places - first);
            let wide = count * columns;
            self.locate(first, count, &mut s.places);
            for image in 0..images * self.groups {
                let t = &t[image * self.channels * self.plane * columns..][..self.channels * self.plane * columns];
                let gathered = &mut s.work[..depth * wide];
                for channel in 0..self.channels {
                    let t = &t[channel * self.plane * columns..][..self.plane * columns];
                    let to = &mut gathered[channel * self.taps * wide..][..self.taps * wide];
                    for (to, &place) in to.chunks_exact_mut(columns).zip(&s.places) {
                        if place == usize::MAX {
                            to.fill(T::ZERO);
                        } else {
                            to.copy_from_slice(&t[place * columns..][..columns]);
                        }
                    }
                }
                let out = &mut out[image * self.out * self.places * columns..][..self.out * self.places * columns];
                let weight = Left::rows(self.group(image % self.groups), depth);
                let sizes = Sizes { m: self.out, n: wide, k: depth };
                let out = &mut out[first * columns..];
                matmul(&mut s.panel, sizes, weight, gathered, wide, out, self.places * columns, write, Part::All);
            }
        }
    }

    /// `out += W' * g` for so many results `g`, `[image, channel, place, column]`.
    fn scatter(&self, images: usize, columns: usize, g: &[T], out: &mut [T], s: &mut Scratch<T>) {
        let (depth, block) = (self.depth(), self.block(columns));
        s.take(depth * block * columns);
        for first in (0..self.places).step_by(block) {
            let count = block.min(self.places - first);
            let wide = count * columns;
            self.locate(first, count, &mut s.places);
            for image in 0..images * self.groups {
                let g = &g[image * self.out * self.places * columns..][..self.out * self.places * columns];
                let scattered = &mut s.work[..depth * wide];
                let weight = Left::transposed(self.group(image % self.groups), depth);
                let sizes = Sizes { m: depth, n: wide, k: self.out };
                let (g, line) = (&g[first * columns..], self.places * columns);
                matmul(&mut s.panel, sizes, weight, g, line, scattered, wide, Write::Set, Part::All);
                let out = &mut out[image * self.channels * self.plane * columns..];
                for channel in 0..self.channels {
                    let from = &scattered[channel * self.taps * wide..][..self.taps * wide];
                    let out = &mut out[channel * self.plane * columns..][..self.plane * columns];
                    for (from, &place) in from.chunks_exact(columns).zip(&s.places) {
                        if place != usize::MAX {
                            let out = &mut out[place * columns..][..columns];
                            out.iter_mut().zip(from).for_each(|(out, &from)| *out += from);
                        }
                    }
                }
            }
        }
    }
}

/// Fills the channels of a result, of `length` elements each, with their bias or zeros.
fn fill<T: Real>(bias: Option<&[T]>, length: usize, y: &mut [T]) {
    match bias {
        None => y.fill(T::ZERO),
        Some(bias) => {
            let channels = y.chunks_exact_mut(length.max(1));
            channels.enumerate().for_each(|(i, y)| y.fill(bias[i % bias.len()]));
        }
    }
}

impl<T: Real> Kernel<T> for Convolution<T> {
    fn forward(&self, x: Operands<T>, y: &mut [T], s: &mut Scratch<T>) {
        let (points, (x, _)) = (x.points, x.get(0));
        fill(self.bias.as_deref(), self.places * points, y);
        self.gather(self.images, points, x, y, Write::Add, s);
    }

    fn jvp(&self, _: usize, at: At<T>, columns: usize, t: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        self.gather(self.images, at.points() * columns, t, out, write, s);
    }

    fn vjp(&self, _: usize, at: At<T>, rows: usize, g: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        if write == Write::Set {
            out.fill(T::ZERO);
        }
        self.scatter(at.points() * rows * self.images, 1, g, out, s);
    }

    fn cost(&self) -> f64 {
        2.0 * (self.images * self.groups * self.out * self.depth()) as f64 * self.places as f64
    }
}

/// The transposed of a convolution from the result to the operand, with the bias of its own result.
pub(super) struct Transposed<T>(pub Convolution<T>);

impl<T: Real> Kernel<T> for Transposed<T> {
    fn forward(&self, x: Operands<T>, y: &mut [T], s: &mut Scratch<T>) {
        let (points, (x, _)) = (x.points, x.get(0));
        fill(self.0.bias.as_deref(), self.0.plane * points, y);
        self.0.scatter(self.0.images, points, x, y, s);
    }

    fn jvp(&self, _: usize, at: At<T>, columns: usize, t: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        if write == Write::Set {
            out.fill(T::ZERO);
        }
        self.0.scatter(self.0.images, at.points() * columns, t, out, s);
    }

    fn vjp(&self, _: usize, at: At<T>, rows: usize, g: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        self.0.gather(at.points() * rows * self.0.images, 1, g, out, write, s);
    }

    fn cost(&self) -> f64 {
        Kernel::<T>::cost(&self.0)
    }
}
