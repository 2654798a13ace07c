//! What the pickle of a file refers to by keys: storages, parts of them and, in the oldest files, tensors.

use std::{borrow::Cow, collections::HashMap, ops::Range, sync::Arc};

use super::{
    kinds::Element,
    records::{Global, Pickle, Record, RecordId},
    tensors::Described,
};
use crate::{
    Error, Result,
    tensor::{DType, Storage, Tensor},
};

/// What a file holds besides its pickle.
#[derive(Default)]
pub(crate) struct Contents {
    /// What stands in front of a storage's key in its name.
    pub place: &'static str,
    /// All parts of the file that have bytes, in its order.
    pub records: Vec<Arc<Storage>>,
    /// Storages by key.
    pub storages: HashMap<String, Stored>,
    /// Tensors by key.
    pub tensors: HashMap<String, Described>,
}

/// A storage, or a part of one that was a storage of its own in Python.
#[derive(Clone)]
pub(crate) struct Stored {
    pub storage: Arc<Storage>,
    /// The part, in bytes.
    pub part: Range<usize>,
}

impl Stored {
    pub fn whole(storage: Arc<Storage>) -> Self {
        let part = 0..storage.len();
        Self { storage, part }
    }

    /// A part of it, by elements of `size` bytes.
    pub fn view(&self, offset: usize, count: usize, size: usize) -> Result<Self> {
        let range = offset.checked_mul(size).zip(count.checked_mul(size)).and_then(|(offset, length)| {
            let start = self.part.start.checked_add(offset)?;
            Some(start..start.checked_add(length)?)
        });
        let range = range.filter(|range| range.end <= self.part.end).ok_or_else(|| {
            Error::format(format!(
                "{count} elements from element {offset} on are said to be a view of storage `{}`, which holds {}",
                self.storage.name(),
                self.part.len() / size
            ))
        })?;
        Ok(Self { storage: self.storage.clone(), part: range })
    }

    /// A tensor in it; shape, strides and offset count elements.
    pub fn tensor(&self, dtype: DType, shape: Vec<usize>, strides: Vec<usize>, offset: usize) -> Result<Tensor> {
        let size = dtype.size();
        if self.part == (0..self.storage.len()) {
            return Tensor::new(dtype, shape, strides, offset, self.storage.clone());
        }
        if !self.part.start.is_multiple_of(size) {
            return Err(Error::format(format!(
                "a view of storage `{}` begins at byte {}, between two elements",
                self.storage.name(),
                self.part.start
            )));
        }
        // Checked against the part first, by a storage of its length that holds nothing.
        let (source, range) = self.storage.location();
        let start = range.start + self.part.start;
        let part = Storage::new(self.storage.name(), source.clone(), start..start + self.part.len())?;
        Tensor::new(dtype, shape.clone(), strides.clone(), offset, Arc::new(part))?;
        Tensor::new(dtype, shape, strides, offset + self.part.start / size, self.storage.clone())
    }
}

/// A storage as a persistent id describes it.
pub(crate) struct Reference<'a> {
    pub key: Cow<'a, str>,
    pub element: Element,
    pub count: usize,
    /// The part of it that is meant: its key, offset and number of elements.
    view: Option<RecordId>,
}

impl Pickle {
    /// Reads `("storage", type, key, location, numel)`, which the legacy stream ends with `None` or with the key, offset
    /// and length of a view.
    pub fn storage_reference(&self, id: RecordId) -> Result<Reference<'_>> {
        let wrong = || Error::format("a reference to something that is no storage");
        let &[tag, class, key, _, count, ref rest @ ..] = self.tuple(id).ok_or_else(wrong)? else {
            return Err(wrong());
        };
        if self.text(tag).as_deref() != Some("storage") {
            return Err(wrong());
        }
        let class: &Global = self.global(class).ok_or_else(wrong)?;
        let view = match *rest {
            [] => None,
            [view] => Some(view).filter(|&view| !matches!(self.get(view), Record::None)),
            _ => return Err(wrong()),
        };
        Ok(Reference {
            key: self.text(key).filter(|_| !matches!(self.get(key), Record::Int(_))).ok_or_else(wrong)?,
            element: Element::of_storage(class)?,
            count: self.count(count, "storage length")?,
            view,
        })
    }
}

impl Contents {
    /// The storage that a reference means, if it has the length that the reference gives it.
    pub fn storage(&self, pickle: &Pickle, reference: &Reference) -> Result<Stored> {
        let Reference { key, element, count, view } = reference;
        let stored = self.storages.get(&**key).ok_or_else(|| {
            let name = format!("{}{}", self.place, key.escape_debug());
            Error::format(format!("its storage, record `{name}`, is missing from the file"))
        })?;
        let size = element.size();
        let held = stored.part.len() / size;
        if held != *count {
            return Err(Error::format(format!(
                "its storage is said to have {count} elements of {}, but record `{}` holds {held}",
                element.name(),
                stored.storage.name()
            )));
        }
        let Some(view) = *view else { return Ok(stored.clone()) };
        match pickle.tuple(view) {
            Some(&[_, offset, count]) => {
                stored.view(pickle.count(offset, "view offset")?, pickle.count(count, "view length")?, size)
            }
            _ => Err(Error::format("a view of a storage that is no key, offset and length")),
        }
    }
}
