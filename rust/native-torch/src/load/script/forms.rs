//! How forward's parameters and results become the inputs and outputs of a graph.

use std::{collections::HashSet, sync::Arc};

use super::{
    super::{
        ModuleInput,
        aten::{Item, Operand, as_numbers, integers},
        records::printable,
    },
    Script,
    code::{Literal, Parameter, Step, Type},
    machine::Machine,
    value::{DEPTH, Value},
};
use crate::{
    Error, Result,
    graph::{Dim, Graph, ValueId},
    tensor::{DType, Tensor},
};

/// What a parameter of forward takes.
#[derive(Clone, Debug)]
pub(super) enum Form {
    /// A tensor, under its name.
    Tensor(String),
    /// A tensor that need not be given.
    Optional(String, Literal),
    Tuple(Vec<Form>, Option<Arc<str>>),
    /// The entries of a dict, in the order in which the code first asks for them.
    Dict(Vec<(Arc<str>, Form)>),
    /// As many tensors as there are.
    List(String),
    /// What the caller cannot give.
    Default(Literal),
}

/// The forms of forward's parameters without the module itself.
pub(super) fn inputs(script: &Script) -> Result<Vec<Form>> {
    let parameters = script.forward.parameters.iter().enumerate().skip(1);
    let forms: Vec<Form> = parameters.map(|(at, one)| parameter(script, one, at)).collect::<Result<_>>()?;
    if forms.iter().filter(|form| matches!(form, Form::List(_))).count() > 1 {
        return Err(Error::unsupported("forward takes several lists of tensors, whose lengths are not known"));
    }
    Ok(forms)
}

fn parameter(script: &Script, parameter: &Parameter, slot: usize) -> Result<Form> {
    let name = printable(&parameter.name).into_owned();
    let any = Type { name: "Tensor".to_owned(), arguments: Vec::new() };
    let ty = parameter.ty.as_ref().unwrap_or(&any);
    let is_tensor =
        |ty: &Type| ty.name == "Tensor" || (ty.name == "Optional" && ty.arguments.iter().any(|t| t.name == "Tensor"));
    match &parameter.default {
        Some(default) if is_tensor(ty) => Ok(Form::Optional(name, default.clone())),
        Some(default) => Ok(Form::Default(default.clone())),
        None if ty.name == "Dict" => dict(script, ty, &name, slot),
        None => form(script, ty, name, DEPTH),
    }
}

/// A dict has the entries that forward asks for by name.
fn dict(script: &Script, ty: &Type, name: &str, slot: usize) -> Result<Form> {
    let mut keys: Vec<Arc<str>> = Vec::new();
    for steps in script.forward.steps.windows(3) {
        if let [Step::Load(variable), Step::Push(Literal::Text(key)), Step::Index] = steps
            && *variable == slot
            && !keys.contains(key)
        {
            keys.push(key.clone());
        }
    }
    let [Type { name: kind, .. }, value] = &ty.arguments[..] else {
        return Err(Error::format(format!("the input `{name}` is a dict of unknown types")));
    };
    if keys.is_empty() || kind != "str" {
        return Err(Error::unsupported(format!(
            "the input `{name}` is a dict whose keys forward does not name; pass its tensors by themselves, or name them: \
             {name}[\"key\"]"
        )));
    }
    let entry = |key: Arc<str>| {
        let inner = form(script, value, format!("{name}.{}", printable(&key)), DEPTH)?;
        Ok((key, inner))
    };
    keys.into_iter().map(entry).collect::<Result<_>>().map(Form::Dict)
}

fn form(script: &Script, ty: &Type, name: String, depth: usize) -> Result<Form> {
    let depth = depth.checked_sub(1).ok_or_else(|| Error::unsupported("an input of nested tuples"))?;
    match (ty.name.as_str(), &ty.arguments[..]) {
        ("Tensor", _) => Ok(Form::Tensor(name)),
        ("Optional", [inner]) if inner.name == "Tensor" => Ok(Form::Tensor(name)),
        ("Optional", _) => Ok(Form::Default(Literal::None)),
        ("NoneType", _) => Ok(Form::Default(Literal::None)),
        ("List", [inner]) if inner.name == "Tensor" => Ok(Form::List(name)),
        ("Tuple", parts) => {
            let parts = parts.iter().enumerate();
            let parts = parts.map(|(i, ty)| form(script, ty, format!("{name}.{i}"), depth)).collect::<Result<_>>();
            parts.map(|parts| Form::Tuple(parts, None))
        }
        (class, []) if script.class(class).is_some_and(|class| class.base == "NamedTuple") => {
            let fields = script.class(class).into_iter().flat_map(|class| class.fields.iter().zip(&class.types));
            let part = |(field, ty): (&String, &Type)| form(script, ty, format!("{name}.{}", printable(field)), depth);
            let parts = fields.map(part).collect::<Result<_>>()?;
            Ok(Form::Tuple(parts, Some(class.into())))
        }
        (other, _) => Err(Error::unsupported(format!(
            "the input `{name}` is of type {}; tensors, tuples, dicts and lists of them are taken, and what has a default is left \
             at it",
            printable(other)
        ))),
    }
}

