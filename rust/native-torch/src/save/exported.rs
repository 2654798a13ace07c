//! Programs as `.pt2`: the archive of `torch.export.save` in torch 2.13's layout, with the JSON of its schema 8.

use std::{
    collections::{HashMap, HashSet},
    io,
};

use serde_json::{Map, Value, json};

use super::{
    aten::{Argument, Block, Call, Flow, Kind, Program, Size, Var},
    weights,
    zip::Archive,
};
use crate::{
    Error, Result,
    graph::{Dim, Type},
    tensor::DType,
};

/// The version of the schema, and of torch, that the files are written as.
const SCHEMA: (u64, u64) = (8, 20);
const TORCH: &str = "2.13.0";
/// The version of ATen's operations there.
const OPSET: u64 = 10;
/// torch's number for a dense layout.
const STRIDED: u8 = 7;
/// Sizes that stand for symbolic ones where torch wants an example: not what other dimensions are likely to be.
const EXAMPLE: i64 = 97;

/// Writes the archive.
pub(super) fn write(program: &Program, float: DType, to: &mut dyn io::Write) -> Result<()> {
    let numbers = weights::stored(&program.weights);
    let mut schema = Schema::new(program, float);
    let model = schema.program()?;
    let mut archive = Archive::new(to, "model");
    let mut config = Map::new();
    let mut written = 0;
    for (weight, &number) in program.weights.iter().zip(&numbers) {
        let path = format!("weight_{number}");
        if number == written {
            archive.record(&format!("data/weights/{path}"), &weights::bytes(&weight.tensor, float)?)?;
            written += 1;
        }
        let meta = schema.meta(weight.var, weight.is_parameter())?;
        let entry = json!({
            "path_name": path, "is_param": weight.is_parameter(), "use_pickle": false, "tensor_meta": meta,
        });
        config.insert(weight.name.clone(), entry);
    }
    let no_constants = json!({ "config": {} });
    let text = |value: &Value| value.to_string().into_bytes();
    archive.record("data/weights/model_weights_config.json", &text(&json!({ "config": config })))?;
    archive.record("data/constants/model_constants_config.json", &text(&no_constants))?;
    archive.record("models/model.json", &text(&model))?;
    // torch asks for the record, and takes an empty one as no example.
    archive.record("data/sample_inputs/model.pt", b"")?;
    archive.record("archive_format", b"pt2")?;
    archive.record("archive_version", b"0")?;
    archive.record(".data/version", b"6\n")?;
    archive.record("byteorder", b"little")?;
    archive.finish()
}

/// torch's number for a dtype in this schema.
fn code(dtype: DType) -> Result<u8> {
    match dtype {
        DType::I64 => Ok(5),
        DType::F32 => Ok(7),
        DType::F64 => Ok(8),
        DType::Bool => Ok(12),
        other => Err(Error::internal(format!("a value of {} is written", other.name()))),
    }
}

fn name(name: &str) -> Value {
    json!({ "name": name })
}

/// The name of a call's node, which is its result, or, of several results, none of them.
fn node_name(program: &Program, call: &Call) -> String {
    let first = program.name(call.results[0]);
    if call.results.len() == 1 && call.flow.is_none() { first.to_owned() } else { format!("{first}_results") }
}

/// A graph in the schema. A single result is given as it is, not in a list of one.
fn graph(inputs: &[Value], outputs: &[Value], nodes: &[Value], values: (Value, Value), single: bool) -> Value {
    json!({
        "inputs": inputs,
        "outputs": outputs,
        "nodes": nodes,
        "tensor_values": values.0,
        "sym_int_values": values.1,
        "sym_bool_values": {},
        "is_single_tensor_return": single,
        "custom_obj_values": {},
        "sym_float_values": {},
    })
}

/// What is written of a program, with the symbols that its sizes have been given.
struct Schema<'a> {
    program: &'a Program,
    float: DType,
    /// The symbols by their names in the graph.
    symbols: HashMap<String, usize>,
    /// For each variable, the texts of its sizes: numbers or symbols.
    sizes: HashMap<usize, Vec<String>>,
    count: usize,
}

impl<'a> Schema<'a> {
    fn new(program: &'a Program, float: DType) -> Self {
        Self { program, float, symbols: HashMap::new(), sizes: HashMap::new(), count: 0 }
    }

