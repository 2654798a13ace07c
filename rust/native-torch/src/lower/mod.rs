//! Lowering: a graph with bounds becomes a solver-neutral [`Formulation`].
//!
//! | operation | what it becomes in full space |
//! |---|---|
//! | Linear, (transposed) convolution, average pools, interpolation, sums, differences | equations `z == W x + b` |
//! | functions of one element that are piecewise linear, maxima | one of the [`Form`]s of [`FORMS`] |
//! | flatten, cat, padding, permutations, slices | the operand's variables themselves |
//! | all other functions of one element, softmax, layer norm, products | nonlinear equations `y == f(z)` |
//!
//! Constants and chains of affine layers are folded before ([`passes`](crate::passes)), so that a BatchNorm adds no variable.
//!
//! In full space every variable carries the bounds of its element, and an element whose value is a fixed number has no
//! variable. In reduced space the inputs are the only variables: the same rules give expressions, which share what they
//! have in common.

mod check;
mod choice;
mod display;
mod expression;
mod extreme;
mod forms;
mod formulation;
mod inline;
mod objective;
mod options;
mod partition;
mod piecewise;
mod smooth;
mod tables;

pub use expression::{Definitions, Expression, Opcode, Relation, Tapes};
pub use forms::{FORMS, FormsOf};
pub use formulation::Formulation;
pub use objective::{Objective, Sense};
pub use options::{Form, Options, Space};
pub use tables::{
    AffineFunctions, Block, Complementarities, Cone, Cones, Domain, Indicators, LinearRows, NO_NODE, QuadraticRows,
    Rule, VarId, VariableLists, Variables,
};

use crate::{
    Error, Result,
    bounds::{
        Bounds, Interval, endless,
        form::{self, Place, Term},
        unary_value,
    },
    graph::{Graph, Node, Op, Source, Unary, ValueId},
    passes,
};
use formulation::to_u32;
use piecewise::Piecewise;

/// The formulation of a graph, with the bounds of its values ([`bounds::propagate`](crate::bounds::propagate) or tighter
/// ones), as the options say.
///
/// An error if a layer has no such form, if a form needs bounds that are infinite, or if the options name a layer that is
/// not there.
///
/// ```
/// use native_torch::{bounds, graph::{Builder, Dim, Unary}, lower::{Options, lower}, tensor::Tensor};
///
/// let mut b = Builder::new();
/// let x = b.input("x", vec![Dim::Size(2)]);
/// b.set_scope("layer `0` (torch.nn.modules.linear.Linear)");
/// let weight = b.parameter("0.weight", Tensor::from_slice(&[2, 2], &[1.0, -2.0, 1.0, 1.0]));
/// let bias = b.parameter("0.bias", Tensor::from_slice(&[2], &[0.5, 2.25]));
/// let z = b.linear(x, weight, Some(bias))?;
/// b.set_scope("layer `1` (torch.nn.modules.activation.ReLU)");
/// let y = b.unary(Unary::Relu, z)?;
/// let graph = b.finish(&[("y", y)])?;
/// let bounds = bounds::propagate(&graph, &[bounds::Interval::new(-1.0, 1.0); 2])?;
/// assert_eq!(
///     lower(&graph, &bounds, &Options::default())?.to_string(),
///     "\
/// 6 variables (1 binary), 5 rows, 0 nonlinear rows
/// inputs: x[0], x[1]
/// outputs: layer 1.y[0], layer 0.z[1]
///   -1 <= x[0] <= 1
///   -1 <= x[1] <= 1
///   -2.5 <= layer 0.z[0] <= 3.5
///   0.25 <= layer 0.z[1] <= 4.25
///   0 <= layer 1.y[0] <= 3.5
///   layer 1.on[0] in {0, 1}
/// layer `0` (torch.nn.modules.linear.Linear)
///   -x[0] + 2 x[1] + layer 0.z[0] == 0.5
///   -x[0] - x[1] + layer 0.z[1] == 2.25
/// layer `1` (torch.nn.modules.activation.ReLU)
///   -layer 0.z[0] + layer 1.y[0] >= 0
///   -layer 0.z[0] + layer 1.y[0] + 2.5 layer 1.on[0] <= 2.5
///   layer 1.y[0] - 3.5 layer 1.on[0] <= 0
/// "
/// );
///
/// let reduced = lower(&graph, &bounds, &"space=reduced".parse()?)?;
/// assert_eq!(
///     reduced.to_string(),
///     "\
/// 2 variables (0 binary), 0 rows, 0 nonlinear rows, 3 expressions
/// inputs: x[0], x[1]
/// outputs: e[2], e[1]
///   -1 <= x[0] <= 1
///   -1 <= x[1] <= 1
/// layer `0` (torch.nn.modules.linear.Linear)
///   e[0] = x[0] - 2 * x[1] + 0.5
///   e[1] = x[0] + x[1] + 2.25
/// layer `1` (torch.nn.modules.activation.ReLU)
///   e[2] = max(e[0], 0)
/// "
/// );
/// # Ok::<(), native_torch::Error>(())
/// ```
pub fn lower(graph: &Graph, bounds: &Bounds, options: &Options) -> Result<Formulation> {
    graph.check_concrete()?;
    let paths: Vec<&str> = graph.nodes().iter().filter_map(layer_path).collect();
    if let Some(missing) = options.layers().find(|path| !paths.contains(path)) {
        let with_choice = graph.nodes().iter().filter(|node| forms::of(&node.op).forms.len() > 1);
        let known: Vec<&str> = with_choice.filter_map(layer_path).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(Error::argument(format!(
            "a form is chosen for layer `{missing}`, which is not there; layers with a choice of forms: {known}"
        )));
    }
    let inlined = inline::branches(graph, bounds)?;
    let (graph, bounds) = inlined.as_ref().map_or((graph, bounds), |(graph, bounds)| (graph, bounds));
    let folded;
    let graph = if options.fold {
        let has_form = |node: &Node| layer_path(node).is_some_and(|path| options.layers().any(|layer| layer == path));
        folded = passes::fold(graph, |node| !has_form(node))?;
        &folded
    } else {
        graph
    };
    let mut lowering = Lowering {
        graph,
        bounds,
        options,
        elements: vec![Vec::new(); graph.values().len()],
        formulation: Formulation {
            layers: graph.nodes().iter().map(|node| node.scope.clone()).collect(),
            ..Formulation::default()
        },
        row: Vec::new(),
        parts: Vec::new(),
    };
    for input in graph.inputs() {
        lowering.input(&input.name, input.value);
    }
    let used = graph.used_values();
    for (at, node) in graph.nodes().iter().enumerate() {
        if node.outputs.iter().any(|output| used[output.index()]) {
            lowering.parts.clear();
            lowering.rule(to_u32(at), node)?;
        }
    }
    for output in graph.outputs() {
        lowering.output(&output.name, output.value)?;
    }
    Ok(lowering.formulation)
}

