//! Piecewise linear expressions of inputs and outputs in one normal form, their values and ranges.

use crate::bounds::{Interval, Sum};

/// What an expression is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Symbol {
    /// An input element.
    X(usize),
    /// An output element.
    Y(usize),
}

/// A function that is not linear.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    /// The largest of several.
    Max(Vec<Expr>),
    /// The magnitude.
    Abs(Box<Expr>),
}

/// `constant + sum of a symbol + sum of c part`. Norms, minima and maxima are all of this form.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Expr {
    pub constant: f64,
    pub terms: Vec<(Symbol, f64)>,
    pub parts: Vec<(f64, Part)>,
}

/// The numbers behind the symbols.
pub(super) struct Point<'a> {
    pub x: &'a [f64],
    pub y: &'a [f64],
}

/// The intervals behind the symbols.
pub(super) struct Ranges {
    pub x: Vec<Interval>,
    pub y: Vec<Interval>,
}

impl Expr {
    pub(super) fn constant(constant: f64) -> Self {
        Self { constant, ..Self::default() }
    }

    pub(super) fn symbol(symbol: Symbol) -> Self {
        Self { terms: vec![(symbol, 1.0)], ..Self::default() }
    }

    pub(super) fn part(part: Part) -> Self {
        Self { parts: vec![(1.0, part)], ..Self::default() }
    }

    /// The number, if it is one.
    pub(super) fn as_constant(&self) -> Option<f64> {
        (self.terms.is_empty() && self.parts.is_empty()).then_some(self.constant)
    }

    pub(super) fn is_affine(&self) -> bool {
        self.parts.is_empty()
    }

    pub(super) fn scale(mut self, factor: f64) -> Self {
        if factor == 0.0 {
            return Self::default();
        }
        self.constant *= factor;
        self.terms.iter_mut().for_each(|term| term.1 *= factor);
        self.parts.iter_mut().for_each(|part| part.0 *= factor);
        self
    }

    pub(super) fn add(mut self, other: Expr) -> Self {
        self.constant += other.constant;
        self.terms.extend(other.terms);
        self.parts.extend(other.parts);
        self
    }

    pub(super) fn sub(self, other: Expr) -> Self {
        self.add(other.scale(-1.0))
    }

    /// Adds up the coefficients of one symbol.
    pub(super) fn collect(mut self) -> Self {
        self.terms.sort_by_key(|term| term.0);
        let merged = self.terms.chunk_by(|a, b| a.0 == b.0);
        self.terms = merged
            .map(|same| (same[0].0, same.iter().map(|term| term.1).sum::<f64>()))
            .filter(|term| term.1 != 0.0)
            .collect();
        self
    }

    pub(super) fn value(&self, point: &Point) -> f64 {
        let symbol = |&(symbol, a): &(Symbol, f64)| match symbol {
            Symbol::X(i) => a * point.x[i],
            Symbol::Y(j) => a * point.y[j],
        };
        let part = |(c, part): &(f64, Part)| match part {
            Part::Max(of) => c * of.iter().map(|e| e.value(point)).fold(f64::NEG_INFINITY, f64::max),
            Part::Abs(of) => c * of.value(point).abs(),
        };
        self.constant + self.terms.iter().map(symbol).sum::<f64>() + self.parts.iter().map(part).sum::<f64>()
    }

    /// The sum of the magnitudes of the terms: what rounding errors and tolerances are relative to.
    pub(super) fn size(&self, point: &Point) -> f64 {
        let symbol = |&(symbol, a): &(Symbol, f64)| match symbol {
            Symbol::X(i) => (a * point.x[i]).abs(),
            Symbol::Y(j) => (a * point.y[j]).abs(),
        };
        let part = |(c, part): &(f64, Part)| match part {
            Part::Max(of) => c.abs() * of.iter().map(|e| e.size(point)).fold(0.0, f64::max),
            Part::Abs(of) => c.abs() * of.size(point),
        };
        self.constant.abs() + self.terms.iter().map(symbol).sum::<f64>() + self.parts.iter().map(part).sum::<f64>()
    }

    pub(super) fn range(&self, ranges: &Ranges) -> Interval {
        let mut sum = Sum::new(self.constant);
        for (coefficient, summand) in self.summands(ranges) {
            sum.add(coefficient, summand);
        }
        sum.finish()
    }

