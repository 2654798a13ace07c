//! The innermost product: a tile of C that stays in the processor's registers while it is added up.
//!
//! Written with the processor's vector instructions, since compilers turn plain loops over so many sums into good code
//! only now and then.

use std::{any::TypeId, mem::transmute_copy};

use super::{
    matmul::{Left, Write},
    simd::{self, Level},
};
use crate::tensor::Real;

/// Elements in the widest tile: three vectors of 64 bytes in `f32`.
pub(super) const WIDTH: usize = 48;
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
    element: std::marker::PhantomData<T>,
}

/// Where the rows of `B` stand.
#[derive(Clone, Copy)]
pub(super) enum Rows<'a> {
    /// One after another at this distance.
    Every(usize),
    /// Each at its own place.
    At(&'a [usize]),
}

/// `c (+)= a b`: depth, `a` with its distances, `b` with its row's or with the place of each, `c` with its row's, and
/// whether to add.
type Kernel<T> = unsafe fn(usize, *const T, usize, usize, *const T, usize, *const usize, *mut T, usize, bool);

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
        Self { level, rows, vectors, lanes: bytes / size_of::<T>(), element: std::marker::PhantomData }
    }

    /// Multiplies one tile. `a`, `b` and `c` start at the tile; `b` has all elements of the vectors in each row. A tile
    /// that is wider than its part of `c` is first written to `whole`, which has room for [`TILE`] elements.
    #[allow(unsafe_code, clippy::too_many_arguments)]
    pub fn multiply(
        &self,
        tile: Tile,
        a: Left<T>,
        b: &[T],
        at: Rows,
        c: &mut [T],
        ldc: usize,
        write: Write,
        whole: &mut [T],
    ) {
        let Tile { rows, vectors, depth, width } = tile;
        let full = vectors * self.lanes;
        assert!(a.data.len() > (rows - 1) * a.row + (depth - 1) * a.column);
        let (last, ldb, places) = match at {
            Rows::Every(ldb) => ((depth - 1) * ldb, ldb, std::ptr::null()),
            Rows::At(places) => (places[..depth].iter().copied().max().unwrap_or(0), 0, places.as_ptr()),
        };
        assert!(b.len() >= last + full);
        assert!(c.len() >= (rows - 1) * ldc + width && width <= full);
        assert!(whole.len() >= rows * full);
        let kernel = self.kernel(rows, vectors, !places.is_null());
        if width == full {
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
                    c.as_mut_ptr(),
                    ldc,
                    write == Write::Add,
                )
            };
            return;
        }
        // SAFETY: as above.
        unsafe {
            kernel(depth, a.data.as_ptr(), a.row, a.column, b.as_ptr(), ldb, places, whole.as_mut_ptr(), full, false);
        }
        for (i, line) in whole.chunks_exact(full).take(rows).enumerate() {
            let c = &mut c[i * ldc..i * ldc + width];
            match write {
                Write::Set => c.copy_from_slice(&line[..width]),
                Write::Add => c.iter_mut().zip(line).for_each(|(c, v)| *c += *v),
            }
        }
    }

    #[allow(unsafe_code)]
    fn kernel(&self, rows: usize, vectors: usize, placed: bool) -> Kernel<T> {
        if TypeId::of::<T>() == TypeId::of::<f64>() {
            // SAFETY: T is f64, so that both are the same type.
            unsafe { transmute_copy(&double(self.level, rows, vectors, placed)) }
        } else {
            assert!(TypeId::of::<T>() == TypeId::of::<f32>(), "f64 and f32 are the only real types");
            // SAFETY: T is f32, so that both are the same type.
            unsafe { transmute_copy(&single(self.level, rows, vectors, placed)) }
        }
    }
}

macro_rules! choose {
    ($size:expr, $function:ident, $vector:ty: $(($rows:literal, $vectors:literal))*) => {
        match $size {
            $(
                ($rows, $vectors, false) => $function::<$vector, $rows, $vectors, false>,
                ($rows, $vectors, true) => $function::<$vector, $rows, $vectors, true>,
            )*
            (rows, vectors, _) => unreachable!("a tile of {rows} rows and {vectors} vectors"),
        }
    };
}

