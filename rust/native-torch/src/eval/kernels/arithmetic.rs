//! Functions of two elements with broadcasting, concatenation, and rows of tables.

use super::{
    At, Kernel, Operands, Scratch, Write,
    unary::{scale_points, scale_rows},
};
use crate::{
    eval::simd::multiversion,
    graph::{Broadcast, Comparison},
    tensor::Real,
};

/// A function of two elements.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Function {
    Sum,
    Difference,
    Product,
    Quotient,
    Prelu,
    /// 1 where the comparison holds, else 0.
    Compare(Comparison),
}

impl Function {
    fn value<T: Real>(self, a: T, b: T) -> T {
        match self {
            Function::Sum => a + b,
            Function::Difference => a - b,
            Function::Product => a * b,
            Function::Quotient => a / b,
            Function::Prelu if a > T::ZERO => a,
            Function::Prelu => b * a,
            Function::Compare(comparison) if comparison.holds(a, b) => T::ONE,
            Function::Compare(_) => T::ZERO,
        }
    }

    /// The derivative by one operand.
    fn first<T: Real>(self, operand: usize, a: T, b: T) -> T {
        match (self, operand) {
            (Function::Sum, _) | (Function::Difference, 0) => T::ONE,
            (Function::Difference, _) => -T::ONE,
            (Function::Product, 0) => b,
            (Function::Product, _) => a,
            (Function::Quotient, 0) => T::ONE / b,
            (Function::Quotient, _) => -a / (b * b),
            (Function::Prelu, 0) if a > T::ZERO => T::ONE,
            (Function::Prelu, 0) => b,
            (Function::Prelu, _) if a > T::ZERO => T::ZERO,
            (Function::Prelu, _) => a,
            (Function::Compare(_), _) => T::ZERO,
        }
    }

    fn curved(self) -> &'static [(usize, usize)] {
        match self {
            Function::Sum | Function::Difference | Function::Compare(_) => &[],
            Function::Product | Function::Prelu => &[(0, 1), (1, 0)],
            Function::Quotient => &[(0, 1), (1, 0), (1, 1)],
        }
    }

    /// The second derivative by a pair of operands in [`Function::curved`].
    fn second<T: Real>(self, pair: (usize, usize), a: T, b: T) -> T {
        match (self, pair) {
            (Function::Quotient, (1, 1)) => T::from_f64(2.0) * a / (b * b * b),
            (Function::Quotient, _) => -T::ONE / (b * b),
            (Function::Prelu, _) if a > T::ZERO => T::ZERO,
            _ => T::ONE,
        }
    }
}

/// A function of two elements; the smaller operand is repeated.
pub(super) struct Binary {
    function: Function,
    places: [Broadcast; 2],
    sizes: [usize; 2],
    size: usize,
}

impl Binary {
    pub fn new(function: Function, operands: &[Vec<usize>], result: &[usize]) -> Self {
        Self {
            function,
            places: [0, 1].map(|k| Broadcast::new(&operands[k], result)),
            sizes: [0, 1].map(|k| operands[k].iter().product()),
            size: result.iter().product(),
        }
    }

    /// `out[e, p] = f(a, b)` for the operands' elements behind each element of the result.
    fn map<T: Real>(&self, x: Operands<T>, out: &mut [T], f: impl Fn(T, T) -> T) {
        let points = x.points;
        let ((a, a_constant), (b, b_constant)) = (x.get(0), x.get(1));
        let steps = [if a_constant { 1 } else { points }, if b_constant { 1 } else { points }];
        if self.places[0].is_identity() && !a_constant {
            if self.places[1].is_identity() && steps[1] == points {
                return combine(a, b, out, f);
            }
            // Lines of the result that read one element of `b`, or all of them one after another.
            if let (Some((inner, length)), 1) = (self.places[1].block(), steps[1]) {
                let line = inner * points;
                if line == 1 {
                    let pairs = a.chunks_exact(length).zip(out.chunks_exact_mut(length));
                    return pairs.for_each(|(a, out)| combine(a, b, out, &f));
                }
                let pairs = a.chunks_exact(line).zip(out.chunks_exact_mut(line)).enumerate();
                return pairs.for_each(|(i, (a, out))| combine_each(a, b[i % length], out, &f));
            }
        }
        for (e, out) in out.chunks_exact_mut(points).enumerate() {
            let (i, j) = (self.places[0].at(e) * steps[0], self.places[1].at(e) * steps[1]);
            for (p, out) in out.iter_mut().enumerate() {
                *out = f(a[if a_constant { i } else { i + p }], b[if b_constant { j } else { j + p }]);
            }
        }
    }
}

