//! The plain records that a pickle is read into: an arena addressed by index.
//!
//! Records refer to each other by [`RecordId`], so sharing and cycles are representable, and dropping the arena is flat
//! however deep the file nests.

use std::borrow::Cow;

/// The position of a record in its [`Pickle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RecordId(pub(super) u32);

/// One value of a pickle.
#[derive(Debug)]
pub(crate) enum Record {
    None,
    Bool(bool),
    Int(i64),
    /// An integer beyond 64 bits: two's complement, little-endian.
    BigInt(Box<[u8]>),
    Float(f64),
    Str(Box<str>),
    Bytes(Box<[u8]>),
    List(Vec<RecordId>),
    Tuple(Box<[RecordId]>),
    /// The entries in the file's order.
    Dict(Vec<(RecordId, RecordId)>),
    Set(Vec<RecordId>),
    /// A class or function by its name.
    Global(Box<Global>),
    /// What Python would make by calling something.
    Object(Box<Object>),
    /// A reference to something outside the pickle: a tensor's storage.
    Persistent(RecordId),
}

/// The name of a class or function, with Python 3's names for the modules that Python 2 named otherwise.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Global {
    pub module: String,
    pub name: String,
}

impl std::fmt::Display for Global {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", printable(&self.module), printable(&self.name))
    }
}

/// A text from the file with its control characters escaped, so that no message sends them to a terminal.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(escaped).collect())
}

/// Something that Python would make by calling `callable`; here it is never called.
#[derive(Debug)]
pub(crate) struct Object {
    /// What would be called.
    pub callable: RecordId,
    /// The tuple of arguments.
    pub args: RecordId,
    /// The dict of keyword arguments, where the file has one.
    pub keywords: Option<RecordId>,
    /// What would then be given to `__setstate__` or put into `__dict__`, in the file's order.
    pub states: Vec<RecordId>,
    /// What would then be appended.
    pub elements: Vec<RecordId>,
    /// What would then be set by key.
    pub items: Vec<(RecordId, RecordId)>,
    /// Where the opcode stands, in bytes.
    pub position: usize,
}

/// The records of one pickle.
#[derive(Debug)]
pub(crate) struct Pickle {
    pub(super) records: Vec<Record>,
    pub(super) root: RecordId,
    /// The first name that no model needs, with the byte where it stands.
    pub(super) hostile: Option<(RecordId, usize)>,
    pub(super) name: String,
}

impl Pickle {
    /// The record that the pickle stands for.
    pub fn root(&self) -> RecordId {
        self.root
    }

    /// What error messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first class or function that the file names and no model needs, with the byte where it stands.
    pub fn hostile(&self) -> Option<(RecordId, usize)> {
        self.hostile
    }

    /// A record.
    pub fn get(&self, id: RecordId) -> &Record {
        &self.records[id.0 as usize]
    }

    /// All records; the arguments of an object stand in front of it.
    pub fn iter(&self) -> impl Iterator<Item = (RecordId, &Record)> {
        self.records.iter().enumerate().map(|(i, record)| (RecordId(i as u32), record))
    }

    /// The string, if it is one.
    pub fn str(&self, id: RecordId) -> Option<&str> {
        match self.get(id) {
            Record::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The name, if it is a class or function.
    pub fn global(&self, id: RecordId) -> Option<&Global> {
        match self.get(id) {
            Record::Global(global) => Some(global),
            _ => None,
        }
    }

    /// The elements, if it is a tuple.
    pub fn tuple(&self, id: RecordId) -> Option<&[RecordId]> {
        match self.get(id) {
            Record::Tuple(elements) => Some(elements),
            _ => None,
        }
    }

    /// The object, if it is one.
    pub fn object(&self, id: RecordId) -> Option<&Object> {
        match self.get(id) {
            Record::Object(object) => Some(object),
            _ => None,
        }
    }
}