macro_rules! kernels {
    ($name:ident, $t:ty, $portable:ty, $v3:ty, $v4:ty) => {
        fn $name(level: Level, rows: usize, vectors: usize, placed: bool) -> Kernel<$t> {
            let size = (rows, vectors, placed);
            match level {
                Level::Baseline => choose!(size, tile, $portable: (1, 1) (2, 1) (3, 1) (4, 1)),
                #[cfg(target_arch = "x86_64")]
                Level::V3 => choose! {
                    size, tile_v3, $v3:
                    (1, 1) (2, 1) (3, 1) (4, 1) (5, 1) (6, 1) (1, 2) (2, 2) (3, 2) (4, 2) (5, 2) (6, 2)
                },
                #[cfg(target_arch = "x86_64")]
                Level::V4 => choose! {
                    size, tile_v4, $v4:
                    (1, 1) (2, 1) (3, 1) (4, 1) (5, 1) (6, 1) (7, 1) (8, 1)
                    (1, 2) (2, 2) (3, 2) (4, 2) (5, 2) (6, 2) (7, 2) (8, 2)
                    (1, 3) (2, 3) (3, 3) (4, 3) (5, 3) (6, 3) (7, 3) (8, 3)
                },
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
    const LANES: usize;
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
    /// `self + a b`
    ///
    /// # Safety
    /// As for `splat`.
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
    /// # Safety
    /// As for `splat`.
    unsafe fn add(self, other: Self) -> Self;
}

/// See [`Kernel`].
///
/// # Safety
/// The processor has the instructions of `V`; `a` has `ROWS x depth` elements at its distances, `b` `depth` rows, at
/// `places` if `PLACED`, and `c` `ROWS` rows of `VECTORS * LANES` elements.
#[inline(always)]
#[allow(unsafe_code, clippy::too_many_arguments, clippy::needless_range_loop)]
unsafe fn tile<V: Vector, const ROWS: usize, const VECTORS: usize, const PLACED: bool>(
    depth: usize,
    a: *const V::Element,
    row: usize,
    column: usize,
    b: *const V::Element,
    ldb: usize,
    places: *const usize,
    c: *mut V::Element,
    ldc: usize,
    add: bool,
) {
    // SAFETY: all reads and writes are within what the caller promises.
    unsafe {
        let mut sums = [[V::splat(V::Element::ZERO); VECTORS]; ROWS];
        let (mut a, mut b) = (a, b);
        for p in 0..depth {
            let b_row = if PLACED { b.add(*places.add(p)) } else { b };
            let mut line = [V::splat(V::Element::ZERO); VECTORS];
            for v in 0..VECTORS {
                line[v] = V::load(b_row.add(v * V::LANES));
            }
            for i in 0..ROWS {
                let x = V::splat(*a.add(i * row));
                for v in 0..VECTORS {
                    sums[i][v] = sums[i][v].add_product(x, line[v]);
                }
            }
            // The last step may leave the array, which a pointer that is not read may do when it wraps.
            a = a.wrapping_add(column);
            b = b.wrapping_add(ldb);
        }
        for i in 0..ROWS {
            for v in 0..VECTORS {
                let c = c.add(i * ldc + v * V::LANES);
                let sum = if add { sums[i][v].add(V::load(c)) } else { sums[i][v] };
                sum.store(c);
            }
        }
    }
}

/// For processors about which nothing is known: arrays that the compiler puts into whatever registers there are.
#[allow(unsafe_code)]
impl<T: Real, const N: usize> Vector for [T; N] {
    type Element = T;
    const LANES: usize = N;

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
}

#[cfg(target_arch = "x86_64")]
use x86::{tile_v3, tile_v4};

/// The vector registers of x86-64.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod x86 {
    pub(super) use std::arch::x86_64::{__m256, __m256d, __m512, __m512d};
    use std::arch::x86_64::{
        _mm256_add_pd, _mm256_add_ps, _mm256_fmadd_pd, _mm256_fmadd_ps, _mm256_loadu_pd, _mm256_loadu_ps,
        _mm256_set1_pd, _mm256_set1_ps, _mm256_storeu_pd, _mm256_storeu_ps, _mm512_add_pd, _mm512_add_ps,
        _mm512_fmadd_pd, _mm512_fmadd_ps, _mm512_loadu_pd, _mm512_loadu_ps, _mm512_set1_pd, _mm512_set1_ps,
        _mm512_storeu_pd, _mm512_storeu_ps,
    };

    use super::{Vector, tile};

    macro_rules! vector {
        ($vector:ty, $t:ty, $splat:ident, $load:ident, $store:ident, $fma:ident, $add:ident) => {
            impl Vector for $vector {
                type Element = $t;
                const LANES: usize = size_of::<$vector>() / size_of::<$t>();

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
                unsafe fn add_product(self, a: Self, b: Self) -> Self {
                    // SAFETY: the instruction asks what the method does.
                    unsafe { $fma(a, b, self) }
                }

                #[inline(always)]
                unsafe fn add(self, other: Self) -> Self {
                    // SAFETY: the instruction asks what the method does.
                    unsafe { $add(self, other) }
                }
            }
        };
    }

    vector!(__m256d, f64, _mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_fmadd_pd, _mm256_add_pd);
    vector!(__m256, f32, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_fmadd_ps, _mm256_add_ps);
    vector!(__m512d, f64, _mm512_set1_pd, _mm512_loadu_pd, _mm512_storeu_pd, _mm512_fmadd_pd, _mm512_add_pd);
    vector!(__m512, f32, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_fmadd_ps, _mm512_add_ps);

    macro_rules! version {
        ($name:ident, $features:literal) => {
            /// [`tile`] compiled for these instructions.
            ///
            /// # Safety
            /// As for [`tile`].
            #[target_feature(enable = $features)]
            #[allow(clippy::too_many_arguments)]
            pub(super) unsafe fn $name<V: Vector, const ROWS: usize, const VECTORS: usize, const PLACED: bool>(
                depth: usize,
                a: *const V::Element,
                row: usize,
                column: usize,
                b: *const V::Element,
                ldb: usize,
                places: *const usize,
                c: *mut V::Element,
                ldc: usize,
                add: bool,
            ) {
                // SAFETY: the caller's promise is passed on.
                unsafe { tile::<V, ROWS, VECTORS, PLACED>(depth, a, row, column, b, ldb, places, c, ldc, add) }
            }
        };
    }

    version!(tile_v3, "avx2,fma");
    version!(tile_v4, "avx512f,avx512bw,avx512dq,avx512vl,fma");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Real>(level: Level) {
        let registers = Registers::<T>::at(level);
        let number = |i: usize| T::from_f64((i * 37 % 19) as f64 - 9.0);
        for rows in 1..=registers.rows {
            for vectors in 1..=registers.vectors {
                let (depth, full) = (5, vectors * registers.lanes);
                let places: Vec<usize> = (0..depth).map(|p| p * full).collect();
                for (width, write) in
                    [(full, Write::Set), (full, Write::Add), (full - 1, Write::Set), (full - 1, Write::Add)]
                {
                    let a: Vec<T> = (0..rows * depth).map(number).collect();
                    let b: Vec<T> = (0..depth * full).map(|i| number(i + 7)).collect();
                    let mut c = vec![T::ONE; rows * full];
                    let tile = Tile { rows, vectors, depth, width };
                    let (a_rows, whole) = (Left::rows(&a, depth), &mut [T::ZERO; TILE]);
                    let at = if rows % 2 == 0 { Rows::Every(full) } else { Rows::At(&places) };
                    registers.multiply(tile, a_rows, &b, at, &mut c, full, write, whole);
                    for i in 0..rows {
                        for j in 0..full {
                            let sum: T = (0..depth).map(|p| a[i * depth + p] * b[p * full + j]).sum();
                            let expected = match write {
                                _ if j >= width => T::ONE,
                                Write::Set => sum,
                                Write::Add => sum + T::ONE,
                            };
                            assert_eq!(c[i * full + j], expected, "{level:?} {rows} {vectors} {width}");
                        }
                    }
                }
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
        }
    }
}
