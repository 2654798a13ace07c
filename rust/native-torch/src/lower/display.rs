//! A formulation as text: variables with their bounds, then all rows, layer by layer.

use std::fmt::{self, Write};

use super::{Cone, Domain, Formulation, LinearRows, NO_NODE, VarId};

/// A number with at most six significant digits: bounds have outward margins that nobody wants to read.
pub(super) fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}").replace("-0", "0");
    }
    let rounded: f64 = format!("{value:.5e}").parse().unwrap_or(value);
    if (1e-4..1e7).contains(&rounded.abs()) { format!("{rounded}") } else { format!("{rounded:e}") }
}

/// Variables, then rows by layer; numbers to six digits (the tables have all of them).
impl fmt::Display for Formulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binaries = self.variables.domain.iter().filter(|&&d| d == Domain::Binary).count();
        let rows = self.rows.len() + self.indicators.rows.len() + self.quadratic.rows.len();
        let counts = [
            (self.sos1.len(), "SOS1 sets"),
            (self.complementarities.len(), "complementarities"),
            (self.cones.len(), "cones"),
            (self.expressions.len(), "expressions"),
        ];
        let others: String =
            counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!(", {count} {what}")).collect();
        writeln!(
            f,
            "{} variables ({binaries} binary), {rows} rows, {} nonlinear rows{others}",
            self.variables.len(),
            self.definitions.len()
        )?;
        writeln!(f, "inputs: {}", self.names(&self.inputs))?;
        let expressions: Vec<String> = self.output_expressions.iter().map(|e| format!("e[{e}]")).collect();
        let outputs = if expressions.is_empty() { self.names(&self.outputs) } else { expressions.join(", ") };
        writeln!(f, "outputs: {outputs}")?;
        for i in 0..self.variables.len() {
            writeln!(f, "  {}", self.variable_line(i))?;
        }
        let nodes = (0..super::formulation::to_u32(self.layers.len())).chain([NO_NODE]);
        for node in nodes {
            let lines = self.layer_lines(node);
            if !lines.is_empty() {
                writeln!(f, "{}", self.layer(node))?;
                f.write_str(&lines)?;
            }
        }
        Ok(())
    }
}

impl Formulation {
    fn names(&self, variables: &[VarId]) -> String {
        variables.iter().map(|&v| self.name(v)).collect::<Vec<_>>().join(", ")
    }

    fn variable_line(&self, i: usize) -> String {
        let name = self.name(VarId(super::formulation::to_u32(i)));
        let (lower, upper) = (self.variables.lower[i], self.variables.upper[i]);
        if self.variables.domain[i] == Domain::Binary {
            return format!("{name} in {{0, 1}}");
        }
        let suffix = if self.variables.domain[i] == Domain::Integer { ", integer" } else { "" };
        let range = match (lower == f64::NEG_INFINITY, upper == f64::INFINITY) {
            (true, true) => format!("{name} free"),
            (true, false) => format!("{name} <= {}", number(upper)),
            (false, true) => format!("{name} >= {}", number(lower)),
            (false, false) if lower == upper => format!("{name} == {}", number(lower)),
            (false, false) => format!("{} <= {name} <= {}", number(lower), number(upper)),
        };
        range + suffix
    }

    /// Everything of one node, a line each.
    fn layer_lines(&self, node: u32) -> String {
        let mut lines = String::new();
        let of = |nodes: &[u32]| -> Vec<usize> { (0..nodes.len()).filter(|&i| nodes[i] == node).collect() };
        for i in of(&self.rows.node) {
            let _ = writeln!(lines, "  {}", self.row_line(&self.rows, i, ""));
        }
        for i in of(&self.indicators.rows.node) {
            let (binary, active) = (self.name(self.indicators.binary[i]), self.indicators.active[i]);
            let _ = writeln!(lines, "  {binary} == {active} => {}", self.row_line(&self.indicators.rows, i, ""));
        }
        for i in of(&self.quadratic.rows.node) {
            let mut products = String::new();
            for (a, b, q) in self.quadratic.products(i) {
                let pair = if a == b { self.name(a) + "^2" } else { [a, b].map(|v| self.name(v)).join(" * ") };
                term(&mut products, q, &pair);
            }
            let _ = writeln!(lines, "  {}", self.row_line(&self.quadratic.rows, i, &products));
        }
        for i in of(&self.sos1.node) {
            let set: Vec<VarId> = self.sos1.list(i).map(|entry| entry.0).collect();
            let _ = writeln!(lines, "  at most one not zero: {}", self.names(&set));
        }
        for i in of(&self.cones.node) {
            let member = |k: usize| {
                let mut sum = String::new();
                self.cones.members.terms(k).for_each(|(variable, a)| term(&mut sum, a, &self.name(variable)));
                match (sum.is_empty(), self.cones.members.constant[k]) {
                    (true, c) => number(c),
                    (false, 0.0) => sum,
                    (false, c) => format!("{sum} {} {}", if c < 0.0 { '-' } else { '+' }, number(c.abs())),
                }
            };
            let members: Vec<String> = (self.cones.starts[i]..self.cones.starts[i + 1]).map(member).collect();
            let cone = match self.cones.cone[i] {
                Cone::Exponential => "exponential cone",
                Cone::SecondOrder => "second-order cone",
            };
            let _ = writeln!(lines, "  ({}) in {cone}", members.join(", "));
        }
        for i in of(&self.complementarities.node) {
            let (a, b) = (self.complementarities.first[i], self.complementarities.second[i]);
            let _ = writeln!(lines, "  0 <= {} complements {} >= 0", self.name(a), self.name(b));
        }
        for i in of(&self.definitions.tapes.node) {
            let (left, sign) = (self.name(self.definitions.variable[i]), self.definitions.relation[i].sign());
            let _ = writeln!(lines, "  {left} {sign} {}", self.definitions.tapes.format(i, |v| self.name(v)));
        }
        for i in of(&self.expressions.node) {
            let _ = writeln!(lines, "  e[{i}] = {}", self.expressions.format(i, |v| self.name(v)));
        }
        lines
    }

    /// `lower <= sum <= upper`, what is infinite left out.
    fn row_line(&self, rows: &LinearRows, i: usize, products: &str) -> String {
        let mut sum = products.to_owned();
        for (variable, a) in rows.row(i) {
            term(&mut sum, a, &self.name(variable));
        }
        let sum = if sum.is_empty() { "0".to_owned() } else { sum };
        let (lower, upper) = (rows.lower[i], rows.upper[i]);
        match (lower == f64::NEG_INFINITY, upper == f64::INFINITY) {
            _ if lower == upper => format!("{sum} == {}", number(lower)),
            (true, _) => format!("{sum} <= {}", number(upper)),
            (_, true) => format!("{sum} >= {}", number(lower)),
            _ => format!("{} <= {sum} <= {}", number(lower), number(upper)),
        }
    }
}

/// Appends `+ a name` to a sum.
fn term(sum: &mut String, a: f64, name: &str) {
    let sign = match (sum.is_empty(), a < 0.0) {
        (true, false) => "",
        (true, true) => "-",
        (false, false) => " + ",
        (false, true) => " - ",
    };
    let magnitude = number(a.abs());
    let factor = if magnitude == "1" { String::new() } else { magnitude + " " };
    let _ = write!(sum, "{sign}{factor}{name}");
}
