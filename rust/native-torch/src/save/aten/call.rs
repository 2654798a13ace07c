//! Programs: calls of ATen's operations over variables.

use std::collections::HashSet;

use crate::{graph::Type, tensor::Tensor};

/// A variable, by its position in [`Program::variables`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::save) struct Var(pub usize);

/// What a variable holds.
#[derive(Clone, Debug)]
pub(in crate::save) enum Kind {
    Tensor(Type),
    /// The size of a variable's dimension.
    Size {
        of: Var,
        dim: usize,
    },
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

/// What one side of a branch, or a turn of a loop, computes of variables outside of it.
#[derive(Clone, Debug)]
pub(in crate::save) struct Block {
    pub calls: Vec<Call>,
    pub outputs: Vec<Var>,
}

impl Block {
    /// The variables outside of the block that it reads, each once.
    pub fn reads(&self) -> Vec<Var> {
        let (mut own, mut reads) = (HashSet::new(), Vec::new());
        for call in &self.calls {
            reads.extend(call.reads().into_iter().filter(|var| !own.contains(var)));
            own.extend(call.results.iter().copied());
        }
        reads.extend(self.outputs.iter().filter(|var| !own.contains(var)));
        let mut seen = HashSet::new();
        reads.retain(|var| seen.insert(*var));
        reads
    }
}

/// Control that depends on values.
#[derive(Clone, Debug)]
pub(in crate::save) enum Flow {
    /// The results are the outputs of the first block where the mask holds, of the second one elsewhere.
    If { mask: Var, blocks: Box<[Block; 2]> },
    /// As long as the one output of the condition holds, the outputs of the body take the place of the variables that
    /// are carried, which begin as these values. The results are what they are in the end.
    While { carried: Vec<Var>, first: Vec<Var>, condition: Box<Block>, body: Box<Block> },
}

/// The call of an operation.
#[derive(Clone, Debug)]
pub(in crate::save) struct Call {
    /// The operation's name with its overload: `conv2d.default`.
    pub target: String,
    /// Under their names in ATen, in its order.
    pub arguments: Vec<(&'static str, Argument)>,
    pub results: Vec<Var>,
    /// What is called instead of an operation of ATen.
    pub flow: Option<Flow>,
    /// Where it stands in the model, as the graph says it.
    pub place: String,
}

impl Call {
    /// The variables that it reads.
    pub fn reads(&self) -> Vec<Var> {
        let size = |size: &Size| match size {
            Size::Of(var) => Some(*var),
            Size::Known(_) => None,
        };
        let argument = |argument: &Argument| match argument {
            Argument::Tensor(var) => vec![*var],
            Argument::Tensors(vars) => vars.clone(),
            Argument::Sizes(sizes) => sizes.iter().filter_map(size).collect(),
            _ => Vec::new(),
        };
        let mut reads: Vec<Var> = self.arguments.iter().flat_map(|(_, value)| argument(value)).collect();
        match &self.flow {
            None => {}
            Some(Flow::If { mask, blocks }) => {
                reads.push(*mask);
                reads.extend(blocks.iter().flat_map(Block::reads));
            }
            Some(Flow::While { carried, first, condition, body }) => {
                reads.extend(first);
                let inside = [condition, body].into_iter().flat_map(|block| block.reads());
                reads.extend(inside.filter(|var| !carried.contains(var)));
            }
        }
        reads
    }
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
