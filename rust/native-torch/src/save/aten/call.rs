//! Programs: calls of ATen's operations over variables.

use crate::{graph::Type, tensor::Tensor};

/// A variable, by its position in [`Program::variables`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::save) struct Var(pub usize);

/// What a variable holds.
#[derive(Clone, Debug)]
pub(in crate::save) enum Kind {
    Tensor(Type),
    /// The size of a dimension.
    Int,
}

/// A variable; its name is an identifier that no other one has.
#[derive(Clone, Debug)]
pub(in crate::save) struct Variable {
    pub name: String,
    pub kind: Kind,
}

/// A size, known or computed.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::save) enum Size {
    Known(i64),
    Of(Var),
}

/// An argument.
#[derive(Clone, Debug)]
pub(in crate::save) enum Argument {
    None,
    Tensor(Var),
    Tensors(Vec<Var>),
    Int(i64),
    Sizes(Vec<Size>),
    Float(f64),
    Floats(Vec<f64>),
    Bool(bool),
    Text(&'static str),
}

impl Argument {
    /// Integers that are all known.
    pub fn ints<T: Copy + TryInto<i64>>(values: &[T]) -> Self {
        Argument::Sizes(values.iter().map(|&value| Size::Known(value.try_into().unwrap_or(i64::MAX))).collect())
    }

    /// A dimension or another small number.
    pub fn int(value: usize) -> Self {
        Argument::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<Var> for Argument {
    fn from(var: Var) -> Self {
        Argument::Tensor(var)
    }
}

impl From<Option<Var>> for Argument {
    fn from(var: Option<Var>) -> Self {
        var.map_or(Argument::None, Argument::Tensor)
    }
}

impl From<f64> for Argument {
    fn from(value: f64) -> Self {
        Argument::Float(value)
    }
}

impl From<bool> for Argument {
    fn from(value: bool) -> Self {
        Argument::Bool(value)
    }
}

/// The call of an operation.
#[derive(Clone, Debug)]
pub(in crate::save) struct Call {
    /// The operation's name with its overload: `conv2d.default`.
    pub target: String,
    /// Under their names in ATen, in its order.
    pub arguments: Vec<(&'static str, Argument)>,
    pub results: Vec<Var>,
    /// Where it stands in the model, as the graph says it.
    #[expect(dead_code, reason = "TorchScript has no place for it")]
    pub place: String,
}

/// A tensor that the calls use.
#[derive(Clone, Debug)]
pub(in crate::save) struct Weight {
    /// Its name in the state dict, which no other weight has: words between dots.
    pub name: String,
    pub tensor: Tensor,
    pub var: Var,
}

impl Weight {
    /// Whether it is a parameter, of floating-point numbers; otherwise it is a buffer.
    pub fn is_parameter(&self) -> bool {
        self.tensor.dtype().is_float()
    }
}

/// A program.
#[derive(Debug, Default)]
pub(in crate::save) struct Program {
    pub variables: Vec<Variable>,
    pub inputs: Vec<Var>,
    pub weights: Vec<Weight>,
    pub calls: Vec<Call>,
    pub outputs: Vec<Var>,
}

impl Program {
    /// The name of a variable.
    pub fn name(&self, var: Var) -> &str {
        &self.variables[var.0].name
    }
}
