//! Programs as TorchScript: the archive that `torch.jit.load` reads.

use std::{collections::HashSet, fmt::Write as _, io};

use super::{
    aten::{Argument, Call, Flow, Kind, Names, Program, Size, Var, Variable, Weight, identifier},
    pickle::Pickle,
    weights,
    zip::Archive,
};
use crate::{
    Result,
    graph::Type,
    load::{self, NamedTensor},
    tensor::{DType, Tensor, contiguous_strides},
};

/// The version of the file and of the operations in it: the last one that changed how an operation is called.
const VERSION: &[u8] = b"10\n";
/// The module that all classes of an archive belong to.
const MODULE: &str = "__torch__";
/// The class of the model.
const MODEL: &str = "Model";

/// Writes the archive.
pub(super) fn write(program: &Program, float: DType, to: &mut dyn io::Write) -> Result<()> {
    let mut body = String::new();
    statements(&mut body, program, &program.calls, 2);
    archive(program, &body, float, to)
}

/// Writes the archive of a program whose calls are statements already.
pub(super) fn write_code(code: load::Code, float: DType, to: &mut dyn io::Write) -> Result<()> {
    let mut program = Program::default();
    let mut paths = Names::default();
    let mut variable = |name: String, ty: Type| {
        program.variables.push(Variable { name, kind: Kind::Tensor(ty) });
        Var(program.variables.len() - 1)
    };
    let open = || Type::sized(DType::F64, &[]);
    program.inputs = code.inputs.into_iter().map(|name| variable(name, open())).collect();
    for (name, NamedTensor { name: wanted, tensor, .. }) in code.weights {
        let tensor = tensor?;
        let var = variable(name, Type::sized(tensor.dtype(), tensor.shape()));
        program.weights.push(Weight { name: paths.path(&wanted), tensor, var });
    }
    program.outputs = code.outputs.into_iter().map(|name| variable(name, open())).collect();
    archive(&program, &code.body, float, to)
}

fn archive(program: &Program, body: &str, float: DType, to: &mut dyn io::Write) -> Result<()> {
    let numbers = weights::stored(&program.weights);
    let root = Module::tree(program);
    let mut archive = Archive::new(to, "archive");
    archive.record("version", VERSION)?;
    archive.record("byteorder", b"little")?;
    archive.record("data.pkl", &root.pickle(program, &numbers, float))?;
    archive.record("code/__torch__.py", code(program, &root, body).as_bytes())?;
    let mut constants = Pickle::new();
    constants.tuple(|_| ());
    archive.record("constants.pkl", &constants.finish())?;
    let mut written = 0;
    for (weight, &number) in program.weights.iter().zip(&numbers) {
        if number == written {
            archive.record(&format!("data/{number}"), &weights::bytes(&weight.tensor, float)?)?;
            written += 1;
        }
    }
    archive.finish()
}

/// A module: weights and other modules under the words of their names.
#[derive(Default)]
struct Module {
    class: String,
    weights: Vec<(String, usize)>,
    modules: Vec<(String, Module)>,
}

impl Module {
    /// The modules that the weights' names lead through.
    fn tree(program: &Program) -> Self {
        let mut root = Module { class: MODEL.to_owned(), ..Module::default() };
        let mut classes = 0;
        for (at, weight) in program.weights.iter().enumerate() {
            let mut module = &mut root;
            let (path, name) = weight.name.rsplit_once('.').unwrap_or(("", &weight.name));
            for word in path.split('.').filter(|word| !word.is_empty()) {
                let found = module.modules.iter().position(|(name, _)| name == word);
                let place = found.unwrap_or_else(|| {
                    classes += 1;
                    let class = format!("Module{classes}");
                    module.modules.push((word.to_owned(), Module { class, ..Module::default() }));
                    module.modules.len() - 1
                });
                module = &mut module.modules[place].1;
            }
            module.weights.push((name.to_owned(), at));
        }
        root
    }

    fn pickle(&self, program: &Program, numbers: &[usize], float: DType) -> Vec<u8> {
        let mut pickle = Pickle::new();
        let mut remembered = HashSet::new();
        self.object(&mut pickle, program, numbers, float, &mut remembered);
        pickle.finish()
    }

