//! Models: what a file holds.

use std::{
    ffi::c_void,
    mem::MaybeUninit,
    path::Path,
    sync::{Arc, OnceLock},
};

use crate::{
    source::{self, NtReader, NtRelease},
    status::{NtStatus, construct, guard},
    strings::{NtStrings, Strings},
    tensors::{NtTensors, Tensors},
    types::{
        NtBytes, NtIntegers, NtModels, NtShape, NtSlice, NtSliceMut, NtStr, give, list, optional_text, read, required,
        shape, text,
    },
};
use engine::{
    Error, ErrorKind, Result,
    eval::{Backend, Function},
    graph::{Dim, Graph},
    load::{self, Checkpoint, Layer, Model, Module, ModuleInput, ModuleTensor, NamedTensor, TensorInfo},
    save::{self, Format},
    tensor::{DType, Tensor},
};

/// A model read from a file, or a part of one. It never changes; any number of threads may use it at once. Functions
/// and formulations made from it do not need it any more.
pub struct NtModel {
    /// The files that its tensors are in.
    files: Vec<Arc<Checkpoint>>,
    root: Arc<Model>,
    /// Of the part of a module, below the root.
    path: String,
    /// What was given for its inputs.
    given: Option<Given>,
    modules: OnceLock<Modules>,
    tensors: OnceLock<Tensors>,
    attributes: OnceLock<Attributes>,
    inputs: OnceLock<Inputs>,
    input: OnceLock<Result<Vec<usize>>>,
}

/// The shapes of all inputs, the integers of some, and the graph for them.
struct Given {
    shapes: Vec<Vec<Dim>>,
    integers: Vec<i64>,
    /// An error for TorchScript that may run on libtorch nevertheless.
    graph: Result<Arc<Graph>>,
}

/// What a module computes: `NT_MODULE_SEQUENTIAL`, `NT_MODULE_STANDARD`, `NT_MODULE_CUSTOM`, `NT_MODULE_UNSUPPORTED` or
/// `NT_MODULE_PROGRAM`.
pub type NtModuleKind = u32;
/// The modules in it, one after another.
pub const NT_MODULE_SEQUENTIAL: NtModuleKind = 0;
/// One of torch's own layers.
pub const NT_MODULE_STANDARD: NtModuleKind = 1;
/// A class that torch does not define: the file has its attributes, tensors and children, but not its forward.
pub const NT_MODULE_CUSTOM: NtModuleKind = 2;
/// Something that cannot be used; the reason says why.
pub const NT_MODULE_UNSUPPORTED: NtModuleKind = 3;
/// A program that torch.export.save or torch.jit.save wrote: operations instead of layers. It is the only module of its model.
pub const NT_MODULE_PROGRAM: NtModuleKind = 4;

/// The modules of a model, each in front of those in it; the first is the model itself. All arrays have `count`
/// entries.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NtModules {
    /// How many modules there are.
    pub count: usize,
    /// What each computes.
    pub kinds: *const NtModuleKind,
    /// The names that lead to each from the root of the file, joined by dots: `2.0`. The root's is empty.
    pub paths: NtStrings,
    /// The class of each: `torch.nn.modules.linear.Linear`.
    pub classes: NtStrings,
    /// The class's short name with its attributes: `Linear(in_features=64, out_features=32, bias=True)`.
    pub descriptions: NtStrings,
    /// Why the module keeps the model from being evaluated, and what to do; empty where it does not.
    pub reasons: NtStrings,
    /// The number of elements of the parameters of each, without those of the modules in it.
    pub parameters: *const usize,
}

/// The attributes of a module, in the file's order, without those that every `nn.Module` has. All arrays have `count`
/// entries.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NtAttributes {
    /// How many attributes there are.
    pub count: usize,
    /// Their names.
    pub names: NtStrings,
    /// What each is, in Python's words: `None`, `bool`, `int`, `float`, `str`, `list`, `tensor`, or a quoted class.
    pub kinds: NtStrings,
    /// Their values: the text itself where the kind is `str`, else as Python prints them, shortened where that is long.
    pub values: NtStrings,
    /// The values of numbers and bools; NaN for others.
    pub numbers: *const f64,
}

