//! What serialized code calls besides ATen's operations on tensors: numbers, texts, lists, dicts, sizes.

use std::sync::Arc;

use super::{
    super::{
        aten::{self, Item},
        records::printable,
    },
    machine::{Machine, code},
    value::{DEPTH, Value},
};
use crate::{
    Error, ErrorKind, Result,
    graph::Dim,
    tensor::{DType, Tensor},
};

/// The operation of the table that a call is, and its arguments; some operations have names of their own in traced code.
pub(super) fn renamed<'n>(machine: &Machine, name: &'n str, mut arguments: Vec<Value>) -> (&'n str, Vec<Value>) {
    let version = machine.script.version();
    match (name, &mut arguments[..]) {
        // What operations did in files of old versions: torch's `operator_upgraders/version_map.h`.
        ("div" | "div_", [a, b]) if version < 4 && is_whole(machine, a) && is_whole(machine, b) => {
            arguments.push(Value::text("trunc"));
            (name, arguments)
        }
        ("full", [_, value, ..]) if version < 5 => {
            *value = value.number().map_or(Value::Unknown, Value::Float);
            (name, arguments)
        }
        ("linspace" | "logspace", [_, _, steps @ Value::None, ..]) if version < 9 => {
            *steps = Value::Int(100);
            (name, arguments)
        }
        // Behind the ninth stand switches of cuDNN.
        ("_convolution", _) => {
            arguments.truncate(9);
            ("convolution", arguments)
        }
        ("numpy_T", [Value::Tensor(cell)])
            if machine.interpreter.context.rank(machine.interpreter.operand(*cell)) <= 2 =>
        {
            ("t", arguments)
        }
        _ => (name, arguments),
    }
}

/// Whether a value holds integers.
fn is_whole(machine: &Machine, value: &Value) -> bool {
    match value {
        Value::Int(_) | Value::Bool(_) => true,
        Value::Tensor(cell) => !machine.interpreter.context.dtype(machine.interpreter.operand(*cell)).is_float(),
        _ => false,
    }
}

/// Calls what is no operation on tensors; `None` if it is one.
pub(super) fn call(
    machine: &mut Machine,
    name: &str,
    arguments: &[Value],
    keywords: &[(Arc<str>, Value)],
) -> Result<Option<Value>> {
    let (space, plain) = match name.rsplit_once('.') {
        Some((space, plain)) => (space, plain),
        None => ("", name),
    };
    if !matches!(space, "torch" | "ops.prim" | "ops.aten" | "") {
        return Ok(None);
    }
    match (plain, arguments) {
        ("is_grad_enabled", []) => return Ok(Some(Value::Bool(machine.gradients))),
        ("set_grad_enabled" | "_set_grad_enabled", [Value::Bool(enabled)]) => {
            machine.gradients = *enabled;
            return Ok(Some(Value::None));
        }
        _ => {}
    }
    if let Some(value) = raised(machine, plain, arguments)? {
        return Ok(Some(value));
    }
    let is_unknown = |value: &Value| matches!(value, Value::Unknown);
    let is_tensor = |value: &Value| matches!(value, Value::Tensor(_));
    let all = || arguments.iter().chain(keywords.iter().map(|keyword| &keyword.1));
    let (mut unknown, mut tensors) = (false, false);
    for value in all() {
        unknown |= machine.heap.any(value, is_unknown)?;
        tensors |= machine.heap.any(value, is_tensor)?;
    }
    if let Some(value) = containers(machine, plain, arguments)? {
        return Ok(Some(value));
    }
    if unknown {
        // Operations of ATen are looked up, so that those that are not there are named.
        let is_operation = !is_scalar(plain) && matches!(space, "torch" | "ops.aten");
        return Ok((!is_operation).then_some(Value::Unknown));
    }
    if tensors {
        return of_tensors(machine, plain, arguments, keywords);
    }
    if matches!((plain, arguments), ("tensor" | "as_tensor" | "NumToTensor", [_, ..])) {
        return made(machine, arguments, keywords).map(Some);
    }
    scalars(machine, plain, arguments).map_err(|e| e.at(printable(name)))
}

