//! The range of each function of one element over an interval.
//!
//! Between the places of [`turns`] every function is monotone, so that its range is spanned by its values there and at
//! the interval's ends.

use std::f64::consts::{FRAC_PI_2, PI};

use super::Interval;
use crate::{
    diff::unary::at,
    graph::{GeluKind, Unary},
};

/// So many bends of the sine on each side of 0 are known.
const SINE_BENDS: i32 = 32;

/// So many steps of a rounding on each side of 0 are known.
const STEPS: i32 = 32;

/// Where the bends of a function are known.
pub(crate) fn known_bends(unary: Unary) -> Interval {
    let end = match unary {
        Unary::Sin => f64::from(SINE_BENDS) * PI,
        Unary::Floor | Unary::Round => f64::from(STEPS) - 0.5,
        _ => f64::INFINITY,
    };
    Interval::new(-end, end)
}

/// The range of `unary` over the part of `x` where the function is defined; every number if there is no such part.
pub(crate) fn range(unary: Unary, x: Interval) -> Interval {
    let x = Interval::new(x.lower.max(unary.domain().0), x.upper);
    if !x.is_valid() || (unary.has_pole() && x.contains(0.0) && !is_even(unary)) {
        return Interval::ALL;
    }
    if unary == Unary::Sin {
        return sine(x);
    }
    let mut range = Interval::point(limit(unary, x.lower)).hull(Interval::point(limit(unary, x.upper)));
    let mut add = |place: f64| range = range.hull(Interval::point(value(unary, place)));
    for place in turns(unary).into_iter().flatten() {
        match unary {
            // Next to the jump rounding may take either branch.
            Unary::Softplus { .. } => {
                let near = (4.0 * f64::EPSILON * place.abs()).max(f64::MIN_POSITIVE);
                if x.lower - near <= place && place <= x.upper + near {
                    [place - near, place, place + near].into_iter().for_each(&mut add);
                }
            }
            Unary::Hardshrink { .. } | Unary::Threshold { .. } => {
                let sides = [place.next_down(), place, place.next_up()];
                sides.into_iter().filter(|&side| x.contains(side)).for_each(&mut add);
            }
            _ if x.contains(place) => add(place),
            _ => {}
        }
    }
    if is_exact(unary) {
        return range;
    }
    let range = Interval::function(range.lower, range.upper);
    let range = if cancels(unary) { range.widen(8.0 * f64::EPSILON * scale(unary, x)) } else { range };
    range.intersect(codomain(unary))
}

/// The range of the sine, whose peaks are known to as many digits as the ends are.
fn sine(x: Interval) -> Interval {
    let whole = Interval::new(-1.0, 1.0);
    if !x.is_finite() || x.magnitude() > 1e6 || x.upper - x.lower >= 2.0 * PI {
        return whole;
    }
    let ends = Interval::point(value(Unary::Sin, x.lower)).hull(Interval::point(value(Unary::Sin, x.upper)));
    let near = 4.0 * f64::EPSILON * x.magnitude();
    let first = ((x.lower - near) / PI - 0.5).ceil() as i64;
    let last = ((x.upper + near) / PI - 0.5).floor() as i64;
    let peak = |k: i64| Interval::point(if k % 2 == 0 { 1.0 } else { -1.0 });
    let range = (first..=last).map(peak).fold(ends, Interval::hull);
    Interval::function(range.lower, range.upper).widen(near).intersect(whole)
}

/// The value at a number.
pub(crate) fn value(unary: Unary, x: f64) -> f64 {
    at(unary, x)[0]
}

/// The value at an end, the limit at an infinite one.
fn limit(unary: Unary, x: f64) -> f64 {
    let y = value(unary, x);
    // Where 0 times infinity came in, the function is constant or 0 long before.
    if y.is_nan() && x.is_infinite() { value(unary, f64::MAX.copysign(x)) } else { y }
}

/// Where the function changes between rising and falling, or jumps. Minima are known to more digits than an f64 has.
fn turns(unary: Unary) -> [Option<f64>; 2] {
    match unary {
        Unary::Abs
        | Unary::Celu { .. }
        | Unary::Elu { .. }
        | Unary::LeakyRelu { .. }
        | Unary::Pow { .. }
        | Unary::Relu
        | Unary::Square => [Some(0.0), None],
        Unary::Gelu(GeluKind::Exact) => [Some(-0.751_791_524_693_564_5), None],
        Unary::Gelu(GeluKind::Tanh) => [Some(-0.752_461_422_071_016_3), None],
        Unary::Hardshrink { lambd } => [Some(-lambd), Some(lambd)],
        Unary::Hardswish => [Some(-1.5), None],
        Unary::Mish => [Some(-1.192_431_214_515_495_2), None],
        Unary::Silu => [Some(-1.278_464_542_761_074), None],
        Unary::Softplus { beta, threshold } => [Some(threshold / beta), None],
        Unary::Threshold { threshold, .. } => [Some(threshold), None],
        Unary::Affine { .. }
        | Unary::Atan
        | Unary::Clamp { .. }
        | Unary::Detach
        | Unary::Erf
        | Unary::Floor
        | Unary::Round
        | Unary::Exp
        | Unary::Expm1
        | Unary::Hardsigmoid
        | Unary::Hardtanh { .. }
        | Unary::Log
        | Unary::Log1p
        | Unary::LogSigmoid
        | Unary::Neg
        | Unary::Reciprocal
        | Unary::Rsqrt
        | Unary::Sigmoid
        | Unary::Sin
        | Unary::Softshrink { .. }
        | Unary::Softsign
        | Unary::Sqrt
        | Unary::Tanh
        | Unary::Tanhshrink => [None, None],
    }
}

