//! The element types and layouts of tensors by torch's names, also of those that cannot be used.

use super::records::{Global, printable};
use crate::{Error, Result, tensor::DType};

/// What a storage's elements are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    /// Bytes; the tensor says what they mean.
    Untyped,
    /// Numbers.
    Number(DType),
    /// Something else: its name, and its size in bytes as torch counts it.
    Other(&'static str, usize),
}

/// Dtypes that hold no numbers of one element each, or numbers that have no meaning without a scale.
const OTHERS: [(&str, usize); 25] = [
    ("qint8", 1),
    ("quint8", 1),
    ("qint32", 4),
    ("quint4x2", 1),
    ("quint2x4", 1),
    ("bits8", 1),
    ("bits16", 2),
    ("bits1x8", 1),
    ("bits2x4", 1),
    ("bits4x2", 1),
    ("float4_e2m1fn_x2", 1),
    ("uint1", 1),
    ("uint2", 1),
    ("uint3", 1),
    ("uint4", 1),
    ("uint5", 1),
    ("uint6", 1),
    ("uint7", 1),
    ("int1", 1),
    ("int2", 1),
    ("int3", 1),
    ("int4", 1),
    ("int5", 1),
    ("int6", 1),
    ("int7", 1),
];

/// The classes of storages by the dtypes of their elements.
const STORAGES: [(&str, &str); 17] = [
    ("DoubleStorage", "float64"),
    ("FloatStorage", "float32"),
    ("HalfStorage", "float16"),
    ("BFloat16Storage", "bfloat16"),
    ("LongStorage", "int64"),
    ("IntStorage", "int32"),
    ("ShortStorage", "int16"),
    ("CharStorage", "int8"),
    ("ByteStorage", "uint8"),
    ("BoolStorage", "bool"),
    ("ComplexDoubleStorage", "complex128"),
    ("ComplexFloatStorage", "complex64"),
    ("QInt8Storage", "qint8"),
    ("QUInt8Storage", "quint8"),
    ("QInt32Storage", "qint32"),
    ("QUInt4x2Storage", "quint4x2"),
    ("QUInt2x4Storage", "quint2x4"),
];

impl Element {
    /// The element type of torch's name.
    fn from_name(name: &str) -> Option<Self> {
        let other = || OTHERS.iter().find(|entry| entry.0 == name).map(|&(name, size)| Self::Other(name, size));
        DType::from_name(name).map(Self::Number).or_else(other)
    }

    /// The dtype that a file names.
    pub fn of_dtype(global: &Global) -> Result<Self> {
        let element = (global.module == "torch").then(|| Self::from_name(&global.name)).flatten();
        element.ok_or_else(|| Error::unsupported(format!("tensors of dtype {global} are not known")))
    }

    /// The elements of a class of storages.
    pub fn of_storage(class: &Global) -> Result<Self> {
        let unknown = || Error::unsupported(format!("storages of class {class} are not known"));
        if !matches!(class.module.as_str(), "torch" | "torch.cuda" | "torch.storage") {
            return Err(unknown());
        }
        if matches!(class.name.as_str(), "UntypedStorage" | "_UntypedStorage") {
            return Ok(Self::Untyped);
        }
        let entry = STORAGES.iter().find(|entry| entry.0 == class.name).ok_or_else(unknown)?;
        Self::from_name(entry.1).ok_or_else(unknown)
    }

    /// torch's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Untyped => "one byte",
            Self::Number(dtype) => dtype.name(),
            Self::Other(name, _) => name,
        }
    }

    /// The size in bytes.
    pub fn size(self) -> usize {
        match self {
            Self::Untyped => 1,
            Self::Number(dtype) => dtype.size(),
            Self::Other(_, size) => size,
        }
    }

    /// The dtype of numbers of the same size, whose tensors lie in storages as those of this one.
    pub fn stand_in(self) -> DType {
        match self {
            Self::Number(dtype) => dtype,
            Self::Untyped | Self::Other(_, 1) => DType::U8,
            Self::Other(_, 2) => DType::U16,
            Self::Other(..) => DType::U32,
        }
    }

    /// Whether a tensor may have more elements than bytes.
    pub fn is_packed(self) -> bool {
        matches!(self, Self::Other("quint4x2" | "quint2x4", _))
    }
}

/// The kind of tensor that a function of `torch._utils` rebuilds.
pub(crate) fn rebuilt_by(function: &str) -> &'static str {
    match function {
        "_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_tensor_v3" => "strided",
        "_rebuild_sparse_tensor" | "_rebuild_sparse_csr_tensor" => "sparse",
        "_rebuild_qtensor" => "quantized",
        "_rebuild_nested_tensor" | "_rebuild_njt" => "nested",
        "_rebuild_meta_tensor_no_storage" => "meta",
        "_rebuild_wrapper_subclass" => "subclass",
        _ => "unknown",
    }
}

/// Why a tensor of a kind cannot be used, and what to do.
pub(crate) fn refusal(kind: &str, function: &str) -> Error {
    let what = match kind {
        "quantized" => "a quantized tensor",
        "nested" => "a nested tensor",
        "meta" => "a tensor on the meta device, which holds no data,",
        "subclass" => "a tensor of a subclass without data of its own",
        kind if kind.starts_with("sparse") => "a sparse tensor",
        _ => "a tensor of an unknown kind",
    };
    let function = printable(function);
    Error::unsupported(format!("{what} (`{function}`) is not supported; store a plain dense tensor"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_storage_class_has_elements() {
        for (class, dtype) in STORAGES {
            let element = Element::of_storage(&Global { module: "torch".to_owned(), name: class.to_owned() }).unwrap();
            assert_eq!(element.name(), dtype);
            assert_eq!(element.stand_in().size(), element.size());
        }
        for (name, size) in OTHERS {
            assert_eq!(DType::from_name(name), None);
            assert_eq!(Element::Other(name, size).stand_in().size(), size);
        }
    }
}
