//! The innermost product: a tile of C that stays in the processor's registers while it is added up.
//!
//! Written with the processor's vector instructions, since compilers turn plain loops over so many sums into good code
//! only now and then.

use std::{any::TypeId, mem::transmute_copy, ops::Range};

use super::{
    matmul::{Left, Write},
    simd::{self, Level},
};
use crate::tensor::Real;

/// Elements in the widest tile: three vectors of 64 bytes in `f32`.
pub(super) const WIDTH: usize = 48;
/// Vectors in the widest tile of a single row.
const LONG: usize = 8;
/// Rows in the highest tile.
const HEIGHT: usize = 8;
/// Elements in the largest tile.
pub(super) const TILE: usize = HEIGHT * WIDTH;

/// What of a product one tile covers.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    /// Rows of C.
    pub rows: usize,
    /// Vectors per row.
    pub vectors: usize,
    /// Products that are summed.
    pub depth: usize,
    /// Columns of C: all elements of the vectors, or fewer.
    pub width: usize,
}

/// The tiles that this processor has registers for.
pub(super) struct Registers<T> {
    level: Level,
    /// The highest tile.
    pub rows: usize,
    /// The widest tile, in vectors.
    pub vectors: usize,
    /// Elements of a vector.
    pub lanes: usize,
    /// Whether vectors can be read and written in part.
    pub masks: bool,
    element: std::marker::PhantomData<T>,
}

/// Where the rows of `B` stand.
#[derive(Clone, Copy)]
pub(super) enum Rows<'a> {
    /// One after another at this distance.
    Every(usize),
    /// Each at its own place.
    At(Places<'a>),
}

/// Places of rows, and the last of them all, which is found once.
#[derive(Clone, Copy)]
pub(super) struct Places<'a> {
    places: &'a [usize],
    last: usize,
}

impl<'a> Places<'a> {
    pub fn new(places: &'a [usize]) -> Self {
        Self { places, last: places.iter().copied().max().unwrap_or(0) }
    }

    /// Those of some rows.
    pub fn part(self, rows: Range<usize>) -> Self {
        Self { places: &self.places[rows], ..self }
    }
}

/// `c = start + a b`, or added to what is there: depth, `a` with its distances, `b` with its row's or with the place of
/// each, `start` for each row or nothing, `c` with its row's distance, the elements of its last vector, and whether to add.
type Kernel<T> =
    unsafe fn(usize, *const T, usize, usize, *const T, usize, *const usize, *const T, *mut T, usize, usize, bool);

/// `y = a x`: the length of `x`, `a` with its row's distance, `x` and `y`.
type Dots<T> = unsafe fn(usize, *const T, usize, *const T, *mut T);

/// `c = start + x' b`: depth, `x` with the distance of its elements, `b` with its row's, `start` or nothing, `c` and the
/// elements of its last vector.
type Line<T> = unsafe fn(usize, *const T, usize, *const T, usize, *const T, *mut T, usize);

/// What sums of products begin with.
#[derive(Clone, Copy)]
pub(super) enum Start<'a, T> {
    Zero,
    /// The old content of the result.
    Own,
    /// A number for each element of a line, or for each row of a tile.
    These(&'a [T]),
}

impl<T> Start<'_, T> {
    /// The same without the first rows.
    pub fn skip(self, rows: usize) -> Self {
        match self {
            Start::These(start) => Start::These(&start[rows..]),
            other => other,
        }
    }
}

impl<T> From<Write> for Start<'_, T> {
    fn from(write: Write) -> Self {
        if write == Write::Add { Start::Own } else { Start::Zero }
    }
}

impl<T: Real> Registers<T> {
    /// Those of this processor.
    pub fn new() -> Self {
        Self::at(simd::level())
    }

    fn at(level: Level) -> Self {
        let (rows, vectors, bytes) = match level {
            Level::Baseline => (4, 1, 32),
            #[cfg(target_arch = "x86_64")]
            Level::V3 => (6, 2, 32),
            #[cfg(target_arch = "x86_64")]
            Level::V4 => (HEIGHT, 3, 64),
        };
        let (lanes, masks) = (bytes / size_of::<T>(), bytes == 64);
        Self { level, rows, vectors, lanes, masks, element: std::marker::PhantomData }
    }

    /// Vectors in the widest tile for a product of so many rows.
    pub fn vectors(&self, rows: usize) -> usize {
        if rows == 1 && self.masks { LONG } else { self.vectors }
    }

