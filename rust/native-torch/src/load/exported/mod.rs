//! Programs that `torch.export.save` wrote: `.pt2` archives.
//!
//! A program is a list of calls of ATen's operations with the tensors that they use, and says how its inputs and outputs
//! are passed. Its calls become the operations of a graph when the sizes of the inputs are known.

mod check;
mod effects;
mod layout;
mod names;
mod schema;
mod source;
mod symbols;
mod translate;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
};

pub(super) use layout::{is_record_of_package, is_record_of_program};
use source::Declared;
pub(crate) use source::{Parameter, Source as Code};

use super::{ModuleInput, NamedTensor, archive::Archive, records::printable, tensors::Described};
use crate::{
    Error, Result,
    graph::{Dim, Graph, format_shape},
    tensor::{DType, Source, Storage},
};

/// A program that was exported: calls of ATen's operations.
pub struct Program {
    graph: schema::Graph,
    ranges: HashMap<String, schema::Range>,
    /// The tensors that its calls use, each by the name that the calls know it by.
    state: Vec<(String, NamedTensor)>,
    inputs: Vec<Input>,
    outputs: Vec<Output>,
    class: String,
    torch_version: String,
    unsupported: Vec<(String, String)>,
}

/// An input that the caller gives.
struct Input {
    /// The name in forward's signature, with the keys that lead into containers.
    name: String,
    /// The name that the calls know it by.
    value: String,
    dtype: DType,
    shape: Vec<Dim>,
}

/// A result that the caller gets.
struct Output {
    /// The keys that lead to it in what forward returns.
    name: String,
    value: String,
}

/// A program with the records of its archive.
pub(super) struct Archived {
    pub program: Arc<Program>,
    pub records: Vec<Arc<Storage>>,
}

/// Reads a program from an archive of which the directory is known.
pub(super) fn read(source: &Arc<Source>, archive: Archive, big_endian: bool) -> Result<Archived> {
    let layout::Contents { record, program, weights, constants, records } = layout::read(source, archive, big_endian)?;
    let program = Program::new(program, weights, constants).map_err(|e| e.at(format!("record `{record}`")))?;
    Ok(Archived { program: Arc::new(program), records })
}

impl Program {
    fn new(
        exported: schema::ExportedProgram,
        mut weights: HashMap<String, Described>,
        mut constants: HashMap<String, Described>,
    ) -> Result<Self> {
        let schema::ExportedProgram { graph_module, range_constraints, torch_version } = exported;
        let schema::GraphModule { mut graph, signature, module_call_graph, treespec_namedtuple_fields } = graph_module;
        effects::unwrap(&mut graph, &signature)?;
        check::graph(&graph)?;
        let root = module_call_graph.into_iter().find(|entry| entry.fqn.is_empty()).and_then(|entry| entry.signature);
        let mut state = Vec::new();
        let mut user = Vec::new();
        for spec in signature.input_specs {
            let (arg, name, kind, from) = match spec {
                schema::InputSpec::Parameter { arg, parameter_name } => {
                    (arg, parameter_name, "parameter", &mut weights)
                }
                schema::InputSpec::Buffer { arg, buffer_name } => {
                    // What is not in the state dict is kept beside the constants.
                    let from = if weights.contains_key(&buffer_name) { &mut weights } else { &mut constants };
                    (arg, buffer_name, "buffer", from)
                }
                schema::InputSpec::TensorConstant { arg, tensor_constant_name } => {
                    (arg, tensor_constant_name, "constant", &mut constants)
                }
                schema::InputSpec::UserInput(spec) => {
                    user.push(Some(spec.arg));
                    continue;
                }
                schema::InputSpec::ConstantInput(_) => {
                    user.push(None);
                    continue;
                }
                schema::InputSpec::CustomObj { custom_obj_name } => {
                    return Err(Error::unsupported(format!(
                        "the program uses the object `{}` of a class of its own, which cannot be read",
                        printable(&custom_obj_name)
                    )));
                }
                schema::InputSpec::Token { .. } => continue,
            };
            let place = format!("{kind} `{}`", printable(&name));
            let found = from.get(&name).cloned();
            let found = found.ok_or_else(|| Error::format("the archive holds no tensor of this name").at(&place))?;
            check::declared(&graph, &arg.name, &found).map_err(|e| e.at(&place))?;
            let info = super::TensorInfo { is_parameter: kind == "parameter", ..found.info };
            state.push((arg.name, NamedTensor { name: printable(&name).into_owned(), info, tensor: found.tensor }));
        }
        let inputs = inputs(&graph, user, root.as_ref(), &treespec_namedtuple_fields)?;
        let outputs = outputs(signature.output_specs, root.as_ref(), &treespec_namedtuple_fields)?;
        check::signature(&graph, &state, &inputs, &outputs)?;
        let class = class(&graph);
        let unsupported = translate::unsupported(&graph);
        let ranges =
            range_constraints.into_iter().map(|(name, range)| (symbols::name(&name).to_owned(), range)).collect();
        let torch_version = printable(&torch_version).into_owned();
        Ok(Self { graph, ranges, state, inputs, outputs, class, torch_version, unsupported })
    }

