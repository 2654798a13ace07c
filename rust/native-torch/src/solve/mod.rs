//! Solving: a [`Formulation`] with a linear objective goes to a solver through `good_lp`.
//!
//! | solver | feature | |
//! |---|---|---|
//! | microlp | `microlp`, on by default | pure Rust |
//! | HiGHS | `highs` | needs cmake, a C++ compiler and libclang |
//!
//! SOS1 sets and indicator rows become big-M rows here. No answer is passed on unseen: the point is checked against
//! the formulation and the network's own forward pass, and a claim that a known point refutes is an error.

mod backend;
mod embed;
mod expression;
mod formulate;
mod linearise;
mod parse;
mod problem;

pub use crate::lower::{Objective, Sense};
pub use formulate::with_objective;
pub use problem::{Answer, Problem};

use std::time::Duration;

use crate::{
    Error, Result,
    lower::{Domain, Formulation, VarId},
};

/// Rows may be violated by this much, relative to the size of their terms where that is above 1.
pub const FEASIBILITY: f64 = 1e-6;

/// The network's own output may differ by this much, relative, from the solver's.
const FORWARD: f64 = 1e-5;

/// The solvers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Solver {
    /// [microlp](https://docs.rs/microlp), in Rust.
    Microlp,
    /// [HiGHS](https://highs.dev), in C++.
    Highs,
}

impl Solver {
    /// Every solver, built in or not.
    pub const ALL: [Solver; 2] = [Solver::Microlp, Solver::Highs];

    /// The name: `microlp`, `highs`.
    pub fn name(self) -> &'static str {
        match self {
            Solver::Microlp => "microlp",
            Solver::Highs => "highs",
        }
    }

    /// The solver of this name.
    pub fn from_name(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|solver| solver.name() == name).ok_or_else(|| {
            Error::argument(format!("there is no solver `{name}`; there are {}", Self::ALL.map(Self::name).join(", ")))
        })
    }
}

impl Default for Solver {
    /// microlp, unless this build has HiGHS alone.
    fn default() -> Self {
        if cfg!(feature = "microlp") || !cfg!(feature = "highs") { Solver::Microlp } else { Solver::Highs }
    }
}

/// How to solve.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The solver.
    pub solver: Solver,
    /// How long it may take.
    pub time_limit: Option<Duration>,
    /// Whether binaries and integers may take any value in their bounds.
    pub relaxed: bool,
}

/// What a solver found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// The point is optimal, proven.
    Optimal,
    /// There is no point, proven.
    Infeasible,
    /// The objective has no limit.
    Unbounded,
    /// Time ran out before a proof.
    TimeLimit,
}

impl Status {
    /// The name: `optimal`, `infeasible`, `unbounded`, `time_limit`.
    pub fn name(self) -> &'static str {
        match self {
            Status::Optimal => "optimal",
            Status::Infeasible => "infeasible",
            Status::Unbounded => "unbounded",
            Status::TimeLimit => "time_limit",
        }
    }
}

/// The answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Solution {
    /// What is known.
    pub status: Status,
    /// The objective at the best point found, if there is one.
    pub objective: Option<f64>,
    /// A proven limit of the objective: no point is better. None where none is known.
    pub bound: Option<f64>,
    /// The values of the formulation's variables at the best point found.
    pub values: Option<Vec<f64>>,
    /// The multiplier of each row where the problem is linear, has an optimum, and the solver tells: by how much the
    /// objective, as it is minimised, grows with the row's limit.
    pub duals: Option<Vec<f64>>,
}

impl Solution {
    /// A status without values.
    pub(crate) fn without_values(status: Status, bound: Option<f64>) -> Self {
        Self { status, objective: None, bound, values: None, duals: None }
    }
}

/// Minimises or maximises a linear objective over a formulation.
///
/// The start values of the variables ([`Formulation::set_start`]), where there are any, are the initial solution of a
/// mixed-integer solve; one that is feasible is never lost, however early the time is over.
pub fn solve(formulation: &Formulation, objective: &Objective, options: &Options) -> Result<Solution> {
    check_supported(formulation)?;
    objective.check(formulation)?;
    let linear = linearise::linearise(formulation)?;
    let start = start(&linear, objective);
    let claimed = backend::run(&linear, objective, options, start.as_deref())?;
    let solution = match (claimed.status, &start) {
        (Status::Infeasible, Some(_)) => {
            return Err(Error::solver(format!(
                "{} claims that there is no solution, but the start is one",
                options.solver.name()
            )));
        }
        (Status::TimeLimit, Some(start)) if claimed.values.is_none() => {
            Solution { values: Some(start.clone()), objective: Some(objective.value(start)), ..claimed }
        }
        _ => claimed,
    };
    let Some(mut values) = solution.values else { return Ok(solution) };
    let wrong = |what: String| Error::solver(format!("{} returned a wrong answer: {what}", options.solver.name()));
    if !options.relaxed {
        round_integers(&linear, &mut values);
    }
    violation(&linear, &values).map_or(Ok(()), |what| Err(wrong(what)))?;
    values.truncate(formulation.variables().len());
    if !options.relaxed {
        forward_difference(formulation, &values).map_or(Ok(()), |what| Err(wrong(what)))?;
    }
    let found = objective.value(&values);
    if let Some(start) = &start
        && solution.status == Status::Optimal
        && is_better(objective.sense, objective.value(start), found, FEASIBILITY * (1.0 + found.abs()))
    {
        return Err(wrong(format!("{found} is not optimal, since the start has {}", objective.value(start))));
    }
    Ok(Solution { objective: Some(found), values: Some(values), ..solution })
}

