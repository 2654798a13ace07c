//! Records to a tree of modules.

mod compose;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
};

use super::{
    fields::Fields,
    layers::{self, Standard},
    records::{Global, Object, RecordId, printable},
    tensors::TensorInfo,
    value::{Records, Value, View},
    walk::{DEPTH_LIMIT, cut},
};
use crate::{Error, ErrorKind, Result, tensor::Tensor};

/// A model may have this many modules; one that is used in several places counts as often.
const MODULES_LIMIT: usize = 1 << 16;
/// All paths together may take this many bytes.
const PATHS_LIMIT: usize = 1 << 24;

/// A module of the model, at one of the places where it is used.
pub struct Module {
    path: String,
    body: Arc<Body>,
    children: Vec<Module>,
}

/// What is the same wherever a module is used.
#[derive(Debug)]
struct Body {
    class: String,
    layer: Layer,
    tensors: Vec<ModuleTensor>,
    attributes: Vec<(String, Value)>,
}

/// What a module computes.
#[derive(Clone, Debug)]
pub enum Layer {
    /// Its children, one after another.
    Sequential,
    /// One of torch's own layers.
    Standard(Standard),
    /// A class that torch does not define: its forward is not in the file, so that the caller must supply it.
    Custom(Custom),
    /// Something that cannot be used.
    Unsupported {
        /// Why, and what to do.
        reason: String,
    },
}

/// The attributes of a class that torch does not define. Its tensors and children are its [`Module`]'s.
#[derive(Clone, Debug)]
pub struct Custom {
    attributes: Vec<(String, Value)>,
}

impl Custom {
    /// Its attributes in the file's order, without those that every `nn.Module` has.
    pub fn attributes(&self) -> &[(String, Value)] {
        &self.attributes
    }

    /// An attribute by name.
    pub fn attribute(&self, name: &str) -> Option<&Value> {
        self.attributes.iter().find(|entry| entry.0 == name).map(|entry| &entry.1)
    }
}

/// A parameter or a buffer of one module.
#[derive(Clone, Debug)]
pub struct ModuleTensor {
    /// Its name in the module, `weight`.
    pub name: String,
    /// What the file says of it, also where it cannot be used.
    pub info: TensorInfo,
    /// The tensor; an error where its kind is not supported.
    pub tensor: Result<Tensor>,
    /// Whether it is a parameter, not a buffer.
    pub is_parameter: bool,
}

impl Module {
    /// The names that lead from the root to it, joined by dots: `2.0`. The root's path is empty.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The name of its class with its Python module.
    pub fn class(&self) -> &str {
        &self.body.class
    }

    /// What it computes.
    pub fn layer(&self) -> &Layer {
        &self.body.layer
    }

    /// The modules in it, in the file's order.
    pub fn children(&self) -> &[Module] {
        &self.children
    }

    /// Its own parameters and buffers, not its children's.
    pub fn tensors(&self) -> &[ModuleTensor] {
        &self.body.tensors
    }

    /// One of its own tensors; `None` where there is none of this name.
    pub fn tensor(&self, name: &str) -> Option<&Result<Tensor>> {
        self.tensors().iter().find(|tensor| tensor.name == name).map(|tensor| &tensor.tensor)
    }

    /// Attributes of one of torch's layers that its class does not define, so that its forward never reads them; of a
    /// layer that is not supported, all attributes.
    pub fn other_attributes(&self) -> &[(String, Value)] {
        &self.body.attributes
    }

    /// The number of elements of its own parameters.
    pub fn parameter_count(&self) -> usize {
        let parameters = self.tensors().iter().filter(|tensor| tensor.is_parameter);
        parameters.filter_map(|p| p.tensor.as_ref().ok()).fold(0, |n, tensor| n.saturating_add(tensor.numel()))
    }

