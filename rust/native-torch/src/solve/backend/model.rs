//! A formulation in the terms of `good_lp`.

use good_lp::{Constraint, Expression, ProblemVariables, Variable, constraint, variable, variables};

use crate::lower::{Domain, Formulation};
use crate::solve::{Objective, Sense};

/// The variables in order, and the problem that holds them.
pub(super) fn columns(linear: &Formulation, relaxed: bool) -> (ProblemVariables, Vec<Variable>) {
    let table = linear.variables();
    let mut problem = variables!();
    let columns = (0..table.len())
        .map(|i| {
            let mut definition = variable().min(table.lower[i]).max(table.upper[i]);
            if table.domain[i] != Domain::Continuous && !relaxed {
                definition = definition.integer();
            }
            problem.add(definition)
        })
        .collect();
    (problem, columns)
}

/// The objective, always to be minimised, without its constant.
pub(super) fn objective(objective: &Objective, columns: &[Variable]) -> Expression {
    let sign = if objective.sense == Sense::Minimize { 1.0 } else { -1.0 };
    objective.terms.iter().map(|&(v, a)| sign * a * columns[v.index()]).sum()
}

/// The rows as equations and one-sided inequalities.
pub(super) fn rows<'a>(linear: &'a Formulation, columns: &'a [Variable]) -> impl Iterator<Item = Constraint> + 'a {
    let rows = linear.rows();
    (0..rows.len()).flat_map(move |i| {
        let (lower, upper) = (rows.lower[i], rows.upper[i]);
        let sum = || -> Expression {
            let mut sum = Expression::with_capacity(rows.row(i).len());
            rows.row(i).for_each(|(v, a)| sum.add_mul(a, columns[v.index()]));
            sum
        };
        let equal = (lower == upper).then(|| constraint!(sum() == lower));
        let above = (lower != upper && lower.is_finite()).then(|| constraint!(sum() >= lower));
        let below = (lower != upper && upper.is_finite()).then(|| constraint!(sum() <= upper));
        [equal, above, below].into_iter().flatten()
    })
}
