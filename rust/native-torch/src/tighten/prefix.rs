//! The part of a network before a value, as a mixed-integer linear program.
//!
//! What the lowering has no linear rows for is cut out: the results of such nodes become free within their bounds, and
//! within several planes below and above them.

use super::{InputRow, hull::Neuron};
use crate::{
    Result,
    bounds::{
        Bounds, Interval, bends,
        envelope::Envelope,
        relax::{Planes, Relaxation, relax},
    },
    graph::{Graph, Node, Op, Unary, ValueId},
    lower::{Formulation, Options, VarId, lower},
};

/// Where, as fractions of the operands' intervals, planes are close to a node that is cut out.
const PLACES: [f64; 5] = [1.0 / 64.0, 0.25, 0.5, 0.75, 63.0 / 64.0];

/// A function of one element counts as affine between bounds where the lines below and above it differ by no more than
/// this, relative to the size of its values and of its argument.
const AFFINE: f64 = 1e-9;

/// How far, relative to their width, bounds reach beyond a kink at least, so that the lowering does not take for stable
/// what is not quite.
const BEYOND: f64 = 1e-9;

/// A program over the values that one value depends on.
pub(super) struct Prefix {
    pub model: Formulation,
    /// The variables of the value's elements.
    pub elements: Vec<VarId>,
    /// The neurons that cuts can be found for.
    pub neurons: Vec<Neuron>,
}

impl Prefix {
    pub(super) fn new(
        graph: &Graph,
        bounds: &Bounds,
        value: ValueId,
        integer: bool,
        rows: &[InputRow],
    ) -> Result<Self> {
        let nodes = graph.nodes();
        let none = vec![false; nodes.len()];
        let used = graph.cut(&none, [value]).used_values();
        let mut bent = Vec::new();
        for (at, node) in nodes.iter().enumerate().filter(|(_, node)| used[node.outputs[0].index()]) {
            let relaxation = relax(graph, node, bounds, 0.5)?;
            if !relaxation.is_affine() {
                bent.push((at, relaxation));
            }
        }
        let mut values = vec![value];
        for v in bent.iter().flat_map(|(at, _)| nodes[*at].inputs.iter().chain(&nodes[*at].outputs)) {
            if !values.contains(v) {
                values.push(*v);
            }
        }
        let wide = beyond_kinks(graph, bounds);
        let mut cut = none;
        // Rows and values of all nodes are asked for by their numbers.
        let options: Options = "fold=off".parse()?;
        let mut model = loop {
            let part = graph.cut(&cut, values.iter().copied());
            let model = lower(&part, &wide, &options)?;
            let kept: Vec<usize> = (0..nodes.len()).filter(|&at| !cut[at]).collect();
            let nonlinear = [&model.definitions().tapes.node[..], &model.quadratic().rows.node].concat();
            if nonlinear.is_empty() {
                break model;
            }
            nonlinear.into_iter().for_each(|node| cut[kept[node as usize]] = true);
        };
        let mut left = model.outputs().to_vec();
        let mut variables = vec![Vec::new(); graph.values().len()];
        for v in &values {
            let rest = left.split_off(graph.numel(*v));
            variables[v.index()] = std::mem::replace(&mut left, rest);
        }
        for (at, relaxation) in &bent {
            let node = &nodes[*at];
            let has_hull = matches!(node.op, Op::Unary(Unary::Relu | Unary::LeakyRelu { .. }));
            let places: &[f64] = if cut[*at] { &PLACES } else { &[0.5] };
            for &place in places.iter().filter(|_| cut[*at] || !(has_hull || integer)) {
                let own = if place == 0.5 { None } else { Some(relax(graph, node, bounds, place)?) };
                if let Relaxation::Between(sides) = own.as_ref().unwrap_or(relaxation) {
                    add_planes(&mut model, node, sides, &variables)?;
                }
            }
        }
        let neurons =
            bent.iter().filter(|(at, _)| !cut[*at]).flat_map(|(at, _)| neurons(&model, &nodes[*at], &variables));
        let neurons = neurons.collect();
        let inputs = model.inputs().to_vec();
        for row in rows {
            let terms: Vec<(VarId, f64)> = row.terms.iter().map(|&(i, a)| (inputs[i], a)).collect();
            model.add_row(row.lower, &terms, row.upper)?;
        }
        let given: Vec<Interval> = inputs.iter().map(|&v| model.bounds(v)).collect();
        if integer && rows.is_empty() && !cut.contains(&true) && given.iter().all(|x| x.is_finite()) {
            let centre: Vec<f64> = given.iter().map(|x| 0.5 * x.lower + 0.5 * x.upper).collect();
            model.set_start(&centre)?;
        }
        Ok(Self { elements: variables[value.index()].clone(), neurons, model })
    }
}

