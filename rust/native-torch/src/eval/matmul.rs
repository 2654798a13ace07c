//! Matrix products that allocate nothing and start at once, for the shapes that derivatives of networks have.
//!
//! Products write `C (m x n) (+)= A (m x k) B (k x n)` with `B` and `C` row-major and `A` in any layout. Where vectors can be
//! read in part, `B` is read where it stands; else panels of it are copied to a buffer of the caller's, padded with zeros,
//! where that pays or where the edge needs it.
// Products take sizes, matrices and distances, and indices say best what a kernel does.
#![allow(clippy::too_many_arguments, clippy::needless_range_loop)]

use super::{
    registers::{Places, Registers, Rows, Start, TILE, Tile, WIDTH},
    simd::multiversion,
};
use crate::tensor::Real;

/// Rows of `B` that are multiplied at a time.
const DEPTH: usize = 256;
/// Rows of `C` that share a copied panel of `B`.
const HEIGHT: usize = 240;

/// The length of the buffer for a panel of `B` and a tile of `C`.
const PANEL: usize = DEPTH * WIDTH + TILE;
/// From so many operations on, a product is spread over threads.
const SPREAD_FROM: usize = 1 << 20;
/// From so many rows on, copying `B` pays on processors with short vectors, unless it has few elements and stays in the
/// first-level cache as it is. Long vectors read it as fast where it stands.
const COPY_FROM: usize = 32;
const NEAR: usize = 1 << 10;

/// The buffers of products: one for each thread that a product may use.
#[derive(Debug)]
pub(crate) struct Panels<T>(Vec<Vec<T>>);

impl<T: Real> Panels<T> {
    /// For so many threads. With more than one, products must be called inside a pool.
    pub fn new(threads: usize) -> Self {
        Self(vec![vec![T::ZERO; PANEL]; threads])
    }

    /// How many threads work of so many operations is spread over.
    pub fn threads(&self, operations: usize) -> usize {
        if operations < SPREAD_FROM { 1 } else { self.0.len() }
    }
}

/// `A`: element `(i, p)` stands at `i * row + p * column`.
#[derive(Clone, Copy)]
pub(super) struct Left<'a, T> {
    pub data: &'a [T],
    pub row: usize,
    pub column: usize,
}

impl<'a, T> Left<'a, T> {
    /// A row-major matrix with `width` columns.
    pub fn rows(data: &'a [T], width: usize) -> Self {
        Self { data, row: width, column: 1 }
    }

    /// The transpose of a row-major matrix with `width` columns.
    pub fn transposed(data: &'a [T], width: usize) -> Self {
        Self { data, row: 1, column: width }
    }
}

/// What a product does with the old content of `C`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write {
    /// Replaces it.
    Set,
    /// Adds to it.
    Add,
}

/// Which part of `C` is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    All,
    /// The lower triangle; what stands above the diagonal afterwards is not said.
    Lower,
}

/// The sizes of a product: `C` is `m x n`, and `k` products are summed for each entry.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub m: usize,
    pub n: usize,
    pub k: usize,
}

/// Elements that [`matmul_at`] may read behind the last one of `B`.
pub(super) const BEHIND: usize = WIDTH;

/// The product. `ldb` and `ldc` are the distances between rows of `B` and `C`; `start` may have a number for each row.
///
/// # Panics
/// If an operand is shorter than the sizes say.
pub(super) fn matmul<'a, T: Real>(
    panels: &mut Panels<T>,
    sizes: Sizes,
    a: Left<T>,
    b: &[T],
    ldb: usize,
    c: &mut [T],
    ldc: usize,
    start: impl Into<Start<'a, T>>,
    part: Part,
) {
    let (Sizes { m, n, k }, start) = (sizes, start.into());
    if m > 0 && n > 0 && k > 0 {
        assert!(ldb >= n && b.len() > (k - 1) * ldb + n - 1, "B is too short");
    }
    let registers = Registers::<T>::new();
    if m == 1 && registers.masks {
        let c = &mut c[..n];
        let start = if let Start::These(start) = start {
            c.fill(start[0]);
            Start::Own
        } else {
            start
        };
        return registers.multiply_line(k, a.data, a.column, b, ldb, start, c);
    }
    spread(panels, sizes, a, b, Rows::Every(ldb), c, ldc, start, part);
}

