//! The attributes of a module, read by name and type as Python would look them up.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    module::ModuleTensor,
    records::{Object, RecordId, printable},
    value::{Attributes, Records, Value, View},
    walk::cut,
};
use crate::{Error, Result, tensor::Tensor};

/// What `nn.Module` itself keeps in `__dict__`. None of it changes a layer's values; hooks are looked at apart.
const BOOKKEEPING: [&str; 19] = [
    "training",
    "_parameters",
    "_buffers",
    "_non_persistent_buffers_set",
    "_modules",
    "_backward_pre_hooks",
    "_backward_hooks",
    "_is_full_backward_hook",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
    "_backend",
    "_compiled_call_impl",
];

/// Kernels, strides, paddings and dilations beyond this are refused, so that sums of them cannot overflow.
const EACH_LIMIT: usize = i32::MAX as usize;

/// The attributes of one module object.
pub(crate) struct Fields<'a> {
    records: &'a Arc<Records>,
    attributes: Attributes<'a>,
    parameters: Vec<(&'a str, RecordId)>,
    buffers: Vec<(&'a str, RecordId)>,
    children: Vec<(&'a str, RecordId)>,
    read: RefCell<HashSet<&'static str>>,
    path: &'a str,
}

impl<'a> Fields<'a> {
    /// The attributes of an object, which must be a module.
    pub fn new(records: &'a Arc<Records>, object: &'a Object, path: &'a str) -> Result<Self> {
        let attributes =
            records.attributes(object).ok_or_else(|| Error::format("its state is no dict of names and values"))?;
        let mut fields = Self {
            records,
            attributes,
            parameters: Vec::new(),
            buffers: Vec::new(),
            children: Vec::new(),
            read: RefCell::default(),
            path,
        };
        for name in ["_parameters", "_buffers", "_modules"] {
            let Some(dict) = fields.attributes.get(name) else { continue };
            let names = fields.names(name, dict)?;
            match name {
                "_parameters" => fields.parameters = names,
                "_buffers" => fields.buffers = names,
                _ => fields.children = names,
            }
        }
        Ok(fields)
    }

    /// The entries of one of the module's own dicts: distinct names that torch would accept.
    fn names(&self, what: &str, dict: RecordId) -> Result<Vec<(&'a str, RecordId)>> {
        let records: &'a Records = self.records;
        let View::Dict(entries) = records.view(dict) else {
            return Err(Error::format(format!("its `{what}` is a {}, not a dict", records.kind(dict))));
        };
        let mut seen = HashSet::new();
        let mut names = Vec::with_capacity(entries.len());
        for &(key, value) in entries.iter() {
            let name = records.pickle.str(key).filter(|name| !name.is_empty() && !name.contains('.'));
            let name = name.ok_or_else(|| {
                Error::format(format!("its `{what}` has the key {}, which is no name", records.printed(key)))
            })?;
            if !seen.insert(name) {
                return Err(Error::format(format!("its `{what}` has two entries `{}`", name.escape_debug())));
            }
            names.push((name, value));
        }
        Ok(names)
    }

    /// The children in order.
    pub fn children(&self) -> &[(&'a str, RecordId)] {
        &self.children
    }

    /// The module's own tensors: its parameters and its buffers.
    pub fn tensors(&self) -> Result<Vec<ModuleTensor>> {
        let mut tensors = Vec::new();
        for (entries, is_parameter) in [(&self.parameters, true), (&self.buffers, false)] {
            for &(name, id) in entries {
                match self.records.view(id) {
                    View::None => {}
                    View::Tensor(tensor) => tensors.push(ModuleTensor {
                        name: printable(name).into_owned(),
                        info: self.records.tensors.described(id).map(|found| found.info.clone()).unwrap_or_default(),
                        tensor: tensor.clone(),
                        is_parameter,
                    }),
                    _ => return Err(self.wrong(name, id, "a tensor")),
                }
            }
        }
        Ok(tensors)
    }

    /// The attributes that no reader asked for; what is registered as `None`, as a bias that is left out, among them.
    pub fn others(&self) -> Vec<(String, Value)> {
        let read = self.read.borrow();
        let plain = self.attributes.iter().filter(|(name, _)| !BOOKKEEPING.contains(name));
        let registered = [&self.parameters, &self.buffers, &self.children].into_iter().flatten().copied();
        let absent = registered.filter(|&(_, id)| matches!(self.records.view(id), View::None));
        let others = plain.chain(absent).filter(|(name, _)| !read.contains(name));
        others.map(|(name, id)| (printable(name).into_owned(), Value::new(self.records, id))).collect()
    }

    /// What keeps torch's forward from being all that there is: registered tensors, and children of a layer that calls
    /// none, which no reader asked for.
    pub fn unread(&self, with_children: bool) -> Option<String> {
        let read = self.read.borrow();
        let children = if with_children { &self.children[..] } else { &[] };
        let kinds = [("parameter", &self.parameters[..]), ("buffer", &self.buffers[..]), ("child", children)];
        for (kind, entries) in kinds {
            if let Some((name, _)) = entries.iter().find(|entry| !read.contains(entry.0)) {
                let name = printable(name);
                return Some(format!(
                    "it has the {kind} `{name}`, which its class does not have; remove it before saving"
                ));
            }
        }
        None
    }

    /// Checks that the attributes that no reader asked for are plain values, neither cyclic nor nested too deep.
    /// `heights` holds what has been checked.
    pub fn check_others(&self, heights: &mut HashMap<RecordId, usize>) -> Result<()> {
        let read = self.read.borrow();
        for (name, id) in self.attributes.iter().filter(|(name, _)| !BOOKKEEPING.contains(name) && !read.contains(name))
        {
            self.records.check_nesting(id, heights).map_err(|e| e.at(format!("attribute `{}`", printable(name))))?;
        }
        Ok(())
    }

    /// The name of one of its tensors in the state dict.
    fn full(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", cut(self.path)) }
    }

    /// The kind of the first entry of a dict attribute: of a hook, its function or class.
    pub fn first_entry(&self, dict: &str) -> Option<String> {
        let id = self.attributes.get(dict)?;
        match self.records.view(id) {
            View::Dict(entries) => entries.first().map(|&(_, value)| self.records.kind(value).into_owned()),
            View::None => None,
            // Some other collection: whether it is empty cannot be told, so that it counts as a hook.
            _ => Some(self.records.kind(id).into_owned()),
        }
    }

    /// Whether an attribute is there and is not `None`.
    pub fn is_set(&self, name: &str) -> bool {
        self.attributes.get(name).is_some_and(|id| !matches!(self.records.view(id), View::None))
    }

    /// As Python looks an attribute up: `__dict__`, then parameters, buffers and children.
    fn find(&self, name: &'static str) -> Option<RecordId> {
        self.read.borrow_mut().insert(name);
        let registered = || {
            let mut all = self.parameters.iter().chain(&self.buffers).chain(&self.children);
            all.find(|entry| entry.0 == name).map(|entry| entry.1)
        };
        self.attributes.get(name).or_else(registered)
    }

    fn wrong(&self, name: &str, id: RecordId, expected: &str) -> Error {
        Error::format(format!("attribute `{name}` is {}; {expected} is expected", self.records.printed(id)))
    }

    fn missing(name: &str) -> Error {
        Error::format(format!("attribute `{name}` is missing"))
    }

    /// Whether the attribute is there, `None` or not.
    pub fn has(&self, name: &'static str) -> bool {
        self.find(name).is_some()
    }

    /// Makes a known attribute of one whose value does not matter.
    pub fn mention<T>(&self, name: &'static str) -> Option<T> {
        self.find(name);
        None
    }

    /// A tensor, or `None` where the file says `None`; an error where it says nothing.
    pub fn tensor(&self, name: &'static str) -> Result<Option<Tensor>> {
        let id = self.find(name).ok_or_else(|| Self::missing(name))?;
        match self.records.view(id) {
            View::None => Ok(None),
            View::Tensor(tensor) => {
                let tensor = tensor.clone().map_err(|e| e.at(format!("`{}`", self.full(name))))?;
                if !tensor.dtype().is_float() {
                    return Err(Error::unsupported(format!(
                        "`{}` is a {} tensor in storage `{}`; floating point is expected",
                        self.full(name),
                        tensor.dtype().name(),
                        tensor.storage().name()
                    )));
                }
                Ok(Some(tensor))
            }
            _ => Err(self.wrong(name, id, "a tensor")),
        }
    }

    /// A tensor of the shape that other attributes ask for, or `None` where the file says `None`.
    pub fn tensor_of(&self, name: &'static str, shape: &[usize], because: &str) -> Result<Option<Tensor>> {
        let tensor = self.tensor(name)?;
        match &tensor {
            Some(found) if found.shape() != shape => Err(Error::format(format!(
                "`{}` has shape {:?}, but {because} ask for {shape:?}",
                self.full(name),
                found.shape()
            ))),
            _ => Ok(tensor),
        }
    }

    /// A tensor that must be there.
    pub fn required_tensor(&self, name: &'static str, shape: &[usize], because: &str) -> Result<Tensor> {
        let tensor = self.tensor_of(name, shape, because)?;
        tensor.ok_or_else(|| Error::format(format!("`{}` is None; a tensor is expected", self.full(name))))
    }

    /// A bool, or the default that a torch class had before it stored the attribute.
    pub fn bool_or(&self, name: &'static str, default: bool) -> Result<bool> {
        let Some(id) = self.find(name) else { return Ok(default) };
        match self.records.view(id) {
            View::Bool(value) => Ok(value),
            _ => Err(self.wrong(name, id, "a bool")),
        }
    }

    /// A float or an int, or a default. Infinite and NaN values are refused.
    pub fn float_or(&self, name: &'static str, default: f64) -> Result<f64> {
        let Some(id) = self.find(name) else { return Ok(default) };
        match self.records.view(id) {
            View::Float(value) if value.is_finite() => Ok(value),
            View::Int(value) => Ok(value as f64),
            // In Python True is a number, too.
            View::Bool(value) => Ok(f64::from(u8::from(value))),
            _ => Err(self.wrong(name, id, "a finite number")),
        }
    }

    /// A number that may be infinite, or a default.
    pub fn threshold_or(&self, name: &'static str, default: f64) -> Result<f64> {
        match self.find(name).map(|id| self.records.view(id)) {
            Some(View::Float(value)) if value.is_infinite() => Ok(value),
            _ => self.float_or(name, default),
        }
    }

    /// The same, where it must be there.
    pub fn threshold(&self, name: &'static str) -> Result<f64> {
        self.find(name).ok_or_else(|| Self::missing(name))?;
        self.threshold_or(name, 0.0)
    }

    /// A float that must be there.
    pub fn float(&self, name: &'static str) -> Result<f64> {
        self.find(name).ok_or_else(|| Self::missing(name))?;
        self.float_or(name, 0.0)
    }

    /// A text, or a default.
    pub fn text_or(&self, name: &'static str, default: &'static str) -> Result<&'a str> {
        let Some(id) = self.find(name) else { return Ok(default) };
        let records: &'a Records = self.records;
        match records.view(id) {
            View::Str(text) => Ok(text),
            _ => Err(self.wrong(name, id, "a str")),
        }
    }

    /// The text of an attribute that may be something else.
    pub fn text_if(&self, name: &'static str) -> Option<&'a str> {
        let records: &'a Records = self.records;
        match records.view(self.find(name)?) {
            View::Str(text) => Some(text),
            _ => None,
        }
    }

    /// An int or `None`; `None` too where the attribute is missing.
    pub fn optional_int(&self, name: &'static str) -> Result<Option<i64>> {
        let Some(id) = self.find(name) else { return Ok(None) };
        match self.records.view(id) {
            View::None => Ok(None),
            View::Int(value) => Ok(Some(value)),
            _ => Err(self.wrong(name, id, "an int")),
        }
    }

    /// An int, or a default.
    pub fn int_or(&self, name: &'static str, default: i64) -> Result<i64> {
        if self.find(name).is_none() {
            return Ok(default);
        }
        self.optional_int(name)?.ok_or_else(|| Error::format(format!("attribute `{name}` is None; an int is expected")))
    }

    /// A count that must be there.
    pub fn size(&self, name: &'static str) -> Result<usize> {
        let id = self.find(name).ok_or_else(|| Self::missing(name))?;
        let value = self.int_or(name, 0)?;
        usize::try_from(value).map_err(|_| self.wrong(name, id, "an int that is not negative"))
    }

    /// A count of at least 1.
    pub fn positive(&self, name: &'static str) -> Result<usize> {
        Ok(self.each::<1>(name, 1)?[0])
    }

    /// A bool or `None`; `None` too where the attribute is missing.
    pub fn optional_bool(&self, name: &'static str) -> Result<Option<bool>> {
        if self.find(name).is_none() || !self.is_set(name) { Ok(None) } else { self.bool_or(name, false).map(Some) }
    }

    /// A tuple or list of counts.
    pub fn sizes(&self, name: &'static str) -> Result<Vec<usize>> {
        let id = self.find(name).ok_or_else(|| Self::missing(name))?;
        self.counts(id).ok_or_else(|| self.wrong(name, id, "a tuple of ints that are not negative"))
    }

    /// A tuple or list of counts, or nothing where the attribute is missing or `None`.
    pub fn optional_sizes(&self, name: &'static str) -> Result<Option<Vec<usize>>> {
        match self.find(name).map(|id| self.records.view(id)) {
            None | Some(View::None) => Ok(None),
            Some(_) => self.sizes(name).map(Some),
        }
    }

    /// One count for each of `N` dimensions, from an int or a tuple or list of one or `N`, at least `least`.
    pub fn each<const N: usize>(&self, name: &'static str, least: usize) -> Result<[usize; N]> {
        let id = self.find(name).ok_or_else(|| Self::missing(name))?;
        let sizes = match self.records.view(id) {
            View::Int(value) => usize::try_from(value).ok().map(|value| vec![value]),
            _ => self.counts(id),
        };
        let each = sizes.and_then(|sizes| match sizes.as_slice() {
            &[one] => Some([one; N]),
            several => several.try_into().ok(),
        });
        let each = each.filter(|each: &[usize; N]| each.iter().all(|size| (least..=EACH_LIMIT).contains(size)));
        let expected = || format!("an int or a tuple of {N} ints from {least} to {EACH_LIMIT}");
        each.ok_or_else(|| self.wrong(name, id, &expected()))
    }

    /// The same, or a default where the attribute is missing.
    pub fn each_or<const N: usize>(&self, name: &'static str, least: usize, default: usize) -> Result<[usize; N]> {
        if self.find(name).is_none() { Ok([default; N]) } else { self.each(name, least) }
    }

    /// The same, or `default` where the attribute is missing, `None` or empty: a pool's stride.
    pub fn each_or_unset<const N: usize>(
        &self,
        name: &'static str,
        least: usize,
        default: [usize; N],
    ) -> Result<[usize; N]> {
        match self.find(name).map(|id| self.records.view(id)) {
            None | Some(View::None | View::Tuple([]) | View::List([])) => Ok(default),
            Some(_) => self.each(name, least),
        }
    }

    /// A tuple or list of ints, or a single one.
    pub fn ints(&self, name: &'static str) -> Result<Vec<i64>> {
        let id = self.find(name).ok_or_else(|| Self::missing(name))?;
        let int = |id: RecordId| match self.records.view(id) {
            View::Int(value) => Some(value),
            _ => None,
        };
        self.list(id, int).ok_or_else(|| self.wrong(name, id, "an int or a tuple of ints"))
    }

    /// One count for each of `N` dimensions, or `None` for some, from an int, `None` or a tuple or list of one or `N`.
    pub fn each_or_none<const N: usize>(&self, name: &'static str) -> Result<[Option<usize>; N]> {
        let id = self.find(name).ok_or_else(|| Self::missing(name))?;
        let count = |id: RecordId| match self.records.view(id) {
            View::None => Some(None),
            View::Int(value) => usize::try_from(value).ok().filter(|&value| value <= EACH_LIMIT).map(Some),
            _ => None,
        };
        let each = self.list(id, count).and_then(|list| match list.as_slice() {
            &[one] => Some([one; N]),
            several => several.try_into().ok(),
        });
        each.ok_or_else(|| self.wrong(name, id, &format!("None, an int, or a tuple of {N} of them, to {EACH_LIMIT}")))
    }

    /// Positive counts, from an int or a tuple or list; nothing where the attribute is missing or `None`.
    pub fn optional_counts(&self, name: &'static str) -> Result<Option<Vec<usize>>> {
        let Some(id) = self.find(name).filter(|_| self.is_set(name)) else { return Ok(None) };
        let count = |id: RecordId| match self.records.view(id) {
            View::Int(value) => usize::try_from(value).ok().filter(|value| (1..=EACH_LIMIT).contains(value)),
            _ => None,
        };
        let expected = || format!("an int or a tuple of ints from 1 to {EACH_LIMIT}");
        self.list(id, count).map(Some).ok_or_else(|| self.wrong(name, id, &expected()))
    }

    /// Positive numbers, from one or a tuple or list; nothing where the attribute is missing or `None`.
    pub fn optional_factors(&self, name: &'static str) -> Result<Option<Vec<f64>>> {
        let Some(id) = self.find(name).filter(|_| self.is_set(name)) else { return Ok(None) };
        let factor = |id: RecordId| {
            let value = match self.records.view(id) {
                View::Float(value) => value,
                View::Int(value) => value as f64,
                _ => return None,
            };
            Some(value).filter(|value| value.is_finite() && *value > 0.0)
        };
        self.list(id, factor).map(Some).ok_or_else(|| self.wrong(name, id, "a positive number or a tuple of them"))
    }

    /// What a tuple or list holds, or a single element; `None` where `read` refuses one, or where there are too many.
    fn list<V>(&self, id: RecordId, read: impl Fn(RecordId) -> Option<V>) -> Option<Vec<V>> {
        match self.records.view(id) {
            // No layer has more dimensions than a tensor can have.
            View::Tuple(elements) | View::List(elements) if elements.len() > 2 * 64 => None,
            View::Tuple(elements) | View::List(elements) => elements.iter().map(|&id| read(id)).collect(),
            _ => read(id).map(|one| vec![one]),
        }
    }

    fn counts(&self, id: RecordId) -> Option<Vec<usize>> {
        let (View::Tuple(elements) | View::List(elements)) = self.records.view(id) else { return None };
        let count = |&id: &RecordId| match self.records.view(id) {
            View::Int(value) => usize::try_from(value).ok(),
            _ => None,
        };
        // No layer has more dimensions than a tensor can have.
        if elements.len() > 64 { None } else { elements.iter().map(count).collect() }
    }
}