/// The names of the tensors that must be given.
pub(super) fn names(forms: &[Form]) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest: Vec<&Form> = forms.iter().rev().collect();
    while let Some(form) = rest.pop() {
        match form {
            Form::Tensor(name) | Form::List(name) => names.push(name.clone()),
            Form::Tuple(parts, _) => rest.extend(parts.iter().rev()),
            Form::Dict(entries) => rest.extend(entries.iter().rev().map(|entry| &entry.1)),
            Form::Optional(..) | Form::Default(_) => {}
        }
    }
    names
}

/// What becomes of a program for given shapes.
pub(super) enum Outcome {
    /// The graph, and what it was made for.
    Graph(Graph, Vec<ModuleInput>),
    /// The input of this number holds integers, as its use shows.
    Integers(usize),
}

/// Makes the inputs of a graph.
struct Inputs<'a> {
    script: &'a Script,
    shapes: std::slice::Iter<'a, Vec<Dim>>,
    integers: &'a HashSet<usize>,
    /// The numbers of those, if they are given, and their type where the file does not say it.
    given: Option<(&'a [i64], DType)>,
    /// The number of tensors in a list, if there is one.
    listed: usize,
    /// The number of tensors that may be given for parameters with a default.
    optional: usize,
    /// The values of the graph; none for numbers that are known.
    made: Vec<Option<ValueId>>,
    described: Vec<ModuleInput>,
}

impl Inputs<'_> {
    fn tensor(&mut self, machine: &mut Machine, name: &str) -> Result<Value> {
        let shape = self.shapes.next().ok_or_else(|| Error::internal("fewer shapes than inputs"))?.clone();
        let is_float = !self.integers.contains(&self.made.len());
        let traced = self.script.integer_type(self.made.len());
        let input = ModuleInput {
            name: name.to_owned(),
            dtype: if is_float { DType::F64 } else { DType::I64 },
            shape: Some(shape.clone()),
        };
        self.described.push(input);
        let builder = &mut machine.interpreter.context.builder;
        let operand = match (is_float, &mut self.given) {
            (true, _) => Operand::Computed(builder.input(name, shape)),
            (false, None) => Operand::Computed(builder.integers(name, shape)),
            (false, Some((rest, untraced))) => {
                let count: Option<usize> = shape.iter().map(Dim::size).product();
                let (own, others) = count
                    .and_then(|count| rest.split_at_checked(count))
                    .ok_or_else(|| Error::internal("fewer integers than inputs take"))?;
                *rest = others;
                let sizes: Vec<usize> = shape.iter().filter_map(Dim::size).collect();
                integers(name, Tensor::from_slice(&sizes, own), traced.unwrap_or(*untraced))?
            }
        };
        self.made.push(match operand {
            Operand::Computed(value) => Some(value),
            Operand::Constant(_) => None,
        });
        match machine.interpreter.cell(operand) {
            Item::Cell(cell) => Ok(Value::Tensor(cell)),
            _ => Err(Error::internal("a cell")),
        }
    }

    fn value(&mut self, machine: &mut Machine, form: &Form) -> Result<Value> {
        match form {
            Form::Tensor(name) => self.tensor(machine, name),
            Form::Optional(name, _) if self.optional > 0 => {
                self.optional -= 1;
                self.tensor(machine, name)
            }
            Form::Optional(_, default) | Form::Default(default) => machine.heap.literal(default),
            Form::Tuple(parts, class) => {
                let parts = parts.iter().map(|part| self.value(machine, part)).collect::<Result<_>>()?;
                machine.heap.named_tuple(parts, class.clone())
            }
            Form::Dict(entries) => {
                let entry = |(key, form): &(Arc<str>, Form)| Ok((Value::Text(key.clone()), self.value(machine, form)?));
                let entries = entries.iter().map(entry).collect::<Result<_>>()?;
                machine.heap.dict(entries)
            }
            Form::List(name) => {
                let each = (0..self.listed).map(|i| self.tensor(machine, &format!("{name}.{i}")));
                let parts = each.collect::<Result<_>>()?;
                machine.heap.list(parts)
            }
        }
    }
}

