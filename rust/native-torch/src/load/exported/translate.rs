//! The calls of a program as operations of the graph.

use std::collections::HashMap;

use super::{
    super::{
        aten::{self, Constant, Interpreter, Item, Operand},
        records::printable,
    },
    Program, check, layout,
    schema::{Argument, Graph as Calls, Name, Node, OptionalTensor, SymArgument},
    symbols,
};
use crate::{
    Error, Result,
    graph::{Dim, Graph, ValueId, format_shape, integers_of},
};

/// Operations of torch that only wrap a graph, which is called with the arguments behind it.
pub(super) const WRAPPERS: [&str; 2] =
    ["torch.ops.higher_order.wrap_with_set_grad_enabled", "torch.ops.higher_order.wrap_with_autocast"];

/// Operations of torch that run graphs as values decide.
pub(super) const CONTROL: [&str; 2] = ["torch.ops.higher_order.cond", "torch.ops.higher_order.while_loop"];

/// The operations that are not known, by name, each with the places where it is called.
pub(super) fn unsupported(graph: &Calls) -> Vec<(String, String)> {
    let own = |target: &str| WRAPPERS.iter().chain(&CONTROL).any(|known| *known == target);
    check::places(graph, &|target| aten::find(target).is_some() || own(target))
}

/// The graph of a program for inputs of these shapes. Integers that are given are known from the beginning, so that all
/// that depends on them alone is computed at once.
pub(super) fn graph(program: &Program, shapes: &[Vec<Dim>], integers: Option<&[i64]>) -> Result<Graph> {
    let mut interpreter = Interpreter::new();
    let mut values: HashMap<&str, Item> = HashMap::new();
    let described = program.inputs.iter().zip(shapes).map(|(input, shape)| (&*input.name, input.dtype, &shape[..]));
    let mut given = integers.map(|integers| integers_of(described, integers)).transpose()?.unwrap_or_default();
    given.resize(shapes.len(), None);
    for ((input, shape), given) in program.inputs.iter().zip(shapes).zip(given) {
        let builder = &mut interpreter.context.builder;
        let operand = match given {
            Some(tensor) => aten::integers(&input.name, tensor, input.dtype)?,
            None if input.dtype.is_float() => Operand::Computed(builder.input(&input.name, shape.clone())),
            None => Operand::Computed(builder.integers(&input.name, shape.clone())),
        };
        values.insert(&input.value, interpreter.cell(operand));
    }
    for (value, named) in &program.state {
        // A tensor that cannot be used is only an error where it is used.
        if let Ok(tensor) = &named.tensor {
            let constant = Constant { name: named.name.as_str().into(), tensor: tensor.clone() };
            values.insert(value, interpreter.cell(Operand::Constant(constant)));
        }
    }
    let missing = |name: &str| {
        let named = program.state.iter().find(|(value, _)| value == name).map(|(_, named)| named);
        match named.and_then(|named| Some((named, named.tensor.as_ref().err()?))) {
            Some((named, error)) => error.clone().at(format!("tensor `{}`", named.name)),
            None => Error::unsupported(format!("the value `{}` is not computed", printable(name))),
        }
    };
    run(&mut interpreter, &program.graph, &mut values, &missing)?;
    let mut outputs: Vec<(&str, ValueId)> = Vec::new();
    for output in &program.outputs {
        let place = || format!("output `{}`", output.name);
        let Some(Item::Cell(cell)) = values.get(output.value.as_str()) else {
            return Err(missing(&output.value).at(place()));
        };
        let operand = interpreter.operand(*cell).clone();
        let operand = aten::as_numbers(&mut interpreter.context, &operand)?;
        if !interpreter.context.dtype(&operand).is_float() {
            let dtype = interpreter.context.dtype(&operand).name();
            return Err(Error::unsupported(format!(
                "it holds {dtype}; outputs of floating-point numbers are computed"
            ))
            .at(place()));
        }
        outputs.push((&output.name, interpreter.context.value(&operand)));
    }
    let mut graph = interpreter.context.builder.finish(&outputs)?;
    graph.remove_unused();
    Ok(graph)
}