multiversion! {
    fn combine<T: Real, F: Fn(T, T) -> T>(a: &[T], b: &[T], out: &mut [T], f: F) {
        out.iter_mut().zip(a.iter().zip(b)).for_each(|(out, (&a, &b))| *out = f(a, b));
    }
}

multiversion! {
    fn combine_each<T: Real, F: Fn(T, T) -> T>(a: &[T], b: T, out: &mut [T], f: F) {
        out.iter_mut().zip(a).for_each(|(out, &a)| *out = f(a, b));
    }
}

fn add<T: Real>(t: &[T], out: &mut [T], write: Write) {
    match write {
        Write::Set => out.copy_from_slice(t),
        Write::Add => out.iter_mut().zip(t).for_each(|(out, &t)| *out += t),
    }
}

impl<T: Real> Kernel<T> for Binary {
    fn forward(&self, x: Operands<T>, y: &mut [T], _: &mut Scratch<T>) {
        match self.function {
            // The function is chosen once, not for each element.
            Function::Sum => self.map(x, y, |a, b| Function::Sum.value(a, b)),
            Function::Difference => self.map(x, y, |a, b| Function::Difference.value(a, b)),
            Function::Product => self.map(x, y, |a, b| Function::Product.value(a, b)),
            Function::Quotient => self.map(x, y, |a, b| Function::Quotient.value(a, b)),
            Function::Prelu => self.map(x, y, |a, b| Function::Prelu.value(a, b)),
            Function::Compare(comparison) => self.map(x, y, |a, b| Function::Compare(comparison).value(a, b)),
        }
    }

    fn jvp(&self, operand: usize, at: At<T>, columns: usize, t: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        let points = at.points();
        let place = &self.places[operand];
        if place.is_identity() && matches!((self.function, operand), (Function::Sum, _) | (Function::Difference, 0)) {
            return add(t, out, write);
        }
        let (_, slope) = s.take(self.size * points);
        self.map(at.x, slope, |a, b| self.function.first(operand, a, b));
        if place.is_identity() {
            return scale_rows(slope, columns, t, out, write);
        }
        let line = points * columns;
        for (e, (slope, out)) in slope.chunks_exact(points).zip(out.chunks_exact_mut(line)).enumerate() {
            scale_rows(slope, columns, &t[place.at(e) * line..][..line], out, write);
        }
    }

    fn vjp(&self, operand: usize, at: At<T>, rows: usize, g: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        let points = at.points();
        let place = &self.places[operand];
        if place.is_identity() && matches!((self.function, operand), (Function::Sum, _) | (Function::Difference, 0)) {
            return add(g, out, write);
        }
        let (_, work) = s.take(2 * self.size * points);
        let (slope, spare) = work.split_at_mut(self.size * points);
        self.map(at.x, slope, |a, b| self.function.first(operand, a, b));
        if place.is_identity() {
            return scale_points(slope, points, spare, rows, g, out, write);
        }
        if write == Write::Set {
            out.fill(T::ZERO);
        }
        let size = self.sizes[operand];
        for row in 0..points * rows {
            let (g, out) = (&g[row * self.size..][..self.size], &mut out[row * size..][..size]);
            for (e, (&g, &slope)) in g.iter().zip(slope.iter().skip(row / rows).step_by(points)).enumerate() {
                out[place.at(e)] += slope * g;
            }
        }
    }

    fn is_smooth(&self, _: usize) -> bool {
        !matches!(self.function, Function::Compare(_))
    }

    fn curved(&self) -> &'static [(usize, usize)] {
        self.function.curved()
    }

    fn curvature(
        &self,
        pair: (usize, usize),
        at: At<T>,
        lambda: &[T],
        columns: usize,
        t: &[T],
        out: &mut [T],
        s: &mut Scratch<T>,
    ) {
        let points = at.points();
        let (_, bend) = s.take(self.size * points);
        self.map(at.x, bend, |a, b| self.function.second(pair, a, b));
        for (e, bend) in bend.chunks_exact_mut(points).enumerate() {
            bend.iter_mut().enumerate().for_each(|(p, bend)| *bend *= lambda[p * self.size + e]);
        }
        let (left, right) = (&self.places[pair.0], &self.places[pair.1]);
        if left.is_identity() && right.is_identity() {
            return scale_rows(bend, columns, t, out, Write::Set);
        }
        out.fill(T::ZERO);
        let line = points * columns;
        for (e, bend) in bend.chunks_exact(points).enumerate() {
            let (t, out) = (&t[right.at(e) * line..][..line], &mut out[left.at(e) * line..][..line]);
            scale_rows(bend, columns, t, out, Write::Add);
        }
    }

    fn cost(&self) -> f64 {
        self.size as f64
    }
}

