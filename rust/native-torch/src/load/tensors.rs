//! Tensors of a pickle: the calls that rebuild them, checked against the storages of the archive.

use std::{collections::HashMap, sync::Arc};

use super::records::{Global, Object, Pickle, Record, RecordId, printable};
use crate::{
    Error, ErrorKind, Result,
    tensor::{DType, Storage, Tensor},
};

/// The storages of an archive and the tensors that a pickle makes of them.
pub(crate) struct Tensors {
    records: Vec<Arc<Storage>>,
    tensors: HashMap<RecordId, Result<Tensor>>,
}

impl Tensors {
    /// Rebuilds every tensor of the pickle. Tensors of an unsupported kind, and malformed ones, are kept as errors.
    pub fn new(pickle: &Pickle, records: impl Iterator<Item = Storage>) -> Self {
        let records: Vec<_> = records.map(Arc::new).collect();
        let storages = records.iter().map(|storage| (storage.name(), storage)).collect();
        let mut rebuild = Rebuild { pickle, storages, tensors: HashMap::new() };
        for (id, record) in pickle.iter() {
            // Arguments stand in front of the call in the arena, so a Parameter finds its tensor rebuilt.
            if let Record::Object(object) = record
                && let Some(tensor) = rebuild.object(object)
            {
                rebuild.tensors.insert(id, tensor.map_err(|e| e.at(format!("data.pkl, byte {}", object.position))));
            }
        }
        let tensors = rebuild.tensors;
        Self { records, tensors }
    }

    /// The tensor that a record stands for, if it is one.
    pub fn get(&self, id: RecordId) -> Option<&Result<Tensor>> {
        self.tensors.get(&id)
    }

    /// All records of the archive, in the directory's order.
    pub fn records(&self) -> &[Arc<Storage>] {
        &self.records
    }

    /// The first malformed tensor.
    pub fn malformed(&self) -> Option<(RecordId, &Error)> {
        let errors = self.tensors.iter().filter_map(|(&id, tensor)| Some((id, tensor.as_ref().err()?)));
        errors.filter(|(_, error)| error.kind() != ErrorKind::Unsupported).min_by_key(|(id, _)| *id)
    }
}

struct Rebuild<'a> {
    pickle: &'a Pickle,
    storages: HashMap<&'a str, &'a Arc<Storage>>,
    tensors: HashMap<RecordId, Result<Tensor>>,
}

