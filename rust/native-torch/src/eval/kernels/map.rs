//! Linear maps with fixed coefficients: average pooling, padding, interpolation, and whatever else only moves and adds
//! elements.

use std::ops::Range;

use super::{At, Kernel, Operands, Scratch, Write};
use crate::{
    eval::{memory::grown, simd::multiversion},
    graph::{Axis, Map, Read},
    tensor::Real,
};

pub(super) struct LinearMap {
    map: Map,
    line: Line,
}

impl LinearMap {
    pub fn new(map: Map) -> Self {
        let line = Line::find(map.windows.last());
        Self { map, line }
    }
}

/// How the places of a row are computed together where one column is wanted: first what they read in common, as one line
/// of the operand, then what each of them reads of that line.
pub(super) struct Line {
    /// The part of the operand that the last indices read; empty where that is no line.
    first: usize,
    length: usize,
    /// Indices that read alike, each `step` places after the one that is `period` indices before.
    run: Range<usize>,
    period: usize,
    pub step: usize,
}

impl Line {
    pub fn find(axis: &Axis) -> Self {
        let reads = || (0..axis.len()).flat_map(|index| axis.reads(index));
        let first = reads().map(|read| read.place).min().unwrap_or(0);
        let length = reads().map(|read| read.place + 1 - first).max().unwrap_or(0);
        // Elements that are far apart are no line.
        let length = if length > 4 * reads().count() { 0 } else { length };
        let shapes =
            [(1, 1), (1, 2), (1, 3), (2, 1)].map(|(period, step)| (Self::run(axis, period, step), period, step));
        let (run, period, step) = shapes.into_iter().max_by_key(|(run, ..)| run.len()).expect("there are some");
        Self { first, length, run, period, step }
    }

    /// The run around the middle, where no edge disturbs it; empty where it would be short.
    fn run(axis: &Axis, period: usize, step: usize) -> Range<usize> {
        let follows = |index: usize| {
            let (a, b) = (axis.reads(index), axis.reads(index + period));
            let alike = |(a, b): (&Read, &Read)| a.place + step == b.place && a.weight == b.weight;
            a.len() == b.len() && !a.is_empty() && a.iter().zip(b).all(alike)
        };
        let middle = axis.len() / 2;
        let after = (middle..axis.len().saturating_sub(period)).take_while(|&index| follows(index)).count();
        if after == 0 {
            return 0..0;
        }
        let start = middle - (0..middle).rev().take_while(|&index| follows(index)).count();
        let whole = (middle + after + period - start) / period * period;
        if whole < 4 * period { 0..0 } else { start..start + whole }
    }

    /// The indices that all read alike, each `step` places after the one before.
    pub fn regular(&self) -> Range<usize> {
        if self.period == 1 { self.run.clone() } else { 0..0 }
    }

    /// The elements of working memory that [`gather`] needs: chunks of the line are read whole.
    pub fn room(&self) -> usize {
        self.length + self.step - 1
    }
}

/// How what a place reads becomes one number.
pub(super) trait Reduce<T: Real> {
    /// From the first that is read.
    fn first(weight: T, t: T) -> T;
    /// With one more.
    fn next<const FMA: bool>(weight: T, t: T, sum: T) -> T;
}

/// The sum of what is read.
struct Sum;

impl<T: Real> Reduce<T> for Sum {
    #[inline(always)]
    fn first(weight: T, t: T) -> T {
        weight * t
    }

    #[inline(always)]
    fn next<const FMA: bool>(weight: T, t: T, sum: T) -> T {
        weight.madd::<FMA>(t, sum)
    }
}

impl<T: Real> Kernel<T> for LinearMap {
    fn forward(&self, x: Operands<T>, y: &mut [T], s: &mut Scratch<T>) {
        let constant = T::from_f64(self.map.constant);
        let work = grown(&mut s.work, self.line.room());
        gather::<T, Sum>(&self.map, &self.line, x.points, x.get(0).0, y, Write::Set, constant, &mut s.reads, work);
    }

    fn jvp(&self, _: usize, at: At<T>, columns: usize, t: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        let work = grown(&mut s.work, self.line.room());
        let columns = at.points() * columns;
        gather::<T, Sum>(&self.map, &self.line, columns, t, out, write, T::ZERO, &mut s.reads, work);
    }

    fn vjp(&self, _: usize, _: At<T>, _: usize, g: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        if write == Write::Set {
            out.fill(T::ZERO);
        }
        scatter(&self.map, g, out, &mut s.reads);
    }