/// Runs the calls of a graph, and of those that it wraps, on named values.
fn run<'a>(
    interpreter: &mut Interpreter,
    graph: &'a Calls,
    values: &mut HashMap<&'a str, Item>,
    missing: &dyn Fn(&str) -> Error,
) -> Result<()> {
    for node in &graph.nodes {
        let scope = check::scope(node).unwrap_or_else(|| printable(&node.target).into_owned());
        interpreter.context.builder.set_scope(&*scope);
        call(interpreter, graph, node, values, missing).map_err(|e| in_place(e, node))?;
    }
    Ok(())
}

/// Errors of the graph's own rules begin with the layer, which the place of the call names, too.
fn in_place(error: Error, node: &Node) -> Error {
    let own = check::scope(node).map(|scope| format!("{scope}: ")).unwrap_or_default();
    let message = error.message().strip_prefix(&own).unwrap_or(error.message());
    Error::new(error.kind(), message).at(check::place(node))
}

fn call<'a>(
    interpreter: &mut Interpreter,
    graph: &'a Calls,
    node: &'a Node,
    values: &mut HashMap<&'a str, Item>,
    missing: &dyn Fn(&str) -> Error,
) -> Result<()> {
    let arguments = node.inputs.iter().filter(|input| !matches!(input.arg, Argument::AsGraph(_)));
    let given: Vec<(&str, Item)> =
        arguments.map(|input| Ok((input.name.as_str(), item(&input.arg, values, missing)?))).collect::<Result<_>>()?;
    let name = node.outputs.iter().flat_map(check::references).next().unwrap_or(&node.target);
    let result = match aten::find(&node.target) {
        Some(target) => interpreter.call(target, given, name)?,
        None if node.target == CONTROL[0] => cond(interpreter, node, given, missing)?,
        None if node.target == CONTROL[1] => while_loop(interpreter, node, given, missing)?,
        None => wrapped(interpreter, node, given, missing)?,
    };
    bind(interpreter, graph, node, result, values)
}

/// The results of the graph that a call wraps.
fn wrapped(
    interpreter: &mut Interpreter,
    node: &Node,
    given: Vec<(&str, Item)>,
    missing: &dyn Fn(&str) -> Error,
) -> Result<Item> {
    let inner = *inner_graphs(node).first().ok_or_else(|| Error::format("it wraps no graph"))?;
    let given: Vec<Item> = given.into_iter().map(|(_, item)| item).collect();
    let mut results = run_inner(interpreter, inner, &given, missing)?;
    if node.target == WRAPPERS[0] && matches!(given.first(), Some(Item::Bool(false))) {
        // What the graph passes through keeps its gradient.
        let passed = |item: &Item| given.iter().any(|g| matches!((g, item), (Item::Cell(a), Item::Cell(b)) if a == b));
        for result in results.iter_mut().filter(|result| !passed(result)) {
            *result = interpreter.detached(result)?;
        }
    }
    Ok(Item::List(results))
}

/// The graphs among a call's arguments.
fn inner_graphs(node: &Node) -> Vec<&Calls> {
    let graphs = node.inputs.iter().filter_map(|input| match &input.arg {
        Argument::AsGraph(subgraph) => Some(&*subgraph.graph),
        _ => None,
    });
    graphs.collect()
}

/// The results of a graph within the program, whose own inputs are the last arguments.
fn run_inner(
    interpreter: &mut Interpreter,
    inner: &Calls,
    given: &[Item],
    missing: &dyn Fn(&str) -> Error,
) -> Result<Vec<Item>> {
    let names: Vec<&str> = inner.inputs.iter().flat_map(check::references).collect();
    let first = given.len().checked_sub(names.len()).ok_or_else(|| Error::format("it is given too few arguments"))?;
    let mut values: HashMap<&str, Item> = names.into_iter().zip(given[first..].iter().cloned()).collect();
    run(interpreter, inner, &mut values, missing)?;
    inner.outputs.iter().map(|output| item(output, &values, missing)).collect()
}

/// The same, where every result is a tensor.
fn run_tensors(
    interpreter: &mut Interpreter,
    inner: &Calls,
    given: &[Item],
    missing: &dyn Fn(&str) -> Error,
) -> Result<Vec<Operand>> {
    let results = run_inner(interpreter, inner, given, missing)?;
    results.iter().map(|result| tensor(interpreter, result)).collect()
}

/// A tensor, or the one of no dimensions that a number stands for.
fn tensor(interpreter: &Interpreter, item: &Item) -> Result<Operand> {
    match item {
        Item::Cell(cell) => Ok(interpreter.operand(*cell).clone()),
        other => aten::number(other)
            .ok_or_else(|| Error::unsupported(format!("{} where control depends on values", other.kind()))),
    }
}

