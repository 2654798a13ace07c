//! The tensors of a file under their names, without recursion and within stated limits.

use std::collections::{HashMap, HashSet, VecDeque};

use super::{
    records::{Object, Record, RecordId, printable},
    tensors::TensorInfo,
    value::{Records, View},
};
use crate::{Error, Result, tensor::Tensor};

/// Containers may be nested this deep.
pub(crate) const DEPTH_LIMIT: usize = 1000;
/// A file that shares its containers may expand to this many containers and tensors ...
const PLACES_LIMIT: usize = 1 << 20;
/// ... and to this many values of any kind.
const VALUES_LIMIT: usize = 1 << 25;
/// All names together may take this many bytes.
const NAMES_LIMIT: usize = 1 << 26;

/// A tensor under its name.
#[derive(Clone, Debug)]
pub struct NamedTensor {
    /// The keys that lead to it, joined by dots; in a module or a state dict, its name in the state dict.
    pub name: String,
    /// What the file says of it, also where it cannot be used.
    pub info: TensorInfo,
    /// The tensor; an error where its kind is not supported.
    pub tensor: Result<Tensor>,
}

impl Records {
    /// Whether an object is a module: by its class, or by the dicts that every `nn.Module` has.
    pub fn is_module(&self, object: &Object) -> bool {
        let by_class = self.class(object).is_some_and(|class| class.module.starts_with("torch.nn.modules."));
        by_class || !self.module_dicts(object).is_empty()
    }

    /// The dicts in which a module registers its tensors and its children.
    fn module_dicts(&self, object: &Object) -> Vec<RecordId> {
        let Some(attributes) = self.attributes(object) else { return Vec::new() };
        ["_parameters", "_buffers", "_modules"].iter().filter_map(|name| attributes.get(name)).collect()
    }