/// The places between which the function is convex or concave: kinks, jumps, poles, and where its curvature changes
/// sign, from 40 digits where there is no closed form.
pub(crate) fn bends(unary: Unary) -> Vec<f64> {
    match unary {
        Unary::Abs
        | Unary::Atan
        | Unary::Celu { .. }
        | Unary::Elu { .. }
        | Unary::Erf
        | Unary::LeakyRelu { .. }
        | Unary::Pow { .. }
        | Unary::Reciprocal
        | Unary::Relu
        | Unary::Sigmoid
        | Unary::Softsign
        | Unary::Tanh
        | Unary::Tanhshrink => vec![0.0],
        Unary::Clamp { min, max } | Unary::Hardtanh { min, max } => vec![min, max],
        Unary::Gelu(GeluKind::Exact) => vec![-std::f64::consts::SQRT_2, std::f64::consts::SQRT_2],
        Unary::Gelu(GeluKind::Tanh) => vec![-1.418_504_008_790_828_4, 1.418_504_008_790_828_4],
        Unary::Hardshrink { lambd } | Unary::Softshrink { lambd } => vec![-lambd, lambd],
        Unary::Hardsigmoid | Unary::Hardswish => vec![-3.0, 3.0],
        Unary::Mish => vec![-2.256_376_396_360_793, 1.490_571_179_485_428_5],
        Unary::Silu => vec![-2.399_357_280_515_467_7, 2.399_357_280_515_467_7],
        // Beyond these, only the range is known.
        Unary::Sin => (-SINE_BENDS..=SINE_BENDS).map(|k| f64::from(k) * PI).collect(),
        Unary::Softplus { beta, threshold } => vec![threshold / beta],
        Unary::Threshold { threshold, .. } => vec![threshold],
        // Beyond the steps, only the range is known.
        Unary::Floor => (-STEPS..=STEPS).map(f64::from).collect(),
        Unary::Round => (-STEPS..STEPS).map(|k| f64::from(k) + 0.5).collect(),
        Unary::Affine { .. }
        | Unary::Detach
        | Unary::Exp
        | Unary::Expm1
        | Unary::Log
        | Unary::Log1p
        | Unary::LogSigmoid
        | Unary::Neg
        | Unary::Rsqrt
        | Unary::Sqrt
        | Unary::Square => Vec::new(),
    }
}

/// Whether values are computed without rounding.
fn is_exact(unary: Unary) -> bool {
    matches!(
        unary,
        Unary::Abs
            | Unary::Clamp { .. }
            | Unary::Detach
            | Unary::Floor
            | Unary::Round
            | Unary::Hardshrink { .. }
            | Unary::Hardtanh { .. }
            | Unary::Neg
            | Unary::Relu
            | Unary::Threshold { .. }
    )
}

/// Whether the error of a value is relative to the argument rather than to the value.
fn cancels(unary: Unary) -> bool {
    matches!(unary, Unary::Affine { .. } | Unary::Gelu(_) | Unary::Tanhshrink)
}

/// The magnitude that such an error is relative to.
fn scale(unary: Unary, x: Interval) -> f64 {
    match unary {
        Unary::Affine { scale, shift } => (scale * x.magnitude()).abs() + shift.abs(),
        _ => x.magnitude(),
    }
}

fn is_even(unary: Unary) -> bool {
    matches!(unary, Unary::Pow { exponent } if exponent % 2.0 == 0.0)
}

