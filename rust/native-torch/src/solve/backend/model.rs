//! A formulation in the terms of `good_lp`, and back.

use good_lp::{Constraint, Expression, ProblemVariables, Variable, constraint, variable, variables};

use crate::lower::{Domain, Formulation};
use crate::solve::{Objective, Sense};

/// What stands for the formulation's variables.
pub(super) struct Columns(Vec<Column>);

/// A variable, or the difference of two that are not negative.
struct Column {
    plus: Variable,
    minus: Option<Variable>,
}

impl Columns {
    /// The variables in order, and the problem that holds them. Continuous ones whose bounds both lie this far out, or
    /// farther, are split.
    pub(super) fn new(linear: &Formulation, relaxed: bool, split: f64) -> (ProblemVariables, Self) {
        let table = linear.variables();
        let mut problem = variables!();
        let columns = (0..table.len())
            .map(|i| {
                let (lower, upper) = (table.lower[i], table.upper[i]);
                if table.domain[i] != Domain::Continuous && !relaxed {
                    return Column { plus: problem.add(variable().min(lower).max(upper).integer()), minus: None };
                }
                if lower <= -split && upper >= split {
                    let plus = problem.add(variable().min(0.0).max(upper));
                    return Column { plus, minus: Some(problem.add(variable().min(0.0).max(-lower))) };
                }
                Column { plus: problem.add(variable().min(lower).max(upper)), minus: None }
            })
            .collect();
        (problem, Self(columns))
    }

    fn add(&self, sum: &mut Expression, i: usize, a: f64) {
        let column = &self.0[i];
        sum.add_mul(a, column.plus);
        if let Some(minus) = column.minus {
            sum.add_mul(-a, minus);
        }
    }

    /// The objective, always to be minimised, without its constant.
    pub(super) fn objective(&self, objective: &Objective) -> Expression {
        let mut sum = Expression::with_capacity(objective.terms.len());
        objective.terms.iter().for_each(|&(v, a)| self.add(&mut sum, v.index(), sign(objective) * a));
        sum
    }

    /// The rows as equations and one-sided inequalities.
    pub(super) fn rows<'a>(&'a self, linear: &'a Formulation) -> impl Iterator<Item = Constraint> + 'a {
        let rows = linear.rows();
        (0..rows.len()).flat_map(move |i| {
            let (lower, upper) = (rows.lower[i], rows.upper[i]);
            let sum = || -> Expression {
                let mut sum = Expression::with_capacity(rows.row(i).len());
                rows.row(i).for_each(|(v, a)| self.add(&mut sum, v.index(), a));
                sum
            };
            let equal = (lower == upper).then(|| constraint!(sum() == lower));
            let above = (lower != upper && lower.is_finite()).then(|| constraint!(sum() >= lower));
            let below = (lower != upper && upper.is_finite()).then(|| constraint!(sum() <= upper));
            [equal, above, below].into_iter().flatten()
        })
    }

    /// The sums of a solver's numbers for [`Columns::rows`] over those of each row.
    #[cfg_attr(not(feature = "highs"), allow(dead_code))]
    pub(super) fn join_rows(&self, linear: &Formulation, numbers: &[f64]) -> Vec<f64> {
        let rows = linear.rows();
        let mut numbers = numbers.iter().copied();
        let mut next = |present: bool| if present { numbers.next().unwrap_or(f64::NAN) } else { 0.0 };
        (0..rows.len())
            .map(|i| {
                let (lower, upper) = (rows.lower[i], rows.upper[i]);
                next(lower == upper || lower.is_finite()) + next(lower != upper && upper.is_finite())
            })
            .collect()
    }

    /// The solver's values where the formulation's variables have these.
    #[cfg_attr(not(feature = "microlp"), allow(dead_code))]
    pub(super) fn split(&self, values: &[f64]) -> Vec<f64> {
        let both = |(column, &value): (&Column, &f64)| match column.minus {
            None => [Some(value), None],
            Some(_) => [Some(value.max(0.0)), Some((-value).max(0.0))],
        };
        self.0.iter().zip(values).flat_map(both).flatten().collect()
    }

    /// The formulation's values where the solver's variables have these.
    #[cfg_attr(not(feature = "microlp"), allow(dead_code))]
    pub(super) fn join(&self, values: impl IntoIterator<Item = f64>) -> Vec<f64> {
        let mut values = values.into_iter();
        let mut next = || values.next().unwrap_or(f64::NAN);
        self.0.iter().map(|column| next() - column.minus.map_or(0.0, |_| next())).collect()
    }
}

fn sign(objective: &Objective) -> f64 {
    if objective.sense == Sense::Minimize { 1.0 } else { -1.0 }
}

/// The caller's objective for that of [`Columns::objective`].
pub(super) fn user(objective: &Objective) -> impl Fn(f64) -> f64 + use<> {
    let (sign, constant) = (sign(objective), objective.constant);
    move |internal| sign * internal + constant
}
