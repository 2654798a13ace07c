//! What records mean: the few calls that Python's and torch's own values are pickled as, and values for callers.

use std::{borrow::Cow, collections::HashMap, fmt, sync::Arc};

use super::{
    module::{self, Module},
    records::{Global, Object, Pickle, Record, RecordId, printable},
    tensors::{TensorInfo, Tensors},
    walk::NamedTensor,
};
use crate::{Error, Result, tensor::Tensor};

/// The records of a file together with its tensors.
pub(crate) struct Records {
    pub pickle: Pickle,
    pub tensors: Tensors,
}

/// A record as Python would see it.
pub(crate) enum View<'a> {
    None,
    Bool(bool),
    Int(i64),
    BigInt(&'a [u8]),
    Float(f64),
    Str(&'a str),
    Bytes(Cow<'a, [u8]>),
    List(&'a [RecordId]),
    Tuple(&'a [RecordId]),
    Set(&'a [RecordId]),
    Dict(Cow<'a, [(RecordId, RecordId)]>),
    Global(&'a Global),
    Tensor(&'a Result<Tensor>),
    Storage,
    Object(&'a Object),
}

impl Records {
    /// What a record means.
    pub fn view(&self, id: RecordId) -> View<'_> {
        match self.pickle.get(id) {
            Record::None => View::None,
            Record::Bool(value) => View::Bool(*value),
            Record::Int(value) => View::Int(*value),
            Record::BigInt(bytes) => View::BigInt(bytes),
            Record::Float(value) => View::Float(*value),
            Record::Str(text) => View::Str(text),
            Record::Bytes(bytes) => View::Bytes(Cow::Borrowed(bytes)),
            Record::List(elements) => View::List(elements),
            Record::Tuple(elements) => View::Tuple(elements),
            Record::Dict(entries) => View::Dict(Cow::Borrowed(entries)),
            Record::Set(elements) => View::Set(elements),
            Record::Global(global) => View::Global(global),
            Record::Persistent(_) => self.tensors.get(id).map_or(View::Storage, View::Tensor),
            Record::Object(object) => match self.tensors.get(id) {
                Some(tensor) => View::Tensor(tensor),
                None => self.call(object).unwrap_or(View::Object(object)),
            },
        }
    }

    /// What the call that an object stands for gives, for the calls that are known.
    fn call<'a>(&'a self, object: &'a Object) -> Option<View<'a>> {
        let global = self.pickle.global(object.callable)?;
        let args = self.pickle.tuple(object.args)?;
        if object.keywords.is_some() {
            return None;
        }
        let elements = |id: &RecordId| match self.pickle.get(*id) {
            Record::List(elements) => Some(&elements[..]),
            Record::Tuple(elements) => Some(&elements[..]),
            _ => None,
        };
        match (global.module.as_str(), global.name.as_str(), args) {
            ("collections", "OrderedDict", []) | ("builtins", "dict", []) | ("collections", "defaultdict", _) => {
                Some(View::Dict(Cow::Borrowed(&object.items)))
            }
            // Python 2 gave the pairs as an argument.
            ("collections", "OrderedDict", [list]) => {
                let pairs = elements(list)?.iter().map(|pair| match elements(pair) {
                    Some([key, value]) => Some((*key, *value)),
                    _ => None,
                });
                let pairs: Option<Vec<_>> = pairs.chain(object.items.iter().map(|item| Some(*item))).collect();
                pairs.map(|pairs| View::Dict(Cow::Owned(pairs)))
            }
            ("torch", "Size", [sizes]) => elements(sizes).map(View::Tuple),
            ("builtins", "set" | "frozenset", [list]) => elements(list).map(View::Set),
            ("builtins", "set" | "frozenset", []) => Some(View::Set(&object.elements)),
            ("builtins", "bytes" | "bytearray", []) => Some(View::Bytes(Cow::Borrowed(&[]))),
            ("builtins", "bytearray", [bytes]) => match self.pickle.get(*bytes) {
                Record::Bytes(bytes) => Some(View::Bytes(Cow::Borrowed(bytes))),
                _ => None,
            },
            ("_codecs", "encode", [..]) => self.latin1(object).map(|bytes| View::Bytes(Cow::Owned(bytes))),
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar", [dtype, bytes]) => {
                self.numpy_scalar(*dtype, *bytes)
            }
            _ => None,
        }
    }

    /// Protocols before 3 hold bytes as text that is to be encoded in Latin-1.
    fn latin1(&self, object: &Object) -> Option<Vec<u8>> {
        let global = self.pickle.global(object.callable)?;
        let &[text, encoding] = self.pickle.tuple(object.args)? else { return None };
        if (global.module.as_str(), global.name.as_str()) != ("_codecs", "encode") {
            return None;
        }
        if !matches!(self.pickle.str(encoding)?, "latin1" | "latin-1" | "iso-8859-1") {
            return None;
        }
        self.pickle.str(text)?.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
    }

    /// A NumPy number: its dtype is an object of `numpy.dtype`, its bytes follow.
    fn numpy_scalar(&self, dtype: RecordId, bytes: RecordId) -> Option<View<'_>> {
        let object = self.pickle.object(dtype)?;
        let class = self.pickle.global(object.callable)?;
        let code = self.pickle.str(*self.pickle.tuple(object.args)?.first()?)?;
        let order = object.states.first().and_then(|&state| self.pickle.str(*self.pickle.tuple(state)?.get(1)?));
        if (class.module.as_str(), class.name.as_str()) != ("numpy", "dtype") || order == Some(">") {
            return None;
        }
        let bytes = match self.pickle.get(bytes) {
            Record::Bytes(bytes) => bytes.to_vec(),
            Record::Object(object) => self.latin1(object)?,
            _ => return None,
        };
        let unsigned = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |value, &byte| value << 8 | u64::from(byte));
        Some(match (code, bytes.len()) {
            ("b1", 1) => View::Bool(bytes[0] != 0),
            ("f8", 8) => View::Float(f64::from_bits(unsigned(&bytes))),
            ("f4", 4) => View::Float(f32::from_bits(unsigned(&bytes) as u32).into()),
            ("i8", 8) => View::Int(unsigned(&bytes) as i64),
            ("i4", 4) => View::Int((unsigned(&bytes) as i32).into()),
            ("i2", 2) => View::Int((unsigned(&bytes) as i16).into()),
            ("i1", 1) => View::Int((unsigned(&bytes) as i8).into()),
            ("u1", 1) | ("u2", 2) | ("u4", 4) => View::Int(unsigned(&bytes) as i64),
            ("u8", 8) => View::Int(i64::try_from(unsigned(&bytes)).ok()?),
            _ => return None,
        })
    }

    /// The class whose instance an object is: of NEWOBJ, of a call of the class, or of protocol 0's reconstructor.
    pub fn class(&self, object: &Object) -> Option<&Global> {
        let global = self.pickle.global(object.callable)?;
        if global.module != "copyreg" {
            return Some(global);
        }
        self.pickle.global(*self.pickle.tuple(object.args)?.first()?)
    }

    /// An object's `__dict__`: its states merged, a later value of a name in the place of an earlier one.
    ///
    /// `None` where the state is something else than names and values.
    pub fn attributes(&self, object: &Object) -> Option<Attributes<'_>> {
        let mut attributes = Attributes::default();
        for &state in &object.states {
            // With `__slots__`, the state is a pair of dicts.
            let parts = match self.pickle.get(state) {
                Record::Tuple(parts) if parts.len() == 2 => &parts[..],
                _ => &[state],
            };
            for &part in parts {
                match self.view(part) {
                    View::None => {}
                    View::Dict(entries) => {
                        for &(key, value) in entries.iter() {
                            attributes.set(self.pickle.str(key)?, value);
                        }
                    }
                    _ => return None,
                }
            }
        }
        Some(attributes)
    }

    /// A short word for what a record is, in Python's names.
    pub fn kind(&self, id: RecordId) -> Cow<'_, str> {
        match self.view(id) {
            View::None => "None".into(),
            View::Bool(_) => "bool".into(),
            View::Int(_) | View::BigInt(_) => "int".into(),
            View::Float(_) => "float".into(),
            View::Str(_) => "str".into(),
            View::Bytes(_) => "bytes".into(),
            View::List(_) => "list".into(),
            View::Tuple(_) => "tuple".into(),
            View::Set(_) => "set".into(),
            View::Dict(_) => "dict".into(),
            View::Global(global) => format!("`{global}`").into(),
            View::Tensor(_) => "tensor".into(),
            View::Storage => "storage".into(),
            View::Object(object) => match self.class(object) {
                Some(class) => format!("`{class}`").into(),
                None => "object".into(),
            },
        }
    }

    /// Appends a record's value as Python prints it, cut off where it gets long or deep.
    fn print(&self, id: RecordId, depth: usize, out: &mut String) {
        if out.len() > PRINTED_LENGTH {
            return;
        }
        let mut list = |open: &str, elements: &[RecordId], close: &str| {
            out.push_str(open);
            for (i, &element) in elements.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                if depth == 0 || out.len() > PRINTED_LENGTH {
                    out.push_str("...");
                    break;
                }
                self.print(element, depth - 1, out);
            }
            out.push_str(close);
        };
        match self.view(id) {
            View::List(elements) => list("[", elements, "]"),
            View::Tuple(elements) => list("(", elements, if elements.len() == 1 { ",)" } else { ")" }),
            View::Set(elements) => list("{", elements, "}"),
            View::None => out.push_str("None"),
            View::Bool(value) => out.push_str(if value { "True" } else { "False" }),
            View::Int(value) => out.push_str(&value.to_string()),
            View::BigInt(bytes) => out.push_str(&format!("an int of {} bytes", bytes.len())),
            View::Float(value) => out.push_str(&python_float(value)),
            View::Str(text) => {
                let cut: String = text.chars().take(PRINTED_LENGTH).collect();
                out.push_str(&format!("'{}'", cut.escape_debug()));
            }
            View::Bytes(bytes) => out.push_str(&format!("bytes of length {}", bytes.len())),
            View::Dict(entries) => {
                out.push('{');
                for (i, &(key, value)) in entries.iter().enumerate() {
                    out.push_str(if i > 0 { ", " } else { "" });
                    if depth == 0 || out.len() > PRINTED_LENGTH {
                        out.push_str("...");
                        break;
                    }
                    self.print(key, depth - 1, out);
                    out.push_str(": ");
                    self.print(value, depth - 1, out);
                }
                out.push('}');
            }
            View::Global(global) => out.push_str(&global.to_string()),
            View::Tensor(Ok(tensor)) => out.push_str(&format!("a tensor of shape {:?}", tensor.shape())),
            View::Tensor(Err(error)) => out.push_str(&format!("a tensor ({error})")),
            View::Storage | View::Object(_) => out.push_str(&format!("a {}", self.kind(id))),
        }
    }
}

impl Records {
    /// A record's value as Python prints it, cut off where it gets long.
    pub fn printed(&self, id: RecordId) -> String {
        let mut text = String::new();
        self.print(id, PRINTED_DEPTH, &mut text);
        text
    }
}

/// Values are printed up to about this many characters ...
const PRINTED_LENGTH: usize = 120;
/// ... and this many levels of nesting.
const PRINTED_DEPTH: usize = 3;

/// A float as Python prints it.
pub(crate) fn python_float(value: f64) -> String {
    let text = format!("{value:?}");
    match text.split_once('e') {
        _ if value.is_nan() => "nan".to_owned(),
        Some((mantissa, exponent)) => {
            let (sign, digits) = exponent.strip_prefix('-').map_or(("+", exponent), |digits| ("-", digits));
            format!("{}e{sign}{digits:0>2}", mantissa.trim_end_matches(".0"))
        }
        None => text,
    }
}

/// Names with values, in the order in which the names first came.
#[derive(Default)]
pub(crate) struct Attributes<'a> {
    order: Vec<(&'a str, RecordId)>,
    index: HashMap<&'a str, usize>,
}

impl<'a> Attributes<'a> {
    fn set(&mut self, name: &'a str, value: RecordId) {
        match self.index.get(name) {
            Some(&at) => self.order[at].1 = value,
            None => {
                self.index.insert(name, self.order.len());
                self.order.push((name, value));
            }
        }
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<RecordId> {
        self.index.get(name).map(|&at| self.order[at].1)
    }

    /// All names with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, RecordId)> + '_ {
        self.order.iter().copied()
    }
}

/// A value that a file holds: a plain Python value, a tensor, or an object by the name of its class.
///
/// It refers into the file's records, so cloning is cheap and nested or cyclic values take no memory of their own.
#[derive(Clone)]
pub struct Value {
    records: Arc<Records>,
    id: RecordId,
}

impl Value {
    pub(crate) fn new(records: &Arc<Records>, id: RecordId) -> Self {
        Self { records: records.clone(), id }
    }

    fn at(&self, id: RecordId) -> Value {
        Self::new(&self.records, id)
    }

    /// What it is, in Python's words: `None`, `int`, `list`, `tensor`, or the quoted name of a class.
    pub fn kind(&self) -> String {
        self.records.kind(self.id).into_owned()
    }

    /// Whether it is `None`.
    pub fn is_none(&self) -> bool {
        matches!(self.records.view(self.id), View::None)
    }

    /// The value of a bool.
    pub fn as_bool(&self) -> Option<bool> {
        match self.records.view(self.id) {
            View::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// The value of an int that fits.
    pub fn as_i64(&self) -> Option<i64> {
        match self.records.view(self.id) {
            View::Int(value) => Some(value),
            _ => None,
        }
    }

    /// The value of a float, or of an int.
    pub fn as_f64(&self) -> Option<f64> {
        match self.records.view(self.id) {
            View::Float(value) => Some(value),
            View::Int(value) => Some(value as f64),
            _ => None,
        }
    }

    /// The text of a str.
    pub fn as_str(&self) -> Option<&str> {
        match self.records.view(self.id) {
            View::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The bytes of a bytes or bytearray.
    pub fn as_bytes(&self) -> Option<Vec<u8>> {
        match self.records.view(self.id) {
            View::Bytes(bytes) => Some(bytes.into_owned()),
            _ => None,
        }
    }

    /// The elements of a list, tuple or set.
    pub fn elements(&self) -> Option<Vec<Value>> {
        match self.records.view(self.id) {
            View::List(elements) | View::Tuple(elements) | View::Set(elements) => {
                Some(elements.iter().map(|&id| self.at(id)).collect())
            }
            _ => None,
        }
    }

    /// The keys and values of a dict, in the file's order.
    pub fn entries(&self) -> Option<Vec<(Value, Value)>> {
        match self.records.view(self.id) {
            View::Dict(entries) => Some(entries.iter().map(|&(key, value)| (self.at(key), self.at(value))).collect()),
            _ => None,
        }
    }

    /// The tensor, if it is one; an error within where its kind is not supported.
    pub fn as_tensor(&self) -> Option<Result<Tensor>> {
        match self.records.view(self.id) {
            View::Tensor(tensor) => Some(tensor.clone()),
            _ => None,
        }
    }

    /// The class of an object, with its module; of a class or function itself, its name.
    pub fn class(&self) -> Option<String> {
        match self.records.view(self.id) {
            View::Object(object) => self.records.class(object).map(Global::to_string),
            View::Global(global) => Some(global.to_string()),
            _ => None,
        }
    }

    /// The attributes of an object, in the file's order.
    pub fn attributes(&self) -> Option<Vec<(String, Value)>> {
        match self.records.view(self.id) {
            View::Object(object) => {
                let attributes = self.records.attributes(object)?;
                Some(attributes.iter().map(|(name, id)| (printable(name).into_owned(), self.at(id))).collect())
            }
            _ => None,
        }
    }

    /// The arguments that an object was made with.
    pub fn arguments(&self) -> Option<Vec<Value>> {
        match self.records.view(self.id) {
            View::Object(object) => {
                self.records.pickle.tuple(object.args).map(|args| args.iter().map(|&id| self.at(id)).collect())
            }
            _ => None,
        }
    }

    /// An attribute of an object.
    pub fn attribute(&self, name: &str) -> Option<Value> {
        match self.records.view(self.id) {
            View::Object(object) => self.records.attributes(object)?.get(name).map(|id| self.at(id)),
            _ => None,
        }
    }
}

impl Value {
    /// Whether it is a module, of torch's own or of another class.
    pub fn is_module(&self) -> bool {
        matches!(self.records.view(self.id), View::Object(object) if self.records.is_module(object))
    }

    /// The module that it is; an error that says what it is instead.
    pub fn module(&self) -> Result<Module> {
        const ADVICE: &str = "save the whole module with torch.save(model, path)";
        if self.is_module() {
            return module::read(&self.records, self.id);
        }
        let held = match self.records.view(self.id) {
            View::Object(_) => {
                return Err(Error::unsupported(format!(
                    "the file holds a value of {}, which is not a torch module (nothing was called); {ADVICE}",
                    self.kind()
                )));
            }
            View::Dict(entries) => match entries.iter().find(|entry| self.at(entry.1).is_module()) {
                Some(&(key, _)) => format!("a dict whose entry {} is a module", self.records.printed(key)),
                None => "a dict (a state_dict?), but not the layers".to_owned(),
            },
            View::Tensor(_) => "a tensor, but no module".to_owned(),
            _ => format!("a {}, but no module", self.kind()),
        };
        Err(Error::unsupported(format!("the file holds {held}; {ADVICE}")))
    }

    /// The tensors in it, as [`Checkpoint::tensors`](super::Checkpoint::tensors) gives those of the whole file.
    pub fn tensors(&self) -> Result<Vec<NamedTensor>> {
        self.records.named_tensors(self.id)
    }

    /// What the file says of a tensor, if it is one.
    pub fn tensor_info(&self) -> Option<&TensorInfo> {
        self.records.tensors.described(self.id).map(|found| &found.info)
    }

    /// Whether it is a class, a function or a dtype: a name.
    pub fn is_class(&self) -> bool {
        matches!(self.records.view(self.id), View::Global(_))
    }

    /// The two's complement bytes of an int, least significant first, however large it is.
    pub fn as_int_bytes(&self) -> Option<Vec<u8>> {
        match self.records.view(self.id) {
            View::Int(value) => Some(value.to_le_bytes().to_vec()),
            View::BigInt(bytes) => Some(bytes.to_vec()),
            _ => None,
        }
    }

    /// Whether both are one value of the file, not only equal: what Python's `is` says.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.records, &other.records) && self.id == other.id
    }
}

impl fmt::Display for Value {
    /// As Python prints it, cut off where it gets long.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.records.printed(self.id))
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({self})")
    }
}
