//! Lines below and above a function of one element over an interval.
//!
//! Between two neighbouring [`bends`](super::unary::bends) a function is convex or concave. So its least distance from
//! a line of a given slope is at a bend, at an end of the interval, or where the derivative is that slope; two tangents
//! around such a place bound it from below. Any slope gives a valid line; the best one at a place is that of the convex
//! envelope, found with cutting planes (Kelley, 1960).

use super::{
    Interval,
    unary::{bends, known_bends, value},
};
use crate::{diff::unary::at as derivatives, graph::Unary};

/// Relative margin of a line for rounding: of its own coefficients, of the function's value wherever it is computed, and
/// of its derivative.
const MARGIN: f64 = 128.0 * f64::EPSILON;

/// How close to the best line's height a line must come, as a fraction of the function's range.
const TOLERANCE: f64 = 1e-3;

/// At most this many slopes are tried.
const SLOPES: usize = 16;

/// Steps towards the place where the derivative is the slope.
const STEPS: usize = 50;

/// The function `slope x + intercept`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Line {
    pub slope: f64,
    pub intercept: f64,
}

impl Line {
    fn constant(intercept: f64) -> Self {
        Self { slope: 0.0, intercept }
    }

    fn at(self, x: f64) -> f64 {
        self.slope * x + self.intercept
    }

    fn negated(self) -> Self {
        Self { slope: -self.slope, intercept: -self.intercept }
    }
}

/// A function of one element, prepared for many intervals.
pub(crate) struct Envelope {
    unary: Unary,
    bends: Vec<f64>,
}

impl Envelope {
    pub(crate) fn new(unary: Unary) -> Self {
        let mut bends = bends(unary);
        bends.retain(|b| b.is_finite());
        bends.sort_by(f64::total_cmp);
        Self { unary, bends }
    }

    /// A line below and a line above the function over `x`, each as close as it can be at the fraction `place`, between
    /// 0 and 1, of the interval. `range` is what is known of the function's values there.
    pub(crate) fn lines(&self, x: Interval, range: Interval, place: f64) -> [Line; 2] {
        let constant = [Line::constant(range.lower), Line::constant(range.upper)];
        let x = Interval::new(x.lower.max(self.unary.domain().0), x.upper);
        let known = known_bends(self.unary);
        let inside = known.lower <= x.lower && x.upper <= known.upper;
        if !inside || !x.is_finite() || !range.is_finite() || x.upper - x.lower <= f64::EPSILON * x.magnitude() {
            return constant;
        }
        let place = (x.lower + place * (x.upper - x.lower)).clamp(x.lower, x.upper);
        let below = |sign: f64| Curve::new(self, x, sign).and_then(|curve| curve.support(place));
        let lower = below(1.0).filter(|line| line.at(place) > range.lower);
        let upper = below(-1.0).map(Line::negated).filter(|line| line.at(place) < range.upper);
        [lower.unwrap_or(constant[0]), upper.unwrap_or(constant[1])]
    }
}

/// A function, or its negative, over an interval.
struct Curve {
    unary: Unary,
    sign: f64,
    /// The largest magnitude of x.
    size: f64,
    /// The ends and bends with the values there; next to a jump both of its sides.
    knots: Vec<(f64, f64)>,
    /// Convex or concave pieces: just inside their ends, with the derivative there.
    pieces: Vec<[(f64, f64); 2]>,
}

impl Curve {
    /// None where the function is not finite.
    fn new(envelope: &Envelope, x: Interval, sign: f64) -> Option<Self> {
        let unary = envelope.unary;
        let mut curve = Self { unary, sign, size: x.magnitude(), knots: Vec::new(), pieces: Vec::new() };
        let inside = envelope.bends.iter().copied().filter(|b| x.lower < *b && *b < x.upper);
        let ends: Vec<f64> = [x.lower].into_iter().chain(inside).chain([x.upper]).collect();
        for &end in &ends {
            // Rounding may take either branch next to a bend.
            let near = (8.0 * f64::EPSILON * end.abs()).max(f64::MIN_POSITIVE);
            for p in [end - near, end, end + near].map(|p| p.clamp(x.lower, x.upper)) {
                if curve.knots.last().is_none_or(|knot| knot.0 < p) {
                    curve.knots.push((p, curve.value(p)));
                }
            }
        }
        for piece in ends.windows(2) {
            let step = 1e-12 * (piece[1] - piece[0]) + 4.0 * f64::EPSILON * piece[0].abs().max(piece[1].abs());
            let (from, to) = (piece[0] + step, piece[1] - step);
            if from < to {
                curve.pieces.push([(from, curve.slope(from)), (to, curve.slope(to))]);
            }
        }
        let finite = curve.knots.iter().chain(curve.pieces.iter().flatten()).all(|(_, v)| v.is_finite());
        finite.then_some(curve)
    }

