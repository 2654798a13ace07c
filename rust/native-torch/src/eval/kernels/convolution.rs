//! Convolution: bands of the operand are copied with their padding, split by the stride, so that every tap reads the
//! places of the result at one distance from their own, and products read the copy where it stands. Back, and in the
//! transposed convolution, bands of the result are copied likewise: of the operand's places those that are a stride apart
//! read by the same taps.

use super::{At, Constant, Kernel, Operands, Scratch, Write};
use crate::{
    eval::{
        chain::{Chain, follow},
        matmul::{self, BEHIND, Left, Part, Sizes, copy_line, matmul, matmul_at, next_block},
        memory::grown,
        registers::{Places, Start},
        simd::multiversion,
    },
    graph::{Conv, for_each_index},
    tensor::Real,
};

/// How many elements of a band are multiplied at a time: what the second-level cache holds well.
const BLOCK: usize = 1 << 15;
/// How many of them stand in a row at least.
const WIDE: usize = 144;
/// Bytes of a product of single taps that are computed at a time.
const PLACES: usize = 1 << 19;
/// Shorter pieces of a channel wait for the links of a chain until all are there: each takes a call.
const PIECE: usize = 512;
/// Bytes of the widest vector, and rows of the highest tile of a product.
const LINE: usize = 64;
const HIGH: usize = 8;
/// Up to so many products for each result, these are summed in one go.
const SHALLOW: usize = 256;
/// An element is copied from a band in the time of so many products.
const COPIED: usize = 8;
/// How many weights are put into the order of the way back at a time.
const TURNED: usize = 1 << 18;
/// Widths of products are multiples of so many elements.
const LANES: usize = 8;

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
    /// The same for the way back, which for each phase is a convolution of the result with a stride of 1.
    back: Vec<Axis>,
    /// For each tap, its position in each spatial dimension.
    positions: Vec<usize>,
    /// The taps of each phase.
    parts: Vec<Vec<usize>>,
}

