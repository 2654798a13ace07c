//! What the variables of a running program hold.

use std::{cell::Cell, sync::Arc};

use super::{super::records::RecordId, code::Literal};
use crate::{Error, Result, graph::Dim};

/// A value. Lists, tuples and dicts lie in a [`Heap`], where the program's variables share them.
#[derive(Clone, Debug)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// An integer that depends on the sizes of the inputs, which the caller left open.
    Size(Dim),
    Float(f64),
    Text(Arc<str>),
    /// A device, a layout or a memory format.
    Placement,
    /// A tensor in the interpreter's memory.
    Tensor(usize),
    List(usize),
    Tuple(usize),
    Dict(usize),
    /// A module.
    Object(RecordId),
    /// An object of a class of the program's own that it has made.
    Instance(usize),
    /// A function or class by its qualified name.
    Global(Arc<str>),
    /// What code writes for a value that is never used.
    Uninitialized,
    /// What a variable holds before anything is assigned to it.
    Unset,
    /// The result of an operation that the engine does not have.
    Unknown,
}

impl Value {
    /// What it is, for error messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::None => "None",
            Value::Bool(_) => "a bool",
            Value::Int(_) => "an int",
            Value::Size(_) => "a size that the caller left open",
            Value::Float(_) => "a float",
            Value::Text(_) => "a str",
            Value::Placement => "a device",
            Value::Tensor(_) => "a tensor",
            Value::List(_) => "a list",
            Value::Tuple(_) => "a tuple",
            Value::Dict(_) => "a dict",
            Value::Object(_) => "a module",
            Value::Instance(_) => "an object",
            Value::Global(_) => "a function",
            Value::Uninitialized | Value::Unset => "a value that nothing has set",
            Value::Unknown => "a value that could not be computed",
        }
    }

    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Value::Text(text.into())
    }

    /// A number that is known.
    pub fn number(&self) -> Option<f64> {
        match self {
            Value::Bool(value) => Some((*value).into()),
            Value::Int(value) => Some(*value as f64),
            Value::Float(value) => Some(*value),
            _ => None,
        }
    }
}

/// A tuple: its elements, and their names if it has any.
#[derive(Debug)]
pub(super) struct Tuple {
    pub elements: Vec<Value>,
    pub class: Option<Arc<str>>,
}

/// An object: its class, and its attributes in the order in which they were first set.
#[derive(Clone, Debug)]
pub(super) struct Instance {
    pub class: Arc<str>,
    pub attributes: Vec<(Arc<str>, Value)>,
}

impl Instance {
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.attributes.iter().find(|attribute| *attribute.0 == *name).map(|attribute| &attribute.1)
    }

    pub fn set(&mut self, name: &Arc<str>, value: Value) {
        match self.attributes.iter_mut().find(|attribute| attribute.0 == *name) {
            Some(attribute) => attribute.1 = value,
            None => self.attributes.push((name.clone(), value)),
        }
    }
}

/// The lists, tuples and dicts of a program. They refer to each other by number, so that none is dropped in recursion.
#[derive(Debug, Default)]
pub(super) struct Heap {
    pub lists: Vec<Vec<Value>>,
    pub tuples: Vec<Tuple>,
    pub dicts: Vec<Vec<(Value, Value)>>,
    pub instances: Vec<Instance>,
    taken: usize,
    /// How many elements were looked at.
    seen: Cell<usize>,
}

/// All lists, tuples, dicts and texts together may have this many elements.
const ELEMENTS: usize = 1 << 22;
/// A program may look at this many elements: each step may look at all of them, and lists that share others have many more.
const LOOKS: usize = 1 << 24;
/// Values may be nested this deep where they are looked through.
pub(super) const DEPTH: usize = 32;

impl Heap {
    /// Counts elements that are about to be made.
    pub fn take(&mut self, count: usize) -> Result<()> {
        self.taken = self.taken.saturating_add(count).saturating_add(1);
        if self.taken > ELEMENTS {
            return Err(Error::unsupported(format!("lists, tuples and texts of more than {ELEMENTS} elements in all")));
        }
        Ok(())
    }

    pub fn list(&mut self, elements: Vec<Value>) -> Result<Value> {
        self.take(elements.len())?;
        self.lists.push(elements);
        Ok(Value::List(self.lists.len() - 1))
    }

    pub fn tuple(&mut self, elements: Vec<Value>) -> Result<Value> {
        self.named_tuple(elements, None)
    }

    pub fn named_tuple(&mut self, elements: Vec<Value>, class: Option<Arc<str>>) -> Result<Value> {
        self.take(elements.len())?;
        self.tuples.push(Tuple { elements, class });
        Ok(Value::Tuple(self.tuples.len() - 1))
    }

    pub fn dict(&mut self, entries: Vec<(Value, Value)>) -> Result<Value> {
        self.take(entries.len())?;
        self.dicts.push(entries);
        Ok(Value::Dict(self.dicts.len() - 1))
    }

    pub fn instance(&mut self, class: Arc<str>) -> Result<Value> {
        self.take(1)?;
        self.instances.push(Instance { class, attributes: Vec::new() });
        Ok(Value::Instance(self.instances.len() - 1))
    }

