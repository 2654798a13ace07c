//! AMPL's `.nl` as text. The letters of the segments and the order of variables and rows are those of Gay, Writing .nl
//! files (2005), and Hooking your solver to AMPL (2017), Tables 3 to 5.

use std::fmt::Write;

use super::{Document, bounds, merged, names};
use crate::{
    Error, Result,
    lower::{Domain, Formulation, LinearRows, Objective, Opcode, Relation, Sense, Tapes, VarId},
};

pub(super) fn write(model: &Formulation, objective: &Objective) -> Result<Document> {
    let order = Order::of(model);
    let constraints = constraints(model, &order)?;
    let costs = merged(objective);
    let names = names::plain(model);
    let mut text = header(model, &order, &constraints, costs.len(), &names);
    for e in 0..model.expressions().len() {
        let _ = writeln!(text, "V{} 0 0\n{}", order.shared(e), expression(model, &order, model.expressions(), e)?);
    }
    for (i, constraint) in constraints.iter().enumerate() {
        let _ = writeln!(text, "C{i}\n{}", constraint.nonlinear.as_deref().unwrap_or("n0"));
    }
    let sense = u8::from(objective.sense == Sense::Maximize);
    let _ = writeln!(text, "O0 {sense}\nn{:?}", objective.constant);
    start(&mut text, model, &order);
    limits(&mut text, model, &order, &constraints);
    jacobian(&mut text, &order, &constraints);
    if !costs.is_empty() {
        let mut costs: Vec<(u32, f64)> = costs.iter().map(|&(v, a)| (order.place(v), a)).collect();
        costs.sort_by_key(|cost| cost.0);
        entries(&mut text, &format!("G0 {}", costs.len()), &costs);
    }
    let columns = order.variables.iter().map(|&i| names[i].clone() + "\n").collect();
    Ok(Document { text, columns: Some(columns) })
}

/// The order of the variables: nonlinear ones first, whole-numbered ones last in each part.
struct Order {
    /// The variable at each place.
    variables: Vec<usize>,
    /// The place of each variable.
    places: Vec<u32>,
    /// How many there are of each group: nonlinear and linear ones, with those of each that are whole.
    nonlinear: usize,
    nonlinear_whole: usize,
    binary: usize,
    integer: usize,
}

impl Order {
    fn of(model: &Formulation) -> Self {
        let count = model.variables().len();
        let mut curved = vec![false; count];
        for tapes in [&model.definitions().tapes, model.expressions()] {
            for (opcode, &argument) in tapes.opcode.iter().zip(&tapes.argument) {
                if *opcode == Opcode::Variable {
                    curved[argument as usize] = true;
                }
            }
        }
        let quadratic = model.quadratic();
        quadratic.first.iter().chain(&quadratic.second).for_each(|v| curved[v.index()] = true);
        let group = |i: &usize| match (curved[*i], model.variables().domain[*i]) {
            (true, Domain::Continuous) => 0,
            (true, _) => 1,
            (false, Domain::Continuous) => 2,
            (false, Domain::Binary) => 3,
            (false, Domain::Integer) => 4,
        };
        let mut variables: Vec<usize> = (0..count).collect();
        variables.sort_by_key(group);
        let mut places = vec![0; count];
        for (place, &i) in (0..).zip(&variables) {
            places[i] = place;
        }
        let of_group = |wanted: u8| (0..count).filter(|i| group(i) == wanted).count();
        Order {
            nonlinear: of_group(0) + of_group(1),
            nonlinear_whole: of_group(1),
            binary: of_group(3),
            integer: of_group(4),
            variables,
            places,
        }
    }

    fn place(&self, variable: VarId) -> u32 {
        self.places[variable.index()]
    }

    /// The number of a shared expression, behind those of the variables.
    fn shared(&self, e: usize) -> usize {
        self.variables.len() + e
    }
}

