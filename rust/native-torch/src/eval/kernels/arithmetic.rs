//! Sums and products of two values, and concatenation.

use super::{
    At, Kernel, Operands, Scratch, Write,
    unary::{scale_columns, scale_rows},
};
use crate::tensor::Real;

/// `signs[0] a + signs[1] b`
pub(super) struct Sum<T> {
    pub signs: [T; 2],
    pub size: usize,
}

/// `a b`, element by element.
pub(super) struct Product {
    pub size: usize,
}

/// Calls `f` with each result and the two operands' elements behind it.
fn for_each_pair<T: Real>(x: Operands<T>, y: &mut [T], f: impl Fn(T, T) -> T) {
    let points = x.points;
    let ((a, a_constant), (b, b_constant)) = (x.get(0), x.get(1));
    for (i, y) in y.iter_mut().enumerate() {
        *y = f(a[if a_constant { i / points } else { i }], b[if b_constant { i / points } else { i }]);
    }
}

fn add_scaled<T: Real>(sign: T, t: &[T], out: &mut [T], write: Write) {
    match write {
        Write::Set => out.iter_mut().zip(t).for_each(|(out, &t)| *out = sign * t),
        Write::Add => out.iter_mut().zip(t).for_each(|(out, &t)| *out += sign * t),
    }
}

impl<T: Real> Kernel<T> for Sum<T> {
    fn forward(&self, x: Operands<T>, y: &mut [T], _: &mut Scratch<T>) {
        let [p, q] = self.signs;
        for_each_pair(x, y, |a, b| p * a + q * b);
    }

    fn jvp(&self, operand: usize, _: At<T>, _: usize, t: &[T], out: &mut [T], write: Write, _: &mut Scratch<T>) {
        add_scaled(self.signs[operand], t, out, write);
    }

    fn vjp(&self, operand: usize, _: At<T>, _: usize, g: &[T], out: &mut [T], write: Write, _: &mut Scratch<T>) {
        add_scaled(self.signs[operand], g, out, write);
    }

    fn cost(&self) -> f64 {
        self.size as f64
    }
}

impl<T: Real> Kernel<T> for Product {
    fn forward(&self, x: Operands<T>, y: &mut [T], _: &mut Scratch<T>) {
        for_each_pair(x, y, |a, b| a * b);
    }

    fn jvp(&self, operand: usize, at: At<T>, columns: usize, t: &[T], out: &mut [T], write: Write, _: &mut Scratch<T>) {
        scale_rows(at.x.at(1 - operand), columns, t, out, write);
    }

    fn vjp(&self, operand: usize, at: At<T>, _: usize, g: &[T], out: &mut [T], write: Write, _: &mut Scratch<T>) {
        scale_columns(at.x.at(1 - operand), g, out, write);
    }

    fn curved(&self) -> &'static [(usize, usize)] {
        &[(0, 1), (1, 0)]
    }

    fn curvature(
        &self,
        _: (usize, usize),
        _: At<T>,
        lambda: &[T],
        columns: usize,
        t: &[T],
        out: &mut [T],
        _: &mut Scratch<T>,
    ) {
        scale_rows(lambda, columns, t, out, Write::Set);
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

    fn jvp(&self, operand: usize, _: At<T>, columns: usize, t: &[T], out: &mut [T], write: Write, _: &mut Scratch<T>) {
        let (start, length) = self.pieces[operand];
        if write == Write::Set {
            out.fill(T::ZERO);
        }
        for o in 0..self.outer {
            let out = &mut out[(o * self.length + start) * columns..][..length * columns];
            add_scaled(T::ONE, &t[o * length * columns..(o + 1) * length * columns], out, Write::Add);
        }
    }

    fn vjp(&self, operand: usize, _: At<T>, rows: usize, g: &[T], out: &mut [T], write: Write, _: &mut Scratch<T>) {
        let (start, length) = self.pieces[operand];
        for o in 0..rows * self.outer {
            let g = &g[o * self.length + start..][..length];
            add_scaled(T::ONE, g, &mut out[o * length..(o + 1) * length], write);
        }
    }

    fn cost(&self) -> f64 {
        (self.outer * self.length) as f64
    }
}