/// What only answers questions of the program's surroundings, warns, or ends the program.
fn raised(machine: &Machine, name: &str, arguments: &[Value]) -> Result<Option<Value>> {
    Ok(Some(match name {
        "RaiseException" => {
            let message = arguments.first().map(|value| machine.heap.print(value)).unwrap_or_default();
            let message = printable(&message).into_owned();
            return Err(Error::argument(format!("the model refuses its inputs: {message}")));
        }
        "warn" | "print" | "Print" | "set_grad_enabled" | "_log_api_usage_once" | "_assert" => Value::None,
        "is_grad_enabled" | "is_scripting" => Value::Bool(true),
        "is_autocast_enabled" | "is_autocast_cpu_enabled" | "is_tracing" | "_is_tracing" => Value::Bool(false),
        // The kind of a device: values are computed on the CPU.
        "type" if matches!(arguments, [Value::Placement]) => Value::text("cpu"),
        "device" if !matches!(arguments, [Value::Tensor(_) | Value::Unknown]) => Value::Placement,
        _ => return Ok(None),
    }))
}

/// Whether a name is one of a function on numbers.
fn is_scalar(name: &str) -> bool {
    const NAMES: [&str; 16] = [
        "int",
        "float",
        "bool",
        "str",
        "size",
        "dim",
        "len",
        "Int",
        "Float",
        "Bool",
        "ScalarImplicit",
        "IntImplicit",
        "FloatImplicit",
        "NumToTensor",
        "numel",
        "item",
    ];
    NAMES.contains(&name)
}

/// The number of a computed tensor: a tensor without dimensions, or a mask. Of what is rounded to an int nothing is
/// known.
fn computed_number(machine: &mut Machine, tensor: &Value, convert: &str) -> Result<Option<Value>> {
    let Value::Tensor(cell) = tensor else { return Ok(None) };
    let operand = machine.interpreter.operand(*cell);
    let is_mask = machine.interpreter.context.dtype(operand) == DType::Bool;
    if operand.constant().is_some() || (matches!(convert, "int" | "Int" | "IntImplicit") && !is_mask) {
        return Ok(None);
    }
    let one = machine.interpreter.context.shape(operand).iter().all(|dim| dim.size() == Some(1));
    if !one {
        return Err(Error::format("the number of a tensor of several elements"));
    }
    let items = vec![("self", Item::Cell(*cell)), ("size", Item::List(Vec::new()))];
    let number = aten_of(machine, "reshape.default", items)?;
    let Value::Tensor(cell) = number else { return Err(Error::internal("a tensor")) };
    let dtype = match convert {
        "bool" | "Bool" | "is_nonzero" => DType::Bool,
        "item" | "ScalarImplicit" => return Ok(Some(number)),
        _ => DType::F32,
    };
    let items = vec![("self", Item::Cell(cell)), ("dtype", Item::DType(dtype))];
    aten_of(machine, "to.dtype", items).map(Some)
}

/// Calls an operation of ATen.
fn aten_of(machine: &mut Machine, name: &str, items: Vec<(&str, Item)>) -> Result<Value> {
    let target = aten::find(&format!("torch.ops.aten.{name}")).ok_or_else(|| Error::internal("an operation"))?;
    let result = machine.interpreter.call(target, items, name)?;
    machine.value_of(result)
}

/// The number of a tensor that is known.
pub(super) fn item(machine: &mut Machine, tensor: &Value) -> Result<Value> {
    let Value::Tensor(cell) = tensor else { return Ok(tensor.clone()) };
    let target = aten::find("torch.ops.aten.item.default").ok_or_else(|| Error::internal("item"))?;
    let result = machine.interpreter.call(target, vec![("self", Item::Cell(*cell))], "item");
    let result = result.map_err(|error| match error.kind() {
        ErrorKind::Unsupported => Error::unsupported(
            "a branch or a number depends on the values of the input; only what the inputs' shapes decide is followed",
        ),
        _ => error,
    })?;
    machine.value_of(result)
}

fn int(value: &Value) -> Result<i64> {
    match value {
        Value::Int(value) => Ok(*value),
        Value::Bool(value) => Ok((*value).into()),
        Value::Size(_) => Err(open()),
        other => Err(Error::format(format!("{} stands where an int is expected", other.kind()))),
    }
}