/// The tensors of lists, one list after another.
fn flattened(given: Vec<(&str, Item)>) -> Vec<Item> {
    let each = |(_, item): (&str, Item)| match item {
        Item::List(items) => items,
        other => vec![other],
    };
    given.into_iter().flat_map(each).collect()
}

/// One of two graphs.
fn cond(
    interpreter: &mut Interpreter,
    node: &Node,
    mut given: Vec<(&str, Item)>,
    missing: &dyn Fn(&str) -> Error,
) -> Result<Item> {
    let [taken, other] = inner_graphs(node)[..] else { return Err(Error::format("it is not given two graphs")) };
    if given.is_empty() {
        return Err(Error::format("it has no condition"));
    }
    let condition = tensor(interpreter, &given.remove(0).1)?;
    let given = flattened(given);
    if let Some(holds) = condition.truth()? {
        return run_inner(interpreter, if holds { taken } else { other }, &given, missing).map(Item::List);
    }
    let mut branch = |inner: &Calls| {
        let begun = interpreter.begin();
        let results = run_tensors(interpreter, inner, &given, missing)?;
        interpreter.end(begun, &results)
    };
    let branches = [branch(taken)?, branch(other)?];
    let results = interpreter.choose(&condition, branches)?;
    Ok(Item::List(results.into_iter().map(|operand| interpreter.cell(operand)).collect()))
}

/// A graph again and again, as long as another one says so. Turns that depend on no input are taken at once.
fn while_loop(
    interpreter: &mut Interpreter,
    node: &Node,
    mut given: Vec<(&str, Item)>,
    missing: &dyn Fn(&str) -> Error,
) -> Result<Item> {
    let [condition, body] = inner_graphs(node)[..] else { return Err(Error::format("it is not given two graphs")) };
    if given.is_empty() {
        return Err(Error::format("it carries nothing"));
    }
    let mut carried = flattened(vec![given.remove(0)]);
    let rest = flattened(given);
    for _ in 0..aten::TURNS {
        let all = [&carried[..], &rest].concat();
        let begun = interpreter.begin();
        let again = run_tensors(interpreter, condition, &all, missing)?;
        interpreter.end(begun, &again)?;
        let again = again.first().ok_or_else(|| Error::format("its condition gives nothing"))?;
        match again.truth()? {
            Some(false) => return Ok(Item::List(carried)),
            Some(true) => carried = run_inner(interpreter, body, &all, missing)?,
            None => {
                let start: Vec<Operand> =
                    carried.iter().map(|item| tensor(interpreter, item)).collect::<Result<_>>()?;
                let results = interpreter.repeat(&start, &mut |interpreter, is_condition, operands| {
                    let cells = operands.iter().map(|operand| interpreter.cell(operand.clone()));
                    let given: Vec<Item> = cells.chain(rest.iter().cloned()).collect();
                    run_tensors(interpreter, if is_condition { condition } else { body }, &given, missing)
                })?;
                return Ok(Item::List(results.into_iter().map(|operand| interpreter.cell(operand)).collect()));
            }
        }
    }
    Err(Error::unsupported(format!("a loop takes more than {} turns that depend on no input", aten::TURNS)))
}

