//! One call of an operation: its arguments by name.

use std::rc::Rc;

use super::{
    constant::Array,
    value::{Context, Item, Operand},
};
use crate::{
    Error, Result,
    graph::{Dim, Op, Unary, ValueId},
    tensor::DType,
};

/// A call: an argument for each parameter of the operation, in its order.
pub(in crate::load) struct Call<'a> {
    pub context: &'a mut Context,
    /// The operation's name without namespace and overload.
    pub operation: &'a str,
    pub parameters: &'a [&'static str],
    pub arguments: Vec<Item>,
    /// What its result is called if it becomes a parameter of the graph.
    pub name: Rc<str>,
}

impl Call<'_> {
    pub fn argument(&self, name: &str) -> Result<&Item> {
        let at = self.parameters.iter().position(|&parameter| parameter == name);
        at.and_then(|at| self.arguments.get(at))
            .ok_or_else(|| Error::internal(format!("an operation has no parameter `{name}`")))
    }

    fn wrong(&self, name: &str, found: &Item, expected: &str) -> Error {
        Error::format(format!("argument `{name}` is {}, but {expected} is expected", found.kind()))
    }

    /// Whether the operation has a parameter of this name.
    pub fn has(&self, name: &str) -> bool {
        self.parameters.contains(&name)
    }

    /// Whether an argument is None.
    pub fn is_none(&self, name: &str) -> Result<bool> {
        Ok(matches!(self.argument(name)?, Item::None))
    }

    pub fn tensor(&self, name: &str) -> Result<Operand> {
        let wrong = |found: &Item| self.wrong(name, found, "a tensor");
        operand(self.argument(name)?, &self.name).ok_or_else(|| wrong(self.argument(name).unwrap_or(&Item::None)))
    }

    pub fn optional_tensor(&self, name: &str) -> Result<Option<Operand>> {
        if self.is_none(name)? { Ok(None) } else { self.tensor(name).map(Some) }
    }

    /// A list of tensors.
    pub fn tensors(&self, name: &str) -> Result<Vec<Operand>> {
        let all = self.optional_tensors(name)?;
        let given: Vec<Operand> = all.iter().flatten().cloned().collect();
        if given.len() != all.len() {
            return Err(self.wrong(name, &Item::None, "a tensor in each place"));
        }
        Ok(given)
    }

    /// A list of tensors of which some may be None.
    pub fn optional_tensors(&self, name: &str) -> Result<Vec<Option<Operand>>> {
        let Item::List(items) = self.argument(name)? else {
            return Err(self.wrong(name, self.argument(name)?, "a list of tensors"));
        };
        let one = |item: &Item| match item {
            Item::None => Ok(None),
            item => operand(item, &self.name).map(Some).ok_or_else(|| self.wrong(name, item, "a tensor")),
        };
        items.iter().map(one).collect()
    }

    pub fn int(&self, name: &str) -> Result<i64> {
        match &plain(self.argument(name)?)? {
            Item::Int(value) => Ok(*value),
            Item::Bool(value) => Ok((*value).into()),
            Item::Size(_) => Err(symbolic(name)),
            other => Err(self.wrong(name, other, "an int")),
        }
    }

    pub fn optional_int(&self, name: &str) -> Result<Option<i64>> {
        if self.is_none(name)? { Ok(None) } else { self.int(name).map(Some) }
    }

    pub fn float(&self, name: &str) -> Result<f64> {
        match &plain(self.argument(name)?)? {
            Item::Float(value) => Ok(*value),
            Item::Int(value) => Ok(*value as f64),
            Item::Bool(value) => Ok((*value).into()),
            Item::Size(_) => Err(symbolic(name)),
            other => Err(self.wrong(name, other, "a number")),
        }
    }

    pub fn optional_float(&self, name: &str) -> Result<Option<f64>> {
        if self.is_none(name)? { Ok(None) } else { self.float(name).map(Some) }
    }

    pub fn bool(&self, name: &str) -> Result<bool> {
        match &plain(self.argument(name)?)? {
            Item::Bool(value) => Ok(*value),
            Item::Int(value) => Ok(*value != 0),
            other => Err(self.wrong(name, other, "a bool")),
        }
    }

    pub fn text(&self, name: &str) -> Result<Rc<str>> {
        match self.argument(name)? {
            Item::Text(text) => Ok(text.clone()),
            other => Err(self.wrong(name, other, "a str")),
        }
    }

    /// A dtype; `None` where none is given.
    pub fn dtype(&self, name: &str) -> Result<Option<DType>> {
        match self.argument(name)? {
            Item::DType(dtype) => Ok(Some(*dtype)),
            Item::None => Ok(None),
            other => Err(self.wrong(name, other, "a dtype")),
        }
    }

    /// A number, whatever its type.
    pub fn scalar(&self, name: &str) -> Result<f64> {
        self.float(name)
    }

    /// Integers, of which one stands for a list of itself.
    pub fn ints(&self, name: &str) -> Result<Vec<i64>> {
        match self.argument(name)? {
            Item::Int(value) => Ok(vec![*value]),
            Item::List(items) => items
                .iter()
                .map(|item| match &plain(item)? {
                    Item::Int(value) => Ok(*value),
                    Item::Size(_) => Err(symbolic(name)),
                    other => Err(self.wrong(name, other, "an int in each place")),
                })
                .collect(),
            Item::Size(_) => Err(symbolic(name)),
            other => Err(self.wrong(name, other, "a list of ints")),
        }
    }

    /// Floats, if they are given.
    pub fn optional_floats(&self, name: &str) -> Result<Option<Vec<f64>>> {
        let float = |item: &Item| match item {
            Item::Float(value) => Ok(*value),
            Item::Int(value) => Ok(*value as f64),
            other => Err(self.wrong(name, other, "a float in each place")),
        };
        match self.argument(name)? {
            Item::None => Ok(None),
            Item::List(items) => items.iter().map(float).collect::<Result<_>>().map(Some),
            other => Err(self.wrong(name, other, "a list of floats")),
        }
    }

    pub fn optional_ints(&self, name: &str) -> Result<Option<Vec<i64>>> {
        if self.is_none(name)? { Ok(None) } else { self.ints(name).map(Some) }
    }

    /// Sizes that may be symbolic; -1 is `None`.
    pub fn dims(&self, name: &str) -> Result<Vec<Option<Dim>>> {
        let Item::List(items) = self.argument(name)? else {
            return Err(self.wrong(name, self.argument(name)?, "a list of ints"));
        };
        let one = |item: &Item| match &plain(item)? {
            Item::Int(-1) => Ok(None),
            Item::Int(value) => match usize::try_from(*value) {
                Ok(size) => Ok(Some(Dim::Size(size))),
                Err(_) => Err(Error::format(format!("argument `{name}` has the size {value}"))),
            },
            Item::Size(dim) => Ok(Some(dim.clone())),
            other => Err(self.wrong(name, other, "an int in each place")),
        };
        items.iter().map(one).collect()
    }

    /// Sizes that are known.
    pub fn sizes(&self, name: &str) -> Result<Vec<usize>> {
        let size = |value: i64| {
            usize::try_from(value).map_err(|_| Error::format(format!("argument `{name}` has the entry {value}")))
        };
        self.ints(name)?.into_iter().map(size).collect()
    }

    /// One size for each of so many dimensions, from as many or one for all; `missing` where the list is empty.
    pub fn each(&self, name: &str, dims: usize, missing: Option<&[usize]>) -> Result<Vec<usize>> {
        let sizes = self.sizes(name)?;
        match (&sizes[..], missing) {
            ([], Some(missing)) => Ok(missing.to_vec()),
            ([one], _) => Ok(vec![*one; dims]),
            (several, _) if several.len() == dims => Ok(sizes),
            (several, _) => Err(Error::format(format!(
                "argument `{name}` has {} entries, but the operand has {dims} such dimensions",
                several.len()
            ))),
        }
    }

    /// A dimension of a tensor of this rank, counted from the end where it is negative.
    pub fn dim(&self, name: &str, rank: usize) -> Result<usize> {
        resolve(self.int(name)?, rank).map_err(|e| e.at(format!("argument `{name}`")))
    }

    /// Several dimensions, each once.
    pub fn dim_list(&self, name: &str, rank: usize) -> Result<Vec<usize>> {
        let dims: Vec<usize> = self.ints(name)?.into_iter().map(|dim| resolve(dim, rank)).collect::<Result<_>>()?;
        if dims.iter().enumerate().any(|(i, dim)| dims[..i].contains(dim)) {
            return Err(Error::format(format!("argument `{name}` names a dimension twice")));
        }
        Ok(dims)
    }

    /// The value of the graph that an operand is.
    pub fn value(&mut self, operand: &Operand) -> ValueId {
        self.context.value(operand)
    }

    /// Adds an operation of the graph.
    pub fn node(&mut self, op: Op, operands: &[&Operand]) -> Result<Operand> {
        let values: Vec<ValueId> = operands.iter().map(|operand| self.context.value(operand)).collect();
        self.context.builder.node(op, &values).map(Operand::Computed)
    }

    /// Adds a function of each element.
    pub fn unary(&mut self, unary: Unary, x: &Operand) -> Result<Operand> {
        self.node(Op::Unary(unary), &[x])
    }

    /// A tensor of these numbers.
    pub fn constant(&self, array: Array) -> Operand {
        array.into_operand(&self.name)
    }
}

