//! The calls of a program as statements of TorchScript: for libtorch, which has operations that no graph has.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
};

use super::{
    super::{NamedTensor, records::printable},
    Program, check, layout,
    schema::{Argument, Graph, Name, Node, Number, OptionalTensor, SymArgument},
    translate::{CONTROL, WRAPPERS},
};
use crate::{Error, Result, tensor::DType};

/// A parameter of an operation as libtorch declares it.
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Whether it is a float or a list of floats, for which code must not give an int.
    pub is_float: bool,
    /// Whether it is given by name alone.
    pub is_keyword: bool,
}

/// Gives the parameters of an operation of a name like `aten::add.Tensor`, in their order; `None` where there is none.
pub type Declared<'a> = &'a dyn Fn(&str) -> Option<Vec<Parameter>>;

/// A program as code. Variables are numbered, so that no name of the file stands in it.
pub(crate) struct Source {
    /// The variables that forward takes.
    pub inputs: Vec<String>,
    /// The tensors that are used, by their variables.
    pub weights: Vec<(String, NamedTensor)>,
    /// The statements.
    pub body: String,
    /// The variables of the results.
    pub outputs: Vec<String>,
}

/// What Python computes of sizes, as expressions of TorchScript.
const EXPRESSIONS: [(&str, &str); 27] = [
    ("_operator.add", "{0} + {1}"),
    ("_operator.sub", "{0} - {1}"),
    ("_operator.mul", "{0} * {1}"),
    ("_operator.truediv", "{0} / {1}"),
    ("_operator.floordiv", "{0} // {1}"),
    ("_operator.mod", "{0} % {1}"),
    ("_operator.pow", "{0} ** {1}"),
    ("_operator.eq", "{0} == {1}"),
    ("_operator.ne", "{0} != {1}"),
    ("_operator.lt", "{0} < {1}"),
    ("_operator.le", "{0} <= {1}"),
    ("_operator.gt", "{0} > {1}"),
    ("_operator.ge", "{0} >= {1}"),
    ("_operator.and_", "{0} and {1}"),
    ("_operator.or_", "{0} or {1}"),
    ("_operator.not_", "not {0}"),
    ("_operator.neg", "-{0}"),
    ("math.ceil", "torch.ceil({0})"),
    ("math.floor", "torch.floor({0})"),
    ("math.trunc", "int({0})"),
    ("math.sqrt", "torch.sqrt({0})"),
    ("torch.sym_max", "torch.max({0}, {1})"),
    ("torch.sym_min", "torch.min({0}, {1})"),
    ("torch.sym_not", "not {0}"),
    ("torch.sym_float", "float({0})"),
    ("torch.ops.aten.item.default", "{0}"),
    ("torch.ops.aten._local_scalar_dense.default", "{0}"),
];

/// The beginnings of names of operations that give nothing: assertions, some of them about the precision of the file.
const ASSERTIONS: [&str; 2] = ["torch.ops.aten._assert", "torch.ops.aten.sym_constrain_range"];

/// torch's own numbers for the memory formats and the layouts of the schema.
const MEMORY_FORMATS: [(u8, u8); 4] = [(1, 0), (2, 2), (3, 3), (4, 1)];
const LAYOUTS: [(u8, u8); 7] = [(1, 1), (2, 2), (3, 4), (4, 5), (5, 6), (6, 3), (7, 0)];

/// The operation of a call by the name that libtorch knows it by, and as code calls it.
fn operation(target: &str) -> Option<(String, String)> {
    let mut words = target.strip_prefix("torch.ops.")?.splitn(3, '.');
    let (namespace, name, overload) = (words.next()?, words.next()?, words.next().unwrap_or("default"));
    let is_word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if ![namespace, name, overload].into_iter().all(is_word) {
        return None;
    }
    let overload = if overload == "default" { String::new() } else { format!(".{overload}") };
    let called = match (namespace, name.strip_prefix("sym_")) {
        ("aten", Some(name)) => format!("torch.{name}"),
        ("aten", None) => format!("torch.{name}"),
        _ => format!("ops.{namespace}.{name}"),
    };
    Some((format!("{namespace}::{name}{overload}"), called))
}

/// Whether a call needs no operation of libtorch.
fn is_own(target: &str) -> bool {
    let known = WRAPPERS.iter().chain(&CONTROL).any(|known| *known == target);
    known
        || EXPRESSIONS.iter().any(|entry| entry.0 == target)
        || ASSERTIONS.iter().any(|start| target.starts_with(start))
}