    /// Multiplies one tile. `a`, `b` and `c` start at the tile; without masks `b` has all elements of the vectors in each
    /// row, and a tile that is wider than its part of `c` is first written to `whole`, which has room for [`TILE`]
    /// elements.
    #[allow(unsafe_code, clippy::too_many_arguments)]
    pub fn multiply(
        &self,
        tile: Tile,
        a: Left<T>,
        b: &[T],
        at: Rows,
        c: &mut [T],
        ldc: usize,
        start: Start<T>,
        whole: &mut [T],
    ) {
        let Tile { rows, vectors, depth, width } = tile;
        let full = vectors * self.lanes;
        assert!(a.data.len() > (rows - 1) * a.row + (depth - 1) * a.column);
        let (last, ldb, places) = match at {
            Rows::Every(ldb) => ((depth - 1) * ldb, ldb, std::ptr::null()),
            Rows::At(Places { places, last }) => (last, 0, places[..depth].as_ptr()),
        };
        assert!(b.len() >= last + if self.masks { width } else { full });
        assert!(c.len() >= (rows - 1) * ldc + width && width <= full && width > full - self.lanes);
        let (from, add) = match start {
            Start::Zero => (std::ptr::null(), false),
            Start::Own => (std::ptr::null(), true),
            Start::These(start) => (start[..rows].as_ptr(), false),
        };
        let edge = width - (full - self.lanes);
        let half = self.masks && 2 * edge <= self.lanes;
        let kernel = self.kernel(rows, vectors, !places.is_null(), half);
        if width == full || self.masks {
            // SAFETY: the lengths were checked above, and `level` found the kernel's instructions.
            unsafe {
                kernel(
                    depth,
                    a.data.as_ptr(),
                    a.row,
                    a.column,
                    b.as_ptr(),
                    ldb,
                    places,
                    from,
                    c.as_mut_ptr(),
                    ldc,
                    edge,
                    add,
                )
            };
            return;
        }
        assert!(whole.len() >= rows * full);
        // SAFETY: as above.
        unsafe {
            let (whole, edge) = (whole.as_mut_ptr(), self.lanes);
            kernel(depth, a.data.as_ptr(), a.row, a.column, b.as_ptr(), ldb, places, from, whole, full, edge, false);
        }
        for (i, line) in whole.chunks_exact(full).take(rows).enumerate() {
            let c = &mut c[i * ldc..i * ldc + width];
            if add {
                c.iter_mut().zip(line).for_each(|(c, v)| *c += *v);
            } else {
                c.copy_from_slice(&line[..width]);
            }
        }
    }

    /// `c = start + x' b` for a single row, `x` with elements at this distance; only with masks. Few vectors are summed several
    /// times side by side, since an addition takes longer than the next begins.
    ///
    /// # Panics
    /// If an operand is shorter than the length of `c` and the depth say, and without masks.
    #[allow(unsafe_code, clippy::too_many_arguments)]
    pub fn multiply_line(
        &self,
        depth: usize,
        x: &[T],
        column: usize,
        b: &[T],
        ldb: usize,
        start: Start<T>,
        c: &mut [T],
    ) {
        let n = c.len();
        assert!(self.masks && (depth == 0 || n == 0 || b.len() >= (depth - 1) * ldb + n));
        assert!(depth == 0 || x.len() > (depth - 1) * column);
        if let Start::These(start) = start {
            assert!(start.len() == n);
        }
        let mut at = 0;
        while at < n {
            let left = (n - at).div_ceil(self.lanes);
            let vectors = if left <= LONG { left } else { left.div_ceil(left.div_ceil(LONG)) };
            let width = (vectors * self.lanes).min(n - at);
            let edge = width - (vectors - 1) * self.lanes;
            let c = &mut c[at..at + width];
            let from = match start {
                Start::Zero => std::ptr::null(),
                Start::Own => c.as_ptr(),
                Start::These(start) => start[at..at + width].as_ptr(),
            };
            let b = if depth == 0 { b } else { &b[at..] };
            let kernel = self.line(vectors, 2 * edge <= self.lanes);
            // SAFETY: the lengths were checked above, and there are masks, which the kernels need.
            unsafe { kernel(depth, x.as_ptr(), column, b.as_ptr(), ldb, from, c.as_mut_ptr(), edge) };
            at += width;
        }
    }

    #[allow(unsafe_code)]
    fn line(&self, vectors: usize, half: bool) -> Line<T> {
        if TypeId::of::<T>() == TypeId::of::<f64>() {
            // SAFETY: T is f64, so that both are the same type.
            unsafe { transmute_copy(&double::line(self.level, vectors, half)) }
        } else {
            assert!(TypeId::of::<T>() == TypeId::of::<f32>(), "f64 and f32 are the only real types");
            // SAFETY: T is f32, so that both are the same type.
            unsafe { transmute_copy(&single::line(self.level, vectors, half)) }
        }
    }

