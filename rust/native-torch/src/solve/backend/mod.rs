//! The solvers behind `good_lp`. Where it hides a status or a bound, the inner model is asked.

#[cfg(feature = "highs")]
mod highs;
#[cfg(feature = "microlp")]
mod microlp;
#[cfg(any(feature = "microlp", feature = "highs"))]
mod model;

use std::time::{Duration, Instant};

use super::{FEASIBILITY, Objective, Options, Sense, Solution, Solver, Status, violation};
use crate::{
    Error, Result,
    bounds::Interval,
    lower::{Domain, Formulation, VarId},
};

/// What the solver claims about a formulation of linear rows. Infeasible is not yet checked, nor is the point;
/// unbounded is: whether there is a direction that improves the objective for ever, and whether there is a point, are
/// questions without an objective, where solvers are at their most reliable.
pub(super) fn run(
    linear: &Formulation,
    objective: &Objective,
    options: &Options,
    start: Option<&[f64]>,
) -> Result<Solution> {
    // A limit beyond what the clock can count is none.
    let deadline = options.time_limit.and_then(|limit| Instant::now().checked_add(limit));
    let left = || -> Options {
        let left: Option<Duration> = deadline.map(|end| end.saturating_duration_since(Instant::now()));
        Options { time_limit: left, ..options.clone() }
    };
    if let Some(cone) = Rays::of(linear, objective)? {
        let direction = call(&cone.model, &nothing(), &left(), None)?;
        match (direction.status, direction.values) {
            (Status::Optimal, Some(direction)) => {
                cone.check(linear, objective, &direction, options.solver)?;
                return or_infeasible(linear, &left(), start);
            }
            (Status::TimeLimit, _) => return Ok(Solution::without_values(Status::TimeLimit, None)),
            _ => {}
        }
    }
    let solution = call(linear, objective, &left(), start)?;
    if solution.status == Status::Unbounded {
        return Err(Error::solver(format!(
            "{} claims that the objective has no limit, but no direction improves it for ever; {}",
            options.solver.name(),
            advice(linear, options.solver)
        )));
    }
    Ok(solution)
}

/// Unbounded if there is a point, else infeasible.
fn or_infeasible(linear: &Formulation, options: &Options, start: Option<&[f64]>) -> Result<Solution> {
    // A start has been checked.
    let status = if start.is_some() {
        Status::Unbounded
    } else {
        let point = call(linear, &nothing(), options, None)?;
        match (point.status, point.values) {
            (Status::Optimal | Status::TimeLimit, Some(values)) => match violation(linear, &values) {
                None => Status::Unbounded,
                Some(what) => {
                    return Err(Error::solver(format!("{} returned a wrong answer: {what}", options.solver.name())));
                }
            },
            (status, _) => status,
        }
    };
    Ok(Solution::without_values(status, None))
}

fn nothing() -> Objective {
    Objective { sense: Sense::Minimize, terms: Vec::new(), constant: 0.0 }
}

/// The directions from any point that stay within all bounds and rows for ever, and improve the objective by 1.
struct Rays {
    model: Formulation,
    /// The variables that may change for ever, with those that stand for their changes.
    changes: Vec<Option<VarId>>,
}

