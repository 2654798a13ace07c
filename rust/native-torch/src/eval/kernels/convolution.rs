//! Convolution: blocks of windows are gathered into a matrix and multiplied by the weights. Back, and in the transposed
//! convolution, products with the weights are scattered block by block.

use super::{At, Constant, Kernel, Operands, Scratch, Write};
use crate::{
    eval::{
        matmul::{Left, Panels, Part, Sizes, matmul},
        memory::grown,
        simd::multiversion,
    },
    graph::{Conv, for_each_index},
    tensor::Real,
};

/// How many elements of gathered windows are multiplied at a time: what the second-level cache holds well.
const BLOCK: usize = 1 << 15;
/// How many of them stand in a row.
const WIDE: usize = 144;
/// For so few channels of the result, per group, windows are read where they are.
const DIRECT: usize = 2;

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

    /// How many places and how many channels are gathered at a time.
    fn block(&self, columns: usize) -> (usize, usize) {
        let places = (WIDE / columns.max(1)).clamp(1, self.places.max(1));
        (places, (BLOCK / (places * columns * self.taps).max(1)).clamp(1, self.channels.max(1)))
    }

    /// Whether the gathered windows would be the operand itself.
    fn is_product(&self) -> bool {
        let whole = |axis: &Axis| axis.stride == 1 && axis.before == 0 && axis.count == axis.size;
        self.taps == 1 && self.axes.iter().all(whole)
    }

    /// Where each tap reads for the places `first .. first + count`, run by run; their targets are `[tap, place]`.
    fn locate(&self, first: usize, count: usize, runs: &mut Vec<Run>) {
        runs.clear();
        let (last, outer) = self.axes.split_last().expect("a convolution has spatial dimensions");
        for tap in 0..self.taps {
            let (t, position) =
                self.positions[tap * self.axes.len()..][..self.axes.len()].split_last().expect("as above");
            let mut place = first;
            while place < first + count {
                let start = place % last.count;
                let length = (last.count - start).min(first + count - place);
                let (mut rest, mut line, mut step) = (place / last.count, Some(0), last.size);
                for (axis, &t) in outer.iter().zip(position).rev() {
                    let i = (rest % axis.count * axis.stride + t * axis.dilation).checked_sub(axis.before);
                    line = line.zip(i.filter(|&i| i < axis.size)).map(|(line, i)| line + i * step);
                    rest /= axis.count;
                    step *= axis.size;
                }
                // The places whose source lies within the line.
                let shift = t * last.dilation;
                let begin = last.before.saturating_sub(shift).div_ceil(last.stride).clamp(start, start + length);
                let end = (last.size + last.before).saturating_sub(shift).div_ceil(last.stride);
                let end = if line.is_some() { end.clamp(begin, start + length) } else { begin };
                runs.push(Run {
                    to: tap * count + place - first,
                    total: length,
                    skipped: begin - start,
                    from: if end > begin { line.unwrap_or(0) + begin * last.stride + shift - last.before } else { 0 },
                    length: end - begin,
                });
                place += length;
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
        let (depth, line) = (self.depth(), self.places * columns);
        let planes = self.channels * self.plane * columns;
        let (block, channels) = self.block(columns);
        let direct = self.out <= DIRECT && !self.is_product();
        let block = if direct || self.is_product() { self.places } else { block };
        if depth == 0 && write == Write::Set {
            out.fill(T::ZERO);
        }
        for first in (0..self.places).step_by(block.max(1)) {
            let count = block.min(self.places - first);
            let wide = count * columns;
            self.locate(first, count, &mut s.runs);
            for image in 0..images * self.groups {
                let t = &t[image * planes..][..planes];
                let out = &mut out[image * self.out * line..][..self.out * line];
                let weight = self.group(image % self.groups);
                if self.is_product() {
                    let sizes = Sizes { m: self.out, n: line, k: depth };
                    matmul(&mut s.panel, sizes, Left::rows(weight, depth), t, line, out, line, write, Part::All);
                    continue;
                }
                if direct {
                    if write == Write::Set {
                        out.fill(T::ZERO);
                    }
                    self.for_each_tap(weight, &s.runs, |channel, o, w, run, stride| {
                        let (from, to) =
                            (&t[(channel * self.plane + run.from) * columns..], o * self.places + run.place(count));
                        add_run(w, [stride * columns, columns], columns, run.length, from, &mut out[to * columns..]);
                    });
                    continue;
                }
                for channel in (0..self.channels).step_by(channels) {
                    let depth_now = channels.min(self.channels - channel) * self.taps;
                    let (panel, gathered) = take(&mut s.panel, &mut s.work, depth_now * wide);
                    for (c, to) in gathered.chunks_exact_mut((self.taps * wide).max(1)).enumerate() {
                        let t = &t[(channel + c) * self.plane * columns..][..self.plane * columns];
                        s.runs.iter().for_each(|run| run.gather(self.stride(), columns, t, to));
                    }
                    let weight = Left { data: &weight[channel * self.taps..], row: depth, column: 1 };
                    let sizes = Sizes { m: self.out, n: wide, k: depth_now };
                    let write = if channel == 0 { write } else { Write::Add };
                    matmul(panel, sizes, weight, gathered, wide, &mut out[first * columns..], line, write, Part::All);
                }
            }
        }
    }

    /// `out += W' * g` for so many results `g`, `[image, channel, place, column]`.
    fn scatter(&self, images: usize, columns: usize, g: &[T], out: &mut [T], s: &mut Scratch<T>) {
        let (depth, line) = (self.depth(), self.places * columns);
        let planes = self.channels * self.plane * columns;
        let (block, channels) = self.block(columns);
        let direct = self.out <= DIRECT && !self.is_product();
        let block = if direct || self.is_product() { self.places } else { block };
        for first in (0..self.places).step_by(block.max(1)) {
            let count = block.min(self.places - first);
            let wide = count * columns;
            self.locate(first, count, &mut s.runs);
            for image in 0..images * self.groups {
                let g = &g[image * self.out * line..][..self.out * line];
                let out = &mut out[image * planes..][..planes];
                let weight = self.group(image % self.groups);
                if self.is_product() {
                    let (sizes, weight) = (Sizes { m: depth, n: line, k: self.out }, Left::transposed(weight, depth));
                    matmul(&mut s.panel, sizes, weight, g, line, out, line, Write::Add, Part::All);
                    continue;
                }
                if direct {
                    self.for_each_tap(weight, &s.runs, |channel, o, w, run, stride| {
                        let (from, to) = (o * self.places + run.place(count), channel * self.plane + run.from);
                        let out = &mut out[to * columns..];
                        add_run(w, [columns, stride * columns], columns, run.length, &g[from * columns..], out);
                    });
                    continue;
                }
                for channel in (0..self.channels).step_by(channels) {
                    let depth_now = channels.min(self.channels - channel) * self.taps;
                    let (panel, scattered) = take(&mut s.panel, &mut s.work, depth_now * wide);
                    let weight = Left { data: &weight[channel * self.taps..], row: 1, column: depth };
                    let sizes = Sizes { m: depth_now, n: wide, k: self.out };
                    matmul(panel, sizes, weight, &g[first * columns..], line, scattered, wide, Write::Set, Part::All);
                    for (c, from) in scattered.chunks_exact((self.taps * wide).max(1)).enumerate() {
                        let out = &mut out[(channel + c) * self.plane * columns..][..self.plane * columns];
                        s.runs.iter().for_each(|run| run.scatter(self.stride(), columns, from, out));
                    }
                }
            }
        }
    }

    fn stride(&self) -> usize {
        self.axes.last().map_or(1, |axis| axis.stride)
    }

    /// Calls `f(channel, channel of the result, weight, run, stride)` for all weights of a group.
    fn for_each_tap(&self, weight: &[T], runs: &[Run], mut f: impl FnMut(usize, usize, T, &Run, usize)) {
        let each = runs.len() / self.taps.max(1);
        for (i, &w) in weight.iter().enumerate() {
            let (o, channel, tap) = (i / self.depth(), i / self.taps % self.channels, i % self.taps);
            let runs = runs[tap * each..(tap + 1) * each].iter().filter(|run| run.length > 0);
            runs.for_each(|run| f(channel, o, w, run, self.stride()));
        }
    }
}

/// Working memory of so many elements.
fn take<'a, T: Real>(
    panel: &'a mut Panels<T>,
    work: &'a mut Vec<T>,
    length: usize,
) -> (&'a mut Panels<T>, &'a mut [T]) {
    (panel, grown(work, length))
}