    #[allow(unsafe_code)]
    fn kernel(&self, rows: usize, vectors: usize, placed: bool, half: bool) -> Kernel<T> {
        if TypeId::of::<T>() == TypeId::of::<f64>() {
            // SAFETY: T is f64, so that both are the same type.
            unsafe { transmute_copy(&double::kernel(self.level, rows, vectors, placed, half)) }
        } else {
            assert!(TypeId::of::<T>() == TypeId::of::<f32>(), "f64 and f32 are the only real types");
            // SAFETY: T is f32, so that both are the same type.
            unsafe { transmute_copy(&single::kernel(self.level, rows, vectors, placed, half)) }
        }
    }

    /// The products of rows of `a`, one after another, with `x`, one for each element of `y`.
    #[allow(unsafe_code)]
    pub fn multiply_rows(&self, a: &[T], x: &[T], y: &mut [T]) {
        let width = x.len();
        assert_eq!(a.len(), width * y.len());
        for (i, y) in y.chunks_mut(ROWS).enumerate() {
            let kernel: Dots<T> = if TypeId::of::<T>() == TypeId::of::<f64>() {
                // SAFETY: T is f64, so that both are the same type.
                unsafe { transmute_copy(&double::rows(self.level, y.len())) }
            } else {
                assert!(TypeId::of::<T>() == TypeId::of::<f32>(), "f64 and f32 are the only real types");
                // SAFETY: T is f32, so that both are the same type.
                unsafe { transmute_copy(&single::rows(self.level, y.len())) }
            };
            let a = &a[i * ROWS * width..][..y.len() * width];
            // SAFETY: `a` has a row of the length of `x` for each element of `y`.
            unsafe { kernel(width, a.as_ptr(), width, x.as_ptr(), y.as_mut_ptr()) };
        }
    }
}

/// Rows whose products with a vector are summed at a time.
const ROWS: usize = 4;

macro_rules! choose {
    ($size:expr, $function:ident, $vector:ty: $(($rows:literal, $vectors:literal))*) => {
        match $size {
            $(
                ($rows, $vectors, false, false) => $function::<$vector, $rows, $vectors, false, false>,
                ($rows, $vectors, true, false) => $function::<$vector, $rows, $vectors, true, false>,
            )*
            (rows, vectors, ..) => unreachable!("a tile of {rows} rows and {vectors} vectors"),
        }
    };
}

#[cfg(target_arch = "x86_64")]
macro_rules! choose_masked {
    ($size:expr, $function:ident, $vector:ty: $(($rows:literal, $vectors:literal))*) => {
        match $size {
            $(
                ($rows, $vectors, false, false) => $function::<$vector, $rows, $vectors, false, false>,
                ($rows, $vectors, true, false) => $function::<$vector, $rows, $vectors, true, false>,
                ($rows, $vectors, false, true) => $function::<$vector, $rows, $vectors, false, true>,
                ($rows, $vectors, true, true) => $function::<$vector, $rows, $vectors, true, true>,
            )*
            (rows, vectors, ..) => unreachable!("a tile of {rows} rows and {vectors} vectors"),
        }
    };
}

/// Lines by their vectors and how many times these are summed side by side: so many sums hide the time of an addition.
#[cfg(target_arch = "x86_64")]
macro_rules! choose_line {
    ($size:expr, $vector:ty: $(($vectors:literal, $split:literal))*) => {
        match $size {
            $(
                ($vectors, false) => line_v4::<$vector, $vectors, $split, false>,
                ($vectors, true) => line_v4::<$vector, $vectors, $split, true>,
            )*
            (vectors, _) => unreachable!("a line of {vectors} vectors"),
        }
    };
}

macro_rules! choose_dots {
    ($rows:expr, $function:ident, $vector:ty) => {
        match $rows {
            1 => $function::<$vector, 1>,
            2 => $function::<$vector, 2>,
            3 => $function::<$vector, 3>,
            _ => $function::<$vector, ROWS>,
        }
    };
}