fn open() -> Error {
    Error::argument("it depends on a size that is left open; give the input's shape")
}

/// The place of an element, counted from the end where it is negative.
fn place(index: i64, count: usize) -> Result<usize> {
    let at = if index < 0 { index.saturating_add(count as i64) } else { index };
    let at = usize::try_from(at).ok().filter(|&at| at < count);
    at.ok_or_else(|| Error::format(format!("element {index} of {count}")))
}

/// An element of a list, a tuple or a dict.
pub(super) fn index(machine: &mut Machine, value: &Value, index: &Value) -> Result<Value> {
    match (value, index) {
        (Value::Unknown, _) | (_, Value::Unknown) => Ok(Value::Unknown),
        (Value::Dict(at), key) => {
            let entries = &machine.heap.dicts[*at];
            let found = entries.iter().find(|entry| machine.heap.equal(&entry.0, key) == Some(true));
            let missing = || Error::format(format!("a dict has no key {}", printable(&machine.heap.print(key))));
            found.map(|entry| entry.1.clone()).ok_or_else(missing)
        }
        (Value::Text(text), index) => {
            let chars: Vec<char> = text.chars().collect();
            let at = place(int(index)?, chars.len())?;
            Ok(Value::text(chars[at].to_string()))
        }
        (value, index) => {
            let kind = value.kind();
            let elements =
                machine.heap.elements(value).ok_or_else(|| Error::format(format!("an element of {kind} is taken")))?;
            Ok(elements[place(int(index)?, elements.len())?].clone())
        }
    }
}

/// The elements of a list between two places.
fn part(elements: &[Value], arguments: &[Value]) -> Result<Vec<Value>> {
    let count = elements.len() as i64;
    let bound = |at: usize, missing: i64| -> Result<i64> {
        let value = match arguments.get(at) {
            None | Some(Value::None) => return Ok(missing),
            Some(value) => int(value)?,
        };
        Ok(if value < 0 { value.saturating_add(count) } else { value }.clamp(0, count))
    };
    let step = match arguments.get(2) {
        None | Some(Value::None) => 1,
        Some(value) => int(value)?,
    };
    if step == 0 {
        return Err(Error::format("elements of a list in steps of 0"));
    }
    // Backwards, the bounds are those in front of the elements.
    let (start, end) = if step > 0 { (bound(0, 0)?, bound(1, count)?) } else { (bound(1, -1)?, bound(0, count - 1)?) };
    if step < 0 {
        let range = (start + 1).max(0) as usize..(end.min(count - 1) + 1).max(0) as usize;
        let part = elements.get(range).unwrap_or_default();
        return Ok(part.iter().rev().step_by(step.unsigned_abs() as usize).cloned().collect());
    }
    let range = start as usize..end.max(start) as usize;
    Ok(elements[range].iter().step_by(step as usize).cloned().collect())
}