impl Rays {
    /// None where the bounds alone limit the objective.
    fn of(linear: &Formulation, objective: &Objective) -> Result<Option<Self>> {
        let minimise = objective.sense == Sense::Minimize;
        let limited = objective.terms.iter().all(|&(v, a)| {
            let bounds = linear.bounds(v);
            a == 0.0 || if (a > 0.0) == minimise { bounds.lower.is_finite() } else { bounds.upper.is_finite() }
        });
        if limited {
            return Ok(None);
        }
        // A limit becomes 0, and none stays none.
        let cone = |lower: f64, upper: f64| {
            let end = |limit: f64| if limit.is_finite() { 0.0 } else { limit };
            Interval::new(end(lower), end(upper))
        };
        let mut model = Formulation::default();
        let block = model.add_block("direction");
        let table = linear.variables();
        let mut changes = vec![None; table.len()];
        for (i, change) in changes.iter_mut().enumerate() {
            let bounds = cone(table.lower[i], table.upper[i]);
            if bounds != Interval::point(0.0) {
                *change = Some(model.add_variable(block, bounds, Domain::Continuous)?);
            }
        }
        let rows = linear.rows();
        for i in 0..rows.len() {
            let limits = cone(rows.lower[i], rows.upper[i]);
            let terms: Vec<_> = rows.row(i).filter_map(|(v, a)| Some((changes[v.index()]?, a))).collect();
            if !terms.is_empty() {
                model.add_row(limits.lower, &terms, limits.upper)?;
            }
        }
        let better = if minimise { -1.0 } else { 1.0 };
        let terms: Vec<_> = objective.terms.iter().filter_map(|&(v, a)| Some((changes[v.index()]?, a))).collect();
        model.add_row(better, &terms, better)?;
        Ok(Some(Self { model, changes }))
    }

    /// An error where the direction leaves rows or bounds by more than rounding does. An absolute tolerance would take
    /// `1e-12 x >= -1` for no limit of x.
    fn check(&self, linear: &Formulation, objective: &Objective, direction: &[f64], solver: Solver) -> Result<()> {
        let rows = self.model.rows();
        let kept = (0..rows.len()).all(|i| {
            let size = rows.row(i).map(|(v, a)| (a * direction[v.index()]).abs()).fold(0.0, f64::max);
            let (sum, slack) = (rows.value(i, direction), FEASIBILITY * size);
            rows.lower[i] - slack <= sum && sum <= rows.upper[i] + slack
        });
        let largest = direction.iter().fold(0.0, |largest: f64, d| largest.max(d.abs()));
        let inside = direction.iter().enumerate().all(|(i, &d)| {
            let (bounds, slack) = (self.model.bounds(VarId(i as u32)), FEASIBILITY * largest);
            bounds.lower - slack <= d && d <= bounds.upper + slack
        });
        if kept && inside && largest.is_finite() {
            return Ok(());
        }
        let names = objective.terms.iter().filter(|(v, _)| self.changes[v.index()].is_some());
        let names: Vec<String> = names.take(3).map(|&(v, _)| linear.name(v)).collect();
        Err(Error::solver(format!(
            "{} cannot tell whether the objective has a limit, where {} has no bounds; {}",
            solver.name(),
            names.join(", "),
            advice(linear, solver)
        )))
    }
}

/// What to try where a solver fails.
fn advice(linear: &Formulation, solver: Solver) -> String {
    let other = Solver::ALL.into_iter().find(|other| *other != solver).map_or("", Solver::name);
    let bounds = linear.inputs().iter().map(|&v| linear.bounds(v));
    let widest = bounds.fold(0.0, |widest: f64, b| widest.max(b.lower.abs()).max(b.upper.abs()));
    let inputs = if widest > 1e6 { format!(" (the inputs reach {widest:e})") } else { String::new() };
    format!("narrower bounds{inputs} or the solver `{other}` may help")
}

fn call(linear: &Formulation, objective: &Objective, options: &Options, start: Option<&[f64]>) -> Result<Solution> {
    let solver = options.solver.name();
    // A solver's defect is an error of its own, not the end of the program.
    let run = std::panic::AssertUnwindSafe(|| match options.solver {
        #[cfg(feature = "microlp")]
        Solver::Microlp => microlp::run(linear, objective, options, start),
        #[cfg(feature = "highs")]
        Solver::Highs => highs::run(linear, objective, options, start),
        #[allow(unreachable_patterns)]
        _ => Err(Error::unsupported(format!(
            "this build has no solver `{solver}`; build with the cargo feature `{solver}`"
        ))),
    });
    std::panic::catch_unwind(run)
        .unwrap_or_else(|_| Err(Error::solver(format!("{solver} panicked; {}", advice(linear, options.solver)))))
}
