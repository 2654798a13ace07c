//! Softmax over one dimension and its logarithm, shifted by the maximum.

use super::{At, Kernel, Operands, Scratch, Write};
use crate::{eval::simd::multiversion, tensor::Real};

pub(super) struct Softmax {
    pub outer: usize,
    pub length: usize,
    pub inner: usize,
}

impl Softmax {
    /// Calls `f` with the start of each slice; its elements are `inner` apart.
    fn slices(&self) -> impl Iterator<Item = usize> {
        let (length, inner) = (self.length, self.inner);
        (0..self.outer).flat_map(move |o| (0..inner).map(move |i| o * length * inner + i))
    }

    /// The places of the elements of a slice.
    fn elements(&self, start: usize) -> impl Iterator<Item = usize> + Clone {
        let inner = self.inner;
        (0..self.length).map(move |k| start + k * inner)
    }

    /// `out (+)= (diag(s) - s s') t` for one direction of a slice; `y` gives the result's elements and `place` tells
    /// where an element of the direction stands.
    fn product<T: Real>(
        &self,
        start: usize,
        y: impl Fn(usize) -> T,
        t: &[T],
        out: &mut [T],
        write: Write,
        place: impl Fn(usize) -> usize,
    ) {
        let mean: T = self.elements(start).map(|e| y(e) * t[place(e)]).sum();
        for e in self.elements(start) {
            let value = y(e) * (t[place(e)] - mean);
            match write {
                Write::Set => out[place(e)] = value,
                Write::Add => out[place(e)] += value,
            }
        }
    }
}

impl<T: Real> Kernel<T> for Softmax {
    fn forward(&self, x: Operands<T>, y: &mut [T], _: &mut Scratch<T>) {
        let points = x.points;
        let (x, _) = x.get(0);
        softmax(x, y, self.outer, self.length, self.inner * points, false);
    }

    fn jvp(&self, _: usize, at: At<T>, columns: usize, t: &[T], out: &mut [T], write: Write, _: &mut Scratch<T>) {
        let points = at.points();
        for start in self.slices() {
            for c in 0..points * columns {
                let y = |e: usize| at.y[e * points + c / columns];
                self.product(start, y, t, out, write, |e| e * points * columns + c);
            }
        }
    }

    fn vjp(&self, _: usize, at: At<T>, rows: usize, g: &[T], out: &mut [T], write: Write, _: &mut Scratch<T>) {
        let points = at.points();
        let size = (at.y.len() / points).max(1);
        for (row, (g, out)) in g.chunks_exact(size).zip(out.chunks_exact_mut(size)).enumerate() {
            let y = |e: usize| at.y[e * points + row / rows];
            for start in self.slices() {
                self.product(start, y, g, out, write, |e| e);
            }
        }
    }

    fn curved(&self) -> &'static [(usize, usize)] {
        &[(0, 0)]
    }

    fn curvature(
        &self,
        _: (usize, usize),
        at: At<T>,
        lambda: &[T],
        columns: usize,
        t: &[T],
        out: &mut [T],
        _: &mut Scratch<T>,
    ) {
        // The gradient of lambda's is s (lambda - lambda's); with ds = J t its change is
        // ds (lambda - lambda's) - s (lambda'ds).
        let points = at.points();
        let size = at.y.len() / points;
        for start in self.slices() {
            for p in 0..points {
                let y = |e: usize| at.y[e * points + p];
                let lambda = |e: usize| lambda[p * size + e];
                let expected: T = self.elements(start).map(|e| y(e) * lambda(e)).sum();
                for c in 0..columns {
                    let place = |e: usize| (e * points + p) * columns + c;
                    self.product(start, y, t, out, Write::Set, place);
                    let change: T = self.elements(start).map(|e| lambda(e) * out[place(e)]).sum();
                    for e in self.elements(start) {
                        out[place(e)] = out[place(e)] * (lambda(e) - expected) - y(e) * change;
                    }
                }
            }
        }
    }

    fn cost(&self) -> f64 {
        4.0 * (self.outer * self.length * self.inner) as f64
    }
}

