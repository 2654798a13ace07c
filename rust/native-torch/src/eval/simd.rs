//! Compiles a loop three times and picks the widest version that the processor has when it is called.

use std::sync::atomic::{AtomicU8, Ordering};

/// The instruction sets that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Level {
    /// What every processor of the architecture has.
    Baseline = 1,
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    V3 = 2,
    /// AVX-512.
    #[cfg(target_arch = "x86_64")]
    V4 = 3,
}

/// What this processor has.
#[inline]
pub(super) fn level() -> Level {
    // Found once; small products ask often.
    static FOUND: AtomicU8 = AtomicU8::new(0);
    match FOUND.load(Ordering::Relaxed) {
        0 => {
            let found = detect();
            FOUND.store(found as u8, Ordering::Relaxed);
            found
        }
        #[cfg(target_arch = "x86_64")]
        3 => Level::V4,
        #[cfg(target_arch = "x86_64")]
        2 => Level::V3,
        _ => Level::Baseline,
    }
}

#[cold]
fn detect() -> Level {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("fma")
        {
            return Level::V4;
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return Level::V3;
        }
    }
    Level::Baseline
}

/// Defines a function over `T: Real` whose body is compiled for each [`Level`]. Inside, the constant `FMA` says
/// whether a fused multiply-add is an instruction; pass it on to the functions of `Real` that take it. The body should be
/// small: what the compiler does not inline is compiled for the baseline.
macro_rules! multiversion {
    ($(#[$meta:meta])* $vis:vis fn $name:ident<T: Real $(, $extra:ident: $bound:path)?>($($arg:ident: $ty:ty),* $(,)?) $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name<T: Real $(, $extra: $bound)?>($($arg: $ty),*) {
            #[inline(always)]
            fn body<T: Real, $($extra: $bound,)? const FMA: bool>($($arg: $ty),*) $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn v3<T: Real $(, $extra: $bound)?>($($arg: $ty),*) {
                body::<T, $($extra,)? true>($($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
            fn v4<T: Real $(, $extra: $bound)?>($($arg: $ty),*) {
                body::<T, $($extra,)? true>($($arg),*)
            }
            #[allow(unsafe_code)]
            match $crate::eval::simd::level() {
                $crate::eval::simd::Level::Baseline => body::<T, $($extra,)? { cfg!(target_arch = "aarch64") }>($($arg),*),
                // SAFETY: `level` found the features that the version was compiled with.
                #[cfg(target_arch = "x86_64")]
                $crate::eval::simd::Level::V3 => unsafe { v3::<T $(, $extra)?>($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::eval::simd::Level::V4 => unsafe { v4::<T $(, $extra)?>($($arg),*) },
            }
        }
    };
}

pub(super) use multiversion;