    /// The number of elements of all parameters of the model, those that several modules share counted once.
    pub fn total_parameter_count(&self) -> usize {
        let mut seen = HashSet::new();
        let tensors = self.modules().flat_map(Module::tensors).filter(|tensor| tensor.is_parameter);
        let new = |tensor: &&Tensor| {
            let storage = Arc::as_ptr(tensor.storage());
            seen.insert((storage, tensor.offset(), tensor.shape().to_vec(), tensor.strides().to_vec()))
        };
        let counts = tensors.filter_map(|p| p.tensor.as_ref().ok()).filter(new).map(Tensor::numel);
        counts.fold(0, usize::saturating_add)
    }

    /// How error messages name it: ``layer `2.0` (torch.nn.modules.linear.Linear)``.
    pub fn place(&self) -> String {
        place(&self.path, self.class())
    }

    /// The class's short name with its attributes: `Linear(in_features=64, out_features=32, bias=True)`.
    pub fn describe(&self) -> String {
        let name = self.class().rsplit('.').next().unwrap_or_default();
        // Of a class that has no rule, what is a number, a bool or a text.
        let plain = |attributes: &[(String, Value)]| -> Vec<String> {
            let is_plain =
                |value: &Value| value.as_f64().is_some() || value.as_bool().is_some() || value.as_str().is_some();
            let plain = attributes.iter().filter(|(_, value)| is_plain(value));
            plain.take(8).map(|(name, value)| format!("{name}={value}")).collect()
        };
        let arguments: Vec<String> = match self.layer() {
            Layer::Standard(layer) => layer.arguments().iter().map(|(name, value)| format!("{name}={value}")).collect(),
            Layer::Custom(custom) => plain(&custom.attributes),
            Layer::Unsupported { .. } => plain(self.other_attributes()),
            Layer::Sequential => Vec::new(),
        };
        format!("{name}({})", arguments.join(", "))
    }

    /// The module and all below it, each in front of its children.
    pub fn modules(&self) -> impl Iterator<Item = &Module> {
        let mut stack = vec![self];
        std::iter::from_fn(move || {
            let module = stack.pop()?;
            stack.extend(module.children.iter().rev());
            Some(module)
        })
    }

    /// The layers in order: all modules but those that only hold others one after another.
    pub fn layers(&self) -> impl Iterator<Item = &Module> {
        self.modules().filter(|module| !matches!(module.layer(), Layer::Sequential))
    }

    /// The module of this path below this one's root.
    pub fn submodule(&self, path: &str) -> Option<&Module> {
        self.modules().find(|module| module.path == path)
    }

    /// Every module that keeps the model from becoming a graph, with the reason.
    pub fn unsupported(&self) -> Vec<(&Module, String)> {
        let mut found = Vec::new();
        let mut stack = vec![self];
        while let Some(module) = stack.pop() {
            match module.layer() {
                Layer::Sequential => stack.extend(module.children.iter().rev()),
                Layer::Standard(_) => {}
                Layer::Custom(_) => found.push((module, CUSTOM_REASON.to_owned())),
                Layer::Unsupported { reason } => found.push((module, reason.clone())),
            }
        }
        found
    }
}

/// Why a custom layer does not become a graph by itself.
pub(super) const CUSTOM_REASON: &str = "torch does not define this class, and the file holds its tensors but not its \
                                        forward; supply the layer yourself, or build the model of torch's own layers";

impl Drop for Module {
    /// Without recursion, however deep the model nests.
    fn drop(&mut self) {
        let mut stack = std::mem::take(&mut self.children);
        while let Some(mut module) = stack.pop() {
            stack.append(&mut module.children);
        }
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Module({}, {} modules)", self.place(), self.modules().count())
    }
}

fn place(path: &str, class: &str) -> String {
    if path.is_empty() { format!("the model ({class})") } else { format!("layer `{}` ({class})", cut(path)) }
}