/// What a model takes, in the order of torch's forward. All arrays but the last two have `count` entries.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NtInputs {
    /// How many inputs there are.
    pub count: usize,
    /// Their names in torch's forward: `input`; `input1` and `input2`.
    pub names: NtStrings,
    /// 1 for an input of integers, which are given to `nt_model_with_inputs`; 0 for one whose numbers are part of `x`.
    pub is_integer: *const u8,
    /// 1 where the model's first layers fix the shape; where they do not, `sizes` has none of it.
    pub has_shape: *const u8,
    /// Where the sizes of each begin in `sizes`, and the end of the last: `count + 1` entries.
    pub shape_starts: *const usize,
    /// The sizes of all; `NT_ANY_SIZE` for one that the caller chooses.
    pub sizes: *const usize,
}

/// Sizes of dimensions, the first first.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NtSizes {
    /// How many dimensions there are.
    pub rank: usize,
    /// Their sizes; `NT_ANY_SIZE` for one that the caller chooses.
    pub sizes: *const usize,
}

/// Stands for a size that is not fixed. Spelled for C in `cbindgen.toml`.
pub const NT_ANY_SIZE: usize = usize::MAX;

/// What [`NtModules`] points into.
struct Modules {
    kinds: Vec<NtModuleKind>,
    paths: Strings,
    classes: Strings,
    descriptions: Strings,
    reasons: Strings,
    parameters: Vec<usize>,
}

/// What [`NtInputs`] points into.
struct Inputs {
    names: Strings,
    is_integer: Vec<u8>,
    has_shape: Vec<u8>,
    shape_starts: Vec<usize>,
    sizes: Vec<usize>,
}

/// What [`NtAttributes`] points into.
struct Attributes {
    names: Strings,
    kinds: Strings,
    values: Strings,
    numbers: Vec<f64>,
}

impl NtModel {
    /// The module of a file, at its root or elsewhere in it.
    pub fn of_file(file: Arc<Checkpoint>, module: Module) -> Self {
        Self::new(vec![file], Model::Module(module))
    }

    fn root(file: Arc<Checkpoint>) -> Result<Self> {
        let model = file.model()?;
        Ok(Self::new(vec![file], model))
    }

    fn new(files: Vec<Arc<Checkpoint>>, root: Model) -> Self {
        Self::part(files, Arc::new(root), String::new())
    }

    fn part(files: Vec<Arc<Checkpoint>>, root: Arc<Model>, path: String) -> Self {
        Self {
            files,
            root,
            path,
            given: None,
            modules: OnceLock::new(),
            tensors: OnceLock::new(),
            attributes: OnceLock::new(),
            inputs: OnceLock::new(),
            input: OnceLock::new(),
        }
    }

    /// The same model for inputs of these shapes and with these integers.
    fn with_inputs(&self, shapes: &[Vec<Dim>], integers: &[i64]) -> Result<Self> {
        let graph = match self.graph_given(shapes, integers) {
            Ok(graph) => Ok(Arc::new(graph)),
            Err(error)
                if error.kind() == ErrorKind::Unsupported
                    && matches!(*self.root, Model::Script(_) | Model::Program(_)) =>
            {
                Err(error)
            }
            Err(error) => return Err(error),
        };
        let model = Self::part(self.files.clone(), Arc::clone(&self.root), self.path.clone());
        Ok(Self { given: Some(Given { shapes: shapes.to_vec(), integers: integers.to_vec(), graph }), ..model })
    }

    /// The graph for inputs of these shapes, whose sizes may be open.
    fn graph_of(&self, shapes: &[Vec<Dim>]) -> Result<Graph> {
        match self.kind() {
            Kind::Module(module) => module.graph_of(shapes),
            Kind::Program(program) => program.graph_of(shapes),
        }
    }

