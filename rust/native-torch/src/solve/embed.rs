//! Piecewise linear expressions as variables and rows of a formulation.

use super::{
    FEASIBILITY,
    expression::{Expr, Part, Ranges, Symbol},
};
use crate::{
    Error, Result,
    bounds::{Interval, Sum},
    lower::{Domain, Formulation, VarId},
};

/// How the stand-in of an expression relates to it. One-sided stand-ins reach the expression where the objective or
/// condition presses them against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Never below.
    Above,
    /// Never above.
    Below,
    /// The same.
    Exact,
}

impl Side {
    fn times(self, factor: f64) -> Side {
        match self {
            Side::Above if factor < 0.0 => Side::Below,
            Side::Below if factor < 0.0 => Side::Above,
            same => same,
        }
    }
}

/// A linear function of a formulation's variables.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Linear {
    pub terms: Vec<(VarId, f64)>,
    pub constant: f64,
}

impl Linear {
    pub(super) fn value(&self, values: &[f64]) -> f64 {
        self.constant + self.terms.iter().map(|(v, a)| a * values[v.index()]).sum::<f64>()
    }

    fn scale(&self, factor: f64) -> Linear {
        Linear { terms: self.terms.iter().map(|&(v, a)| (v, a * factor)).collect(), constant: self.constant * factor }
    }

    fn add(&mut self, other: Linear) {
        self.terms.extend(other.terms);
        self.constant += other.constant;
    }

    fn range(&self, model: &Formulation) -> Interval {
        let mut sum = Sum::new(self.constant);
        self.terms.iter().for_each(|&(v, a)| sum.add(a, model.bounds(v)));
        sum.finish()
    }
}

/// A variable made for an expression: the largest of several linear functions, or whether one of them is.
struct Extra {
    variable: VarId,
    of: usize,
    chosen: Option<usize>,
}

/// A formulation with expressions over its inputs and outputs.
pub(super) struct Embedding {
    pub model: Formulation,
    ranges: Ranges,
    blocks: Option<(u32, u32)>,
    maxima: Vec<Vec<Linear>>,
    extras: Vec<Extra>,
    /// A condition without variables is false.
    pub contradiction: bool,
}

impl Embedding {
    pub(super) fn new(model: Formulation) -> Self {
        let range = |variables: &[VarId]| variables.iter().map(|&v| model.bounds(v)).collect();
        let ranges = Ranges { x: range(model.inputs()), y: range(model.outputs()) };
        Self { model, ranges, blocks: None, maxima: Vec::new(), extras: Vec::new(), contradiction: false }
    }

    /// `expr <= 0`, or `expr == 0`.
    pub(super) fn require(&mut self, expr: &Expr, equal: bool) -> Result<()> {
        let linear = self.linear(expr, if equal { Side::Exact } else { Side::Above })?;
        let limit = -linear.constant;
        if linear.terms.is_empty() {
            // The tolerance of any condition.
            let slack = FEASIBILITY * expr.constant.abs().max(1.0);
            self.contradiction |= limit < -slack || (equal && limit > slack);
            return Ok(());
        }
        self.model.add_row(if equal { limit } else { f64::NEG_INFINITY }, &linear.terms, limit)?;
        Ok(())
    }

    /// The linear stand-in of an expression.
    pub(super) fn linear(&mut self, expr: &Expr, side: Side) -> Result<Linear> {
        let variable = |&(symbol, a): &(Symbol, f64)| match symbol {
            Symbol::X(i) => (self.model.inputs()[i], a),
            Symbol::Y(j) => (self.model.outputs()[j], a),
        };
        let mut sum = Linear { terms: expr.terms.iter().map(variable).collect(), constant: expr.constant };
        for (c, part) in &expr.parts {
            let part = self.part(part, side.times(*c))?;
            sum.add(part.scale(*c));
        }
        // An input may be an output, and outputs may share a variable.
        sum.terms.sort_by_key(|term| term.0);
        let merged = sum.terms.chunk_by(|a, b| a.0 == b.0);
        sum.terms = merged
            .map(|same| (same[0].0, same.iter().map(|term| term.1).sum::<f64>()))
            .filter(|term| term.1 != 0.0)
            .collect();
        Ok(sum)
    }

