//! Branches as part of the graph that they stand in: both are computed, and a choice is made between their results.

use crate::{
    Error, Result,
    bounds::{Bounds, decided},
    graph::{Graph, Node, Op, Source, ValueId},
};

/// The graph without branches, and the bounds of its values; `None` if it has none. Values keep their numbers. Of a
/// branch that the bounds decide, only the one that is taken is left.
pub(super) fn branches(graph: &Graph, bounds: &Bounds) -> Result<Option<(Graph, Bounds)>> {
    let mut found: Option<(Graph, Bounds)> = None;
    loop {
        let (graph, bounds) = found.as_ref().map_or((graph, bounds), |(graph, bounds)| (graph, bounds));
        let Some(at) = graph.nodes().iter().position(|node| matches!(node.op, Op::If(_))) else { return Ok(found) };
        found = Some(inline(graph, bounds.clone(), at)?);
    }
}

/// The same without the branches of one node.
fn inline(graph: &Graph, mut bounds: Bounds, at: usize) -> Result<(Graph, Bounds)> {
    let node = &graph.nodes()[at];
    let Op::If(branches) = &node.op else { return Err(Error::internal("a node without branches")) };
    let known = decided(bounds.of(node.inputs[0])[0]);
    let (mut graph, mut new) = (graph.clone(), Vec::new());
    let mut sides = Vec::new();
    for (holds, branch) in [(true, &branches[0]), (false, &branches[1])] {
        if known.is_none_or(|known| known == holds) {
            sides.push(append(&mut graph, &mut new, branch, node)?);
        }
    }
    let mut last = |op: Op, inputs: Vec<ValueId>| {
        new.push(Node { op, inputs, outputs: node.outputs.clone(), scope: node.scope.clone() });
    };
    match sides[..] {
        [taken] => last(Op::Flatten { start: 0, end: 0 }, vec![taken]),
        _ => last(Op::Where, [node.inputs[0]].into_iter().chain(sides).collect()),
    }
    bounds.extend(graph.values().len());
    for node in &new[..new.len() - 1] {
        bounds.intersect_rule(&graph, node)?;
        if known.is_none() {
            check_domain(node, &bounds)?;
        }
    }
    graph.replace(at, new);
    Ok((graph, bounds))
}

/// Adds a branch's nodes; the value that holds its results one after another.
fn append(graph: &mut Graph, new: &mut Vec<Node>, branch: &Graph, node: &Node) -> Result<ValueId> {
    let mut values: Vec<Option<ValueId>> = vec![None; branch.values().len()];
    let mut add = |graph: &mut Graph, op: Op, inputs: Vec<ValueId>, scope: &str| -> Result<ValueId> {
        let value = graph.add_result(&op, &inputs)?;
        new.push(Node { op, inputs, outputs: vec![value], scope: scope.to_owned() });
        Ok(value)
    };
    let mut start = 0;
    for input in branch.inputs() {
        let sizes = branch.sizes(input.value);
        let end = start + sizes.iter().product::<usize>();
        let op = Op::Slice { dim: 0, start, end, step: 1 };
        let part = add(graph, op, vec![node.inputs[1]], &node.scope)?;
        let op = match sizes.len() {
            0 => Op::Sum { dims: vec![0], keepdim: false },
            _ => Op::Unflatten { dim: 0, sizes: sizes.into_iter().map(Some).collect() },
        };
        values[input.value.index()] = Some(add(graph, op, vec![part], &node.scope)?);
        start = end;
    }
    for (at, value) in branch.values().iter().enumerate() {
        if let Source::Parameter(parameter) = value.source {
            let parameter = &branch.parameters()[parameter];
            values[at] = Some(graph.add_typed_parameter(value.ty.clone(), parameter.clone()));
        }
    }
    let find = |values: &[Option<ValueId>], value: ValueId| {
        values[value.index()].ok_or_else(|| Error::internal("a branch reads what it does not compute"))
    };
    for inner in branch.nodes() {
        let inputs = inner.inputs.iter().map(|&v| find(&values, v)).collect::<Result<_>>()?;
        values[inner.outputs[0].index()] = Some(add(graph, inner.op.clone(), inputs, &inner.scope)?);
    }
    let mut parts = Vec::new();
    for output in branch.outputs() {
        let end = branch.ty(output.value).rank().saturating_sub(1);
        parts.push(add(graph, Op::Flatten { start: 0, end }, vec![find(&values, output.value)?], &node.scope)?);
    }
    add(graph, Op::Cat { dim: 0 }, parts, &node.scope)
}

/// Where a branch is not taken it may have no value, but a formulation computes it.
fn check_domain(node: &Node, bounds: &Bounds) -> Result<()> {
    let undefined = match &node.op {
        Op::Unary(unary) => {
            let least = unary.domain().0;
            let leaves = |x: &crate::bounds::Interval| x.lower < least || (unary.has_pole() && x.contains(0.0));
            bounds.of(node.inputs[0]).iter().any(leaves)
        }
        Op::Div => bounds.of(node.inputs[1]).iter().any(|y| y.contains(0.0)),
        _ => false,
    };
    if !undefined {
        return Ok(());
    }
    Err(Error::unsupported(format!(
        "{}: within the bounds {} is not defined everywhere, and stands in a branch that depends on values; a formulation \
         computes both branches, so give bounds that decide it, or use the network's values and derivatives",
        node.scope,
        node.op.name()
    )))
}