    /// The same with integers, which are inputs no more.
    fn graph_given(&self, shapes: &[Vec<Dim>], integers: &[i64]) -> Result<Graph> {
        match self.kind() {
            Kind::Module(module) => module.graph_of(shapes)?.with_integers(integers),
            Kind::Program(program) => program.graph_given(Some(shapes), integers),
        }
    }

    /// The graph for what the model asks for by itself, with sizes open that it leaves open.
    fn open_graph(&self) -> Result<Graph> {
        match (&self.given, self.kind()) {
            (Some(given), _) => given.graph.as_deref().cloned().map_err(Error::clone),
            (None, Kind::Module(module)) => module.graph(None),
            (None, Kind::Program(program)) => program.graph(None),
        }
    }

    fn kind(&self) -> Kind<'_> {
        match &*self.root {
            Model::Module(root) => {
                Kind::Module(root.submodule(&self.path).expect("the path was found when the part was made"))
            }
            program => Kind::Program(program),
        }
    }

    /// The module; an error for a program.
    fn module(&self) -> Result<&Module> {
        self.root.expect_module("layers")?;
        match self.kind() {
            Kind::Module(module) => Ok(module),
            Kind::Program(_) => Err(Error::internal("a program is no module")),
        }
    }

    /// The concrete graph for an input of this shape; without one, for the default shape with one example in its batch.
    pub fn graph(&self, shape: Option<&[usize]>) -> Result<Graph> {
        if let Some(given) = &self.given {
            return match shape {
                None => given.graph.as_deref().cloned().map_err(Error::clone),
                Some(_) => Err(shapes_are_given()),
            };
        }
        let shape = shape.map(dims);
        match (self.kind(), shape) {
            (Kind::Module(module), Some(shape)) => module.graph(Some(&shape)),
            (Kind::Program(program), Some(shape)) => program.graph_of(&[shape]),
            (Kind::Module(module), None) => module.example(),
            (Kind::Program(program), None) => program.example(),
        }
    }

    /// The function for an input of this shape, as [`NtModel::graph`] takes it.
    pub fn function(&self, shape: Option<&[usize]>, dtype: DType, backend: Backend) -> Result<Function> {
        // Programs run on libtorch whatever their operations.
        if !matches!((&*self.root, backend), (Model::Script(_) | Model::Program(_), Backend::Libtorch(_))) {
            return Function::compile_for(&self.graph(shape)?, dtype, backend);
        }
        let compile = |shapes: Option<&[Vec<Dim>]>, integers: &[i64]| {
            Function::of_model(&self.root, shapes, integers, dtype, backend)
        };
        match (&self.given, shape) {
            (Some(given), None) => compile(Some(&given.shapes), &given.integers),
            (Some(_), Some(_)) => Err(shapes_are_given()),
            (None, shape) => compile(shape.map(|shape| vec![dims(shape)]).as_deref(), &[]),
        }
    }

    fn modules(&self) -> &Modules {
        self.modules.get_or_init(|| {
            let root = match self.kind() {
                Kind::Module(module) => module,
                Kind::Program(program) => return Modules::of_program(program),
            };
            let all: Vec<&Module> = root.modules().collect();
            let mut blocking = root.unsupported().into_iter().peekable();
            let reasons: Vec<String> = all
                .iter()
                .map(|module| {
                    let reason = blocking.next_if(|(other, _)| std::ptr::eq(*other, *module));
                    reason.map(|(_, reason)| reason).unwrap_or_default()
                })
                .collect();
            Modules {
                kinds: all.iter().map(|module| kind(module.layer())).collect(),
                paths: all.iter().map(|module| module.path()).collect(),
                classes: all.iter().map(|module| module.class()).collect(),
                descriptions: all.iter().map(|module| module.describe()).collect(),
                reasons: reasons.into_iter().collect(),
                parameters: all.iter().map(|module| module.parameter_count()).collect(),
            }
        })
    }

    /// The parameters and buffers under their names in the state dict.
    fn tensors(&self) -> &Tensors {
        self.tensors.get_or_init(|| {
            let named = |module: &Module, tensor: &ModuleTensor| {
                let below = module.path().strip_prefix(&self.path).unwrap_or(module.path());
                let below = below.strip_prefix('.').unwrap_or(below);
                let name = if below.is_empty() { tensor.name.clone() } else { format!("{below}.{}", tensor.name) };
                let info = TensorInfo { is_parameter: tensor.is_parameter, ..tensor.info.clone() };
                NamedTensor { name, info, tensor: tensor.tensor.clone() }
            };
            let root = match self.kind() {
                Kind::Module(module) => module,
                Kind::Program(program) => return Tensors::new(program.program_tensors()),
            };
            Tensors::new(
                root.modules().flat_map(|module| module.tensors().iter().map(move |t| named(module, t))).collect(),
            )
        })
    }

    fn attributes(&self) -> &Attributes {
        self.attributes.get_or_init(|| {
            let all = match self.kind() {
                Kind::Program(_) => &[],
                Kind::Module(module) => match module.layer() {
                    Layer::Custom(custom) => custom.attributes(),
                    _ => module.other_attributes(),
                },
            };
            let number = |value: &load::Value| value.as_f64().or(value.as_bool().map(f64::from)).unwrap_or(f64::NAN);
            Attributes {
                names: all.iter().map(|(name, _)| name).collect(),
                kinds: all.iter().map(|(_, value)| value.kind()).collect(),
                values: all.iter().map(|(_, value)| value.as_str().map_or(value.to_string(), str::to_owned)).collect(),
                numbers: all.iter().map(|(_, value)| number(value)).collect(),
            }
        })
    }

    /// The graph for the inputs that were given.
    fn given_graph(&self) -> Option<&Graph> {
        self.given.as_ref().and_then(|given| given.graph.as_deref().ok())
    }

    fn inputs(&self) -> &Inputs {
        self.inputs.get_or_init(|| {
            let all = match self.given_graph() {
                Some(graph) => ModuleInput::of(graph),
                None => match self.kind() {
                    Kind::Module(module) => module.inputs(),
                    Kind::Program(program) => program.inputs(),
                },
            };
            let shapes: Vec<Vec<usize>> =
                all.iter().map(|input| sizes(input.shape.as_deref().unwrap_or(&[]))).collect();
            Inputs {
                names: all.iter().map(|input| &input.name).collect(),
                is_integer: all.iter().map(|input| (!input.dtype.is_float()).into()).collect(),
                has_shape: all.iter().map(|input| input.shape.is_some().into()).collect(),
                shape_starts: starts(&shapes),
                sizes: shapes.concat(),
            }
        })
    }

    fn input(&self) -> Result<&[usize]> {
        let shape = self.input.get_or_init(|| {
            let inputs = match (self.given_graph(), self.kind()) {
                (Some(graph), _) => ModuleInput::of(graph),
                (None, Kind::Module(module)) => ModuleInput::of(&module.graph(None)?),
                (None, Kind::Program(program)) => program.inputs(),
            };
            match &inputs[..] {
                [input] => Ok(sizes(input.shape.as_deref().unwrap_or(&[]))),
                all => Err(Error::argument(format!("the model has {} inputs; nt_model_inputs lists them", all.len()))),
            }
        });
        shape.as_deref().map_err(Error::clone)
    }
}