    /// The class of the module that was exported, where the program says it.
    pub fn class(&self) -> &str {
        &self.class
    }

    /// The version of torch that wrote it.
    pub fn torch_version(&self) -> &str {
        &self.torch_version
    }

    /// The parameters, buffers and constants that it uses, under their names in the module.
    pub fn tensors(&self) -> impl Iterator<Item = &NamedTensor> {
        self.state.iter().map(|(_, tensor)| tensor)
    }

    /// The number of elements of its parameters, those that share memory counted once.
    pub fn parameter_count(&self) -> usize {
        let mut seen = HashSet::new();
        let tensors =
            self.tensors().filter(|named| named.info.is_parameter).filter_map(|named| named.tensor.as_ref().ok());
        let new = |tensor: &&crate::tensor::Tensor| {
            seen.insert((
                Arc::as_ptr(tensor.storage()),
                tensor.offset(),
                tensor.shape().to_vec(),
                tensor.strides().to_vec(),
            ))
        };
        tensors.filter(new).fold(0, |sum, tensor| sum.saturating_add(tensor.numel()))
    }

    /// What it takes, in the order of forward's signature. Sizes that the program was exported to leave open are symbols.
    pub fn inputs(&self) -> Vec<ModuleInput> {
        let input = |input: &Input| ModuleInput {
            name: input.name.clone(),
            dtype: if input.dtype.is_float() { DType::F64 } else { DType::I64 },
            shape: Some(input.shape.clone()),
        };
        self.inputs.iter().map(input).collect()
    }

    /// The names of the outputs: the keys that lead to them in what forward returns.
    pub fn outputs(&self) -> impl Iterator<Item = &str> {
        self.outputs.iter().map(|output| output.name.as_str())
    }

    /// The graph for the least sizes that the program takes, but at least 1, where it leaves them open.
    pub fn example(&self) -> Result<Graph> {
        self.graph_of(&self.least())
    }

    /// The least shapes that it takes.
    pub(crate) fn least(&self) -> Vec<Vec<Dim>> {
        let least = |dim: &Dim| match dim {
            Dim::Symbol(symbol) => {
                Dim::Size(symbols::bounds(&self.ranges, symbol).map_or(1, |(least, _)| least.max(1)))
            }
            other => other.clone(),
        };
        self.inputs.iter().map(|input| input.shape.iter().map(least).collect()).collect()
    }

    /// How many calls the program makes of each operation, by name.
    pub fn operations(&self) -> Vec<(&str, usize)> {
        let mut counts: Vec<(&str, usize)> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for node in check::nodes(&self.graph) {
            let name = node.target.strip_prefix("torch.ops.").unwrap_or(&node.target);
            let at = *places.entry(name).or_insert(counts.len());
            if at == counts.len() {
                counts.push((name, 0));
            }
            counts[at].1 += 1;
        }
        counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        counts
    }

    /// Every operation that keeps the program from becoming a graph, with the places where it is called.
    pub fn unsupported(&self) -> &[(String, String)] {
        &self.unsupported
    }

    /// The graph with sizes left open as the program leaves them. Where a call needs such a size, the error says so:
    /// [`Program::graph_of`] takes shapes.
    pub fn graph(&self) -> Result<Graph> {
        let shapes: Vec<Vec<Dim>> = self.inputs.iter().map(|input| input.shape.clone()).collect();
        self.graph_of(&shapes)
    }

    /// The graph for inputs of these shapes, one for each of [`Program::inputs`]. Fails where a size is not one that the
    /// program was exported for, and names all operations that are not supported.
    pub fn graph_of(&self, shapes: &[Vec<Dim>]) -> Result<Graph> {
        self.translated(shapes, None)
    }

    /// The same with the integers of the inputs that hold such, one input after another; the graph has the other inputs.
    /// What depends on integers alone is computed at once, so that they may be indices of any operation.
    pub fn graph_given(&self, shapes: &[Vec<Dim>], integers: &[i64]) -> Result<Graph> {
        self.translated(shapes, Some(integers))
    }

    fn translated(&self, shapes: &[Vec<Dim>], integers: Option<&[i64]>) -> Result<Graph> {
        check::refuse(&self.unsupported, "the engine does not have").map_err(|error| {
            Error::unsupported(format!("{}; the backend \"libtorch\" may have them", error.message()))
        })?;
        self.check(shapes)?;
        translate::graph(self, shapes, integers)
    }

