//! Maximum pooling.

use std::ops::Range;

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
    lines: Option<Lines>,
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

/// Windows whose last indices read alike, as pools' do: `step` places after what the index before reads, where the operand
/// has such places. Padding reads as minus infinity, so that edges are no exception.
struct Lines {
    step: usize,
    /// The number of last indices.
    count: usize,
    /// What each of them reads, from the first place of its own on.
    taps: Vec<usize>,
    /// How far lines in working memory are apart; lines without a gap are one long line.
    pitch: usize,
    /// The places of a line that the operand has, and the first one's in the operand.
    inside: Range<usize>,
    first: usize,
    /// For each of the other indices, the places that it reads; not more than a plane has.
    others: Vec<Vec<usize>>,
}

/// Bytes of lines in working memory: they stay in the first-level cache.
const CACHE: usize = 8 << 10;
/// Elements of a line that are compared at a time: in the widest registers, and of shorter lines.
const WIDE: usize = 16;
const NARROW: usize = 8;

impl Lines {
    fn find(map: &Map) -> Option<Self> {
        let last = map.windows.last();
        let end = (0..last.len()).flat_map(|i| last.reads(i)).map(|read| read.place + 1).max()?;
        (1..=3).find_map(|step| Self::at(map, step, end))
    }

    /// With this step, where all indices do read alike; nothing reads at `end` or behind.
    fn at(map: &Map, step: usize, end: usize) -> Option<Self> {
        let (last, end) = (map.windows.last(), end as isize);
        let shift = |index: usize| (index * step) as isize;
        let own = |index: usize| last.reads(index).iter().map(move |read| read.place as isize - shift(index));
        let mut taps: Vec<isize> = (0..last.len()).flat_map(own).collect();
        taps.sort_unstable();
        taps.dedup();
        let alike =
            |index: usize| own(index).eq(taps.iter().copied().filter(|tap| (0..end).contains(&(tap + shift(index)))));
        if !(0..last.len()).all(alike) {
            return None;
        }
        let (least, most) = (*taps.first()?, *taps.last()?);
        let count = last.len();
        let length = (most - least + 1 + shift(count - 1)) as usize;
        let before = (-least).max(0) as usize;
        let first = least.max(0) as usize;
        let inside = before..length.min(before + end as usize - first);
        let (mut common, mut total) = (Vec::new(), 0);
        let others = (0..map.windows.rows()).map(|row| {
            map.windows.row(row, &mut common);
            total += common.len();
            (total <= map.plane).then(|| common.iter().map(|read| read.place).collect())
        });
        let others = others.collect::<Option<_>>()?;
        Some(Self {
            step,
            count,
            taps: taps.iter().map(|tap| (tap - least) as usize).collect(),
            pitch: length.max(count * step),
            inside,
            first,
            others,
        })
    }

    /// How many lines are computed together.
    fn together<T>(&self) -> usize {
        (CACHE / size_of::<T>() / self.pitch).max(1)
    }

    /// The elements of working memory that they take: chunks of steps are read whole.
    fn room<T>(&self) -> usize {
        self.together::<T>() * self.pitch + self.step
    }

    /// Writes the largest elements of all windows of planes.
    fn compute<T: Real>(&self, plane: usize, x: &[T], y: &mut [T], work: &mut [T]) {
        work.fill(T::NEG_INFINITY);
        for (i, y) in y.chunks_mut(self.together::<T>() * self.count).enumerate() {
            largest_lines(self, plane, i * self.together::<T>(), x, y, work);
        }
    }
}

multiversion! {
    /// Writes the largest elements of windows whose lines follow each other from the given one on.
    fn largest_lines<T: Real>(lines: &Lines, plane: usize, first: usize, x: &[T], y: &mut [T], work: &mut [T]) {
        let Lines { step, count, pitch, .. } = *lines;
        let rows = lines.others.len();
        let (mut start, mut row) = (first / rows * plane + lines.first, first % rows);
        for work in work.chunks_exact_mut(pitch).take(y.len() / count) {
            compare_line::<T, 1>(&lines.others[row], &x[start..], &mut work[lines.inside.clone()]);
            row += 1;
            if row == rows {
                (start, row) = (start + plane, 0);
            }
        }
        let together = if pitch == count * step { y.len() } else { count };
        for (l, y) in y.chunks_exact_mut(together).enumerate() {
            let work = &work[l * pitch..];
            match step {
                1 => compare_line::<T, 1>(&lines.taps, work, y),
                2 => compare_line::<T, 2>(&lines.taps, work, y),
                _ => compare_line::<T, 3>(&lines.taps, work, y),
            }
        }
    }
}

/// `to[i]` is the largest of what stands at these places and `i STEP` behind them, with whole steps behind the last.
#[inline(always)]
fn compare_line<T: Real, const STEP: usize>(places: &[usize], x: &[T], to: &mut [T]) {
    let count = to.len();
    let line = |place: usize| &x[place..].as_chunks::<STEP>().0[..count];
    // Of so few, lengths are checked once.
    match *places {
        [] => to.fill(T::NEG_INFINITY),
        [a] => compare(to, [line(a)], &[], x),
        [a, b] => compare(to, [line(a), line(b)], &[], x),
        [a, b, c] => compare(to, [line(a), line(b), line(c)], &[], x),
        [a, b, ref others @ ..] => compare(to, [line(a), line(b)], others, x),
    }
}

