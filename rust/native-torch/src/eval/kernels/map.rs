//! Linear maps with fixed coefficients: average pooling, padding, interpolation, and whatever else only moves and adds
//! elements.

use super::{At, Kernel, Operands, Scratch, Write};
use crate::{
    eval::simd::multiversion,
    graph::{Axis, Map, Read},
    tensor::Real,
};

pub(super) struct LinearMap {
    map: Map,
    run: Run,
}

impl LinearMap {
    pub fn new(map: Map) -> Self {
        let run = Run::find(map.windows.last());
        Self { map, run }
    }
}

/// Indices of the last dimension that read alike, each `step` places after the one before: they are computed together.
struct Run {
    start: usize,
    end: usize,
    step: usize,
}

impl Run {
    /// The run around the middle, where no edge disturbs it; empty where neighbours do not read alike.
    fn find(axis: &Axis) -> Self {
        let middle = axis.len() / 2;
        let none = Self { start: 0, end: 0, step: 1 };
        if middle + 1 >= axis.len() || axis.reads(middle).is_empty() || axis.reads(middle + 1).is_empty() {
            return none;
        }
        let step = axis.reads(middle + 1)[0].place.saturating_sub(axis.reads(middle)[0].place);
        let follows = |index: usize| {
            let (a, b) = (axis.reads(index), axis.reads(index + 1));
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.place + step == b.place && a.weight == b.weight)
        };
        let start = (0..middle).rev().take_while(|&index| follows(index)).last().unwrap_or(middle);
        let end = (middle..axis.len() - 1).take_while(|&index| follows(index)).last().map_or(middle, |index| index + 2);
        // Short runs are no faster.
        if step == 0 || end < start + 8 { none } else { Self { start, end, step } }
    }
}

impl<T: Real> Kernel<T> for LinearMap {
    fn forward(&self, x: Operands<T>, y: &mut [T], s: &mut Scratch<T>) {
        let constant = T::from_f64(self.map.constant);
        gather(&self.map, &self.run, x.points, x.get(0).0, y, Write::Set, constant, &mut s.reads);
    }

    fn jvp(&self, _: usize, at: At<T>, columns: usize, t: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        gather(&self.map, &self.run, at.points() * columns, t, out, write, T::ZERO, &mut s.reads);
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
    /// `out (+)= A t` for `t` of `[element, column]`. `common` holds what the places of a row have in common.
    fn gather<T: Real>(
        map: &Map,
        run: &Run,
        columns: usize,
        t: &[T],
        out: &mut [T],
        write: Write,
        constant: T,
        common: &mut Vec<Read>,
    ) {
        let (line, last) = (map.inner * columns, map.windows.last());
        let (from, to) = (map.plane * line, map.windows.len() * line);
        let length = last.len() * line;
        if length == 0 {
            return;
        }
        for row in 0..map.windows.rows() {
            map.windows.row(row, common);
            for o in 0..map.outer {
                let (t, out) = (&t[o * from..][..from], &mut out[o * to + row * length..][..length]);
                let together = if line == 1 && !common.is_empty() { run.start..run.end } else { 0..0 };
                if !together.is_empty() {
                    let own = last.reads(run.start);
                    read_run::<T, FMA>(common, own, t, run.step, &mut out[together.clone()], write);
                }
                for (index, out) in out.chunks_exact_mut(line).enumerate() {
                    if together.contains(&index) {
                        continue;
                    }
                    let own = last.reads(index);
                    if common.is_empty() || own.is_empty() {
                        match write {
                            Write::Set => out.fill(constant),
                            Write::Add => out.iter_mut().for_each(|out| *out += constant),
                        }
                    } else if let [out] = out {
                        let sum = read_one::<T, FMA>(common, own, t);
                        *out = if write == Write::Set { sum } else { *out + sum };
                    } else {
                        read_line::<T, FMA>(common, own, t, out, write);
                    }
                }
            }
        }
    }
}

/// The sum of what one place reads, in a register.
#[inline(always)]
fn read_one<T: Real, const FMA: bool>(common: &[Read], own: &[Read], t: &[T]) -> T {
    let mut sum = T::ZERO;
    for a in common {
        let mut part = T::ZERO;
        for b in own {
            part = T::from_f64(b.weight).madd::<FMA>(t[a.place + b.place], part);
        }
        sum = T::from_f64(a.weight).madd::<FMA>(part, sum);
    }
    sum
}

/// The sums of what a run of places reads, from the reads of its first.
#[inline(always)]
fn read_run<T: Real, const FMA: bool>(
    common: &[Read],
    own: &[Read],
    t: &[T],
    step: usize,
    out: &mut [T],
    write: Write,
) {
    let mut write = write;
    for a in common {
        for b in own {
            let w = T::from_f64(a.weight * b.weight);
            let t = &t[a.place + b.place..];
            match (write, step) {
                (Write::Set, 1) => out.iter_mut().zip(t).for_each(|(out, &t)| *out = w * t),
                (Write::Add, 1) => out.iter_mut().zip(t).for_each(|(out, &t)| *out = w.madd::<FMA>(t, *out)),
                (Write::Set, _) => out.iter_mut().zip(t.iter().step_by(step)).for_each(|(out, &t)| *out = w * t),
                (Write::Add, _) => {
                    let t = t.iter().step_by(step);
                    out.iter_mut().zip(t).for_each(|(out, &t)| *out = w.madd::<FMA>(t, *out));
                }
            }
            write = Write::Add;
        }
    }
}

/// The sums of what the trailing indices and columns of one place read.
#[inline(always)]
fn read_line<T: Real, const FMA: bool>(common: &[Read], own: &[Read], t: &[T], out: &mut [T], write: Write) {
    let mut write = write;
    for a in common {
        for b in own {
            let weight = a.weight * b.weight;
            let t = &t[(a.place + b.place) * out.len()..][..out.len()];
            let w = T::from_f64(weight);
            match write {
                Write::Set if weight == 1.0 => out.copy_from_slice(t),
                Write::Set => out.iter_mut().zip(t).for_each(|(out, &t)| *out = w * t),
                Write::Add => out.iter_mut().zip(t).for_each(|(out, &t)| *out = w.madd::<FMA>(t, *out)),
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