#[derive(Clone)]
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

    /// The dimension for the way back. Its places are those of a phase, a stride apart in the operand; some of the first
    /// and last may be padding.
    fn back(&self) -> Self {
        // Of the phase that has the most places before the operand and of the one that has the most behind.
        let first = (self.before / self.stride).min(self.reach);
        let end = (self.size + self.before).div_ceil(self.stride);
        Self {
            size: self.count,
            count: end - first,
            stride: 1,
            dilation: 1,
            before: self.reach - first,
            phases: vec![0],
            reach: self.reach,
        }
    }

    /// Of so many places of the way back from this one on, those whose elements of a phase the operand has: the first,
    /// their number and the first one's element.
    fn span(&self, phase: usize, from: usize, length: usize) -> [usize; 3] {
        let first = (self.before / self.stride).min(self.reach);
        let begin = phase + (first + from) * self.stride;
        let skipped = self.before.saturating_sub(begin).div_ceil(self.stride).min(length);
        let end = (self.size + self.before).saturating_sub(begin).div_ceil(self.stride).clamp(skipped, length);
        let element = (begin + skipped * self.stride).saturating_sub(self.before);
        [skipped, end - skipped, element]
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

impl Band {
    /// Of an operand with so many channels.
    fn new(axes: &[Axis], channels: usize, columns: usize) -> Self {
        let mut pitches = [columns; DIMENSIONS];
        for (i, axis) in axes.iter().enumerate().skip(1).rev() {
            pitches[i - 1] = pitches[i] * (axis.count + axis.reach);
        }
        let first = &axes[0];
        let row = (pitches[0] * phases(axes)).max(1);
        let rows = (BLOCK / (row * channels.max(1))).max(WIDE.div_ceil(pitches[0].max(1)));
        // Bands of about the same height.
        let rows = first.count.div_ceil(first.count.div_ceil(rows).max(1)).max(1);
        Band { rows, pitches, channel: (rows + first.reach) * row }
    }

    /// Elements from the first place of so many rows to behind the last.
    fn width(&self, axes: &[Axis], columns: usize, rows: usize) -> usize {
        let rest = axes[1..].iter().zip(&self.pitches[1..]);
        let inside: usize = rest.map(|(axis, pitch)| (axis.count - 1) * pitch).sum();
        ((rows - 1) * self.pitches[0] + inside + columns).next_multiple_of(LANES)
    }
}

fn phases(axes: &[Axis]) -> usize {
    axes.iter().map(|axis| axis.phases.len()).product()
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
        let axes: Vec<Axis> = axes.collect();
        let mut positions = Vec::new();
        let mut parts = vec![Vec::new(); phases(&axes)];
        for_each_index(&w[2..], |index| {
            let part = |part, (axis, &tap): (&Axis, &usize)| part * axis.phases.len() + axis.shift(tap).0;
            parts[axes.iter().zip(index).fold(0, part)].push(positions.len() / spatial);
            positions.extend_from_slice(index);
        });
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
            back: axes.iter().map(Axis::back).collect(),
            axes,
            positions,
            parts,
        }
    }

    /// How many products are summed for one result.
    fn depth(&self) -> usize {
        self.channels * self.taps
    }

    /// Whether the gathered windows would be the operand itself.
    fn is_product(&self) -> bool {
        let whole = |axis: &Axis| axis.stride == 1 && axis.before == 0 && axis.count == axis.size;
        self.taps == 1 && self.axes.iter().all(whole)
    }

    /// The weights of a group: `[out, in, tap]`.
    fn group(&self, group: usize) -> &[T] {
        let size = self.out * self.depth();
        &self.weight[group * size..(group + 1) * size]
    }

    /// Where each channel and tap of a group reads in a band what the first place of the result needs.
    fn read_places(&self, band: &Band, places: &mut Vec<usize>) {
        places.clear();
        let plane = band.channel / phases(&self.axes).max(1);
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

    /// `out (+)= W * t` for so many images `t`, `[image, channel, place, column]`; a bias is added to what is set. With the
    /// links of a chain.
    fn gather(
        &self,
        images: usize,
        columns: usize,
        t: &[T],
        out: &mut [T],
        write: Write,
        bias: Option<&[T]>,
        s: &mut Scratch<T>,
        mut chain: Option<&mut Chain<T>>,
    ) {
        let (depth, line) = (self.depth(), self.places * columns);
        let planes = self.channels * self.plane * columns;
        if line == 0 {
            return;
        }
        if self.is_product() {
            // Places are taken so many at a time that the result stays in the second-level cache.
            let width = (PLACES / size_of::<T>() / self.out.max(1)).clamp(WIDE, line.max(WIDE)) / WIDE * WIDE;
            for image in 0..images * self.groups {
                let t = &t[image * planes..][..planes];
                let weight = Left::rows(self.group(image % self.groups), depth);
                for from in (0..line).step_by(width) {
                    let n = width.min(line - from);
                    let start = bias.map_or(write.into(), |bias| Start::These(&bias[image % self.groups * self.out..]));
                    let sizes = Sizes { m: self.out, n, k: depth };
                    let (t, to) = (t.get(from..).unwrap_or(&[]), &mut out[image * self.out * line + from..]);
                    matmul(&mut s.panel, sizes, weight, t, line, to, line, start, Part::All);
                    if width >= PIECE {
                        let starts = (0..self.out).map(|o| (image * self.out + o) * line + from);
                        starts.for_each(|at| follow(chain.as_deref_mut(), out, at..at + n));
                    }
                }
            }
            if width < PIECE {
                follow(chain, out, 0..out.len());
            }
            return;
        }
        let band = Band::new(&self.axes, self.channels, columns);
        self.read_places(&band, &mut s.places);
        let first = &self.axes[0];
        let ldc = band.width(&self.axes, columns, band.rows);
        let room = self.channels * band.channel + BEHIND;
        let (copy, product) = grown(&mut s.work, room + self.out * ldc).split_at_mut(room);
        let each = line / first.count;
        let places = Places::new(&s.places);
        let direct = self.is_direct(&band, columns);
        for from in (0..first.count).step_by(band.rows) {
            let rows = band.rows.min(first.count - from);
            let length = each * rows / self.lines(&band, rows).len();
            locate_lines(&self.axes, &band, columns, from, rows, &mut s.runs);
            copy.fill(T::ZERO);
            let sizes = Sizes { m: self.out, n: band.width(&self.axes, columns, rows), k: depth };
            for image in 0..images * self.groups {
                let t = &t[image * planes..][..planes];
                for (t, to) in t.chunks_exact((self.plane * columns).max(1)).zip(copy.chunks_exact_mut(band.channel)) {
                    copy_runs(&s.runs, self.stride(), columns, t, to);
                }
                let weight = Left::rows(self.group(image % self.groups), depth);
                let outs = image * self.out;
                if direct {
                    let start = bias.map_or(write.into(), |bias| Start::These(&bias[outs % bias.len()..]));
                    let sizes = Sizes { m: self.out, n: length, k: depth };
                    for (number, place) in self.lines(&band, rows).enumerate() {
                        let to = &mut out[outs * line + from * each + number * length..];
                        matmul_at(&mut s.panel, sizes, weight, &copy[place..], places, to, line, start);
                    }
                } else {
                    matmul_at(&mut s.panel, sizes, weight, copy, places, product, ldc, Write::Set);
                }
                for channel in outs..outs + self.out {
                    let part = channel * line + from * each..channel * line + (from + rows) * each;
                    if !direct {
                        let bias = bias.map(|bias| bias[channel % bias.len()]);
                        let product = &product[(channel - outs) * ldc..][..ldc];
                        self.put(&band, columns, rows, product, &mut out[part.clone()], write, bias);
                    }
                    if band.rows * each >= PIECE {
                        follow(chain.as_deref_mut(), out, part);
                    }
                }
            }
        }
        if band.rows * each < PIECE {
            follow(chain, out, 0..out.len());
        }
    }

    /// Whether products write the lines of the result where they belong, rather than a band with what stands between them,
    /// from which the lines are copied: where few products are summed, or lines are as long as whole vectors.
    fn is_direct(&self, band: &Band, columns: usize) -> bool {
        let (depth, last) = (self.depth(), self.axes.len() - 1);
        let (vector, length) = (LINE / size_of::<T>(), self.axes[last].count * columns);
        let pitch = if last == 0 { length } else { band.pitches[last - 1] };
        let multiplied = length.next_multiple_of(vector / 2);
        let fills_tiles = self.out >= HIGH && multiplied >= vector && depth <= SHALLOW;
        fills_tiles && depth * multiplied <= depth * pitch + COPIED * length
    }

    /// Where the lines of the result along the last dimension begin in a band of so many rows.
    fn lines(&self, band: &Band, rows: usize) -> impl ExactSizeIterator<Item = usize> {
        let dimensions = self.axes.len();
        let count = move |i: usize| if i == 0 { rows } else { self.axes[i].count };
        let lines: usize = (0..dimensions - 1).map(count).product();
        let pitches = band.pitches;
        (0..lines).map(move |number| {
            let (mut rest, mut place) = (number, 0);
            for i in (0..dimensions - 1).rev() {
                place += rest % count(i) * pitches[i];
                rest /= count(i);
            }
            place
        })
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
            return put_lines(
                product,
                0,
                out,
                [length, columns],
                [1, self.axes[0].count.min(rows)],
                columns,
                write,
                bias,
            );
        }
        // The lines along the last dimension but one are at one distance.
        let lines = count(dimensions - 2);
        for (number, out) in out.chunks_exact_mut(lines * length).enumerate() {
            let (mut rest, mut place) = (number, 0);
            for i in (0..dimensions - 2).rev() {
                place += rest % count(i) * band.pitches[i];
                rest /= count(i);
            }
            let steps = [length, columns];
            put_lines(
                &product[place..],
                band.pitches[dimensions - 2],
                out,
                steps,
                [lines, count(dimensions - 1)],
                columns,
                write,
                bias,
            );
        }
    }

    /// Where each channel of the result and each tap of a part reads in a band what the first place of the way back needs.
    fn back_places(&self, band: &Band, places: &mut Vec<usize>) {
        places.clear();
        for part in &self.parts {
            for channel in 0..self.out {
                for &tap in part {
                    let position = &self.positions[tap * self.axes.len()..][..self.axes.len()];
                    let far = self.axes.iter().zip(position).zip(band.pitches);
                    let place: usize = far.map(|((axis, &tap), pitch)| (axis.reach - axis.shift(tap).1) * pitch).sum();
                    places.push(channel * band.channel + place);
                }
            }
        }
    }

    /// The weights of some channels of the operand in the order of the way back: for each part `[in, out, tap]`.
    fn turn(&self, weight: &[T], channels: std::ops::Range<usize>, turned: &mut [T]) {
        let mut turned = turned.iter_mut();
        for part in &self.parts {
            for channel in channels.clone() {
                for out in 0..self.out {
                    let weight = &weight[(out * self.channels + channel) * self.taps..][..self.taps];
                    part.iter().zip(&mut turned).for_each(|(&tap, to)| *to = weight[tap]);
                }
            }
        }
    }

    /// `out (+)= W' * g` for so many results `g`, `[image, channel, place, column]`; a bias is added to what is set.
    fn scatter(
        &self,
        images: usize,
        columns: usize,
        g: &[T],
        out: &mut [T],
        write: Write,
        bias: Option<&[T]>,
        s: &mut Scratch<T>,
    ) {
        let (depth, line, plane) = (self.depth(), self.places * columns, self.plane * columns);
        let planes = self.channels * plane;
        if planes == 0 {
            return;
        }
        // With gaps between the taps, some elements are read by none.
        let gaps = self.axes.iter().any(|axis| axis.phases.len() < axis.stride);
        let (mut write, mut bias) = (write, bias);
        if write == Write::Set && (gaps || line == 0 || (self.is_product() && bias.is_some())) {
            fill(bias, plane, out);
            (write, bias) = (Write::Add, None);
        }
        if line == 0 {
            return;
        }
        if self.is_product() {
            for image in 0..images * self.groups {
                let (g, out) = (&g[image * self.out * line..][..self.out * line], &mut out[image * planes..][..planes]);
                let weight = Left::transposed(self.group(image % self.groups), depth);
                let sizes = Sizes { m: depth, n: line, k: self.out };
                matmul(&mut s.panel, sizes, weight, g, line, out, line, write, Part::All);
            }
            return;
        }
        let band = Band::new(&self.back, self.out, columns);
        self.back_places(&band, &mut s.places);
        let ldc = band.width(&self.back, columns, band.rows);
        let block = (TURNED / (self.out * self.taps).max(1)).clamp(1, self.channels);
        let room = self.out * band.channel + BEHIND;
        let work = grown(&mut s.work, room + block * (ldc + self.out * self.taps));
        let (copy, work) = work.split_at_mut(room);
        let (product, turned) = work.split_at_mut(block * ldc);
        let count = self.back[0].count;
        for (group, channel) in (0..self.groups).flat_map(|g| (0..self.channels).step_by(block).map(move |c| (g, c))) {
            let channels = block.min(self.channels - channel);
            self.turn(self.group(group), channel..channel + channels, turned);
            for from in (0..count).step_by(band.rows) {
                let rows = band.rows.min(count - from);
                locate_lines(&self.back, &band, columns, from, rows, &mut s.runs);
                copy.fill(T::ZERO);
                let n = band.width(&self.back, columns, rows);
                for image in (0..images).map(|image| image * self.groups + group) {
                    let g = &g[image * self.out * line..][..self.out * line];
                    for (g, to) in g.chunks_exact(line).zip(copy.chunks_exact_mut(band.channel)) {
                        copy_runs(&s.runs, 1, columns, g, to);
                    }
                    let (mut turned, mut places) = (&*turned, &s.places[..]);
                    for (number, part) in self.parts.iter().enumerate() {
                        let k = self.out * part.len();
                        let (weight, here);
                        (weight, turned) = turned.split_at(channels * k);
                        (here, places) = places.split_at(k);
                        let sizes = Sizes { m: channels, n, k };
                        matmul_at(
                            &mut s.panel,
                            sizes,
                            Left::rows(weight, k),
                            copy,
                            Places::new(here),
                            product,
                            ldc,
                            Write::Set,
                        );
                        for (c, product) in product.chunks_exact(ldc).enumerate().take(channels) {
                            let bias = bias.map(|bias| bias[(image * self.channels + channel + c) % bias.len()]);
                            let out = &mut out[image * planes + (channel + c) * plane..][..plane];
                            self.put_back(&band, columns, number, [from, rows], product, out, write, bias);
                        }
                    }
                }
            }
        }
    }

    /// Writes a channel of a band's product on the way back to the elements of its phase.
    fn put_back(
        &self,
        band: &Band,
        columns: usize,
        number: usize,
        [from, rows]: [usize; 2],
        product: &[T],
        out: &mut [T],
        write: Write,
        bias: Option<T>,
    ) {
        let dimensions = self.axes.len();
        let (mut rest, mut place, mut element, mut step) = (number, 0, 0, columns);
        // For each dimension: how many elements, and how far they are from each other.
        let (mut counts, mut steps) = ([1; DIMENSIONS], [0; DIMENSIONS]);
        for (i, axis) in self.axes.iter().enumerate().rev() {
            let phase = axis.phases[rest % axis.phases.len()];
            rest /= axis.phases.len();
            let [skipped, count, first] =
                if i == 0 { axis.span(phase, from, rows) } else { axis.span(phase, 0, self.back[i].count) };
            if count == 0 {
                return;
            }
            place += skipped * band.pitches[i];
            element += first * step;
            (counts[i], steps[i]) = (count, axis.stride * step);
            step *= axis.size;
        }
        let last = dimensions - 1;
        // Lines along the last dimension but one, and again along the one before.
        let (lines, pitch, distance) =
            if last == 0 { (1, 0, 0) } else { (counts[last - 1], band.pitches[last - 1], steps[last - 1]) };
        for outer in 0..if last == 2 { counts[0] } else { 1 } {
            let product = &product[place + outer * band.pitches[0]..];
            let out = &mut out[element + outer * steps[0]..];
            put_lines(product, pitch, out, [distance, steps[last]], [lines, counts[last]], columns, write, bias);
        }
    }

    fn stride(&self) -> usize {
        self.axes.last().map_or(1, |axis| axis.stride)
    }
}

