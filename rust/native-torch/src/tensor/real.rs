//! The two floating-point types that the engine computes in, and their elementary functions.
//!
//! The functions are free of branches, so that loops over them become vector code. Errors are a few units in the last
//! place. `FMA` says whether a fused multiply-add is an instruction.

use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

use super::Element;

/// `f64` or `f32`.
pub trait Real:
    Element
    + PartialOrd
    + Default
    + std::fmt::Debug
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + std::iter::Sum
{
    /// 0
    const ZERO: Self;
    /// 1
    const ONE: Self;
    /// -inf
    const NEG_INFINITY: Self;

    /// The value in double precision.
    fn to_f64(self) -> f64;
    /// The absolute value.
    fn abs(self) -> Self;
    /// The square root.
    fn sqrt(self) -> Self;
    /// `self a + b`, fused if `FMA`.
    fn madd<const FMA: bool>(self, a: Self, b: Self) -> Self;
    /// `exp(self)`.
    fn exp<const FMA: bool>(self) -> Self;
    /// The hyperbolic tangent.
    fn tanh<const FMA: bool>(self) -> Self;
    /// `log(1 + self)`; not vectorised.
    fn ln_1p(self) -> Self;
    /// The error function; not vectorised.
    fn erf(self) -> Self;

    /// `1 / (1 + exp(-self))`.
    #[inline(always)]
    fn sigmoid<const FMA: bool>(self) -> Self {
        Self::ONE / (Self::ONE + (-self).exp::<FMA>())
    }
}

macro_rules! real {
    (
        $t:ident, $bits:ident, mantissa: $mantissa:expr, bias: $bias:expr, ln2: ($hi:expr, $lo:expr),
        exp: ($min:expr, $max:expr), tanh_max: $tanh_max:expr, erf: $erf:path, ln_1p: $ln_1p:path,
        expm1: [$($coefficient:expr),*]
    ) => {
        impl Real for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const NEG_INFINITY: Self = $t::NEG_INFINITY;

            #[inline(always)]
            fn to_f64(self) -> f64 {
                self.into()
            }

            #[inline(always)]
            fn abs(self) -> Self {
                $t::abs(self)
            }

            #[inline(always)]
            fn sqrt(self) -> Self {
                $t::sqrt(self)
            }

            #[inline(always)]
            fn madd<const FMA: bool>(self, a: Self, b: Self) -> Self {
                if FMA { self.mul_add(a, b) } else { self * a + b }
            }

            #[inline(always)]
            fn exp<const FMA: bool>(self) -> Self {
                // The comparisons are false for NaN, which so passes through.
                let x = if self > $max { $max } else { self };
                let x = if x < $min { $min } else { x };
                let (k, p) = reduce::$t::<FMA>(x);
                // Two factors, since 2^k alone may be subnormal or infinite.
                let (half, first) = reduce::power::$t(k * 0.5);
                let (_, second) = reduce::power::$t(k - half);
                (p + 1.0) * first * second
            }

            #[inline(always)]
            fn tanh<const FMA: bool>(self) -> Self {
                let z = 2.0 * $t::abs(self);
                let z = if z > $tanh_max { $tanh_max } else { z };
                let (k, p) = reduce::$t::<FMA>(z);
                let (_, scale) = reduce::power::$t(k);
                let expm1 = scale.madd::<FMA>(p, scale - 1.0);
                (expm1 / (expm1 + 2.0)).copysign(self)
            }

            #[inline(always)]
            fn ln_1p(self) -> Self {
                $ln_1p(self)
            }

            #[inline(always)]
            fn erf(self) -> Self {
                $erf(self)
            }
        }

        impl reduce::Constants for $t {
            type Bits = $bits;
            const LN2_HI: Self = $hi;
            const LN2_LO: Self = $lo;
            /// Adding it rounds to an integer, which then stands in the lowest bits.
            const ROUND: Self = 1.5 * (1u64 << $mantissa) as $t;
            const MANTISSA: u32 = $mantissa;
            const BIAS: $bits = $bias;
            const EXPM1: &'static [Self] = &[$($coefficient),*];
        }
    };
}

/// `exp(x) = 2^k (1 + p)` with `|x - k ln 2| <= ln 2 / 2`.
mod reduce {
    use super::Real;