/// The program as code, where all of its operations are declared; an error names those that are not.
pub(super) fn source(program: &Program, declared: Declared) -> Result<Source> {
    let mut writer = Writer { code: String::new(), variables: 0, depth: 2, declared: HashMap::new() };
    for node in check::nodes(&program.graph) {
        if let Some((name, _)) = operation(&node.target).filter(|_| !is_own(&node.target)) {
            writer.declared.entry(name.clone()).or_insert_with(|| declared(&name));
        }
    }
    let is_known = |target: &str| {
        is_own(target) || operation(target).is_some_and(|(name, _)| matches!(writer.declared.get(&name), Some(Some(_))))
    };
    check::refuse(&check::places(&program.graph, &is_known), "libtorch does not have")?;
    writer.program(program)
}

type Values<'a> = HashMap<&'a str, String>;

struct Writer {
    code: String,
    variables: usize,
    depth: usize,
    declared: HashMap<String, Option<Vec<Parameter>>>,
}

impl Writer {
    fn program(mut self, program: &Program) -> Result<Source> {
        let mut values = Values::new();
        let mut inputs = Vec::new();
        for input in &program.inputs {
            let given = self.variable();
            inputs.push(given.clone());
            let value = match input.dtype {
                // Integers come as int64.
                dtype if !dtype.is_float() && dtype != DType::I64 => {
                    self.assigned(&format!("torch.to({given}, {})", dtype.number()))
                }
                _ => given,
            };
            values.insert(&input.value, value);
        }
        let nodes = check::nodes(&program.graph);
        let used: HashSet<&str> = nodes
            .iter()
            .flat_map(|node| node.inputs.iter().map(|input| &input.arg))
            .chain(&program.graph.outputs)
            .flat_map(check::references)
            .collect();
        let writes = nodes.iter().any(|node| is_in_place(&node.target));
        let mut weights = Vec::new();
        for (value, named) in program.state.iter().filter(|(value, _)| used.contains(value.as_str())) {
            if let Err(error) = &named.tensor {
                return Err(error.clone().at(format!("tensor `{}`", named.name)));
            }
            let stored = self.variable();
            weights.push((stored.clone(), named.clone()));
            // What a call writes is gone with the call.
            let is_kept = !writes || named.info.is_parameter;
            let variable = if is_kept { stored } else { self.assigned(&format!("torch.clone({stored})")) };
            values.insert(value, variable);
        }
        self.calls(&program.graph, &mut values)?;
        let output = |name: &String| values.get(name.as_str()).cloned().ok_or_else(|| undefined(name));
        let outputs = program.outputs.iter().map(|value| output(&value.value)).collect::<Result<_>>()?;
        Ok(Source { inputs, weights, body: self.code, outputs })
    }

    fn variable(&mut self) -> String {
        self.variables += 1;
        format!("v{}", self.variables)
    }

    fn line(&mut self, text: &str) {
        _ = writeln!(self.code, "{}{text}", "  ".repeat(self.depth));
    }

    fn assign(&mut self, to: &str, from: &str) {
        self.line(&format!("{to} = {from}"));
    }

    /// A new variable of this value.
    fn assigned(&mut self, value: &str) -> String {
        let variable = self.variable();
        self.assign(&variable, value);
        variable
    }

