//! Problems as one formulation with an objective, for files and other solvers.

use super::{
    Problem,
    embed::{Embedding, Side},
    expression::{Expr, Part},
    parse::{self, Names},
};
use crate::{
    Error, Result,
    bounds::propagate,
    lower::{Formulation, Objective, Sense, lower},
};

impl Problem<'_> {
    /// The problem as a formulation, in the chosen forms, with the objective. Its inputs and outputs are the network's;
    /// the centre of the box, or `x0`, gives the start values. An `argmax(y) != k` becomes a largest of the other
    /// outputs, which takes binaries and finite bounds.
    pub fn formulation(&self) -> Result<(Formulation, Objective)> {
        let found;
        let bounds = match &self.known {
            Some(known) => known,
            None => {
                found = propagate(self.graph, &self.bounds)?;
                &found
            }
        };
        let mut formulation = lower(self.graph, bounds, &self.forms)?;
        formulation.name_outputs()?;
        let mut embedding = Embedding::new(formulation);
        for (expr, equal) in self.requirements() {
            embedding.require(&expr, equal)?;
        }
        for alternatives in self.disjunctions() {
            // The least of them is at most 0.
            let negated = alternatives.into_iter().map(|expr| expr.scale(-1.0)).collect();
            embedding.require(&Expr::part(Part::Max(negated)).scale(-1.0), false)?;
        }
        let objective = objective(&mut embedding, &self.objective, self.sense)?;
        embedding.set_start(self.x0.as_deref().unwrap_or(&self.centre()))?;
        if embedding.contradiction {
            // A row without variables that cannot hold.
            embedding.model.add_row(1.0, &[], f64::INFINITY)?;
        }
        Ok((embedding.model, objective))
    }
}

/// A formulation with an objective that is written as text: `minimize` or `maximize`, then an expression in `x[i]` and
/// `y[j]` as [`Problem`] takes it. The formulation has further variables and rows where the expression is not linear.
///
/// ```
/// use native_torch::{bounds, graph::{Builder, Dim, Unary}, lower::{Sense, lower}, solve::with_objective};
///
/// let mut b = Builder::new();
/// let x = b.input("x", vec![Dim::Size(2)]);
/// let y = b.unary(Unary::Relu, x)?;
/// let graph = b.finish(&[("y", y)])?;
/// let bounds = bounds::propagate(&graph, &[bounds::Interval::new(-1.0, 1.0); 2])?;
/// let formulation = lower(&graph, &bounds, &Default::default())?;
/// let (formulation, objective) = with_objective(&formulation, "maximize y[0] - 2 * y[1]")?;
/// assert_eq!(objective.sense, Sense::Maximize);
/// assert_eq!(objective.terms, [(formulation.outputs()[0], 1.0), (formulation.outputs()[1], -2.0)]);
/// # Ok::<(), native_torch::Error>(())
/// ```
pub fn with_objective(formulation: &Formulation, objective: &str) -> Result<(Formulation, Objective)> {
    let (sense, text) = match objective.trim().split_once(char::is_whitespace) {
        Some(("minimize", text)) => (Sense::Minimize, text),
        Some(("maximize", text)) => (Sense::Maximize, text),
        _ => {
            return Err(Error::argument(format!(
                "`{objective}` is no objective; it begins with `minimize ` or `maximize `, and an expression follows"
            )));
        }
    };
    let mut formulation = formulation.clone();
    formulation.name_outputs()?;
    let names = Names { n: formulation.inputs().len(), m: formulation.outputs().len(), x0: None };
    let expr = parse::expression(text, names)?;
    let expr = if sense == Sense::Maximize { expr.scale(-1.0) } else { expr };
    let mut embedding = Embedding::new(formulation);
    let objective = self::objective(&mut embedding, &expr, sense)?;
    Ok((embedding.model, objective))
}

/// The objective of an expression that is to be minimised, in its own sense.
fn objective(embedding: &mut Embedding, expr: &Expr, sense: Sense) -> Result<Objective> {
    let linear = embedding.linear(expr, Side::Above)?;
    let sign = if sense == Sense::Maximize { -1.0 } else { 1.0 };
    // Of zeros, the one without a sign is written.
    let (terms, constant) =
        (linear.terms.into_iter().map(|(v, a)| (v, sign * a)).collect(), sign * linear.constant + 0.0);
    Ok(Objective { sense, terms, constant })
}