/// `lower <= nonlinear + sum <= upper`, or the sum complements a variable.
struct Constraint {
    nonlinear: Option<String>,
    /// Places and coefficients, ascending, with a 0 for what is in the nonlinear part alone.
    terms: Vec<(u32, f64)>,
    lower: f64,
    upper: f64,
    complements: Option<VarId>,
}

/// Nonlinear ones first, as solvers expect them.
fn constraints(model: &Formulation, order: &Order) -> Result<Vec<Constraint>> {
    let mut all = Vec::new();
    let definitions = model.definitions();
    for i in 0..definitions.len() {
        // expression - variable
        let (lower, upper) = match definitions.relation[i] {
            Relation::Equal => (0.0, 0.0),
            Relation::AtLeast => (f64::NEG_INFINITY, 0.0),
            Relation::AtMost => (0.0, f64::INFINITY),
        };
        let mut terms: Vec<(u32, f64)> = variables_of(model, i).into_iter().map(|v| (order.place(v), 0.0)).collect();
        terms.push((order.place(definitions.variable[i]), -1.0));
        let nonlinear = Some(expression(model, order, &definitions.tapes, i)?);
        all.push(Constraint { nonlinear, terms: sorted(terms), lower, upper, complements: None });
    }
    let quadratic = model.quadratic();
    for i in 0..quadratic.len() {
        let product = |(a, b, q): (VarId, VarId, f64)| {
            let (a, b) = (order.place(a), order.place(b));
            format!("o2\nn{q:?}\no2\nv{a}\nv{b}")
        };
        let products: Vec<String> = quadratic.products(i).map(product).collect();
        let mut terms: Vec<(u32, f64)> = quadratic.rows.row(i).map(|(v, a)| (order.place(v), a)).collect();
        terms.extend(quadratic.products(i).flat_map(|(a, b, _)| [(order.place(a), 0.0), (order.place(b), 0.0)]));
        let (lower, upper) = (quadratic.rows.lower[i], quadratic.rows.upper[i]);
        let nonlinear = Some(sum(&products));
        all.push(Constraint { nonlinear, terms: sorted(terms), lower, upper, complements: None });
    }
    let rows: &LinearRows = model.rows();
    for i in 0..rows.len() {
        let terms = sorted(rows.row(i).map(|(v, a)| (order.place(v), a)).collect());
        let (lower, upper) = (rows.lower[i], rows.upper[i]);
        all.push(Constraint { nonlinear: None, terms, lower, upper, complements: None });
    }
    let pairs = model.complementarities();
    for i in 0..pairs.len() {
        let terms = vec![(order.place(pairs.first[i]), 1.0)];
        let complements = Some(pairs.second[i]);
        all.push(Constraint { nonlinear: None, terms, lower: 0.0, upper: f64::INFINITY, complements });
    }
    Ok(all)
}

/// In ascending order, what is twice added up.
fn sorted(mut terms: Vec<(u32, f64)>) -> Vec<(u32, f64)> {
    terms.sort_by_key(|term| term.0);
    terms.chunk_by(|a, b| a.0 == b.0).map(|same| (same[0].0, same.iter().map(|term| term.1).sum())).collect()
}

