//! Layer normalisation (Ba, Kiros and Hinton, 2016): `(x - mean) / sqrt(variance + eps) w + b` over groups of elements,
//! and the same without the mean (Zhang and Sennrich, 2019).

use super::{At, Constant, Kernel, Operands, Scratch, Write};
use crate::tensor::Real;

pub(super) struct Norm<T> {
    /// Whether the mean is subtracted.
    pub centred: bool,
    /// The number of groups that are normalised apart.
    pub groups: usize,
    /// The number of elements in each.
    pub length: usize,
    pub eps: T,
    pub weight: Option<Constant<T>>,
    pub bias: Option<Constant<T>>,
}

/// One group at one point: `1 / sqrt(variance + eps)`, and the elements, centred if so asked, in `c`.
fn centre<T: Real>(x: impl Iterator<Item = T>, centred: bool, eps: T, c: &mut [T]) -> T {
    let count = T::from_f64(c.len() as f64);
    c.iter_mut().zip(x).for_each(|(c, x)| *c = x);
    if centred {
        subtract_mean(c);
    }
    let variance = c.iter().map(|&c| c * c).sum::<T>() / count;
    T::ONE / (variance + eps).sqrt()
}

fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    a.iter().zip(b).map(|(&a, &b)| a * b).sum()
}

fn subtract_mean<T: Real>(a: &mut [T]) {
    let mean = a.iter().copied().sum::<T>() / T::from_f64(a.len() as f64);
    a.iter_mut().for_each(|a| *a -= mean);
}

impl<T: Real> Norm<T> {
    fn centre(&self, v: &mut [T]) {
        if self.centred {
            subtract_mean(v);
        }
    }

    fn weight(&self, i: usize) -> T {
        self.weight.as_ref().map_or(T::ONE, |w| w[i])
    }

    /// In place: `v := r (v - mean v - c r^2 (c'v) / N)`, the normalisation's own (symmetric) Jacobian.
    fn project(&self, c: &[T], r: T, v: &mut [T]) {
        let count = T::from_f64(self.length as f64);
        self.centre(v);
        let along = dot(c, v) * r * r / count;
        v.iter_mut().zip(c).for_each(|(v, &c)| *v = r * (*v - c * along));
    }

    /// For each group at each point: their numbers, `r`, `c`, and a buffer of its length.
    fn for_each_group(&self, x: Operands<T>, s: &mut Scratch<T>, mut f: impl FnMut(usize, usize, T, &[T], &mut [T])) {
        let (points, (x, _)) = (x.points, x.get(0));
        let (_, work) = s.take(2 * self.length);
        let (c, v) = work.split_at_mut(self.length);
        for group in 0..self.groups {
            for p in 0..points {
                let x = (0..self.length).map(|i| x[(group * self.length + i) * points + p]);
                let r = centre(x, self.centred, self.eps, c);
                f(group, p, r, c, v);
            }
        }
    }
}

impl<T: Real> Kernel<T> for Norm<T> {
    fn forward(&self, x: Operands<T>, y: &mut [T], s: &mut Scratch<T>) {
        let points = x.points;
        self.for_each_group(x, s, |group, p, r, c, _| {
            for (i, &c) in c.iter().enumerate() {
                let value = c * r * self.weight(i) + self.bias.as_ref().map_or(T::ZERO, |b| b[i]);
                y[(group * self.length + i) * points + p] = value;
            }
        });
    }

    fn jvp(&self, _: usize, at: At<T>, columns: usize, t: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        let points = at.points();
        self.for_each_group(at.x, s, |group, p, r, c, v| {
            for column in 0..columns {
                let place = |i: usize| ((group * self.length + i) * points + p) * columns + column;
                v.iter_mut().enumerate().for_each(|(i, v)| *v = t[place(i)]);
                self.project(c, r, v);
                for (i, &v) in v.iter().enumerate() {
                    let value = v * self.weight(i);
                    match write {
                        Write::Set => out[place(i)] = value,
                        Write::Add => out[place(i)] += value,
                    }
                }
            }
        });
    }

    fn vjp(&self, _: usize, at: At<T>, rows: usize, g: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        let size = self.groups * self.length;
        self.for_each_group(at.x, s, |group, p, r, c, v| {
            for row in p * rows..(p + 1) * rows {
                let start = row * size + group * self.length;
                let (g, out) = (&g[start..start + self.length], &mut out[start..start + self.length]);
                v.iter_mut().enumerate().for_each(|(i, v)| *v = g[i] * self.weight(i));
                self.project(c, r, v);
                match write {
                    Write::Set => out.copy_from_slice(v),
                    Write::Add => out.iter_mut().zip(&*v).for_each(|(out, v)| *out += *v),
                }
            }
        });
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
        // With a the weighted adjoint and c the elements, both centred where that is asked, the function is r (a'c), where
        // r = (c'c / N + eps)^(-1/2). For a direction v, centred likewise, the gradient r a - r^3 (a'c) c / N changes by
        //   -r^3 / N ((c'v) a + (a'v) c + (a'c) v) + 3 r^5 / N^2 (c'v) (a'c) c.
        let length = self.length;
        let (points, (x, _)) = (at.points(), at.x.get(0));
        let count = T::from_f64(length as f64);
        let three = T::from_f64(3.0);
        let (_, work) = s.take(3 * length);
        let (c, rest) = work.split_at_mut(length);
        let (a, v) = rest.split_at_mut(length);
        for (group, p) in (0..self.groups).flat_map(|group| (0..points).map(move |p| (group, p))) {
            let r = centre((0..length).map(|i| x[(group * length + i) * points + p]), self.centred, self.eps, c);
            let lambda = &lambda[(p * self.groups + group) * length..][..length];
            a.iter_mut().enumerate().for_each(|(i, a)| *a = lambda[i] * self.weight(i));
            self.centre(a);
            let ac = dot(a, c);
            let scale = r * r * r / count;
            for column in 0..columns {
                let place = |i: usize| ((group * length + i) * points + p) * columns + column;
                v.iter_mut().enumerate().for_each(|(i, v)| *v = t[place(i)]);
                self.centre(v);
                let (cv, av) = (dot(c, v), dot(a, v));
                let along = three * r * r / count * cv * ac - av;
                for i in 0..length {
                    out[place(i)] = scale * (along * c[i] - cv * a[i] - ac * v[i]);
                }
            }
        }
    }

    fn cost(&self) -> f64 {
        8.0 * (self.groups * self.length) as f64
    }
}