    fn value(&self, x: f64) -> f64 {
        self.sign * value(self.unary, x)
    }

    fn slope(&self, x: f64) -> f64 {
        self.sign * derivatives(self.unary, x)[1]
    }

    /// The highest line below the curve at `place`, nearly.
    fn support(&self, place: f64) -> Option<Line> {
        let mut points = self.knots.clone();
        points.push((place, self.value(place)));
        let (low, high) = points.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), p| (l.min(p.1), h.max(p.1)));
        let margin = |slope: f64| MARGIN * ((1.0 + slope.abs()) * self.size + low.abs().max(high.abs()));
        let mut best: Option<(f64, Line)> = None;
        let mut slope = self.slope(place);
        for _ in 0..SLOPES {
            if !slope.is_finite() {
                break;
            }
            let (least, x) = self.least(slope);
            let height = least + slope * place;
            if height.is_finite() && best.is_none_or(|(highest, _)| height > highest) {
                best = Some((height, Line { slope, intercept: least - margin(slope) }));
            }
            points.push((x, self.value(x)));
            let (limit, next) = hull(&points, place);
            if best.is_some_and(|(height, _)| limit - height <= TOLERANCE * (high - low)) {
                break;
            }
            slope = next;
        }
        best.map(|(_, line)| line).filter(|line| line.intercept.is_finite())
    }

    /// A number that `f(x) - slope x` is never below, but for rounding, and where it is about that.
    fn least(&self, slope: f64) -> (f64, f64) {
        let above = |x: f64, y: f64| y - slope * x;
        let knots = self.knots.iter().map(|&(x, y)| (above(x, y), x));
        let convex = |[from, to]: &&[(f64, f64); 2]| from.1 < slope && slope < to.1;
        let inner = self.pieces.iter().filter(convex).map(|piece| self.turn(*piece, slope));
        knots.chain(inner).fold((f64::INFINITY, self.knots[0].0), |a, b| if b.0 < a.0 { b } else { a })
    }

    /// The same on a convex piece inside of which the derivative is the slope.
    fn turn(&self, [from, to]: [(f64, f64); 2], slope: f64) -> (f64, f64) {
        let (mut a, mut b) = ((from.0, from.1 - slope), (to.0, to.1 - slope));
        let height = |x: f64| self.value(x) - slope * x;
        let (mut ya, mut yb) = (height(a.0), height(b.0));
        // Where the tangents at both ends meet, or the lower end if they are parallel.
        let meet = |a: (f64, f64), b: (f64, f64), ya: f64, yb: f64| {
            let x = a.0 + ((yb - ya) - b.1 * (b.0 - a.0)) / (a.1 - b.1);
            let x = if x.is_finite() { x.clamp(a.0, b.0) } else { b.0 };
            ((ya + a.1 * (x - a.0)).min(yb + b.1 * (x - b.0)), x)
        };
        let mut best = meet(a, b, ya, yb);
        for step in 0..STEPS {
            if ya.min(yb) - best.0 <= 0.1 * MARGIN * (ya.abs().max(yb.abs()) + self.size) {
                break;
            }
            let middle = 0.5 * (a.0 + b.0);
            let x = if step % 3 == 2 || !(a.0 < best.1 && best.1 < b.0) { middle } else { best.1 };
            if !(a.0 < x && x < b.0) {
                break;
            }
            let rise = self.slope(x) - slope;
            if rise < 0.0 {
                (a, ya) = ((x, rise), height(x));
            } else {
                (b, yb) = ((x, rise), height(x));
            }
            best = meet(a, b, ya, yb);
        }
        best
    }
}