    fn cost(&self) -> f64 {
        2.0 * self.map.total() as f64
    }
}

multiversion! {
    /// `out (+)= A t` for `t` of `[element, column]`, or another reduction than the sum. `common` holds what the places of
    /// a row have in common; `work` is as long as [`Line::room`] says.
    pub(super) fn gather<T: Real, R: Reduce<T>>(
        map: &Map,
        line: &Line,
        columns: usize,
        t: &[T],
        out: &mut [T],
        write: Write,
        constant: T,
        common: &mut Vec<Read>,
        work: &mut [T],
    ) {
        let (wide, last) = (map.inner * columns, map.windows.last());
        let (from, to) = (map.plane * wide, map.windows.len() * wide);
        let length = last.len() * wide;
        if length == 0 {
            return;
        }
        for row in 0..map.windows.rows() {
            map.windows.row(row, common);
            for o in 0..map.outer {
                let (t, out) = (&t[o * from..][..from], &mut out[o * to + row * length..][..length]);
                if common.is_empty() {
                    put(constant, out, write);
                } else if wide == 1 && line.length > 0 {
                    let t = read_common::<T, R, FMA>(common, t, line, work);
                    read_run::<T, R, FMA>(last, line, t, out, write);
                    for index in (0..line.run.start).chain(line.run.end..last.len()) {
                        let own = last.reads(index).iter().map(|b| (b.weight, b.place - line.first));
                        read_one::<T, R, FMA>(own, t, constant, &mut out[index], write);
                    }
                } else {
                    for (index, out) in out.chunks_exact_mut(wide).enumerate() {
                        let own = last.reads(index);
                        if let [out] = out {
                            let both = |a: Read| own.iter().map(move |b| (a.weight * b.weight, a.place + b.place));
                            read_one::<T, R, FMA>(common.iter().copied().flat_map(both), t, constant, out, write);
                        } else if own.is_empty() {
                            put(constant, out, write);
                        } else {
                            read_columns::<T, R, FMA>(common, own, t, out, write);
                        }
                    }
                }
            }
        }
    }
}

/// The number where nothing is read.
#[inline(always)]
fn put<T: Real>(constant: T, out: &mut [T], write: Write) {
    match write {
        Write::Set => out.fill(constant),
        Write::Add => out.iter_mut().for_each(|out| *out += constant),
    }
}

/// The line that all places of a row read.
#[inline(always)]
fn read_common<'a, T: Real, R: Reduce<T>, const FMA: bool>(
    common: &[Read],
    t: &'a [T],
    line: &Line,
    work: &'a mut [T],
) -> &'a [T] {
    let of = |read: &Read| &t[read.place + line.first..][..line.length];
    let (first, others) = common.split_first().expect("something is read");
    if others.is_empty() && first.weight == 1.0 && line.step == 1 {
        return of(first);
    }
    read_line::<T, R, 1, FMA>(common, 0, &t[line.first..], &mut work[..line.length], Write::Set);
    work
}

/// `out[i] (+)= ` what is read at these places less `first`, and `i STEP` behind them, in blocks whose sums stay in
/// registers. `t` has whole steps behind the last.
#[inline(always)]
fn read_line<T: Real, R: Reduce<T>, const STEP: usize, const FMA: bool>(
    reads: &[Read],
    first: usize,
    t: &[T],
    out: &mut [T],
    write: Write,
) {
    const WIDE: usize = 16;
    const NARROW: usize = 8;
    let count = out.len();
    let mut at = 0;
    while count - at >= WIDE {
        read_block::<T, R, WIDE, STEP, FMA>(reads, first, t, at, out, write);
        at += WIDE;
    }
    while count - at >= NARROW {
        read_block::<T, R, NARROW, STEP, FMA>(reads, first, t, at, out, write);
        at += NARROW;
    }
    if at < count && count >= NARROW && write == Write::Set {
        // Some are written twice, all of them in a block.
        return read_block::<T, R, NARROW, STEP, FMA>(reads, first, t, count - NARROW, out, write);
    }
    for at in at..count {
        read_block::<T, R, 1, STEP, FMA>(reads, first, t, at, out, write);
    }
}

