//! The typed builder: every node is checked and its type inferred as it is added.

use super::{Dim, Graph, Named, Node, Op, Parameter, Source, Type, Unary, Value, ValueId, shape};
use crate::{
    Error, Result,
    tensor::{DType, Tensor},
};

/// Builds a [`Graph`].
///
/// ```
/// use native_torch::{graph::{Builder, Dim, Unary}, tensor::Tensor};
///
/// let mut b = Builder::new();
/// let x = b.input("x", vec![Dim::symbol("N"), Dim::Size(2)]);
/// let weight = b.parameter("weight", Tensor::from_slice(&[2, 2], &[1.0, 0.0, 0.0, 1.0]));
/// let h = b.linear(x, weight, None)?;
/// let h = b.unary(Unary::Relu, h)?;
/// let y = b.add(x, h)?;
/// let graph = b.finish(&[("y", y)])?;
/// assert_eq!(graph.ty(y).shape[1], Dim::Size(2));
/// # Ok::<(), native_torch::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Builder {
    pub(super) graph: Graph,
    scope: String,
}

impl Builder {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the place that the nodes to come belong to, as errors print it: ``layer `2` (torch.nn...Linear)``.
    pub fn set_scope(&mut self, scope: impl Into<String>) {
        self.scope = scope.into();
    }

    /// A floating-point input.
    pub fn input(&mut self, name: &str, shape: Vec<Dim>) -> ValueId {
        let source = Source::Input(self.graph.inputs.len());
        let value = self.value(Type::new(DType::F64, shape), source);
        self.graph.inputs.push(Named { name: name.to_owned(), value });
        value
    }

    /// An input of integers. They are given with [`Graph::with_integers`] before the graph is evaluated, since there is
    /// no derivative by them.
    pub fn integers(&mut self, name: &str, shape: Vec<Dim>) -> ValueId {
        let source = Source::Input(self.graph.inputs.len());
        let value = self.value(Type::new(DType::I64, shape), source);
        self.graph.inputs.push(Named { name: name.to_owned(), value });
        value
    }

    /// A parameter. The same tensor may be a parameter twice, under two names.
    pub fn parameter(&mut self, name: &str, tensor: Tensor) -> ValueId {
        let source = Source::Parameter(self.graph.parameters.len());
        let dtype = if tensor.dtype().is_float() { DType::F64 } else { tensor.dtype() };
        let value = self.value(Type::sized(dtype, tensor.shape()), source);
        self.graph.parameters.push(Parameter { name: name.to_owned(), tensor });
        value
    }

    /// Applies an operation that has one result.
    pub fn node(&mut self, op: Op, inputs: &[ValueId]) -> Result<ValueId> {
        let scope = if self.scope.is_empty() { format!("operation {}", op.name()) } else { self.scope.clone() };
        let types: Vec<&Type> = inputs.iter().map(|&v| self.graph.ty(v)).collect();
        let types = shape::infer(&op, &types).map_err(|e| e.at(&scope))?;
        let node = self.graph.nodes.len();
        let outputs: Vec<ValueId> =
            types.into_iter().enumerate().map(|(output, ty)| self.value(ty, Source::Node { node, output })).collect();
        let first = outputs[0];
        self.graph.nodes.push(Node { op, inputs: inputs.to_vec(), outputs, scope });
        Ok(first)
    }

    /// [`Op::Unary`].
    pub fn unary(&mut self, unary: Unary, x: ValueId) -> Result<ValueId> {
        self.node(Op::Unary(unary), &[x])
    }

    /// [`Op::Add`].
    pub fn add(&mut self, a: ValueId, b: ValueId) -> Result<ValueId> {
        self.node(Op::Add, &[a, b])
    }

    /// [`Op::Linear`].
    pub fn linear(&mut self, x: ValueId, weight: ValueId, bias: Option<ValueId>) -> Result<ValueId> {
        let inputs: Vec<ValueId> = [x, weight].into_iter().chain(bias).collect();
        self.node(Op::Linear, &inputs)
    }

    /// The type of a value.
    pub fn ty(&self, value: ValueId) -> &Type {
        self.graph.ty(value)
    }

    /// The graph with these outputs.
    pub fn finish(mut self, outputs: &[(&str, ValueId)]) -> Result<Graph> {
        if outputs.is_empty() {
            return Err(Error::argument("a graph needs an output"));
        }
        self.graph.outputs = outputs.iter().map(|&(name, value)| Named { name: name.to_owned(), value }).collect();
        Ok(self.graph)
    }

    pub(super) fn value(&mut self, ty: Type, source: Source) -> ValueId {
        let id = ValueId(u32::try_from(self.graph.values.len()).expect("fewer than 2^32 values"));
        self.graph.values.push(Value { ty, source });
        id
    }
}
