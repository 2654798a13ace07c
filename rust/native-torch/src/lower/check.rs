//! Whether values satisfy a formulation.

use super::{Cone, Domain, Formulation, LinearRows, Relation, VarId};
use crate::{Error, Result};

impl Formulation {
    /// Checks that these values of all variables satisfy everything, each row and bound to a tolerance relative to its
    /// largest term; names the first that they break.
    pub fn check(&self, values: &[f64], tolerance: f64) -> Result<()> {
        if values.len() != self.variables.len() {
            let (found, count) = (values.len(), self.variables.len());
            return Err(Error::argument(format!("{found} values were given for {count} variables")));
        }
        match self.broken(values, tolerance) {
            Some(what) => Err(Error::argument(what)),
            None => Ok(()),
        }
    }

    fn broken(&self, values: &[f64], tolerance: f64) -> Option<String> {
        self.broken_variable(values, tolerance)
            .or_else(|| self.broken_row(values, tolerance))
            .or_else(|| self.broken_pair(values, tolerance))
            .or_else(|| self.broken_nonlinear(values, tolerance))
    }

    fn broken_variable(&self, values: &[f64], tolerance: f64) -> Option<String> {
        let table = &self.variables;
        (0..values.len()).find_map(|i| {
            let (value, slack) = (values[i], tolerance * values[i].abs().max(1.0));
            let whole = table.domain[i] == Domain::Continuous || (value - value.round()).abs() <= tolerance;
            let inside = table.lower[i] - slack <= value && value <= table.upper[i] + slack;
            (!inside || !whole).then(|| {
                let what =
                    if inside { "which is not whole".to_owned() } else { within(table.lower[i], table.upper[i]) };
                format!("{} is {value}, {what}", self.name(VarId(super::formulation::to_u32(i))))
            })
        })
    }

    fn broken_row(&self, values: &[f64], tolerance: f64) -> Option<String> {
        let largest =
            |rows: &LinearRows, i: usize| rows.row(i).map(|(v, a)| (a * values[v.index()]).abs()).fold(1.0, f64::max);
        let check = |what: &str, rows: &LinearRows, i: usize, value: f64, size: f64| {
            let slack = tolerance * size;
            let holds = rows.lower[i] - slack <= value && value <= rows.upper[i] + slack;
            (!holds).then(|| {
                let limits = within(rows.lower[i], rows.upper[i]);
                format!("{what} {i} of {} is {value}, {limits}", self.layer(rows.node[i]))
            })
        };
        let rows = &self.rows;
        let linear = (0..rows.len()).find_map(|i| check("row", rows, i, rows.value(i, values), largest(rows, i)));
        let indicators = &self.indicators.rows;
        let active = |i: &usize| {
            let on = values[self.indicators.binary[*i].index()].round();
            on == f64::from(self.indicators.active[*i])
        };
        linear
            .or_else(|| {
                (0..indicators.len()).filter(active).find_map(|i| {
                    check("indicator row", indicators, i, indicators.value(i, values), largest(indicators, i))
                })
            })
            .or_else(|| {
                let table = &self.quadratic;
                (0..table.len()).find_map(|i| {
                    let product = |(a, b, q): (VarId, VarId, f64)| (q * values[a.index()] * values[b.index()]).abs();
                    let size = table.products(i).map(product).fold(largest(&table.rows, i), f64::max);
                    check("quadratic row", &table.rows, i, table.value(i, values), size)
                })
            })
    }

    /// SOS1 sets and complementarities.
    fn broken_pair(&self, values: &[f64], tolerance: f64) -> Option<String> {
        let nonzero = |v: VarId| values[v.index()].abs() > tolerance;
        let sets = (0..self.sos1.len()).find(|&i| self.sos1.list(i).filter(|&(v, _)| nonzero(v)).count() > 1);
        let set =
            sets.map(|i| format!("more than one of SOS1 set {i} of {} is not zero", self.layer(self.sos1.node[i])));
        let table = &self.complementarities;
        let pairs = (0..table.len()).find(|&i| {
            let negative = |v: VarId| values[v.index()] < -tolerance;
            let (a, b) = (table.first[i], table.second[i]);
            (nonzero(a) && nonzero(b)) || negative(a) || negative(b)
        });
        set.or_else(|| {
            pairs.map(|i| {
                let (a, b) = (table.first[i], table.second[i]);
                format!("{} and {} are not complementary", self.name(a), self.name(b))
            })
        })
    }

    /// Cones, equations and inequalities.
    fn broken_nonlinear(&self, values: &[f64], tolerance: f64) -> Option<String> {
        let cone = (0..self.cones.len()).find(|&i| {
            let members: Vec<f64> =
                (self.cones.starts[i]..self.cones.starts[i + 1]).map(|k| self.cones.members.value(k, values)).collect();
            let excess = match (self.cones.cone[i], &members[..]) {
                (Cone::Exponential, &[x, y, z]) if y > 0.0 => y * libm::exp(x / y) - z,
                (Cone::SecondOrder, [t, x @ ..]) => x.iter().map(|x| x * x).sum::<f64>().sqrt() - t,
                _ => f64::INFINITY,
            };
            // A NaN is no member either.
            excess.is_nan() || excess > tolerance * members.iter().fold(1.0, |largest, m| m.abs().max(largest))
        });
        let table = &self.definitions;
        let definition = || {
            let expressions = self.expression_values(values);
            (0..table.len()).find_map(|i| {
                let (left, right) = (values[table.variable[i].index()], table.tapes.evaluate(i, values, &expressions));
                let slack = tolerance * right.abs().max(1.0);
                let holds = match table.relation[i] {
                    Relation::Equal => (left - right).abs() <= slack,
                    Relation::AtLeast => left >= right - slack,
                    Relation::AtMost => left <= right + slack,
                };
                let sign = table.relation[i].sign();
                (!holds).then(|| format!("{} is {left}, not {sign} {right}", self.name(table.variable[i])))
            })
        };
        cone.map(|i| format!("cone {i} of {} does not hold its members", self.layer(self.cones.node[i])))
            .or_else(definition)
    }
}

fn within(lower: f64, upper: f64) -> String {
    format!("outside [{lower}, {upper}]")
}
