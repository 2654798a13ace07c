//! The range of each function of one element over an interval.

use super::Interval;
use crate::graph::{GeluKind, Unary};

/// Where GELU is smallest, and its value there: `(x, x Phi(x))`, from 40 digits.
const GELU_MINIMUM: (f64, f64) = (-0.751_791_524_693_564_5, -0.169_971_207_479_903_66);

/// The same for the approximation with tanh.
const GELU_TANH_MINIMUM: (f64, f64) = (-0.752_461_422_071_016_3, -0.170_040_750_571_254_06);

/// The range of `unary` over `x`.
pub(crate) fn range(unary: Unary, x: Interval) -> Interval {
    match unary {
        Unary::Relu => Interval::new(x.lower.max(0.0), x.upper.max(0.0)),
        Unary::LeakyRelu { slope } => piecewise(x, 0.0, |v| if v == 0.0 { 0.0 } else { slope * v }, |v| v),
        Unary::Gelu(GeluKind::Exact) => valley(x, GELU_MINIMUM, gelu),
        Unary::Gelu(GeluKind::Tanh) => valley(x, GELU_TANH_MINIMUM, gelu_tanh),
        Unary::Sigmoid => increasing(x, sigmoid).intersect(Interval::new(0.0, 1.0)),
        Unary::Tanh => increasing(x, libm::tanh).intersect(Interval::new(-1.0, 1.0)),
        Unary::Softplus { beta: 0.0, .. } => Interval::ALL,
        Unary::Softplus { beta, threshold } => {
            let smooth = |v: f64| softplus(beta, v);
            let bend = threshold / beta;
            let range = if beta > 0.0 { piecewise(x, bend, smooth, |v| v) } else { piecewise(x, bend, |v| v, smooth) };
            // Only for beta > 0 and a threshold of 0 or more is every value positive.
            if beta > 0.0 && threshold >= 0.0 { range.intersect(Interval::new(0.0, f64::INFINITY)) } else { range }
        }
    }
}

/// The value at a number; the ends of [`range`] are these.
pub(crate) fn value(unary: Unary, x: f64) -> f64 {
    match unary {
        Unary::Relu => x.max(0.0),
        Unary::LeakyRelu { slope } => {
            if x > 0.0 {
                x
            } else {
                slope * x
            }
        }
        Unary::Gelu(GeluKind::Exact) => gelu(x),
        Unary::Gelu(GeluKind::Tanh) => gelu_tanh(x),
        Unary::Sigmoid => sigmoid(x),
        Unary::Tanh => libm::tanh(x),
        Unary::Softplus { beta, threshold } => {
            if beta * x > threshold {
                x
            } else {
                softplus(beta, x)
            }
        }
    }
}

fn increasing(x: Interval, f: impl Fn(f64) -> f64) -> Interval {
    Interval::function(f(x.lower), f(x.upper))
}

/// A function that falls up to its minimum and rises after it.
fn valley(x: Interval, (place, minimum): (f64, f64), f: impl Fn(f64) -> f64) -> Interval {
    let (a, b) = (f(x.lower), f(x.upper));
    let lower = if x.contains(place) { minimum } else { a.min(b) };
    // Where the tail is computed as x times a difference, its error is relative to x.
    Interval::function(lower, a.max(b)).widen(8.0 * f64::EPSILON * x.magnitude())
}

/// Monotone `below` up to the bend, monotone `above` after it; they need not meet.
fn piecewise(x: Interval, bend: f64, below: impl Fn(f64) -> f64, above: impl Fn(f64) -> f64) -> Interval {
    let part = |from: f64, to: f64, f: &dyn Fn(f64) -> f64| {
        let (a, b) = (f(from), f(to));
        Interval::function(a.min(b), a.max(b))
    };
    // Next to the bend rounding may take either branch.
    let near = 4.0 * f64::EPSILON * bend.abs();
    if x.upper < bend - near {
        return part(x.lower, x.upper, &below);
    }
    if x.lower > bend + near {
        return part(x.lower, x.upper, &above);
    }
    part(x.lower.min(bend), x.upper.min(bend), &below).hull(part(x.lower.max(bend), x.upper.max(bend), &above))
}