/// The neurons of a node of ReLU's kind.
fn neurons(model: &Formulation, node: &Node, variables: &[Vec<VarId>]) -> Vec<Neuron> {
    let slope = match node.op {
        Op::Unary(Unary::Relu) => 0.0,
        Op::Unary(Unary::LeakyRelu { slope }) => slope,
        _ => return Vec::new(),
    };
    let [z, y] = [node.inputs[0], node.outputs[0]].map(|value| &variables[value.index()]);
    z.iter().zip(y).filter_map(|(&z, &y)| Neuron::new(model, y, z, slope)).collect()
}

/// Rows that put a node's result between planes.
fn add_planes(model: &mut Formulation, node: &Node, sides: &[Planes; 2], variables: &[Vec<VarId>]) -> Result<()> {
    for (side, planes) in sides.iter().enumerate() {
        for (e, &y) in variables[node.outputs[0].index()].iter().enumerate() {
            let (terms, constant) = planes.plane(e);
            // What bounds say already, or nothing.
            if terms.is_empty() || !constant.is_finite() {
                continue;
            }
            let mut row = vec![(y, 1.0)];
            row.extend(terms.iter().map(|t| (variables[node.inputs[t.operand].index()][t.element], -t.coefficient)));
            // The result may be the operand itself.
            if row.iter().skip(1).any(|(v, _)| *v == y) {
                continue;
            }
            let (lower, upper) = if side == 0 { (constant, f64::INFINITY) } else { (f64::NEG_INFINITY, constant) };
            model.add_row(lower, &row, upper)?;
        }
    }
    Ok(())
}

/// The same bounds, wider where they pass a kink of a function that reads them by almost nothing.
fn beyond_kinks(graph: &Graph, bounds: &Bounds) -> Bounds {
    let mut wide = bounds.clone();
    for node in graph.nodes() {
        let Op::Unary(unary) = node.op else { continue };
        let kinks = bends(unary);
        wide.update(node.inputs[0], |x| {
            for &kink in &kinks {
                let reach = BEYOND * (x.upper - x.lower);
                if reach.is_finite() && x.lower < kink && kink < x.upper {
                    *x = Interval::new(x.lower.min(kink - reach), x.upper.max(kink + reach));
                }
            }
        });
    }
    wide
}

/// Marks the elements of a value that a node reads and is not affine in between their bounds.
pub(super) fn mark_open(graph: &Graph, bounds: &Bounds, node: &Node, value: ValueId, open: &mut [bool]) -> Result<()> {
    if let Op::Unary(unary) = node.op {
        let envelope = Envelope::new(unary);
        for ((open, &x), &y) in open.iter_mut().zip(bounds.of(value)).zip(bounds.of(node.outputs[0])) {
            let [below, above] = envelope.lines(x, y, 0.5);
            let gap = |at: f64| (above.slope - below.slope) * at + (above.intercept - below.intercept);
            let small = AFFINE * (x.magnitude() + y.magnitude());
            *open |= !(gap(x.lower) <= small && gap(x.upper) <= small);
        }
    } else if !relax(graph, node, bounds, 0.5)?.is_affine() {
        open.fill(true);
    }
    Ok(())
}