/// Functions of lists, dicts and texts; `None` if it is none.
fn containers(machine: &mut Machine, name: &str, arguments: &[Value]) -> Result<Option<Value>> {
    let heap = &mut machine.heap;
    let Some((first, rest)) = arguments.split_first() else {
        return Ok(match name {
            "dict" => Some(heap.dict(Vec::new())?),
            _ => None,
        });
    };
    Ok(Some(match (name, first, rest) {
        ("len", Value::List(_) | Value::Tuple(_), []) => {
            Value::Int(heap.elements(first).unwrap_or_default().len() as i64)
        }
        ("len", Value::Dict(at), []) => Value::Int(heap.dicts[*at].len() as i64),
        ("len", Value::Text(text), []) => Value::Int(text.chars().count() as i64),
        ("append", Value::List(at), [value]) => {
            heap.take(1)?;
            heap.lists[*at].push(value.clone());
            first.clone()
        }
        ("extend", Value::List(at), [other]) => {
            let elements = heap.elements(other).unwrap_or_default().to_vec();
            heap.take(elements.len())?;
            heap.lists[*at].extend(elements);
            Value::None
        }
        ("insert", Value::List(at), [position, value]) => {
            heap.take(1)?;
            let count = heap.lists[*at].len();
            let position = int(position)?;
            let position = if position < 0 { position.saturating_add(count as i64) } else { position };
            heap.lists[*at].insert(position.clamp(0, count as i64) as usize, value.clone());
            Value::None
        }
        ("pop", Value::List(at), rest) => {
            let position = place(rest.first().map_or(Ok(-1), int)?, heap.lists[*at].len())?;
            heap.lists[*at].remove(position)
        }
        ("clear", Value::List(at), []) => {
            heap.lists[*at].clear();
            Value::None
        }
        ("reverse", Value::List(at), []) => {
            heap.lists[*at].reverse();
            Value::None
        }
        ("_set_item", Value::List(at), [position, value]) => {
            let position = place(int(position)?, heap.lists[*at].len())?;
            heap.lists[*at][position] = value.clone();
            first.clone()
        }
        ("_set_item", Value::Dict(at), [key, value]) => {
            heap.take(1)?;
            let found = heap.dicts[*at].iter().position(|entry| heap.equal(&entry.0, key) == Some(true));
            match found {
                Some(found) => heap.dicts[*at][found].1 = value.clone(),
                None => heap.dicts[*at].push((key.clone(), value.clone())),
            }
            Value::None
        }
        ("list" | "copy", Value::List(_) | Value::Tuple(_), []) => {
            let elements = heap.elements(first).unwrap_or_default().to_vec();
            heap.list(elements)?
        }
        ("slice", Value::List(_), rest) => {
            let elements = part(heap.elements(first).unwrap_or_default(), rest)?;
            heap.list(elements)?
        }
        ("slice", Value::Tuple(_), rest) => {
            let elements = part(heap.elements(first).unwrap_or_default(), rest)?;
            heap.tuple(elements)?
        }
        ("select" | "__getitem__", Value::List(_) | Value::Tuple(_) | Value::Dict(_), [at]) => {
            index(machine, first, at)?
        }
        ("add", Value::List(_), [other @ Value::List(_)]) => {
            let elements =
                [heap.elements(first).unwrap_or_default(), heap.elements(other).unwrap_or_default()].concat();
            heap.list(elements)?
        }
        ("add_", Value::List(at), [other @ Value::List(_)]) => {
            let elements = heap.elements(other).unwrap_or_default().to_vec();
            heap.take(elements.len())?;
            heap.lists[*at].extend(elements);
            first.clone()
        }
        ("mul", Value::List(_), [count]) | ("mul", count, [Value::List(_)]) => {
            let list = if matches!(first, Value::List(_)) { first } else { &rest[0] };
            let elements = heap.elements(list).unwrap_or_default();
            let times = usize::try_from(int(count)?).unwrap_or(0);
            let total = elements.len().saturating_mul(times);
            heap.take(total)?;
            let elements = heap.elements(list).unwrap_or_default();
            let elements = std::iter::repeat_n(elements, times).flatten().cloned().collect();
            heap.list(elements)?
        }
        ("__contains__", Value::Dict(at), [key]) => {
            Value::Bool(heap.dicts[*at].iter().any(|entry| heap.equal(&entry.0, key) == Some(true)))
        }
        ("__contains__", Value::List(_) | Value::Tuple(_), [value]) => {
            let elements = heap.elements(first).unwrap_or_default();
            Value::Bool(elements.iter().any(|element| heap.equal(element, value) == Some(true)))
        }
        ("__contains__", Value::Text(text), [Value::Text(part)]) => Value::Bool(text.contains(&**part)),
        ("keys" | "values" | "items", Value::Dict(at), []) => {
            let entries = heap.dicts[*at].clone();
            let each = entries.into_iter().map(|(key, value)| match name {
                "keys" => Ok(key),
                "values" => Ok(value),
                _ => heap.tuple(vec![key, value]),
            });
            let elements = each.collect::<Result<_>>()?;
            heap.list(elements)?
        }
        ("get", Value::Dict(at), [key, rest @ ..]) => {
            let found = heap.dicts[*at].iter().find(|entry| heap.equal(&entry.0, key) == Some(true));
            found.map(|entry| entry.1.clone()).or_else(|| rest.first().cloned()).unwrap_or(Value::None)
        }
        ("format", Value::Text(text), rest) => {
            let mut parts = text.split("{}");
            let mut result = parts.next().unwrap_or_default().to_owned();
            let mut values = rest.iter();
            for part in parts {
                result += &values.next().map(|value| heap.print(value)).unwrap_or_default();
                result += part;
            }
            heap.take(result.len())?;
            Value::text(result)
        }
        ("add", Value::Text(a), [Value::Text(b)]) => {
            heap.take(a.len() + b.len())?;
            Value::text(format!("{a}{b}"))
        }
        ("join", Value::Text(glue), [list]) => {
            let elements = heap.elements(list).unwrap_or_default().iter();
            let texts: Vec<String> = elements.map(|value| heap.print(value)).collect();
            let joined = texts.join(glue);
            heap.take(joined.len())?;
            Value::text(joined)
        }
        ("lower", Value::Text(text), []) => Value::text(text.to_lowercase()),
        ("upper", Value::Text(text), []) => Value::text(text.to_uppercase()),
        ("startswith", Value::Text(text), [Value::Text(part), ..]) => Value::Bool(text.starts_with(&**part)),
        ("endswith", Value::Text(text), [Value::Text(part), ..]) => Value::Bool(text.ends_with(&**part)),
        ("unchecked_unwrap_optional" | "_unwrap_optional", value, []) => match value {
            Value::None => return Err(Error::argument("None stands where a value is expected")),
            value => value.clone(),
        },
        ("__is__" | "__isnot__", a, [b]) => {
            // Only None, and bools and modules by themselves, are compared so.
            let is = match (a, b) {
                (Value::None, Value::None) => true,
                (Value::Unknown, other) | (other, Value::Unknown) if !matches!(other, Value::None) => {
                    return Ok(Some(Value::Unknown));
                }
                (Value::Bool(a), Value::Bool(b)) => a == b,
                (Value::Object(a), Value::Object(b)) => a == b,
                (Value::Tensor(a), Value::Tensor(b)) => a == b,
                (Value::List(a), Value::List(b)) => a == b,
                _ => false,
            };
            Value::Bool(is == (name == "__is__"))
        }
        ("any" | "all", list @ (Value::List(_) | Value::Tuple(_)), []) => {
            let elements = heap.elements(list).unwrap_or_default();
            let truths: Option<Vec<bool>> = elements.iter().map(|v| v.number().map(|number| number != 0.0)).collect();
            let Some(truths) = truths else { return Ok(None) };
            Value::Bool(if name == "any" { truths.contains(&true) } else { !truths.contains(&false) })
        }
        ("sum", list @ (Value::List(_) | Value::Tuple(_)), []) => {
            let elements = heap.elements(list).unwrap_or_default().to_vec();
            let mut total = Value::Int(0);
            for element in elements {
                let Some(sum) = binary("add", &total, &element)? else { return Ok(None) };
                total = sum;
            }
            total
        }
        ("min" | "max", list @ (Value::List(_) | Value::Tuple(_)), []) => {
            let elements = heap.elements(list).unwrap_or_default().to_vec();
            let Some((one, others)) = elements.split_first() else {
                return Err(Error::format(format!("the `{name}` of an empty list")));
            };
            let mut best = one.clone();
            for other in others {
                let (a, b) = best.number().zip(other.number()).ok_or_else(open)?;
                if (name == "min") == (b < a) && a != b {
                    best = other.clone();
                }
            }
            best
        }
        _ => return Ok(None),
    }))
}

