//! Tensors of a pickle: the calls that rebuild them, checked against the storages of the file.

use std::{collections::HashMap, sync::Arc};

use super::{
    contents::{Contents, Stored},
    kinds::{self, Element},
    records::{Global, Object, Pickle, Record, RecordId},
};
use crate::{
    Error, ErrorKind, Result,
    tensor::{Storage, Tensor},
};

/// What a file says of a tensor, whether it can be used or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TensorInfo {
    /// How it is stored, by torch's names: `strided` for a plain dense tensor; `sparse_coo`, `sparse_csr`, `sparse_csc`,
    /// `sparse_bsr`, `sparse_bsc`, `quantized`, `nested`, `meta`, `uninitialized`, `subclass` or `unknown`.
    pub kind: String,
    /// torch's name of the element type, without the `torch.` in front: `float32`, `quint8`, `bits8`.
    pub dtype: Option<String>,
    /// The sizes of the dimensions; none for a nested tensor, whose sizes differ.
    pub shape: Option<Vec<usize>>,
    /// Whether it was saved as a `torch.nn.Parameter`.
    pub is_parameter: bool,
}

/// A tensor with what the file says of it.
#[derive(Clone, Debug)]
pub(crate) struct Described {
    pub info: TensorInfo,
    /// An error where its kind is not supported.
    pub tensor: Result<Tensor>,
}

impl Described {
    /// A tensor that can be used.
    fn strided(tensor: Tensor) -> Self {
        let info = TensorInfo {
            kind: "strided".to_owned(),
            dtype: Some(tensor.dtype().name().to_owned()),
            shape: Some(tensor.shape().to_vec()),
            is_parameter: false,
        };
        Self { info, tensor: Ok(tensor) }
    }

    /// A tensor that cannot be used.
    fn refused(kind: &str, dtype: Option<String>, shape: Option<Vec<usize>>, error: Error) -> Self {
        Self { info: TensorInfo { kind: kind.to_owned(), dtype, shape, is_parameter: false }, tensor: Err(error) }
    }

    fn parameter(mut self) -> Self {
        self.info.is_parameter = true;
        self
    }

    /// A tensor in a storage. Its place there is checked, whether it can be used or not.
    pub fn stored(
        kind: &str,
        element: Element,
        stored: &Stored,
        shape: Vec<usize>,
        strides: Vec<usize>,
        offset: usize,
    ) -> Result<Self> {
        let dtype = Some(element.name().to_owned());
        if element.is_packed() {
            return Ok(Self::refused(kind, dtype, Some(shape), unsupported_dtype(element)));
        }
        let tensor = stored.tensor(element.stand_in(), shape.clone(), strides, offset)?;
        Ok(match element {
            Element::Number(_) if kind == "strided" => Self::strided(tensor),
            _ => Self::refused(kind, dtype, Some(shape), unsupported_dtype(element)),
        })
    }
}

fn unsupported_dtype(element: Element) -> Error {
    let name = element.name();
    Error::unsupported(format!("tensors of dtype torch.{name} are not supported; store plain numbers"))
}

/// The tensors that a pickle makes of the contents of its file.
pub(crate) struct Tensors {
    records: Vec<Arc<Storage>>,
    tensors: HashMap<RecordId, Described>,
}

impl Tensors {
    /// Rebuilds every tensor of the pickle. Tensors of an unsupported kind, and malformed ones, are kept as errors.
    pub fn new(pickle: &Pickle, contents: Contents) -> Self {
        let mut rebuild = Rebuild { pickle, contents: &contents, tensors: HashMap::new() };
        for (id, record) in pickle.iter() {
            // Arguments stand in front of the call in the arena, so a Parameter finds its tensor rebuilt.
            let found = match record {
                Record::Object(object) => rebuild.object(object).map(|mut found| {
                    let place = || format!("{}, byte {}", pickle.name(), object.position);
                    found.tensor = found.tensor.map_err(|e| e.at(place()));
                    found
                }),
                Record::Persistent(key) => pickle.text(*key).and_then(|key| contents.tensors.get(&*key)).cloned(),
                _ => None,
            };
            if let Some(found) = found {
                rebuild.tensors.insert(id, found);
            }
        }
        let tensors = rebuild.tensors;
        Self { records: contents.records, tensors }
    }

    /// The tensor that a record stands for, if it is one.
    pub fn get(&self, id: RecordId) -> Option<&Result<Tensor>> {
        self.tensors.get(&id).map(|found| &found.tensor)
    }

