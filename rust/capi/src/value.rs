//! Values: what a file holds whose root is no module, or what a module's file holds besides.

use std::{
    ffi::c_void,
    mem::MaybeUninit,
    sync::{Arc, OnceLock},
};

use engine::{
    Error, Result,
    load::{Checkpoint, Value},
};

use crate::{
    model::NtModel,
    source::{self, NtReader, NtRelease},
    status::{NtStatus, construct, guard},
    strings::{NtStrings, Strings},
    tensors::{NtTensors, Tensors},
    types::{NtBytes, NtIntegersMut, NtSliceMut, NtStr, give, required},
};

/// A value that a file holds: a dict, a list, a tensor, a number. It never changes; any number of threads may use it at
/// once. It shares the file with the values and models made from it, and may be freed before them.
pub struct NtValue {
    file: Arc<Checkpoint>,
    value: Value,
    kind: NtValueKind,
    number: f64,
    data: Vec<u8>,
    children: OnceLock<Children>,
    tensors: OnceLock<Result<Tensors>>,
}

/// What a value is, in Python's words: one of the constants `NT_VALUE_NONE` and so on.
pub type NtValueKind = u32;
/// `None`.
pub const NT_VALUE_NONE: NtValueKind = 0;
/// A bool.
pub const NT_VALUE_BOOL: NtValueKind = 1;
/// An int of any size.
pub const NT_VALUE_INT: NtValueKind = 2;
/// A float.
pub const NT_VALUE_FLOAT: NtValueKind = 3;
/// A text.
pub const NT_VALUE_STR: NtValueKind = 4;
/// Bytes.
pub const NT_VALUE_BYTES: NtValueKind = 5;
/// A list.
pub const NT_VALUE_LIST: NtValueKind = 6;
/// A tuple.
pub const NT_VALUE_TUPLE: NtValueKind = 7;
/// A set.
pub const NT_VALUE_SET: NtValueKind = 8;
/// A dict, whose keys may be anything.
pub const NT_VALUE_DICT: NtValueKind = 9;
/// A tensor.
pub const NT_VALUE_TENSOR: NtValueKind = 10;
/// A module; `nt_value_model` makes a model of it.
pub const NT_VALUE_MODULE: NtValueKind = 11;
/// An object of another class.
pub const NT_VALUE_OBJECT: NtValueKind = 12;
/// A class or a function by its name, or a dtype.
pub const NT_VALUE_CLASS: NtValueKind = 13;
/// Bytes that tensors share, by themselves.
pub const NT_VALUE_STORAGE: NtValueKind = 14;

/// What a value is, and what is in it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NtDescription {
    /// What it is.
    pub kind: NtValueKind,
    /// The value of a bool, an int or a float, an int rounded to the nearest double; NaN for others.
    pub number: f64,
    /// Of a text its UTF-8, of bytes the bytes, of an int its two's complement, least significant byte first and as long
    /// as it needs, of a module, an object or a class the name of the class. A NUL that does not count ends it.
    pub data: *const u8,
    /// How many bytes of `data` count.
    pub length: usize,
    /// How many values are in it.
    pub count: usize,
}

/// The values in a value, in the file's order: elements, the entries of a dict, the attributes of an object. All arrays
/// have `count` entries.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NtChildren {
    /// How many there are.
    pub count: usize,
    /// What each is.
    pub kinds: *const NtValueKind,
    /// What the key of each is; `NT_VALUE_NONE` in lists, tuples and sets.
    pub key_kinds: *const NtValueKind,
    /// The keys: texts as they are, others as Python prints them, shortened where that is long. Empty in lists, tuples and
    /// sets. `nt_value_key` gives a key as a value.
    pub keys: NtStrings,
}

/// What [`NtChildren`] points into.
struct Children {
    keys: Vec<Option<Value>>,
    values: Vec<Value>,
    kinds: Vec<NtValueKind>,
    key_kinds: Vec<NtValueKind>,
    names: Strings,
}

impl NtValue {
    fn new(file: Arc<Checkpoint>, value: Value) -> Self {
        let kind = kind(&value);
        let bool = || value.as_bool().map(f64::from);
        let number = bool().or_else(|| value.as_f64()).or_else(|| value.as_int_bytes().map(|b| rounded(&b)));
        let text = || value.as_str().map(|text| text.as_bytes().to_vec());
        let class = || value.class().map(String::into_bytes);
        let data = value.as_int_bytes().or_else(text).or_else(|| value.as_bytes()).or_else(class);
        let mut data = data.unwrap_or_default();
        data.push(0);
        let number = number.unwrap_or(f64::NAN);
        Self { file, value, kind, number, data, children: OnceLock::new(), tensors: OnceLock::new() }
    }

    fn root(file: Arc<Checkpoint>) -> Result<Self> {
        let root = file.root()?;
        Ok(Self::new(file, root))
    }