/// Runs forward on inputs of these shapes, of which some hold integers, which may be given.
pub(super) fn graph(
    script: &Script,
    shapes: &[Vec<Dim>],
    integers: &HashSet<usize>,
    given: Option<(&[i64], DType)>,
) -> Result<Outcome> {
    let needed = names(&script.inputs).len();
    let has_list = script.inputs.iter().any(|form| matches!(form, Form::List(_)));
    let optional = script.inputs.iter().filter(|form| matches!(form, Form::Optional(..))).count();
    let most = if has_list { usize::MAX } else { needed + optional };
    let least = needed - usize::from(has_list);
    if shapes.len() < least || shapes.len() > most {
        let more = if has_list || optional > 0 { " at least" } else { "" };
        let given = shapes.len();
        return Err(Error::argument(format!("the model has {needed} input(s){more}, but {given} shape(s) were given")));
    }
    let mut machine = Machine::new(script);
    let mut inputs = Inputs {
        script,
        shapes: shapes.iter(),
        integers,
        given,
        listed: if has_list { shapes.len() - least } else { 0 },
        optional: if has_list { 0 } else { shapes.len() - needed },
        made: Vec::new(),
        described: Vec::new(),
    };
    let root = script.records.root();
    let arguments: Vec<Value> =
        script.inputs.iter().map(|form| inputs.value(&mut machine, form)).collect::<Result<_>>()?;
    machine.inputs = inputs.made;
    let result = machine.run(root, script.method, arguments);
    if let Some(input) = machine.integers {
        return Ok(Outcome::Integers(input));
    }
    let named = outputs(&machine, &result?)?;
    let mut outputs: Vec<(&str, ValueId)> = Vec::new();
    for (name, cell) in &named {
        let place = || format!("output `{name}`");
        let operand = machine.interpreter.operand(*cell).clone();
        let operand = as_numbers(&mut machine.interpreter.context, &operand)?;
        let dtype = machine.interpreter.context.dtype(&operand);
        if !dtype.is_float() {
            let message = format!("it holds {}; outputs of floating-point numbers are computed", dtype.name());
            return Err(Error::unsupported(message).at(place()));
        }
        outputs.push((name, machine.interpreter.context.value(&operand)));
    }
    let mut graph = machine.interpreter.context.builder.finish(&outputs)?;
    graph.remove_unused();
    Ok(Outcome::Graph(graph, inputs.described))
}

/// The tensors of a result under the keys that lead to them.
fn outputs(machine: &Machine, result: &Value) -> Result<Vec<(String, usize)>> {
    let mut found = Vec::new();
    let mut rest: Vec<(Value, Vec<String>)> = vec![(result.clone(), Vec::new())];
    while let Some((value, path)) = rest.pop() {
        if path.len() > DEPTH {
            return Err(Error::unsupported(format!("a result nested deeper than {DEPTH} levels")));
        }
        let below = |key: String| path.iter().cloned().chain([key]).collect::<Vec<_>>();
        match &value {
            Value::Tensor(cell) => {
                let name = match path.first() {
                    Some(first) if first.parse::<usize>().is_err() => path.join("."),
                    _ => ["output".to_owned()].into_iter().chain(path).collect::<Vec<_>>().join("."),
                };
                found.push((name, *cell));
            }
            Value::Dict(at) => {
                let entries = machine.heap.dicts[*at].iter().rev();
                let key = |key: &Value| printable(&machine.heap.print(key)).into_owned();
                rest.extend(entries.map(|(name, value)| (value.clone(), below(key(name)))));
            }
            Value::List(_) | Value::Tuple(_) => {
                let elements = machine.heap.elements(&value).unwrap_or_default().iter().enumerate();
                let names = match &value {
                    Value::Tuple(at) => machine.heap.tuples[*at].class.as_deref(),
                    _ => None,
                };
                let names = names.and_then(|class| machine.script.class(class)).map(|class| &class.fields[..]);
                let key = |i: usize| {
                    let name = names.and_then(|names| names.get(i)).map(|name| printable(name).into_owned());
                    name.unwrap_or_else(|| i.to_string())
                };
                let parts: Vec<(Value, Vec<String>)> =
                    elements.map(|(i, value)| (value.clone(), below(key(i)))).collect();
                rest.extend(parts.into_iter().rev());
            }
            _ => {}
        }
        if found.len() + rest.len() > 1 << 16 {
            return Err(Error::unsupported("a result of more than 65536 tensors"));
        }
    }
    if found.is_empty() {
        return Err(Error::unsupported(format!("forward returns no tensor, but {}", result.kind())));
    }
    Ok(found)
}