/// Functions of tensors that are no operations: sizes, types, numbers.
fn of_tensors(
    machine: &mut Machine,
    name: &str,
    arguments: &[Value],
    keywords: &[(Arc<str>, Value)],
) -> Result<Option<Value>> {
    let [Value::Tensor(cell), rest @ ..] = arguments else {
        return match (name, arguments) {
            ("tensor" | "as_tensor", [_]) => Err(Error::unsupported("a tensor is made of a list of tensors")),
            _ => Ok(None),
        };
    };
    let operand = machine.interpreter.operand(*cell);
    let (shape, dtype) = (machine.interpreter.context.shape(operand), machine.interpreter.context.dtype(operand));
    let size = |dim: &Dim| match dim.size() {
        Some(size) => Value::Int(size as i64),
        None => Value::Size(dim.clone()),
    };
    Ok(Some(match (name, rest) {
        ("size" | "shape" | "sym_size", []) => machine.heap.list(shape.iter().map(size).collect())?,
        ("size" | "sym_size", [at]) => size(&shape[place(int(at)?, shape.len())?]),
        ("dim" | "ndimension", []) => Value::Int(shape.len() as i64),
        ("len", []) => shape.first().map(size).ok_or_else(|| Error::format("the length of a tensor of one number"))?,
        ("numel", []) => match shape.iter().map(Dim::size).collect::<Option<Vec<usize>>>() {
            Some(sizes) => Value::Int(sizes.iter().product::<usize>() as i64),
            None => return Err(open()),
        },
        ("dtype", []) => Value::Int(code(dtype)),
        ("layout" | "device", []) => Value::Placement,
        ("is_floating_point", []) => Value::Bool(dtype.is_float()),
        ("requires_grad", []) => Value::Bool(dtype.is_float()),
        ("is_contiguous", _) | ("is_cpu", []) => Value::Bool(true),
        (
            "is_complex" | "is_cuda" | "is_mkldnn" | "is_quantized" | "is_sparse" | "is_nested" | "is_meta" | "is_mps"
            | "is_xpu" | "is_vulkan",
            [],
        ) => Value::Bool(false),
        ("requires_grad_" | "data" | "cpu" | "cuda" | "as_tensor" | "resolve_conj" | "resolve_neg", _) => {
            arguments[0].clone()
        }
        (
            "item" | "int" | "float" | "bool" | "Int" | "Float" | "Bool" | "IntImplicit" | "FloatImplicit"
            | "ScalarImplicit" | "is_nonzero",
            [],
        ) => {
            if let Some(value) = computed_number(machine, &arguments[0], name)? {
                return Ok(Some(value));
            }
            let number = item(machine, &arguments[0])?;
            let convert = match name {
                "Int" | "IntImplicit" => "int",
                "Float" | "FloatImplicit" => "float",
                "Bool" | "is_nonzero" => "bool",
                other => other,
            };
            scalars(machine, convert, std::slice::from_ref(&number))?.unwrap_or(number)
        }
        ("__not__", []) => aten_of(machine, "logical_not.default", vec![("self", Item::Cell(*cell))])?,
        ("to", [Value::Placement, Value::None, ..]) => arguments[0].clone(),
        ("to", [Value::Placement]) if keywords.is_empty() => arguments[0].clone(),
        _ => return Ok(None),
    }))
}