/// The same of lines, and of what stands at the other places.
#[inline(always)]
fn compare<T: Real, const STEP: usize, const LINES: usize>(
    to: &mut [T],
    lines: [&[[T; STEP]]; LINES],
    others: &[usize],
    x: &[T],
) {
    match to.len() {
        0..NARROW => compare_blocks::<T, 1, STEP, LINES>(to, lines, others, x),
        NARROW..WIDE => compare_blocks::<T, NARROW, STEP, LINES>(to, lines, others, x),
        _ => compare_blocks::<T, WIDE, STEP, LINES>(to, lines, others, x),
    }
}

/// The last block may overlap the one before.
#[inline(always)]
fn compare_blocks<T: Real, const BLOCK: usize, const STEP: usize, const LINES: usize>(
    to: &mut [T],
    lines: [&[[T; STEP]]; LINES],
    others: &[usize],
    x: &[T],
) {
    let (count, mut at) = (to.len(), 0);
    while at < count {
        at = at.min(count - BLOCK);
        let mut largest: [T; BLOCK] = std::array::from_fn(|l| lines[0][at..at + BLOCK][l][0]);
        for line in &lines[1..] {
            raise(&mut largest, &line[at..]);
        }
        for place in others {
            raise(&mut largest, x[place + at * STEP..].as_chunks::<STEP>().0);
        }
        to[at..at + BLOCK].copy_from_slice(&largest);
        at += BLOCK;
    }
}

#[inline(always)]
fn raise<T: Real, const BLOCK: usize, const STEP: usize>(largest: &mut [T; BLOCK], line: &[[T; STEP]]) {
    let line: &[[T; STEP]; BLOCK] = line.first_chunk().expect("a whole block");
    for l in 0..BLOCK {
        largest[l] = <Largest as Reduce<T>>::next::<true>(T::ONE, line[l][0], largest[l]);
    }
}

impl Maximum {
    pub fn new(map: Map) -> Self {
        let (line, lines) = (Line::find(map.windows.last()), Lines::find(&map));
        Self { map, line, lines }
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
        if let (Some(lines), 1) = (&self.lines, points) {
            return lines.compute(self.map.plane, x.get(0).0, y, grown(&mut s.work, lines.room::<T>()));
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{MaxPool, Op};

    /// A pool of two planes of these sizes by lines, against single windows; some elements are infinite or NaN.
    fn check<T: Real>(plane: &[usize], kernel: usize, [stride, dilation, padding]: [usize; 3], special: bool) {
        let same = |value: usize| vec![value; plane.len()];
        let padding = vec![padding.min(kernel / 2); plane.len()];
        let (kernel, stride, dilation) = (same(kernel), same(stride), same(dilation));
        let pool = Op::MaxPool(MaxPool { kernel, stride, padding, dilation, ceil_mode: true });
        let map = Map::of_maximum(&pool, &[&[2], plane].concat()).unwrap();
        let maximum = Maximum::new(map);
        let lines = maximum.lines.as_ref().expect("windows of pools read alike");
        let element = |i: usize| match i * 7919 % 1009 {
            0..9 if special => f64::NAN,
            9..99 if special => f64::NEG_INFINITY,
            99..105 if special => f64::INFINITY,
            k => k as f64 - 504.0,
        };
        let x: Vec<T> = (0..2 * maximum.map.plane).map(|i| T::from_f64(element(i))).collect();
        let mut y = vec![T::ONE; maximum.map.len()];
        lines.compute(maximum.map.plane, &x, &mut y, &mut vec![T::ZERO; lines.room::<T>()]);
        maximum.windows(&mut Vec::new(), |q, start, common, own| {
            let expected = largest(common, own, |place| x[start + place]).map_or(T::NEG_INFINITY, |found| found.1);
            let found = y[q];
            assert!(found == expected || (found.is_nan() && expected.is_nan()), "{plane:?}: {found:?} {expected:?}");
        });
    }

    #[test]
    fn lines_are_the_largest_of_windows() {
        for settings in [[1, 1, 0], [1, 1, 2], [2, 1, 0], [2, 1, 1], [3, 1, 1], [2, 2, 1], [3, 3, 2]] {
            for (kernel, special) in (1..6).flat_map(|kernel| [(kernel, false), (kernel, true)]) {
                check::<f32>(&[70], kernel, settings, special);
                check::<f64>(&[21, 24], kernel, settings, special);
                check::<f32>(&[90, 57], kernel, settings, special);
                check::<f64>(&[15, 14, 33], kernel, settings, special);
            }
        }
    }

    #[test]
    fn windows_of_several_lengths_are_no_lines() {
        let map = Map::of_maximum(&Op::AdaptiveMaxPool(vec![Some(3)]), &[11]).unwrap();
        assert!(Maximum::new(map).lines.is_none());
    }
}
