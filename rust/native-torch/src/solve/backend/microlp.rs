//! microlp, a branch and bound in pure Rust.

use ::microlp::{SolveOptions, SolveOutcome, TerminationReason};
use good_lp::{SolverModel, solvers::microlp::microlp};

use super::model;
use crate::{
    Error, Result,
    lower::Formulation,
    solve::{Objective, Options, Sense, Solution, Status},
};

pub(super) fn run(
    linear: &Formulation,
    objective: &Objective,
    options: &Options,
    start: Option<&[f64]>,
) -> Result<Solution> {
    let (problem, columns) = model::columns(linear, options.relaxed);
    let mut model = problem.minimise(model::objective(objective, &columns)).using(microlp);
    for row in model::rows(linear, &columns) {
        model.add_constraint(row);
    }
    let mut settings = SolveOptions::default();
    settings.time_limit = options.time_limit;
    settings.warm_start = start.map(|start| handles(columns.len()).into_iter().zip(start.iter().copied()).collect());
    // good_lp drops the bound, and all of an interrupted search: its inner model keeps them.
    let outcome = model.as_inner().solve_with(settings);
    let sign = if objective.sense == Sense::Minimize { 1.0 } else { -1.0 };
    let user = |internal: f64| sign * internal + objective.constant;
    match outcome {
        Ok(SolveOutcome::Solution(solution)) => {
            let values: Vec<f64> = solution.iter().map(|(_, value)| value).collect();
            let status = match solution.termination_reason() {
                TerminationReason::ProvenOptimal => Status::Optimal,
                _ => Status::TimeLimit,
            };
            let bound = match status {
                Status::Optimal => Some(solution.objective()),
                _ => solution.stats().best_bound,
            };
            Ok(Solution {
                status,
                objective: Some(user(solution.objective())),
                bound: bound.filter(|b| b.is_finite()).map(user),
                values: Some(values),
            })
        }
        Ok(SolveOutcome::Interrupted(interrupted)) => {
            let bound = interrupted.stats().best_bound.filter(|b| b.is_finite());
            Ok(Solution::without_values(Status::TimeLimit, bound.map(user)))
        }
        Err(::microlp::Error::Infeasible) => Ok(Solution::without_values(Status::Infeasible, None)),
        Err(::microlp::Error::Unbounded) => Ok(Solution::without_values(Status::Unbounded, None)),
        Err(error) => Err(Error::solver(format!("microlp failed: {error}"))),
    }
}

/// microlp's names for the first `n` variables, which only a problem gives out; they are positions.
fn handles(n: usize) -> Vec<::microlp::Variable> {
    let mut names = ::microlp::Problem::new(::microlp::OptimizationDirection::Minimize);
    (0..n).map(|_| names.add_var(0.0, (0.0, 0.0))).collect()
}
