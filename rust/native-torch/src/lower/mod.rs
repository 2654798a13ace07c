//! Lowering: a graph with bounds becomes a solver-neutral [`Formulation`], in full space.
//!
//! | operation | what it becomes |
//! |---|---|
//! | Linear, (transposed) convolution, average pools, interpolation, sums, differences | equations `z == W x + b` |
//! | ReLU, LeakyReLU, PReLU | big-M with the bounds of its input; where the sign of the input is certain, no binary |
//! | maximum pool | big-M with a binary for each element that can be the largest |
//! | flatten, cat, padding, permutations, slices | the operand's variables themselves |
//! | negation, affine functions of an element | equations |
//! | all other functions of an element, softmax, layer norm, products | nonlinear equations `y == f(z)` |
//!
//! Every variable carries the bounds of its element. An element whose value is a fixed number has no variable.

mod display;
mod expression;
mod formulation;
mod piecewise;
mod smooth;
mod tables;

pub use expression::{Definitions, Expression, Opcode};
pub use formulation::Formulation;
pub use tables::{
    Block, Complementarities, Cone, Cones, Domain, Indicators, LinearRows, NO_NODE, QuadraticRows, Rule, VarId,
    VariableLists, Variables,
};

use crate::{
    Error, Result,
    bounds::{
        Bounds, Interval,
        form::{self, Place, Term},
    },
    graph::{Graph, Node, Op, Source, Unary, ValueId},
};
use formulation::to_u32;

/// The full-space formulation of a graph, with the bounds of its values ([`bounds::propagate`](crate::bounds::propagate)
/// or tighter ones).
///
/// ```
/// use native_torch::{bounds, graph::{Builder, Dim, Unary}, lower::lower, tensor::Tensor};
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
///     lower(&graph, &bounds)?.to_string(),
///     "\
/// 6 variables (1 binary), 5 rows, 0 nonlinear equations
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
/// # Ok::<(), native_torch::Error>(())
/// ```
pub fn lower(graph: &Graph, bounds: &Bounds) -> Result<Formulation> {
    graph.check_concrete()?;
    let mut lowering = Lowering {
        graph,
        bounds,
        elements: vec![Vec::new(); graph.values().len()],
        formulation: Formulation {
            layers: graph.nodes().iter().map(|node| node.scope.clone()).collect(),
            ..Formulation::default()
        },
        terms: Vec::new(),
    };
    for input in graph.inputs() {
        lowering.input(&input.name, input.value);
    }
    let used = graph.used_values();
    for (at, node) in graph.nodes().iter().enumerate() {
        if node.outputs.iter().any(|output| used[output.index()]) {
            lowering.rule(to_u32(at), node)?;
        }
    }
    for output in graph.outputs() {
        lowering.output(&output.name, output.value)?;
    }
    Ok(lowering.formulation)
}

/// What an element of a value is in the formulation.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Element {
    Variable(VarId),
    Constant(f64),
}

/// A formulation under construction.
struct Lowering<'a> {
    graph: &'a Graph,
    bounds: &'a Bounds,
    /// The elements of every value seen so far.
    elements: Vec<Vec<Element>>,
    formulation: Formulation,
    /// Reused from row to row.
    terms: Vec<(VarId, f64)>,
}