    fn part(&mut self, part: &Part, side: Side) -> Result<Linear> {
        match part {
            Part::Abs(of) => {
                let range = of.range(&self.ranges);
                if range.lower >= 0.0 {
                    return self.linear(of, side);
                }
                if range.upper <= 0.0 {
                    return self.linear(&of.as_ref().clone().scale(-1.0), side);
                }
                let of = self.linear(of, if of.is_affine() { side } else { Side::Exact })?;
                let negated = of.scale(-1.0);
                self.maximum(vec![of, negated], 0.0, side)
            }
            Part::Max(of) => {
                let ranges: Vec<Interval> = of.iter().map(|e| e.range(&self.ranges)).collect();
                let lowest = ranges.iter().map(|r| r.lower).fold(f64::NEG_INFINITY, f64::max);
                let first = ranges.iter().position(|r| r.lower == lowest).unwrap_or(0);
                let mut candidates = Vec::new();
                for (k, e) in of.iter().enumerate() {
                    if k == first || ranges[k].upper > lowest {
                        candidates.push(self.linear(e, side)?);
                    }
                }
                if candidates.len() == 1 { Ok(candidates.remove(0)) } else { self.maximum(candidates, lowest, side) }
            }
        }
    }

    /// A variable above all candidates, below the chosen one, or both. The maximum is known to be `lowest` or more.
    fn maximum(&mut self, candidates: Vec<Linear>, lowest: f64, side: Side) -> Result<Linear> {
        let ranges: Vec<Interval> = candidates.iter().map(|c| c.range(&self.model)).collect();
        let largest = |a: Interval, &b: &Interval| Interval::new(a.lower.max(b.lower), a.upper.max(b.upper));
        let bounds = ranges.iter().fold(Interval::new(lowest, f64::NEG_INFINITY), largest);
        if side != Side::Above && !ranges.iter().all(|r| r.is_finite()) {
            return Err(Error::argument(
                "an abs, max, min or norm stands where it is not convex, which takes binaries and finite bounds of all \
                 that it contains; give bounds",
            ));
        }
        let (values, choices) = match self.blocks {
            Some(blocks) => blocks,
            None => (self.model.add_block("largest"), self.model.add_block("choice")),
        };
        self.blocks = Some((values, choices));
        let t = self.model.add_variable(values, bounds, Domain::Continuous)?;
        let of = self.maxima.len();
        self.extras.push(Extra { variable: t, of, chosen: None });
        let difference =
            |c: &Linear| -> Vec<(VarId, f64)> { [(t, 1.0)].into_iter().chain(c.scale(-1.0).terms).collect() };
        if side != Side::Below {
            for c in &candidates {
                self.model.add_row(c.constant, &difference(c), f64::INFINITY)?;
            }
        }
        if side != Side::Above {
            // Of two, one binary chooses; of more, one of as many.
            let mut chosen = Vec::new();
            for k in 0..if candidates.len() == 2 { 1 } else { candidates.len() } {
                let binary = self.model.add_variable(choices, Interval::new(0.0, 1.0), Domain::Binary)?;
                self.extras.push(Extra { variable: binary, of, chosen: Some(k) });
                chosen.push((binary, 1.0));
            }
            for (k, c) in candidates.iter().enumerate() {
                let others = ranges.iter().enumerate().filter(|(j, _)| *j != k).map(|(_, r)| r.upper);
                let big = (others.fold(f64::NEG_INFINITY, f64::max) - ranges[k].lower).max(0.0);
                let mut terms = difference(c);
                // t <= c + big (1 - chosen)
                let limit = match chosen.get(k) {
                    Some(&(binary, _)) => {
                        terms.push((binary, big));
                        c.constant + big
                    }
                    None => {
                        terms.push((chosen[0].0, -big));
                        c.constant
                    }
                };
                self.model.add_row(f64::NEG_INFINITY, &terms, limit)?;
            }
            if chosen.len() > 1 {
                self.model.add_row(1.0, &chosen, 1.0)?;
            }
        }
        self.maxima.push(candidates);
        Ok(Linear { terms: vec![(t, 1.0)], constant: 0.0 })
    }

    /// Makes the forward pass at `x`, and what the expressions are there, the start values.
    pub(super) fn set_start(&mut self, x: &[f64]) -> Result<()> {
        let mut values = self.model.evaluate(x)?;
        for extra in &self.extras {
            let all: Vec<f64> = self.maxima[extra.of].iter().map(|c| c.value(&values)).collect();
            let largest = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            values[extra.variable.index()] = match extra.chosen {
                None => largest,
                Some(k) => f64::from(all.iter().position(|&v| v == largest) == Some(k)),
            };
        }
        self.model.set_start_values(values);
        Ok(())
    }
}