/// Whether `a` is better than `b` by more than `margin`.
pub(crate) fn is_better(sense: Sense, a: f64, b: f64, margin: f64) -> bool {
    match sense {
        Sense::Minimize => a < b - margin,
        Sense::Maximize => a > b + margin,
    }
}

/// An error for what no linear solver takes.
fn check_supported(formulation: &Formulation) -> Result<()> {
    let refused = |node: u32, what: &str| {
        Err(Error::unsupported(format!(
            "{} makes the problem {what}, which a mixed-integer linear solver cannot take; networks of linear layers, \
             ReLU, LeakyReLU and pools can be solved here, and any network in JuMP with Ipopt, as a gray box or in \
             full space",
            formulation.layer(node)
        )))
    };
    if !formulation.output_expressions().is_empty() {
        return Err(Error::unsupported("the formulation is in reduced space; take one in full space to solve it here"));
    }
    if let Some(&node) = formulation.definitions().tapes.node.first() {
        return refused(node, "nonlinear");
    }
    if let Some(&node) = formulation.quadratic().rows.node.first() {
        return refused(node, "quadratic");
    }
    if let Some(&node) = formulation.cones().node.first() {
        return refused(node, "conic");
    }
    if let Some(&node) = formulation.complementarities().node.first() {
        return refused(node, "a complementarity problem");
    }
    Ok(())
}

/// The start values, if they are complete and feasible.
fn start(linear: &Formulation, objective: &Objective) -> Option<Vec<f64>> {
    let mut start = linear.variables().start.clone();
    round_integers(linear, &mut start);
    let usable = start.iter().all(|v| v.is_finite()) && violation(linear, &start).is_none();
    (usable && objective.value(&start).is_finite()).then_some(start)
}

fn round_integers(formulation: &Formulation, values: &mut [f64]) {
    for (value, domain) in values.iter_mut().zip(&formulation.variables().domain) {
        if *domain != Domain::Continuous {
            *value = value.round();
        }
    }
}

/// What a point violates, in words.
fn violation(formulation: &Formulation, values: &[f64]) -> Option<String> {
    let variables = formulation.variables();
    for (i, &value) in values.iter().enumerate() {
        let slack = FEASIBILITY * value.abs().max(1.0);
        if !(variables.lower[i] - slack <= value && value <= variables.upper[i] + slack) {
            return Some(format!(
                "{} is {value}, outside its bounds [{}, {}]",
                formulation.name(VarId(i as u32)),
                variables.lower[i],
                variables.upper[i]
            ));
        }
    }
    let rows = formulation.rows();
    for i in 0..rows.len() {
        let sum = rows.value(i, values);
        let size = rows.row(i).map(|(v, a)| (a * values[v.index()]).abs()).fold(1.0, f64::max);
        let slack = FEASIBILITY * size;
        if !(rows.lower[i] - slack <= sum && sum <= rows.upper[i] + slack) {
            return Some(format!(
                "row {i} of {} is {sum}, outside [{}, {}]",
                formulation.layer(rows.node[i]),
                rows.lower[i],
                rows.upper[i]
            ));
        }
    }
    None
}

/// Where the network's own outputs at the solution's inputs are not the solution's outputs.
fn forward_difference(formulation: &Formulation, values: &[f64]) -> Option<String> {
    let inputs: Vec<f64> = formulation.inputs().iter().map(|v| values[v.index()]).collect();
    let forward = formulation.evaluate(&inputs).ok()?;
    let largest = formulation.outputs().iter().map(|y| forward[y.index()].abs()).fold(1.0, f64::max);
    let differs = |y: &&VarId| (forward[y.index()] - values[y.index()]).abs() > FORWARD * largest;
    formulation.outputs().iter().find(differs).map(|&y| {
        format!("{} is {}, but the network gives {}", formulation.name(y), values[y.index()], forward[y.index()])
    })
}
