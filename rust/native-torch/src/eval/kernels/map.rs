//! Linear maps with fixed coefficients: average pooling, padding, and whatever else only moves and adds elements.

use super::{At, Kernel, Operands, Scratch, Write};
use crate::{eval::simd::multiversion, graph::Map, tensor::Real};

pub(super) struct LinearMap<T> {
    map: Map,
    weights: Option<Vec<T>>,
    constant: T,
}

impl<T: Real> LinearMap<T> {
    pub fn new(mut map: Map) -> Self {
        let weights = map.weights.take().map(|weights| weights.into_iter().map(T::from_f64).collect());
        Self { weights, constant: T::from_f64(map.constant), map }
    }
}

impl<T: Real> Kernel<T> for LinearMap<T> {
    fn forward(&self, x: Operands<T>, y: &mut [T], _: &mut Scratch<T>) {
        gather(&self.map, self.weights.as_deref(), x.points, x.get(0).0, y, Write::Set, self.constant);
    }

    fn jvp(&self, _: usize, at: At<T>, columns: usize, t: &[T], out: &mut [T], write: Write, _: &mut Scratch<T>) {
        gather(&self.map, self.weights.as_deref(), at.points() * columns, t, out, write, T::ZERO);
    }

    fn vjp(&self, _: usize, _: At<T>, _: usize, g: &[T], out: &mut [T], write: Write, _: &mut Scratch<T>) {
        if write == Write::Set {
            out.fill(T::ZERO);
        }
        scatter(&self.map, self.weights.as_deref(), g, out);
    }

    fn cost(&self) -> f64 {
        2.0 * (self.map.outer * self.map.windows.total() * self.map.inner) as f64
    }
}

multiversion! {
    /// `out (+)= A t` for `t` of `[element, column]`.
    fn gather<T: Real>(
        map: &Map, weights: Option<&[T]>, columns: usize, t: &[T], out: &mut [T], write: Write, constant: T,
    ) {
        let line = map.inner * columns;
        let (from, to) = (map.plane * line, map.windows.len() * line);
        for o in 0..map.outer {
            let (t, out) = (&t[o * from..][..from], &mut out[o * to..][..to]);
            for ((q, reads), out) in map.windows.iter().zip(out.chunks_exact_mut(line.max(1))) {
                let weights = weights.map(|weights| &weights[map.windows.range(q)]);
                // With a single column the sum stays in a register.
                if let [out] = out {
                    let weight = |k: usize| weights.map_or(T::ONE, |weights| weights[k]);
                    let sum: T = reads.iter().enumerate().map(|(k, &p)| weight(k) * t[p as usize]).sum();
                    let sum = if reads.is_empty() { constant } else { sum };
                    *out = if write == Write::Set { sum } else { *out + sum };
                    continue;
                }
                if write == Write::Set {
                    match (reads.first(), weights) {
                        (None, _) => out.fill(constant),
                        (Some(&p), None) => out.copy_from_slice(&t[p as usize * line..][..line]),
                        (Some(&p), Some(weights)) => {
                            let t = &t[p as usize * line..][..line];
                            out.iter_mut().zip(t).for_each(|(out, &t)| *out = weights[0] * t);
                        }
                    }
                }
                let rest = usize::from(write == Write::Set);
                for (k, &p) in reads.iter().enumerate().skip(rest) {
                    let t = &t[p as usize * line..][..line];
                    match weights {
                        None => out.iter_mut().zip(t).for_each(|(out, &t)| *out += t),
                        Some(weights) => {
                            let w = weights[k];
                            out.iter_mut().zip(t).for_each(|(out, &t)| *out = w.madd::<FMA>(t, *out));
                        }
                    }
                }
            }
        }
    }
}

multiversion! {
    /// `out += A' g` for `g` of `[row, element]`.
    fn scatter<T: Real>(map: &Map, weights: Option<&[T]>, g: &[T], out: &mut [T]) {
        let inner = map.inner.max(1);
        let (from, to) = (map.windows.len() * inner, map.plane * inner);
        if from == 0 || to == 0 {
            return;
        }
        for (g, out) in g.chunks_exact(from).zip(out.chunks_exact_mut(to)) {
            for ((q, reads), g) in map.windows.iter().zip(g.chunks_exact(inner)) {
                let weights = weights.map(|weights| &weights[map.windows.range(q)]);
                for (k, &p) in reads.iter().enumerate() {
                    let w = weights.map_or(T::ONE, |weights| weights[k]);
                    let out = &mut out[p as usize * inner..][..inner];
                    out.iter_mut().zip(g).for_each(|(out, &g)| *out = w.madd::<FMA>(g, *out));
                }
            }
        }
    }
}