/// What a model is: a part of a module, or a program.
enum Kind<'a> {
    Module(&'a Module),
    /// A program, of torch.export or TorchScript.
    Program(&'a Model),
}

impl Modules {
    /// The one entry that stands for a program.
    fn of_program(program: &Model) -> Self {
        let reasons = program.unsupported().into_iter().map(|(name, reason)| format!("{name}: {reason}"));
        let reasons: Vec<String> = reasons.collect();
        let class = program.class();
        let class = class.as_str();
        Self {
            kinds: vec![NT_MODULE_PROGRAM],
            paths: [""].into_iter().collect(),
            classes: [class].into_iter().collect(),
            descriptions: [class.rsplit('.').next().unwrap_or(class)].into_iter().collect(),
            reasons: [reasons.join("\n")].into_iter().collect(),
            parameters: vec![program.parameter_count()],
        }
    }
}

fn shapes_are_given() -> Error {
    Error::argument("the model's inputs were given with their shapes; pass NULL for the shape")
}

fn dims(shape: &[usize]) -> Vec<Dim> {
    shape.iter().map(|&size| Dim::Size(size)).collect()
}

fn sizes(shape: &[Dim]) -> Vec<usize> {
    shape.iter().map(|dim| dim.size().unwrap_or(NT_ANY_SIZE)).collect()
}

/// Where the sizes of each begin when they stand one after another, and the end of the last.
fn starts(shapes: &[Vec<usize>]) -> Vec<usize> {
    let ends = shapes.iter().scan(0, |end, shape| {
        *end += shape.len();
        Some(*end)
    });
    std::iter::once(0).chain(ends).collect()
}

fn kind(layer: &Layer) -> NtModuleKind {
    match layer {
        Layer::Sequential => NT_MODULE_SEQUENTIAL,
        Layer::Standard(_) => NT_MODULE_STANDARD,
        Layer::Custom(_) => NT_MODULE_CUSTOM,
        Layer::Unsupported { .. } => NT_MODULE_UNSUPPORTED,
    }
}

/// Opens a file that `torch.save(model, path)`, with any version of torch, or `torch.export.save(program, path)` wrote,
/// without Python and whatever the file is called.
///
/// What the file claims is checked before memory is taken; nothing that it names is called. The numbers of its tensors are
/// read when they are first used, so the file must not be changed in place while the model lives. Layers that are not
/// supported do not fail here: see `nt_model_modules`.
///
/// `NT_ERROR_IO`: the file cannot be read. `NT_ERROR_FORMAT`: it is damaged. `NT_ERROR_UNSUPPORTED`: it is of another
/// kind, or holds no module; what it holds then, `nt_value_open` gives.
///
/// `out` receives the model, to be freed with `nt_model_destroy`; NULL on failure.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_model_open(path: NtStr, out: Option<&mut MaybeUninit<Option<Box<NtModel>>>>) -> NtStatus {
    construct(out, || source::open(path).and_then(NtModel::root))
}

