//! microlp, a branch and bound in pure Rust.

use ::microlp::{SolveOptions, SolveOutcome, TerminationReason};
use good_lp::{SolverModel, solvers::microlp::microlp};

use super::model::{self, Columns};
use crate::{
    Error, Result,
    lower::{Domain, Formulation, VarId},
    solve::{Objective, Options, Solution, Solver, Status},
};

/// microlp 0.6 takes a variable at none of its bounds for one that can improve the objective, whatever its reduced
/// cost: one without bounds cycles for ever or is called unbounded. It starts at no bound either where both are 2^52
/// or more. Such variables become differences of two that start at 0.
const FREE: f64 = (1_u64 << 52) as f64;

pub(super) fn run(
    linear: &Formulation,
    objective: &Objective,
    options: &Options,
    start: Option<&[f64]>,
) -> Result<Solution> {
    if !options.relaxed && !check_integers(linear)? {
        return Ok(Solution::without_values(Status::Infeasible, None));
    }
    let (problem, columns) = Columns::new(linear, options.relaxed, FREE);
    let mut model = problem.minimise(columns.objective(objective)).using(microlp);
    for row in columns.rows(linear) {
        model.add_constraint(row);
    }
    let mut settings = SolveOptions::default();
    settings.time_limit = options.time_limit;
    settings.warm_start = start.map(|start| {
        let start = columns.split(start);
        handles(start.len()).into_iter().zip(start).collect()
    });
    // good_lp drops the bound, and all of an interrupted search: its inner model keeps them.
    let outcome = model.as_inner().solve_with(settings);
    let user = model::user(objective);
    match outcome {
        Ok(SolveOutcome::Solution(solution)) => {
            let values = columns.join(solution.iter().map(|(_, value)| value));
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
                duals: None,
            })
        }
        Ok(SolveOutcome::Interrupted(interrupted)) => {
            let bound = interrupted.stats().best_bound.filter(|b| b.is_finite());
            Ok(Solution::without_values(Status::TimeLimit, bound.map(user)))
        }
        Err(::microlp::Error::Infeasible) => Ok(Solution::without_values(Status::Infeasible, None)),
        Err(::microlp::Error::Unbounded) => Ok(Solution::without_values(Status::Unbounded, None)),
        Err(error) => {
            Err(Error::solver(format!("microlp failed: {error}; {}", super::advice(linear, Solver::Microlp))))
        }
    }
}

/// Whether there is a whole number between the bounds of each integer. good_lp puts zeros in the place of bounds that
/// have none, or that 32 bits do not hold, and its inner model does not tell.
fn check_integers(linear: &Formulation) -> Result<bool> {
    let table = linear.variables();
    let all = i32::MIN.into()..=i32::MAX.into();
    for i in (0..table.len()).filter(|&i| table.domain[i] != Domain::Continuous) {
        let (lower, upper) = (table.lower[i].ceil(), table.upper[i].floor());
        if lower > upper {
            return Ok(false);
        }
        if [lower, upper].iter().any(|end| end.is_finite() && !all.contains(end)) {
            return Err(Error::unsupported(format!(
                "{} is an integer in [{}, {}], but microlp's have 32 bits; give narrower bounds, or take the solver \
                 `highs`",
                linear.name(VarId(i as u32)),
                table.lower[i],
                table.upper[i]
            )));
        }
    }
    Ok(true)
}

/// microlp's names for the first `n` variables, which only a problem gives out; they are positions.
fn handles(n: usize) -> Vec<::microlp::Variable> {
    let mut names = ::microlp::Problem::new(::microlp::OptimizationDirection::Minimize);
    (0..n).map(|_| names.add_var(0.0, (0.0, 0.0))).collect()
}