/// Places that follow each other in a line of the result, and what a tap reads for them in a line of the operand.
#[derive(Clone, Copy, Debug)]
pub(in crate::eval) struct Run {
    /// The first place among those gathered.
    to: usize,
    total: usize,
    /// How many places read padding before the first that reads an element, and how many read one.
    skipped: usize,
    length: usize,
    /// The first element that is read; each place reads one a stride further.
    from: usize,
}

impl Run {
    /// The place of the result, of `count`, that reads the first element.
    fn place(&self, count: usize) -> usize {
        self.to % count + self.skipped
    }

    fn gather<T: Real>(&self, stride: usize, columns: usize, t: &[T], to: &mut [T]) {
        let (before, to) = to[self.to * columns..][..self.total * columns].split_at_mut(self.skipped * columns);
        let (to, after) = to.split_at_mut(self.length * columns);
        before.fill(T::ZERO);
        after.fill(T::ZERO);
        let t = &t[self.from * columns..];
        if stride == 1 {
            to.copy_from_slice(&t[..to.len()]);
        } else if columns == 1 {
            to.iter_mut().zip(t.iter().step_by(stride)).for_each(|(to, &t)| *to = t);
        } else {
            to.chunks_exact_mut(columns)
                .zip(t.chunks(stride * columns))
                .for_each(|(to, t)| to.copy_from_slice(&t[..columns]));
        }
    }

    fn scatter<T: Real>(&self, stride: usize, columns: usize, from: &[T], out: &mut [T]) {
        let from = &from[(self.to + self.skipped) * columns..];
        add_run(T::ONE, [columns, stride * columns], columns, self.length, from, &mut out[self.from * columns..]);
    }
}

multiversion! {
    /// `to += w from` for so many pieces of `columns` elements, at these distances of theirs.
    fn add_run<T: Real>(w: T, steps: [usize; 2], columns: usize, count: usize, from: &[T], to: &mut [T]) {
        if steps == [columns; 2] {
            let length = count * columns;
            let pairs = to[..length].iter_mut().zip(&from[..length]);
            return pairs.for_each(|(to, &from)| *to = w.madd::<FMA>(from, *to));
        }
        for i in 0..count {
            let to = &mut to[i * steps[1]..][..columns];
            let from = &from[i * steps[0]..][..columns];
            to.iter_mut().zip(from).for_each(|(to, &from)| *to = w.madd::<FMA>(from, *to));
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
