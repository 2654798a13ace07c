//! Maximum pooling.

use super::{
    At, Kernel, Operands, Scratch, Write,
    map::{Line, Reduce, gather},
};
use crate::{
    eval::memory::grown,
    graph::{Map, Read},
    tensor::Real,
};

/// The largest element of each window; the first of several.
pub(super) struct Maximum {
    map: Map,
    line: Line,
}

/// The largest of what is read, a NaN before all.
struct Largest;

impl<T: Real> Reduce<T> for Largest {
    #[inline(always)]
    fn first(_: T, t: T) -> T {
        t
    }

    #[inline(always)]
    fn next<const FMA: bool>(_: T, t: T, largest: T) -> T {
        if t > largest || t.is_nan() { t } else { largest }
    }
}

impl Maximum {
    pub fn new(map: Map) -> Self {
        let line = Line::find(map.windows.last());
        Self { map, line }
    }

    /// Calls `f` for each place of the result with its number, the element where its plane starts in the operand, and
    /// what it reads by its first indices and by its last one.
    fn windows(&self, common: &mut Vec<Read>, mut f: impl FnMut(usize, usize, &[Read], &[Read])) {
        let map = &self.map;
        let (results, last) = (map.windows.len(), map.windows.last());
        for row in 0..map.windows.rows() {
            map.windows.row(row, common);
            for o in 0..map.outer {
                for index in 0..last.len() {
                    f(o * results + row * last.len() + index, o * map.plane, common, last.reads(index));
                }
            }
        }
    }

    /// Fills `places` with where each result was read: `[result, point]`, and [`NOWHERE`] for windows in the padding.
    fn find<T: Real>(&self, x: Operands<T>, places: &mut Vec<usize>, common: &mut Vec<Read>) {
        let (points, (x, _)) = (x.points, x.get(0));
        places.clear();
        places.resize(self.map.len() * points, 0);
        self.windows(common, |q, start, common, own| {
            for point in 0..points {
                let found = largest(common, own, |place| x[(start + place) * points + point]);
                places[q * points + point] = found.map_or(NOWHERE, |found| start + found.0);
            }
        });
    }
}

/// The place of a result that is minus infinity whatever the operand.
const NOWHERE: usize = usize::MAX;

/// The place and the value of the largest element: the first of several, a NaN before all.
#[inline(always)]
fn largest<T: Real>(common: &[Read], own: &[Read], x: impl Fn(usize) -> T) -> Option<(usize, T)> {
    let mut found: Option<(usize, T)> = None;
    for a in common {
        for b in own {
            let place = a.place + b.place;
            let candidate = x(place);
            if found.is_none_or(|(_, value)| candidate > value || candidate.is_nan()) {
                found = Some((place, candidate));
            }
        }
    }
    found
}

impl<T: Real> Kernel<T> for Maximum {
    fn forward(&self, x: Operands<T>, y: &mut [T], s: &mut Scratch<T>) {
        let points = x.points;
        let work = grown(&mut s.work, self.line.room());
        let nothing = T::from_f64(self.map.constant);
        let x = x.get(0).0;
        gather::<T, Largest>(&self.map, &self.line, points, x, y, Write::Set, nothing, &mut s.reads, work);
    }

    fn jvp(&self, _: usize, at: At<T>, columns: usize, t: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        let points = at.points();
        self.find(at.x, &mut s.places, &mut s.reads);
        for (i, (&p, out)) in s.places.iter().zip(out.chunks_exact_mut(columns)).enumerate() {
            if p == NOWHERE {
                if write == Write::Set {
                    out.fill(T::ZERO);
                }
                continue;
            }
            let t = &t[(p * points + i % points) * columns..][..columns];
            match write {
                Write::Set => out.copy_from_slice(t),
                Write::Add => out.iter_mut().zip(t).for_each(|(out, &t)| *out += t),
            }
        }
    }

    fn vjp(&self, _: usize, at: At<T>, rows: usize, g: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        let points = at.points();
        self.find(at.x, &mut s.places, &mut s.reads);
        if write == Write::Set {
            out.fill(T::ZERO);
        }
        let (results, size) = (self.map.len(), self.map.outer * self.map.plane);
        for row in 0..points * rows {
            let (g, out) = (&g[row * results..][..results], &mut out[row * size..][..size]);
            let places = s.places.iter().skip(row / rows).step_by(points);
            places.zip(g).filter(|(p, _)| **p != NOWHERE).for_each(|(&p, &g)| out[p] += g);
        }
    }

    fn cost(&self) -> f64 {
        self.map.len() as f64
    }
}
