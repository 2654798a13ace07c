//! MathOptFormat. The structs are the schema's objects.

use serde::Serialize;

use super::{bounds, is_binary, merged, names};
use crate::{
    Error, Result,
    lower::{Cone, Domain, Formulation, LinearRows, Objective, Opcode, Relation, Sense, Tapes, VarId},
};

#[derive(Serialize)]
struct Model<'a> {
    name: &'a str,
    version: Version,
    variables: Vec<Variable<'a>>,
    objective: Goal<'a>,
    constraints: Vec<Constraint<'a>>,
}

#[derive(Serialize)]
struct Version {
    major: u8,
    minor: u8,
}

#[derive(Serialize)]
struct Variable<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    primal_start: Option<f64>,
}

#[derive(Serialize)]
struct Goal<'a> {
    sense: &'a str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Constraint<'a> {
    function: Function<'a>,
    set: Set,
}

#[derive(Serialize)]
#[serde(tag = "type")]
enum Function<'a> {
    Variable {
        name: &'a str,
    },
    VectorOfVariables {
        variables: Vec<&'a str>,
    },
    #[serde(rename = "ScalarAffineFunction")]
    ScalarAffine {
        terms: Vec<Term<'a>>,
        constant: f64,
    },
    #[serde(rename = "VectorAffineFunction")]
    VectorAffine {
        terms: Vec<VectorTerm<'a>>,
        constants: Vec<f64>,
    },
    #[serde(rename = "ScalarQuadraticFunction")]
    ScalarQuadratic {
        affine_terms: Vec<Term<'a>>,
        quadratic_terms: Vec<Product<'a>>,
        constant: f64,
    },
    #[serde(rename = "ScalarNonlinearFunction")]
    ScalarNonlinear {
        root: Argument<'a>,
        node_list: Vec<Operation<'a>>,
    },
}

#[derive(Serialize)]
struct Term<'a> {
    coefficient: f64,
    variable: &'a str,
}

#[derive(Serialize)]
struct VectorTerm<'a> {
    output_index: usize,
    scalar_term: Term<'a>,
}

#[derive(Serialize)]
struct Product<'a> {
    coefficient: f64,
    variable_1: &'a str,
    variable_2: &'a str,
}

#[derive(Serialize)]
struct Operation<'a> {
    #[serde(rename = "type")]
    name: &'a str,
    args: Vec<Argument<'a>>,
}

/// A number, the name of a variable, or the place of an operation in the list, from 1.
#[derive(Clone, Copy, Serialize)]
#[serde(untagged)]
enum Argument<'a> {
    Number(f64),
    Variable(&'a str),
    Node {
        #[serde(rename = "type")]
        kind: &'a str,
        index: usize,
    },
}

impl Argument<'_> {
    fn node(index: usize) -> Self {
        Argument::Node { kind: "node", index }
    }
}

#[derive(Serialize)]
#[serde(tag = "type")]
enum Set {
    LessThan {
        upper: f64,
    },
    GreaterThan {
        lower: f64,
    },
    EqualTo {
        value: f64,
    },
    Interval {
        lower: f64,
        upper: f64,
    },
    ZeroOne,
    Integer,
    #[serde(rename = "SOS1")]
    Sos1 {
        weights: Vec<f64>,
    },
    Indicator {
        set: Box<Set>,
        activate_on: &'static str,
    },
    Complements {
        dimension: usize,
    },
    ExponentialCone,
    SecondOrderCone {
        dimension: usize,
    },
}

/// What lies between two limits; none where both are infinite.
fn between(lower: f64, upper: f64) -> Option<Set> {
    match (lower.is_finite(), upper.is_finite()) {
        (true, true) if lower == upper => Some(Set::EqualTo { value: lower }),
        (true, true) => Some(Set::Interval { lower, upper }),
        (true, false) => Some(Set::GreaterThan { lower }),
        (false, true) => Some(Set::LessThan { upper }),
        (false, false) => None,
    }
}

