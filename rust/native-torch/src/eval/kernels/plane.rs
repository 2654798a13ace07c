//! Operations that read windows of each plane: average and maximum pooling, padding.

use super::{At, Kernel, Operands, Scratch, Write};
use crate::{
    graph::{AvgPool, MaxPool, Padding, Windows, average_divisors},
    tensor::Real,
};

/// A linear map of each plane: `y[q] = factor[q] sum_(p read by q) x[p] + constant`, the constant where nothing is read.
pub(super) struct LinearPlane<T> {
    windows: Windows,
    factors: Vec<T>,
    constant: T,
    planes: usize,
    plane: usize,
}

impl<T: Real> LinearPlane<T> {
    pub fn average(pool: &AvgPool, x: &[usize]) -> Self {
        let plane = &x[x.len() - pool.kernel.len()..];
        let factors = average_divisors(pool, plane).iter().map(|&d| T::from_f64(1.0 / d)).collect();
        Self::new(Windows::average(pool, plane), factors, T::ZERO, x, plane)
    }

    pub fn padding(amounts: &[(usize, usize)], padding: Padding, x: &[usize]) -> Self {
        let plane = &x[x.len() - amounts.len()..];
        let windows = Windows::padding(amounts, padding, plane);
        let factors = vec![T::ONE; windows.len()];
        let constant = if let Padding::Constant(value) = padding { T::from_f64(value) } else { T::ZERO };
        Self::new(windows, factors, constant, x, plane)
    }

    fn new(windows: Windows, factors: Vec<T>, constant: T, x: &[usize], plane: &[usize]) -> Self {
        let planes = x[..x.len() - plane.len()].iter().product();
        Self { windows, factors, constant, planes, plane: plane.iter().product() }
    }

    fn apply(&self, columns: usize, t: &[T], out: &mut [T], write: Write, constant: T) {
        let results = self.windows.len();
        for plane in 0..self.planes {
            let t = &t[plane * self.plane * columns..][..self.plane * columns];
            let out = &mut out[plane * results * columns..][..results * columns];
            for ((_, reads), (out, &factor)) in
                self.windows.iter().zip(out.chunks_exact_mut(columns).zip(&self.factors))
            {
                if write == Write::Set {
                    out.fill(if reads.is_empty() { constant } else { T::ZERO });
                }
                for &p in reads {
                    let t = &t[p as usize * columns..][..columns];
                    out.iter_mut().zip(t).for_each(|(out, &t)| *out += factor * t);
                }
            }
        }
    }
}

impl<T: Real> Kernel<T> for LinearPlane<T> {
    fn forward(&self, x: Operands<T>, y: &mut [T], _: &mut Scratch<T>) {
        let points = x.points;
        let (x, _) = x.get(0);
        self.apply(points, x, y, Write::Set, self.constant);
    }

    fn jvp(&self, _: usize, _: At<T>, columns: usize, t: &[T], out: &mut [T], write: Write, _: &mut Scratch<T>) {
        self.apply(columns, t, out, write, T::ZERO);
    }

    fn vjp(&self, _: usize, _: At<T>, rows: usize, g: &[T], out: &mut [T], write: Write, _: &mut Scratch<T>) {
        if write == Write::Set {
            out.fill(T::ZERO);
        }
        let results = self.windows.len();
        for plane in 0..rows * self.planes {
            let g = &g[plane * results..][..results];
            let out = &mut out[plane * self.plane..][..self.plane];
            for ((_, reads), (&g, &factor)) in self.windows.iter().zip(g.iter().zip(&self.factors)) {
                for &p in reads {
                    out[p as usize] += factor * g;
                }
            }
        }
    }

    fn cost(&self) -> f64 {
        let reads: usize = self.windows.iter().map(|(_, reads)| reads.len()).sum();
        2.0 * (self.planes * reads) as f64
    }
}

/// The largest element of each window; the first of several.
pub(super) struct MaxPlane {
    windows: Windows,
    planes: usize,
    plane: usize,
}

impl MaxPlane {
    pub fn new(pool: &MaxPool, x: &[usize]) -> Self {
        let plane = &x[x.len() - pool.kernel.len()..];
        let planes = x[..x.len() - plane.len()].iter().product();
        Self { windows: Windows::maximum(pool, plane), planes, plane: plane.iter().product() }
    }

    /// Fills `places` with where each result was read.
    fn find<T: Real>(&self, x: &[T], places: &mut Vec<usize>) {
        places.clear();
        for plane in 0..self.planes {
            let x = &x[plane * self.plane..][..self.plane];
            for (_, reads) in self.windows.iter() {
                let largest = largest(reads, |p| x[p as usize]).map_or(0, |p| p as usize);
                places.push(plane * self.plane + largest);
            }
        }
    }
}

/// Which of the places holds the largest element: the first of several, a NaN before all.
#[inline(always)]
fn largest<T: Real>(reads: &[u32], x: impl Fn(u32) -> T) -> Option<u32> {
    let (&first, rest) = reads.split_first()?;
    let mut place = first;
    let mut value = x(first);
    for &p in rest {
        let candidate = x(p);
        if candidate > value || candidate.to_f64().is_nan() {
            (place, value) = (p, candidate);
        }
    }
    Some(place)
}

impl<T: Real> Kernel<T> for MaxPlane {
    fn forward(&self, x: Operands<T>, y: &mut [T], _: &mut Scratch<T>) {
        let points = x.points;
        let (x, _) = x.get(0);
        let results = self.windows.len();
        for plane in 0..self.planes {
            let x = &x[plane * self.plane * points..][..self.plane * points];
            for (q, reads) in self.windows.iter() {
                for point in 0..points {
                    let value = |p: u32| x[p as usize * points + point];
                    y[(plane * results + q) * points + point] = largest(reads, value).map_or(T::NEG_INFINITY, value);
                }
            }
        }
    }

    fn jvp(&self, _: usize, at: At<T>, columns: usize, t: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        self.find(at.x.at(0), &mut s.places);
        for (&p, out) in s.places.iter().zip(out.chunks_exact_mut(columns)) {
            let t = &t[p * columns..(p + 1) * columns];
            match write {
                Write::Set => out.copy_from_slice(t),
                Write::Add => out.iter_mut().zip(t).for_each(|(out, &t)| *out += t),
            }
        }
    }

    fn vjp(&self, _: usize, at: At<T>, rows: usize, g: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        self.find(at.x.at(0), &mut s.places);
        if write == Write::Set {
            out.fill(T::ZERO);
        }
        let (results, size) = (s.places.len(), self.planes * self.plane);
        for row in 0..rows {
            let (g, out) = (&g[row * results..][..results], &mut out[row * size..][..size]);
            s.places.iter().zip(g).for_each(|(&p, &g)| out[p] += g);
        }
    }

    fn cost(&self) -> f64 {
        (self.planes * self.windows.len()) as f64
    }
}