/// What no value exceeds, whatever the rounding.
fn codomain(unary: Unary) -> Interval {
    let positive = match unary {
        Unary::Exp | Unary::Rsqrt | Unary::Sqrt | Unary::Square => true,
        Unary::Pow { exponent } => is_even(unary) || exponent.fract() != 0.0,
        // Only for beta > 0 and a threshold of 0 or more is every value positive.
        Unary::Softplus { beta, threshold } => beta > 0.0 && threshold >= 0.0,
        _ => false,
    };
    match unary {
        _ if positive => Interval::new(0.0, f64::INFINITY),
        Unary::Hardsigmoid | Unary::Sigmoid => Interval::new(0.0, 1.0),
        Unary::LogSigmoid => Interval::new(f64::NEG_INFINITY, 0.0),
        Unary::Atan => Interval::new(-FRAC_PI_2.next_up(), FRAC_PI_2.next_up()),
        Unary::Expm1 => Interval::new(-1.0, f64::INFINITY),
        Unary::Erf | Unary::Sin | Unary::Softsign | Unary::Tanh => Interval::new(-1.0, 1.0),
        _ => Interval::ALL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_every_value_and_are_tight() {
        let ends = [-40.0, -5.0, -3.0, -2.0, -1.0, -0.8, -0.75, -0.4, -0.3, 0.0, 0.2, 0.3, 0.7, 2.0, 6.0, 40.0];
        for unary in Unary::examples() {
            for (i, &a) in ends.iter().enumerate() {
                for &b in &ends[i..] {
                    let range = range(unary, Interval::new(a, b));
                    assert!(range.is_valid(), "{unary:?} on [{a}, {b}]: {range:?}");
                    let place = |k: i32| (a + (b - a) * f64::from(k) / 1000.0).clamp(a, b);
                    let mut seen = Interval::new(f64::INFINITY, f64::NEG_INFINITY);
                    let mut steep: f64 = 0.0;
                    for x in (0..=1000).map(place).chain([a, b]) {
                        let [v, slope, _] = at(unary, x);
                        if v.is_finite() {
                            assert!(range.contains(v), "{unary:?} on [{a}, {b}]: {v} outside {range:?}");
                            seen = seen.hull(Interval::point(v));
                            steep = steep.max(slope.abs());
                        }
                    }
                    // Next to a pole or an infinite slope samples say nothing about the end.
                    let edge = if unary.has_pole() { 0.0 } else { unary.domain().0 };
                    if edge.is_finite() && a <= edge && b >= edge {
                        continue;
                    }
                    let slack = 1e-12 * (1.0 + seen.magnitude()) + (b - a) * 2e-3 * steep.max(1.0);
                    let tight = range.lower > seen.lower - slack && range.upper < seen.upper + slack;
                    assert!(tight || seen.lower > seen.upper, "{unary:?} on [{a}, {b}]: {range:?}, not {seen:?}");
                }
            }
        }
    }

    #[test]
    fn random_boxes_hold_what_they_map_to() {
        let mut seed = 1u64;
        let mut random = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 11) as f64 / (1u64 << 53) as f64
        };
        for unary in Unary::examples() {
            for _ in 0..3000 {
                // Ends of all magnitudes, one in ten of them infinite.
                let mut end = || match random() {
                    u if u < 0.05 => f64::NEG_INFINITY,
                    u if u < 0.1 => f64::INFINITY,
                    u if u < 0.5 => (random() - 0.5) * 10f64.powf(random() * 8.0 - 4.0),
                    _ => (random() - 0.5) * 16.0,
                };
                let (a, b) = (end(), end());
                let x = Interval::new(a.min(b), a.max(b));
                if !x.is_valid() {
                    continue;
                }
                let range = range(unary, x);
                assert!(range.is_valid(), "{unary:?} on {x:?}: {range:?}");
                let (low, high) = (x.lower.max(-1e6), x.upper.min(1e6));
                for k in 0..20 {
                    let at = if k < 2 {
                        [x.lower, x.upper][k]
                    } else {
                        (low + (high - low) * random()).clamp(x.lower, x.upper)
                    };
                    let v = value(unary, at);
                    let defined = at >= unary.domain().0 && !v.is_nan();
                    assert!(!defined || range.contains(v), "{unary:?} at {at} in {x:?}: {v} outside {range:?}");
                }
            }
        }
    }

    #[test]
    fn known_ends_are_met() {
        assert_eq!(range(Unary::Sigmoid, Interval::ALL), Interval::new(0.0, 1.0));
        assert_eq!(range(Unary::Softsign, Interval::ALL), Interval::new(-1.0, 1.0));
        assert_eq!(range(Unary::LeakyRelu { slope: 0.0 }, Interval::ALL).lower, 0.0);
        assert_eq!(range(Unary::RELU6, Interval::ALL), Interval::new(0.0, 6.0));
        assert_eq!(range(Unary::Abs, Interval::new(-2.0, 1.0)), Interval::new(0.0, 2.0));
        assert_eq!(range(Unary::Reciprocal, Interval::new(-1.0, 1.0)), Interval::ALL);
        assert_eq!(range(Unary::Log, Interval::new(-1.0, 1.0)).lower, f64::NEG_INFINITY);
        // Minima from 40 digits.
        for (unary, minimum) in [
            (Unary::Gelu(GeluKind::Exact), -0.169_971_207_479_903_66),
            (Unary::Gelu(GeluKind::Tanh), -0.170_040_750_571_254_06),
            (Unary::Silu, -0.278_464_542_761_073_8),
            (Unary::Mish, -0.308_843_413_017_250_4),
            (Unary::Hardswish, -0.375),
        ] {
            let range = range(unary, Interval::new(-3.0, 3.0));
            assert!(range.lower <= minimum && range.lower > minimum - 1e-14, "{unary:?}: {range:?}");
        }
    }
}