    /// Coefficient and range of every term, then of every part.
    fn summands(&self, ranges: &Ranges) -> Vec<(f64, Interval)> {
        let symbol = |&(symbol, a): &(Symbol, f64)| match symbol {
            Symbol::X(i) => (a, ranges.x[i]),
            Symbol::Y(j) => (a, ranges.y[j]),
        };
        let part = |(c, part): &(f64, Part)| (*c, part.range(ranges));
        self.terms.iter().map(symbol).chain(self.parts.iter().map(part)).collect()
    }

    /// Narrows the ranges of the inputs to what is possible where the expression lies in `allowed`. What is cut off
    /// violates the limit by more than rounding. Outputs keep their ranges: they follow from the inputs'.
    pub(super) fn contract(&self, allowed: Interval, ranges: &mut Ranges) {
        let summands = self.summands(ranges);
        // The sum of all summands before and behind each.
        let mut behind = vec![Sum::new(0.0)];
        for &(a, range) in summands.iter().rev() {
            let mut sum = behind[behind.len() - 1];
            sum.add(a, range);
            behind.push(sum);
        }
        behind.reverse();
        let mut before = Sum::new(self.constant);
        for (k, &(a, range)) in summands.iter().enumerate() {
            let mut others = before;
            others.add(1.0, behind[k + 1].finish());
            let others = others.finish();
            before.add(a, range);
            if a == 0.0 {
                continue;
            }
            let ends = [(allowed.lower - others.upper) / a, (allowed.upper - others.lower) / a];
            // inf - inf says nothing.
            let end = |v: f64, nothing: f64| if v.is_nan() { nothing } else { v };
            let own = if a > 0.0 { ends } else { [ends[1], ends[0]] };
            let (lower, upper) = (end(own[0], f64::NEG_INFINITY), end(own[1], f64::INFINITY));
            let slack = |v: f64| if v.is_finite() { super::FEASIBILITY * 1e-3 * v.abs().max(1.0) } else { 0.0 };
            let own = Interval::new(lower - slack(lower), upper + slack(upper));
            match self.terms.get(k) {
                Some(&(Symbol::X(i), _)) => {
                    let x = &mut ranges.x[i];
                    *x = Interval::new(x.lower.max(own.lower), x.upper.min(own.upper));
                }
                Some((Symbol::Y(_), _)) => {}
                None => self.parts[k - self.terms.len()].1.contract(own, ranges),
            }
        }
    }
}

impl Part {
    fn range(&self, ranges: &Ranges) -> Interval {
        match self {
            Part::Max(of) => {
                let all = of.iter().map(|e| e.range(ranges));
                let largest = |a: Interval, b: Interval| Interval::new(a.lower.max(b.lower), a.upper.max(b.upper));
                all.reduce(largest).unwrap_or(Interval::ALL)
            }
            Part::Abs(of) => {
                let range = of.range(ranges);
                let farthest = range.lower.abs().max(range.upper.abs());
                Interval::new(range.lower.max(-range.upper).max(0.0), farthest)
            }
        }
    }

    fn contract(&self, allowed: Interval, ranges: &mut Ranges) {
        match self {
            Part::Max(of) => {
                let below = Interval::new(f64::NEG_INFINITY, allowed.upper);
                of.iter().for_each(|e| e.contract(below, ranges));
            }
            Part::Abs(of) => of.contract(Interval::new(-allowed.upper, allowed.upper), ranges),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_norm_narrows_the_box_around_its_centre() {
        let center = [0.5, -1.0];
        let distance = |i: usize| Expr::symbol(Symbol::X(i)).sub(Expr::constant(center[i]));
        let norm = Expr::part(Part::Max((0..2).flat_map(|i| [distance(i), distance(i).scale(-1.0)]).collect()));
        let mut ranges = Ranges { x: vec![Interval::new(0.0, 9.0), Interval::ALL], y: vec![] };
        norm.contract(Interval::new(f64::NEG_INFINITY, 2.0), &mut ranges);
        assert!((ranges.x[0].upper - 2.5).abs() < 1e-8 && ranges.x[0].lower == 0.0);
        assert!((ranges.x[1].lower + 3.0).abs() < 1e-8 && (ranges.x[1].upper - 1.0).abs() < 1e-8);
        let sum = Expr::part(Part::Abs(Box::new(distance(0)))).add(Expr::symbol(Symbol::X(1)));
        sum.contract(Interval::new(f64::NEG_INFINITY, -2.0), &mut ranges);
        assert!((ranges.x[0].upper - 1.5).abs() < 1e-7 && (ranges.x[1].upper + 2.0).abs() < 1e-7, "{:?}", ranges.x);
    }
}