/// The same for a file in memory: `bytes`, which are not copied and must stay as they are until `release` is called with
/// `context`. That happens once, when the last value or model of the file is freed, or before this returns where it fails.
/// Where `release` is NULL, they must stay for as long as a value or model of the file lives.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_model_open_bytes(
    bytes: NtBytes,
    release: NtRelease,
    context: *mut c_void,
    out: Option<&mut MaybeUninit<Option<Box<NtModel>>>>,
) -> NtStatus {
    source::opened(|| source::open_bytes(bytes, release, context), out, NtModel::root)
}

/// The same for a file behind a reader, which is called whenever a part of the file is needed, and is released when the
/// last value or model of the file is freed, or before this returns where it fails.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_model_open_reader(
    reader: Option<&NtReader>,
    out: Option<&mut MaybeUninit<Option<Box<NtModel>>>>,
) -> NtStatus {
    source::opened(|| source::open_reader(reader), out, NtModel::root)
}

/// Frees a model; NULL is allowed. Pointers that the model gave out are then invalid.
#[unsafe(no_mangle)]
pub extern "C" fn nt_model_destroy(model: Option<Box<NtModel>>) -> NtStatus {
    guard(|| {
        drop(model);
        Ok(())
    })
}

/// The part of a model at a path of `nt_model_modules`, as a model of its own that shares the file: a layer, or the
/// children of a custom layer, to be evaluated or formulated alone.
///
/// `NT_ERROR_ARGUMENT`: there is no module of this path.
///
/// `out` receives the part, to be freed with `nt_model_destroy`; NULL on failure. It may outlive the model.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_model_submodule(
    model: Option<&NtModel>,
    path: NtStr,
    out: Option<&mut MaybeUninit<Option<Box<NtModel>>>>,
) -> NtStatus {
    construct(out, || {
        let model = required(model, "model")?;
        let path = text(path, "path")?;
        if model.module()?.submodule(path).is_none() {
            return Err(Error::argument(format!(
                "there is no module `{path}`; the paths are those of nt_model_modules"
            )));
        }
        Ok(NtModel::part(model.files.clone(), Arc::clone(&model.root), path.to_owned()))
    })
}