/// The path of the layer that a node belongs to, if it belongs to one: of layers that are folded, the last.
fn layer_path(node: &Node) -> Option<&str> {
    node.scope.rsplit(", ").next()?.split('`').nth(1)
}

/// What an element of a value is in the formulation.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Element {
    Variable(VarId),
    Constant(f64),
    /// The expression of this number, in reduced space.
    Expression(u32),
}

/// A formulation under construction.
struct Lowering<'a> {
    graph: &'a Graph,
    bounds: &'a Bounds,
    options: &'a Options,
    /// The elements of every value seen so far.
    elements: Vec<Vec<Element>>,
    formulation: Formulation,
    /// Reused from row to row.
    row: Vec<(VarId, f64)>,
    /// The blocks of the node that is being lowered.
    parts: Vec<(&'static str, u32)>,
}

impl Lowering<'_> {
    /// The rule of each operation.
    fn rule(&mut self, at: u32, node: &Node) -> Result<()> {
        let graph = self.graph;
        match &node.op {
            Op::Unary(Unary::Affine { scale, shift }) => self.scaled(at, node, *scale, *shift),
            Op::Unary(Unary::Neg) => self.scaled(at, node, -1.0, 0.0),
            Op::Unary(Unary::Detach) => self.scaled(at, node, 1.0, 0.0),
            Op::Unary(unary @ (Unary::Floor | Unary::Round)) => self.rounding(at, node, *unary),
            Op::Unary(Unary::Hardswish) => self.hardswish(at, node),
            Op::Unary(unary) => match Piecewise::of(*unary) {
                Some(_) => self.piecewise(at, node, |_| *unary),
                None => self.smooth(at, node, *unary),
            },
            Op::Add => self.affine(at, node, |emit| form::sum(graph, node, [1.0, 1.0], emit)),
            Op::Sub => self.affine(at, node, |emit| form::sum(graph, node, [1.0, -1.0], emit)),
            Op::Mul => self.product(at, node),
            Op::Div => self.quotient(at, node),
            Op::Linear => self.affine(at, node, |emit| form::linear(graph, node, emit)),
            Op::Conv(_) | Op::ConvTranspose { .. } => {
                self.affine(at, node, |emit| form::convolution(graph, node, emit))
            }
            Op::AvgPool(_)
            | Op::AdaptiveAvgPool(_)
            | Op::Upsample(_)
            | Op::Unfold(_)
            | Op::Fold { .. }
            | Op::Pad { .. }
            | Op::Permute { .. }
            | Op::Slice { .. }
            | Op::Sum { .. }
            | Op::Mean { .. } => {
                let map = form::map_of(graph, node);
                if map.windows.is_copy() {
                    return self.gather(node, &form::copies(&map));
                }
                self.affine(at, node, |emit| form::map(&map, emit))
            }
            Op::MaxPool(_) | Op::AdaptiveMaxPool(_) => self.max_pool(at, node),
            Op::LayerNorm { axes, eps } => self.norm(at, node, *axes, *eps, true),
            Op::RmsNorm { axes, eps } => self.norm(at, node, *axes, eps.unwrap_or(f64::EPSILON), false),
            Op::Prelu => self.prelu(at, node),
            Op::Compare(comparison) => self.compare(at, node, *comparison),
            Op::Where => self.choice(at, node),
            Op::If(_) => Err(Error::internal("branches are inlined before")),
            Op::While { .. } => Err(endless(node)),
            Op::LogSoftmax { dim } => self.log_softmax(at, node, *dim),
            Op::Softmax { dim } => self.softmax(at, node, *dim),
            Op::Flatten { .. } | Op::Unflatten { .. } => {
                let same = self.operand(node, 0)?.to_vec();
                self.set(node, same);
                Ok(())
            }
            Op::Embedding => self.gather(node, &form::embedding(graph, node)?),
            Op::Cat { dim } => self.gather(node, &form::cat(graph, node, *dim)),
        }
    }

    /// A rounding: an integer that is within a step of the operand.
    fn rounding(&mut self, at: u32, node: &Node, unary: Unary) -> Result<()> {
        let operand = self.operand(node, 0)?.to_vec();
        let (below, above) = if unary == Unary::Floor { (0.0, 1.0) } else { (-0.5, 0.5) };
        let mut out = Vec::with_capacity(operand.len());
        for (i, element) in operand.into_iter().enumerate() {
            let range = self.bounds.of(node.outputs[0])[i];
            out.push(match element {
                _ if range.lower == range.upper => Element::Constant(range.lower),
                Element::Constant(c) => Element::Constant(unary_value(unary, c)),
                _ if self.options.space == Space::Reduced => {
                    return Err(Error::unsupported(
                        "a rounding is an integer variable, which the reduced space does not have; use the full space",
                    )
                    .at(&node.scope));
                }
                element => {
                    let z = self.variable(at, element);
                    let y = self.new_variable(at, "y", i, range, Domain::Integer, Rule::Unary(unary, z));
                    self.formulation.push_row(below, &[(z, 1.0), (y, -1.0)], above, at);
                    Element::Variable(y)
                }
            });
        }
        self.set(node, out);
        Ok(())
    }

    fn input(&mut self, name: &str, value: ValueId) {
        let block = self.formulation.push_block(name.to_owned(), NO_NODE, Some(value.0));
        for (i, &bounds) in self.bounds.of(value).iter().enumerate() {
            let variable = self.formulation.push_variable(block, i, bounds, Domain::Continuous, Rule::Given);
            self.formulation.inputs.push(variable);
            self.elements[value.index()].push(Element::Variable(variable));
        }
    }

    /// In full space every output is a variable, in reduced space every one is an expression, constants too.
    fn output(&mut self, name: &str, value: ValueId) -> Result<()> {
        self.load(value)?;
        let bounds = self.bounds;
        self.formulation.output_bounds.extend_from_slice(bounds.of(value));
        let mut block = None;
        for i in 0..self.elements[value.index()].len() {
            let element = self.elements[value.index()][i];
            if self.options.space == Space::Reduced {
                let expression = match element {
                    Element::Expression(expression) => expression,
                    _ => self.share(NO_NODE, &element.into())?,
                };
                self.formulation.output_expressions.push(expression);
                continue;
            }
            let variable = match element {
                Element::Constant(c) => {
                    let block = *block
                        .get_or_insert_with(|| self.formulation.push_block(name.to_owned(), NO_NODE, Some(value.0)));
                    self.fixed(block, i, c)
                }
                _ => self.variable(NO_NODE, element),
            };
            self.formulation.outputs.push(variable);
        }
        Ok(())
    }

    /// A variable of a fixed value.
    fn fixed(&mut self, block: u32, index: usize, value: f64) -> VarId {
        let variable =
            self.formulation.push_variable(block, index, Interval::point(value), Domain::Continuous, Rule::Given);
        self.formulation.variables.start[variable.index()] = value;
        variable
    }

    /// The variable of an element in full space; a constant gets one of its own.
    fn variable(&mut self, at: u32, element: Element) -> VarId {
        match element {
            Element::Variable(variable) => variable,
            Element::Constant(c) => {
                let block = self.part(at, "fixed");
                let index = self.formulation.blocks[block as usize].len as usize;
                self.fixed(block, index, c)
            }
            Element::Expression(_) => unreachable!("forms with variables are refused in reduced space"),
        }
    }

    /// Parameters that are operands like any other become constants.
    fn load(&mut self, value: ValueId) -> Result<()> {
        if let Source::Parameter(index) = self.graph.values()[value.index()].source
            && self.elements[value.index()].is_empty()
        {
            let numbers = form::numbers(self.graph, index)?;
            self.elements[value.index()] = numbers.into_iter().map(Element::Constant).collect();
        }
        Ok(())
    }

    fn operand(&mut self, node: &Node, position: usize) -> Result<&[Element]> {
        let value = node.inputs[position];
        self.load(value)?;
        Ok(&self.elements[value.index()])
    }

    fn set(&mut self, node: &Node, elements: Vec<Element>) {
        self.elements[node.outputs[0].index()] = elements;
    }

    /// The block of the node's variables of this name. It is named after the layer, and told apart by the node's number
    /// where a layer has two.
    fn part(&mut self, at: u32, what: &'static str) -> u32 {
        if let Some(&(_, block)) = self.parts.iter().find(|(name, _)| *name == what) {
            return block;
        }
        let node = &self.graph.nodes()[at as usize];
        let layer = match layer_path(node) {
            Some(path) => format!("layer {path}"),
            None => format!("{} {at}", node.op.name()),
        };
        let mut name = format!("{layer}.{what}");
        if self.formulation.blocks.iter().any(|block| block.name == name) {
            name = format!("{layer} #{at}.{what}");
        }
        let value = matches!(what, "y" | "z").then_some(node.outputs[0].0);
        let block = self.formulation.push_block(name, at, value);
        self.parts.push((what, block));
        block
    }

    /// How many variables the node's block of this name has.
    fn part_len(&self, what: &'static str) -> usize {
        let block = self.parts.iter().find(|(name, _)| *name == what);
        block.map_or(0, |&(_, block)| self.formulation.blocks[block as usize].len as usize)
    }

    /// A variable in the node's block of this name.
    fn new_variable(
        &mut self,
        at: u32,
        what: &'static str,
        index: usize,
        bounds: Interval,
        domain: Domain,
        rule: Rule,
    ) -> VarId {
        let block = self.part(at, what);
        self.formulation.push_variable(block, index, bounds, domain, rule)
    }

    /// A new variable with its nonlinear equation, or an expression.
    fn define(
        &mut self,
        at: u32,
        what: &'static str,
        index: usize,
        bounds: Interval,
        expression: &Expression,
    ) -> Result<Element> {
        if self.options.space == Space::Reduced {
            return Ok(Element::Expression(self.share(at, expression)?));
        }
        let rule = Rule::Definition(to_u32(self.formulation.definitions.len()));
        let variable = self.new_variable(at, what, index, bounds, Domain::Continuous, rule);
        self.formulation.definitions.push(variable, Relation::Equal, expression, at)?;
        Ok(Element::Variable(variable))
    }

    /// An expression that others may refer to.
    fn share(&mut self, at: u32, expression: &Expression) -> Result<u32> {
        self.formulation.expressions.push(expression, at)?;
        Ok(to_u32(self.formulation.expressions.len() - 1))
    }

    /// The form of a node. An error where it has no such form.
    fn form(&self, node: &Node) -> Result<Form> {
        let form = self.options.form(node);
        if self.options.space == Space::Reduced && form != Form::Nonlinear {
            return Err(Error::unsupported(format!(
                "{}: the form {form} needs variables; in reduced space {} has nonlinear only",
                node.scope,
                node.op.name()
            )));
        }
        if forms::of(&node.op).forms.contains(&form.name()) { Ok(form) } else { Err(self.no_such_form(node, form)) }
    }

    fn no_such_form(&self, node: &Node, form: Form) -> Error {
        Error::unsupported(format!(
            "{}: {} has no form `{form}`; it has {}",
            node.scope,
            node.op.name(),
            forms::of(&node.op).forms.join(", ")
        ))
    }

    /// Equations `z == sum of a x + c`, whose rows `rows` hands out.
    fn affine(
        &mut self,
        at: u32,
        node: &Node,
        rows: impl FnOnce(&mut dyn FnMut(usize, &[Term], f64) -> Result<()>) -> Result<()>,
    ) -> Result<()> {
        // The stored operands of a layer are read by its form; those of a sum are elements.
        if matches!(node.op, Op::Add | Op::Sub) {
            self.operand(node, 1)?;
        }
        self.operand(node, 0)?;
        let bounds = self.bounds.of(node.outputs[0]);
        let mut out = Vec::with_capacity(bounds.len());
        let mut row = Vec::new();
        rows(&mut |element, terms, constant| {
            let element_of = |term: &Term| self.elements[node.inputs[term.operand].index()][term.element];
            row.clear();
            row.extend(terms.iter().map(|term| (element_of(term), term.coefficient)));
            out.push(self.equation(at, "z", element, bounds[element], &row, constant));
            Ok(())
        })?;
        self.set(node, out);
        Ok(())
    }

    /// Equations `y == scale z + shift`, element by element.
    fn scaled(&mut self, at: u32, node: &Node, scale: f64, shift: f64) -> Result<()> {
        let count = self.graph.numel(node.outputs[0]);
        self.affine(at, node, |emit| {
            for element in 0..count {
                emit(element, &[Term { operand: 0, element, coefficient: scale }], shift)?;
            }
            Ok(())
        })
    }

    /// `z - sum of terms == constant` for a new `z`. Where no variable is left, it is a number.
    fn equation(
        &mut self,
        at: u32,
        what: &'static str,
        index: usize,
        bounds: Interval,
        terms: &[(Element, f64)],
        constant: f64,
    ) -> Element {
        let mut constant = constant;
        let mut row = std::mem::take(&mut self.row);
        row.clear();
        let mut expression = Vec::new();
        for &(element, a) in terms {
            match element {
                Element::Constant(c) => constant += a * c,
                _ if a == 0.0 => {}
                _ if self.options.space == Space::Reduced => expression.push(smooth::scaled(a, element)),
                _ => row.push((self.variable(at, element), -a)),
            }
        }
        let element = if !expression.is_empty() {
            if constant != 0.0 {
                expression.push(constant.into());
            }
            let sum = if expression.len() == 1 { expression.remove(0) } else { smooth::sum(expression) };
            Element::Expression(self.share(at, &sum).expect("sums have operands"))
        } else if row.is_empty() {
            Element::Constant(constant)
        } else {
            let rule = Rule::Rows { first: to_u32(self.formulation.rows.len()), count: 1 };
            let z = self.new_variable(at, what, index, bounds, Domain::Continuous, rule);
            row.push((z, 1.0));
            self.formulation.push_row(constant, &row, constant, at);
            Element::Variable(z)
        };
        self.row = row;
        element
    }

    /// Elements that are copies of others.
    fn gather(&mut self, node: &Node, places: &[Place]) -> Result<()> {
        for position in 0..node.inputs.len() {
            self.operand(node, position)?;
        }
        let take = |place: &Place| match *place {
            Place::Element { operand, element } => self.elements[node.inputs[operand].index()][element],
            Place::Constant(c) => Element::Constant(c),
        };
        let out = places.iter().map(take).collect();
        self.set(node, out);
        Ok(())
    }

    /// An error about a layer's bounds.
    fn unbounded(&self, node: &Node, element: usize, bounds: Interval, form: &str) -> Error {
        Error::argument(format!(
            "{}: element {element} of its input has the bounds [{}, {}], but {form} needs finite ones; give bounds for \
             the inputs",
            node.scope, bounds.lower, bounds.upper
        ))
    }

    /// An error about a big-M of the caller's.
    fn small_m(&self, node: &Node, element: usize, m: f64, needed: f64) -> Error {
        Error::argument(format!(
            "{}: a big-M of {m} would cut off points: the bounds of its input need {needed} or more at element {element}; \
             take as much, or leave the number out, or give tighter bounds",
            node.scope
        ))
    }
}