/// The lines of a channel's planes in a band of so many rows from this one on, and what of the operand they copy.
fn locate_lines(axes: &[Axis], band: &Band, columns: usize, from: usize, rows: usize, runs: &mut Vec<Run>) {
    runs.clear();
    let dimensions = axes.len();
    let plane = band.channel / phases(axes).max(1) / columns.max(1);
    // The first place along a dimension, and how many there are.
    let extent = |i: usize| {
        if i == 0 { (from, rows + axes[0].reach) } else { (0, axes[i].count + axes[i].reach) }
    };
    let lines: usize = (0..dimensions - 1).map(|i| extent(i).1).product();
    let last = &axes[dimensions - 1];
    let (begin, length) = extent(dimensions - 1);
    for phase in 0..phases(axes) {
        let (mut rest, mut own) = (phase, [0; DIMENSIONS]);
        for (i, axis) in axes.iter().enumerate().rev() {
            own[i] = axis.phases[rest % axis.phases.len()];
            rest /= axis.phases.len();
        }
        for line in 0..lines {
            let (mut rest, mut to, mut source, mut step) = (line, phase * plane, Some(0), last.size);
            for (i, axis) in axes.iter().enumerate().take(dimensions - 1).rev() {
                let (begin, count) = extent(i);
                let place = rest % count;
                rest /= count;
                to += place * band.pitches[i] / columns.max(1);
                let read = ((begin + place) * axis.stride + own[i]).checked_sub(axis.before);
                source = source.zip(read.filter(|&read| read < axis.size)).map(|(source, read)| source + read * step);
                step *= axis.size;
            }
            // The places whose source lies within the line.
            let phase = own[dimensions - 1];
            let first = last.before.saturating_sub(phase).div_ceil(last.stride).clamp(begin, begin + length);
            let end = (last.size + last.before).saturating_sub(phase).div_ceil(last.stride);
            let end = if source.is_some() { end.clamp(first, begin + length) } else { first };
            let source = source.map(|source| source + first * last.stride + phase).filter(|_| end > first);
            if let Some(source) = source {
                runs.push(Run { to: to + first - begin, length: end - first, from: source - last.before });
            }
        }
    }
}

