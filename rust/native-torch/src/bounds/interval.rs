//! Closed intervals of real numbers whose ends are rounded outward.

/// Half the distance from 1 to the next f64: the relative error of one operation.
const UNIT: f64 = f64::EPSILON / 2.0;

/// Relative margin for the error of an elementary function, wherever it is computed: 8 units in the last place.
const FUNCTION_MARGIN: f64 = 8.0 * f64::EPSILON;

/// The numbers `lower <= v <= upper`; either end may be infinite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The smallest number, or -inf.
    pub lower: f64,
    /// The largest number, or inf.
    pub upper: f64,
}

impl Interval {
    /// All numbers.
    pub const ALL: Interval = Interval { lower: f64::NEG_INFINITY, upper: f64::INFINITY };

    /// `lower <= v <= upper`.
    pub const fn new(lower: f64, upper: f64) -> Self {
        Self { lower, upper }
    }

    /// One number alone.
    pub const fn point(value: f64) -> Self {
        Self::new(value, value)
    }

    /// Whether the number lies inside.
    pub fn contains(self, value: f64) -> bool {
        self.lower <= value && value <= self.upper
    }

    /// Whether both ends are finite.
    pub fn is_finite(self) -> bool {
        self.lower.is_finite() && self.upper.is_finite()
    }

    /// Whether it holds a real number: not empty, not NaN, and not only an infinity.
    pub fn is_valid(self) -> bool {
        self.lower <= self.upper && self.lower < f64::INFINITY && self.upper > f64::NEG_INFINITY
    }

    /// The largest magnitude of a finite end.
    pub(crate) fn magnitude(self) -> f64 {
        [self.lower, self.upper].into_iter().filter(|v| v.is_finite()).fold(0.0, |m, v| v.abs().max(m))
    }

    /// The smallest interval that holds both.
    #[must_use]
    pub fn hull(self, other: Interval) -> Interval {
        Interval::new(self.lower.min(other.lower), self.upper.max(other.upper))
    }

    /// The numbers in both; `self` if there are none, which rounding alone can bring about.
    #[must_use]
    pub fn intersect(self, other: Interval) -> Interval {
        let both = Interval::new(self.lower.max(other.lower), self.upper.min(other.upper));
        if both.is_valid() { both } else { self }
    }

    /// Both ends moved outward by `margin`. What overflowed becomes the widest true statement.
    #[must_use]
    pub(crate) fn widen(self, margin: f64) -> Interval {
        let (lower, upper) = (self.lower - margin, self.upper + margin);
        Interval::new(
            if lower.is_nan() { f64::NEG_INFINITY } else { lower.min(f64::MAX) },
            if upper.is_nan() { f64::INFINITY } else { upper.max(f64::MIN) },
        )
    }

    /// Widened by the error that an elementary function may have.
    #[must_use]
    pub(crate) fn function(lower: f64, upper: f64) -> Interval {
        // Next to the smallest normal number rounding is no longer relative.
        let tiny = |v: f64| if v != 0.0 && v.abs() < 1e-290 { f64::MIN_POSITIVE } else { 0.0 };
        let out = |v: f64| if v.is_finite() { v.abs() * FUNCTION_MARGIN + tiny(v) } else { 0.0 };
        Interval::new((lower - out(lower)).min(f64::MAX), (upper + out(upper)).max(f64::MIN))
    }

    /// All products of a number of each; 0 times anything is 0, since the numbers themselves are finite.
    #[must_use]
    pub(crate) fn times(self, other: Interval) -> Interval {
        let product = |a: f64, b: f64| if a == 0.0 || b == 0.0 { 0.0 } else { a * b };
        let ends = [
            product(self.lower, other.lower),
            product(self.lower, other.upper),
            product(self.upper, other.lower),
            product(self.upper, other.upper),
        ];
        let lower = ends.into_iter().fold(f64::INFINITY, f64::min);
        let upper = ends.into_iter().fold(f64::NEG_INFINITY, f64::max);
        Interval::function(lower, upper)
    }

    /// All quotients of a number of each; every number if the divisor may be 0.
    #[must_use]
    pub(crate) fn divided_by(self, divisor: Interval) -> Interval {
        if divisor.lower <= 0.0 && divisor.upper >= 0.0 {
            return Interval::ALL;
        }
        self.times(Interval::function(1.0 / divisor.upper, 1.0 / divisor.lower))
    }
}

/// The interval of `constant + sum of coefficient_i v_i`.
///
/// A sum of k products in any order has an error of at most gamma_(k+1) (|c| + sum |a_i| |v_i|), where gamma_n =
/// n u / (1 - n u) and u = 2^-53 (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., eq. 3.3). The ends
/// are moved outward by twice that: once for the error of the ends, once for that of a forward pass in f64.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sum {
    interval: Interval,
    magnitude: f64,
    terms: f64,
}

impl Sum {
    /// The constant alone.
    pub(crate) fn new(constant: f64) -> Self {
        Self { interval: Interval::point(constant), magnitude: constant.abs(), terms: 1.0 }
    }

    /// Adds a term; one with the coefficient 0 is nothing, even where `v` is unbounded.
    pub(crate) fn add(&mut self, coefficient: f64, v: Interval) {
        if coefficient == 0.0 {
            return;
        }
        let (low, high) = if coefficient > 0.0 { (v.lower, v.upper) } else { (v.upper, v.lower) };
        // Zero times a finite number, or an infinity: never NaN, since the coefficient is finite and not zero.
        self.interval.lower += coefficient * low;
        self.interval.upper += coefficient * high;
        self.magnitude += coefficient.abs() * v.magnitude();
        self.terms += 1.0;
    }

    /// The interval with its margin.
    pub(crate) fn finish(self) -> Interval {
        let n = (self.terms + 1.0) * UNIT;
        self.interval.widen(2.0 * n / (1.0 - n) * self.magnitude)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infinities_never_become_nan() {
        let half = Interval::new(0.0, f64::INFINITY);
        let mut sum = Sum::new(1.0);
        sum.add(0.0, Interval::ALL);
        sum.add(-2.0, half);
        assert_eq!(sum.finish().lower, f64::NEG_INFINITY);
        assert!(sum.finish().upper >= 1.0 && sum.finish().upper < 1.0 + 1e-14);
        assert_eq!(half.times(Interval::point(0.0)), Interval::point(0.0));
        assert_eq!(half.times(Interval::new(-1.0, 2.0)), Interval::ALL);
        let mut huge = Sum::new(f64::MAX);
        huge.add(1.0, Interval::point(f64::MAX));
        assert!(huge.finish().is_valid() && huge.finish().lower.is_sign_negative());
    }

    #[test]
    fn sums_contain_what_floating_point_gives_in_any_order() {
        let values = [1e16, 1.0, -1e16, 3.0, 1e-3];
        let mut sum = Sum::new(0.0);
        values.iter().for_each(|&v| sum.add(1.0, Interval::point(v)));
        for rotation in 0..values.len() {
            let computed: f64 = values[rotation..].iter().chain(&values[..rotation]).sum();
            assert!(sum.finish().contains(computed));
        }
    }
}
