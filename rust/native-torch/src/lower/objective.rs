//! What is to be minimised or maximised over a formulation.

use super::{Formulation, VarId};
use crate::{Error, Result};

/// Which way the objective goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sense {
    /// As small as possible.
    Minimize,
    /// As large as possible.
    Maximize,
}

/// A linear objective.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// Which way it goes.
    pub sense: Sense,
    /// Variables with their coefficients.
    pub terms: Vec<(VarId, f64)>,
    /// Added to the sum.
    pub constant: f64,
}

impl Objective {
    /// The value where the variables have these values.
    pub fn value(&self, values: &[f64]) -> f64 {
        self.constant + self.terms.iter().map(|(v, a)| a * values[v.index()]).sum::<f64>()
    }

    /// An error if it names a variable that is not there, or holds a number that is not finite.
    pub fn check(&self, formulation: &Formulation) -> Result<()> {
        for &(variable, a) in &self.terms {
            if variable.index() >= formulation.variables().len() {
                return Err(Error::argument(format!(
                    "the objective names variable {} of {}",
                    variable.0,
                    formulation.variables().len()
                )));
            }
            if !a.is_finite() {
                return Err(Error::argument(format!("the objective has the coefficient {a}")));
            }
        }
        if self.constant.is_finite() { Ok(()) } else { Err(Error::argument("the objective's constant is not finite")) }
    }
}