    /// The calls as TorchScript for inputs of these shapes, or of the least that the program takes: every operation that
    /// libtorch declares, whether a graph has it or not. Gives the sizes of the inputs as well.
    pub(crate) fn source(&self, shapes: Option<&[Vec<Dim>]>, declared: Declared) -> Result<(Code, Vec<Vec<usize>>)> {
        let least = self.least();
        let shapes = shapes.unwrap_or(&least);
        self.check(shapes)?;
        let sizes = |(input, shape): (&Input, &Vec<Dim>)| {
            shape.iter().map(Dim::size).collect::<Option<_>>().ok_or_else(|| {
                Error::argument(format!("input `{}` has shape {}; give all sizes", input.name, format_shape(shape)))
            })
        };
        Ok((source::source(self, declared)?, self.inputs.iter().zip(shapes).map(sizes).collect::<Result<_>>()?))
    }

    /// Checks that the program was exported for inputs of these shapes.
    fn check(&self, shapes: &[Vec<Dim>]) -> Result<()> {
        if shapes.len() != self.inputs.len() {
            return Err(Error::argument(format!(
                "the model has {} input(s), but {} shape(s) were given",
                self.inputs.len(),
                shapes.len()
            )));
        }
        let mut check = symbols::Check::new(&self.ranges);
        self.inputs.iter().zip(shapes).try_for_each(|(input, shape)| check.input(&input.name, &input.shape, shape))
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Program({}, {} calls)", self.class, self.graph.nodes.len())
    }
}

/// The class of the outermost module that a call names.
fn class(graph: &schema::Graph) -> String {
    let stacks = graph.nodes.iter().filter_map(|node| node.metadata.get("nn_module_stack"));
    let root = stacks.filter_map(|stack| stack.split(';').next()?.rsplit(',').next()).find(|class| !class.is_empty());
    root.map_or_else(|| "torch.export.ExportedProgram".to_owned(), |class| printable(class).into_owned())
}

type Fields = HashMap<String, schema::NamedTuple>;

/// The tensors among what the caller gives. `None` stands for a value that was the same in all calls.
fn inputs(
    graph: &schema::Graph,
    user: Vec<Option<schema::Argument>>,
    root: Option<&schema::CallSignature>,
    fields: &Fields,
) -> Result<Vec<Input>> {
    let named = match root {
        Some(root) => {
            let leaves = names::leaves("in_spec", &root.in_spec, fields)?;
            names::inputs(leaves, root.forward_arg_names.as_deref().unwrap_or_default())
        }
        None => None,
    };
    let named = named.filter(|names| names.len() == user.len());
    let mut inputs = Vec::new();
    for (i, argument) in user.into_iter().enumerate() {
        let value = match argument {
            Some(schema::Argument::AsTensor(schema::Name { name })) => name,
            Some(schema::Argument::AsSymInt(schema::SymArgument::AsName(name))) => {
                return Err(Error::unsupported(format!(
                    "input `{}` is an int that may be another one in each call; export the model with it as a constant",
                    printable(&name)
                )));
            }
            _ => continue,
        };
        let meta = graph.tensor_values.get(&value);
        let place = || format!("input `{}`", printable(&value));
        let meta = meta.ok_or_else(|| Error::format("the program does not say its shape").at(place()))?;
        let dtype = layout::dtype(meta.dtype).map_err(|e| e.at(place()))?;
        let fits = dtype.is_float()
            || matches!(dtype, DType::I64 | DType::I32 | DType::I16 | DType::I8 | DType::U8 | DType::Bool);
        if !fits {
            let what = format!(
                "it holds {}; inputs of floating-point numbers, of integers and of bools are supported",
                dtype.name()
            );
            return Err(Error::unsupported(what).at(place()));
        }
        let shape = symbols::dims(&meta.sizes).map_err(|e| e.at(place()))?;
        let name = named.as_ref().map_or_else(|| value.clone(), |names| names[i].clone());
        inputs.push(Input { name: printable(&name).into_owned(), value, dtype, shape });
    }
    Ok(inputs)
}

/// The tensors among what the caller gets.
fn outputs(
    specs: Vec<schema::OutputSpec>,
    root: Option<&schema::CallSignature>,
    fields: &Fields,
) -> Result<Vec<Output>> {
    let mut values = Vec::new();
    for spec in specs {
        match spec {
            schema::OutputSpec::UserOutput(spec) => values.push(match spec.arg {
                schema::Argument::AsTensor(name) => Some(name.name),
                _ => None,
            }),
            schema::OutputSpec::LossOutput { arg } => values.push(Some(arg.name)),
            // What a call would leave behind in the module is no part of the value of the first one.
            _ => {}
        }
    }
    let named = root.map(|root| names::leaves("out_spec", &root.out_spec, fields).map(names::outputs)).transpose()?;
    let named = named.filter(|names| names.len() == values.len());
    let output = |(i, value): (usize, Option<String>)| {
        let value = value?;
        let name = named.as_ref().map_or_else(|| value.clone(), |names| names[i].clone());
        Some(Output { name: printable(&name).into_owned(), value })
    };
    let outputs: Vec<Output> = values.into_iter().enumerate().filter_map(output).collect();
    if outputs.is_empty() {
        return Err(Error::unsupported("the program returns no tensor"));
    }
    Ok(outputs)
}
