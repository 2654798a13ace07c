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
    /// The distance from 1 to the next number.
    const EPSILON: Self;

    /// The value in double precision.
    fn to_f64(self) -> f64;
    /// Whether this is no number.
    fn is_nan(self) -> bool;
    /// The absolute value.
    fn abs(self) -> Self;
    /// The square root.
    fn sqrt(self) -> Self;
    /// `self a + b`, fused if `FMA`.
    fn madd<const FMA: bool>(self, a: Self, b: Self) -> Self;
    /// `exp(self)`.
    fn exp<const FMA: bool>(self) -> Self;
    /// `exp(self) - 1`, to the last places near 0 as well.
    fn expm1<const FMA: bool>(self) -> Self;
    /// The hyperbolic tangent.
    fn tanh<const FMA: bool>(self) -> Self;
    /// The natural logarithm.
    fn ln<const FMA: bool>(self) -> Self;
    /// `log(1 + self)`, to the last places near 0 as well.
    fn ln_1p<const FMA: bool>(self) -> Self;
    /// `1 - erf(self)`, to a few hundred units in the last place far on the right, where it is tiny.
    fn erfc<const FMA: bool>(self) -> Self;
    /// This to a power; not vectorised.
    fn powf(self, exponent: Self) -> Self;

    /// `1 / (1 + exp(-self))`.
    #[inline(always)]
    fn sigmoid<const FMA: bool>(self) -> Self {
        Self::ONE / (Self::ONE + (-self).exp::<FMA>())
    }
}