/// Values one after another along a dimension.
pub(super) struct Concatenation {
    /// The number of pieces of each operand.
    outer: usize,
    /// For each operand, the start and length of its pieces in those of the result.
    pieces: Vec<(usize, usize)>,
    /// The length of the result's pieces.
    length: usize,
}

impl Concatenation {
    pub fn new(dim: usize, sizes: &[Vec<usize>]) -> Self {
        let mut length = 0;
        let pieces = sizes
            .iter()
            .map(|sizes| {
                let piece = (length, sizes[dim..].iter().product());
                length += piece.1;
                piece
            })
            .collect();
        Self { outer: sizes[0][..dim].iter().product(), pieces, length }
    }
}

impl<T: Real> Kernel<T> for Concatenation {
    fn forward(&self, x: Operands<T>, y: &mut [T], _: &mut Scratch<T>) {
        let points = x.points;
        for (operand, &(start, length)) in self.pieces.iter().enumerate() {
            let (x, constant) = x.get(operand);
            for o in 0..self.outer {
                let y = &mut y[(o * self.length + start) * points..][..length * points];
                if constant {
                    let x = &x[o * length..(o + 1) * length];
                    y.chunks_exact_mut(points).zip(x).for_each(|(y, &x)| y.fill(x));
                } else {
                    y.copy_from_slice(&x[o * length * points..(o + 1) * length * points]);
                }
            }
        }
    }

    fn jvp(&self, operand: usize, at: At<T>, columns: usize, t: &[T], out: &mut [T], write: Write, _: &mut Scratch<T>) {
        let columns = at.points() * columns;
        let (start, length) = self.pieces[operand];
        if write == Write::Set {
            out.fill(T::ZERO);
        }
        for o in 0..self.outer {
            let out = &mut out[(o * self.length + start) * columns..][..length * columns];
            add(&t[o * length * columns..(o + 1) * length * columns], out, Write::Add);
        }
    }

    fn vjp(&self, operand: usize, at: At<T>, rows: usize, g: &[T], out: &mut [T], write: Write, _: &mut Scratch<T>) {
        let (start, length) = self.pieces[operand];
        for o in 0..at.points() * rows * self.outer {
            let g = &g[o * self.length + start..][..length];
            add(g, &mut out[o * length..(o + 1) * length], write);
        }
    }

    fn cost(&self) -> f64 {
        (self.outer * self.length) as f64
    }
}

/// Rows of a table.
pub(super) struct Rows {
    pub rows: Vec<usize>,
    pub width: usize,
    /// The number of the table's rows.
    pub table: usize,
}

impl Rows {
    /// `out[row, i] (+)= t[rows[row], i]` for lines of this length.
    fn gather<T: Real>(&self, line: usize, t: &[T], out: &mut [T], write: Write) {
        for (&row, out) in self.rows.iter().zip(out.chunks_exact_mut(line.max(1))) {
            add(&t[row * line..(row + 1) * line], out, write);
        }
    }
}

impl<T: Real> Kernel<T> for Rows {
    fn forward(&self, x: Operands<T>, y: &mut [T], _: &mut Scratch<T>) {
        self.gather(self.width * x.points, x.get(0).0, y, Write::Set);
    }

    fn jvp(&self, _: usize, at: At<T>, columns: usize, t: &[T], out: &mut [T], write: Write, _: &mut Scratch<T>) {
        self.gather(self.width * at.points() * columns, t, out, write);
    }

    fn vjp(&self, _: usize, _: At<T>, _: usize, g: &[T], out: &mut [T], write: Write, _: &mut Scratch<T>) {
        if write == Write::Set {
            out.fill(T::ZERO);
        }
        let (from, to) = (self.rows.len() * self.width, self.table * self.width);
        if from == 0 {
            return;
        }
        for (g, out) in g.chunks_exact(from).zip(out.chunks_exact_mut(to)) {
            for (&row, g) in self.rows.iter().zip(g.chunks_exact(self.width)) {
                add(g, &mut out[row * self.width..(row + 1) * self.width], Write::Add);
            }
        }
    }

    fn cost(&self) -> f64 {
        (self.rows.len() * self.width) as f64
    }
}
