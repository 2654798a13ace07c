//! Maximum pooling.

use super::{At, Kernel, Operands, Scratch, Write};
use crate::{
    graph::{MaxPool, Windows},
    tensor::Real,
};

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

    /// Fills `places` with where each result was read: `[result, point]`.
    fn find<T: Real>(&self, x: Operands<T>, places: &mut Vec<usize>) {
        let (points, (x, _)) = (x.points, x.get(0));
        places.clear();
        for plane in 0..self.planes {
            let x = &x[plane * self.plane * points..][..self.plane * points];
            for (_, reads) in self.windows.iter() {
                for point in 0..points {
                    let found = largest(reads, |p| x[p as usize * points + point]).map_or(0, |p| p as usize);
                    places.push(plane * self.plane + found);
                }
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
        let points = at.points();
        self.find(at.x, &mut s.places);
        for (i, (&p, out)) in s.places.iter().zip(out.chunks_exact_mut(columns)).enumerate() {
            let t = &t[(p * points + i % points) * columns..][..columns];
            match write {
                Write::Set => out.copy_from_slice(t),
                Write::Add => out.iter_mut().zip(t).for_each(|(out, &t)| *out += t),
            }
        }
    }

    fn vjp(&self, _: usize, at: At<T>, rows: usize, g: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        let points = at.points();
        self.find(at.x, &mut s.places);
        if write == Write::Set {
            out.fill(T::ZERO);
        }
        let (results, size) = (self.planes * self.windows.len(), self.planes * self.plane);
        for row in 0..points * rows {
            let (g, out) = (&g[row * results..][..results], &mut out[row * size..][..size]);
            let places = s.places.iter().skip(row / rows).step_by(points);
            places.zip(g).for_each(|(&p, &g)| out[p] += g);
        }
    }

    fn cost(&self) -> f64 {
        (self.planes * self.windows.len()) as f64
    }
}