/// Places that follow each other in a line of a band, and the elements that they copy; those around them are padding.
#[derive(Clone, Copy, Debug)]
pub(in crate::eval) struct Run {
    /// The first place.
    to: usize,
    length: usize,
    /// The first element; each place copies one a stride further.
    from: usize,
}

multiversion! {
    /// Copies runs of places with `columns` elements each.
    fn copy_runs<T: Real>(runs: &[Run], stride: usize, columns: usize, t: &[T], to: &mut [T]) {
        for run in runs {
            let to = &mut to[run.to * columns..][..run.length * columns];
            let t = &t[run.from * columns..];
            if stride == 1 {
                copy_line(&t[..to.len()], to);
            } else if columns == 1 {
                to.iter_mut().zip(t.iter().step_by(stride)).for_each(|(to, &t)| *to = t);
            } else {
                let places = to.chunks_exact_mut(columns).zip(t.chunks(stride * columns));
                places.for_each(|(to, t)| copy_line(&t[..columns], to));
            }
        }
    }
}

multiversion! {
    /// Writes lines of so many places of `columns` elements. Lines of `from` are `pitch` elements apart, those of `to` and
    /// places in them as far as the steps say.
    fn put_lines<T: Real>(
        from: &[T],
        pitch: usize,
        to: &mut [T],
        steps: [usize; 2],
        counts: [usize; 2],
        columns: usize,
        write: Write,
        bias: Option<T>,
    ) {
        let length = counts[1] * columns;
        for i in 0..counts[0] {
            let (from, to) = (&from[i * pitch..][..length], &mut to[i * steps[0]..]);
            if steps[1] == columns {
                put_line(from, &mut to[..length], write, bias);
            } else if columns == 1 {
                let pairs = to.iter_mut().step_by(steps[1]).zip(from);
                match (write, bias) {
                    (_, Some(bias)) => pairs.for_each(|(to, &from)| *to = from + bias),
                    (Write::Set, None) => pairs.for_each(|(to, &from)| *to = from),
                    (Write::Add, None) => pairs.for_each(|(to, &from)| *to += from),
                }
            } else {
                let places = from.chunks_exact(columns).zip(to.chunks_mut(steps[1]));
                places.for_each(|(from, to)| put_line(from, &mut to[..columns], write, bias));
            }
        }
    }
}