    /// What a container holds, by key.
    fn parts(&self, id: RecordId) -> Vec<(Key, RecordId)> {
        let numbered =
            |elements: &[RecordId]| elements.iter().enumerate().map(|(i, &id)| (Key::Index(i), id)).collect();
        match self.view(id) {
            View::Dict(entries) => entries.iter().map(|&(key, value)| (Key::Record(key), value)).collect(),
            View::List(elements) | View::Tuple(elements) => numbered(elements),
            View::Object(object) => {
                self.module_dicts(object).into_iter().flat_map(|dict| self.parts_of_dict(dict)).collect()
            }
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
                View::Str(text) => printable(text).into_owned(),
                _ => self.printed(*id),
            },
        }
    }

    /// The tensors below a value, in the file's order.
    pub fn named_tensors(&self, root: RecordId) -> Result<Vec<NamedTensor>> {
        let mut tensors = Vec::new();
        self.walk_tensors(root, &mut |name, id| {
            if let Some(found) = self.tensors.described(id).cloned() {
                tensors.push(NamedTensor { name: name.to_owned(), info: found.info, tensor: found.tensor });
            }
        })?;
        Ok(tensors)
    }

    /// Calls `visit` with the name and the record of every tensor below `root`, in order.
    pub fn walk_tensors(&self, root: RecordId, visit: &mut dyn FnMut(&str, RecordId)) -> Result<()> {
        if self.tensors.get(root).is_some() {
            visit("", root);
            return Ok(());
        }
        let (mut values, mut places, mut bytes) = (0, 0, 0);
        let mut open = HashSet::from([root]);
        // Containers without a tensor below them, which need not be walked again where they are shared.
        let mut barren = HashSet::new();
        let frame = |id, name| Frame { id, name, parts: self.parts(id).into_iter(), holds_tensor: false };
        let mut frames = vec![frame(root, String::new())];
        while let Some(top) = frames.last_mut() {
            let Some((key, id)) = top.parts.next() else {
                let (id, holds_tensor) = (top.id, top.holds_tensor);
                open.remove(&id);
                frames.pop();
                match frames.last_mut() {
                    Some(parent) if holds_tensor => parent.holds_tensor = true,
                    _ => {
                        barren.insert(id);
                    }
                }
                continue;
            };
            if barren.contains(&id) {
                continue;
            }
            values += 1;
            let is_tensor = self.tensors.get(id).is_some();
            let is_container =
                || matches!(self.view(id), View::Dict(_) | View::List(_) | View::Tuple(_) | View::Object(_));
            if values <= VALUES_LIMIT && !is_tensor && !is_container() {
                continue;
            }
            places += 1;
            let key = self.key(&key);
            let name = if top.name.is_empty() { key } else { format!("{}.{key}", top.name) };
            bytes += name.len();
            if values > VALUES_LIMIT || places > PLACES_LIMIT || bytes > NAMES_LIMIT {
                return Err(Error::unsupported(format!(
                    "the file holds too many values: at most {PLACES_LIMIT} tensors and containers, {VALUES_LIMIT} values \
                     and {NAMES_LIMIT} bytes of names are walked"
                )));
            }
            if is_tensor {
                top.holds_tensor = true;
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
            frames.push(frame(id, name));
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
    holds_tensor: bool,
}

/// Classes of `builtins` whose values may be attributes; a function there, `getattr`, serves attacks.
const PLAIN_BUILTINS: [&str; 6] = ["complex", "range", "slice", "object", "bytes", "bytearray"];

/// A value whose parts are being walked.
struct Nested {
    id: RecordId,
    /// The greatest height of the parts that have been walked.
    height: usize,
    rest: std::vec::IntoIter<(Step, RecordId)>,
}

/// How a record leads to another one.
#[derive(Clone, Copy)]
enum Step {
    /// By a position in a list or tuple.
    Index(usize),
    /// By a key.
    Key(RecordId),
    /// As a part of it that has no name of its own.
    Part,
}

impl Records {
    /// The records that one refers to.
    fn references(&self, id: RecordId) -> Vec<(Step, RecordId)> {
        let numbered = |elements: &[RecordId]| -> Vec<(Step, RecordId)> {
            elements.iter().enumerate().map(|(i, &id)| (Step::Index(i), id)).collect()
        };
        let keyed = |entries: &[(RecordId, RecordId)]| -> Vec<(Step, RecordId)> {
            entries.iter().flat_map(|&(key, value)| [(Step::Part, key), (Step::Key(key), value)]).collect()
        };
        // Arguments and states come as tuples whose positions say nothing.
        let parts = |id: RecordId| -> Vec<(Step, RecordId)> {
            let elements = self.pickle.tuple(id).unwrap_or(std::slice::from_ref(&id)).to_vec();
            elements.into_iter().map(|id| (Step::Part, id)).collect()
        };
        match self.pickle.get(id) {
            Record::List(elements) | Record::Set(elements) => numbered(elements),
            Record::Tuple(elements) => numbered(elements),
            Record::Dict(entries) => keyed(entries),
            Record::Persistent(id) => parts(*id),
            Record::Object(object) => {
                let mut references = vec![(Step::Part, object.callable)];
                references.extend(parts(object.args));
                references.extend(object.keywords.map(|id| (Step::Part, id)));
                references.extend(object.states.iter().flat_map(|&id| parts(id)));
                references.extend(numbered(&object.elements));
                references.extend(keyed(&object.items));
                references
            }
            _ => Vec::new(),
        }
    }

    /// The shortest path to a record from the root, as the model's user would write it; `None` where there is none.
    pub fn locate(&self, target: RecordId) -> Option<String> {
        let root = self.pickle.root();
        let mut parents: HashMap<RecordId, (RecordId, Step)> = HashMap::new();
        let mut queue = VecDeque::from([root]);
        while let Some(id) = queue.pop_front() {
            if id == target {
                break;
            }
            for (step, next) in self.references(id) {
                if next != root && !parents.contains_key(&next) {
                    parents.insert(next, (id, step));
                    queue.push_back(next);
                }
            }
        }
        let mut names = Vec::new();
        let mut at = target;
        // A path that is longer than that is of no use to anybody.
        while at != root && names.len() < 100 {
            let &(parent, step) = parents.get(&at)?;
            match step {
                Step::Index(i) => names.push(i.to_string()),
                Step::Key(key) => match self.pickle.str(key) {
                    Some("_modules" | "_parameters" | "_buffers") => {}
                    Some(text) => names.push(printable(&text.chars().take(60).collect::<String>()).into_owned()),
                    None => names.push(self.printed(key)),
                },
                Step::Part => {}
            }
            at = parent;
        }
        names.reverse();
        Some(names.join(".")).filter(|path| !path.is_empty())
    }

    /// Checks that a value is plain, does not contain itself, and is not nested too deep. `heights` holds what has been
    /// checked, so that shared values are walked once.
    pub fn check_nesting(&self, root: RecordId, heights: &mut HashMap<RecordId, usize>) -> Result<()> {
        let mut open = HashSet::new();
        let mut frames: Vec<Nested> = Vec::new();
        let mut next = Some(root);
        loop {
            if let Some(id) = next.take() {
                if !open.insert(id) {
                    return Err(Error::format("it contains itself"));
                }
                if let View::Object(object) = self.view(id)
                    && let Some(callable) = self.pickle.global(object.callable)
                    && callable.module == "builtins"
                    && !PLAIN_BUILTINS.contains(&callable.name.as_str())
                {
                    return Err(Error::unsupported(format!(
                        "the file asks for a call of `{callable}`, which no model needs; nothing was called"
                    )));
                }
                frames.push(Nested { id, height: 0, rest: self.references(id).into_iter() });
            }
            let depth = frames.len();
            let Some(Nested { id, height, rest }) = frames.last_mut() else { return Ok(()) };
            if depth + *height > DEPTH_LIMIT {
                return Err(Error::unsupported(format!("it is nested more than {DEPTH_LIMIT} levels deep")));
            }
            match rest.next() {
                Some((_, child)) => match heights.get(&child) {
                    Some(&known) => *height = (*height).max(known + 1),
                    None => next = Some(child),
                },
                None => {
                    let (id, height) = (*id, *height);
                    open.remove(&id);
                    heights.insert(id, height);
                    frames.pop();
                    if let Some(parent) = frames.last_mut() {
                        parent.height = parent.height.max(height + 1);
                    }
                }
            }
        }
    }
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