/// The height at `place` of the convex hull of points, and the slope of an edge of it there.
fn hull(points: &[(f64, f64)], place: f64) -> (f64, f64) {
    let mut vertex = f64::INFINITY;
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for &(x, y) in points {
        match x.total_cmp(&place) {
            std::cmp::Ordering::Less => left.push((x, y)),
            std::cmp::Ordering::Greater => right.push((x, y)),
            std::cmp::Ordering::Equal => vertex = vertex.min(y),
        }
    }
    let steepest = left.iter().map(|(x, y)| (vertex - y) / (place - x)).fold(f64::NEG_INFINITY, f64::max);
    let flattest = right.iter().map(|(x, y)| (y - vertex) / (x - place)).fold(f64::INFINITY, f64::min);
    if steepest <= flattest {
        let slope = match (steepest.is_finite(), flattest.is_finite()) {
            (true, true) => 0.5 * (steepest + flattest),
            (true, false) => steepest,
            _ => flattest,
        };
        return (vertex, slope);
    }
    let mut lowest = (f64::INFINITY, 0.0);
    for &(xa, ya) in &left {
        for &(xb, yb) in &right {
            let slope = (yb - ya) / (xb - xa);
            let height = ya + slope * (place - xa);
            if height < lowest.0 {
                lowest = (height, slope);
            }
        }
    }
    lowest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::unary::range;

    #[test]
    fn lines_hold_every_value_and_are_close() {
        let ends = [-30.0, -5.0, -2.0, -0.8, -0.75, -0.3, 0.0, 1e-9, 0.2, 0.7, 2.0, 30.0];
        // The derivative of what is detached is none of its own; its lines are those of a copy.
        for unary in Unary::examples().into_iter().filter(|unary| *unary != Unary::Detach) {
            let envelope = Envelope::new(unary);
            for (i, &a) in ends.iter().enumerate() {
                for &b in &ends[i + 1..] {
                    let x = Interval::new(a, b);
                    if a <= unary.domain().0 || (unary.has_pole() && x.contains(0.0)) {
                        continue;
                    }
                    for place in [0.0, 0.02, 0.3, 0.5, 1.0] {
                        let [lower, upper] = envelope.lines(x, range(unary, x), place);
                        let samples: Vec<(f64, f64)> = (0..=2000)
                            .map(|k| (a + (b - a) * f64::from(k) / 2000.0).clamp(a, b))
                            .map(|x| (x, value(unary, x)))
                            .collect();
                        let (mut below, mut above) = (f64::INFINITY, f64::INFINITY);
                        for &(x, y) in &samples {
                            below = below.min(y - lower.at(x));
                            above = above.min(upper.at(x) - y);
                        }
                        let case = format!("{unary:?} on [{a}, {b}] at {place}: {lower:?} {upper:?}");
                        assert!(below >= 0.0 && above >= 0.0, "{case}: {below} {above}");
                        let spread = samples.iter().fold(0.0, |m: f64, p| m.max((p.1 - samples[0].1).abs()));
                        // No line is close to many steps at once.
                        let is_stepped = matches!(unary, Unary::Floor | Unary::Round);
                        let near = if is_stepped { f64::INFINITY } else { 0.02 * spread + 1e-11 };
                        assert!(below <= near && above <= near, "{case}: {below} {above}");
                    }
                }
            }
        }
    }

    #[test]
    fn derivatives_are_monotone_between_bends() {
        for unary in Unary::examples() {
            let mut bends = Envelope::new(unary).bends;
            bends.extend([unary.domain().0.max(-25.0), 25.0]);
            bends.sort_by(f64::total_cmp);
            for piece in bends.windows(2) {
                let at = |k: u32| piece[0] + (piece[1] - piece[0]) * (f64::from(k) + 0.5) / 4000.0;
                let slopes: Vec<f64> = (0..4000).map(|k| derivatives(unary, at(k))[1]).collect();
                let rises = slopes.windows(2).all(|s| s[1] >= s[0] - 1e-12 * (1.0 + s[0].abs()));
                let falls = slopes.windows(2).all(|s| s[1] <= s[0] + 1e-12 * (1.0 + s[0].abs()));
                assert!(rises || falls, "{unary:?} between {} and {}", piece[0], piece[1]);
            }
        }
    }
}