    fn children(&self) -> &Children {
        self.children.get_or_init(|| {
            let value = &self.value;
            let (keys, values): (Vec<_>, Vec<_>) = if let Some(entries) = value.entries() {
                entries.into_iter().map(|(key, value)| (Some(key), value)).unzip()
            } else if let Some(elements) = value.elements() {
                elements.into_iter().map(|value| (None, value)).unzip()
            } else if let Some(attributes) = value.attributes() {
                let names = attributes.iter().map(|(name, _)| name).collect();
                let values: Vec<Value> = attributes.iter().map(|(_, value)| value.clone()).collect();
                let kinds = values.iter().map(kind).collect();
                let key_kinds = vec![NT_VALUE_STR; values.len()];
                return Children { keys: vec![None; values.len()], values, kinds, key_kinds, names };
            } else {
                Default::default()
            };
            let key = |key: &Option<Value>| key.as_ref().map_or(NT_VALUE_NONE, kind);
            let name = |key: &Option<Value>| match key {
                Some(key) => key.as_str().map_or_else(|| key.to_string(), str::to_owned),
                None => String::new(),
            };
            Children {
                kinds: values.iter().map(kind).collect(),
                key_kinds: keys.iter().map(key).collect(),
                names: keys.iter().map(name).collect(),
                keys,
                values,
            }
        })
    }

    fn tensors(&self) -> Result<&Tensors> {
        let tensors = self.tensors.get_or_init(|| self.value.tensors().map(Tensors::new));
        tensors.as_ref().map_err(Error::clone)
    }
}

fn kind(value: &Value) -> NtValueKind {
    if value.is_module() {
        return NT_VALUE_MODULE;
    }
    match value.kind().as_str() {
        "None" => NT_VALUE_NONE,
        "bool" => NT_VALUE_BOOL,
        "int" => NT_VALUE_INT,
        "float" => NT_VALUE_FLOAT,
        "str" => NT_VALUE_STR,
        "bytes" => NT_VALUE_BYTES,
        "list" => NT_VALUE_LIST,
        "tuple" => NT_VALUE_TUPLE,
        "set" => NT_VALUE_SET,
        "dict" => NT_VALUE_DICT,
        "tensor" => NT_VALUE_TENSOR,
        "storage" => NT_VALUE_STORAGE,
        _ if value.is_class() => NT_VALUE_CLASS,
        _ => NT_VALUE_OBJECT,
    }
}

/// The double nearest to an int of these bytes.
fn rounded(bytes: &[u8]) -> f64 {
    let negative = bytes.last().is_some_and(|&byte| byte > 127);
    let value = bytes.iter().rev().fold(0.0, |value: f64, &byte| value * 256.0 + f64::from(byte));
    if negative { value - 256f64.powi(bytes.len() as i32) } else { value }
}

/// Opens a file that `torch.save` wrote, of any version of torch, and gives the value at its root, whatever it is.
///
/// What the file claims is checked before memory is taken; nothing that it names is called. The numbers of tensors are
/// read when they are first used, so the file must not be changed in place while a value or model of it lives.
///
/// `NT_ERROR_IO`: the file cannot be read. `NT_ERROR_FORMAT`: it is damaged. `NT_ERROR_UNSUPPORTED`: it is of another
/// kind.
///
/// `out` receives the value, to be freed with `nt_value_destroy`; NULL on failure.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_value_open(path: NtStr, out: Option<&mut MaybeUninit<Option<Box<NtValue>>>>) -> NtStatus {
    construct(out, || source::open(path).and_then(NtValue::root))
}

/// The same for a file in memory: `bytes`, which are not copied and must stay as they are until `release` is called with
/// `context`. That happens once, when the last value or model of the file is freed, or before this returns where it fails.
/// Where `release` is NULL, they must stay for as long as a value or model of the file lives.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_value_open_bytes(
    bytes: NtBytes,
    release: NtRelease,
    context: *mut c_void,
    out: Option<&mut MaybeUninit<Option<Box<NtValue>>>>,
) -> NtStatus {
    let file = || source::open_bytes(bytes, release, context);
    source::opened(file, out, NtValue::root)
}

/// The same for a file behind a reader, which is called whenever a part of the file is needed, and is released when the
/// last value or model of the file is freed, or before this returns where it fails.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_value_open_reader(
    reader: Option<&NtReader>,
    out: Option<&mut MaybeUninit<Option<Box<NtValue>>>>,
) -> NtStatus {
    source::opened(|| source::open_reader(reader), out, NtValue::root)
}

/// Frees a value; NULL is allowed. Pointers that the value gave out are then invalid.
#[unsafe(no_mangle)]
pub extern "C" fn nt_value_destroy(value: Option<Box<NtValue>>) -> NtStatus {
    guard(|| {
        drop(value);
        Ok(())
    })
}