/// The tree of the module that a record is.
pub(super) fn read(records: &Arc<Records>, root: RecordId) -> Result<Module> {
    let mut reader =
        Reader { records, bodies: HashMap::new(), open: HashSet::new(), heights: HashMap::new(), modules: 0, bytes: 0 };
    let mut frames = vec![reader.open(String::new(), root)?];
    loop {
        let depth = frames.len();
        let Some(frame) = frames.last_mut() else { return Err(Error::internal("no module is being read")) };
        if let Some((name, id)) = frame.rest.next() {
            let path = if frame.module.path.is_empty() { name } else { format!("{}.{name}", frame.module.path) };
            if depth >= DEPTH_LIMIT {
                return Err(Error::unsupported(format!(
                    "module `{}` is nested more than {DEPTH_LIMIT} levels deep",
                    cut(&path)
                )));
            }
            frames.push(reader.open(path, id)?);
            continue;
        }
        let Some(Frame { id, module, .. }) = frames.pop() else { continue };
        reader.open.remove(&id);
        match frames.last_mut() {
            Some(parent) => parent.module.children.push(module),
            None => return Ok(module),
        }
    }
}

/// A module whose children are being read.
struct Frame {
    id: RecordId,
    module: Module,
    rest: std::vec::IntoIter<(String, RecordId)>,
}

/// A module as it is wherever it is used, with the names and records of its children.
#[derive(Clone)]
struct Shared {
    body: Arc<Body>,
    children: Vec<(String, RecordId)>,
}

struct Reader<'a> {
    records: &'a Arc<Records>,
    bodies: HashMap<RecordId, Shared>,
    open: HashSet<RecordId>,
    /// How deep the attributes nest that have been checked.
    heights: HashMap<RecordId, usize>,
    modules: usize,
    bytes: usize,
}

impl Reader<'_> {
    fn open(&mut self, path: String, id: RecordId) -> Result<Frame> {
        self.modules += 1;
        self.bytes += path.len();
        if self.modules > MODULES_LIMIT || self.bytes > PATHS_LIMIT {
            return Err(Error::unsupported(format!(
                "the model has too many modules: at most {MODULES_LIMIT}, with {PATHS_LIMIT} bytes of paths, are read"
            )));
        }
        if !self.open.insert(id) {
            return Err(Error::format(format!("module `{}` contains itself", cut(&path))));
        }
        if !self.bodies.contains_key(&id) {
            let body = self.body(&path, id)?;
            self.bodies.insert(id, body);
        }
        let Shared { body, children } = self.bodies[&id].clone();
        Ok(Frame { id, module: Module { path, body, children: Vec::new() }, rest: children.into_iter() })
    }

    fn body(&mut self, path: &str, id: RecordId) -> Result<Shared> {
        let View::Object(object) = self.records.view(id) else {
            return Err(Error::format(format!(
                "`{}` stands among the modules (`_modules`), but is a {}",
                cut(path),
                self.records.kind(id)
            )));
        };
        let class = self.records.class(object);
        let class = class.ok_or_else(|| Error::format(format!("module `{}` has no class", cut(path))))?;
        let in_place = |error: Error| error.at(place(path, &class.to_string()));
        if is_torch(class) && !self.is_bare(object) {
            return Err(in_place(Error::format("it is made with arguments, which no module of torch's is")));
        }
        let fields = Fields::new(self.records, object, path).map_err(in_place)?;
        let layer = layer(class, &fields).map_err(in_place)?;
        if matches!(layer, Layer::Sequential | Layer::Standard(_)) {
            fields.check_others(&mut self.heights).map_err(in_place)?;
        }
        let tensors = fields.tensors().map_err(in_place)?;
        let attributes = if matches!(layer, Layer::Custom(_)) { Vec::new() } else { fields.others() };
        let children = fields.children().iter().map(|&(name, id)| (printable(name).into_owned(), id));
        // A child may be None; only a Sequential would call it.
        let is_none = |id| matches!(self.records.view(id), View::None);
        if matches!(layer, Layer::Sequential)
            && let Some((name, _)) = fields.children().iter().find(|entry| is_none(entry.1))
        {
            return Err(in_place(Error::format(format!("its child `{}` is None", name.escape_debug()))));
        }
        let children = children.filter(|entry| !is_none(entry.1)).collect();
        Ok(Shared { body: Arc::new(Body { class: class.to_string(), layer, tensors, attributes }), children })
    }
}