/// The product with a `B` whose rows begin at these places, with [`BEHIND`] elements behind the last.
///
/// # Panics
/// If an operand is shorter than the sizes say.
pub(super) fn matmul_at<'a, T: Real>(
    panels: &mut Panels<T>,
    sizes: Sizes,
    a: Left<T>,
    b: &[T],
    places: Places,
    c: &mut [T],
    ldc: usize,
    start: impl Into<Start<'a, T>>,
) {
    spread(panels, sizes, a, b, Rows::At(places), c, ldc, start.into(), Part::All);
}

/// The product, on as many threads as pay.
fn spread<T: Real>(
    panels: &mut Panels<T>,
    sizes: Sizes,
    a: Left<T>,
    b: &[T],
    at: Rows,
    c: &mut [T],
    ldc: usize,
    start: Start<T>,
    part: Part,
) {
    let Sizes { m, n, k } = sizes;
    if m == 0 || n == 0 {
        return;
    }
    assert!(ldc >= n && c.len() > (m - 1) * ldc + n - 1, "C is too short");
    if k == 0 {
        let mut fill = |i: usize, value| c[i * ldc..i * ldc + n].fill(value);
        match start {
            Start::Zero => (0..m).for_each(|i| fill(i, T::ZERO)),
            Start::Own => {}
            Start::These(start) => (0..m).for_each(|i| fill(i, start[i])),
        }
        return;
    }
    assert!(a.data.len() > (m - 1) * a.row + (k - 1) * a.column, "A is too short");
    let threads = panels.threads(2usize.saturating_mul(m).saturating_mul(n).saturating_mul(k)).min(m);
    if threads == 1 {
        return product(&mut panels.0[0], 0, sizes, a, b, at, c, ldc, start, part);
    }
    let mut rest = c;
    let mut first = 0;
    rayon::scope(|scope| {
        for (i, panel) in panels.0.iter_mut().enumerate().take(threads) {
            // A triangle's rows get longer.
            let share = |i: usize| match part {
                Part::All => m * i / threads,
                Part::Lower => (m as f64 * (i as f64 / threads as f64).sqrt()) as usize,
            };
            let end = if i + 1 == threads { m } else { share(i + 1).max(first) };
            let rows = end - first;
            // The last row may end before the distance to the next.
            let length = (rows * ldc).min(rest.len());
            let (c, others) = std::mem::take(&mut rest).split_at_mut(length);
            rest = others;
            let from = first;
            first = end;
            if rows > 0 {
                let a = Left { data: &a.data[from * a.row..], ..a };
                let sizes = Sizes { m: rows, n, k };
                let start = start.skip(from);
                scope.spawn(move |_| product(panel, from, sizes, a, b, at, c, ldc, start, part));
            }
        }
    });
}

/// One thread's part of a product. Of a triangle, the rows of `C` are those from `top` on.
fn product<T: Real>(
    panel: &mut [T],
    top: usize,
    sizes: Sizes,
    a: Left<T>,
    b: &[T],
    at: Rows,
    c: &mut [T],
    ldc: usize,
    start: Start<T>,
    part: Part,
) {
    let Sizes { m, n, k } = sizes;
    let (panel, whole) = panel[..PANEL].split_at_mut(DEPTH * WIDTH);
    let registers = Registers::<T>::new();
    let lanes = registers.lanes;
    // The next part of what is left; the last two are about equal, so that none is thin.
    let share = |left: usize, most: usize| match left {
        _ if left >= 2 * most => most,
        _ if left > most => left.div_ceil(2),
        _ => left,
    };
    for k0 in (0..k).step_by(DEPTH) {
        let depth = DEPTH.min(k - k0);
        let start = if k0 == 0 { start } else { Start::Own };
        for m0 in (0..m).step_by(HEIGHT) {
            let m1 = m.min(m0 + HEIGHT);
            let mut j0 = 0;
            while j0 < n {
                if part == Part::Lower && j0 >= top + m1 {
                    break;
                }
                let vectors = share((n - j0).div_ceil(lanes), registers.vectors(m));
                let padded = vectors * lanes;
                let width = padded.min(n - j0);
                let (b, at) = match at {
                    Rows::Every(ldb)
                        if !registers.masks && (width < padded || (m1 - m0 >= COPY_FROM && depth * ldb > NEAR)) =>
                    {
                        copy_panel(&b[k0 * ldb + j0..], ldb, width, &mut panel[..depth * padded], padded);
                        (&panel[..], Rows::Every(padded))
                    }
                    Rows::Every(ldb) => (&b[k0 * ldb + j0..], at),
                    Rows::At(places) => (&b[j0..], Rows::At(places.part(k0..k0 + depth))),
                };
                let mut i0 = m0;
                while i0 < m1 {
                    let rows = share(m1 - i0, registers.rows);
                    // Of a triangle, the columns up to the last row's.
                    let wanted = match part {
                        Part::All => width,
                        Part::Lower => width.min((top + i0 + rows).saturating_sub(j0)),
                    };
                    if wanted > 0 {
                        let vectors = wanted.div_ceil(lanes);
                        let width = width.min(vectors * lanes);
                        let a = Left { data: &a.data[i0 * a.row + k0 * a.column..], ..a };
                        let c = &mut c[i0 * ldc + j0..];
                        let tile = Tile { rows, vectors, depth, width };
                        registers.multiply(tile, a, b, at, c, ldc, start.skip(i0), whole);
                    }
                    i0 += rows;
                }
                j0 += width;
            }
        }
    }
}