    /// Writes the module; `remembered` tensors are there already. Its depth is that of the longest name.
    fn object(
        &self,
        pickle: &mut Pickle,
        program: &Program,
        numbers: &[usize],
        float: DType,
        remembered: &mut HashSet<usize>,
    ) {
        pickle.object(MODULE, &self.class, |pickle| {
            for (name, at) in &self.weights {
                pickle.text(name);
                let (weight, number) = (&program.weights[*at], numbers[*at]);
                if remembered.insert(number) {
                    tensor(pickle, &weight.tensor, number, float);
                    pickle.remember(number);
                } else {
                    pickle.recall(number);
                }
            }
            for (name, module) in &self.modules {
                pickle.text(name);
                module.object(pickle, program, numbers, float, remembered);
            }
            pickle.text("training");
            pickle.truth(false);
        });
    }

    /// Writes the class and those of the modules in it.
    fn class(&self, code: &mut String, program: &Program, forward: &str) {
        let names = |parameters: bool| {
            let weights = self.weights.iter().filter(|weight| program.weights[weight.1].is_parameter() == parameters);
            weights.map(|(name, _)| format!("{}, ", quoted(name))).collect::<String>()
        };
        let class = &self.class;
        _ = writeln!(code, "class {class}(Module):");
        _ = writeln!(code, "  __parameters__ = [{}]\n  __buffers__ = [{}]", names(true), names(false));
        let tensors = self.weights.iter().map(|(name, _)| (name, "Tensor".to_owned()));
        let modules = self.modules.iter().map(|(name, module)| (name, format!("{MODULE}.{}", module.class)));
        for (name, ty) in tensors.chain(modules) {
            if identifier(name) {
                _ = writeln!(code, "  {name} : {ty}");
            } else {
                _ = writeln!(code, "  __annotations__[{}] = {ty}", quoted(name));
            }
        }
        _ = writeln!(code, "  training : bool\n{forward}");
        self.modules.iter().for_each(|(_, module)| module.class(code, program, ""));
    }

    /// Writes what gives each weight its variable; `this` is the module's.
    fn read(&self, code: &mut String, program: &Program, this: &str) {
        let attribute = |name: &str| match identifier(name) {
            true => format!("{this}.{name}"),
            false => format!("getattr({this}, {})", quoted(name)),
        };
        for (name, at) in &self.weights {
            _ = writeln!(code, "    {} = {}", program.name(program.weights[*at].var), attribute(name));
        }
        for (name, module) in &self.modules {
            // No variable is called so.
            let inner = format!("__{}", module.class);
            _ = writeln!(code, "    {inner} = {}", attribute(name));
            module.read(code, program, &inner);
        }
    }
}

/// A tensor of the stored numbers of this record.
fn tensor(pickle: &mut Pickle, tensor: &Tensor, number: usize, float: DType) {
    let storage = match weights::dtype(tensor.dtype(), float) {
        DType::F64 => "DoubleStorage",
        DType::F32 => "FloatStorage",
        DType::C128 => "ComplexDoubleStorage",
        DType::C64 => "ComplexFloatStorage",
        DType::Bool => "BoolStorage",
        DType::I32 => "IntStorage",
        DType::I16 => "ShortStorage",
        DType::I8 => "CharStorage",
        DType::U8 => "ByteStorage",
        _ => "LongStorage",
    };
    let shape = tensor.shape();
    pickle.global("torch._utils", "_rebuild_tensor_v2");
    pickle.tuple(|pickle| {
        pickle.tuple(|pickle| {
            pickle.text("storage");
            pickle.global("torch", storage);
            pickle.text(&number.to_string());
            pickle.text("cpu");
            pickle.int(tensor.numel());
        });
        pickle.persistent();
        pickle.int(0);
        pickle.tuple(|pickle| shape.iter().for_each(|&size| pickle.int(size)));
        pickle.tuple(|pickle| contiguous_strides(shape).into_iter().for_each(|stride| pickle.int(stride)));
        pickle.truth(tensor.dtype().is_float());
        pickle.global("collections", "OrderedDict");
        pickle.tuple(|_| ());
        pickle.reduce();
    });
    pickle.reduce();
}

/// The source of all classes, forward with these statements.
fn code(program: &Program, root: &Module, body: &str) -> String {
    let mut code = String::new();
    let tensors = |count: usize| match count {
        1 => "Tensor".to_owned(),
        _ => format!("Tuple[{}]", vec!["Tensor"; count].join(", ")),
    };
    let inputs: String =
        program.inputs.iter().map(|&input| format!(",\n    {}: Tensor", program.name(input))).collect();
    let mut forward = format!("  def forward(self: {MODULE}.{MODEL}{inputs}) -> {}:\n", tensors(program.outputs.len()));
    root.read(&mut forward, program, "self");
    forward += body;
    let outputs: Vec<&str> = program.outputs.iter().map(|&output| program.name(output)).collect();
    _ = match outputs[..] {
        [output] => writeln!(forward, "    return {output}"),
        _ => writeln!(forward, "    return ({})", outputs.join(", ")),
    };
    root.class(&mut code, program, &forward);
    code
}

