//! Bounds of linear programs that hold whatever the solver did.

use crate::{
    bounds::{Interval, Sum},
    lower::Formulation,
    solve::{Objective, Sense, Solution},
};

/// A certified limit may be this much worse than the solver's, relative where that is above 1; one that is worse comes
/// from bad multipliers.
const LOSS: f64 = 1e-5;

/// A limit that the objective does not pass over a formulation's linear rows and bounds.
///
/// For any multipliers `y` of the rows `L <= A x <= U`, `c'x = y'A x + (c - A'y)'x`; the first part is not below the
/// sum of `y_i L_i` for positive and `y_i U_i` for negative `y_i`, and the second not below its interval over the
/// bounds of `x`.
pub(super) fn limit(model: &Formulation, objective: &Objective, solution: &Solution) -> Option<f64> {
    let (duals, claimed) = (solution.duals.as_ref()?, solution.bound?);
    let sign = if objective.sense == Sense::Minimize { 1.0 } else { -1.0 };
    let rows = model.rows();
    let mut reduced: Vec<Sum> = vec![Sum::new(0.0); model.variables().len()];
    objective.terms.iter().for_each(|&(v, a)| reduced[v.index()].add(sign * a, Interval::point(1.0)));
    let mut total = Sum::new(sign * objective.constant);
    for (i, &y) in duals.iter().enumerate() {
        let end = if y > 0.0 { rows.lower[i] } else { rows.upper[i] };
        if y == 0.0 || !y.is_finite() || !end.is_finite() {
            continue;
        }
        total.add(y, Interval::point(end));
        rows.row(i).for_each(|(v, a)| reduced[v.index()].add(-y, Interval::point(a)));
    }
    for (reduced, v) in reduced.into_iter().zip(0..) {
        let part = reduced.finish().times(model.bounds(crate::lower::VarId(v)));
        total.add(1.0, part);
    }
    let limit = sign * total.finish().lower;
    let close = (limit - claimed).abs() <= LOSS * claimed.abs().max(1.0);
    (limit.is_finite() && close).then_some(limit)
}
