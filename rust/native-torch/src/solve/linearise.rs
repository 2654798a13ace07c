//! SOS1 sets and indicator rows as big-M rows.

use std::borrow::Cow;

use crate::{
    Error, Result,
    bounds::Interval,
    lower::{Domain, Formulation, VarId},
};

/// The same formulation with rows and binaries alone; its first variables are those of the original.
pub(super) fn linearise(formulation: &Formulation) -> Result<Cow<'_, Formulation>> {
    if formulation.sos1().is_empty() && formulation.indicators().rows.is_empty() {
        return Ok(Cow::Borrowed(formulation));
    }
    let mut linear = formulation.clone();
    for set in 0..formulation.sos1().len() {
        sos1(&mut linear, set)?;
    }
    for row in 0..formulation.indicators().rows.len() {
        indicator(&mut linear, row)?;
    }
    Ok(Cow::Owned(linear))
}

/// `lower b <= v <= upper b` for each variable, and at most one b is 1.
fn sos1(linear: &mut Formulation, set: usize) -> Result<()> {
    let members: Vec<VarId> = linear.sos1().list(set).map(|entry| entry.0).collect();
    let block = linear.add_block(format!("sos1 {set}.on"));
    let mut choice = Vec::with_capacity(members.len());
    for v in members {
        let bounds = linear.bounds(v);
        if !bounds.is_finite() {
            return Err(unbounded(linear, v, "an SOS1 set"));
        }
        let on = linear.add_variable(block, Interval::new(0.0, 1.0), Domain::Binary)?;
        linear.add_row(f64::NEG_INFINITY, &[(v, 1.0), (on, -bounds.upper)], 0.0)?;
        linear.add_row(0.0, &[(v, 1.0), (on, -bounds.lower)], f64::INFINITY)?;
        let start = linear.variables().start[v.index()];
        if !start.is_nan() {
            linear.set_start_value(on, f64::from(start != 0.0));
        }
        choice.push((on, 1.0));
    }
    linear.add_row(f64::NEG_INFINITY, &choice, 1.0)?;
    Ok(())
}

/// The row, loosened by what it can be violated where the binary has its other value.
fn indicator(linear: &mut Formulation, row: usize) -> Result<()> {
    let table = linear.indicators();
    let (binary, active) = (table.binary[row], table.active[row] == 1);
    let terms: Vec<(VarId, f64)> = table.rows.row(row).collect();
    let (lower, upper) = (table.rows.lower[row], table.rows.upper[row]);
    let mut range = Interval::point(0.0);
    for &(v, a) in &terms {
        let bounds = linear.bounds(v);
        if !bounds.is_finite() {
            return Err(unbounded(linear, v, "an indicator row"));
        }
        range.lower += (a * bounds.lower).min(a * bounds.upper);
        range.upper += (a * bounds.lower).max(a * bounds.upper);
    }
    for (limit, big, is_upper) in [(upper, range.upper - upper, true), (lower, range.lower - lower, false)] {
        let violable = if is_upper { big > 0.0 } else { big < 0.0 };
        if limit.is_infinite() || !violable {
            continue;
        }
        // Active at 1: sum + big on <= limit + big. Active at 0: sum - big on <= limit. Turned round for a lower limit.
        let mut terms = terms.clone();
        terms.push((binary, if active { big } else { -big }));
        let limit = if active { limit + big } else { limit };
        if is_upper {
            linear.add_row(f64::NEG_INFINITY, &terms, limit)?;
        } else {
            linear.add_row(limit, &terms, f64::INFINITY)?;
        }
    }
    Ok(())
}

fn unbounded(linear: &Formulation, variable: VarId, what: &str) -> Error {
    let bounds = linear.bounds(variable);
    Error::argument(format!(
        "{} in {what} has the bounds [{}, {}], but big-M needs finite ones",
        linear.name(variable),
        bounds.lower,
        bounds.upper
    ))
}
