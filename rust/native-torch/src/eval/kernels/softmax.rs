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
    fn forward(&self, x: Operands<T>, y: &mut [T], s: &mut Scratch<T>) {
        let inner = self.inner * x.points;
        softmax(x.get(0).0, y, None, self.length, inner, s.take(2 * inner).1);
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
    fn forward(&self, x: Operands<T>, y: &mut [T], s: &mut Scratch<T>) {
        let inner = self.0.inner * x.points;
        let (lines, p) = s.take(2 * inner + y.len()).1.split_at_mut(2 * inner);
        softmax(x.get(0).0, y, Some(p), self.0.length, inner, lines);
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

/// Softmax of slices of `length` lines of `inner` elements, or its logarithm with the exponentials beside it. `lines` has
/// room for two lines.
fn softmax<T: Real>(x: &[T], y: &mut [T], log: Option<&mut [T]>, length: usize, inner: usize, lines: &mut [T]) {
    let (peaks, sums) = lines.split_at_mut(inner);
    shift(x, y, length, inner, peaks);
    match log {
        None => {
            exponentials_of(y);
            divide(y, length, inner, sums);
        }
        Some(p) => {
            exponentials(y, p);
            subtract_logarithms(p, y, length, inner, sums);
        }
    }
}

multiversion! {
    fn exponentials_of<T: Real>(y: &mut [T]) {
        y.iter_mut().for_each(|y| *y = y.exp::<FMA>());
    }
}

multiversion! {
    /// `y` is `x` less the largest element of its slice.
    fn shift<T: Real>(x: &[T], y: &mut [T], length: usize, inner: usize, peaks: &mut [T]) {
        // One NaN in a slice makes all of its results NaN, whatever is subtracted.
        let larger = |a: T, b: T| if a >= b { a } else { b };
        for (x, y) in x.chunks_exact((length * inner).max(1)).zip(y.chunks_exact_mut((length * inner).max(1))) {
            if inner == 1 {
                let peak = fold(x, T::NEG_INFINITY, larger);
                y.iter_mut().zip(x).for_each(|(y, &x)| *y = x - peak);
                continue;
            }
            peaks.fill(T::NEG_INFINITY);
            for x in x.chunks_exact(inner) {
                peaks.iter_mut().zip(x).for_each(|(peak, &x)| *peak = larger(*peak, x));
            }
            for (x, y) in x.chunks_exact(inner).zip(y.chunks_exact_mut(inner)) {
                y.iter_mut().zip(x.iter().zip(&*peaks)).for_each(|(y, (&x, &peak))| *y = x - peak);
            }
        }
    }
}

multiversion! {
    /// Divides each slice by its sum.
    fn divide<T: Real>(y: &mut [T], length: usize, inner: usize, sums: &mut [T]) {
        for y in y.chunks_exact_mut((length * inner).max(1)) {
            if inner == 1 {
                let sum = fold(y, T::ZERO, |a, b| a + b);
                y.iter_mut().for_each(|y| *y = *y / sum);
                continue;
            }
            add_lines(y, inner, sums);
            for y in y.chunks_exact_mut(inner) {
                y.iter_mut().zip(&*sums).for_each(|(y, &sum)| *y = *y / sum);
            }
        }
    }
}

multiversion! {
    /// Subtracts from each slice of `y` the logarithm of the sum of `p`.
    fn subtract_logarithms<T: Real>(p: &[T], y: &mut [T], length: usize, inner: usize, sums: &mut [T]) {
        for (p, y) in p.chunks_exact((length * inner).max(1)).zip(y.chunks_exact_mut((length * inner).max(1))) {
            if inner == 1 {
                let log = fold(p, T::ZERO, |a, b| a + b).ln::<FMA>();
                y.iter_mut().for_each(|y| *y -= log);
                continue;
            }
            add_lines(p, inner, sums);
            sums.iter_mut().for_each(|sum| *sum = sum.ln::<FMA>());
            for y in y.chunks_exact_mut(inner) {
                y.iter_mut().zip(&*sums).for_each(|(y, &log)| *y -= log);
            }
        }
    }
}

#[inline(always)]
fn add_lines<T: Real>(x: &[T], inner: usize, sums: &mut [T]) {
    sums.fill(T::ZERO);
    for x in x.chunks_exact(inner) {
        sums.iter_mut().zip(x).for_each(|(sum, &x)| *sum += x);
    }
}

/// All numbers combined, in as many lanes as the widest vectors have. What is left of the numbers joins when the lanes are
/// few, so that they stay in registers.
#[inline(always)]
fn fold<T: Real>(x: &[T], start: T, f: impl Fn(T, T) -> T) -> T {
    let (wide, rest) = x.as_chunks::<32>();
    let mut lanes = [start; 32];
    for x in wide {
        for l in 0..32 {
            lanes[l] = f(lanes[l], x[l]);
        }
    }
    let mut few = [start; 8];
    for l in 0..8 {
        few[l] = f(f(lanes[l], lanes[l + 8]), f(lanes[l + 16], lanes[l + 24]));
    }
    let (narrow, rest) = rest.as_chunks::<8>();
    for x in narrow {
        for l in 0..8 {
            few[l] = f(few[l], x[l]);
        }
    }
    let mut last = f(f(f(few[0], few[4]), f(few[2], few[6])), f(f(few[1], few[5]), f(few[3], few[7])));
    for &x in rest {
        last = f(last, x);
    }
    last
}
