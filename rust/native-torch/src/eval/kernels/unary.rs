//! Functions of each element.

use super::{At, Kernel, Operands, Part, Scratch, Write};
use crate::{
    diff::unary::{Rule, Visitor, is_curved, visit},
    eval::{
        matmul::{self, next_block},
        simd::multiversion,
    },
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

    fn is_elementwise(&self, _: usize) -> bool {
        true
    }

    fn elements(&self, _: usize, _: usize, [x, _]: [Part<T>; 2], y: &mut [T]) {
        let (Part::Own(x) | Part::Whole(x, _)) = x;
        apply(self.unary, Derivative::Zeroth, x, &[], y);
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
        blocks::<T, R, 0, FMA>(&rule, x, x, out);
    }
}

multiversion! {
    fn slopes<T: Real, R: Rule<T>>(rule: R, x: &[T], y: &[T], out: &mut [T]) {
        blocks::<T, R, 1, FMA>(&rule, x, y, out);
    }
}

multiversion! {
    fn bends<T: Real, R: Rule<T>>(rule: R, x: &[T], y: &[T], out: &mut [T]) {
        blocks::<T, R, 2, FMA>(&rule, x, y, out);
    }
}

/// Elements that are computed together: a few whole vectors.
const BLOCK: usize = 16;

/// So many elements are left to the compiler, which takes whole vectors of them several at a time.
const LONG: usize = 64;

/// The derivative of this order for each element. Those behind the last [`LONG`] come in blocks, so that none is computed
/// alone: the last block overlaps the one before, or is filled up where there is none.
#[inline(always)]
fn blocks<T: Real, R: Rule<T>, const ORDER: usize, const FMA: bool>(rule: &R, x: &[T], y: &[T], out: &mut [T]) {
    let count = out.len();
    let long = count / LONG * LONG;
    for (out, (&x, &y)) in out[..long].iter_mut().zip(x.iter().zip(y)) {
        *out = derivative::<T, R, ORDER, FMA>(rule, x, y);
    }
    let (wholes, rest) = out[long..].as_chunks_mut::<BLOCK>();
    for (out, (x, y)) in wholes.iter_mut().zip(x[long..].as_chunks().0.iter().zip(y[long..].as_chunks().0)) {
        block::<T, R, ORDER, FMA>(rule, x, y, out);
    }
    if rest.is_empty() {
        return;
    }
    if count < BLOCK {
        let (mut x_whole, mut y_whole, mut whole) = ([T::ZERO; BLOCK], [T::ZERO; BLOCK], [T::ZERO; BLOCK]);
        x_whole[..count].copy_from_slice(x);
        y_whole[..count].copy_from_slice(y);
        block::<T, R, ORDER, FMA>(rule, &x_whole, &y_whole, &mut whole);
        out.copy_from_slice(&whole[..count]);
    } else if let (Some(x), Some(y), Some(out)) = (x.last_chunk(), y.last_chunk(), out.last_chunk_mut()) {
        block::<T, R, ORDER, FMA>(rule, x, y, out);
    }
}

#[inline(always)]
fn block<T: Real, R: Rule<T>, const ORDER: usize, const FMA: bool>(
    rule: &R,
    x: &[T; BLOCK],
    y: &[T; BLOCK],
    out: &mut [T; BLOCK],
) {
    for l in 0..BLOCK {
        out[l] = derivative::<T, R, ORDER, FMA>(rule, x[l], y[l]);
    }
}

#[inline(always)]
fn derivative<T: Real, R: Rule<T>, const ORDER: usize, const FMA: bool>(rule: &R, x: T, y: T) -> T {
    match ORDER {
        0 => rule.value::<FMA>(x),
        1 => rule.first::<FMA>(x, y),
        _ => rule.second::<FMA>(x, y),
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
                Write::Set => scale_line(d, t, out),
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

/// `out = d t`, for short lines in overlapping blocks.
#[inline(always)]
fn scale_line<T: Real>(d: T, t: &[T], out: &mut [T]) {
    const BLOCK: usize = matmul::BLOCK;
    let count = out.len();
    if !(BLOCK..4 * BLOCK).contains(&count) {
        return out.iter_mut().zip(t).for_each(|(out, &t)| *out = d * t);
    }
    let mut at = 0;
    while let Some(next) = next_block(at, count) {
        let (t, out) = (&t[at..at + BLOCK], &mut out[at..at + BLOCK]);
        for l in 0..BLOCK {
            out[l] = d * t[l];
        }
        at = next;
    }
}

#[inline(always)]
fn scale<T: Real, const FMA: bool>(d: &[T], t: &[T], out: &mut [T], write: Write) {
    match write {
        Write::Set => out.iter_mut().zip(d.iter().zip(t)).for_each(|(out, (&d, &t))| *out = d * t),
        Write::Add => out.iter_mut().zip(d.iter().zip(t)).for_each(|(out, (&d, &t))| *out = d.madd::<FMA>(t, *out)),
    }
}