/// One of torch's own layers, made from its attributes instead of read from a file.
///
/// `kind` is its short name, `Conv2d`; `attributes` are those that torch stores of it, as Python writes arguments:
/// `kernel_size=(2, 2), stride=1`. `weight` and `bias` are its parameters, flat and row-major, with their sizes; where
/// the sizes are NULL there is none.
///
/// `NT_ERROR_ARGUMENT`: there is no such layer, the attributes cannot be read, a length is not the product of the sizes.
/// `NT_ERROR_FORMAT`: an attribute is missing or wrong. `NT_ERROR_UNSUPPORTED`: the layer is not supported in this form.
///
/// `out` receives the layer, to be freed with `nt_model_destroy`; NULL on failure.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_model_layer(
    kind: NtStr,
    attributes: NtStr,
    weight_shape: NtShape,
    weight: NtSlice,
    bias_shape: NtShape,
    bias: NtSlice,
    out: Option<&mut MaybeUninit<Option<Box<NtModel>>>>,
) -> NtStatus {
    construct(out, || {
        let tensors =
            [("weight", tensor("weight", weight_shape, weight)?), ("bias", tensor("bias", bias_shape, bias)?)];
        // Layers without parameters have no such entries.
        let given = if tensors[0].1.is_some() { &tensors[..] } else { &[] };
        let module = Module::layer_of(text(kind, "kind")?, text(attributes, "attributes")?, given)?;
        Ok(NtModel::new(Vec::new(), Model::Module(module)))
    })
}

fn tensor(name: &str, shape: NtShape, numbers: NtSlice) -> Result<Option<Tensor>> {
    let Some(shape) = self::shape(shape)? else { return Ok(None) };
    let count = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
    let numbers = read(numbers, name, count.unwrap_or(1))?;
    if count != Some(numbers.len()) {
        return Err(Error::argument(format!("{name} has length {}, but the shape {shape:?}", numbers.len())));
    }
    Ok(Some(Tensor::from_slice(shape, numbers)))
}

/// Models one after another as one model, which shares what they hold.
///
/// `paths` names each for error messages and for the layers of formulations: one line for each, none empty, none twice.
///
/// `NT_ERROR_ARGUMENT`: there are more or fewer paths than models, or a path is empty or there twice.
///
/// `out` receives the chain, to be freed with `nt_model_destroy`; NULL on failure. It may outlive the models.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_model_chain(
    models: NtModels,
    paths: NtStr,
    out: Option<&mut MaybeUninit<Option<Box<NtModel>>>>,
) -> NtStatus {
    construct(out, || {
        let models = if models.is_none() { &[] } else { list(models, "models")? };
        let models = models.iter().map(|&model| required(model, "a model")).collect::<Result<Vec<&NtModel>>>()?;
        let paths: Vec<&str> = text(paths, "paths")?.lines().collect();
        if paths.len() != models.len() {
            return Err(Error::argument(format!("{} paths are given for {} models", paths.len(), models.len())));
        }
        let modules = models.iter().map(|model| model.module()).collect::<Result<Vec<&Module>>>()?;
        let parts: Vec<(&str, &Module)> = paths.into_iter().zip(modules).collect();
        let mut files: Vec<Arc<Checkpoint>> = models.iter().flat_map(|model| model.files.iter().cloned()).collect();
        files.dedup_by(|a, b| Arc::ptr_eq(a, b));
        Ok(NtModel::new(files, Model::Module(Module::chain(&parts)?)))
    })
}

/// The modules of a model as one table, for printing and for finding what is not supported. `out` receives pointers
/// that are valid as long as the model.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_model_modules(model: Option<&NtModel>, out: Option<&mut MaybeUninit<NtModules>>) -> NtStatus {
    guard(|| {
        let table = required(model, "model")?.modules();
        let modules = NtModules {
            count: table.kinds.len(),
            kinds: table.kinds.as_ptr(),
            paths: table.paths.as_c(),
            classes: table.classes.as_c(),
            descriptions: table.descriptions.as_c(),
            reasons: table.reasons.as_c(),
            parameters: table.parameters.as_ptr(),
        };
        give(out, modules)
    })
}