/// The variables that a definition depends on, also by way of shared expressions.
fn variables_of(model: &Formulation, definition: usize) -> Vec<VarId> {
    let shared = model.expressions();
    let mut seen = vec![false; shared.len()];
    let mut found = Vec::new();
    let mut open = vec![(&model.definitions().tapes, definition)];
    while let Some((tapes, i)) = open.pop() {
        for at in tapes.starts[i]..tapes.starts[i + 1] {
            let argument = tapes.argument[at];
            match tapes.opcode[at] {
                Opcode::Variable => found.push(VarId(argument)),
                Opcode::Expression if !std::mem::replace(&mut seen[argument as usize], true) => {
                    open.push((shared, argument as usize));
                }
                _ => {}
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// A sum of expressions.
fn sum(parts: &[String]) -> String {
    match parts {
        [] => "n0".to_owned(),
        [one] => one.clone(),
        [a, b] => format!("o0\n{a}\n{b}"),
        many => format!("o54\n{}\n{}", many.len(), many.join("\n")),
    }
}

/// Expression `i` in prefix order, a code to a line.
fn expression(model: &Formulation, order: &Order, tapes: &Tapes, i: usize) -> Result<String> {
    /// A code with its operands, and whether it is a condition, which is no number here.
    struct Part {
        text: String,
        condition: bool,
    }
    let number = |part: Part| if part.condition { format!("o35\n{}\nn1\nn0", part.text) } else { part.text };
    let condition = |part: Part| if part.condition { part.text } else { format!("o30\n{}\nn0", part.text) };
    let mut stack: Vec<Part> = Vec::new();
    for at in tapes.starts[i]..tapes.starts[i + 1] {
        let (opcode, argument) = (tapes.opcode[at], tapes.argument[at] as usize);
        let leaf = match opcode {
            Opcode::Constant => Some(format!("n{:?}", tapes.constants[argument])),
            Opcode::Variable => Some(format!("v{}", order.places[argument])),
            Opcode::Expression => Some(format!("v{}", order.shared(argument))),
            _ => None,
        };
        if let Some(text) = leaf {
            stack.push(Part { text, condition: false });
            continue;
        }
        let operands = stack.split_off(stack.len() - argument);
        let mut operands = operands.into_iter();
        let text = if opcode == Opcode::IfElse {
            let test = operands.next().map(condition).unwrap_or_default();
            let ways: Vec<String> = operands.map(number).collect();
            format!("o35\n{test}\n{}", ways.join("\n"))
        } else {
            let operands: Vec<String> = operands.map(number).collect();
            let called = |code: u8| format!("o{code}\n{}", operands.join("\n"));
            match opcode {
                Opcode::Add => sum(&operands),
                Opcode::Mul => {
                    let last = operands.len() - 1;
                    let factors = operands.iter().enumerate();
                    factors
                        .map(|(k, factor)| if k < last { format!("o2\n{factor}\n") } else { factor.clone() })
                        .collect()
                }
                Opcode::Max => format!("o12\n{}\n{}", operands.len(), operands.join("\n")),
                Opcode::Min => format!("o11\n{}\n{}", operands.len(), operands.join("\n")),
                Opcode::Log1p => format!("o43\no0\nn1\n{}", operands[0]),
                Opcode::Sub => called(1),
                Opcode::Div => called(3),
                Opcode::Pow => called(5),
                Opcode::Abs => called(15),
                Opcode::Neg => called(16),
                Opcode::Greater => called(29),
                Opcode::Tanh => called(37),
                Opcode::Sin => called(41),
                Opcode::Atan => called(49),
                Opcode::Sqrt => called(39),
                Opcode::Log => called(43),
                Opcode::Exp => called(44),
                Opcode::Erf => {
                    return Err(Error::unsupported(format!(
                        "{}: a file .nl has no error function; write .mof.json, or take GELU's approximation by tanh",
                        model.layer(tapes.node[i])
                    )));
                }
                Opcode::Constant | Opcode::Variable | Opcode::Expression | Opcode::IfElse => {
                    return Err(Error::internal(format!("{opcode:?} has no operands of this kind")));
                }
            }
        };
        stack.push(Part { text, condition: opcode == Opcode::Greater });
    }
    Ok(stack.pop().map_or_else(|| "n0".to_owned(), number))
}

fn header(model: &Formulation, order: &Order, constraints: &[Constraint], costs: usize, names: &[String]) -> String {
    let count = |of: &dyn Fn(&&Constraint) -> bool| constraints.iter().filter(of).count();
    let equations = count(&|c| c.complements.is_none() && c.lower == c.upper);
    let two_sided =
        count(&|c| c.complements.is_none() && c.lower.is_finite() && c.upper.is_finite() && c.lower != c.upper);
    let nonlinear = count(&|c| c.nonlinear.is_some());
    let pairs = count(&|c| c.complements.is_some());
    let nonzeros: usize = constraints.iter().map(|c| c.terms.len()).sum();
    let longest = names.iter().map(String::len).max().unwrap_or(0);
    let lines = [
        "g3 1 1 0\t# problem native_torch".to_owned(),
        format!(
            " {} {} 1 {two_sided} {equations} 0\t# vars, constraints, objectives, ranges, eqns, lcons",
            names.len(),
            constraints.len()
        ),
        format!(" {nonlinear} 0 {pairs} 0 0 0\t# nonlinear constrs, objs; ccons: lin, nonlin, nd, nzlb"),
        " 0 0\t# network constraints: nonlinear, linear".to_owned(),
        format!(" {} 0 0\t# nonlinear vars in constraints, objectives, both", order.nonlinear),
        " 0 0 0 1\t# linear network variables; functions; arith, flags".to_owned(),
        format!(
            " {} {} 0 {} 0\t# discrete variables: binary, integer, nonlinear (b,c,o)",
            order.binary, order.integer, order.nonlinear_whole
        ),
        format!(" {nonzeros} {costs}\t# nonzeros in Jacobian, obj. gradient"),
        format!(" 0 {longest}\t# max name lengths: constraints, variables"),
        format!(" 0 {} 0 0 0\t# common exprs: b,c,o,c1,o1\n", model.expressions().len()),
    ];
    lines.join("\n")
}

/// The start values.
fn start(text: &mut String, model: &Formulation, order: &Order) {
    let start = &model.variables().start;
    let known: Vec<(u32, f64)> =
        (0..).zip(&order.variables).map(|(place, &i)| (place, start[i])).filter(|entry| entry.1.is_finite()).collect();
    if !known.is_empty() {
        entries(text, &format!("x{}", known.len()), &known);
    }
}

/// The limits of the constraints and the bounds of the variables.
fn limits(text: &mut String, model: &Formulation, order: &Order, constraints: &[Constraint]) {
    let range = |lower: f64, upper: f64| match (lower.is_finite(), upper.is_finite()) {
        (true, true) if lower == upper => format!("4 {lower:?}"),
        (true, true) => format!("0 {lower:?} {upper:?}"),
        (false, true) => format!("1 {upper:?}"),
        (true, false) => format!("2 {lower:?}"),
        (false, false) => "3".to_owned(),
    };
    *text += "r\n";
    for constraint in constraints {
        let line = match constraint.complements {
            // The first bit says that the variable has a lower bound, the second an upper one; places count from 1.
            Some(v) => {
                let bounds = model.bounds(v);
                let finite = u8::from(bounds.lower.is_finite()) + 2 * u8::from(bounds.upper.is_finite());
                format!("5 {finite} {}", order.place(v) + 1)
            }
            None => range(constraint.lower, constraint.upper),
        };
        let _ = writeln!(text, "{line}");
    }
    *text += "b\n";
    for &i in &order.variables {
        let (lower, upper) = bounds(model, i);
        let _ = writeln!(text, "{}", range(lower, upper));
    }
}

/// How many entries the columns have up to each, then the rows.
fn jacobian(text: &mut String, order: &Order, constraints: &[Constraint]) {
    let mut counts = vec![0usize; order.variables.len()];
    constraints.iter().flat_map(|c| &c.terms).for_each(|term| counts[term.0 as usize] += 1);
    counts.pop();
    let _ = writeln!(text, "k{}", counts.len());
    let mut total = 0;
    for count in counts {
        total += count;
        let _ = writeln!(text, "{total}");
    }
    for (i, constraint) in constraints.iter().enumerate().filter(|(_, c)| !c.terms.is_empty()) {
        entries(text, &format!("J{i} {}", constraint.terms.len()), &constraint.terms);
    }
}

/// A segment of places with numbers.
fn entries(text: &mut String, head: &str, entries: &[(u32, f64)]) {
    let _ = writeln!(text, "{head}");
    for (place, value) in entries {
        let _ = writeln!(text, "{place} {value:?}");
    }
}