multiversion! {
    /// Copies the first elements of each row and fills up with zeros.
    fn copy_panel<T: Real>(b: &[T], ldb: usize, width: usize, panel: &mut [T], padded: usize) {
        for (p, to) in panel.chunks_exact_mut(padded).enumerate() {
            let (to, rest) = to.split_at_mut(width);
            copy_line(&b[p * ldb..][..width], to);
            rest.iter_mut().for_each(|rest| *rest = T::ZERO);
        }
    }
}

/// Copies a short line, for which a call of the system's copy takes longer.
#[inline(always)]
pub(super) fn copy_line<T: Real>(from: &[T], to: &mut [T]) {
    let count = to.len();
    if count < BLOCK {
        return to.iter_mut().zip(from).for_each(|(to, &from)| *to = from);
    }
    let mut at = 0;
    while let Some(next) = next_block(at, count) {
        let block: &[T; BLOCK] = from[at..].first_chunk().expect("a whole block");
        *to[at..].first_chunk_mut().expect("a whole block") = *block;
        at = next;
    }
}

/// Elements of a block of a short line.
pub(super) const BLOCK: usize = 8;

/// Where the block behind the one at `at` begins; the last one ends with the line, and may overlap the one before. Nothing
/// behind the line.
#[inline(always)]
pub(super) fn next_block(at: usize, count: usize) -> Option<usize> {
    match count - at {
        0 => None,
        left if left > BLOCK => Some((at + BLOCK).min(count - BLOCK)),
        _ => Some(count),
    }
}

/// Adds `A' B` to `C`: `C` is `m x n`, `A` is `k x m` and `B` is `k x n`, all row-major.
pub(crate) fn add_transposed_product(
    panels: &mut Panels<f64>,
    [m, k, n]: [usize; 3],
    a: &[f64],
    b: &[f64],
    c: &mut [f64],
) {
    matmul(panels, Sizes { m, n, k }, Left::transposed(a, m), b, n, c, n, Write::Add, Part::All);
}

/// `y = x' B + bias` for a `B` with as many rows as `x` has elements, at this distance.
pub(super) fn line<T: Real>(panels: &mut Panels<T>, x: &[T], b: &[T], ldb: usize, bias: Option<&[T]>, y: &mut [T]) {
    let (registers, sizes) = (Registers::<T>::new(), Sizes { m: 1, n: y.len(), k: x.len() });
    match bias {
        Some(bias) if registers.masks => registers.multiply_line(x.len(), x, 1, b, ldb, Start::These(bias), y),
        Some(bias) => {
            y.copy_from_slice(bias);
            matmul(panels, sizes, Left::rows(x, x.len()), b, ldb, y, sizes.n, Write::Add, Part::All);
        }
        None => matmul(panels, sizes, Left::rows(x, x.len()), b, ldb, y, sizes.n, Write::Set, Part::All),
    }
}

/// `y = A x (+ b)` for a row-major `A` with as many rows as `y` has elements.
pub(super) fn matvec<T: Real>(a: &[T], x: &[T], bias: Option<&[T]>, y: &mut [T]) {
    Registers::new().multiply_rows(a, x, y);
    if let Some(bias) = bias {
        y.iter_mut().zip(bias).for_each(|(y, &b)| *y += b);
    }
}