fn gelu(x: f64) -> f64 {
    // x erfc(-x / sqrt 2) / 2 has no cancellation on the left.
    if x == f64::NEG_INFINITY { 0.0 } else { 0.5 * x * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2) }
}

fn gelu_tanh(x: f64) -> f64 {
    if x == f64::NEG_INFINITY {
        return 0.0;
    }
    // (1 + tanh t) / 2 is the sigmoid of 2 t, which has no cancellation on the left.
    let t = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
    x * sigmoid(2.0 * t)
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

/// `log(1 + exp(beta x)) / beta` without overflow.
fn softplus(beta: f64, x: f64) -> f64 {
    let t = beta * x;
    (t.max(0.0) + libm::log1p(libm::exp(-t.abs()))) / beta
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Unary; 13] = [
        Unary::Relu,
        Unary::LeakyRelu { slope: 0.01 },
        Unary::LeakyRelu { slope: -0.5 },
        Unary::LeakyRelu { slope: 3.0 },
        Unary::LeakyRelu { slope: 0.0 },
        Unary::Gelu(GeluKind::Exact),
        Unary::Gelu(GeluKind::Tanh),
        Unary::Sigmoid,
        Unary::Tanh,
        Unary::Softplus { beta: 1.0, threshold: 20.0 },
        Unary::Softplus { beta: 2.0, threshold: 0.5 },
        Unary::Softplus { beta: -1.5, threshold: 1.0 },
        Unary::Softplus { beta: 0.5, threshold: -1.1 },
    ];

    #[test]
    fn ranges_hold_every_value_and_are_tight() {
        let ends = [-40.0, -5.0, -2.0, -0.8, -0.75, -0.3, 0.0, 0.2, 0.7, 2.0, 40.0];
        for unary in ALL {
            for (i, &a) in ends.iter().enumerate() {
                for &b in &ends[i..] {
                    let range = range(unary, Interval::new(a, b));
                    let samples = (0..=1000).map(|k| value(unary, (a + (b - a) * f64::from(k) / 1000.0).clamp(a, b)));
                    let mut seen = Interval::new(f64::INFINITY, f64::NEG_INFINITY);
                    for v in samples {
                        assert!(range.contains(v), "{unary:?} on [{a}, {b}]: {v} outside {range:?}");
                        seen = seen.hull(Interval::point(v));
                    }
                    let slack = 1e-12 + (b - a) * 4e-3;
                    assert!(range.lower > seen.lower - slack && range.upper < seen.upper + slack, "{unary:?} {a} {b}");
                }
            }
        }
    }

    #[test]
    fn infinite_intervals_have_ranges() {
        for unary in ALL {
            for x in [Interval::ALL, Interval::new(f64::NEG_INFINITY, -1.0), Interval::new(1.0, f64::INFINITY)] {
                let range = range(unary, x);
                assert!(range.is_valid(), "{unary:?} {x:?} {range:?}");
            }
        }
        assert_eq!(range(Unary::Sigmoid, Interval::ALL), Interval::new(0.0, 1.0));
        assert_eq!(range(Unary::LeakyRelu { slope: 0.0 }, Interval::ALL).lower, 0.0);
    }

    #[test]
    fn gelu_reaches_its_true_minimum() {
        for (kind, minimum) in [(GeluKind::Exact, GELU_MINIMUM), (GeluKind::Tanh, GELU_TANH_MINIMUM)] {
            let range = range(Unary::Gelu(kind), Interval::new(-3.0, 3.0));
            assert!(range.lower <= minimum.1 && range.lower > minimum.1 - 1e-14);
            assert!((value(Unary::Gelu(kind), minimum.0) - minimum.1).abs() < 1e-16);
        }
    }
}