    fn program(&mut self) -> Result<Value> {
        let graph = self.graph()?;
        let signature = self.signature();
        let range = json!({ "min_val": 0, "max_val": null });
        let ranges: Map<String, Value> = (0..self.count).map(|number| (symbol(number), range.clone())).collect();
        Ok(json!({
            "graph_module": {
                "graph": graph,
                "signature": signature,
                "module_call_graph": [{ "fqn": "", "signature": self.call_signature() }],
                "metadata": {},
                "treespec_namedtuple_fields": {},
            },
            "opset_version": { "aten": OPSET },
            "range_constraints": ranges,
            "schema_version": { "major": SCHEMA.0, "minor": SCHEMA.1 },
            "verifiers": ["TRAINING"],
            "torch_version": TORCH,
            "guards_code": [],
        }))
    }

    fn graph(&mut self) -> Result<Value> {
        let program = self.program;
        let weights = program.weights.iter().map(|weight| weight.var);
        let inputs: Vec<Value> = weights.chain(program.inputs.iter().copied()).map(|var| self.tensor(var)).collect();
        let nodes = self.nodes(&program.calls)?;
        let trained: HashSet<usize> =
            program.weights.iter().filter(|weight| weight.is_parameter()).map(|weight| weight.var.0).collect();
        let weights = program.weights.iter().map(|weight| weight.var);
        let results = program.calls.iter().flat_map(|call| call.results.iter().copied());
        let variables = weights.chain(program.inputs.iter().copied()).chain(results);
        let (tensors, ints) = self.values(variables, &trained)?;
        let outputs: Vec<Value> = program.outputs.iter().map(|&var| self.tensor(var)).collect();
        Ok(graph(&inputs, &outputs, &nodes, (tensors, ints), false))
    }

    /// What is written of variables: of tensors, and of sizes.
    fn values(&mut self, variables: impl Iterator<Item = Var>, trained: &HashSet<usize>) -> Result<(Value, Value)> {
        let (mut tensors, mut ints) = (Map::new(), Map::new());
        for var in variables {
            let variable = &self.program.variables[var.0];
            match &variable.kind {
                Kind::Tensor(_) => {
                    tensors.insert(variable.name.clone(), self.meta(var, trained.contains(&var.0))?);
                }
                Kind::Size { of, dim } => {
                    let size = self.dims(*of)[*dim].clone();
                    ints.insert(variable.name.clone(), self.size(&size));
                }
            }
        }
        Ok((tensors.into(), ints.into()))
    }

    /// A block as a graph of its own, which takes these variables under their names.
    fn subgraph(&mut self, name: &str, block: &Block, inputs: &[Var], single: bool) -> Result<Value> {
        let nodes = self.nodes(&block.calls)?;
        let results = block.calls.iter().flat_map(|call| call.results.iter().copied());
        let values = self.values(inputs.iter().copied().chain(results), &HashSet::new())?;
        let tensors = |vars: &[Var]| vars.iter().map(|&var| self.tensor(var)).collect::<Vec<_>>();
        let graph = graph(&tensors(inputs), &tensors(&block.outputs), &nodes, values, single);
        Ok(json!({ "as_graph": { "name": name, "graph": graph } }))
    }

    fn nodes(&mut self, calls: &[Call]) -> Result<Vec<Value>> {
        calls.iter().map(|call| if call.flow.is_some() { self.control(call) } else { Ok(self.node(call)) }).collect()
    }

    /// Control as torch's operations of higher order, which are given what their graphs read.
    fn control(&mut self, call: &Call) -> Result<Value> {
        let node = node_name(self.program, call);
        let list = |this: &Self, vars: &[Var]| json!({ "as_tensors": vars.iter().map(|&var| name(this.program.name(var))).collect::<Vec<_>>() });
        let (target, arguments) = match call.flow.as_ref() {
            None => return Err(Error::internal("an operation of ATen is taken for control")),
            Some(Flow::If { mask, blocks }) => {
                let mut reads = blocks[0].reads();
                reads.extend(blocks[1].reads());
                let mut seen = HashSet::new();
                reads.retain(|var| seen.insert(*var));
                let mut sides = Vec::new();
                for (side, block) in ["true", "false"].iter().zip(&**blocks) {
                    sides.push(self.subgraph(&format!("{node}_{side}"), block, &reads, false)?);
                }
                let [then, other] = [sides.remove(0), sides.remove(0)];
                ("cond", vec![self.tensor(*mask), then, other, list(self, &reads)])
            }
            Some(Flow::While { carried, first, condition, body }) => {
                let mut rest = condition.reads();
                rest.extend(body.reads());
                let mut seen: HashSet<Var> = carried.iter().copied().collect();
                rest.retain(|var| seen.insert(*var));
                let inputs = [&carried[..], &rest].concat();
                let condition = self.subgraph(&format!("{node}_condition"), condition, &inputs, true)?;
                let body = self.subgraph(&format!("{node}_body"), body, &inputs, false)?;
                ("while_loop", vec![condition, body, list(self, first), list(self, &rest)])
            }
        };
        let inputs: Vec<Value> =
            arguments.into_iter().map(|argument| json!({ "name": "", "arg": argument, "kind": 1 })).collect();
        Ok(json!({
            "target": format!("torch.ops.higher_order.{target}"),
            "inputs": inputs,
            "outputs": call.results.iter().map(|&result| self.tensor(result)).collect::<Vec<_>>(),
            "metadata": metadata(&call.place),
            "is_hop_single_tensor_return": false,
            "name": node,
        }))
    }