pub(super) fn write(model: &Formulation, objective: &Objective) -> Result<String> {
    let names = names::plain(model);
    let table = model.variables();
    let start = |i: usize| Some(table.start[i]).filter(|start| start.is_finite());
    let writer = Writer { model, names: &names };
    let document = Model {
        name: "native_torch",
        version: Version { major: 1, minor: 7 },
        variables: names.iter().enumerate().map(|(i, name)| Variable { name, primal_start: start(i) }).collect(),
        objective: Goal {
            sense: if objective.sense == Sense::Maximize { "max" } else { "min" },
            function: Function::ScalarAffine {
                terms: writer.terms(merged(objective).into_iter()),
                constant: objective.constant,
            },
        },
        constraints: writer.constraints(),
    };
    serde_json::to_string(&document).map_err(|e| Error::internal(format!("the JSON text: {e}")))
}

struct Writer<'a> {
    model: &'a Formulation,
    names: &'a [String],
}

impl<'a> Writer<'a> {
    fn name(&self, variable: VarId) -> &'a str {
        &self.names[variable.index()]
    }

    fn terms(&self, terms: impl Iterator<Item = (VarId, f64)>) -> Vec<Term<'a>> {
        terms.map(|(v, coefficient)| Term { coefficient, variable: self.name(v) }).collect()
    }

    fn row(&self, rows: &LinearRows, i: usize) -> Function<'a> {
        Function::ScalarAffine { terms: self.terms(rows.row(i)), constant: 0.0 }
    }

    fn constraints(&self) -> Vec<Constraint<'a>> {
        let model = self.model;
        let mut all = Vec::new();
        let mut push = |function: Function<'a>, set: Option<Set>| {
            all.extend(set.map(|set| Constraint { function, set }));
        };
        for i in 0..self.names.len() {
            let name = || Function::Variable { name: &self.names[i] };
            let domain = match model.variables().domain[i] {
                Domain::Continuous => None,
                Domain::Binary => Some(Set::ZeroOne),
                Domain::Integer => Some(Set::Integer),
            };
            push(name(), domain);
            if !is_binary(model, i) {
                let (lower, upper) = bounds(model, i);
                push(name(), between(lower, upper));
            }
        }
        let rows = model.rows();
        for i in 0..rows.len() {
            push(self.row(rows, i), between(rows.lower[i], rows.upper[i]));
        }
        for i in 0..model.sos1().len() {
            let (variables, weights) = model.sos1().list(i).map(|(v, weight)| (self.name(v), weight)).unzip();
            push(Function::VectorOfVariables { variables }, Some(Set::Sos1 { weights }));
        }
        let indicators = model.indicators();
        for i in 0..indicators.rows.len() {
            let set = between(indicators.rows.lower[i], indicators.rows.upper[i]);
            let activate_on = if indicators.active[i] == 1 { "one" } else { "zero" };
            push(self.indicator(i), set.map(|set| Set::Indicator { set: Box::new(set), activate_on }));
        }
        let quadratic = model.quadratic();
        for i in 0..quadratic.len() {
            push(self.quadratic(i), between(quadratic.rows.lower[i], quadratic.rows.upper[i]));
        }
        let pairs = model.complementarities();
        for i in 0..pairs.len() {
            let variables = vec![self.name(pairs.first[i]), self.name(pairs.second[i])];
            push(Function::VectorOfVariables { variables }, Some(Set::Complements { dimension: 2 }));
        }
        for i in 0..model.cones().len() {
            let dimension = model.cones().starts[i + 1] - model.cones().starts[i];
            let set = match model.cones().cone[i] {
                Cone::Exponential => Set::ExponentialCone,
                Cone::SecondOrder => Set::SecondOrderCone { dimension },
            };
            push(self.cone(i), Some(set));
        }
        for i in 0..model.definitions().len() {
            // variable - expression
            let set = match model.definitions().relation[i] {
                Relation::Equal => Set::EqualTo { value: 0.0 },
                Relation::AtLeast => Set::GreaterThan { lower: 0.0 },
                Relation::AtMost => Set::LessThan { upper: 0.0 },
            };
            push(self.definition(i), Some(set));
        }
        all
    }

    /// The binary, then the row.
    fn indicator(&self, i: usize) -> Function<'a> {
        let table = &self.model.indicators();
        let term = |output_index, coefficient, v| VectorTerm {
            output_index,
            scalar_term: Term { coefficient, variable: self.name(v) },
        };
        let row = table.rows.row(i).map(|(v, a)| term(2, a, v));
        let terms = [term(1, 1.0, table.binary[i])].into_iter().chain(row).collect();
        Function::VectorAffine { terms, constants: vec![0.0; 2] }
    }

    /// A function is `a'x + x'Qx / 2`, where a product of two variables stands for both places in Q.
    fn quadratic(&self, i: usize) -> Function<'a> {
        let table = self.model.quadratic();
        let product = |(a, b, q): (VarId, VarId, f64)| Product {
            coefficient: if a == b { 2.0 * q } else { q },
            variable_1: self.name(a),
            variable_2: self.name(b),
        };
        Function::ScalarQuadratic {
            affine_terms: self.terms(table.rows.row(i)),
            quadratic_terms: table.products(i).map(product).collect(),
            constant: 0.0,
        }
    }

    fn cone(&self, i: usize) -> Function<'a> {
        let table = self.model.cones();
        let members = table.starts[i]..table.starts[i + 1];
        let mut terms = Vec::new();
        for (output, member) in members.clone().enumerate() {
            let own = self.terms(table.members.terms(member)).into_iter();
            terms.extend(own.map(|scalar_term| VectorTerm { output_index: output + 1, scalar_term }));
        }
        Function::VectorAffine { terms, constants: table.members.constant[members].to_vec() }
    }

    /// The nodes of the definition behind those of the expressions that it needs, each once.
    fn definition(&self, i: usize) -> Function<'a> {
        let (definitions, shared) = (self.model.definitions(), self.model.expressions());
        let mut needed = vec![false; shared.len()];
        mark(&definitions.tapes, i, &mut needed);
        for e in (0..shared.len()).rev() {
            if needed[e] {
                mark(shared, e, &mut needed);
            }
        }
        let mut node_list = Vec::new();
        let mut roots = vec![Argument::Number(0.0); shared.len()];
        for e in (0..shared.len()).filter(|&e| needed[e]) {
            roots[e] = self.nodes(shared, e, &roots, &mut node_list);
        }
        let right = self.nodes(&definitions.tapes, i, &roots, &mut node_list);
        let left = Argument::Variable(self.name(definitions.variable[i]));
        node_list.push(Operation { name: "-", args: vec![left, right] });
        Function::ScalarNonlinear { root: Argument::node(node_list.len()), node_list }
    }

    /// Appends the operations of an expression; gives what stands for it.
    fn nodes(&self, tapes: &Tapes, i: usize, roots: &[Argument<'a>], list: &mut Vec<Operation<'a>>) -> Argument<'a> {
        let mut stack = Vec::new();
        for at in tapes.starts[i]..tapes.starts[i + 1] {
            let argument = tapes.argument[at] as usize;
            let part = match tapes.opcode[at] {
                Opcode::Constant => Argument::Number(tapes.constants[argument]),
                Opcode::Variable => Argument::Variable(&self.names[argument]),
                Opcode::Expression => roots[argument],
                opcode => {
                    let args = stack.split_off(stack.len() - argument);
                    list.push(Operation { name: opcode.name(), args });
                    Argument::node(list.len())
                }
            };
            stack.push(part);
        }
        stack.pop().unwrap_or(Argument::Number(0.0))
    }
}

/// Marks the expressions that an expression refers to.
fn mark(tapes: &Tapes, i: usize, needed: &mut [bool]) {
    for at in tapes.starts[i]..tapes.starts[i + 1] {
        if tapes.opcode[at] == Opcode::Expression {
            needed[tapes.argument[at] as usize] = true;
        }
    }
}
