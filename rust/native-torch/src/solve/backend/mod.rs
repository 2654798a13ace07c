//! The solvers behind `good_lp`. Where it hides a status or a bound, the inner model is asked.

#[cfg(feature = "highs")]
mod highs;
#[cfg(feature = "microlp")]
mod microlp;
#[cfg(any(feature = "microlp", feature = "highs"))]
mod model;

use super::{Objective, Options, Solution, Solver};
use crate::{Error, Result, lower::Formulation};

/// What the solver claims about a formulation of linear rows; not yet checked.
pub(super) fn run(
    linear: &Formulation,
    objective: &Objective,
    options: &Options,
    start: Option<&[f64]>,
) -> Result<Solution> {
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
    std::panic::catch_unwind(run).unwrap_or_else(|_| Err(Error::solver(format!("{solver} panicked"))))
}
