//! Records to a tree of modules.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
};

use super::{
    fields::Fields,
    layers::{self, Standard},
    records::{Global, Object, RecordId, printable},
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

    /// Attributes of a class of torch's that the class does not define, so that its forward never reads them.
    pub fn other_attributes(&self) -> &[(String, Value)] {
        &self.body.attributes
    }

    /// The number of elements of its own parameters.
    pub fn parameter_count(&self) -> usize {
        let parameters = self.tensors().iter().filter(|tensor| tensor.is_parameter);
        parameters.filter_map(|p| p.tensor.as_ref().ok()).fold(0, |n, tensor| n.saturating_add(tensor.numel()))
    }

    /// How error messages name it: ``layer `2.0` (torch.nn.modules.linear.Linear)``.
    pub fn place(&self) -> String {
        place(&self.path, self.class())
    }

    /// The class's short name with its attributes: `Linear(in_features=64, out_features=32, bias=True)`.
    pub fn describe(&self) -> String {
        let name = self.class().rsplit('.').next().unwrap_or_default();
        let arguments: Vec<String> = match self.layer() {
            Layer::Standard(layer) => layer.arguments().iter().map(|(name, value)| format!("{name}={value}")).collect(),
            Layer::Custom(custom) => {
                custom.attributes.iter().take(8).map(|(name, value)| format!("{name}={value}")).collect()
            }
            Layer::Sequential | Layer::Unsupported { .. } => Vec::new(),
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

/// The tree of the module at the root of the file.
pub(super) fn read(records: &Arc<Records>) -> Result<Module> {
    let mut reader = Reader { records, bodies: HashMap::new(), open: HashSet::new(), modules: 0, bytes: 0 };
    let mut frames = vec![reader.open(String::new(), records.root())?];
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

struct Reader<'a> {
    records: &'a Arc<Records>,
    bodies: HashMap<RecordId, (Arc<Body>, Vec<(String, RecordId)>)>,
    open: HashSet<RecordId>,
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
        let (body, children) = self.bodies[&id].clone();
        Ok(Frame { id, module: Module { path, body, children: Vec::new() }, rest: children.into_iter() })
    }

    fn body(&self, path: &str, id: RecordId) -> Result<(Arc<Body>, Vec<(String, RecordId)>)> {
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
        if class.module.starts_with("torch.") && !self.is_bare(object) {
            return Err(in_place(Error::format("it is made with arguments, which no module of torch's is")));
        }
        let fields = Fields::new(self.records, object, path).map_err(in_place)?;
        let layer = layer(class, &fields).map_err(in_place)?;
        if matches!(layer, Layer::Sequential | Layer::Standard(_)) {
            fields.check_others().map_err(in_place)?;
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
        Ok((Arc::new(Body { class: class.to_string(), layer, tensors, attributes }), children))
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

/// What a module of this class computes.
fn layer(class: &Global, fields: &Fields) -> Result<Layer> {
    if let Some(reason) = altered(class, fields) {
        return Ok(Layer::Unsupported { reason });
    }
    let refused = |reason: Option<String>, layer: Layer| reason.map_or(layer, |reason| Layer::Unsupported { reason });
    if class.module != "torch" && !class.module.starts_with("torch.") {
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
        _ => format!("this layer is not supported yet; supported are Sequential, {}", layers::known()),
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
    let parametrized = class.name.starts_with("Parametrized") && class.module.starts_with("torch.");
    if parametrized || fields.children().iter().any(|entry| entry.0 == "parametrizations") {
        return Some(
            "it has parametrizations; call torch.nn.utils.parametrize.remove_parametrizations(layer, name) before saving"
                .to_owned(),
        );
    }
    let method = METHODS.iter().find(|method| fields.is_set(method));
    method.map(|method| {
        format!("its attribute `{method}` stands in front of the method of its class; save the model without it")
    })
}
