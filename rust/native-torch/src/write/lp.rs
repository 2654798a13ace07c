//! CPLEX's LP.

use std::fmt::Write;

use super::{CONSTANT, bounds, is_binary, merged, names, sides};
use crate::lower::{Domain, Formulation, LinearRows, Objective, Sense, VarId};

/// Readers keep lines in buffers; so many terms stand in one.
const TERMS_PER_LINE: usize = 5;

pub(super) fn write(model: &Formulation, objective: &Objective) -> String {
    let names = names::all(model);
    let mut text = Lp { text: String::new(), names: &names };
    text.line(if objective.sense == Sense::Maximize { "Maximize" } else { "Minimize" });
    text.objective(objective);
    text.line("Subject To");
    text.rows(model);
    text.bounds(model);
    if objective.constant != 0.0 {
        text.line(&format!(" {CONSTANT} = 1.0"));
    }
    text.domains(model);
    text.sos1(model);
    text.line("End");
    text.text
}

struct Lp<'a> {
    text: String,
    names: &'a [String],
}

impl Lp<'_> {
    fn line(&mut self, line: &str) {
        self.text += line;
        self.text += "\n";
    }

    fn objective(&mut self, objective: &Objective) {
        self.text += " obj:";
        self.sum(merged(objective).into_iter());
        if objective.constant != 0.0 {
            let _ = write!(self.text, " {} {CONSTANT}", signed(objective.constant));
        }
        self.text += "\n";
    }

    /// `+ a x + b y`. A sum without terms is 0 times the first variable, since no reader takes an empty one.
    fn sum(&mut self, terms: impl ExactSizeIterator<Item = (VarId, f64)>) {
        if let (0, Some(first)) = (terms.len(), self.names.first()) {
            let _ = write!(self.text, " + 0.0 {first}");
        }
        for (k, (variable, a)) in terms.enumerate() {
            self.wrap(k);
            let _ = write!(self.text, " {} {}", signed(a), self.names[variable.index()]);
        }
    }

    fn wrap(&mut self, term: usize) {
        if term > 0 && term.is_multiple_of(TERMS_PER_LINE) {
            self.text += "\n ";
        }
    }

    fn rows(&mut self, model: &Formulation) {
        let mut each = |prefix: &str, rows: &LinearRows, write: &mut dyn FnMut(&mut Self, usize)| {
            for i in 0..rows.len() {
                for side in sides(rows, i) {
                    let _ = write!(self.text, " {prefix}{i}{}:", side.suffix);
                    write(self, i);
                    let _ = writeln!(self.text, " {} {:?}", side.sign, side.limit);
                }
            }
        };
        each("r", model.rows(), &mut |text, i| text.sum(model.rows().row(i)));
        let indicators = model.indicators();
        each("i", &indicators.rows, &mut |text, i| {
            let binary = &text.names[indicators.binary[i].index()];
            let _ = write!(text.text, " {binary} = {} ->", indicators.active[i]);
            text.sum(indicators.rows.row(i));
        });
        let quadratic = model.quadratic();
        each("q", &quadratic.rows, &mut |text, i| {
            if quadratic.rows.row(i).len() > 0 {
                text.sum(quadratic.rows.row(i));
                text.text += " +";
            }
            text.text += " [";
            for (k, (a, b, q)) in quadratic.products(i).enumerate() {
                text.wrap(k);
                let (first, second) = (&text.names[a.index()], &text.names[b.index()]);
                let product = if a == b { format!("{first} ^ 2") } else { format!("{first} * {second}") };
                // Not every reader takes a sign in front of the first product.
                let coefficient = if k == 0 { format!("{q:?}") } else { signed(q) };
                let _ = write!(text.text, " {coefficient} {product}");
            }
            text.text += " ]";
        });
        if self.text.ends_with("Subject To\n")
            && let Some(first) = self.names.first()
        {
            // Not every reader takes none.
            let _ = writeln!(self.text, " r: + 0.0 {first} = 0.0");
        }
    }

    fn bounds(&mut self, model: &Formulation) {
        self.line("Bounds");
        let end = |value: f64| match value {
            f64::INFINITY => "+inf".to_owned(),
            f64::NEG_INFINITY => "-inf".to_owned(),
            value => format!("{value:?}"),
        };
        for (i, name) in self.names.iter().enumerate() {
            let (lower, upper) = bounds(model, i);
            let _ = if is_binary(model, i) {
                Ok(())
            } else if lower == f64::NEG_INFINITY && upper == f64::INFINITY {
                writeln!(self.text, " {name} free")
            } else if lower == upper {
                writeln!(self.text, " {name} = {lower:?}")
            } else {
                writeln!(self.text, " {} <= {name} <= {}", end(lower), end(upper))
            };
        }
    }

    fn domains(&mut self, model: &Formulation) {
        let whole = |i: &usize| model.variables().domain[*i] != Domain::Continuous;
        for (section, binary) in [("Binaries", true), ("Generals", false)] {
            let members = (0..self.names.len()).filter(whole).filter(|&i| is_binary(model, i) == binary);
            let members: Vec<usize> = members.collect();
            if !members.is_empty() {
                self.line(section);
            }
            for i in members {
                let _ = writeln!(self.text, " {}", self.names[i]);
            }
        }
    }

    fn sos1(&mut self, model: &Formulation) {
        if !model.sos1().is_empty() {
            self.line("SOS");
        }
        for i in 0..model.sos1().len() {
            let _ = write!(self.text, " s{i}: S1::");
            for (k, (variable, weight)) in model.sos1().list(i).enumerate() {
                self.wrap(k);
                let _ = write!(self.text, " {}:{weight:?}", self.names[variable.index()]);
            }
            self.text += "\n";
        }
    }
}

/// `+ 1.5` or `- 1.5`.
fn signed(value: f64) -> String {
    format!("{} {:?}", if value < 0.0 { '-' } else { '+' }, value.abs())
}