    fn calls<'a>(&mut self, graph: &'a Graph, values: &mut Values<'a>) -> Result<()> {
        graph.nodes.iter().try_for_each(|node| self.call(node, values).map_err(|error| error.at(check::place(node))))
    }

    fn call<'a>(&mut self, node: &'a Node, values: &mut Values<'a>) -> Result<()> {
        let target = node.target.as_str();
        if ASSERTIONS.iter().any(|start| target.starts_with(start)) {
            return Ok(());
        }
        let inner: Vec<&Graph> = node
            .inputs
            .iter()
            .filter_map(|input| match &input.arg {
                Argument::AsGraph(subgraph) => Some(&*subgraph.graph),
                _ => None,
            })
            .collect();
        if WRAPPERS.contains(&target) {
            let [inner] = inner[..] else { return Err(Error::format("it wraps no graph")) };
            let given = given(node, values)?;
            let outputs = self.inner(inner, &given)?;
            return self.bind(node, outputs, values);
        }
        if target == CONTROL[0] {
            return self.cond(node, &inner, values);
        }
        if target == CONTROL[1] {
            return self.while_loop(node, &inner, values);
        }
        let called = match EXPRESSIONS.iter().find(|entry| entry.0 == target) {
            Some((_, form)) => {
                let operands: Vec<String> =
                    node.inputs.iter().map(|input| text(&input.arg, values, false)).collect::<Result<_>>()?;
                let places = ["{0}", "{1}"].iter().zip(&operands);
                format!("({})", places.fold((*form).to_owned(), |form, (place, operand)| form.replace(place, operand)))
            }
            None => self.operation(node, values)?,
        };
        self.results(node, &called, values)
    }

    /// The call of an operation of libtorch.
    fn operation(&self, node: &Node, values: &Values) -> Result<String> {
        let (name, called) = operation(&node.target).ok_or_else(|| Error::internal("an operation without a name"))?;
        let parameters = self.declared.get(&name).and_then(Option::as_deref).unwrap_or_default();
        let mut by_place = true;
        let mut arguments = Vec::new();
        for (at, input) in node.inputs.iter().enumerate() {
            let here = parameters.get(at).filter(|parameter| input.name.is_empty() || parameter.name == input.name);
            let parameter = here.or_else(|| parameters.iter().find(|parameter| parameter.name == input.name));
            let parameter =
                parameter.ok_or_else(|| Error::format(format!("it has no parameter `{}`", printable(&input.name))))?;
            if parameter.name == "train" && matches!(input.arg, Argument::AsBool(true)) {
                return Err(Error::unsupported(
                    "dropout in training mode, which gives other numbers in each call; call model.eval() before exporting",
                ));
            }
            by_place &= here.is_some() && !parameter.is_keyword;
            let value = text(&input.arg, values, parameter.is_float)?;
            arguments.push(if by_place { value } else { format!("{}={value}", parameter.name) });
        }
        Ok(format!("{called}({})", arguments.join(", ")))
    }

    /// Gives the results of a call their variables.
    fn results<'a>(&mut self, node: &'a Node, called: &str, values: &mut Values<'a>) -> Result<()> {
        match &node.outputs[..] {
            [] => self.line(called),
            [Argument::AsTensors(names)] => {
                let list = self.assigned(called);
                for (at, name) in names.iter().enumerate() {
                    let element = self.assigned(&format!("{list}[{at}]"));
                    values.insert(&name.name, element);
                }
            }
            [one] => {
                let form = |word: &str| format!("{word}({called})");
                let variable = self.assigned(&match one {
                    Argument::AsSymInt(_) => form("int"),
                    Argument::AsSymFloat(_) => form("float"),
                    Argument::AsSymBool(_) => form("bool"),
                    _ => called.to_owned(),
                });
                values.extend(check::references(one).into_iter().map(|name| (name, variable.clone())));
            }
            several => {
                let variables: Vec<String> = several.iter().map(|_| self.variable()).collect();
                self.assign(&variables.join(", "), called);
                for (output, variable) in several.iter().zip(variables) {
                    match output {
                        Argument::AsTensors(names) => {
                            for (at, name) in names.iter().enumerate() {
                                let element = self.assigned(&format!("{variable}[{at}]"));
                                values.insert(&name.name, element);
                            }
                        }
                        one => {
                            values.extend(check::references(one).into_iter().map(|name| (name, variable.clone())));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Names the results of a graph within the program.
    fn bind<'a>(&mut self, node: &'a Node, outputs: Vec<String>, values: &mut Values<'a>) -> Result<()> {
        values.extend(names(node, outputs.len())?.into_iter().zip(outputs).filter_map(|(name, v)| Some((name?, v))));
        Ok(())
    }

    /// Writes a graph within the program, whose own inputs are the last of those that are given; gives its outputs.
    fn inner(&mut self, inner: &Graph, given: &[String]) -> Result<Vec<String>> {
        let names: Vec<&str> = inner.inputs.iter().flat_map(check::references).collect();
        let first =
            given.len().checked_sub(names.len()).ok_or_else(|| Error::format("it is given too few arguments"))?;
        let mut values: Values = names.into_iter().zip(given[first..].iter().cloned()).collect();
        self.calls(inner, &mut values)?;
        inner.outputs.iter().map(|output| text(output, &values, false)).collect()
    }

    fn cond<'a>(&mut self, node: &'a Node, inner: &[&Graph], values: &mut Values<'a>) -> Result<()> {
        let [taken, other] = inner else { return Err(Error::format("it is not given two graphs")) };
        let given = given(node, values)?;
        let (condition, given) = given.split_first().ok_or_else(|| Error::format("it has no condition"))?;
        let results: Vec<String> = taken.outputs.iter().map(|_| self.variable()).collect();
        if other.outputs.len() != results.len() {
            return Err(Error::format("its graphs give different numbers of results"));
        }
        for (line, graph) in [(format!("if bool({condition}):"), taken), ("else:".to_owned(), other)] {
            self.line(&line);
            self.depth += 1;
            let outputs = self.inner(graph, given)?;
            results.iter().zip(&outputs).for_each(|(to, from)| self.assign(to, from));
            self.line("pass");
            self.depth -= 1;
        }
        self.bind(node, results, values)
    }

    fn while_loop<'a>(&mut self, node: &'a Node, inner: &[&Graph], values: &mut Values<'a>) -> Result<()> {
        let [condition, body] = inner else { return Err(Error::format("it is not given two graphs")) };
        let given = given(node, values)?;
        let count = body.outputs.len();
        if given.len() < count {
            return Err(Error::format("it is given too few arguments"));
        }
        let carried: Vec<String> = given[..count].iter().map(|first| self.assigned(first)).collect();
        let all = [&carried[..], &given[count..]].concat();
        let more = self.variable();
        self.test(condition, &all, &more)?;
        self.line(&format!("while {more}:"));
        self.depth += 1;
        let outputs = self.inner(body, &all)?;
        // One after another, a value could be read when it is already the next one.
        let next: Vec<String> = outputs.iter().map(|output| self.assigned(output)).collect();
        carried.iter().zip(&next).for_each(|(to, from)| self.assign(to, from));
        self.test(condition, &all, &more)?;
        self.depth -= 1;
        self.bind(node, carried, values)
    }

    fn test(&mut self, condition: &Graph, given: &[String], more: &str) -> Result<()> {
        let outputs = self.inner(condition, given)?;
        let holds = outputs.first().ok_or_else(|| Error::format("its condition gives nothing"))?;
        self.assign(more, &format!("bool({holds})"));
        Ok(())
    }
}

/// Whether an operation writes into what it is given.
fn is_in_place(target: &str) -> bool {
    let name = target.strip_prefix("torch.ops.").and_then(|rest| rest.split('.').nth(1)).unwrap_or_default();
    (name.ends_with('_') && !name.ends_with("__")) || target.ends_with(".out")
}

fn undefined(name: &str) -> Error {
    Error::unsupported(format!("the value `{}` is not computed", printable(name)))
}

/// The names of so many results of a call, which are one list or one after another.
fn names(node: &Node, count: usize) -> Result<Vec<Option<&str>>> {
    let mut names: Vec<Option<&str>> = Vec::new();
    for output in &node.outputs {
        match output {
            Argument::AsTensors(all) => names.extend(all.iter().map(|name| Some(name.name.as_str()))),
            other => names.push(check::references(other).first().copied()),
        }
    }
    match names.len() == count {
        true => Ok(names),
        false => Err(Error::format(format!("it gives {count} results, but {} are named", names.len()))),
    }
}

/// The arguments of a call that are no graphs, those of lists one after another.
fn given(node: &Node, values: &Values) -> Result<Vec<String>> {
    let mut given = Vec::new();
    for input in &node.inputs {
        match &input.arg {
            Argument::AsGraph(_) => {}
            Argument::AsTensors(names) => {
                for name in names {
                    given.push(named(&name.name, values)?);
                }
            }
            Argument::AsSymInts(all) => {
                for one in all {
                    given.push(symbolic(one, values, false)?);
                }
            }
            Argument::AsInts(all) => given.extend(all.iter().map(i64::to_string)),
            other => given.push(text(other, values, false)?),
        }
    }
    Ok(given)
}

fn named(name: &str, values: &Values) -> Result<String> {
    values.get(name).cloned().ok_or_else(|| undefined(name))
}

fn symbolic(one: &SymArgument, values: &Values, is_float: bool) -> Result<String> {
    match one {
        SymArgument::AsName(name) if is_float => Ok(format!("float({})", named(name, values)?)),
        SymArgument::AsName(name) => named(name, values),
        SymArgument::AsInt(value) => Ok(int(*value, is_float)),
        SymArgument::AsFloat(value) => Ok(float(*value)),
        SymArgument::AsBool(value) => Ok(truth(*value)),
    }
}

fn int(value: i64, is_float: bool) -> String {
    if is_float { float(Number(value as f64)) } else { value.to_string() }
}

/// A number with all its digits, and a point or an exponent.
fn float(Number(value): Number) -> String {
    if value.is_nan() { "nan".to_owned() } else { format!("{value:?}") }
}

fn truth(value: bool) -> String {
    if value { "True" } else { "False" }.to_owned()
}

fn quoted(text: &str) -> String {
    let escape = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_ascii() && !c.is_ascii_control() => c.to_string(),
        c => c.to_string().bytes().map(|byte| format!("\\{byte:03o}")).collect(),
    };
    format!("\"{}\"", text.chars().map(escape).collect::<String>())
}