    fn signature(&self) -> Value {
        let program = self.program;
        let weight = |weight: &super::aten::Weight| {
            let arg = name(program.name(weight.var));
            if weight.is_parameter() {
                json!({ "parameter": { "arg": arg, "parameter_name": weight.name } })
            } else {
                json!({ "buffer": { "arg": arg, "buffer_name": weight.name, "persistent": true } })
            }
        };
        let user = |kind: &'static str| move |&var: &Var| json!({ kind: { "arg": self.tensor(var) } });
        let weights = program.weights.iter().map(weight);
        json!({
            "input_specs": weights.chain(program.inputs.iter().map(user("user_input"))).collect::<Vec<_>>(),
            "output_specs": program.outputs.iter().map(user("user_output")).collect::<Vec<_>>(),
        })
    }

    /// How the caller passes inputs and gets outputs: tensors by place, and one tensor or a tuple.
    fn call_signature(&self) -> Value {
        let leaf = json!({ "type": null, "context": null, "children_spec": [] });
        let tuple =
            |children: Vec<Value>| json!({ "type": "builtins.tuple", "context": "null", "children_spec": children });
        let program = self.program;
        let keywords = json!({ "type": "builtins.dict", "context": "[]", "children_spec": [] });
        let inputs = tuple(vec![tuple(vec![leaf.clone(); program.inputs.len()]), keywords]);
        let outputs = match program.outputs.len() {
            1 => leaf,
            count => tuple(vec![leaf; count]),
        };
        let names: Vec<&str> = program.inputs.iter().map(|&input| program.name(input)).collect();
        json!({
            "inputs": [],
            "outputs": [],
            "in_spec": json!([1, inputs]).to_string(),
            "out_spec": json!([1, outputs]).to_string(),
            "forward_arg_names": names,
        })
    }

    fn tensor(&self, var: Var) -> Value {
        json!({ "as_tensor": name(self.program.name(var)) })
    }

    fn node(&self, call: &Call) -> Value {
        let program = self.program;
        let input = |(parameter, argument): &(&'static str, Argument)| {
            let by_name_only = *parameter == "approximate";
            json!({ "name": parameter, "arg": self.argument(argument), "kind": if by_name_only { 2 } else { 1 } })
        };
        let output = |&result: &Var| match program.variables[result.0].kind {
            Kind::Tensor(_) => self.tensor(result),
            Kind::Size { .. } => json!({ "as_sym_int": { "as_name": program.name(result) } }),
        };
        let node = node_name(program, call);
        json!({
            "target": format!("torch.ops.aten.{}", call.target),
            "inputs": call.arguments.iter().map(input).collect::<Vec<_>>(),
            "outputs": call.results.iter().map(output).collect::<Vec<_>>(),
            "metadata": metadata(&call.place),
            "is_hop_single_tensor_return": null,
            "name": node,
        })
    }

    fn argument(&self, argument: &Argument) -> Value {
        let known = |size: &Size| match size {
            Size::Known(size) => Some(*size),
            Size::Of(_) => None,
        };
        let size = |size: &Size| match size {
            Size::Known(size) => json!({ "as_int": size }),
            Size::Of(var) => json!({ "as_name": self.program.name(*var) }),
        };
        match argument {
            Argument::None => json!({ "as_none": true }),
            Argument::Tensor(var) => self.tensor(*var),
            Argument::Tensors(vars) => {
                json!({ "as_tensors": vars.iter().map(|&var| name(self.program.name(var))).collect::<Vec<_>>() })
            }
            Argument::Int(value) => json!({ "as_int": value }),
            Argument::Sizes(sizes) => match sizes.iter().map(known).collect::<Option<Vec<i64>>>() {
                Some(known) => json!({ "as_ints": known }),
                None => json!({ "as_sym_ints": sizes.iter().map(size).collect::<Vec<_>>() }),
            },
            Argument::Float(value) => json!({ "as_float": number(*value) }),
            Argument::Floats(values) => {
                json!({ "as_floats": values.iter().map(|&value| number(value)).collect::<Vec<_>>() })
            }
            Argument::Bool(value) => json!({ "as_bool": value }),
            Argument::Text(text) => json!({ "as_string": text }),
        }
    }

