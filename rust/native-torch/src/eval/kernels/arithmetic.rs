//! Functions of two elements with broadcasting, concatenation, and rows of tables.

use super::{
    At, Kernel, Operands, Part, Scratch, Write,
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
        let parts = [0, 1].map(|operand| x.part(operand, self.places[operand].is_identity(), &(0..out.len())));
        self.map_part(0, x.points, parts, out, f);
    }

    /// The same for the elements from number `first` on.
    fn map_part<T: Real>(&self, first: usize, points: usize, x: [Part<T>; 2], out: &mut [T], f: impl Fn(T, T) -> T) {
        match x {
            [Part::Own(a), Part::Own(b)] => return combine(a, b, out, f),
            [Part::Own(a), Part::Whole(b, true)] => {
                if let Some((inner, length)) = self.places[1].block() {
                    return combine_lines(first, inner * points, length, a, b, out, f);
                }
            }
            [Part::Whole(a, true), Part::Own(b)] => {
                if let Some((inner, length)) = self.places[0].block() {
                    return combine_lines(first, inner * points, length, b, a, out, |b, a| f(a, b));
                }
            }
            _ => {}
        }
        let read = |operand: usize, at: usize| match x[operand] {
            Part::Own(own) => own[at],
            Part::Whole(whole, true) => whole[self.places[operand].at((first + at) / points)],
            Part::Whole(whole, false) => {
                let (e, p) = ((first + at) / points, (first + at) % points);
                whole[self.places[operand].at(e) * points + p]
            }
        };
        out.iter_mut().enumerate().for_each(|(at, out)| *out = f(read(0, at), read(1, at)));
    }
}

/// `out = f(a, b)` for the elements from number `first` on of lines that read one element of `b` each, or of one line that
/// reads them one after another; then all over again.
fn combine_lines<T: Real>(
    first: usize,
    line: usize,
    length: usize,
    a: &[T],
    b: &[T],
    out: &mut [T],
    f: impl Fn(T, T) -> T,
) {
    let (mut at, end) = (first, first + out.len());
    while at < end {
        let next = end.min(if line == 1 { (at / length + 1) * length } else { (at / line + 1) * line });
        let (own, here) = (at - first..next - first, if line == 1 { at % length } else { at / line % length });
        let (a, out) = (&a[own.clone()], &mut out[own]);
        if line == 1 {
            combine(a, &b[here..], out, &f)
        } else {
            combine_each(a, b[here], out, &f)
        }
        at = next;
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
        let parts = [0, 1].map(|operand| x.part(operand, self.places[operand].is_identity(), &(0..y.len())));
        self.elements(0, x.points, parts, y);
    }

    fn is_elementwise(&self, operand: usize) -> bool {
        self.places[operand].is_identity()
    }

    fn elements(&self, first: usize, points: usize, x: [Part<T>; 2], y: &mut [T]) {
        // The function is chosen once, not for each element.
        macro_rules! chosen {
            ($($function:ident)*) => {
                match self.function {
                    $(Function::$function => {
                        self.map_part(first, points, x, y, |a, b| Function::$function.value(a, b))
                    })*
                    Function::Compare(c) => self.map_part(first, points, x, y, |a, b| Function::Compare(c).value(a, b)),
                }
            };
        }
        chosen!(Sum Difference Product Quotient Prelu)
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