fn list(kind: &str, items: impl Iterator<Item = Result<String>>) -> Result<String> {
    let items: Vec<String> = items.collect::<Result<_>>()?;
    Ok(format!("annotate(List[{kind}], [{}])", items.join(", ")))
}

fn numbered(what: &str, table: &[(u8, u8)], code: u8) -> Result<String> {
    let found = table.iter().find(|entry| entry.0 == code).map(|entry| entry.1.to_string());
    found.ok_or_else(|| Error::unsupported(format!("{what} of number {code}")))
}

/// An argument; `is_float` where the parameter is a float.
fn text(argument: &Argument, values: &Values, is_float: bool) -> Result<String> {
    let numbers = if is_float { "float" } else { "int" };
    let optional = |one: &OptionalTensor| match one {
        OptionalTensor::AsTensor(name) => named(&name.name, values),
        OptionalTensor::AsNone(_) => Ok("None".to_owned()),
    };
    let tensors = |all: &[Name]| list("Tensor", all.iter().map(|name| named(&name.name, values)));
    let ints = |all: &[i64]| list(numbers, all.iter().map(|&value| Ok(int(value, is_float))));
    let floats = |all: &[Number]| list("float", all.iter().map(|&value| Ok(float(value))));
    let symbols = |kind: &str, all: &[SymArgument]| list(kind, all.iter().map(|one| symbolic(one, values, is_float)));
    match argument {
        Argument::AsNone(_) => Ok("None".to_owned()),
        Argument::AsTensor(name) => named(&name.name, values),
        Argument::AsTensors(names) => tensors(names),
        Argument::AsNestedTensors(lists) => list("List[Tensor]", lists.iter().map(|names| tensors(names))),
        Argument::AsOptionalTensor(one) => optional(one),
        Argument::AsOptionalTensors(all) => list("Optional[Tensor]", all.iter().map(optional)),
        Argument::AsInt(value) => Ok(int(*value, is_float)),
        Argument::AsInts(all) => ints(all),
        Argument::AsIntLists(lists) => list("List[int]", lists.iter().map(|all| ints(all))),
        Argument::AsFloat(value) => Ok(float(*value)),
        Argument::AsFloats(all) => floats(all),
        Argument::AsFloatLists(lists) => list("List[float]", lists.iter().map(|all| floats(all))),
        Argument::AsString(text) => Ok(quoted(text)),
        Argument::AsStrings(all) => list("str", all.iter().map(|text| Ok(quoted(text)))),
        Argument::AsSymInt(one) | Argument::AsSymBool(one) | Argument::AsSymFloat(one) => {
            symbolic(one, values, is_float)
        }
        Argument::AsSymInts(all) => symbols(numbers, all),
        Argument::AsSymBools(all) => symbols("bool", all),
        Argument::AsSymFloats(all) => symbols("float", all),
        Argument::AsScalarType(code) => Ok(layout::dtype(*code)?.number().to_string()),
        Argument::AsBool(value) => Ok(truth(*value)),
        Argument::AsBools(all) => list("bool", all.iter().map(|&value| Ok(truth(value)))),
        Argument::AsMemoryFormat(code) => numbered("a memory format", &MEMORY_FORMATS, *code),
        Argument::AsLayout(code) => numbered("a layout", &LAYOUTS, *code),
        // The backend puts the device in its place that it computes on.
        Argument::AsDevice(_) => Ok("torch.device(\"cpu\")".to_owned()),
        Argument::AsComplex(value) => Ok(format!("complex({}, {})", float(value.real), float(value.imag))),
        Argument::AsGraph(_) => Err(Error::format("a graph stands where a value is expected")),
        Argument::AsOperator(_) => Err(Error::unsupported("an operation as an argument")),
        Argument::AsCustomObj(_) => Err(Error::unsupported("an object of a class that torch does not define")),
        Argument::AsStringToArgument(_) => Err(Error::unsupported("a dict as an argument")),
    }
}