macro_rules! kernels {
    ($name:ident, $t:ty, $portable:ty, $v3:ty, $v4:ty) => {
        mod $name {
            use super::*;

            pub fn rows(level: Level, rows: usize) -> Dots<$t> {
                match level {
                    Level::Baseline => choose_dots!(rows, dots, $portable),
                    #[cfg(target_arch = "x86_64")]
                    Level::V3 => choose_dots!(rows, dots_v3, $v3),
                    #[cfg(target_arch = "x86_64")]
                    Level::V4 => choose_dots!(rows, dots_v4, $v4),
                }
            }

            pub fn line(level: Level, vectors: usize, half: bool) -> Line<$t> {
                match level {
                    #[cfg(target_arch = "x86_64")]
                    Level::V4 => choose_line!((vectors, half), $v4: (1, 4) (2, 4) (3, 2) (4, 2) (5, 1) (6, 1) (7, 1) (8, 1)),
                    _ => unreachable!("{vectors} vectors without masks, {half}"),
                }
            }

        pub fn kernel(level: Level, rows: usize, vectors: usize, placed: bool, half: bool) -> Kernel<$t> {
            let size = (rows, vectors, placed, half);
            match level {
                Level::Baseline => choose!(size, tile, $portable: (1, 1) (2, 1) (3, 1) (4, 1)),
                #[cfg(target_arch = "x86_64")]
                Level::V3 => choose! {
                    size, tile_v3, $v3:
                    (1, 1) (2, 1) (3, 1) (4, 1) (5, 1) (6, 1) (1, 2) (2, 2) (3, 2) (4, 2) (5, 2) (6, 2)
                },
                #[cfg(target_arch = "x86_64")]
                Level::V4 => choose_masked! {
                    size, tile_v4, $v4:
                    (1, 4) (1, 5) (1, 6) (1, 7) (1, 8)
                    (1, 1) (2, 1) (3, 1) (4, 1) (5, 1) (6, 1) (7, 1) (8, 1)
                    (1, 2) (2, 2) (3, 2) (4, 2) (5, 2) (6, 2) (7, 2) (8, 2)
                    (1, 3) (2, 3) (3, 3) (4, 3) (5, 3) (6, 3) (7, 3) (8, 3)
                },
            }
        }
        }
    };
}

kernels!(double, f64, [f64; 4], x86::__m256d, x86::__m512d);
kernels!(single, f32, [f32; 8], x86::__m256, x86::__m512);

/// A vector register.
#[allow(unsafe_code)]
trait Vector: Copy {
    type Element: Real;
    /// A vector of half the elements where parts can be read; else the same.
    type Half: Vector<Element = Self::Element>;
    const LANES: usize;
    /// Whether parts can be read and written.
    const MASKS: bool;
    /// The same number in every lane.
    ///
    /// # Safety
    /// The processor has the instructions of the type; so for all methods.
    unsafe fn splat(value: Self::Element) -> Self;
    /// # Safety
    /// `LANES` elements can be read.
    unsafe fn load(from: *const Self::Element) -> Self;
    /// # Safety
    /// `LANES` elements can be written.
    unsafe fn store(self, to: *mut Self::Element);
    /// The first elements, and zeros for the others.
    ///
    /// # Safety
    /// So many elements can be read; so many are in the vector; the processor has masks.
    unsafe fn load_part(from: *const Self::Element, count: usize) -> Self;
    /// # Safety
    /// So many elements can be written; so many are in the vector; the processor has masks.
    unsafe fn store_part(self, to: *mut Self::Element, count: usize);
    /// `self + a b`
    ///
    /// # Safety
    /// As for `splat`.
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
    /// # Safety
    /// As for `splat`.
    unsafe fn add(self, other: Self) -> Self;
    /// The sum of its elements.
    ///
    /// # Safety
    /// As for `splat`.
    unsafe fn sum(self) -> Self::Element;
}

/// See [`Kernel`].
///
/// # Safety
/// The processor has the instructions of `V`; `a` has `ROWS x depth` elements at its distances, `b` `depth` rows, at
/// `places` if `PLACED`, `start` `ROWS` numbers, unless it is null, and `c` `ROWS` rows of `(VECTORS - 1) * LANES + edge` elements. Without masks the edge is a whole
/// vector; if `HALF` it is at most half of one, and there are masks.
#[inline(always)]
#[allow(unsafe_code, clippy::too_many_arguments, clippy::needless_range_loop)]
unsafe fn tile<V: Vector, const ROWS: usize, const VECTORS: usize, const PLACED: bool, const HALF: bool>(
    depth: usize,
    a: *const V::Element,
    row: usize,
    column: usize,
    b: *const V::Element,
    ldb: usize,
    places: *const usize,
    start: *const V::Element,
    c: *mut V::Element,
    ldc: usize,
    edge: usize,
    add: bool,
) {
    // SAFETY: all reads and writes are within what the caller promises.
    unsafe {
        let last = (VECTORS - 1) * V::LANES;
        let mut sums = [[V::splat(V::Element::ZERO); VECTORS]; ROWS];
        let mut halves = [V::Half::splat(V::Element::ZERO); ROWS];
        if !start.is_null() {
            for i in 0..ROWS {
                sums[i] = [V::splat(*start.add(i)); VECTORS];
                halves[i] = V::Half::splat(*start.add(i));
            }
        }
        let (mut a, mut b) = (a, b);
        for p in 0..depth {
            let b_row = if PLACED { b.add(*places.add(p)) } else { b };
            let mut line = [V::splat(V::Element::ZERO); VECTORS];
            let mut half = V::Half::splat(V::Element::ZERO);
            for v in 0..VECTORS - 1 {
                line[v] = V::load(b_row.add(v * V::LANES));
            }
            if HALF {
                half = V::Half::load_part(b_row.add(last), edge);
            } else if V::MASKS {
                line[VECTORS - 1] = V::load_part(b_row.add(last), edge);
            } else {
                line[VECTORS - 1] = V::load(b_row.add(last));
            }
            for i in 0..ROWS {
                let x = V::splat(*a.add(i * row));
                for v in 0..VECTORS - usize::from(HALF) {
                    sums[i][v] = sums[i][v].add_product(x, line[v]);
                }
                if HALF {
                    halves[i] = halves[i].add_product(V::Half::splat(*a.add(i * row)), half);
                }
            }
            // The last step may leave the array, which a pointer that is not read may do when it wraps.
            a = a.wrapping_add(column);
            b = b.wrapping_add(ldb);
        }
        for i in 0..ROWS {
            let masked = usize::from(HALF || V::MASKS);
            for v in 0..VECTORS - masked {
                let c = c.add(i * ldc + v * V::LANES);
                let sum = if add { sums[i][v].add(V::load(c)) } else { sums[i][v] };
                sum.store(c);
            }
            let c = c.add(i * ldc + last);
            if HALF {
                let sum = if add { halves[i].add(V::Half::load_part(c, edge)) } else { halves[i] };
                sum.store_part(c, edge);
            } else if V::MASKS {
                let sum = sums[i][VECTORS - 1];
                let sum = if add { sum.add(V::load_part(c, edge)) } else { sum };
                sum.store_part(c, edge);
            }
        }
    }
}