/// A tensor of numbers: `torch.tensor([[1., 2.]], dtype=6)`.
fn made(machine: &mut Machine, arguments: &[Value], keywords: &[(Arc<str>, Value)]) -> Result<Value> {
    let (mut shape, mut level) = (Vec::new(), vec![arguments[0].clone()]);
    while let Some(elements) = level.first().and_then(|value| machine.heap.elements(value)) {
        let count = elements.len();
        if shape.len() == DEPTH {
            return Err(Error::unsupported(format!("lists nested deeper than {DEPTH} levels")));
        }
        machine.heap.take(level.len().saturating_mul(count))?;
        shape.push(count);
        let parts = level.iter().map(|value| machine.heap.elements(value).filter(|part| part.len() == count));
        let parts: Option<Vec<&[Value]>> = parts.collect();
        level = parts.ok_or_else(|| Error::format("a tensor of lists that differ in length"))?.concat();
    }
    let numbers: Option<Vec<f64>> = level.iter().map(Value::number).collect();
    let numbers = numbers.ok_or_else(|| Error::unsupported("a tensor of what are no numbers"))?;
    let bools = !level.is_empty() && level.iter().all(|value| matches!(value, Value::Bool(_)));
    let floats = level.is_empty() || level.iter().any(|value| matches!(value, Value::Float(_)));
    let tensor = match floats {
        true => Tensor::from_slice(&shape, &numbers),
        false => {
            let exact = level.iter().map(|value| if let Value::Int(value) = value { *value } else { 0 });
            let exact: Vec<i64> = if bools { numbers.iter().map(|&v| v as i64).collect() } else { exact.collect() };
            Tensor::from_slice(&shape, &exact)
        }
    };
    let value = machine.known(tensor, "tensor")?;
    let dtype = arguments.get(1).or_else(|| keywords.iter().find(|keyword| &*keyword.0 == "dtype").map(|k| &k.1));
    let dtype = match dtype {
        Some(Value::Int(code)) => Some(Value::Int(*code)),
        _ if bools => Some(Value::Int(11)),
        _ => None,
    };
    let (Some(dtype), Value::Tensor(cell)) = (dtype, &value) else { return Ok(value) };
    let target = aten::find("torch.ops.aten.to.dtype").ok_or_else(|| Error::internal("to"))?;
    let items = vec![("self", Item::Cell(*cell)), ("dtype", machine.item("dtype", &dtype, 1)?)];
    let result = machine.interpreter.call(target, items, "tensor")?;
    machine.value_of(result)
}

