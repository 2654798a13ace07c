//! `x W' + b` over the last dimension.

use super::{At, Constant, Kernel, Operands, Scratch, Write};
use crate::{
    eval::matmul::{Left, Part, Sizes, matmul, matvec, vecmat},
    tensor::Real,
};

pub(super) struct Linear<T> {
    /// `[output, input]`
    pub weight: Constant<T>,
    pub bias: Option<Constant<T>>,
    /// The product of the leading dimensions.
    pub rows: usize,
    pub input: usize,
    pub output: usize,
}

/// `to[j, i] = from[i, j]` for pieces of `length` elements.
fn transpose<T: Copy>(from: &[T], to: &mut [T], rows: usize, columns: usize, length: usize) {
    for i in 0..rows {
        for j in 0..columns {
            let (a, b) = ((i * columns + j) * length, (j * rows + i) * length);
            to[b..b + length].copy_from_slice(&from[a..a + length]);
        }
    }
}

impl<T: Real> Linear<T> {
    /// `out (+)= W t` for `t` of `[row, input, column]`.
    fn apply(&self, columns: usize, t: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        let Self { weight, rows, input, output, .. } = self;
        let weight = Left::rows(weight, *input);
        if *rows == 1 {
            let sizes = Sizes { m: *output, n: columns, k: *input };
            return matmul(&mut s.panel, sizes, weight, t, columns, out, columns, write, Part::All);
        }
        // Rows and columns go side by side, so that the weights are read once.
        let wide = rows * columns;
        let (panel, work) = s.take((input + output) * wide);
        let (t_wide, out_wide) = work.split_at_mut(input * wide);
        transpose(t, t_wide, *rows, *input, columns);
        if write == Write::Add {
            transpose(out, out_wide, *rows, *output, columns);
        }
        let sizes = Sizes { m: *output, n: wide, k: *input };
        matmul(panel, sizes, weight, t_wide, wide, out_wide, wide, write, Part::All);
        transpose(out_wide, out, *output, *rows, columns);
    }
}

impl<T: Real> Kernel<T> for Linear<T> {
    fn forward(&self, x: Operands<T>, y: &mut [T], s: &mut Scratch<T>) {
        let points = x.points;
        let (x, _) = x.get(0);
        if self.rows * points == 1 {
            return matvec(&self.weight, x, self.bias.as_deref(), y);
        }
        match &self.bias {
            None => self.apply(points, x, y, Write::Set, s),
            Some(bias) => {
                let lines = y.chunks_exact_mut(points);
                lines.enumerate().for_each(|(i, line)| line.fill(bias[i % self.output]));
                self.apply(points, x, y, Write::Add, s);
            }
        }
    }

    fn jvp(&self, _: usize, at: At<T>, columns: usize, t: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        let columns = at.points() * columns;
        if self.rows * columns == 1 && write == Write::Set {
            return matvec(&self.weight, t, None, out);
        }
        self.apply(columns, t, out, write, s);
    }

    fn vjp(&self, _: usize, at: At<T>, rows: usize, g: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        let rows = at.points() * rows;
        let rows = rows * self.rows;
        if rows == 1 {
            return vecmat(g, &self.weight, out, write);
        }
        let sizes = Sizes { m: rows, n: self.input, k: self.output };
        let (g, input) = (Left::rows(g, self.output), self.input);
        matmul(&mut s.panel, sizes, g, &self.weight, input, out, input, write, Part::All);
    }

    fn jacobian(&self) -> Option<&[T]> {
        (self.rows == 1).then_some(&self.weight)
    }

    fn cost(&self) -> f64 {
        2.0 * (self.rows * self.input * self.output) as f64
    }
}
