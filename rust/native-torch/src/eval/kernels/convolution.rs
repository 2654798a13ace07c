//! Convolution: bands of the operand are copied with their padding, split by the stride, so that every tap reads the
//! places of the result at one distance from their own, and products read the copy where it stands. Back, and in the
//! transposed convolution, products with the weights are scattered block by block.

use super::{At, Constant, Kernel, Operands, Scratch, Write};
use crate::{
    eval::{
        matmul::{BEHIND, Left, Panels, Part, Sizes, matmul, matmul_at},
        memory::grown,
        simd::multiversion,
    },
    graph::{Conv, for_each_index},
    tensor::Real,
};

/// How many elements of a band, or of windows to scatter, are multiplied at a time: what the second-level cache holds
/// well.
const BLOCK: usize = 1 << 15;
/// How many of them stand in a row.
const WIDE: usize = 144;
/// For so few channels of the result, per group, windows are scattered where they are.
const DIRECT: usize = 2;
/// Elements of the longest vector.
const LANES: usize = 16;

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
    /// The remainders by the stride of where taps read; the copy has a plane for each.
    phases: Vec<usize>,
    /// How many places of such a plane the last tap is from the first.
    reach: usize,
}

impl Axis {
    /// Of its phases, the one that a tap reads, and how far from the place.
    fn shift(&self, tap: usize) -> (usize, usize) {
        let phase = tap * self.dilation % self.stride;
        let number = self.phases.iter().position(|&other| other == phase).expect("every tap has a phase");
        (number, tap * self.dilation / self.stride)
    }
}

/// The copy of a band of the operand: for each channel and phase a plane with its padding.
struct Band {
    /// Places of the result, along the first dimension, that it is for.
    rows: usize,
    /// How far neighbours along each dimension are, in elements.
    pitches: [usize; DIMENSIONS],
    /// Elements of the planes of a channel.
    channel: usize,
}