/// The parameters and buffers of a model as one table. `out` receives pointers that are valid as long as the model.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_model_tensors(model: Option<&NtModel>, out: Option<&mut MaybeUninit<NtTensors>>) -> NtStatus {
    guard(|| give(out, required(model, "model")?.tensors().as_c()))
}

/// The numbers of tensor `index` of `nt_model_tensors`, flat and row-major, converted to double; the first use checks the
/// CRC of the record in the file. `values` has as many elements as the tensor, or twice as many where it is complex: the
/// real and the imaginary part in turn.
///
/// `NT_ERROR_FORMAT`: the record is damaged. `NT_ERROR_UNSUPPORTED`: the tensor cannot be used; see `reasons`.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_model_tensor_values(model: Option<&NtModel>, index: usize, values: NtSliceMut) -> NtStatus {
    guard(|| required(model, "model")?.tensors().values(index, values))
}

/// The attributes of the model's own module, not of those in it: of a custom layer, what its forward may need. Empty
/// for layers of torch's own, whose attributes stand in the description. `out` receives pointers that are valid as long
/// as the model.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_model_attributes(
    model: Option<&NtModel>,
    out: Option<&mut MaybeUninit<NtAttributes>>,
) -> NtStatus {
    guard(|| {
        let table = required(model, "model")?.attributes();
        let attributes = NtAttributes {
            count: table.numbers.len(),
            names: table.names.as_c(),
            kinds: table.kinds.as_c(),
            values: table.values.as_c(),
            numbers: table.numbers.as_ptr(),
        };
        give(out, attributes)
    })
}

/// The shape of input that the model asks for by itself: `[NT_ANY_SIZE, 64]` where it begins with a Linear layer of 64
/// features. `out` receives pointers that are valid as long as the model.
///
/// `NT_ERROR_ARGUMENT`: its first layers do not fix the shape; the message names the layer that needs it.
/// `NT_ERROR_UNSUPPORTED`: it has a layer that is not supported.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_model_input_shape(model: Option<&NtModel>, out: Option<&mut MaybeUninit<NtSizes>>) -> NtStatus {
    guard(|| {
        let sizes = required(model, "model")?.input()?;
        give(out, NtSizes { rank: sizes.len(), sizes: sizes.as_ptr() })
    })
}

/// What the model takes: names, which inputs hold integers, and the shapes where its first layers fix them. Of a model
/// of `nt_model_with_inputs`, the inputs that are left. `out` receives pointers that are valid as long as the model.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_model_inputs(model: Option<&NtModel>, out: Option<&mut MaybeUninit<NtInputs>>) -> NtStatus {
    guard(|| {
        let table = required(model, "model")?.inputs();
        let inputs = NtInputs {
            count: table.is_integer.len(),
            names: table.names.as_c(),
            is_integer: table.is_integer.as_ptr(),
            has_shape: table.has_shape.as_ptr(),
            shape_starts: table.shape_starts.as_ptr(),
            sizes: table.sizes.as_ptr(),
        };
        give(out, inputs)
    })
}

/// The same model, which shares the file, for inputs of these shapes and with these integers: for models of two inputs
/// (Bilinear, CosineSimilarity, PairwiseDistance) and of integers (those that begin with Embedding). Functions and
/// formulations are made of it with NULL for the shape. Other integers are another such model.
///
/// `ranks` are the numbers of dimensions of the inputs in the order of `nt_model_inputs`, `sizes` the sizes of all, one
/// input after the other. `integers` are those of all inputs of integers, flat and row-major, in the same order, counted
/// from 0 as torch does; NULL where there are none. `x` consists of the other inputs.
///
/// `NT_ERROR_ARGUMENT`: more or fewer inputs, sizes or integers than there should be, a shape that does not fit, or an
/// integer that is no row of the table; the message names it. `NT_ERROR_UNSUPPORTED`: a layer is custom or not supported.
///
/// `out` receives the model, to be freed with `nt_model_destroy`; NULL on failure. It may outlive the first one.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_model_with_inputs(
    model: Option<&NtModel>,
    ranks: NtShape,
    sizes: NtShape,
    integers: NtIntegers,
    out: Option<&mut MaybeUninit<Option<Box<NtModel>>>>,
) -> NtStatus {
    construct(out, || {
        let model = required(model, "model")?;
        let integers = if integers.is_none() { &[] } else { list(integers, "integers")? };
        model.with_inputs(&shapes(ranks, sizes)?, integers)
    })
}

