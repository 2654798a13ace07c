//! What the calls of a program take and give: tensors, numbers, lists.

use std::{collections::HashMap, rc::Rc, sync::Arc};

use super::constant::Array;
use crate::{
    Error, Result,
    graph::{Builder, Dim, Mark, ValueId},
    tensor::{DType, Tensor},
};

/// An argument or a result of a call.
#[derive(Clone, Debug)]
pub(in crate::load) enum Item {
    None,
    Bool(bool),
    Int(i64),
    /// An integer that depends on the sizes of the inputs.
    Size(Dim),
    Float(f64),
    Text(Rc<str>),
    DType(DType),
    /// Where a tensor lies and how; it changes no value.
    Placement,
    Tensor(Operand),
    List(Vec<Item>),
    /// A tensor in the memory of an interpreter, which operations may change in place.
    Cell(usize),
}

impl Item {
    /// A list of integers.
    pub fn ints(ints: impl IntoIterator<Item = i64>) -> Self {
        Item::List(ints.into_iter().map(Item::Int).collect())
    }

    /// A size that is known or not.
    pub fn size(dim: &Dim) -> Self {
        dim.size().and_then(|size| i64::try_from(size).ok()).map_or_else(|| Item::Size(dim.clone()), Item::Int)
    }

    /// What it is, for error messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Item::None => "None",
            Item::Bool(_) => "a bool",
            Item::Int(_) => "an int",
            Item::Size(_) => "a symbolic int",
            Item::Float(_) => "a float",
            Item::Text(_) => "a str",
            Item::DType(_) => "a dtype",
            Item::Placement => "a device or layout",
            Item::Tensor(_) | Item::Cell(_) => "a tensor",
            Item::List(_) => "a list",
        }
    }
}

/// A tensor: computed from the inputs, or known already.
#[derive(Clone, Debug)]
pub(in crate::load) enum Operand {
    Computed(ValueId),
    Constant(Constant),
}

/// A tensor that does not depend on the inputs: a parameter, or what was made of parameters and numbers.
#[derive(Clone, Debug)]
pub(in crate::load) struct Constant {
    /// What the graph calls it if it becomes a parameter.
    pub name: Rc<str>,
    pub tensor: Tensor,
}

impl Operand {
    pub fn constant(&self) -> Option<&Constant> {
        match self {
            Operand::Constant(constant) => Some(constant),
            Operand::Computed(_) => None,
        }
    }

    /// Whether a known condition holds; `None` for a computed one.
    pub fn truth(&self) -> Result<Option<bool>> {
        let Some(constant) = self.constant() else { return Ok(None) };
        match Array::of(constant)?.data[..] {
            [value] => Ok(Some(value != 0.0)),
            _ => Err(Error::format("a condition of several elements, or of none")),
        }
    }
}

/// What makes a tensor in memory another one than another.
type Key = (usize, usize, Vec<usize>, Vec<usize>, DType);

/// The graph under construction.
pub(in crate::load) struct Context {
    pub builder: Builder,
    /// The parameters of the graph, each tensor once.
    parameters: HashMap<Key, (ValueId, Tensor)>,
    marks: HashMap<ValueId, Marks>,
}

/// Places of a value at which the graph has another, finite number than the program: where an attention mask is minus
/// infinity, a softmax gives the same for [`MASKED`], with which bounds and formulations can be computed.
#[derive(Clone, Debug)]
pub(in crate::load) struct Marks {
    /// 1 at these places, 0 elsewhere; as large as the value.
    pub places: Array,
    /// What the program has there: minus infinity, or NaN behind a softmax of nothing but minus infinities.
    pub value: f64,
}

/// Small enough that its exponential beside that of any other number is 0, in single precision, too.
pub(super) const MASKED: f64 = -1e30;

impl Context {
    pub fn new() -> Self {
        Self { builder: Builder::new(), parameters: HashMap::new(), marks: HashMap::new() }
    }

    /// Forgets what was made since a mark, which the graph no longer has.
    pub fn forget(&mut self, mark: Mark) {
        self.parameters.retain(|_, (value, _)| mark.knows(*value));
        self.marks.retain(|value, _| mark.knows(*value));
    }

    /// The dimensions of a tensor.
    pub fn shape(&self, operand: &Operand) -> Vec<Dim> {
        match operand {
            Operand::Computed(value) => self.builder.ty(*value).shape.clone(),
            Operand::Constant(constant) => constant.tensor.shape().iter().map(|&size| Dim::Size(size)).collect(),
        }
    }

    /// The number of dimensions of a tensor.
    pub fn rank(&self, operand: &Operand) -> usize {
        match operand {
            Operand::Computed(value) => self.builder.ty(*value).rank(),
            Operand::Constant(constant) => constant.tensor.shape().len(),
        }
    }

    /// The sizes of a tensor, if all are known; `what` needs them.
    pub fn sizes(&self, operand: &Operand, what: &str) -> Result<Vec<usize>> {
        let sizes = self.shape(operand).iter().map(Dim::size).collect::<Option<Vec<_>>>();
        sizes.ok_or_else(|| {
            Error::argument(format!("{what} needs to know the sizes of its operand; give the input's shape"))
        })
    }

    /// The element type of a tensor; `F64` for everything that is computed in floating point.
    pub fn dtype(&self, operand: &Operand) -> DType {
        match operand {
            Operand::Computed(value) => self.builder.ty(*value).dtype,
            Operand::Constant(constant) => constant.tensor.dtype(),
        }
    }

    /// Where a tensor is marked.
    pub fn marks(&self, operand: &Operand) -> Option<&Marks> {
        match operand {
            Operand::Computed(value) => self.marks.get(value),
            Operand::Constant(_) => None,
        }
    }

    /// Marks places of a computed tensor.
    pub fn mark(&mut self, operand: &Operand, marks: Marks) {
        if let Operand::Computed(value) = operand
            && marks.places.data.contains(&1.0)
        {
            self.marks.insert(*value, marks);
        }
    }

    /// The value of the graph that a tensor is; a known one becomes a parameter, and marked places get what the program
    /// has there.
    pub fn value(&mut self, operand: &Operand) -> ValueId {
        let value = self.raw(operand);
        let Some(Marks { places, value: exact }) = self.marks(operand).cloned() else { return value };
        let places = places.map(DType::F64, |place| if place != 0.0 { exact } else { 0.0 });
        let places = self.raw(&places.into_operand(&"mask".into()));
        self.builder.add(value, places).expect("the marks have the value's shape")
    }

    /// The same with a finite number at marked places.
    pub fn raw(&mut self, operand: &Operand) -> ValueId {
        let Constant { name, tensor } = match operand {
            Operand::Computed(value) => return *value,
            Operand::Constant(constant) => constant,
        };
        let storage = Arc::as_ptr(tensor.storage()) as usize;
        let key = (storage, tensor.offset(), tensor.shape().to_vec(), tensor.strides().to_vec(), tensor.dtype());
        // The tensor is kept, so that no other storage can come to stand at the same address.
        let make = || (self.builder.parameter(name, tensor.clone()), tensor.clone());
        self.parameters.entry(key).or_insert_with(make).0
    }
}