/// What a value is. `out` receives pointers that are valid as long as the value.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_value_describe(value: Option<&NtValue>, out: Option<&mut MaybeUninit<NtDescription>>) -> NtStatus {
    guard(|| {
        let value = required(value, "value")?;
        let description = NtDescription {
            kind: value.kind,
            number: value.number,
            data: value.data.as_ptr(),
            length: value.data.len() - 1,
            count: value.children().values.len(),
        };
        give(out, description)
    })
}

/// The values in a value, as one table. `out` receives pointers that are valid as long as the value.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_value_children(value: Option<&NtValue>, out: Option<&mut MaybeUninit<NtChildren>>) -> NtStatus {
    guard(|| {
        let table = required(value, "value")?.children();
        let children = NtChildren {
            count: table.values.len(),
            kinds: table.kinds.as_ptr(),
            key_kinds: table.key_kinds.as_ptr(),
            keys: table.names.as_c(),
        };
        give(out, children)
    })
}

/// Value `index` of `nt_value_children` as a value of its own, to be freed with `nt_value_destroy`; `out` is NULL on
/// failure.
///
/// `NT_ERROR_ARGUMENT`: there are not so many.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_value_child(
    value: Option<&NtValue>,
    index: usize,
    out: Option<&mut MaybeUninit<Option<Box<NtValue>>>>,
) -> NtStatus {
    construct(out, || {
        let value = required(value, "value")?;
        let values = &value.children().values;
        let child = values
            .get(index)
            .ok_or_else(|| Error::argument(format!("value {index} of {}; they count from 0", values.len())))?;
        Ok(NtValue::new(value.file.clone(), child.clone()))
    })
}

/// The key of entry `index` of a dict as a value of its own, to be freed with `nt_value_destroy`; `out` is NULL on failure.
///
/// `NT_ERROR_ARGUMENT`: the value is no dict, or has not so many entries.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_value_key(
    value: Option<&NtValue>,
    index: usize,
    out: Option<&mut MaybeUninit<Option<Box<NtValue>>>>,
) -> NtStatus {
    construct(out, || {
        let value = required(value, "value")?;
        let key = value.children().keys.get(index).cloned().flatten();
        let key = key.ok_or_else(|| Error::argument(format!("there is no entry {index} of a dict here")))?;
        Ok(NtValue::new(value.file.clone(), key))
    })
}

/// The module that a value is, as a model. `out` receives it, to be freed with `nt_model_destroy`; NULL on failure.
///
/// `NT_ERROR_UNSUPPORTED`: the value is no module; the message says what it is. `NT_ERROR_FORMAT`: the module is malformed.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_value_model(
    value: Option<&NtValue>,
    out: Option<&mut MaybeUninit<Option<Box<NtModel>>>>,
) -> NtStatus {
    construct(out, || {
        let value = required(value, "value")?;
        Ok(NtModel::of_file(value.file.clone(), value.value.module()?))
    })
}

/// All tensors in a value, also those deeper in it, as one table. `out` receives pointers that are valid as long as the
/// value.
///
/// `NT_ERROR_FORMAT`: the value contains itself. `NT_ERROR_UNSUPPORTED`: it is nested too deep.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_value_tensors(value: Option<&NtValue>, out: Option<&mut MaybeUninit<NtTensors>>) -> NtStatus {
    guard(|| give(out, required(value, "value")?.tensors()?.as_c()))
}

/// The numbers of tensor `index` of `nt_value_tensors`, flat and row-major, converted to double; the first use checks the
/// CRC of the record in the file. `values` has as many elements as the tensor, or twice as many where it is complex: the
/// real and the imaginary part in turn.
///
/// `NT_ERROR_FORMAT`: the record is damaged. `NT_ERROR_UNSUPPORTED`: the tensor cannot be used; see `reasons`.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_value_tensor_values(value: Option<&NtValue>, index: usize, values: NtSliceMut) -> NtStatus {
    guard(|| required(value, "value")?.tensors()?.values(index, values))
}

/// The same for a tensor of integers or bools, exactly; numbers of `uint64` are given with their bits.
///
/// `NT_ERROR_ARGUMENT`: the tensor holds other numbers.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_value_tensor_integers(value: Option<&NtValue>, index: usize, values: NtIntegersMut) -> NtStatus {
    guard(|| required(value, "value")?.tensors()?.integers(index, values))
}

/// Checks the CRC-32 of every record of the value's file, whose numbers are otherwise checked when they are first used.
///
/// `NT_ERROR_FORMAT`: a record is damaged; the message names it.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn nt_value_verify(value: Option<&NtValue>) -> NtStatus {
    guard(|| required(value, "value")?.file.verify(&mut |_, _| {}))
}