/// Functions of numbers; `None` if it is none.
fn scalars(machine: &mut Machine, name: &str, arguments: &[Value]) -> Result<Option<Value>> {
    Ok(Some(match (name, arguments) {
        ("int" | "Int", [Value::Float(value)]) => Value::Int(*value as i64),
        ("int" | "Int" | "IntImplicit" | "ScalarImplicit", [value @ (Value::Int(_) | Value::Size(_))]) => value.clone(),
        ("int" | "Int", [Value::Bool(value)]) => Value::Int((*value).into()),
        ("float" | "Float" | "FloatImplicit", [value]) if value.number().is_some() => {
            Value::Float(value.number().unwrap_or_default())
        }
        ("float", [Value::Text(text)]) => {
            Value::Float(text.trim().parse().map_err(|_| Error::format("a text that is no number"))?)
        }
        ("bool" | "Bool", [value]) if value.number().is_some() => Value::Bool(value.number() != Some(0.0)),
        ("ScalarImplicit" | "item", [value]) if value.number().is_some() => value.clone(),
        ("str", [value]) => {
            let text = machine.heap.print(value);
            machine.heap.take(text.len())?;
            Value::text(text)
        }
        ("__not__", [value]) => Value::Bool(truth(value)? == 0),
        ("__and__", [Value::Bool(a), Value::Bool(b)]) => Value::Bool(*a && *b),
        ("__or__", [Value::Bool(a), Value::Bool(b)]) => Value::Bool(*a || *b),
        ("__xor__", [Value::Bool(a), Value::Bool(b)]) => Value::Bool(a != b),
        ("__and__", [Value::Int(a), Value::Int(b)]) => Value::Int(a & b),
        ("__or__", [Value::Int(a), Value::Int(b)]) => Value::Int(a | b),
        ("__range_length", [low, high, step]) => {
            let (low, high, step) = (int(low)?, int(high)?, int(step)?);
            let distance = if step > 0 { high.checked_sub(low) } else { low.checked_sub(high) };
            let steps = i64::try_from(step.unsigned_abs()).ok().filter(|&step| step > 0);
            let (distance, step) = distance.zip(steps).ok_or_else(|| Error::format("a range without end"))?;
            Value::Int(if distance > 0 { (distance - 1) / step + 1 } else { 0 })
        }
        ("__derive_index", [at, start, step]) => {
            let value = int(at)?.checked_mul(int(step)?).and_then(|way| way.checked_add(int(start).ok()?));
            Value::Int(value.ok_or_else(overflow)?)
        }
        ("eq" | "ne", [a, b]) => {
            let equal = machine.heap.equal(a, b).ok_or_else(open)?;
            Value::Bool(equal == (name == "eq"))
        }
        (_, [Value::Int(_) | Value::Float(_) | Value::Bool(_) | Value::Size(_)]) => return unary(name, &arguments[0]),
        (_, [a, b]) if is_number(a) && is_number(b) => return binary(name, a, b),
        _ => return Ok(None),
    }))
}

fn is_number(value: &Value) -> bool {
    matches!(value, Value::Size(_)) || value.number().is_some()
}

fn truth(value: &Value) -> Result<i64> {
    match value {
        Value::Bool(value) => Ok((*value).into()),
        Value::Int(value) => Ok(*value),
        other => Err(Error::format(format!("{} stands where a bool is expected", other.kind()))),
    }
}

fn overflow() -> Error {
    Error::format("an integer beyond 64 bits")
}