    pub(super) trait Constants: Sized + 'static {
        type Bits;
        const LN2_HI: Self;
        const LN2_LO: Self;
        const ROUND: Self;
        const MANTISSA: u32;
        const BIAS: Self::Bits;
        const EXPM1: &'static [Self];
    }

    macro_rules! reduction {
        ($t:ident) => {
            /// `k` and `p`.
            #[inline(always)]
            pub(super) fn $t<const FMA: bool>(x: $t) -> ($t, $t) {
                type C = $t;
                let k = x.madd::<FMA>(std::$t::consts::LOG2_E, C::ROUND) - C::ROUND;
                let r = (-k).madd::<FMA>(C::LN2_LO, (-k).madd::<FMA>(C::LN2_HI, x));
                // Taylor series of (exp(r) - 1 - r) / r^2; the last term is below the rounding error.
                let mut q = C::EXPM1[0];
                for &c in &C::EXPM1[1..] {
                    q = q.madd::<FMA>(r, c);
                }
                (k, (r * r).madd::<FMA>(q, r))
            }
        };
    }
    reduction!(f64);
    reduction!(f32);

    pub(super) mod power {
        use super::Constants;
        macro_rules! power {
            ($t:ident) => {
                /// The integer next to `k`, and 2 to its power, within the exponents of normal numbers.
                #[inline(always)]
                pub(in super::super) fn $t(k: $t) -> ($t, $t) {
                    type C = $t;
                    let shifted = k + C::ROUND;
                    let bits = shifted.to_bits().wrapping_add(C::BIAS) << C::MANTISSA;
                    (shifted - C::ROUND, $t::from_bits(bits))
                }
            };
        }
        power!(f64);
        power!(f32);
    }
}

real!(
    f64, u64, mantissa: 52, bias: 1023,
    // The high part has its last 11 bits clear, so that its product with k is exact.
    ln2: (6.931_471_803_691_238e-1, 1.908_214_929_270_587_7e-10),
    exp: (-760.0, 760.0), tanh_max: 44.0, erf: libm::erf, ln_1p: libm::log1p,
    expm1: [
        1.0 / 6_227_020_800.0, 1.0 / 479_001_600.0, 1.0 / 39_916_800.0, 1.0 / 3_628_800.0, 1.0 / 362_880.0,
        1.0 / 40_320.0, 1.0 / 5_040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5
    ]
);
real!(
    f32, u32, mantissa: 23, bias: 127,
    ln2: (0.693_359_4, -2.121_944_4e-4),
    exp: (-120.0, 120.0), tanh_max: 22.0, erf: libm::erff, ln_1p: libm::log1pf,
    expm1: [1.0 / 5_040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5]
);

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> impl Iterator<Item = f64> {
        (-4000..4000).map(|i| f64::from(i) * 0.013 + 1e-7).chain((-300..9).map(|e| 10f64.powi(e)))
    }

    fn close(a: f64, b: f64, ulps: f64, epsilon: f64) -> bool {
        a == b || (a - b).abs() <= ulps * epsilon * b.abs()
    }

    #[test]
    fn functions_agree_with_libm() {
        for x in samples().flat_map(|x| [x, -x]) {
            for (ours, theirs) in [(Real::tanh::<true>(x), x.tanh()), (Real::exp::<true>(x), x.exp())] {
                // Subnormal results have fewer bits.
                assert!(close(ours, theirs, 4.0, f64::EPSILON) || theirs.abs() < 1e-305, "{x}: {ours} {theirs}");
            }
            let x = x as f32;
            for (ours, theirs) in [(Real::tanh::<false>(x), x.tanh()), (Real::exp::<false>(x), x.exp())] {
                let (ours, theirs) = (f64::from(ours), f64::from(theirs));
                assert!(close(ours, theirs, 6.0, f64::from(f32::EPSILON)) || theirs < 1e-36, "{x}: {ours} {theirs}");
            }
        }
    }

    #[test]
    fn special_values_are_kept() {
        assert_eq!(Real::tanh::<true>(f64::INFINITY), 1.0);
        assert_eq!(Real::tanh::<true>(f64::NEG_INFINITY), -1.0);
        assert!(Real::tanh::<true>(f64::NAN).is_nan());
        assert!(Real::tanh::<true>(-0.0f64).is_sign_negative());
        assert_eq!(Real::exp::<true>(f64::INFINITY), f64::INFINITY);
        assert_eq!(Real::exp::<true>(f64::NEG_INFINITY), 0.0);
        assert!(Real::exp::<true>(f64::NAN).is_nan());
        assert_eq!(Real::exp::<true>(0.0f64), 1.0);
        assert_eq!(Real::exp::<true>(f32::NEG_INFINITY), 0.0);
        assert_eq!(Real::exp::<true>(f32::INFINITY), f32::INFINITY);
        assert_eq!(Real::sigmoid::<true>(-1000.0f64), 0.0);
        assert!(Real::exp::<true>(-744.0f64) > 0.0);
    }
}