multiversion! {
    /// `y (+)= x' A` for a row-major `A` with as many rows as `x` has elements.
    pub(super) fn vecmat<T: Real>(x: &[T], a: &[T], y: &mut [T], write: Write) {
        const ROWS: usize = 4;
        let width = y.len();
        assert_eq!(a.len(), width * x.len());
        if write == Write::Set {
            y.fill(T::ZERO);
        }
        let mut i = 0;
        while i + ROWS <= x.len() {
            let (a0, rest) = a[i * width..(i + ROWS) * width].split_at(width);
            let (a1, rest) = rest.split_at(width);
            let (a2, a3) = rest.split_at(width);
            let (x0, x1, x2, x3) = (x[i], x[i + 1], x[i + 2], x[i + 3]);
            for ((((y, &a0), &a1), &a2), &a3) in y.iter_mut().zip(a0).zip(a1).zip(a2).zip(a3) {
                *y = x0.madd::<FMA>(a0, x1.madd::<FMA>(a1, x2.madd::<FMA>(a2, x3.madd::<FMA>(a3, *y))));
            }
            i += ROWS;
        }
        for i in i..x.len() {
            for (y, &a) in y.iter_mut().zip(&a[i * width..(i + 1) * width]) {
                *y = x[i].madd::<FMA>(a, *y);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers<T: Real>(count: usize, seed: usize) -> Vec<T> {
        (0..count).map(|i| T::from_f64(((i * 7919 + seed * 104_729) % 1009) as f64 / 504.0 - 1.0)).collect()
    }

    fn check<T: Real>(tolerance: f64) {
        let shapes =
            [(1, 1, 1), (3, 5, 7), (10, 784, 51), (9, 24, 3), (50, 10, 300), (300, 70, 20), (17, 49, 0), (241, 1, 9)];
        let panel = &mut Panels::new(1);
        for (m, n, k) in shapes {
            let (a, b) = (numbers::<T>(m * k, 1), numbers::<T>(k * n, 2));
            let (ldb, ldc) = (n, n + 3);
            let old = numbers::<T>(m * ldc, 3);
            for (left, at) in [(Left::rows(&a, k), true), (Left::transposed(&a, m), false)] {
                for (write, part) in [(Write::Set, Part::All), (Write::Add, Part::All), (Write::Add, Part::Lower)] {
                    let mut c = old.clone();
                    matmul(panel, Sizes { m, n, k }, left, &b, ldb, &mut c, ldc, write, part);
                    for i in 0..m {
                        for j in 0..ldc {
                            let before = old[i * ldc + j].to_f64();
                            let sum: f64 = (0..k)
                                .map(|p| {
                                    let a = if at { a[i * k + p] } else { a[p * m + i] };
                                    a.to_f64() * b[p * n + j.min(n - 1)].to_f64()
                                })
                                .sum();
                            let expected = match (j < n, write) {
                                (false, _) => before,
                                (true, Write::Set) => sum,
                                (true, Write::Add) => before + sum,
                            };
                            if part == Part::All || j <= i {
                                let error = (c[i * ldc + j].to_f64() - expected).abs();
                                assert!(error < tolerance * (k + 1) as f64, "{m} {n} {k} at {i} {j}: {error}");
                            }
                        }
                    }
                }
            }
        }
        for (m, n) in [(1, 1), (3, 40), (4, 16), (7, 33), (50, 10), (5, 0)] {
            let (a, x, z, bias) = (numbers::<T>(m * n, 4), numbers::<T>(n, 5), numbers::<T>(m, 6), numbers::<T>(m, 7));
            let mut y = vec![T::ONE; m];
            matvec(&a, &x, Some(&bias), &mut y);
            for i in 0..m {
                let sum: f64 = (0..n).map(|j| a[i * n + j].to_f64() * x[j].to_f64()).sum();
                assert!((y[i].to_f64() - sum - bias[i].to_f64()).abs() < tolerance * (n + 1) as f64);
            }
            let mut y = numbers::<T>(n, 8);
            let old = y.clone();
            vecmat(&z, &a, &mut y, Write::Add);
            for j in 0..n {
                let sum: f64 = (0..m).map(|i| a[i * n + j].to_f64() * z[i].to_f64()).sum();
                assert!((y[j].to_f64() - sum - old[j].to_f64()).abs() < tolerance * (m + 1) as f64);
            }
        }
    }

    #[test]
    fn products_agree_with_sums() {
        check::<f64>(1e-15);
        check::<f32>(1e-6);
    }
}
