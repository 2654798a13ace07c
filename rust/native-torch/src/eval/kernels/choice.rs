//! The elements of one operand where a mask holds, those of another elsewhere.

use super::{At, Kernel, Operands, Scratch, Write};
use crate::{graph::Broadcast, tensor::Real};

/// Operands: the mask, what stands where it holds, what stands elsewhere; smaller ones are repeated.
pub(super) struct Choice {
    places: [Broadcast; 3],
    sizes: [usize; 3],
    size: usize,
}

impl Choice {
    pub fn new(operands: &[Vec<usize>], result: &[usize]) -> Self {
        Self {
            places: std::array::from_fn(|k| Broadcast::new(&operands[k], result)),
            sizes: std::array::from_fn(|k| operands[k].iter().product()),
            size: result.iter().product(),
        }
    }

    /// Whether an operand is taken, by element of the result and point.
    fn taken<T: Real>(&self, x: Operands<T>, operand: usize) -> impl Fn(usize, usize) -> bool {
        let (mask, constant) = x.get(0);
        let (points, wanted) = (x.points, operand == 1);
        move |e, p| {
            let at = self.places[0].at(e);
            (mask[if constant { at } else { at * points + p }] != T::ZERO) == wanted
        }
    }
}

// What is not taken is not multiplied by zero either: it may be infinite.
impl<T: Real> Kernel<T> for Choice {
    fn forward(&self, x: Operands<T>, y: &mut [T], _: &mut Scratch<T>) {
        let points = x.points;
        let taken = self.taken(x, 1);
        let sides = [x.get(1), x.get(2)];
        for (e, y) in y.chunks_exact_mut(points).enumerate() {
            let at = [self.places[1].at(e), self.places[2].at(e)];
            for (p, y) in y.iter_mut().enumerate() {
                let side = usize::from(!taken(e, p));
                let (numbers, constant) = sides[side];
                *y = numbers[if constant { at[side] } else { at[side] * points + p }];
            }
        }
    }

    fn jvp(&self, operand: usize, at: At<T>, columns: usize, t: &[T], out: &mut [T], write: Write, _: &mut Scratch<T>) {
        let points = at.points();
        let taken = self.taken(at.x, operand);
        for (i, out) in out.chunks_exact_mut(columns).enumerate() {
            let (e, p) = (i / points, i % points);
            let t = &t[(self.places[operand].at(e) * points + p) * columns..][..columns];
            match (write, taken(e, p)) {
                (Write::Set, true) => out.copy_from_slice(t),
                (Write::Set, false) => out.fill(T::ZERO),
                (Write::Add, true) => out.iter_mut().zip(t).for_each(|(out, &t)| *out += t),
                (Write::Add, false) => {}
            }
        }
    }

    fn vjp(&self, operand: usize, at: At<T>, rows: usize, g: &[T], out: &mut [T], write: Write, _: &mut Scratch<T>) {
        if write == Write::Set {
            out.fill(T::ZERO);
        }
        let taken = self.taken(at.x, operand);
        let size = self.sizes[operand];
        for row in 0..at.points() * rows {
            let (g, out) = (&g[row * self.size..][..self.size], &mut out[row * size..][..size]);
            for (e, &g) in g.iter().enumerate().filter(|(e, _)| taken(*e, row / rows)) {
                out[self.places[operand].at(e)] += g;
            }
        }
    }

    fn is_smooth(&self, operand: usize) -> bool {
        operand > 0
    }

    fn cost(&self) -> f64 {
        self.size as f64
    }
}