    /// The same with what the file says of it.
    pub fn described(&self, id: RecordId) -> Option<&Described> {
        self.tensors.get(&id)
    }

    /// All parts of the file that have bytes, in its order.
    pub fn records(&self) -> &[Arc<Storage>] {
        &self.records
    }

    /// The first malformed tensor.
    pub fn malformed(&self) -> Option<(RecordId, &Error)> {
        let errors = self.tensors.iter().filter_map(|(&id, found)| Some((id, found.tensor.as_ref().err()?)));
        errors.filter(|(_, error)| error.kind() != ErrorKind::Unsupported).min_by_key(|(id, _)| *id)
    }
}

struct Rebuild<'a> {
    pickle: &'a Pickle,
    contents: &'a Contents,
    tensors: HashMap<RecordId, Described>,
}

impl Rebuild<'_> {
    /// The tensor of a call, if it is one that makes a tensor.
    fn object(&self, object: &Object) -> Option<Described> {
        let function = self.pickle.global(object.callable)?;
        let args = self.pickle.tuple(object.args)?;
        // torch before 0.4 kept a Parameter's tensor among its arguments, the oldest ones in its state.
        if is_variable(function) {
            let state = || object.states.first().and_then(|&state| self.pickle.tuple(state)).filter(|s| s.len() == 5);
            let inner = args.first().or_else(|| state()?.first())?;
            return self.tensors.get(inner).cloned().map(Described::parameter);
        }
        let found = self.call(function, args)?;
        let kind = kinds::rebuilt_by(&function.name);
        Some(found.unwrap_or_else(|error| Described::refused(kind, None, None, error)))
    }

    fn call(&self, function: &Global, args: &[RecordId]) -> Option<Result<Described>> {
        let name = function.name.as_str();
        Some(match (function.module.as_str(), name) {
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_tensor_v3") => {
                self.strided(name, args)
            }
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
                self.inner(args.first(), "a Parameter that is made of no tensor").map(Described::parameter)
            }
            ("torch._utils", "_rebuild_device_tensor_from_cpu_tensor") => {
                self.inner(args.first(), "a tensor of a device that is made of no tensor")
            }
            ("torch._tensor" | "torch.tensor", "_rebuild_from_type" | "_rebuild_from_type_v2") => self.subclass(args),
            ("torch._utils", "_rebuild_qtensor") => self.quantized(args),
            ("torch._utils", "_rebuild_sparse_tensor" | "_rebuild_sparse_csr_tensor") => self.sparse(name, args),
            ("torch._utils", name) if name.starts_with("_rebuild_") => self.other(name, args),
            ("torch.nn.parameter", "UninitializedParameter" | "UninitializedBuffer") => {
                let error = Error::unsupported("it is not initialised; call the model once in Python before saving it");
                Ok(Described::refused("uninitialized", None, None, error))
            }
            _ => return None,
        })
    }

    fn inner(&self, id: Option<&RecordId>, otherwise: &str) -> Result<Described> {
        id.and_then(|id| self.tensors.get(id)).cloned().ok_or_else(|| Error::format(otherwise))
    }

    /// `_rebuild_from_type_v2(function, type, args, state)`: a tensor with attributes, or of a class of its own.
    fn subclass(&self, args: &[RecordId]) -> Result<Described> {
        let [function, class, args, ..] = *args else {
            return Err(Error::format("a tensor of a subclass without its class"));
        };
        let names = self.pickle.global(function).zip(self.pickle.global(class)).zip(self.pickle.tuple(args));
        let ((function, class), args) =
            names.ok_or_else(|| Error::format("a tensor of a subclass without its class"))?;
        if function.name.starts_with("_rebuild_from_type") {
            return Err(Error::format("a tensor of a subclass of a subclass"));
        }
        let inner = self.call(function, args);
        let plain = [("torch", "Tensor"), ("torch.nn.parameter", "Parameter"), ("torch.nn.parameter", "Buffer")];
        if plain.contains(&(class.module.as_str(), class.name.as_str())) {
            return inner.unwrap_or_else(|| Err(Error::format(format!("`{function}` makes no tensor"))));
        }
        if function.name == "_rebuild_njt" {
            return self.other(&function.name, args);
        }
        let info = inner.transpose()?.map(|inner| inner.info).unwrap_or_default();
        let error = format!("tensors of class {class} are not supported; store it as a plain dense tensor");
        Ok(Described::refused("subclass", info.dtype, info.shape, Error::unsupported(error)))
    }

    /// `(storage, offset, sizes, strides, requires_grad, hooks, metadata)`; version 3 has a dtype before the metadata.
    fn strided(&self, function: &str, args: &[RecordId]) -> Result<Described> {
        let counts = match function {
            "_rebuild_tensor" => 4..=4,
            "_rebuild_tensor_v2" => 6..=7,
            _ => 7..=8,
        };
        let &[storage, offset, sizes, strides, ref rest @ ..] = args else {
            return Err(Error::format(format!("`{function}` with {} arguments", args.len())));
        };
        if !counts.contains(&args.len()) {
            return Err(Error::format(format!("`{function}` with {} arguments", args.len())));
        }
        let (stored, mut element) = self.storage(storage)?;
        let mut metadata = rest.get(2);
        if function == "_rebuild_tensor_v3" {
            element = self.dtype(rest.get(2))?;
            metadata = rest.get(3);
        }
        if element == Element::Untyped {
            element = Element::Number(crate::tensor::DType::U8);
        }
        let (conjugate, negative) = metadata.map_or(Ok((false, false)), |&metadata| self.signs(metadata))?;
        let (shape, strides, offset) = self.extent(sizes, strides, offset)?;
        let mut found = Described::stored("strided", element, &stored, shape, strides, offset)?;
        found.tensor = found.tensor.map(|tensor| tensor.with_signs(conjugate, negative));
        Ok(found)
    }

    fn extent(&self, sizes: RecordId, strides: RecordId, offset: RecordId) -> Result<(Vec<usize>, Vec<usize>, usize)> {
        Ok((
            self.pickle.counts(sizes, "size")?,
            self.pickle.counts(strides, "stride")?,
            self.pickle.count(offset, "offset")?,
        ))
    }

    /// `(storage, offset, sizes, strides, quantizer, requires_grad, hooks)`
    fn quantized(&self, args: &[RecordId]) -> Result<Described> {
        let &[storage, offset, sizes, strides, ..] = args else {
            return Err(Error::format(format!("`_rebuild_qtensor` with {} arguments", args.len())));
        };
        let (stored, element) = self.storage(storage)?;
        let (shape, strides, offset) = self.extent(sizes, strides, offset)?;
        let mut found = Described::stored("quantized", element, &stored, shape, strides, offset)?;
        found.tensor = Err(kinds::refusal("quantized", "_rebuild_qtensor"));
        Ok(found)
    }

    /// `(layout, (indices, values, size, ..))`, with two arrays of indices for the compressed layouts.
    fn sparse(&self, function: &str, args: &[RecordId]) -> Result<Described> {
        let wrong = || Error::format("a sparse tensor without its layout, indices, values and size");
        let &[layout, data, ..] = args else { return Err(wrong()) };
        let layout = self.layout(layout).ok_or_else(wrong)?;
        let data = self.pickle.tuple(data).ok_or_else(wrong)?;
        let (values, size) = match (layout, data) {
            ("sparse_coo", &[_, values, size, ..]) | (_, &[_, _, values, size, ..]) => (values, size),
            _ => return Err(wrong()),
        };
        let values = self.inner(Some(&values), "a sparse tensor whose values are no tensor")?;
        let shape = self.pickle.counts(size, "size")?;
        Ok(Described::refused(layout, values.info.dtype, Some(shape), kinds::refusal(layout, function)))
    }

    /// The layout that `_get_layout('torch.sparse_coo')` gives.
    fn layout(&self, id: RecordId) -> Option<&'static str> {
        let name = match self.pickle.get(id) {
            Record::Object(object) => self.pickle.str(*self.pickle.tuple(object.args)?.first()?)?,
            Record::Global(global) => &global.name,
            _ => return None,
        };
        let name = name.strip_prefix("torch.").unwrap_or(name);
        ["sparse_coo", "sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc"].into_iter().find(|known| *known == name)
    }

    /// A tensor of a kind that is not read; what can be said of it depends on the function that rebuilds it.
    fn other(&self, function: &str, args: &[RecordId]) -> Result<Described> {
        let kind = kinds::rebuilt_by(function);
        // Where the dtype and the sizes stand among the arguments.
        let places = match kind {
            "meta" => Some((0, 1)),
            "subclass" => Some((1, 2)),
            _ => None,
        };
        let (dtype, shape) = match places {
            Some((dtype, sizes)) => {
                let sizes = args.get(sizes).map(|&sizes| self.pickle.counts(sizes, "size")).transpose()?;
                (Some(self.dtype(args.get(dtype))?.name().to_owned()), sizes)
            }
            None => (self.inner_dtype(args), None),
        };
        Ok(Described::refused(kind, dtype, shape, kinds::refusal(kind, function)))
    }

    /// The dtype of the first tensor among the arguments, or in a dict there.
    fn inner_dtype(&self, args: &[RecordId]) -> Option<String> {
        let in_dict = args.iter().filter_map(|&id| match self.pickle.get(id) {
            Record::Dict(entries) => Some(entries.iter().map(|entry| entry.1)),
            _ => None,
        });
        let mut tensors = args.iter().copied().chain(in_dict.flatten()).filter_map(|id| self.tensors.get(&id));
        tensors.next()?.info.dtype.clone()
    }

    fn storage(&self, id: RecordId) -> Result<(Stored, Element)> {
        let Record::Persistent(storage) = *self.pickle.get(id) else {
            return Err(Error::format("a tensor without a storage"));
        };
        let reference = self.pickle.storage_reference(storage)?;
        Ok((self.contents.storage(self.pickle, &reference)?, reference.element))
    }

    fn dtype(&self, id: Option<&RecordId>) -> Result<Element> {
        let global = id.and_then(|id| self.pickle.global(*id));
        Element::of_dtype(global.ok_or_else(|| Error::format("a tensor without a dtype"))?)
    }

    /// Whether the values are the conjugates, and whether they are the negatives, of those that are stored.
    fn signs(&self, metadata: RecordId) -> Result<(bool, bool)> {
        let bits = match self.pickle.get(metadata) {
            Record::None => return Ok((false, false)),
            Record::Dict(bits) => bits,
            _ => return Err(Error::format("the metadata of a tensor is no dict")),
        };
        let (mut conjugate, mut negative) = (false, false);
        for &(key, value) in bits {
            let key = self.pickle.str(key).unwrap_or("?");
            match (key, self.pickle.get(value)) {
                ("conj", Record::Bool(value)) => conjugate = *value,
                ("neg", Record::Bool(value)) => negative = *value,
                (_, Record::Bool(false)) => {}
                _ => {
                    return Err(Error::unsupported(format!(
                        "tensors with the metadata `{}` are not supported",
                        key.escape_debug()
                    )));
                }
            }
        }
        Ok((conjugate, negative))
    }
}

