//! The tensors of a file under their names, without recursion and within stated limits.

use std::collections::HashSet;

use super::{
    records::{Object, RecordId},
    value::{Records, View},
};
use crate::{Error, Result, tensor::Tensor};

/// Containers may be nested this deep.
pub(crate) const DEPTH_LIMIT: usize = 1000;
/// A file that shares its containers may expand to this many places.
const PLACES_LIMIT: usize = 1 << 22;
/// All names together may take this many bytes.
const NAMES_LIMIT: usize = 1 << 26;

/// A tensor under its name.
#[derive(Clone, Debug)]
pub struct NamedTensor {
    /// The keys that lead to it, joined by dots; in a module or a state dict, its name in the state dict.
    pub name: String,
    /// The tensor; an error where its kind is not supported.
    pub tensor: Result<Tensor>,
}

/// The dicts of an object that is a module.
pub(crate) struct ModuleDicts {
    pub parameters: RecordId,
    pub buffers: Option<RecordId>,
    pub modules: RecordId,
}

impl Records {
    /// The dicts of a module, or `None` if the object is none.
    pub fn module_dicts(&self, object: &Object) -> Option<ModuleDicts> {
        let attributes = self.attributes(object)?;
        let [parameters, modules] = [attributes.get("_parameters")?, attributes.get("_modules")?];
        Some(ModuleDicts { parameters, buffers: attributes.get("_buffers"), modules })
    }

    /// What a container holds, by key.
    fn parts(&self, id: RecordId) -> Vec<(Key, RecordId)> {
        let numbered =
            |elements: &[RecordId]| elements.iter().enumerate().map(|(i, &id)| (Key::Index(i), id)).collect();
        match self.view(id) {
            View::Dict(entries) => entries.iter().map(|&(key, value)| (Key::Record(key), value)).collect(),
            View::List(elements) | View::Tuple(elements) => numbered(elements),
            View::Object(object) => match self.module_dicts(object) {
                Some(dicts) => {
                    let dicts = [Some(dicts.parameters), dicts.buffers, Some(dicts.modules)];
                    dicts.into_iter().flatten().flat_map(|dict| self.parts_of_dict(dict)).collect()
                }
                None => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    fn parts_of_dict(&self, id: RecordId) -> Vec<(Key, RecordId)> {
        match self.view(id) {
            View::Dict(entries) => entries.iter().map(|&(key, value)| (Key::Record(key), value)).collect(),
            _ => Vec::new(),
        }
    }

    fn key(&self, key: &Key) -> String {
        match key {
            Key::Index(i) => i.to_string(),
            Key::Record(id) => match self.view(*id) {
                View::Str(text) => text.to_owned(),
                _ => self.printed(*id),
            },
        }
    }

    /// Calls `visit` with the name and the record of every tensor below `root`, in order.
    pub fn walk_tensors(&self, root: RecordId, visit: &mut dyn FnMut(&str, RecordId)) -> Result<()> {
        if self.tensors.get(root).is_some() {
            visit("", root);
            return Ok(());
        }
        let (mut places, mut bytes) = (0, 0);
        let mut open = HashSet::from([root]);
        let mut frames = vec![Frame { id: root, name: String::new(), parts: self.parts(root).into_iter() }];
        while let Some(frame) = frames.last_mut() {
            let Some((key, id)) = frame.parts.next() else {
                open.remove(&frame.id);
                frames.pop();
                continue;
            };
            places += 1;
            let is_tensor = self.tensors.get(id).is_some();
            if !is_tensor && !matches!(self.view(id), View::Dict(_) | View::List(_) | View::Tuple(_) | View::Object(_))
            {
                continue;
            }
            let key = self.key(&key);
            let name = if frame.name.is_empty() { key } else { format!("{}.{key}", frame.name) };
            bytes += name.len();
            if places > PLACES_LIMIT || bytes > NAMES_LIMIT {
                return Err(Error::unsupported(format!(
                    "the file holds more than {PLACES_LIMIT} values, or more than {NAMES_LIMIT} bytes of names"
                )));
            }
            if is_tensor {
                visit(&name, id);
                continue;
            }
            if !open.insert(id) {
                return Err(Error::format(format!("`{}` contains itself", cut(&name))));
            }
            if frames.len() >= DEPTH_LIMIT {
                return Err(Error::unsupported(format!(
                    "`{}` is nested more than {DEPTH_LIMIT} levels deep",
                    cut(&name)
                )));
            }
            frames.push(Frame { id, name, parts: self.parts(id).into_iter() });
        }
        Ok(())
    }
}

enum Key {
    Index(usize),
    Record(RecordId),
}

struct Frame {
    id: RecordId,
    name: String,
    parts: std::vec::IntoIter<(Key, RecordId)>,
}

/// A name, shortened in its middle so that it fits an error message.
pub(crate) fn cut(name: &str) -> String {
    const KEPT: usize = 60;
    if name.chars().count() <= 2 * KEPT {
        return name.to_owned();
    }
    let head: String = name.chars().take(KEPT).collect();
    let mut tail: Vec<char> = name.chars().rev().take(KEPT).collect();
    tail.reverse();
    format!("{head}...{}", tail.into_iter().collect::<String>())
}