/// See [`Line`].
///
/// # Safety
/// The processor has the instructions of `V`, and masks; `x` has `depth` elements at their distance, `b` as many rows of
/// `(VECTORS - 1) * LANES + edge` elements, as `c` has and `start`, unless it is null; it may be `c`. If `HALF`, the edge is
/// at most half a vector.
#[inline(always)]
#[allow(unsafe_code, clippy::too_many_arguments, clippy::needless_range_loop)]
unsafe fn line<V: Vector, const VECTORS: usize, const SPLIT: usize, const HALF: bool>(
    depth: usize,
    x: *const V::Element,
    column: usize,
    b: *const V::Element,
    ldb: usize,
    start: *const V::Element,
    c: *mut V::Element,
    edge: usize,
) {
    // SAFETY: all reads and writes are within what the caller promises.
    unsafe {
        let last = (VECTORS - 1) * V::LANES;
        let mut sums = [[V::splat(V::Element::ZERO); VECTORS]; SPLIT];
        let mut halves = [V::Half::splat(V::Element::ZERO); SPLIT];
        if !start.is_null() {
            for v in 0..VECTORS - 1 {
                sums[0][v] = V::load(start.add(v * V::LANES));
            }
            if HALF {
                halves[0] = V::Half::load_part(start.add(last), edge);
            } else {
                sums[0][VECTORS - 1] = V::load_part(start.add(last), edge);
            }
        }
        let (mut x, mut b) = (x, b);
        let mut left = depth;
        while left > 0 {
            let together = if left >= SPLIT { SPLIT } else { 1 };
            for s in 0..SPLIT {
                if s > 0 && together == 1 {
                    break;
                }
                let factor = V::splat(*x);
                for v in 0..VECTORS - 1 {
                    sums[s][v] = sums[s][v].add_product(factor, V::load(b.add(v * V::LANES)));
                }
                if HALF {
                    let factor = V::Half::splat(*x);
                    halves[s] = halves[s].add_product(factor, V::Half::load_part(b.add(last), edge));
                } else {
                    let line = V::load_part(b.add(last), edge);
                    sums[s][VECTORS - 1] = sums[s][VECTORS - 1].add_product(factor, line);
                }
                // The last step may leave the array, which a pointer that is not read may do when it wraps.
                x = x.wrapping_add(column);
                b = b.wrapping_add(ldb);
            }
            left -= together;
        }
        for v in 0..VECTORS - 1 {
            let mut sum = sums[0][v];
            for s in 1..SPLIT {
                sum = sum.add(sums[s][v]);
            }
            sum.store(c.add(v * V::LANES));
        }
        if HALF {
            let mut sum = halves[0];
            for s in 1..SPLIT {
                sum = sum.add(halves[s]);
            }
            sum.store_part(c.add(last), edge);
        } else {
            let mut sum = sums[0][VECTORS - 1];
            for s in 1..SPLIT {
                sum = sum.add(sums[s][VECTORS - 1]);
            }
            sum.store_part(c.add(last), edge);
        }
    }
}