/// The shapes of inputs: the numbers of dimensions, and all sizes one after the other. Each that the caller chooses is a
/// symbol of its own.
fn shapes(ranks: NtShape, sizes: NtShape) -> Result<Vec<Vec<Dim>>> {
    let ranks = list(ranks, "ranks")?;
    let sizes = if sizes.is_none() { &[] } else { list(sizes, "sizes")? };
    let expected = ranks.iter().fold(0usize, |sum, &rank| sum.saturating_add(rank));
    if expected != sizes.len() {
        let message = format!("{} sizes are given, but the ranks add up to {expected}", sizes.len());
        return Err(Error::argument(message));
    }
    let dim = |(at, &size): (usize, &usize)| match size {
        NT_ANY_SIZE => Dim::symbol(&format!("s{at}")),
        size => Dim::Size(size),
    };
    let mut dims = sizes.iter().enumerate().map(dim);
    Ok(ranks.iter().map(|&rank| dims.by_ref().take(rank).collect()).collect())
}

/// Writes the model to a file that torch 2.13 loads and runs, with the weights under their names.
///
/// `format` is `pt2` (`torch.export.load`) or `torchscript` (`torch.jit.load`); NULL for the one that the path ends with,
/// `.pt2` or `.pt`. `dtype` is what the file computes in and stores its weights in, `float64` or `float32`; NULL for what
/// the weights are.
///
/// `ranks` and `sizes` are those of the inputs, as for `nt_model_with_inputs`; `NT_ANY_SIZE` leaves a size open, where the
/// model's layers work with any. NULL for what the model asks for by itself, and for a model of `nt_model_with_inputs`,
/// whose integers then stand in the file.
///
/// `NT_ERROR_ARGUMENT`: a path, format, dtype or shape that does not fit. `NT_ERROR_UNSUPPORTED`: a layer is custom or not
/// supported, or cannot be written for open sizes; the message names it. `NT_ERROR_IO`: the file cannot be written; one
/// that was there is as it was.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_model_write(
    model: Option<&NtModel>,
    path: NtStr,
    format: NtStr,
    dtype: NtStr,
    ranks: NtShape,
    sizes: NtShape,
) -> NtStatus {
    guard(|| {
        let model = required(model, "model")?;
        let path = Path::new(text(path, "path")?);
        let format = optional_text(format, "format")?.map_or_else(|| Format::of(path), str::parse)?;
        let named = |name: &str| {
            DType::from_name(name).ok_or_else(|| Error::argument(format!("dtype is `{name}`; give float64 or float32")))
        };
        let dtype = optional_text(dtype, "dtype")?.map(named).transpose()?;
        let graph = match (&model.given, ranks.is_none()) {
            (_, true) => model.open_graph()?,
            (Some(_), false) => return Err(shapes_are_given()),
            (None, false) => model.graph_of(&shapes(ranks, sizes)?)?,
        };
        save::to_file(&graph, format, dtype.unwrap_or_else(|| save::trained_in(&graph)), path)
    })
}

/// Checks the CRC-32 of every record of the model's file, whose numbers are otherwise checked when they are first used.
///
/// `NT_ERROR_FORMAT`: a record is damaged; the message names it.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_model_verify(model: Option<&NtModel>) -> NtStatus {
    guard(|| required(model, "model")?.files.iter().try_for_each(|file| file.verify(&mut |_, _| {})))
}
