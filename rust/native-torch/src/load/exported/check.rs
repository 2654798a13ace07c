//! Checks of a program before it is used: every value is defined once and before it is used, and every tensor has the
//! sizes that the program declares.

use std::collections::{HashMap, HashSet};

use super::{
    super::{NamedTensor, records::printable, tensors::Described},
    Input, Output, layout,
    schema::{Argument, Graph, Node, OptionalTensor, SymArgument, SymInt},
};
use crate::{Error, Result};

/// The names of values that an argument refers to.
pub(super) fn references(argument: &Argument) -> Vec<&str> {
    match argument {
        Argument::AsTensor(name) => vec![&name.name],
        Argument::AsTensors(names) => names.iter().map(|name| name.name.as_str()).collect(),
        Argument::AsNestedTensors(lists) => lists.iter().flatten().map(|name| name.name.as_str()).collect(),
        Argument::AsOptionalTensor(OptionalTensor::AsTensor(name)) => vec![&name.name],
        Argument::AsOptionalTensors(all) => all
            .iter()
            .filter_map(|one| match one {
                OptionalTensor::AsTensor(name) => Some(name.name.as_str()),
                OptionalTensor::AsNone(_) => None,
            })
            .collect(),
        Argument::AsSymInt(SymArgument::AsName(name))
        | Argument::AsSymBool(SymArgument::AsName(name))
        | Argument::AsSymFloat(SymArgument::AsName(name)) => vec![name],
        Argument::AsSymInts(all) | Argument::AsSymBools(all) | Argument::AsSymFloats(all) => all
            .iter()
            .filter_map(|one| match one {
                SymArgument::AsName(name) => Some(name.as_str()),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// The calls of a graph and of the graphs within it.
pub(super) fn nodes(graph: &Graph) -> Vec<&Node> {
    let mut graphs = vec![graph];
    let mut nodes = Vec::new();
    while let Some(graph) = graphs.pop() {
        for node in &graph.nodes {
            nodes.push(node);
            graphs.extend(node.inputs.iter().filter_map(|input| match &input.arg {
                Argument::AsGraph(subgraph) => Some(&*subgraph.graph),
                _ => None,
            }));
        }
    }
    nodes
}

/// Checks that values are defined once and before they are used, in the graph and those within it.
pub(super) fn graph(graph: &Graph) -> Result<()> {
    let mut graphs = vec![graph];
    while let Some(graph) = graphs.pop() {
        let mut defined: HashSet<&str> = HashSet::new();
        let mut later: HashMap<&str, &str> = HashMap::new();
        for node in &graph.nodes {
            for name in node.outputs.iter().flat_map(references) {
                later.insert(name, &node.target);
            }
        }
        for name in graph.inputs.iter().flat_map(references) {
            if !defined.insert(name) {
                return Err(twice(name));
            }
        }
        for node in &graph.nodes {
            for input in &node.inputs {
                if let Argument::AsGraph(subgraph) = &input.arg {
                    graphs.push(&subgraph.graph);
                }
                for name in references(&input.arg) {
                    if defined.contains(name) {
                        continue;
                    }
                    let what = match later.get(name) {
                        Some(target) => format!(
                            "which {} computes behind it: the program has a cycle, or its calls are out of order",
                            printable(target)
                        ),
                        None => "which nothing defines".to_owned(),
                    };
                    let message = format!("argument `{}` is `{}`, {what}", printable(&input.name), printable(name));
                    return Err(Error::format(message).at(place(node)));
                }
            }
            for name in node.outputs.iter().flat_map(references) {
                if !defined.insert(name) {
                    return Err(twice(name).at(place(node)));
                }
            }
        }
        if let Some(name) = graph.outputs.iter().flat_map(references).find(|name| !defined.contains(name)) {
            return Err(Error::format(format!("the program returns `{}`, which nothing defines", printable(name))));
        }
    }
    Ok(())
}

fn twice(name: &str) -> Error {
    Error::format(format!("the value `{}` is defined twice", printable(name)))
}

/// The operations that are not among those known, by name, each with the places where it is called.
pub(super) fn places(graph: &Graph, is_known: &dyn Fn(&str) -> bool) -> Vec<(String, String)> {
    /// More places than these are only counted.
    const PLACES: usize = 3;
    let mut found: Vec<(&str, Vec<&Node>)> = Vec::new();
    for node in nodes(graph).into_iter().filter(|node| !is_known(&node.target)) {
        match found.iter_mut().find(|entry| entry.0 == node.target) {
            Some(entry) => entry.1.push(node),
            None => found.push((&node.target, vec![node])),
        }
    }
    let describe = |(target, nodes): (&str, Vec<&Node>)| {
        let mut places: Vec<String> = nodes.iter().take(PLACES).map(|node| location(node)).collect();
        places.dedup();
        if nodes.len() > PLACES {
            places.push(format!("{} more", nodes.len() - PLACES));
        }
        let name = target.strip_prefix("torch.ops.").unwrap_or(target);
        (printable(name).into_owned(), places.join(", "))
    };
    found.into_iter().map(describe).collect()
}

/// An error that names all of these operations, if there are any.
pub(super) fn refuse(missing: &[(String, String)], who: &str) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let all: Vec<String> = missing.iter().map(|(name, places)| format!("{name} ({places})")).collect();
    let s = if all.len() == 1 { "" } else { "s" };
    let message = format!("the program calls {} operation{s} that {who}: {}", all.len(), all.join("; "));
    Err(Error::unsupported(message))
}

/// A call as error messages name it: the operation, and where it stands in the model and in its source.
pub(super) fn place(node: &Node) -> String {
    let target = node.target.strip_prefix("torch.ops.").unwrap_or(&node.target);
    format!("{}, {}", location(node), printable(target))
}

/// Where a call stands in the model and in its source: its layer, and the line.
pub(super) fn location(node: &Node) -> String {
    let layer = scope(node).unwrap_or_else(|| "the model".to_owned());
    let line = line(node).map(|line| format!(" at {line}")).unwrap_or_default();
    format!("{layer}{line}")
}

/// The innermost module that a call belongs to: ``layer `features.0` (torch.nn.modules.conv.Conv2d)``.
pub(super) fn scope(node: &Node) -> Option<String> {
    let stack = node.metadata.get("nn_module_stack")?;
    // Each entry is a key, the path and the class; only the key may hold commas.
    let mut parts = stack.rsplit(';').next()?.rsplitn(3, ',');
    let (class, path) = (parts.next()?, parts.next()?);
    let (class, path) = (printable(class), printable(path));
    Some(if path.is_empty() { format!("the model ({class})") } else { format!("layer `{path}` ({class})") })
}

/// The innermost line of the source that a call comes from: `model.py line 12`.
fn line(node: &Node) -> Option<String> {
    let trace = node.metadata.get("stack_trace")?;
    let last = trace.lines().rev().find_map(|line| line.trim().strip_prefix("File \""))?;
    let (file, rest) = last.split_once("\", line ")?;
    let number = rest.split(',').next()?;
    Some(format!("{} line {}", printable(file), printable(number)))
}

/// Checks a stored tensor against what the program declares of the value that it becomes.
pub(super) fn declared(graph: &Graph, value: &str, found: &Described) -> Result<()> {
    let Some(meta) = graph.tensor_values.get(value) else { return Ok(()) };
    let sizes: Option<Vec<usize>> = meta
        .sizes
        .iter()
        .map(|size| match size {
            SymInt::AsInt(size) => usize::try_from(*size).ok(),
            SymInt::AsExpr(_) => None,
        })
        .collect();
    if let (Some(sizes), Some(shape)) = (sizes, &found.info.shape)
        && sizes != *shape
    {
        return Err(Error::format(format!("it is stored with shape {shape:?}, but the program declares {sizes:?}")));
    }
    let dtype = layout::dtype(meta.dtype)?.name();
    match &found.info.dtype {
        Some(stored) if stored != dtype => {
            Err(Error::format(format!("it is stored as {stored}, but the program declares {dtype}")))
        }
        _ => Ok(()),
    }
}

/// Checks that every input of the graph has a meaning, and that the outputs are values of it.
pub(super) fn signature(
    graph: &Graph,
    state: &[(String, NamedTensor)],
    inputs: &[Input],
    outputs: &[Output],
) -> Result<()> {
    let known: HashSet<&str> =
        state.iter().map(|(value, _)| value.as_str()).chain(inputs.iter().map(|input| input.value.as_str())).collect();
    if let Some(name) = graph.inputs.iter().flat_map(references).find(|name| !known.contains(name)) {
        return Err(Error::format(format!("the signature does not say what the input `{}` is", printable(name))));
    }
    let defined: HashSet<&str> = graph.inputs.iter().chain(&graph.outputs).flat_map(references).collect();
    match known
        .iter()
        .copied()
        .chain(outputs.iter().map(|output| output.value.as_str()))
        .find(|name| !defined.contains(name))
    {
        Some(name) => Err(Error::format(format!(
            "the signature names `{}`, which is neither an input nor an output of the graph",
            printable(name)
        ))),
        None => Ok(()),
    }
}