fn unary(name: &str, value: &Value) -> Result<Option<Value>> {
    if matches!(value, Value::Size(_)) {
        return if matches!(name, "neg" | "abs" | "sqrt" | "floor" | "ceil") { Err(open()) } else { Ok(None) };
    }
    if let Value::Int(value) = value {
        match name {
            "neg" => return value.checked_neg().map(|value| Some(Value::Int(value))).ok_or_else(overflow),
            "abs" => return value.checked_abs().map(|value| Some(Value::Int(value))).ok_or_else(overflow),
            "floor" | "ceil" | "round" => return Ok(Some(Value::Int(*value))),
            _ => {}
        }
    }
    let x = value.number().unwrap_or_default();
    Ok(Some(match name {
        "neg" => Value::Float(-x),
        "abs" => Value::Float(x.abs()),
        // Python's functions of this name give integers.
        "floor" => Value::Int(x.floor() as i64),
        "ceil" => Value::Int(x.ceil() as i64),
        "round" => Value::Float(x.round_ties_even()),
        "sqrt" => Value::Float(x.sqrt()),
        "exp" => Value::Float(x.exp()),
        "log" => Value::Float(x.ln()),
        "sin" => Value::Float(x.sin()),
        "cos" => Value::Float(x.cos()),
        "tanh" => Value::Float(x.tanh()),
        "isnan" => Value::Bool(x.is_nan()),
        "isinf" => Value::Bool(x.is_infinite()),
        "isfinite" => Value::Bool(x.is_finite()),
        _ => return Ok(None),
    }))
}

fn binary(name: &str, a: &Value, b: &Value) -> Result<Option<Value>> {
    const NAMES: [&str; 16] = [
        "add",
        "sub",
        "mul",
        "div",
        "truediv",
        "floordiv",
        "floor_divide",
        "remainder",
        "fmod",
        "pow",
        "lt",
        "le",
        "gt",
        "ge",
        "min",
        "max",
    ];
    if !NAMES.contains(&name) {
        return Ok(None);
    }
    let (Some(x), Some(y)) = (a.number(), b.number()) else { return Err(open()) };
    let zero = || Error::format("a division by zero");
    let compared = match name {
        "lt" => Some(x < y),
        "le" => Some(x <= y),
        "gt" => Some(x > y),
        "ge" => Some(x >= y),
        _ => None,
    };
    if let Some(compared) = compared {
        return Ok(Some(Value::Bool(compared)));
    }
    if let (Value::Int(a), Value::Int(b)) = (a, b) {
        let (a, b) = (*a, *b);
        let value = match name {
            "add" => a.checked_add(b),
            "sub" => a.checked_sub(b),
            "mul" => a.checked_mul(b),
            "floordiv" | "floor_divide" if b == 0 => return Err(zero()),
            "remainder" if b == 0 => return Err(zero()),
            "floordiv" | "floor_divide" => {
                a.checked_div(b).map(|quotient| quotient - i64::from(a % b != 0 && (a < 0) != (b < 0)))
            }
            "remainder" => {
                a.checked_rem(b).map(|rest| if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
            }
            "min" => Some(a.min(b)),
            "max" => Some(a.max(b)),
            "pow" => match u32::try_from(b) {
                Ok(b) => a.checked_pow(b),
                Err(_) => return Ok(Some(Value::Float(x.powf(y)))),
            },
            _ => return float(name, x, y).map(Some),
        };
        return value.map(|value| Some(Value::Int(value))).ok_or_else(overflow);
    }
    float(name, x, y).map(Some)
}

fn float(name: &str, x: f64, y: f64) -> Result<Value> {
    let zero = || Error::format("a division by zero");
    Ok(Value::Float(match name {
        "add" => x + y,
        "sub" => x - y,
        "mul" => x * y,
        "div" | "truediv" | "floordiv" | "floor_divide" | "remainder" | "fmod" if y == 0.0 => return Err(zero()),
        "div" | "truediv" => x / y,
        "floordiv" | "floor_divide" => (x / y).floor(),
        "remainder" => x - y * (x / y).floor(),
        "fmod" => x % y,
        "min" => x.min(y),
        "max" => x.max(y),
        _ => x.powf(y),
    }))
}