/// An argument, of which a known tensor of one element is its number, as in code that torch traced.
pub(super) fn plain(item: &Item) -> Result<Item> {
    let constant = match item {
        Item::Tensor(operand) => operand.constant().filter(|constant| constant.tensor.numel() == 1),
        _ => None,
    };
    let Some(constant) = constant else { return Ok(item.clone()) };
    let array = Array::of(constant)?;
    Ok(match array.dtype {
        DType::Bool => Item::Bool(array.data[0] != 0.0),
        DType::I64 => Item::Int(array.data[0] as i64),
        _ => Item::Float(array.data[0]),
    })
}

fn symbolic(name: &str) -> Error {
    Error::argument(format!("argument `{name}` depends on a symbolic size; give the input's shape"))
}

/// A tensor, or the one of rank 0 that a number stands for.
fn operand(item: &Item, name: &Rc<str>) -> Option<Operand> {
    let number = |value: f64, dtype: DType| Some(Array::new(&[], vec![value], dtype).into_operand(name));
    match item {
        Item::Tensor(operand) => Some(operand.clone()),
        Item::Float(value) => number(*value, DType::F64),
        Item::Int(value) => number(*value as f64, DType::I64),
        Item::Bool(value) => number((*value).into(), DType::Bool),
        _ => None,
    }
}

/// The tensor without dimensions that a number stands for.
pub(in crate::load) fn number(item: &Item) -> Option<Operand> {
    operand(item, &"number".into())
}

/// A dimension counted from the end where it is negative; a scalar counts as a dimension of one.
pub(in crate::load) fn resolve(dim: i64, rank: usize) -> Result<usize> {
    let count = rank.max(1) as i64;
    let at = if dim < 0 { dim.saturating_add(count) } else { dim };
    usize::try_from(at)
        .ok()
        .filter(|_| at < count)
        .ok_or_else(|| Error::format(format!("dimension {dim} of a tensor of {rank}")))
}