/// More spatial dimensions than these are not there.
const DIMENSIONS: usize = 3;

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
        let axes = (0..spatial).map(|i| {
            let (stride, dilation, kernel) = (conv.stride[i], conv.dilation[i], w[2 + i]);
            let mut phases: Vec<usize> = (0..kernel).map(|tap| tap * dilation % stride).collect();
            phases.sort_unstable();
            phases.dedup();
            Axis {
                size: x[start + i],
                count: y[start + i],
                stride,
                dilation,
                before: conv.padding[i].0,
                phases,
                reach: kernel.saturating_sub(1) * dilation / stride,
            }
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

    /// How the operand is copied.
    fn band(&self, columns: usize) -> Band {
        let mut pitches = [columns; DIMENSIONS];
        for (i, axis) in self.axes.iter().enumerate().skip(1).rev() {
            pitches[i - 1] = pitches[i] * (axis.count + axis.reach);
        }
        let first = &self.axes[0];
        let row = (pitches[0] * self.phases()).max(1);
        let rows = (BLOCK / (row * self.channels.max(1))).max(WIDE.div_ceil(pitches[0].max(1)));
        // Bands of about the same height.
        let rows = first.count.div_ceil(first.count.div_ceil(rows).max(1)).max(1);
        Band { rows, pitches, channel: (rows + first.reach) * row }
    }

    fn phases(&self) -> usize {
        self.axes.iter().map(|axis| axis.phases.len()).product()
    }

    /// Where each channel and tap of a group reads in a band what the first place of the result needs.
    fn read_places(&self, band: &Band, places: &mut Vec<usize>) {
        places.clear();
        let plane = band.channel / self.phases().max(1);
        for channel in 0..self.channels {
            for position in self.positions.chunks_exact(self.axes.len()) {
                let mut place = 0;
                let mut phase = 0;
                for ((axis, &tap), pitch) in self.axes.iter().zip(position).zip(band.pitches) {
                    let (own, shift) = axis.shift(tap);
                    phase = phase * axis.phases.len() + own;
                    place += shift * pitch;
                }
                places.push(channel * band.channel + phase * plane + place);
            }
        }
    }

    /// The lines of a channel's planes in a band of so many rows from this one on, and what of the operand they copy.
    fn locate_lines(&self, band: &Band, columns: usize, from: usize, rows: usize, runs: &mut Vec<Run>) {
        runs.clear();
        let dimensions = self.axes.len();
        let plane = band.channel / self.phases().max(1) / columns.max(1);
        // The first place along a dimension, and how many there are.
        let extent = |i: usize| {
            if i == 0 { (from, rows + self.axes[0].reach) } else { (0, self.axes[i].count + self.axes[i].reach) }
        };
        let lines: usize = (0..dimensions - 1).map(|i| extent(i).1).product();
        let last = &self.axes[dimensions - 1];
        let (begin, length) = extent(dimensions - 1);
        for phase in 0..self.phases() {
            let (mut rest, mut phases) = (phase, [0; DIMENSIONS]);
            for (i, axis) in self.axes.iter().enumerate().rev() {
                phases[i] = axis.phases[rest % axis.phases.len()];
                rest /= axis.phases.len();
            }
            for line in 0..lines {
                let (mut rest, mut to, mut source, mut step) = (line, phase * plane, Some(0), last.size);
                for (i, axis) in self.axes.iter().enumerate().take(dimensions - 1).rev() {
                    let (begin, count) = extent(i);
                    let place = rest % count;
                    rest /= count;
                    to += place * band.pitches[i] / columns.max(1);
                    let read = ((begin + place) * axis.stride + phases[i]).checked_sub(axis.before);
                    source =
                        source.zip(read.filter(|&read| read < axis.size)).map(|(source, read)| source + read * step);
                    step *= axis.size;
                }
                // The places whose source lies within the line.
                let phase = phases[dimensions - 1];
                let first = last.before.saturating_sub(phase).div_ceil(last.stride).clamp(begin, begin + length);
                let end = (last.size + last.before).saturating_sub(phase).div_ceil(last.stride);
                let end = if source.is_some() { end.clamp(first, begin + length) } else { first };
                let source = source.map(|source| source + first * last.stride + phase).filter(|_| end > first);
                runs.push(Run {
                    to,
                    total: length,
                    skipped: first - begin,
                    from: source.map_or(0, |source| source - last.before),
                    length: end - first,
                });
            }
        }
    }

    /// `out (+)= W * t` for so many images `t`, `[image, channel, place, column]`; a bias is added to what is set.
    fn gather(
        &self,
        images: usize,
        columns: usize,
        t: &[T],
        out: &mut [T],
        write: Write,
        bias: Option<&[T]>,
        s: &mut Scratch<T>,
    ) {
        let (depth, line) = (self.depth(), self.places * columns);
        let planes = self.channels * self.plane * columns;
        if line == 0 {
            return;
        }
        if self.is_product() {
            let write = if bias.is_some() { Write::Add } else { write };
            if bias.is_some() {
                fill(bias, line, out);
            }
            for image in 0..images * self.groups {
                let (t, out) = (&t[image * planes..][..planes], &mut out[image * self.out * line..][..self.out * line]);
                let weight = Left::rows(self.group(image % self.groups), depth);
                let sizes = Sizes { m: self.out, n: line, k: depth };
                matmul(&mut s.panel, sizes, weight, t, line, out, line, write, Part::All);
            }
            return;
        }
        let band = self.band(columns);
        self.read_places(&band, &mut s.places);
        let (first, rest) = self.axes.split_first().expect("a convolution has spatial dimensions");
        let inside: usize = rest.iter().zip(&band.pitches[1..]).map(|(axis, pitch)| (axis.count - 1) * pitch).sum();
        let width = |rows: usize| ((rows - 1) * band.pitches[0] + inside + columns).next_multiple_of(LANES);
        let ldc = width(band.rows);
        let room = self.channels * band.channel + BEHIND;
        let (copy, product) = grown(&mut s.work, room + self.out * ldc).split_at_mut(room);
        let each = line / first.count;
        for from in (0..first.count).step_by(band.rows) {
            let rows = band.rows.min(first.count - from);
            self.locate_lines(&band, columns, from, rows, &mut s.runs);
            let sizes = Sizes { m: self.out, n: width(rows), k: depth };
            for image in 0..images * self.groups {
                let t = &t[image * planes..][..planes];
                for (t, to) in t.chunks_exact((self.plane * columns).max(1)).zip(copy.chunks_exact_mut(band.channel)) {
                    s.runs.iter().for_each(|run| run.gather(self.stride(), columns, t, to));
                }
                let weight = Left::rows(self.group(image % self.groups), depth);
                matmul_at(&mut s.panel, sizes, weight, copy, &s.places, product, ldc, Write::Set);
                for (o, product) in product.chunks_exact(ldc).enumerate() {
                    let channel = image * self.out + o;
                    let bias = bias.map(|bias| bias[channel % bias.len()]);
                    let out = &mut out[channel * line + from * each..][..rows * each];
                    self.put(&band, columns, rows, product, out, write, bias);
                }
            }
        }
    }

    /// Writes a channel of a band's product without the places between its lines.
    fn put(
        &self,
        band: &Band,
        columns: usize,
        rows: usize,
        product: &[T],
        out: &mut [T],
        write: Write,
        bias: Option<T>,
    ) {
        let count = |i: usize| if i == 0 { rows } else { self.axes[i].count };
        let dimensions = self.axes.len();
        let length = count(dimensions - 1) * columns;
        if dimensions == 1 {
            return put_lines(product, 0, out, length, write, bias);
        }
        // The lines along the last dimension but one are at one distance.
        let lines = count(dimensions - 2);
        for (number, out) in out.chunks_exact_mut(lines * length).enumerate() {
            let (mut rest, mut place) = (number, 0);
            for i in (0..dimensions - 2).rev() {
                place += rest % count(i) * band.pitches[i];
                rest /= count(i);
            }
            put_lines(&product[place..], band.pitches[dimensions - 2], out, length, write, bias);
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

multiversion! {
    /// Writes lines of this length that are `pitch` elements apart.
    fn put_lines<T: Real>(from: &[T], pitch: usize, to: &mut [T], length: usize, write: Write, bias: Option<T>) {
        for (i, to) in to.chunks_exact_mut(length).enumerate() {
            let pairs = to.iter_mut().zip(&from[i * pitch..][..length]);
            match (write, bias) {
                (_, Some(bias)) => pairs.for_each(|(to, &from)| *to = from + bias),
                (Write::Set, None) => pairs.for_each(|(to, &from)| *to = from),
                (Write::Add, None) => pairs.for_each(|(to, &from)| *to += from),
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
        self.gather(self.images, x.points, x.get(0).0, y, Write::Set, self.bias.as_deref(), s);
    }

    fn jvp(&self, _: usize, at: At<T>, columns: usize, t: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        self.gather(self.images, at.points() * columns, t, out, write, None, s);
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
        self.0.gather(at.points() * rows * self.0.images, 1, g, out, write, None, s);
    }

    fn cost(&self) -> f64 {
        Kernel::<T>::cost(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Windows;

    fn numbers<T: Real>(count: usize, seed: usize) -> Vec<T> {
        (0..count).map(|i| T::from_f64(((i * 7919 + seed * 104_729) % 1009) as f64 / 504.0 - 1.0)).collect()
    }

    /// Both directions on images of two channels for three, of these sizes, against sums of single products.
    fn check<T: Real>(plane: &[usize], kernel: &[usize], [stride, dilation, padding]: [usize; 3], columns: usize) {
        let count = |i: usize| (plane[i] + 2 * padding - dilation * (kernel[i] - 1) - 1) / stride + 1;
        let places: Vec<usize> = (0..plane.len()).map(count).collect();
        let same = |value: usize| vec![value; plane.len()];
        let conv = Conv {
            stride: same(stride),
            padding: vec![(padding, padding); plane.len()],
            dilation: same(dilation),
            groups: 1,
        };
        let sizes = |channels: &[usize], rest: &[usize]| [channels, rest].concat();
        let windows = Windows::convolution(&conv, kernel, plane, &places);
        let [size, result, taps] = [plane, &places, kernel].map(|sizes| sizes.iter().product::<usize>());
        let (weight, bias) = (numbers::<T>(6 * taps, 1), numbers::<T>(3, 2));
        let (x, g) = (numbers::<T>(2 * size * columns, 3), numbers::<T>(3 * result * columns, 4));
        let (mut y, mut back) = (vec![0.0; 3 * result * columns], vec![0.0; 2 * size * columns]);
        windows.for_each(|place, reads| {
            for (o, c) in (0..6).map(|i| (i / 2, i % 2)) {
                for read in reads {
                    let w = weight[(o * 2 + c) * taps + read.tap].to_f64();
                    for column in 0..columns {
                        let to = (o * result + place) * columns + column;
                        let from = (c * size + read.place) * columns + column;
                        y[to] += w * x[from].to_f64();
                        back[from] += w * g[to].to_f64();
                    }
                }
            }
        });
        let constant = |numbers: &Vec<T>| Constant::from(numbers.clone());
        let (shape, w, to) = (sizes(&[1, 2], plane), sizes(&[3, 2], kernel), sizes(&[1, 3], &places));
        let convolution = Convolution::new(&conv, constant(&weight), Some(constant(&bias)), &shape, &w, &to);
        let mut scratch = Scratch::new(1);
        let close = |found: &[T], expected: &dyn Fn(usize) -> f64| {
            for (i, found) in found.iter().enumerate() {
                let error = (found.to_f64() - expected(i)).abs();
                assert!(error < 40.0 * T::EPSILON.to_f64() * taps as f64, "{plane:?} {kernel:?}: {error} at {i}");
            }
        };
        let mut found = vec![T::ONE; y.len()];
        convolution.gather(1, columns, &x, &mut found, Write::Set, Some(&bias), &mut scratch);
        close(&found, &|i| y[i] + bias[i / (result * columns)].to_f64());
        convolution.gather(1, columns, &x, &mut found, Write::Set, None, &mut scratch);
        convolution.gather(1, columns, &x, &mut found, Write::Add, None, &mut scratch);
        close(&found, &|i| 2.0 * y[i]);
        let mut found = vec![T::ZERO; back.len()];
        convolution.scatter(1, columns, &g, &mut found, &mut scratch);
        close(&found, &|i| back[i]);
    }

    #[test]
    fn convolutions_are_sums_of_products() {
        for columns in [1, 3] {
            // Stride, dilation and padding; the large ones take several bands.
            for settings in [[1, 1, 0], [1, 1, 2], [2, 1, 1], [3, 2, 2], [2, 3, 3], [4, 1, 0]] {
                check::<f64>(&[20_000], &[5], settings, columns);
                check::<f32>(&[9], &[2], settings, columns);
                check::<f64>(&[150, 140], &[3, 3], settings, columns);
                check::<f32>(&[11, 17], &[1, 4], settings, columns);
                check::<f64>(&[20, 40, 30], &[2, 3, 1], settings, columns);
            }
        }
    }
}