macro_rules! real {
    (
        $t:ident, $bits:ident, mantissa: $mantissa:expr, bias: $bias:expr, ln2: ($hi:expr, $lo:expr),
        exp: ($min:expr, $max:expr), tanh_max: $tanh_max:expr,
        sqrt_half: $sqrt_half:expr, powf: $powf:path,
        expm1: [$($coefficient:expr),*], atanh: [$($atanh:expr),*],
        erfcx: ($erfcx_middle:expr, [$($erfcx:expr),*])
    ) => {
        impl Real for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const NEG_INFINITY: Self = $t::NEG_INFINITY;
            const EPSILON: Self = $t::EPSILON;

            #[inline(always)]
            fn to_f64(self) -> f64 {
                self.into()
            }

            #[inline(always)]
            fn is_nan(self) -> bool {
                $t::is_nan(self)
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
            fn expm1<const FMA: bool>(self) -> Self {
                let x = if self < -$tanh_max { -$tanh_max } else { self };
                let x = if x > $tanh_max { $tanh_max } else { x };
                let (k, p) = reduce::$t::<FMA>(x);
                let (_, scale) = reduce::power::$t(k);
                let near = scale.madd::<FMA>(p, scale - 1.0);
                if self > $tanh_max { Real::exp::<FMA>(self) } else { near }
            }

            #[inline(always)]
            fn ln<const FMA: bool>(self) -> Self {
                logarithm::$t::<FMA>(self, 0.0)
            }

            #[inline(always)]
            fn ln_1p<const FMA: bool>(self) -> Self {
                let sum = 1.0 + self;
                // What rounding the sum lost.
                logarithm::$t::<FMA>(sum, (self - (sum - 1.0)) / sum)
            }

            #[inline(always)]
            fn erfc<const FMA: bool>(self) -> Self {
                let z = $t::abs(self);
                let t = (z - $erfcx_middle) / (z + $erfcx_middle);
                const COEFFICIENTS: &[$t] = &[$($erfcx),*];
                let mut q = COEFFICIENTS[0];
                for &c in &COEFFICIENTS[1..] {
                    q = q.madd::<FMA>(t, c);
                }
                // Not NaN at infinity, where t is; the exponential is 0 from here on.
                let q = if z > 1e4 { 0.0 } else { q };
                let right = Real::exp::<FMA>(-z * z) * (q / (1.0 + 2.0 * z));
                if self < 0.0 { 2.0 - right } else { right }
            }

            #[inline(always)]
            fn powf(self, exponent: Self) -> Self {
                $powf(self, exponent)
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
            const SQRT_HALF: $bits = $sqrt_half;
            const EXPM1: &'static [Self] = &[$($coefficient),*];
            const ATANH: &'static [Self] = &[$($atanh),*];
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
        const SQRT_HALF: Self::Bits;
        const ATANH: &'static [Self];
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

/// `log(x) + correction`, with `x = 2^k m` and `m` between `sqrt(1/2)` and `sqrt(2)`.
mod logarithm {
    use super::{Real, reduce::Constants};

    macro_rules! logarithm {
        ($t:ident) => {
            #[inline(always)]
            pub(super) fn $t<const FMA: bool>(x: $t, correction: $t) -> $t {
                type C = $t;
                let tiny = x < $t::MIN_POSITIVE;
                let lifted = if tiny { x * (1u64 << C::MANTISSA) as $t } else { x };
                let one = C::BIAS << C::MANTISSA;
                let shifted = lifted.to_bits().wrapping_add(one - C::SQRT_HALF);
                let exponent = shifted >> C::MANTISSA;
                let mantissa = shifted & ((1 << C::MANTISSA) - 1);
                let m = $t::from_bits(mantissa + C::SQRT_HALF);
                // An integer in the lowest bits of a large number.
                let large = (1u64 << C::MANTISSA) as $t;
                let k = $t::from_bits(large.to_bits() | exponent) - (large + C::BIAS as $t);
                let k = if tiny { k - C::MANTISSA as $t } else { k };
                // log(1 + f) = f - f^2 / 2 + s (f^2 / 2 + r), where s = f / (2 + f) and s r is the rest of 2 atanh(s).
                let f = m - 1.0;
                let s = f / (2.0 + f);
                let z = s * s;
                let mut r = C::ATANH[0];
                for &c in &C::ATANH[1..] {
                    r = r.madd::<FMA>(z, c);
                }
                let half_square = 0.5 * f * f;
                let low = s.madd::<FMA>(half_square + r * z, k.madd::<FMA>(C::LN2_LO, correction));
                let log = k.madd::<FMA>(C::LN2_HI, f - (half_square - low));
                let log = if x == $t::INFINITY { x } else { log };
                let log = if x > 0.0 { log } else { $t::NAN };
                if x == 0.0 { $t::NEG_INFINITY } else { log }
            }
        };
    }
    logarithm!(f64);
    logarithm!(f32);
}

real!(
    f64, u64, mantissa: 52, bias: 1023,
    // The high part has its last 11 bits clear, so that its product with k is exact.
    ln2: (6.931_471_803_691_238e-1, 1.908_214_929_270_587_7e-10),
    exp: (-760.0, 760.0), tanh_max: 44.0, sqrt_half: 0x3fe6_a09e_667f_3bcd, powf: libm::pow,
    expm1: [
        1.0 / 6_227_020_800.0, 1.0 / 479_001_600.0, 1.0 / 39_916_800.0, 1.0 / 3_628_800.0, 1.0 / 362_880.0,
        1.0 / 40_320.0, 1.0 / 5_040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5
    ],
    atanh: [
        2.0 / 23.0, 2.0 / 21.0, 2.0 / 19.0, 2.0 / 17.0, 2.0 / 15.0, 2.0 / 13.0, 2.0 / 11.0, 2.0 / 9.0, 2.0 / 7.0,
        2.0 / 5.0, 2.0 / 3.0
    ],
    // Chebyshev interpolation of (1 + 2 x) exp(x^2) erfc(x) in (x - 3) / (x + 3), from 50 digits.
    erfcx: (3.0, [
        8.864_219_016_427_092e-10, 9.885_798_831_139_365e-10, -8.500_397_929_772_615e-9, -1.332_636_481_300_383_3e-8,
        4.180_784_698_845_582e-8, 1.018_700_060_007_288_5e-7, -1.416_006_494_026_598_6e-7, -6.166_496_077_604_353e-7,
        3.568_383_915_399_220_5e-7, 3.472_414_602_875_686e-6, -7.315_105_164_159_062e-7, -2.010_056_793_128_922_8e-5,
        4.949_484_992_570_595e-6, 1.250_993_523_556_310_8e-4, -1.051_597_998_150_117_8e-4, -7.798_322_721_083_991e-4,
        1.888_690_359_156_155_2e-3, 2.529_391_816_066_239e-3, -2.377_051_491_864_588_7e-2, 6.830_802_734_397_848e-2,
        -1.192_736_634_153_07e-1, 1.296_451_587_027_605_6e-1, -4.756_229_435_345_087e-2, -1.356_211_061_245_811_7e-1,
        1.253_008_058_269_729_7
    ])
);
real!(
    f32, u32, mantissa: 23, bias: 127,
    ln2: (0.693_359_4, -2.121_944_4e-4),
    exp: (-120.0, 120.0), tanh_max: 22.0, sqrt_half: 0x3f35_04f3, powf: libm::powf,
    expm1: [1.0 / 5_040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5],
    atanh: [2.0 / 11.0, 2.0 / 9.0, 2.0 / 7.0, 2.0 / 5.0, 2.0 / 3.0],
    // As above in (x - 2.5) / (x + 2.5).
    erfcx: (2.5, [
        -6.471_063_8e-5, -6.389_437e-5, 5.834_769_4e-4, 4.632_798_4e-4, -4.358_277e-3, 9.468_088e-4, 3.275_548_3e-2,
        -1.029_705_6e-1, 1.576_303_8e-1, -9.902_424e-2, -1.223_567_7e-1, 1.264_838_2
    ])
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
            for (ours, theirs) in [
                (Real::tanh::<true>(x), x.tanh()),
                (Real::exp::<true>(x), x.exp()),
                (Real::expm1::<true>(x), x.exp_m1()),
                (Real::ln::<true>(x.abs()), x.abs().ln()),
                (Real::ln_1p::<true>(x.abs()), x.abs().ln_1p()),
                (Real::ln_1p::<false>((x / 52.0).max(-0.999)), (x / 52.0).max(-0.999).ln_1p()),
            ] {
                // Subnormal results have fewer bits.
                assert!(close(ours, theirs, 4.0, f64::EPSILON) || theirs.abs() < 1e-305, "{x}: {ours} {theirs}");
            }
            // The error of the square in the exponent grows with it.
            let (ours, theirs) = (Real::erfc::<true>(x), libm::erfc(x));
            assert!(close(ours, theirs, 8.0 + x * x, f64::EPSILON) || theirs < 1e-305, "{x}: {ours} {theirs}");
            let x = x as f32;
            let (ours, theirs) = (Real::erfc::<false>(x), libm::erfcf(x));
            assert!((ours - theirs).abs() <= 4.0 * f32::EPSILON * theirs.clamp(0.02, 1.0), "{x}: {ours} {theirs}");
            for (ours, theirs) in [
                (Real::tanh::<false>(x), x.tanh()),
                (Real::exp::<false>(x), x.exp()),
                (Real::expm1::<false>(x), x.exp_m1()),
                (Real::ln::<false>(x.abs()), x.abs().ln()),
                (Real::ln_1p::<false>(x.abs()), x.abs().ln_1p()),
            ] {
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
        assert_eq!(Real::ln::<true>(0.0f64), f64::NEG_INFINITY);
        assert_eq!(Real::ln::<true>(f64::INFINITY), f64::INFINITY);
        assert!(Real::ln::<true>(-1.0f64).is_nan() && Real::ln::<true>(f64::NAN).is_nan());
        assert!(close(Real::ln::<true>(5e-324), 5e-324f64.ln(), 2.0, f64::EPSILON));
        assert_eq!(Real::ln::<true>(1.0f32), 0.0);
        assert_eq!(Real::ln_1p::<true>(f64::INFINITY), f64::INFINITY);
        assert_eq!(Real::ln_1p::<true>(1e-300f64), 1e-300);
        assert_eq!(Real::expm1::<true>(f64::NEG_INFINITY), -1.0);
        assert_eq!(Real::expm1::<true>(f64::INFINITY), f64::INFINITY);
        assert!(Real::expm1::<true>(f64::NAN).is_nan() && Real::erfc::<true>(f64::NAN).is_nan());
        assert_eq!(Real::erfc::<true>(f64::INFINITY), 0.0);
        assert_eq!(Real::erfc::<true>(f64::NEG_INFINITY), 2.0);
        assert_eq!(Real::erfc::<true>(f32::NEG_INFINITY), 2.0);
    }
}