/// An argument as the table's rules take it.
fn item(argument: &Argument, values: &HashMap<&str, Item>, missing: &dyn Fn(&str) -> Error) -> Result<Item> {
    let named = |name: &str| values.get(name).cloned().ok_or_else(|| missing(name));
    let tensors = |names: &[Name]| -> Result<Item> {
        names.iter().map(|n| named(&n.name)).collect::<Result<_>>().map(Item::List)
    };
    let optional = |one: &OptionalTensor| match one {
        OptionalTensor::AsTensor(name) => named(&name.name),
        OptionalTensor::AsNone(_) => Ok(Item::None),
    };
    let symbolic = |one: &SymArgument| match one {
        SymArgument::AsName(name) => named(name),
        SymArgument::AsInt(value) => Ok(Item::Int(*value)),
        SymArgument::AsFloat(value) => Ok(Item::Float(value.0)),
        SymArgument::AsBool(value) => Ok(Item::Bool(*value)),
    };
    Ok(match argument {
        Argument::AsNone(_) => Item::None,
        Argument::AsTensor(name) => named(&name.name)?,
        Argument::AsTensors(names) => tensors(names)?,
        Argument::AsNestedTensors(lists) => {
            Item::List(lists.iter().map(|names| tensors(names)).collect::<Result<_>>()?)
        }
        Argument::AsOptionalTensor(one) => optional(one)?,
        Argument::AsOptionalTensors(all) => Item::List(all.iter().map(optional).collect::<Result<_>>()?),
        Argument::AsInt(value) => Item::Int(*value),
        Argument::AsInts(values) => Item::ints(values.iter().copied()),
        Argument::AsIntLists(lists) => Item::List(lists.iter().map(|list| Item::ints(list.iter().copied())).collect()),
        Argument::AsFloatLists(_) => return Err(Error::unsupported("a list of lists of numbers")),
        Argument::AsFloat(value) => Item::Float(value.0),
        Argument::AsFloats(values) => Item::List(values.iter().map(|value| Item::Float(value.0)).collect()),
        Argument::AsString(text) | Argument::AsOperator(text) => Item::Text(text.as_str().into()),
        Argument::AsStrings(texts) => Item::List(texts.iter().map(|text| Item::Text(text.as_str().into())).collect()),
        Argument::AsSymInt(one) | Argument::AsSymBool(one) | Argument::AsSymFloat(one) => symbolic(one)?,
        Argument::AsSymInts(all) | Argument::AsSymBools(all) | Argument::AsSymFloats(all) => {
            Item::List(all.iter().map(symbolic).collect::<Result<_>>()?)
        }
        Argument::AsScalarType(code) => Item::DType(layout::dtype(*code)?),
        Argument::AsBool(value) => Item::Bool(*value),
        Argument::AsBools(values) => Item::List(values.iter().map(|&value| Item::Bool(value)).collect()),
        Argument::AsMemoryFormat(_) | Argument::AsLayout(_) | Argument::AsDevice(_) => Item::Placement,
        Argument::AsGraph(_) => return Err(Error::format("a graph stands where a value is expected")),
        Argument::AsCustomObj(_) => return Err(Error::unsupported("an object of a class that torch does not define")),
        Argument::AsComplex(_) => return Err(Error::unsupported("a complex number")),
        Argument::AsStringToArgument(_) => return Err(Error::unsupported("a dict as an argument")),
    })
}

/// Gives the results of a call their names, and checks their shapes against those that the program declares.
fn bind<'a>(
    interpreter: &Interpreter,
    graph: &'a Calls,
    node: &'a Node,
    result: Item,
    values: &mut HashMap<&'a str, Item>,
) -> Result<()> {
    let names = |argument: &'a Argument| -> Option<Vec<&'a str>> {
        match argument {
            Argument::AsTensors(names) => Some(names.iter().map(|name| name.name.as_str()).collect()),
            _ => None,
        }
    };
    let mut pairs: Vec<(&'a str, Item)> = Vec::new();
    match (&node.outputs[..], result) {
        ([], _) => {}
        ([one], Item::List(items)) if names(one).is_some() => {
            let names = names(one).unwrap_or_default();
            if names.len() != items.len() {
                return Err(Error::format(format!("it gives {} tensors, but {} are named", items.len(), names.len())));
            }
            pairs.extend(names.into_iter().zip(items));
        }
        // Several results, of which those that nobody uses may not be named.
        (several, Item::List(items)) => {
            for (argument, item) in several.iter().zip(items) {
                pairs.extend(check::references(argument).into_iter().map(|name| (name, item.clone())));
            }
        }
        ([one, ..], item) => pairs.extend(check::references(one).into_iter().map(|name| (name, item.clone()))),
    }
    for (name, item) in pairs {
        if matches!(item, Item::None) {
            continue;
        }
        if let (Item::Cell(cell), Some(meta)) = (&item, graph.tensor_values.get(name)) {
            let declared = symbols::dims(&meta.sizes)?;
            let found = interpreter.context.shape(interpreter.operand(*cell));
            let fits = declared.len() == found.len() && declared.iter().zip(&found).all(|(a, b)| a.agrees(b));
            if !fits {
                return Err(Error::format(format!(
                    "its result has shape {}, but the program declares {}",
                    format_shape(&found),
                    format_shape(&declared)
                )));
            }
        }
        values.insert(name, item);
    }
    Ok(())
}