    /// The elements of a list or a tuple; none once all looks are spent, so that whoever walks through lists ends.
    pub fn elements(&self, value: &Value) -> Option<&[Value]> {
        let elements = match value {
            Value::List(at) => &self.lists[*at],
            Value::Tuple(at) => &self.tuples[*at].elements,
            _ => return None,
        };
        self.seen.set(self.seen.get().saturating_add(elements.len()));
        self.check_looks().is_ok().then_some(elements)
    }

    /// Whether the program may look at more elements.
    pub fn check_looks(&self) -> Result<()> {
        match self.seen.get() <= LOOKS {
            true => Ok(()),
            false => Err(Error::unsupported(format!("the program looks at more than {LOOKS} elements of lists"))),
        }
    }

    /// The value of a literal.
    pub fn literal(&mut self, literal: &Literal) -> Result<Value> {
        // The parser bounds how deep literals nest.
        let mut all = |literals: &[Literal]| literals.iter().map(|one| self.literal(one)).collect::<Result<Vec<_>>>();
        Ok(match literal {
            Literal::None => Value::None,
            Literal::Bool(value) => Value::Bool(*value),
            Literal::Int(value) => Value::Int(*value),
            Literal::Float(value) => Value::Float(*value),
            Literal::Text(text) => Value::Text(text.clone()),
            Literal::Global(name) if name.starts_with("torch.") => Value::Placement,
            Literal::Global(name) => Value::Global(name.clone()),
            Literal::Uninitialized => Value::Uninitialized,
            Literal::List(literals) => {
                let elements = all(literals)?;
                self.list(elements)?
            }
            Literal::Tuple(literals) => {
                let elements = all(literals)?;
                self.tuple(elements)?
            }
        })
    }

    /// Whether two values are equal; `None` if that is not known.
    pub fn equal(&self, a: &Value, b: &Value) -> Option<bool> {
        self.equal_to_depth(a, b, DEPTH)
    }

    fn equal_to_depth(&self, a: &Value, b: &Value, depth: usize) -> Option<bool> {
        if let (Some(a), Some(b)) = (a.number(), b.number()) {
            return Some(a == b);
        }
        if let (Some(a), Some(b)) = (self.elements(a), self.elements(b)) {
            let depth = depth.checked_sub(1)?;
            if a.len() != b.len() {
                return Some(false);
            }
            let each = a.iter().zip(b).map(|(a, b)| self.equal_to_depth(a, b, depth));
            return each.collect::<Option<Vec<bool>>>().map(|each| each.into_iter().all(|equal| equal));
        }
        match (a, b) {
            (Value::None, Value::None) | (Value::Placement, Value::Placement) => Some(true),
            (Value::Text(a), Value::Text(b)) | (Value::Global(a), Value::Global(b)) => Some(a == b),
            (Value::Size(a), Value::Size(b)) if a == b => Some(true),
            (Value::Tensor(_) | Value::Unknown | Value::Size(_), _) => None,
            (_, Value::Tensor(_) | Value::Unknown | Value::Size(_)) => None,
            _ => Some(false),
        }
    }

    /// Whether a value is a tensor or holds one; or is, or holds, what could not be computed.
    pub fn any(&self, value: &Value, test: impl Fn(&Value) -> bool) -> Result<bool> {
        let mut rest = vec![(value.clone(), 0)];
        while let Some((value, depth)) = rest.pop() {
            if test(&value) {
                return Ok(true);
            }
            if depth == DEPTH {
                return Err(Error::unsupported(format!("lists nested deeper than {DEPTH} levels")));
            }
            rest.extend(self.elements(&value).unwrap_or_default().iter().map(|value| (value.clone(), depth + 1)));
        }
        Ok(false)
    }

    /// A value as Python prints it, shortly.
    pub fn print(&self, value: &Value) -> String {
        self.print_to_depth(value, 4)
    }

    fn print_to_depth(&self, value: &Value, depth: usize) -> String {
        match value {
            Value::None => "None".to_owned(),
            Value::Bool(true) => "True".to_owned(),
            Value::Bool(false) => "False".to_owned(),
            Value::Int(value) => value.to_string(),
            Value::Size(dim) => dim.to_string(),
            Value::Float(value) => super::super::value::python_float(*value),
            Value::Text(text) => text.to_string(),
            other => match self.elements(other) {
                Some(elements) if depth > 0 => {
                    let each: Vec<String> =
                        elements.iter().take(16).map(|value| self.print_to_depth(value, depth - 1)).collect();
                    let more = if elements.len() > 16 { ", ..." } else { "" };
                    let (open, close) = if matches!(other, Value::List(_)) { ('[', ']') } else { ('(', ')') };
                    format!("{open}{}{more}{close}", each.join(", "))
                }
                _ => other.kind().to_owned(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_walks_through_lists_that_share_others_for_so_long_only() {
        let mut heap = Heap::default();
        let mut list = heap.list(vec![Value::None; 2]).unwrap();
        for _ in 2..DEPTH {
            list = heap.list(vec![list.clone(), list]).unwrap();
        }
        assert!(!heap.any(&list, |value| matches!(value, Value::Unknown)).unwrap());
        assert!(heap.check_looks().unwrap_err().to_string().contains("elements of lists"));
    }
}