/// Writes calls as statements, indented so many times.
fn statements(code: &mut String, program: &Program, calls: &[Call], depth: usize) {
    calls.iter().for_each(|call| statement(code, program, call, depth));
}

/// Writes assignments of one variable to another.
fn assign(code: &mut String, program: &Program, to: &[Var], from: &[Var], depth: usize) {
    let names = |vars: &[Var]| vars.iter().map(|&var| program.name(var)).collect::<Vec<_>>().join(", ");
    // One after another, a value could be read when it is already the next one.
    match to.len() {
        1 => _ = writeln!(code, "{}{} = {}", "  ".repeat(depth), names(to), names(from)),
        _ => _ = writeln!(code, "{}{} = ({})", "  ".repeat(depth), names(to), names(from)),
    }
}

fn statement(code: &mut String, program: &Program, call: &Call, depth: usize) {
    let indent = "  ".repeat(depth);
    match &call.flow {
        None => {}
        Some(Flow::If { mask, blocks }) => {
            for (line, block) in
                [format!("if bool({}):", program.name(*mask)), "else:".to_owned()].iter().zip(&**blocks)
            {
                _ = writeln!(code, "{indent}{line}");
                statements(code, program, &block.calls, depth + 1);
                assign(code, program, &call.results, &block.outputs, depth + 1);
            }
            return;
        }
        Some(Flow::While { carried, first, condition, body }) => {
            // The name of a result is free until the loop ends.
            let more = format!("{}_more", program.name(call.results[0]));
            let test = |code: &mut String, depth: usize| {
                statements(code, program, &condition.calls, depth);
                _ = writeln!(code, "{}{more} = bool({})", "  ".repeat(depth), program.name(condition.outputs[0]));
            };
            assign(code, program, carried, first, depth);
            test(code, depth);
            _ = writeln!(code, "{indent}while {more}:");
            statements(code, program, &body.calls, depth + 1);
            assign(code, program, carried, &body.outputs, depth + 1);
            test(code, depth + 1);
            assign(code, program, &call.results, carried, depth);
            return;
        }
    }
    let results: Vec<&str> = call.results.iter().map(|&result| program.name(result)).collect();
    let operation = match call.target.split('.').next().unwrap_or_default() {
        "sym_size" => "size",
        name => name,
    };
    let arguments: Vec<String> = call.arguments.iter().map(|(name, value)| argument(program, name, value)).collect();
    _ = writeln!(code, "{indent}{} = torch.{operation}({})", results.join(", "), arguments.join(", "));
}

/// An argument; those that are given by name only have it in front.
fn argument(program: &Program, name: &str, value: &Argument) -> String {
    let list = |items: Vec<String>, kind: &str| match items[..] {
        [] => format!("annotate(List[{kind}], [])"),
        _ => format!("[{}]", items.join(", ")),
    };
    let size = |size: &Size| match size {
        Size::Known(size) => size.to_string(),
        Size::Of(var) => program.name(*var).to_owned(),
    };
    match value {
        Argument::None => "None".to_owned(),
        Argument::Tensor(var) => program.name(*var).to_owned(),
        Argument::Tensors(vars) => list(vars.iter().map(|&var| program.name(var).to_owned()).collect(), "Tensor"),
        Argument::Int(value) => value.to_string(),
        Argument::Sizes(sizes) => list(sizes.iter().map(size).collect(), "int"),
        Argument::Float(value) => number(*value),
        Argument::Floats(values) => list(values.iter().copied().map(number).collect(), "float"),
        Argument::Bool(true) => "True".to_owned(),
        Argument::Bool(false) => "False".to_owned(),
        Argument::Text(text) if name == "approximate" => format!("{name}={}", quoted(text)),
        Argument::Text(text) => quoted(text),
    }
}

/// A number with all its digits, and a point or an exponent.
fn number(value: f64) -> String {
    if value.is_nan() { "nan".to_owned() } else { format!("{value:?}") }
}

fn quoted(text: &str) -> String {
    let escaped: String = text
        .chars()
        .map(|c| match c {
            '"' | '\\' => format!("\\{c}"),
            _ => c.to_string(),
        })
        .collect();
    format!("\"{escaped}\"")
}