#[inline(always)]
fn read_block<T: Real, R: Reduce<T>, const BLOCK: usize, const STEP: usize, const FMA: bool>(
    reads: &[Read],
    first: usize,
    t: &[T],
    at: usize,
    out: &mut [T],
    write: Write,
) {
    let mut sums = [T::ZERO; BLOCK];
    for (k, read) in reads.iter().enumerate() {
        let w = T::from_f64(read.weight);
        let t = &t[read.place - first + at * STEP..][..BLOCK * STEP];
        for l in 0..BLOCK {
            let t = t[l * STEP];
            sums[l] = if k == 0 { R::first(w, t) } else { R::next::<FMA>(w, t, sums[l]) };
        }
    }
    let out: &mut [T; BLOCK] = (&mut out[at..at + BLOCK]).try_into().expect("a whole block");
    match write {
        Write::Set => *out = sums,
        Write::Add => out.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum),
    }
}

/// What one place reads, in a register.
#[inline(always)]
fn read_one<T: Real, R: Reduce<T>, const FMA: bool>(
    mut reads: impl Iterator<Item = (f64, usize)>,
    t: &[T],
    constant: T,
    out: &mut T,
    write: Write,
) {
    let first = reads.next().map(|(weight, place)| R::first(T::from_f64(weight), t[place]));
    let next = |sum: T, (weight, place): (f64, usize)| R::next::<FMA>(T::from_f64(weight), t[place], sum);
    let sum = first.map_or(constant, |first| reads.fold(first, next));
    *out = if write == Write::Set { sum } else { *out + sum };
}

/// What the places of a run read of their line.
#[inline(always)]
fn read_run<T: Real, R: Reduce<T>, const FMA: bool>(last: &Axis, line: &Line, t: &[T], out: &mut [T], write: Write) {
    let out = &mut out[line.run.clone()];
    let reads = last.reads(line.run.start);
    match (line.period, line.step) {
        (1, 1) => return read_line::<T, R, 1, FMA>(reads, line.first, t, out, write),
        (1, 2) => return read_line::<T, R, 2, FMA>(reads, line.first, t, out, write),
        (1, 3) => return read_line::<T, R, 3, FMA>(reads, line.first, t, out, write),
        _ => {}
    }
    for phase in 0..line.period.min(out.len()) {
        let mut write = write;
        for read in last.reads(line.run.start + phase) {
            let (w, t) = (T::from_f64(read.weight), &t[read.place - line.first..]);
            // Places of the other phase stand between.
            let pairs = out.as_chunks_mut::<2>().0.iter_mut().zip(t);
            match write {
                Write::Set => pairs.for_each(|(out, &t)| out[phase] = R::first(w, t)),
                Write::Add => pairs.for_each(|(out, &t)| out[phase] = R::next::<FMA>(w, t, out[phase])),
            }
            write = Write::Add;
        }
    }
}

/// What one place and its columns read.
#[inline(always)]
fn read_columns<T: Real, R: Reduce<T>, const FMA: bool>(
    common: &[Read],
    own: &[Read],
    t: &[T],
    out: &mut [T],
    write: Write,
) {
    let mut write = write;
    for a in common {
        for b in own {
            let t = &t[(a.place + b.place) * out.len()..][..out.len()];
            let w = T::from_f64(a.weight * b.weight);
            match write {
                Write::Set => out.iter_mut().zip(t).for_each(|(out, &t)| *out = R::first(w, t)),
                Write::Add => out.iter_mut().zip(t).for_each(|(out, &t)| *out = R::next::<FMA>(w, t, *out)),
            }
            write = Write::Add;
        }
    }
}

multiversion! {
    /// `out += A' g` for `g` of `[row, element]`.
    fn scatter<T: Real>(map: &Map, g: &[T], out: &mut [T], common: &mut Vec<Read>) {
        let (inner, last) = (map.inner, map.windows.last());
        let (from, to) = (map.windows.len() * inner, map.plane * inner);
        if from == 0 || to == 0 {
            return;
        }
        let length = last.len() * inner;
        for row in 0..map.windows.rows() {
            map.windows.row(row, common);
            for (g, out) in g.chunks_exact(from).zip(out.chunks_exact_mut(to)) {
                let g = &g[row * length..][..length];
                for (index, g) in g.chunks_exact(inner).enumerate() {
                    for b in last.reads(index) {
                        for a in common.iter() {
                            let w = T::from_f64(a.weight * b.weight);
                            let out = &mut out[(a.place + b.place) * inner..][..inner];
                            out.iter_mut().zip(g).for_each(|(out, &g)| *out = w.madd::<FMA>(g, *out));
                        }
                    }
                }
            }
        }
    }
}
