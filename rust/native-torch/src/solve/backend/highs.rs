//! HiGHS, through its C++ library.

use ::highs::{HighsModelStatus, HighsSolutionStatus};
use good_lp::{SolverModel, solvers::highs::highs};

use super::model::{self, Columns};
use crate::{
    Error, Result,
    lower::Formulation,
    solve::{Objective, Options, Solution, Solver, Status},
};

/// The same tolerances as microlp's, and no gap.
const SETTINGS: [(&str, f64); 5] = [
    ("mip_rel_gap", 0.0),
    ("mip_abs_gap", 1e-9),
    ("mip_feasibility_tolerance", 1e-9),
    ("primal_feasibility_tolerance", 1e-9),
    ("dual_feasibility_tolerance", 1e-9),
];

pub(super) fn run(
    linear: &Formulation,
    objective: &Objective,
    options: &Options,
    start: Option<&[f64]>,
) -> Result<Solution> {
    let (problem, columns) = Columns::new(linear, options.relaxed, f64::NAN);
    let mut model = problem.minimise(columns.objective(objective)).using(highs);
    for row in columns.rows(linear) {
        model.add_constraint(row);
    }
    // good_lp drops the bound and tells no unbounded problem from an infeasible one: its inner model does.
    let failed =
        |what: String| Error::solver(format!("HiGHS failed: {what}; {}", super::advice(linear, Solver::Highs)));
    let mut inner = model.try_into_inner().map_err(|error| failed(error.to_string()))?;
    inner.make_quiet();
    for (name, value) in SETTINGS {
        inner.set_option(name, value);
    }
    if let Some(limit) = options.time_limit {
        inner.set_option("time_limit", limit.as_secs_f64());
    }
    if let Some(start) = start {
        inner.set_solution(Some(start), None, None, None);
    }
    let solved = inner.try_solve().map_err(|error| failed(format!("{error:?}")))?;
    let user = model::user(objective);
    let values = || {
        let found = solved.primal_solution_status() == HighsSolutionStatus::Feasible;
        found.then(|| solved.get_solution().columns().to_vec())
    };
    let discrete = linear.is_discrete() && !options.relaxed;
    let status = match solved.status() {
        HighsModelStatus::Optimal => Status::Optimal,
        HighsModelStatus::Infeasible => Status::Infeasible,
        HighsModelStatus::Unbounded => Status::Unbounded,
        // The caller has made sure that it is not unbounded.
        HighsModelStatus::UnboundedOrInfeasible => Status::Infeasible,
        HighsModelStatus::ReachedTimeLimit => Status::TimeLimit,
        other => return Err(failed(format!("it ended with the status {other:?}"))),
    };
    if matches!(status, Status::Infeasible | Status::Unbounded) {
        return Ok(Solution::without_values(status, None));
    }
    let bound = if discrete {
        solved.double_info_value(c"mip_dual_bound").ok()
    } else {
        (status == Status::Optimal).then(|| solved.objective_value())
    };
    let values = values();
    let duals =
        (!discrete && status == Status::Optimal).then(|| columns.join_rows(linear, solved.get_solution().dual_rows()));
    Ok(Solution {
        status,
        objective: values.as_ref().map(|_| user(solved.objective_value())),
        bound: bound.filter(|b| b.is_finite()).map(user),
        values,
        duals,
    })
}