impl Rebuild<'_> {
    /// The tensor of a call, if it is one that makes a tensor.
    fn object(&self, object: &Object) -> Option<Result<Tensor>> {
        let function = self.pickle.global(object.callable)?;
        self.call(function, self.pickle.tuple(object.args)?)
    }

    fn call(&self, function: &Global, args: &[RecordId]) -> Option<Result<Tensor>> {
        let tensor = match (function.module.as_str(), function.name.as_str()) {
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_tensor_v3") => {
                self.strided(&function.name, args)
            }
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
                let inner = args.first().and_then(|id| self.tensors.get(id));
                inner.cloned().unwrap_or_else(|| Err(Error::format("a Parameter that is made of no tensor")))
            }
            ("torch._tensor", "_rebuild_from_type" | "_rebuild_from_type_v2") => self.subclass(args),
            ("torch._utils", name) if name.starts_with("_rebuild_") => Err(Error::unsupported(format!(
                "{} (`{}`) is not supported; store a plain dense tensor",
                kind(name),
                printable(name)
            ))),
            ("torch.nn.parameter", "UninitializedParameter" | "UninitializedBuffer") => {
                Err(Error::unsupported("it is not initialised; call the model once in Python before saving it"))
            }
            _ => return None,
        };
        Some(tensor)
    }

    /// `_rebuild_from_type_v2(function, type, args, state)`: a tensor with attributes, or of a class of its own.
    fn subclass(&self, args: &[RecordId]) -> Result<Tensor> {
        let [function, class, args, ..] = *args else {
            return Err(Error::format("a tensor of a subclass without its class"));
        };
        let names = self.pickle.global(function).zip(self.pickle.global(class)).zip(self.pickle.tuple(args));
        let ((function, class), args) =
            names.ok_or_else(|| Error::format("a tensor of a subclass without its class"))?;
        let plain = [("torch", "Tensor"), ("torch.nn.parameter", "Parameter"), ("torch.nn.parameter", "Buffer")];
        if !plain.contains(&(class.module.as_str(), class.name.as_str())) {
            return Err(Error::unsupported(format!(
                "tensors of class {class} are not supported; store it as a plain dense tensor"
            )));
        }
        if function.name.starts_with("_rebuild_from_type") {
            return Err(Error::format("a tensor of a subclass of a subclass"));
        }
        self.call(function, args).unwrap_or_else(|| Err(Error::format(format!("`{function}` makes no tensor"))))
    }

    /// `(storage, offset, sizes, strides, requires_grad, hooks, metadata)`; version 3 has a dtype before the metadata.
    fn strided(&self, function: &str, args: &[RecordId]) -> Result<Tensor> {
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
        let Record::Persistent(storage) = *self.pickle.get(storage) else {
            return Err(Error::format("a tensor without a storage"));
        };
        let (storage, mut dtype) = self.storage(storage)?;
        let mut metadata = rest.get(2);
        if function == "_rebuild_tensor_v3" {
            dtype = Some(self.dtype(rest.get(2).copied())?);
            metadata = rest.get(3);
        }
        if let Some(&metadata) = metadata {
            self.plain(metadata)?;
        }
        let offset = self.count(offset, "offset")?;
        let sizes = self.counts(sizes, "size")?;
        let strides = self.counts(strides, "stride")?;
        Tensor::new(dtype.unwrap_or(DType::U8), sizes, strides, offset, storage)
    }

    /// `("storage", type, key, location, numel)`, and the dtype unless the type is `UntypedStorage`.
    fn storage(&self, id: RecordId) -> Result<(Arc<Storage>, Option<DType>)> {
        let wrong = || Error::format("a reference to something that is no storage");
        let &[tag, class, key, _, numel, ..] = self.pickle.tuple(id).ok_or_else(wrong)? else { return Err(wrong()) };
        if self.pickle.str(tag) != Some("storage") {
            return Err(wrong());
        }
        let class = self.pickle.global(class).ok_or_else(wrong)?;
        let key = self.pickle.str(key).ok_or_else(wrong)?;
        let dtype = storage_dtype(class)?;
        let storage = *self.storages.get(format!("data/{key}").as_str()).ok_or_else(|| {
            Error::format(format!("its storage, record `data/{}`, is missing from the archive", key.escape_debug()))
        })?;
        let numel = self.count(numel, "storage length")?;
        let held = storage.len() / dtype.map_or(1, DType::size);
        if held != numel {
            return Err(Error::format(format!(
                "its storage is said to have {numel} elements of {}, but record `{}` holds {held}",
                dtype.map_or("one byte", DType::name),
                storage.name()
            )));
        }
        Ok((storage.clone(), dtype))
    }

    fn dtype(&self, id: Option<RecordId>) -> Result<DType> {
        let global =
            id.and_then(|id| self.pickle.global(id)).ok_or_else(|| Error::format("a tensor without a dtype"))?;
        let dtype = (global.module == "torch").then(|| DType::from_name(&global.name)).flatten();
        dtype.ok_or_else(|| Error::unsupported(format!("tensors of dtype {global} are not supported")))
    }

    /// Refuses the bits that make a tensor's values others than those that are stored.
    fn plain(&self, metadata: RecordId) -> Result<()> {
        let Record::Dict(bits) = self.pickle.get(metadata) else {
            return match self.pickle.get(metadata) {
                Record::None => Ok(()),
                _ => Err(Error::format("the metadata of a tensor is no dict")),
            };
        };
        let set = bits.iter().find(|(_, value)| !matches!(self.pickle.get(*value), Record::Bool(false)));
        set.map_or(Ok(()), |&(key, _)| {
            let bit = self.pickle.str(key).unwrap_or("?");
            Err(Error::unsupported(format!(
                "tensors with the bit `{}` are not supported; save .resolve_conj().resolve_neg() of it",
                bit.escape_debug()
            )))
        })
    }

    fn count(&self, id: RecordId, what: &str) -> Result<usize> {
        match self.pickle.get(id) {
            Record::Int(value) => {
                usize::try_from(*value).map_err(|_| Error::format(format!("a tensor with the negative {what} {value}")))
            }
            Record::BigInt(_) => Err(Error::format(format!("a tensor with a {what} beyond 64 bits"))),
            _ => Err(Error::format(format!("a tensor with a {what} that is no int"))),
        }
    }

    fn counts(&self, id: RecordId, what: &str) -> Result<Vec<usize>> {
        let elements = match self.pickle.get(id) {
            Record::Tuple(elements) => Some(&elements[..]),
            Record::List(elements) => Some(&elements[..]),
            // torch.Size((2, 3))
            Record::Object(object) => {
                let size = self.pickle.global(object.callable).is_some_and(|g| g.module == "torch" && g.name == "Size");
                let inner = self.pickle.tuple(object.args).and_then(|args| args.first());
                inner.filter(|_| size).and_then(|&id| self.pickle.tuple(id))
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

/// torch's own limit on the number of dimensions.
const RANK_LIMIT: usize = 64;

/// What kind of tensor a function of `torch._utils` rebuilds.
fn kind(function: &str) -> &str {
    match function {
        "_rebuild_sparse_tensor" | "_rebuild_sparse_csr_tensor" => "a sparse tensor",
        "_rebuild_qtensor" => "a quantized tensor",
        "_rebuild_nested_tensor" => "a nested tensor",
        "_rebuild_meta_tensor_no_storage" => "a tensor on the meta device, which holds no data,",
        "_rebuild_wrapper_subclass" => "a tensor without data of its own",
        _ => "a tensor of an unknown kind",
    }
}

/// The dtype of a typed storage class; `None` for `UntypedStorage`.
fn storage_dtype(class: &Global) -> Result<Option<DType>> {
    let known = matches!(class.module.as_str(), "torch" | "torch.cuda" | "torch.storage");
    Ok(Some(match class.name.as_str() {
        _ if !known => return Err(Error::unsupported(format!("storages of class {class}"))),
        "UntypedStorage" => return Ok(None),
        "DoubleStorage" => DType::F64,
        "FloatStorage" => DType::F32,
        "HalfStorage" => DType::F16,
        "BFloat16Storage" => DType::BF16,
        "LongStorage" => DType::I64,
        "IntStorage" => DType::I32,
        "ShortStorage" => DType::I16,
        "CharStorage" => DType::I8,
        "ByteStorage" => DType::U8,
        "BoolStorage" => DType::Bool,
        "ComplexDoubleStorage" => DType::C128,
        "ComplexFloatStorage" => DType::C64,
        _ => return Err(Error::unsupported(format!("storages of class {class} are not supported"))),
    }))
}
