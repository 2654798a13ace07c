//! Functions of each element.

use super::{At, Kernel, Operands, Scratch, Write};
use crate::{
    diff::unary::{Rule, Visitor, is_curved, visit},
    eval::simd::multiversion,
    graph,
    tensor::Real,
};

pub(super) struct Unary {
    pub unary: graph::Unary,
    pub size: usize,
}

impl<T: Real> Kernel<T> for Unary {
    fn forward(&self, x: Operands<T>, y: &mut [T], _: &mut Scratch<T>) {
        apply(self.unary, Derivative::Zeroth, x.get(0).0, &[], y);
    }

    fn jvp(&self, _: usize, at: At<T>, columns: usize, t: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        let (_, slope) = s.take(at.y.len());
        apply(self.unary, Derivative::First, at.x.get(0).0, at.y, slope);
        scale_rows(slope, columns, t, out, write);
    }

    fn vjp(&self, _: usize, at: At<T>, rows: usize, g: &[T], out: &mut [T], write: Write, s: &mut Scratch<T>) {
        let (_, work) = s.take(2 * at.y.len());
        let (slope, spare) = work.split_at_mut(at.y.len());
        apply(self.unary, Derivative::First, at.x.get(0).0, at.y, slope);
        scale_points(slope, at.points(), spare, rows, g, out, write);
    }

    fn curved(&self) -> &'static [(usize, usize)] {
        if is_curved(self.unary) { &[(0, 0)] } else { &[] }
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
        let points = at.points();
        let (_, second) = s.take(at.y.len());
        apply(self.unary, Derivative::Second, at.x.get(0).0, at.y, second);
        if points == 1 {
            second.iter_mut().zip(lambda).for_each(|(d, &lambda)| *d *= lambda);
        } else {
            for (e, d) in second.chunks_exact_mut(points).enumerate() {
                d.iter_mut().enumerate().for_each(|(p, d)| *d *= lambda[p * self.size + e]);
            }
        }
        scale_rows(second, columns, t, out, Write::Set);
    }

    fn cost(&self) -> f64 {
        self.size as f64
    }
}

#[derive(Clone, Copy)]
enum Derivative {
    Zeroth,
    First,
    Second,
}

struct Loop<'a, T> {
    derivative: Derivative,
    x: &'a [T],
    y: &'a [T],
    out: &'a mut [T],
}

impl<T: Real> Visitor<T> for Loop<'_, T> {
    type Output = ();

    fn visit<R: Rule<T>>(self, rule: R) {
        let Self { derivative, x, y, out } = self;
        match derivative {
            Derivative::Zeroth => values(rule, x, out),
            Derivative::First => slopes(rule, x, y, out),
            Derivative::Second => bends(rule, x, y, out),
        }
    }
}

/// Writes the function's values or derivatives.
fn apply<T: Real>(unary: graph::Unary, derivative: Derivative, x: &[T], y: &[T], out: &mut [T]) {
    visit(unary, Loop { derivative, x, y, out });
}

// A function of the machine for each rule and derivative, so that all of a loop's body is inlined there.
multiversion! {
    fn values<T: Real, R: Rule<T>>(rule: R, x: &[T], out: &mut [T]) {
        for (out, &x) in out.iter_mut().zip(x) {
            *out = rule.value::<FMA>(x);
        }
    }
}

multiversion! {
    fn slopes<T: Real, R: Rule<T>>(rule: R, x: &[T], y: &[T], out: &mut [T]) {
        for (out, (&x, &y)) in out.iter_mut().zip(x.iter().zip(y)) {
            *out = rule.first::<FMA>(x, y);
        }
    }
}

multiversion! {
    fn bends<T: Real, R: Rule<T>>(rule: R, x: &[T], y: &[T], out: &mut [T]) {
        for (out, (&x, &y)) in out.iter_mut().zip(x.iter().zip(y)) {
            *out = rule.second::<FMA>(x, y);
        }
    }
}

multiversion! {
    /// `out[i, c] (+)= d[i] t[i, c]`
    pub(super) fn scale_rows<T: Real>(d: &[T], columns: usize, t: &[T], out: &mut [T], write: Write) {
        if columns == 1 {
            return scale::<T, FMA>(d, t, out, write);
        }
        for ((&d, t), out) in d.iter().zip(t.chunks_exact(columns)).zip(out.chunks_exact_mut(columns)) {
            match write {
                Write::Set => out.iter_mut().zip(t).for_each(|(out, &t)| *out = d * t),
                Write::Add => out.iter_mut().zip(t).for_each(|(out, &t)| *out = d.madd::<FMA>(t, *out)),
            }
        }
    }
}

multiversion! {
    /// `out[p, r, i] (+)= d[i, p] g[p, r, i]`; `spare` has the length of `d`.
    pub(super) fn scale_points<T: Real>(
        d: &[T], points: usize, spare: &mut [T], rows: usize, g: &[T], out: &mut [T], write: Write,
    ) {
        let size = d.len() / points;
        if size == 0 {
            return;
        }
        let d = if points == 1 {
            d
        } else {
            for (i, d) in d.chunks_exact(points).enumerate() {
                d.iter().enumerate().for_each(|(p, &d)| spare[p * size + i] = d);
            }
            spare
        };
        for (row, (g, out)) in g.chunks_exact(size).zip(out.chunks_exact_mut(size)).enumerate() {
            scale::<T, FMA>(&d[row / rows * size..][..size], g, out, write);
        }
    }
}

#[inline(always)]
fn scale<T: Real, const FMA: bool>(d: &[T], t: &[T], out: &mut [T], write: Write) {
    match write {
        Write::Set => out.iter_mut().zip(d.iter().zip(t)).for_each(|(out, (&d, &t))| *out = d * t),
        Write::Add => out.iter_mut().zip(d.iter().zip(t)).for_each(|(out, (&d, &t))| *out = d.madd::<FMA>(t, *out)),
    }
}
