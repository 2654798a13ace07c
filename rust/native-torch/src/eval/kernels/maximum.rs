//! Maximum pooling.

use super::{
    At, Kernel, Operands, Scratch, Write,
    map::{Line, Reduce, gather},
};
use crate::{
    eval::{memory::grown, simd::multiversion},
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
        if points == 1 {
            return find_lines(&self.map, &self.line, x, places, common);
        }
        self.windows(common, |q, start, common, own| {
            for point in 0..points {
                let found = largest(common, own, |place| x[(start + place) * points + point]);
                places[q * points + point] = found.map_or(NOWHERE, |found| start + found.0);
            }
        });
    }
}

multiversion! {
    /// See [`Maximum::find`]; at one point.
    fn find_lines<T: Real>(map: &Map, line: &Line, x: &[T], places: &mut [usize], common: &mut Vec<Read>) {
        let last = map.windows.last();
        let length = last.len();
        let run = line.regular();
        for row in 0..map.windows.rows() {
            map.windows.row(row, common);
            for o in 0..map.outer {
                let start = o * map.plane;
                let x = &x[start..start + map.plane];
                let places = &mut places[o * map.windows.len() + row * length..][..length];
                let mut at = 0;
                while at < length {
                    let block = if run.contains(&at) && at + BLOCK <= run.end {
                        let far = (at - run.start) * line.step;
                        match line.step {
                            1 => largest_places::<T, 1>(common, last.reads(run.start), x, far),
                            2 => largest_places::<T, 2>(common, last.reads(run.start), x, far),
                            _ => largest_places::<T, 3>(common, last.reads(run.start), x, far),
                        }
                    } else {
                        None
                    };
                    match block {
                        Some(block) => {
                            places[at..at + BLOCK].iter_mut().zip(block).for_each(|(to, place)| *to = start + place);
                            at += BLOCK;
                        }
                        None => {
                            let found = largest(common, last.reads(at), |place| x[place]);
                            places[at] = found.map_or(NOWHERE, |found| start + found.0);
                            at += 1;
                        }
                    }
                }
            }
        }
    }
}

/// Windows that are compared at a time.
const BLOCK: usize = 8;

/// The places of the largest elements of windows that are `STEP` places from each other, of which the first reads what
/// these rows and indices do `far` places on. Nothing where the last would read beyond the plane.
#[inline(always)]
fn largest_places<T: Real, const STEP: usize>(
    common: &[Read],
    own: &[Read],
    x: &[T],
    far: usize,
) -> Option<[usize; BLOCK]> {
    let (mut values, mut places) = ([T::NEG_INFINITY; BLOCK], [NOWHERE; BLOCK]);
    for (i, read) in common.iter().flat_map(|a| own.iter().map(|b| a.place + b.place + far)).enumerate() {
        let x = x.get(read..read + BLOCK * STEP)?;
        for l in 0..BLOCK {
            let candidate = x[l * STEP];
            let larger = i == 0 || candidate > values[l] || candidate.is_nan();
            values[l] = if larger { candidate } else { values[l] };
            places[l] = if larger { read + l * STEP } else { places[l] };
        }
    }
    (!common.is_empty()).then_some(places)
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
        let (results, size) = (self.map.len(), self.map.outer * self.map.plane);
        for row in 0..points * rows {
            let (g, out) = (&g[row * results..][..results], &mut out[row * size..][..size]);
            if write == Write::Set {
                out.fill(T::ZERO);
            }
            let places = s.places.iter().skip(row / rows).step_by(points);
            places.zip(g).filter(|(p, _)| **p != NOWHERE).for_each(|(&p, &g)| out[p] += g);
        }
    }

    fn cost(&self) -> f64 {
        self.map.len() as f64
    }
}
