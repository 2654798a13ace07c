//! Linear maps with fixed coefficients: average pooling, padding, interpolation, and whatever else only moves and adds
//! elements.

use super::{At, Kernel, Operands, Scratch, Write};
use crate::{
    eval::simd::multiversion,
    graph::{Map, Read},
    tensor::Real,
};

pub(super) struct LinearMap(pub Map);

impl<T: Real> Kernel<T> for LinearMap {
    fn forward(&self, x: Operands<T>, y: &mut [T], s: &mut Scratch<T>) {
        gather(&self.0, x.points, x.get(0).0, y, Write::Set, T::from_f64(self.0.constant), &mut s.reads);
    }

    fn jvp(&self, _: usize, at: At<T>, columns: usize, t: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        gather(&self.0, at.points() * columns, t, out, write, T::ZERO, &mut s.reads);
    }

    fn vjp(&self, _: usize, _: At<T>, _: usize, g: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        if write == Write::Set {
            out.fill(T::ZERO);
        }
        scatter(&self.0, g, out, &mut s.reads);
    }

    fn cost(&self) -> f64 {
        2.0 * self.0.total() as f64
    }
}

multiversion! {
    /// `out (+)= A t` for `t` of `[element, column]`. `common` holds what the places of a row have in common.
    fn gather<T: Real>(
        map: &Map, columns: usize, t: &[T], out: &mut [T], write: Write, constant: T, common: &mut Vec<Read>,
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
                for (index, out) in out.chunks_exact_mut(line).enumerate() {
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