    /// What the schema says of a tensor without its numbers.
    fn meta(&mut self, var: Var, trained: bool) -> Result<Value> {
        let dims = self.dims(var);
        let Kind::Tensor(ty) = &self.program.variables[var.0].kind else {
            return Err(Error::internal("a size is taken for a tensor"));
        };
        let stride = |dim: usize| {
            let inner = &dims[dim + 1..];
            let known = inner.iter().filter_map(|size| size.parse::<usize>().ok());
            let known = known.map(|size| size.max(1)).fold(1usize, usize::saturating_mul);
            let symbols = inner.iter().filter(|size| size.parse::<usize>().is_err()).cloned();
            let factors: Vec<String> = (known != 1).then(|| known.to_string()).into_iter().chain(symbols).collect();
            if factors.is_empty() { "1".to_owned() } else { factors.join("*") }
        };
        let sizes: Vec<Value> = dims.iter().map(|size| self.size(size)).collect();
        let strides: Vec<Value> = (0..dims.len()).map(|dim| self.size(&stride(dim))).collect();
        Ok(json!({
            "dtype": code(weights::dtype(ty.dtype, self.float))?,
            "sizes": sizes,
            "requires_grad": trained,
            "device": { "type": "cpu", "index": null },
            "strides": strides,
            "storage_offset": { "as_int": 0 },
            "layout": STRIDED,
        }))
    }

    /// A size in the schema: a number, or an expression.
    fn size(&self, text: &str) -> Value {
        match text.parse::<i64>() {
            Ok(size) => json!({ "as_int": size }),
            Err(_) => json!({ "as_expr": { "expr_str": text, "hint": self.hint(text) } }),
        }
    }

    /// The example of a symbol; expressions have none of their own.
    fn hint(&self, text: &str) -> Value {
        let number = (0..self.count).find(|&number| expression(number) == text);
        number.map_or(Value::Null, |number| json!({ "as_int": EXAMPLE + number as i64 }))
    }

    /// The texts of a variable's sizes. Sizes that follow from symbolic ones in some way are symbols of their own.
    fn dims(&mut self, var: Var) -> Vec<String> {
        if let Some(known) = self.sizes.get(&var.0) {
            return known.clone();
        }
        let shape = match &self.program.variables[var.0].kind {
            Kind::Tensor(Type { shape, .. }) => &shape[..],
            Kind::Size { .. } => &[],
        };
        let texts: Vec<String> = shape.iter().map(|dim| self.dim(dim)).collect();
        self.sizes.insert(var.0, texts.clone());
        texts
    }

    fn dim(&mut self, dim: &Dim) -> String {
        let next = self.count;
        let number = match dim {
            Dim::Size(size) => return size.to_string(),
            Dim::Symbol(name) => *self.symbols.entry(name.to_string()).or_insert(next),
            Dim::Unknown => next,
        };
        self.count = self.count.max(number + 1);
        expression(number)
    }
}

/// torch tells by the first letter what a symbol is: `s` for sizes.
fn symbol(number: usize) -> String {
    format!("s{number}")
}

/// A symbol as torch writes it.
fn expression(number: usize) -> String {
    format!("Symbol('{}', positive=True, integer=True)", symbol(number))
}

/// A float, which JSON cannot hold where it is not finite.
fn number(value: f64) -> Value {
    match value {
        f64::INFINITY => json!("Infinity"),
        f64::NEG_INFINITY => json!("-Infinity"),
        value if value.is_nan() => json!("NaN"),
        value => json!(value),
    }
}

/// The layer that a call belongs to, as torch tells it.
fn metadata(place: &str) -> Value {
    let layer = place.strip_prefix("layer `").and_then(|rest| rest.split_once("` ("));
    let layer = layer.and_then(|(path, rest)| Some((path, rest.split_once(')')?.0)));
    match layer.filter(|(path, class)| ![path, class].iter().any(|text| text.contains([',', ';']))) {
        Some((path, class)) => {
            json!({ "nn_module_stack": format!("L__self__,,Model;L__self___{path},{path},{class}") })
        }
        None => json!({}),
    }
}