/// See [`Dots`].
///
/// # Safety
/// The processor has the instructions of `V`; `a` has `ROWS` rows of `width` elements, as many as `x` has, and `y` has
/// `ROWS` elements.
#[inline(always)]
#[allow(unsafe_code, clippy::needless_range_loop)]
unsafe fn dots<V: Vector, const ROWS: usize>(
    width: usize,
    a: *const V::Element,
    lda: usize,
    x: *const V::Element,
    y: *mut V::Element,
) {
    // SAFETY: all reads and writes are within what the caller promises.
    unsafe {
        // Two sums for each row, since an addition takes longer than the next begins.
        let mut sums = [[V::splat(V::Element::ZERO); 2]; ROWS];
        let mut p = 0;
        while p + 2 * V::LANES <= width {
            for k in 0..2 {
                let at = p + k * V::LANES;
                let line = V::load(x.add(at));
                for i in 0..ROWS {
                    sums[i][k] = sums[i][k].add_product(V::load(a.add(i * lda + at)), line);
                }
            }
            p += 2 * V::LANES;
        }
        if p + V::LANES <= width {
            let line = V::load(x.add(p));
            for i in 0..ROWS {
                sums[i][0] = sums[i][0].add_product(V::load(a.add(i * lda + p)), line);
            }
            p += V::LANES;
        }
        if V::MASKS && p < width {
            let line = V::load_part(x.add(p), width - p);
            for i in 0..ROWS {
                sums[i][1] = sums[i][1].add_product(V::load_part(a.add(i * lda + p), width - p), line);
            }
            p = width;
        }
        for i in 0..ROWS {
            let mut sum = sums[i][0].add(sums[i][1]).sum();
            for p in p..width {
                sum += *a.add(i * lda + p) * *x.add(p);
            }
            *y.add(i) = sum;
        }
    }
}

/// For processors about which nothing is known: arrays that the compiler puts into whatever registers there are.
#[allow(unsafe_code)]
impl<T: Real, const N: usize> Vector for [T; N] {
    type Element = T;
    type Half = Self;
    const LANES: usize = N;
    const MASKS: bool = false;

    #[inline(always)]
    unsafe fn splat(value: T) -> Self {
        [value; N]
    }

    #[inline(always)]
    unsafe fn load(from: *const T) -> Self {
        // SAFETY: the caller's promise; an array has its element's alignment.
        unsafe { from.cast::<Self>().read() }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut T) {
        // SAFETY: as for `load`.
        unsafe { to.cast::<Self>().write(self) }
    }

    #[inline(always)]
    unsafe fn load_part(from: *const T, count: usize) -> Self {
        // SAFETY: the caller's promise.
        std::array::from_fn(|l| if l < count { unsafe { *from.add(l) } } else { T::ZERO })
    }

    #[inline(always)]
    unsafe fn store_part(self, to: *mut T, count: usize) {
        for (l, &value) in self.iter().enumerate().take(count) {
            // SAFETY: the caller's promise.
            unsafe { *to.add(l) = value };
        }
    }

    #[inline(always)]
    unsafe fn add_product(mut self, a: Self, b: Self) -> Self {
        for l in 0..N {
            self[l] = a[l].madd::<{ cfg!(target_arch = "aarch64") }>(b[l], self[l]);
        }
        self
    }

    #[inline(always)]
    unsafe fn add(mut self, other: Self) -> Self {
        for l in 0..N {
            self[l] += other[l];
        }
        self
    }

    #[inline(always)]
    unsafe fn sum(self) -> T {
        self.into_iter().sum()
    }
}

#[cfg(target_arch = "x86_64")]
use x86::{dots_v3, dots_v4, line_v4, tile_v3, tile_v4};

