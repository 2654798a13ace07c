//! `x W' + b` over the last dimension.

use std::ops::Range;

use super::{At, Constant, Kernel, Operands, Scratch, Write};
use crate::{
    eval::{
        chain::{Chain, follow},
        matmul::{Left, Part, Sizes, line, matmul, matvec, vecmat},
    },
    tensor::Real,
};

pub(super) struct Linear<T> {
    /// `[output, input]`
    weight: Constant<T>,
    turned: Option<Turned<T>>,
    bias: Option<Constant<T>>,
    /// The product of the leading dimensions.
    rows: usize,
    input: usize,
    output: usize,
}

/// Small weights once more as `[input, output]`, in lines that begin where the processor reads best: a vector times them
/// is a sum of lines, and no line has to be added up.
struct Turned<T> {
    numbers: Vec<T>,
    start: usize,
    pitch: usize,
}

/// Bytes of both forms of the weights together that stay in the first-level cache. Larger ones are read from caches whose
/// speed decides, and as they are stored.
const CACHE: usize = 28 << 10;
/// For fewer results, most of a line would be empty.
const NARROW: usize = 16;
/// Bytes of what the processor reads at once.
const LINE: usize = 64;
/// Up to so many weights, a product with a row is summed in registers, part by part of the row; more of them are read line
/// by line.
const FEW: usize = 1 << 16;

impl<T: Real> Turned<T> {
    /// Where that pays and there is room for so many elements more, which is then less.
    fn new(weight: &[T], input: usize, output: usize, room: &mut usize) -> Option<Self> {
        let lanes = LINE / size_of::<T>();
        let pitch = output.next_multiple_of(lanes);
        let length = input * pitch + lanes;
        if output < NARROW || (input * output + length) * size_of::<T>() > CACHE || length > *room {
            return None;
        }
        *room -= length;
        let mut numbers = vec![T::ZERO; length];
        let start = numbers.as_ptr().align_offset(LINE).min(lanes);
        let lines = numbers[start..].chunks_exact_mut(pitch).take(input);
        lines.enumerate().for_each(|(i, to)| {
            to.iter_mut().zip(weight.iter().skip(i).step_by(input)).for_each(|(to, &from)| *to = from);
        });
        Some(Self { numbers, start, pitch })
    }
}

/// Rows of a transposed matrix that are written at a time.
const TILE: usize = 8;

/// `to[j, i] = from[i, j]` for pieces of `length` elements; `done` is told which elements of `to` are there.
fn transpose<T: Copy>(
    from: &[T],
    to: &mut [T],
    rows: usize,
    columns: usize,
    length: usize,
    mut done: impl FnMut(&mut [T], Range<usize>),
) {
    for first in (0..columns).step_by(TILE) {
        let tile = first..columns.min(first + TILE);
        for i in 0..rows {
            for j in tile.clone() {
                let (a, b) = ((i * columns + j) * length, (j * rows + i) * length);
                if length == 1 {
                    to[b] = from[a];
                } else {
                    to[b..b + length].copy_from_slice(&from[a..a + length]);
                }
            }
        }
        done(to, tile.start * rows * length..tile.end * rows * length);
    }
}

impl<T: Real> Linear<T> {
    /// With room for so many elements beside the weights, of which it may take some.
    pub fn new(
        weight: Constant<T>,
        bias: Option<Constant<T>>,
        rows: usize,
        [output, input]: [usize; 2],
        room: &mut usize,
    ) -> Self {
        let turned = if rows == 1 { Turned::new(&weight, input, output, room) } else { None };
        Self { weight, turned, bias, rows, input, output }
    }

    /// `y = W x (+ b)` for a single vector.
    fn multiply(&self, x: &[T], bias: Option<&[T]>, y: &mut [T], s: &mut Scratch<T>) {
        let Some(turned) = &self.turned else { return matvec(&self.weight, x, bias, y) };
        line(&mut s.panel, x, &turned.numbers[turned.start..], turned.pitch, bias, y);
    }

    /// f, with the links of a chain.
    fn compute(&self, x: Operands<T>, y: &mut [T], s: &mut Scratch<T>, chain: Option<&mut Chain<T>>) {
        let points = x.points;
        let (x, _) = x.get(0);
        if self.rows * points == 1 {
            self.multiply(x, self.bias.as_deref(), y, s);
            return follow(chain, y, 0..self.output);
        }
        let write = match &self.bias {
            None => Write::Set,
            Some(bias) => {
                let lines = y.chunks_exact_mut(points);
                lines.enumerate().for_each(|(i, line)| line.fill(bias[i % self.output]));
                Write::Add
            }
        };
        self.apply(points, x, y, write, s, chain);
    }

    /// `out (+)= W t` for `t` of `[row, input, column]`, with the links of a chain.
    fn apply(
        &self,
        columns: usize,
        t: &[T],
        out: &mut [T],
        write: Write,
        s: &mut Scratch<T>,
        mut chain: Option<&mut Chain<T>>,
    ) {
        let Self { weight, rows, input, output, .. } = self;
        let weight = Left::rows(weight, *input);
        if *rows == 1 {
            let sizes = Sizes { m: *output, n: columns, k: *input };
            matmul(&mut s.panel, sizes, weight, t, columns, out, columns, write, Part::All);
            return follow(chain, out, 0..output * columns);
        }
        // Rows and columns go side by side, so that the weights are read once.
        let wide = rows * columns;
        let (panel, work) = s.take((input + output) * wide);
        let (t_wide, out_wide) = work.split_at_mut(input * wide);
        transpose(t, t_wide, *rows, *input, columns, |_, _| {});
        if write == Write::Add {
            transpose(out, out_wide, *rows, *output, columns, |_, _| {});
        }
        let sizes = Sizes { m: *output, n: wide, k: *input };
        matmul(panel, sizes, weight, t_wide, wide, out_wide, wide, write, Part::All);
        transpose(out_wide, out, *output, *rows, columns, |out, part| follow(chain.as_deref_mut(), out, part));
    }
}

impl<T: Real> Kernel<T> for Linear<T> {
    fn forward(&self, x: Operands<T>, y: &mut [T], s: &mut Scratch<T>) {
        self.compute(x, y, s, None);
    }

    fn forward_chain(&self, x: Operands<T>, y: &mut [T], s: &mut Scratch<T>, chain: &mut Chain<T>) {
        self.compute(x, y, s, Some(chain));
    }

    fn jvp(&self, _: usize, at: At<T>, columns: usize, t: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        let columns = at.points() * columns;
        if self.rows * columns == 1 && write == Write::Set {
            return self.multiply(t, None, out, s);
        }
        self.apply(columns, t, out, write, s, None);
    }

    fn vjp(&self, _: usize, at: At<T>, rows: usize, g: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        let rows = at.points() * rows;
        let rows = rows * self.rows;
        if rows == 1 && self.input * self.output > FEW {
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