impl Reader<'_> {
    /// Whether an object is made of its class alone; protocols 0 and 1 make it of `(class, object, None)`.
    fn is_bare(&self, object: &Object) -> bool {
        let arguments = self.records.pickle.tuple(object.args).map_or(0, <[_]>::len);
        let reconstructed = self.records.pickle.global(object.callable).is_some_and(|g| g.module == "copyreg");
        object.keywords.is_none() && arguments == if reconstructed { 3 } else { 0 }
    }
}

fn is_torch(class: &Global) -> bool {
    class.module == "torch" || class.module.starts_with("torch.")
}

/// What a module of this class computes.
fn layer(class: &Global, fields: &Fields) -> Result<Layer> {
    if let Some(reason) = altered(class, fields) {
        return Ok(Layer::Unsupported { reason });
    }
    let refused = |reason: Option<String>, layer: Layer| reason.map_or(layer, |reason| Layer::Unsupported { reason });
    if !is_torch(class) {
        return Ok(Layer::Custom(Custom { attributes: fields.others() }));
    }
    if (class.module.as_str(), class.name.as_str()) == ("torch.nn.modules.container", "Sequential") {
        return Ok(refused(fields.unread(false), Layer::Sequential));
    }
    let Some(read) = layers::reader(class) else { return Ok(Layer::Unsupported { reason: unknown(class) }) };
    match read(fields) {
        Ok(layer) => Ok(refused(fields.unread(true), Layer::Standard(layer))),
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            Ok(Layer::Unsupported { reason: error.message().to_owned() })
        }
        Err(error) => Err(error),
    }
}

/// What to do about a class of torch's that is not in the table.
fn unknown(class: &Global) -> String {
    match class.name.as_str() {
        "DataParallel" | "DistributedDataParallel" => {
            "this class spreads a model over devices; save the model in it with torch.save(model.module, path)"
                .to_owned()
        }
        "OptimizedModule" => {
            "this is a compiled model; save the one that it was made of with torch.save(model._orig_mod, path)"
                .to_owned()
        }
        "ModuleList" | "ModuleDict" | "ParameterList" | "ParameterDict" => {
            "this class holds modules but has no forward; use a Sequential".to_owned()
        }
        "RNN" | "LSTM" | "GRU" | "RNNCell" | "LSTMCell" | "GRUCell" | "MultiheadAttention" => {
            "recurrent layers and attention are not supported yet; build the model without them".to_owned()
        }
        "EmbeddingBag" => "bags of embeddings are not supported yet; use Embedding and sum its rows".to_owned(),
        name if name.starts_with("Transformer") => {
            "Transformer layers are not supported yet; build the model without them".to_owned()
        }
        _ => "this layer is not supported yet; build the model of other layers".to_owned(),
    }
}

/// Hooks that change a layer's values or its derivatives. Hooks around state dicts change neither, and are accepted.
const HOOKS: [(&str, &str); 4] = [
    ("_forward_hooks", "forward hook"),
    ("_forward_pre_hooks", "forward pre-hook"),
    ("_backward_hooks", "backward hook"),
    ("_backward_pre_hooks", "backward pre-hook"),
];

/// Methods that an attribute of the same name would stand in front of.
const METHODS: [&str; 5] = ["forward", "_call_impl", "_wrapped_call_impl", "_slow_forward", "_conv_forward"];