#[inline(always)]
fn put_line<T: Real>(from: &[T], to: &mut [T], write: Write, bias: Option<T>) {
    const BLOCK: usize = matmul::BLOCK;
    let count = to.len();
    if write == Write::Add && bias.is_none() {
        return to.iter_mut().zip(from).for_each(|(to, &from)| *to += from);
    }
    let Some(bias) = bias else { return copy_line(from, to) };
    if count < BLOCK {
        return to.iter_mut().zip(from).for_each(|(to, &from)| *to = from + bias);
    }
    let mut at = 0;
    while let Some(next) = next_block(at, count) {
        let (from, to) = (&from[at..at + BLOCK], &mut to[at..at + BLOCK]);
        for l in 0..BLOCK {
            to[l] = from[l] + bias;
        }
        at = next;
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
        self.gather(self.images, x.points, x.get(0).0, y, Write::Set, self.bias.as_deref(), s, None);
    }

    fn forward_chain(&self, x: Operands<T>, y: &mut [T], s: &mut Scratch<T>, chain: &mut Chain<T>) {
        self.gather(self.images, x.points, x.get(0).0, y, Write::Set, self.bias.as_deref(), s, Some(chain));
    }

    fn jvp(&self, _: usize, at: At<T>, columns: usize, t: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        self.gather(self.images, at.points() * columns, t, out, write, None, s, None);
    }

    fn vjp(&self, _: usize, at: At<T>, rows: usize, g: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        self.scatter(at.points() * rows * self.images, 1, g, out, write, None, s);
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
        self.0.scatter(self.0.images, points, x, y, Write::Set, self.0.bias.as_deref(), s);
    }

    fn jvp(&self, _: usize, at: At<T>, columns: usize, t: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        self.0.scatter(self.0.images, at.points() * columns, t, out, write, None, s);
    }

    fn vjp(&self, _: usize, at: At<T>, rows: usize, g: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        self.0.gather(at.points() * rows * self.0.images, 1, g, out, write, None, s, None);
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

    /// Both directions on images of two channels for so many, of these sizes, against sums of single products.
    fn check<T: Real>(
        outs: usize,
        plane: &[usize],
        kernel: &[usize],
        [stride, dilation, padding]: [usize; 3],
        columns: usize,
    ) {
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
        let (weight, bias) = (numbers::<T>(outs * 2 * taps, 1), numbers::<T>(outs, 2));
        let (x, g) = (numbers::<T>(2 * size * columns, 3), numbers::<T>(outs * result * columns, 4));
        let (mut y, mut back) = (vec![0.0; outs * result * columns], vec![0.0; 2 * size * columns]);
        windows.for_each(|place, reads| {
            for (o, c) in (0..2 * outs).map(|i| (i / 2, i % 2)) {
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
        let (shape, w, to) = (sizes(&[1, 2], plane), sizes(&[outs, 2], kernel), sizes(&[1, outs], &places));
        let convolution = Convolution::new(&conv, constant(&weight), Some(constant(&bias)), &shape, &w, &to);
        let mut scratch = Scratch::new(1);
        let close = |found: &[T], expected: &dyn Fn(usize) -> f64| {
            for (i, found) in found.iter().enumerate() {
                let error = (found.to_f64() - expected(i)).abs();
                assert!(error < 40.0 * T::EPSILON.to_f64() * taps as f64, "{plane:?} {kernel:?}: {error} at {i}");
            }
        };
        let mut found = vec![T::ONE; y.len()];
        convolution.gather(1, columns, &x, &mut found, Write::Set, Some(&bias), &mut scratch, None);
        close(&found, &|i| y[i] + bias[i / (result * columns)].to_f64());
        convolution.gather(1, columns, &x, &mut found, Write::Set, None, &mut scratch, None);
        convolution.gather(1, columns, &x, &mut found, Write::Add, None, &mut scratch, None);
        close(&found, &|i| 2.0 * y[i]);
        let mut found = vec![T::ONE; back.len()];
        convolution.scatter(1, columns, &g, &mut found, Write::Set, Some(&bias[..2]), &mut scratch);
        close(&found, &|i| back[i] + bias[i / (size * columns)].to_f64());
        convolution.scatter(1, columns, &g, &mut found, Write::Set, None, &mut scratch);
        convolution.scatter(1, columns, &g, &mut found, Write::Add, None, &mut scratch);
        close(&found, &|i| 2.0 * back[i]);
    }

    #[test]
    fn convolutions_are_sums_of_products() {
        for columns in [1, 3] {
            // Stride, dilation and padding; the large ones take several bands.
            for settings in [[1, 1, 0], [1, 1, 2], [2, 1, 1], [3, 2, 2], [2, 3, 3], [4, 1, 0]] {
                check::<f64>(3, &[20_000], &[5], settings, columns);
                check::<f32>(3, &[9], &[2], settings, columns);
                check::<f64>(3, &[150, 140], &[3, 3], settings, columns);
                check::<f32>(3, &[11, 17], &[1, 4], settings, columns);
                check::<f64>(3, &[20, 40, 30], &[2, 3, 1], settings, columns);
                // Lines that are written where they belong.
                check::<f32>(9, &[40, 57], &[3, 3], settings, columns);
                check::<f64>(9, &[9, 10, 31], &[2, 1, 3], settings, columns);
            }
        }
    }
}