/// The classes of trained tensors before torch 0.4.
fn is_variable(class: &Global) -> bool {
    matches!(
        (class.module.as_str(), class.name.as_str()),
        ("torch.nn.parameter", "Parameter" | "Buffer")
            | ("torch.autograd.variable", "Variable")
            | ("torch.autograd", "Variable")
    )
}

/// torch's own limit on the number of dimensions.
pub(crate) const RANK_LIMIT: usize = 64;

impl Pickle {
    /// A text; Python 2's, which may have been kept as bytes, too.
    pub fn text(&self, id: RecordId) -> Option<std::borrow::Cow<'_, str>> {
        match self.get(id) {
            Record::Str(text) => Some((&**text).into()),
            Record::Bytes(bytes) => std::str::from_utf8(bytes).ok().map(Into::into),
            Record::Int(value) => Some(value.to_string().into()),
            _ => None,
        }
    }

    /// A number that is not negative.
    pub fn count(&self, id: RecordId, what: &str) -> Result<usize> {
        match self.get(id) {
            Record::Int(value) => {
                usize::try_from(*value).map_err(|_| Error::format(format!("a tensor with the negative {what} {value}")))
            }
            Record::BigInt(_) => Err(Error::format(format!("a tensor with a {what} beyond 64 bits"))),
            _ => Err(Error::format(format!("a tensor with a {what} that is no int"))),
        }
    }

    /// Numbers that are not negative.
    pub fn counts(&self, id: RecordId, what: &str) -> Result<Vec<usize>> {
        let elements = match self.get(id) {
            Record::Tuple(elements) => Some(&elements[..]),
            Record::List(elements) => Some(&elements[..]),
            // torch.Size((2, 3))
            Record::Object(object) => {
                let size = self.global(object.callable).is_some_and(|g| g.module == "torch" && g.name == "Size");
                let inner = self.tuple(object.args).and_then(|args| args.first());
                inner.filter(|_| size).and_then(|&id| self.tuple(id))
            }
            _ => None,
        };
        let elements = elements.ok_or_else(|| Error::format(format!("a tensor whose {what}s are no tuple")))?;
        if elements.len() > RANK_LIMIT {
            return Err(Error::format(format!("a tensor with {} {what}s; torch allows {RANK_LIMIT}", elements.len())));
        }
        elements.iter().map(|&id| self.count(id, what)).collect()
    }
}