/// The logarithm of softmax.
pub(super) struct LogSoftmax(pub Softmax);

impl<T: Real> Kernel<T> for LogSoftmax {
    fn forward(&self, x: Operands<T>, y: &mut [T], _: &mut Scratch<T>) {
        let points = x.points;
        let (x, _) = x.get(0);
        softmax(x, y, self.0.outer, self.0.length, self.0.inner * points, true);
    }

    fn jvp(&self, _: usize, at: At<T>, columns: usize, t: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        let points = at.points();
        let (_, p) = s.take(at.y.len());
        exponentials(at.y, p);
        for start in self.0.slices() {
            for c in 0..points * columns {
                let place = |e: usize| e * points * columns + c;
                let mean: T = self.0.elements(start).map(|e| p[e * points + c / columns] * t[place(e)]).sum();
                for e in self.0.elements(start) {
                    let value = t[place(e)] - mean;
                    match write {
                        Write::Set => out[place(e)] = value,
                        Write::Add => out[place(e)] += value,
                    }
                }
            }
        }
    }

    fn vjp(&self, _: usize, at: At<T>, rows: usize, g: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        let points = at.points();
        let size = (at.y.len() / points).max(1);
        let (_, p) = s.take(at.y.len());
        exponentials(at.y, p);
        for (row, (g, out)) in g.chunks_exact(size).zip(out.chunks_exact_mut(size)).enumerate() {
            for start in self.0.slices() {
                let sum: T = self.0.elements(start).map(|e| g[e]).sum();
                for e in self.0.elements(start) {
                    let value = g[e] - p[e * points + row / rows] * sum;
                    match write {
                        Write::Set => out[e] = value,
                        Write::Add => out[e] += value,
                    }
                }
            }
        }
    }

    fn curved(&self) -> &'static [(usize, usize)] {
        &[(0, 0)]
    }

    fn curvature(
        &self,
        _: (usize, usize),
        at: At<T>,
        lambda: &[T],
        columns: usize,
        t: &[T],
        out: &mut [T],
        s: &mut Scratch<T>,
    ) {
        // All elements subtract the same logarithm of a sum, whose second derivative is the Jacobian of softmax.
        let points = at.points();
        let size = at.y.len() / points;
        let (_, probabilities) = s.take(at.y.len());
        exponentials(at.y, probabilities);
        for start in self.0.slices() {
            for p in 0..points {
                let total: T = self.0.elements(start).map(|e| lambda[p * size + e]).sum();
                for c in 0..columns {
                    let place = |e: usize| (e * points + p) * columns + c;
                    self.0.product(start, |e| probabilities[e * points + p], t, out, Write::Set, place);
                    self.0.elements(start).for_each(|e| out[place(e)] = -total * out[place(e)]);
                }
            }
        }
    }

    fn cost(&self) -> f64 {
        4.0 * (self.0.outer * self.0.length * self.0.inner) as f64
    }
}

multiversion! {
    fn exponentials<T: Real>(x: &[T], y: &mut [T]) {
        y.iter_mut().zip(x).for_each(|(y, &x)| *y = x.exp::<FMA>());
    }
}

multiversion! {
    fn softmax<T: Real>(x: &[T], y: &mut [T], outer: usize, length: usize, inner: usize, log: bool) {
        for o in 0..outer {
            for i in 0..inner {
                let start = o * length * inner + i;
                let elements = (0..length).map(|k| start + k * inner);
                let mut largest = T::NEG_INFINITY;
                for e in elements.clone() {
                    // A NaN stays the largest, as every comparison with it is false.
                    if largest >= x[e] {
                        continue;
                    }
                    largest = x[e];
                }
                let mut sum = T::ZERO;
                for e in elements.clone() {
                    y[e] = (x[e] - largest).exp::<FMA>();
                    sum += y[e];
                }
                let log_sum = sum.ln::<FMA>();
                for e in elements {
                    y[e] = if log { (x[e] - largest) - log_sum } else { y[e] / sum };
                }
            }
        }
    }
}