/// The vector registers of x86-64.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod x86 {
    use std::arch::x86_64::*;
    pub(super) use std::arch::x86_64::{__m256, __m256d, __m512, __m512d};

    use super::{Vector, dots, line, tile};

    macro_rules! vector {
        (
            $vector:ty, $t:ty, $half:ty, $masks:literal, $mask:ty, $splat:ident, $load:ident, $store:ident,
            $load_part:ident, $store_part:ident, $fma:ident, $add:ident, |$sum:ident| $reduce:expr
        ) => {
            impl Vector for $vector {
                type Element = $t;
                type Half = $half;
                const LANES: usize = size_of::<$vector>() / size_of::<$t>();
                const MASKS: bool = $masks;

                #[inline(always)]
                unsafe fn splat(value: $t) -> Self {
                    // SAFETY: the instruction asks what the method does.
                    unsafe { $splat(value) }
                }

                #[inline(always)]
                unsafe fn load(from: *const $t) -> Self {
                    // SAFETY: the instruction asks what the method does.
                    unsafe { $load(from) }
                }

                #[inline(always)]
                unsafe fn store(self, to: *mut $t) {
                    // SAFETY: the instruction asks what the method does.
                    unsafe { $store(to, self) }
                }

                #[inline(always)]
                unsafe fn load_part(from: *const $t, count: usize) -> Self {
                    // SAFETY: the instruction asks what the method does.
                    unsafe { $load_part(((1u32 << count) - 1) as $mask, from) }
                }

                #[inline(always)]
                unsafe fn store_part(self, to: *mut $t, count: usize) {
                    // SAFETY: the instruction asks what the method does.
                    unsafe { $store_part(to, ((1u32 << count) - 1) as $mask, self) }
                }

                #[inline(always)]
                unsafe fn add_product(self, a: Self, b: Self) -> Self {
                    // SAFETY: the instruction asks what the method does.
                    unsafe { $fma(a, b, self) }
                }

                #[inline(always)]
                unsafe fn sum(self) -> $t {
                    let $sum = self;
                    // SAFETY: the instruction asks what the method does; a vector is as many numbers.
                    unsafe { $reduce }
                }

                #[inline(always)]
                unsafe fn add(self, other: Self) -> Self {
                    // SAFETY: the instruction asks what the method does.
                    unsafe { $add(self, other) }
                }
            }
        };
    }

    vector! {
        __m256d, f64, __m256d, false, __mmask8, _mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd,
        _mm256_maskz_loadu_pd, _mm256_mask_storeu_pd, _mm256_fmadd_pd, _mm256_add_pd, |v| std::mem::transmute::<__m256d, [f64; 4]>(v).into_iter().sum()
    }
    vector! {
        __m256, f32, __m256, false, __mmask8, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps,
        _mm256_maskz_loadu_ps, _mm256_mask_storeu_ps, _mm256_fmadd_ps, _mm256_add_ps, |v| std::mem::transmute::<__m256, [f32; 8]>(v).into_iter().sum()
    }
    vector! {
        __m512d, f64, __m256d, true, __mmask8, _mm512_set1_pd, _mm512_loadu_pd, _mm512_storeu_pd,
        _mm512_maskz_loadu_pd, _mm512_mask_storeu_pd, _mm512_fmadd_pd, _mm512_add_pd, |v| _mm512_reduce_add_pd(v)
    }
    vector! {
        __m512, f32, __m256, true, __mmask16, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps,
        _mm512_maskz_loadu_ps, _mm512_mask_storeu_ps, _mm512_fmadd_ps, _mm512_add_ps, |v| _mm512_reduce_add_ps(v)
    }

    macro_rules! version {
        ($name:ident, $dots:ident, $features:literal) => {
            /// [`tile`] compiled for these instructions.
            ///
            /// # Safety
            /// As for [`tile`].
            #[target_feature(enable = $features)]
            #[allow(clippy::too_many_arguments)]
            pub(super) unsafe fn $name<
                V: Vector,
                const ROWS: usize,
                const VECTORS: usize,
                const PLACED: bool,
                const HALF: bool,
            >(
                depth: usize,
                a: *const V::Element,
                row: usize,
                column: usize,
                b: *const V::Element,
                ldb: usize,
                places: *const usize,
                start: *const V::Element,
                c: *mut V::Element,
                ldc: usize,
                edge: usize,
                add: bool,
            ) {
                // SAFETY: the caller's promise is passed on.
                unsafe {
                    tile::<V, ROWS, VECTORS, PLACED, HALF>(
                        depth, a, row, column, b, ldb, places, start, c, ldc, edge, add,
                    )
                }
            }

            /// [`dots`] compiled for these instructions.
            ///
            /// # Safety
            /// As for [`dots`].
            #[target_feature(enable = $features)]
            pub(super) unsafe fn $dots<V: Vector, const ROWS: usize>(
                width: usize,
                a: *const V::Element,
                lda: usize,
                x: *const V::Element,
                y: *mut V::Element,
            ) {
                // SAFETY: the caller's promise is passed on.
                unsafe { dots::<V, ROWS>(width, a, lda, x, y) }
            }
        };
    }

    /// [`line`] compiled for the instructions that have masks.
    ///
    /// # Safety
    /// As for [`line`].
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
    #[allow(clippy::too_many_arguments)]
    pub(super) unsafe fn line_v4<V: Vector, const VECTORS: usize, const SPLIT: usize, const HALF: bool>(
        depth: usize,
        x: *const V::Element,
        column: usize,
        b: *const V::Element,
        ldb: usize,
        start: *const V::Element,
        c: *mut V::Element,
        edge: usize,
    ) {
        // SAFETY: the caller's promise is passed on.
        unsafe { line::<V, VECTORS, SPLIT, HALF>(depth, x, column, b, ldb, start, c, edge) }
    }

    version!(tile_v3, dots_v3, "avx2,fma");
    version!(tile_v4, dots_v4, "avx512f,avx512bw,avx512dq,avx512vl,fma");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Real>(level: Level) {
        let registers = Registers::<T>::at(level);
        let number = |i: usize| T::from_f64((i * 37 % 19) as f64 - 9.0);
        for rows in 1..=registers.rows {
            for vectors in 1..=registers.vectors(rows) {
                let (depth, full) = (5, vectors * registers.lanes);
                let places: Vec<usize> = (0..depth).map(|p| p * full).collect();
                let widths = full + 1 - registers.lanes..=full;
                let starts: Vec<T> = (0..rows).map(|i| number(i + 11)).collect();
                let all = [Start::Zero, Start::Own, Start::These(&starts)];
                for (width, start) in widths.flat_map(|width| all.map(|start| (width, start))) {
                    let a: Vec<T> = (0..rows * depth).map(number).collect();
                    let b: Vec<T> = (0..depth * full).map(|i| number(i + 7)).collect();
                    let mut c = vec![T::ONE; rows * full];
                    let tile = Tile { rows, vectors, depth, width };
                    let (a_rows, whole) = (Left::rows(&a, depth), &mut [T::ZERO; TILE]);
                    let at = if rows % 2 == 0 { Rows::Every(full) } else { Rows::At(Places::new(&places)) };
                    registers.multiply(tile, a_rows, &b, at, &mut c, full, start, whole);
                    for i in 0..rows {
                        for j in 0..full {
                            let sum: T = (0..depth).map(|p| a[i * depth + p] * b[p * full + j]).sum();
                            let expected = match start {
                                _ if j >= width => T::ONE,
                                Start::Zero => sum,
                                Start::Own => sum + T::ONE,
                                Start::These(starts) => sum + starts[i],
                            };
                            assert_eq!(c[i * full + j], expected, "{level:?} {rows} {vectors} {width}");
                        }
                    }
                }
            }
        }
    }

    fn check_lines<T: Real>(level: Level) {
        let registers = Registers::<T>::at(level);
        let number = |i: usize| T::from_f64((i * 37 % 19) as f64 - 9.0);
        for (depth, n) in [0, 1, 2, 3, 4, 7, 50].into_iter().flat_map(|depth| (0..150).map(move |n| (depth, n))) {
            if !registers.masks {
                continue;
            }
            let (ldb, column) = (n + 3, 2);
            let x: Vec<T> = (0..depth * column).map(number).collect();
            let b: Vec<T> = (0..depth * ldb).map(|i| number(i + 5)).collect();
            let bias: Vec<T> = (0..n).map(|i| number(i + 11)).collect();
            for start in [Start::Zero, Start::Own, Start::These(&bias)] {
                let mut c = vec![T::ONE; n];
                registers.multiply_line(depth, &x, column, &b, ldb, start, &mut c);
                for (j, &c) in c.iter().enumerate() {
                    let sum: T = (0..depth).map(|p| x[p * column] * b[p * ldb + j]).sum();
                    let start = match start {
                        Start::Zero => T::ZERO,
                        Start::Own => T::ONE,
                        Start::These(bias) => bias[j],
                    };
                    assert_eq!(c, sum + start, "{level:?} {depth} {n}");
                }
            }
        }
    }

    fn check_rows<T: Real>(level: Level) {
        let registers = Registers::<T>::at(level);
        let number = |i: usize| T::from_f64((i * 37 % 19) as f64 - 9.0);
        for (rows, width) in (0..6).flat_map(|rows| (0..70).map(move |width| (rows, width))) {
            let a: Vec<T> = (0..rows * width).map(number).collect();
            let x: Vec<T> = (0..width).map(|i| number(i + 7)).collect();
            let mut y = vec![T::ONE; rows];
            registers.multiply_rows(&a, &x, &mut y);
            for (i, &y) in y.iter().enumerate() {
                let sum: T = (0..width).map(|p| a[i * width + p] * x[p]).sum();
                assert_eq!(y, sum, "{level:?} {rows} {width}");
            }
        }
    }

    #[test]
    fn tiles_are_products_at_every_level() {
        let mut levels = vec![Level::Baseline];
        #[cfg(target_arch = "x86_64")]
        {
            levels.extend((simd::level() != Level::Baseline).then_some(Level::V3));
            levels.extend((simd::level() == Level::V4).then_some(Level::V4));
        }
        for level in levels {
            check::<f64>(level);
            check::<f32>(level);
            check_lines::<f64>(level);
            check_lines::<f32>(level);
            check_rows::<f64>(level);
            check_rows::<f32>(level);
        }
    }
}