/// What makes a module compute something else than its class says, if anything does.
fn altered(class: &Global, fields: &Fields) -> Option<String> {
    for (dict, what) in HOOKS {
        let Some(hook) = fields.first_entry(dict) else { continue };
        let advice = match hook.trim_matches('`') {
            "torch.nn.utils.weight_norm.WeightNorm" => "call torch.nn.utils.remove_weight_norm(layer) before saving",
            "torch.nn.utils.spectral_norm.SpectralNorm" => {
                "call torch.nn.utils.remove_spectral_norm(layer) before saving"
            }
            hook if hook.starts_with("torch.nn.utils.prune.") => {
                "call torch.nn.utils.prune.remove(layer, name) before saving"
            }
            _ => "remove it with the handle that registering it gave, before saving",
        };
        return Some(format!("it has a {what} ({hook}) that may change what it computes; {advice}"));
    }
    let parametrized = class.name.starts_with("Parametrized") && is_torch(class);
    if parametrized || fields.children().iter().any(|entry| entry.0 == "parametrizations") {
        return Some(
            "it has parametrizations; call torch.nn.utils.parametrize.remove_parametrizations(layer, name) before saving"
                .to_owned(),
        );
    }
    if !is_torch(class) {
        return None;
    }
    let method = METHODS.iter().find(|method| fields.is_set(method));
    method.map(|method| {
        format!("its attribute `{method}` stands in front of the method of its class; save the model without it")
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{
            self, Code, boolean, call, dict, float, global, int, message, none, object, read_module, tensor, text,
            tuple,
        },
        *,
    };
    use crate::graph::{AvgPool, Dim, GeluKind, MaxPool, Op, Unary, format_shape};

    const SEQUENTIAL: &str = "torch.nn.modules.container.Sequential";

    fn layer(class: &str, attributes: &[(&str, Code)]) -> Code {
        object(&format!("torch.nn.modules.{class}"), &[], &[], attributes)
    }

    fn relu() -> Code {
        layer("activation.ReLU", &[])
    }

    fn linear(attributes: &[(&str, Code)]) -> Code {
        let mut all = vec![("in_features", int(3)), ("out_features", int(2))];
        all.extend_from_slice(attributes);
        let parameters = [("weight", tensor("0", 6, &[2, 3])), ("bias", none())];
        object("torch.nn.modules.linear.Linear", &parameters, &[], &all)
    }

    fn sequential(children: &[(&str, Code)]) -> Code {
        object(SEQUENTIAL, &[], children, &[])
    }

    fn read(value: Code) -> Result<Module> {
        read_module(value, &[("0", 6)])
    }

    fn ops(value: Code, shape: &[usize]) -> Vec<Op> {
        let shape: Vec<Dim> = shape.iter().map(|&size| Dim::Size(size)).collect();
        let graph = read(value).and_then(|module| module.graph(Some(&shape))).unwrap();
        graph.nodes().iter().map(|node| node.op.clone()).collect()
    }

    #[test]
    fn load_gives_attributes_that_old_files_lack_their_old_defaults() {
        let kernel = [("kernel_size", int(2))];
        let image = [1, 1, 4, 4];
        let max = MaxPool {
            kernel: vec![2; 2],
            stride: vec![2; 2],
            padding: vec![0; 2],
            dilation: vec![1; 2],
            ceil_mode: false,
        };
        let average = AvgPool {
            kernel: vec![2; 2],
            stride: vec![2; 2],
            padding: vec![0; 2],
            ceil_mode: false,
            count_include_pad: true,
            divisor: None,
        };
        let cases = [
            (layer("pooling.MaxPool2d", &kernel), &image[..], Op::MaxPool(max)),
            (layer("pooling.AvgPool2d", &kernel), &image, Op::AvgPool(average)),
            (layer("activation.GELU", &[]), &image, Op::Unary(Unary::Gelu(GeluKind::Exact))),
            (layer("activation.LeakyReLU", &[]), &image, Op::Unary(Unary::LeakyRelu { slope: 0.01 })),
            (layer("activation.Softplus", &[]), &image, Op::Unary(Unary::Softplus { beta: 1.0, threshold: 20.0 })),
            (layer("flatten.Flatten", &[]), &image, Op::Flatten { start: 1, end: 3 }),
            (layer("activation.Softmax", &[]), &image, Op::Softmax { dim: 1 }),
            (layer("activation.Softmax", &[]), &image[1..], Op::Softmax { dim: 0 }),
            (layer("activation.Softmax", &[]), &image[2..], Op::Softmax { dim: 1 }),
            (layer("activation.Softmax", &[]), &image[3..], Op::Softmax { dim: 0 }),
        ];
        for (value, shape, expected) in cases {
            assert_eq!(ops(value, shape), [expected]);
        }
        let norm = [("normalized_shape", call("torch.Size", &[tuple(&[int(3)])])), ("eps", float(1e-5))];
        let parameters = [("weight", tensor("0", 3, &[3])), ("bias", tensor("0", 3, &[3]))];
        let norm = object("torch.nn.modules.normalization.LayerNorm", &parameters, &[], &norm);
        let module = read_module(norm, &[("0", 3)]).unwrap();
        assert!(module.describe().contains("elementwise_affine=True"), "{}", module.describe());
    }

    #[test]
    fn load_refuses_hooks_and_parametrizations_by_name() {
        let hook = |dict: &str, hook: Code| {
            let hooks = [call("collections.OrderedDict", &[]), int(0), hook, b"s".to_vec()].concat();
            let module = read(sequential(&[("0", linear(&[(dict, hooks)]))])).unwrap();
            message(module.graph(None))
        };
        let function = global("mine.f");
        let cases = [
            (
                hook("_forward_hooks", function.clone()),
                "layer `0` (torch.nn.modules.linear.Linear): it has a forward hook",
            ),
            (hook("_forward_pre_hooks", function.clone()), "forward pre-hook (`mine.f`)"),
            (hook("_backward_hooks", function.clone()), "backward hook"),
            (hook("_backward_pre_hooks", function), "backward pre-hook"),
            (hook("_forward_pre_hooks", call("torch.nn.utils.weight_norm.WeightNorm", &[])), "remove_weight_norm"),
        ];
        for (message, expected) in cases {
            assert!(message.contains(expected), "{message}");
        }
        let state_dict_hook = ("_state_dict_hooks", dict(&[("0", global("mine.f"))]));
        read(linear(&[state_dict_hook])).unwrap().graph(None).unwrap();
        let parametrized = object(
            "torch.nn.utils.parametrize.ParametrizedLinear",
            &[],
            &[("parametrizations", layer("container.ModuleDict", &[]))],
            &[],
        );
        assert!(read(parametrized).unwrap().unsupported()[0].1.contains("parametrizations"));
    }

    #[test]
    fn load_keeps_shared_modules_and_their_names() {
        let value = [sequential(&[("a", linear(&[])), ("r", relu())]), b"q\x07".to_vec()].concat();
        let root = read(sequential(&[("x", value), ("y", b"h\x07".to_vec())])).unwrap();
        let paths: Vec<&str> = root.modules().map(Module::path).collect();
        assert_eq!(paths, ["", "x", "x.a", "x.r", "y", "y.a", "y.r"]);
        let [a, b] =
            ["x.a", "y.a"].map(|path| root.submodule(path).unwrap().tensor("weight").unwrap().clone().unwrap());
        assert!(Arc::ptr_eq(a.storage(), b.storage()));
        assert!(root.submodule("z").is_none());
    }

    #[test]
    fn load_takes_the_input_from_the_first_layer_that_fixes_it() {
        let input = |value: Code| {
            let graph = read(value).and_then(|module| module.graph(None));
            graph.map(|graph| format_shape(&graph.ty(graph.inputs()[0].value).shape))
        };
        assert_eq!(input(sequential(&[("0", relu()), ("1", linear(&[]))])).unwrap(), "[N, 3]");
        let flatten = layer("flatten.Flatten", &[]);
        let late = message(input(sequential(&[("0", relu()), ("1", flatten), ("2", linear(&[]))])));
        assert!(late.starts_with("layer `1` (torch.nn.modules.flatten.Flatten): it needs to know"), "{late}");
        assert!(message(input(sequential(&[]))).contains("give the shape"));
        let empty = read(sequential(&[])).unwrap().graph(Some(&[Dim::Size(2)])).unwrap();
        assert_eq!(empty.inputs()[0].value, empty.outputs()[0].value);
    }

    #[test]
    fn load_lets_the_caller_supply_custom_layers() {
        let custom =
            object("mine.Twice", &[], &[("inner", relu())], &[("factor", int(2)), ("forward", global("mine.f"))]);
        let module = read(sequential(&[("0", linear(&[])), ("1", custom)])).unwrap();
        let refusal = message(module.graph(None));
        assert!(refusal.starts_with("layer `1` (mine.Twice): torch does not define this class"), "{refusal}");
        let graph = module.graph_with(None, &mut |module, custom, builder, x| {
            assert_eq!((module.path(), custom.attribute("factor").unwrap().as_i64()), ("1", Some(2)));
            assert_eq!(module.children()[0].class(), "torch.nn.modules.activation.ReLU");
            builder.add(x, x)
        });
        assert_eq!(graph.unwrap().nodes()[1].op, Op::Add);
    }

    #[test]
    fn load_looks_attributes_up_as_python_does() {
        // A weight in `__dict__` stands in front of the parameter of its name.
        let shadowed = linear(&[("weight", tensor("0", 6, &[3, 2]))]);
        assert!(message(read(shadowed)).contains("`weight` has shape [3, 2]"));
        let forward = read(linear(&[("forward", global("mine.f"))])).unwrap();
        assert!(forward.unsupported()[0].1.contains("`forward`"));
        let noted = read(linear(&[("note", text("hi"))])).unwrap();
        noted.graph(None).unwrap();
        assert_eq!(noted.other_attributes()[0].0, "note");
    }

    #[test]
    fn load_uses_the_padding_that_torch_stored() {
        let conv = |attributes: &[(&str, Code)]| {
            let pair = || tuple(&[int(1), int(1)]);
            let mut all = vec![
                ("in_channels", int(1)),
                ("out_channels", int(1)),
                ("kernel_size", tuple(&[int(2), int(3)])),
                ("stride", pair()),
                ("padding", pair()),
                ("dilation", pair()),
                ("groups", int(1)),
            ];
            for (name, value) in attributes {
                all.retain(|entry| entry.0 != *name);
                all.push((name, value.clone()));
            }
            let parameters = [("weight", tensor("0", 6, &[1, 1, 2, 3])), ("bias", none())];
            object("torch.nn.modules.conv.Conv2d", &parameters, &[], &all)
        };
        let padding = |attributes: &[(&str, Code)]| {
            let ops = ops(conv(attributes), &[1, 1, 5, 5]);
            let pad = match &ops[0] {
                Op::Pad { amounts, .. } => amounts.clone(),
                _ => vec![],
            };
            match ops.last() {
                Some(Op::Conv(conv)) => (pad, conv.padding.clone()),
                _ => panic!("{ops:?}"),
            }
        };
        let mode = |name: &str| ("padding_mode", text(name));
        let stored = ("_reversed_padding_repeated_twice", tuple(&[int(1), int(2), int(3), int(0)]));
        assert_eq!(padding(&[]), (vec![], vec![(1, 1); 2]));
        assert_eq!(padding(&[mode("zeros"), stored.clone()]), (vec![], vec![(1, 1); 2]));
        assert_eq!(padding(&[mode("circular")]), (vec![(1, 1); 2], vec![(0, 0); 2]));
        assert_eq!(padding(&[mode("circular"), stored]), (vec![(3, 0), (1, 2)], vec![(0, 0); 2]));
        assert_eq!(padding(&[("padding", text("same"))]), (vec![], vec![(0, 1), (1, 1)]));
        assert_eq!(padding(&[("padding", text("valid"))]), (vec![], vec![(0, 0); 2]));
        let strided = conv(&[("padding", text("same")), ("stride", int(2))]);
        assert!(message(read(strided)).contains("padding='same'"));
    }

    #[test]
    fn load_refuses_groups_of_one_element_as_torch_does() {
        let norm = || {
            let none = || [("weight", none()), ("bias", none())];
            let attributes =
                [("num_groups", int(2)), ("num_channels", int(2)), ("eps", float(1e-5)), ("affine", boolean(false))];
            object("torch.nn.modules.normalization.GroupNorm", &none(), &[], &attributes)
        };
        let graph = |shape: &[usize]| {
            let shape: Vec<Dim> = shape.iter().map(|&size| Dim::Size(size)).collect();
            read(norm()).unwrap().graph(Some(&shape))
        };
        assert!(message(graph(&[1, 2, 1])).contains("a group of one element"));
        assert!(graph(&[2, 2]).is_ok() && graph(&[1, 2, 3]).is_ok());
    }

    #[test]
    fn load_names_what_is_wrong_with_an_attribute() {
        let cases = [
            (
                linear(&[("in_features", boolean(true))]),
                "the model (torch.nn.modules.linear.Linear): attribute `in_features` is True",
            ),
            (
                linear(&[("in_features", int(4))]),
                "`weight` has shape [2, 3], but in_features=4 and out_features=2 ask for [2, 4]",
            ),
            (layer("activation.Softplus", &[("beta", float(f64::NAN))]), "attribute `beta` is nan; a finite number"),
            (layer("pooling.AvgPool2d", &[]), "attribute `kernel_size` is missing"),
            (sequential(&[("a.b", relu())]), "its `_modules` has the key 'a.b', which is no name"),
            (sequential(&[("a", relu()), ("a", relu())]), "its `_modules` has two entries `a`"),
        ];
        for (value, expected) in cases {
            let message = message(read(value));
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn load_reads_deep_models_up_to_the_limit() {
        let nested = |depth: usize| {
            let (mut before, mut after) = (Vec::new(), Vec::new());
            for _ in 0..depth {
                before.extend(
                    [global(SEQUENTIAL), b")\x81}".to_vec(), text("_modules"), b"}".to_vec(), text("0")].concat(),
                );
                after.extend(b"ssb");
            }
            [before, relu(), after].concat()
        };
        let deep = read(nested(DEPTH_LIMIT - 1)).unwrap();
        assert_eq!(deep.modules().count(), DEPTH_LIMIT);
        deep.graph(Some(&[Dim::Size(2)])).unwrap();
        assert!(message(read(nested(DEPTH_LIMIT))).contains("nested more than 1000 levels deep"));
    }

    #[test]
    fn load_says_what_a_file_without_a_module_holds() {
        let checkpoint = |value: Code| {
            let records = testing::records(value, &[("0", 6)]).unwrap();
            let format = super::super::Format::Zip;
            super::super::Checkpoint {
                origin: "test".to_owned(),
                content: super::super::Content::Pickle(records),
                format,
                folder: String::new(),
                big_endian: false,
            }
        };
        let state_dict = checkpoint(dict(&[("0.weight", tensor("0", 6, &[2, 3]))]));
        assert!(message(state_dict.module()).contains("state_dict"));
        assert_eq!(state_dict.tensors().unwrap()[0].name, "0.weight");
        assert!(
            message(checkpoint(dict(&[("net", relu())])).module()).contains("a dict whose entry 'net' is a module")
        );
        assert!(message(checkpoint(tensor("0", 6, &[6])).module()).contains("holds a tensor"));
        assert!(message(checkpoint(call("mine.Thing", &[])).module()).contains("`mine.Thing`"));
        let cyclic = checkpoint(b"]q\x01h\x01a".to_vec());
        assert!(message(cyclic.tensors()).contains("`0` contains itself"));
    }
}
