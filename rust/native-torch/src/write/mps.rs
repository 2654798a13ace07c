//! Free MPS.

use std::fmt::Write;

use super::{CONSTANT, bounds, is_binary, merged, names, sides};
use crate::lower::{Domain, Formulation, LinearRows, Objective, Sense};

/// The tables of rows with the names of theirs, in the order of the file: linear, switched, quadratic.
fn tables(model: &Formulation) -> [(&'static str, &LinearRows); 3] {
    [("r", model.rows()), ("i", &model.indicators().rows), ("q", &model.quadratic().rows)]
}

pub(super) fn write(model: &Formulation, objective: &Objective) -> String {
    let names = names::all(model);
    let mut text = String::new();
    let sign = match objective.sense {
        Sense::Minimize => 1.0,
        Sense::Maximize => {
            text += "* The objective is the negative of what is maximised.\n";
            -1.0
        }
    };
    text += "NAME native_torch FREE\nROWS\n N obj\n";
    for (prefix, rows) in tables(model) {
        for i in 0..rows.len() {
            for side in sides(rows, i) {
                let kind = match side.sign {
                    "=" => 'E',
                    ">=" => 'G',
                    _ => 'L',
                };
                let _ = writeln!(text, " {kind} {prefix}{i}{}", side.suffix);
            }
        }
    }
    columns(&mut text, model, objective, sign, &names);
    text += "RHS\n";
    for (prefix, rows) in tables(model) {
        for i in 0..rows.len() {
            for side in sides(rows, i).iter().filter(|side| side.limit != 0.0) {
                let _ = writeln!(text, " rhs {prefix}{i}{} {:?}", side.suffix, side.limit);
            }
        }
    }
    limits(&mut text, model, &names);
    if objective.constant != 0.0 {
        let _ = writeln!(text, " FX bnd {CONSTANT} 1.0");
    }
    quadratic(&mut text, model, &names);
    sos1(&mut text, model, &names);
    indicators(&mut text, model, &names);
    text += "ENDATA\n";
    text
}

/// Column by column, whole-numbered ones between markers.
fn columns(text: &mut String, model: &Formulation, objective: &Objective, sign: f64, names: &[String]) {
    let mut columns: Vec<Vec<(usize, usize, f64)>> = vec![Vec::new(); names.len()];
    let tables = tables(model);
    for (table, (_, rows)) in tables.iter().enumerate() {
        for i in 0..rows.len() {
            for (variable, a) in rows.row(i) {
                columns[variable.index()].push((table, i, a));
            }
        }
    }
    let mut costs = merged(objective).into_iter().peekable();
    *text += "COLUMNS\n";
    let mut whole = false;
    for (i, column) in columns.iter().enumerate() {
        let name = &names[i];
        if (model.variables().domain[i] != Domain::Continuous) != whole {
            whole = !whole;
            let _ = writeln!(text, " marker 'MARKER' '{}'", if whole { "INTORG" } else { "INTEND" });
        }
        if let Some((_, cost)) = costs.next_if(|cost| cost.0.index() == i) {
            let _ = writeln!(text, " {name} obj {:?}", sign * cost);
        } else if column.is_empty() {
            // A variable in no row is named all the same.
            let _ = writeln!(text, " {name} obj 0");
        }
        for &(table, row, a) in column {
            let (prefix, rows) = tables[table];
            for side in sides(rows, row) {
                let _ = writeln!(text, " {name} {prefix}{row}{} {a:?}", side.suffix);
            }
        }
    }
    if whole {
        *text += " marker 'MARKER' 'INTEND'\n";
    }
    if objective.constant != 0.0 {
        let _ = writeln!(text, " {CONSTANT} obj {:?}", sign * objective.constant);
    }
}

fn limits(text: &mut String, model: &Formulation, names: &[String]) {
    *text += "BOUNDS\n";
    for (i, name) in names.iter().enumerate() {
        let (lower, upper) = bounds(model, i);
        if is_binary(model, i) {
            let _ = writeln!(text, " BV bnd {name}");
        } else if lower == upper {
            let _ = writeln!(text, " FX bnd {name} {lower:?}");
        } else if lower == f64::NEG_INFINITY && upper == f64::INFINITY {
            let _ = writeln!(text, " FR bnd {name}");
        } else {
            // Without a lower bound it would be 0, and readers differ on that of a negative upper one.
            let _ = match lower {
                f64::NEG_INFINITY => writeln!(text, " MI bnd {name}"),
                lower => writeln!(text, " LO bnd {name} {lower:?}"),
            };
            let _ = match upper {
                f64::INFINITY => writeln!(text, " PL bnd {name}"),
                upper => writeln!(text, " UP bnd {name} {upper:?}"),
            };
        }
    }
}

/// Symmetric matrices, of which a product of two variables is two halves.
fn quadratic(text: &mut String, model: &Formulation, names: &[String]) {
    let table = model.quadratic();
    for i in 0..table.len() {
        for side in sides(&table.rows, i) {
            let _ = writeln!(text, "QCMATRIX q{i}{}", side.suffix);
            for (a, b, q) in table.products(i) {
                let (first, second) = (&names[a.index()], &names[b.index()]);
                let _ = if a == b {
                    writeln!(text, " {first} {first} {q:?}")
                } else {
                    let half = q / 2.0;
                    writeln!(text, " {first} {second} {half:?}\n {second} {first} {half:?}")
                };
            }
        }
    }
}

fn sos1(text: &mut String, model: &Formulation, names: &[String]) {
    if !model.sos1().is_empty() {
        *text += "SOS\n";
    }
    for i in 0..model.sos1().len() {
        let _ = writeln!(text, " S1 s{i}");
        for (variable, weight) in model.sos1().list(i) {
            let _ = writeln!(text, "    {} {weight:?}", names[variable.index()]);
        }
    }
}

fn indicators(text: &mut String, model: &Formulation, names: &[String]) {
    let table = model.indicators();
    if !table.rows.is_empty() {
        *text += "INDICATORS\n";
    }
    for i in 0..table.rows.len() {
        for side in sides(&table.rows, i) {
            let binary = &names[table.binary[i].index()];
            let _ = writeln!(text, " IF i{i}{} {binary} {}", side.suffix, table.active[i]);
        }
    }
}