impl Lowering<'_> {
    /// The rule of each operation.
    fn rule(&mut self, at: u32, node: &Node) -> Result<()> {
        let graph = self.graph;
        match &node.op {
            Op::Unary(Unary::Relu) => self.bent(at, node, |_| 0.0),
            Op::Unary(Unary::LeakyRelu { slope }) => self.bent(at, node, |_| *slope),
            Op::Unary(Unary::Affine { scale, shift }) => self.scaled(at, node, *scale, *shift),
            Op::Unary(Unary::Neg) => self.scaled(at, node, -1.0, 0.0),
            Op::Unary(unary) => self.smooth(at, node, *unary),
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

    fn input(&mut self, name: &str, value: ValueId) {
        let block = self.formulation.push_block(name.to_owned(), NO_NODE, Some(value.0));
        for (i, &bounds) in self.bounds.of(value).iter().enumerate() {
            let variable = self.formulation.push_variable(block, i, bounds, Domain::Continuous, Rule::Given);
            self.formulation.inputs.push(variable);
            self.elements[value.index()].push(Element::Variable(variable));
        }
    }

    /// Every output is a variable, a constant one too.
    fn output(&mut self, name: &str, value: ValueId) -> Result<()> {
        self.load(value)?;
        let mut block = None;
        for i in 0..self.elements[value.index()].len() {
            let variable = match self.elements[value.index()][i] {
                Element::Variable(variable) => variable,
                Element::Constant(c) => {
                    let block = *block
                        .get_or_insert_with(|| self.formulation.push_block(name.to_owned(), NO_NODE, Some(value.0)));
                    self.fixed(block, i, c)
                }
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

    /// The variables of a list of elements; constants get variables of their own in a block of this name.
    fn as_variables(&mut self, at: u32, elements: &[Element]) -> Vec<VarId> {
        let mut block = None;
        let mut variables = Vec::with_capacity(elements.len());
        for (i, element) in elements.iter().enumerate() {
            variables.push(match *element {
                Element::Variable(variable) => variable,
                Element::Constant(c) => {
                    let block = *block.get_or_insert_with(|| self.block(at, "fixed", None));
                    self.fixed(block, i, c)
                }
            });
        }
        variables
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

    /// A block of a node's variables: named after the layer, told apart by the node's number where a layer has two.
    fn block(&mut self, at: u32, what: &str, value: Option<ValueId>) -> u32 {
        let node = &self.graph.nodes()[at as usize];
        let layer = match node.scope.split('`').nth(1) {
            Some(path) => format!("layer {path}"),
            None => format!("{} {at}", node.op.name()),
        };
        let mut name = format!("{layer}.{what}");
        if self.formulation.blocks.iter().any(|block| block.name == name) {
            name = format!("{layer} #{at}.{what}");
        }
        self.formulation.push_block(name, at, value.map(|v| v.0))
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
        let block = self.block(at, "z", Some(node.outputs[0]));
        let bounds = self.bounds.of(node.outputs[0]);
        let mut out = Vec::with_capacity(bounds.len());
        rows(&mut |element, terms, constant| {
            let row = self.collect(node, terms, constant);
            out.push(self.equation(at, block, element, bounds[element], row));
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

    /// Fills `self.terms` with the variables of a sum; gives its constant part.
    fn collect(&mut self, node: &Node, terms: &[Term], constant: f64) -> f64 {
        self.terms.clear();
        let mut sum = constant;
        for term in terms {
            match self.elements[node.inputs[term.operand].index()][term.element] {
                Element::Variable(variable) if term.coefficient != 0.0 => {
                    self.terms.push((variable, -term.coefficient));
                }
                Element::Variable(_) => {}
                Element::Constant(value) => sum += term.coefficient * value,
            }
        }
        sum
    }

    /// `z - sum of terms == constant` for a new `z`, with the terms negated in `self.terms`.
    fn equation(&mut self, at: u32, block: u32, index: usize, bounds: Interval, constant: f64) -> Element {
        if self.terms.is_empty() {
            return Element::Constant(constant);
        }
        let row = to_u32(self.formulation.rows.len());
        let rule = Rule::Rows { first: row, count: 1 };
        let z = self.formulation.push_variable(block, index, bounds, Domain::Continuous, rule);
        self.terms.push((z, 1.0));
        self.formulation.push_row(constant, &self.terms, constant, at);
        Element::Variable(z)
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
    fn unbounded(&self, node: &Node, element: usize, bounds: Interval) -> Error {
        Error::argument(format!(
            "{}: element {element} of its input has the bounds [{}, {}], but big-M needs finite ones; give bounds for \
             the inputs",
            node.scope, bounds.lower, bounds.upper
        ))
    }
}
