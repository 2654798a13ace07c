//! The typed graph: what every loader writes and every other room reads.
//!
//! A graph is a list of [`Node`]s in topological order over typed values. It holds no numbers but its parameters'
//! tensors, which may still lie unread in a mapped file.

mod builder;
mod map;
mod op;
mod region;
mod rewrite;
mod shape;
mod types;
mod unary;
mod windows;

pub use builder::Builder;
pub use map::{Broadcast, Map};
pub use op::{AvgPool, Blocks, Comparison, Conv, Interpolation, MaxPool, Op, Padding, Subgraph, Target, Upsample};
pub(crate) use region::{Mark, Region, Result as RegionResult};
pub use shape::{pooled_size, split_at_dim};
pub use types::{Dim, Type, format_shape};
pub use unary::{GeluKind, Unary};
pub use windows::{Axis, Read, Windows, for_each_index};

use crate::{
    Error, Result,
    tensor::{DType, Tensor},
};

/// A value of a graph: an input, a parameter, or what a node computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub(crate) u32);

impl ValueId {
    /// The position in [`Graph::values`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The graph's input of this position.
    Input(usize),
    /// The graph's parameter of this position.
    Parameter(usize),
    /// The given output of the given node.
    Node {
        /// Position in [`Graph::nodes`].
        node: usize,
        /// Position in [`Node::outputs`].
        output: usize,
    },
}

/// A value's type and origin.
#[derive(Clone, Debug)]
pub struct Value {
    /// The dtype and the sizes.
    pub ty: Type,
    /// Where it comes from.
    pub source: Source,
}

/// An operation applied to values.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it computes.
    pub op: Op,
    /// Its operands.
    pub inputs: Vec<ValueId>,
    /// Its results.
    pub outputs: Vec<ValueId>,
    /// Where it stands in the model, as error messages name it: ``layer `2` (torch.nn.modules.linear.Linear)``.
    pub scope: String,
}

/// A named tensor that the model was trained with.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// The name in the state dict, `2.weight`.
    pub name: String,
    /// The numbers.
    pub tensor: Tensor,
}

/// A value with a name: an input or an output.
#[derive(Clone, Debug)]
pub struct Named {
    /// The name in the signature.
    pub name: String,
    /// The value.
    pub value: ValueId,
}

/// A typed graph; made with a [`Builder`].
#[derive(Clone, Debug, Default)]
pub struct Graph {
    values: Vec<Value>,
    nodes: Vec<Node>,
    parameters: Vec<Parameter>,
    inputs: Vec<Named>,
    outputs: Vec<Named>,
}

/// The integers of each input that holds such, `None` for the others; all that are given must be used.
pub(crate) fn integers_of<'a>(
    inputs: impl Iterator<Item = (&'a str, DType, &'a [Dim])>,
    integers: &[i64],
) -> Result<Vec<Option<Tensor>>> {
    let (mut rest, mut all, mut parts) = (integers, Vec::new(), Vec::new());
    for (name, dtype, shape) in inputs {
        if dtype.is_float() {
            all.push(None);
            continue;
        }
        let described = format_shape(shape);
        let sizes = shape.iter().map(Dim::size).collect::<Option<Vec<usize>>>().ok_or_else(|| {
            Error::argument(format!("input `{name}` has the symbolic shape {described}; give its sizes"))
        })?;
        let count = sizes.iter().fold(1usize, |count, &size| count.saturating_mul(size));
        parts.push((count, format!("{count} for `{name}` {described}")));
        let (own, others) = rest.split_at(rest.len().min(count));
        rest = others;
        all.push((own.len() == count).then(|| Tensor::from_slice(&sizes, own)));
    }
    let (given, expected) = (integers.len(), parts.iter().fold(0usize, |sum, (count, _)| sum.saturating_add(*count)));
    if given != expected {
        let each: Vec<String> = parts.into_iter().map(|(_, part)| part).collect();
        let each = if each.is_empty() { "no input holds integers".to_owned() } else { each.join(", ") };
        return Err(Error::argument(format!("{given} integers were given, but {expected} are expected: {each}")));
    }
    Ok(all)
}

impl Graph {
    /// All values.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The nodes in topological order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The parameters.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The inputs in signature order.
    pub fn inputs(&self) -> &[Named] {
        &self.inputs
    }

    /// The outputs in signature order.
    pub fn outputs(&self) -> &[Named] {
        &self.outputs
    }

    /// The type of a value.
    pub fn ty(&self, value: ValueId) -> &Type {
        &self.values[value.index()].ty
    }

    /// The sizes of a value whose sizes are all known.
    ///
    /// # Panics
    /// If one is symbolic: call [`Graph::check_concrete`] first.
    pub fn sizes(&self, value: ValueId) -> Vec<usize> {
        self.ty(value).sizes().expect("the graph was checked to be concrete")
    }

    /// The number of elements of a value whose sizes are all known.
    ///
    /// # Panics
    /// As [`Graph::sizes`].
    pub fn numel(&self, value: ValueId) -> usize {
        self.sizes(value).iter().product()
    }

    /// For each value, whether an output depends on it.
    pub fn used_values(&self) -> Vec<bool> {
        let mut used = vec![false; self.values.len()];
        self.outputs.iter().for_each(|output| used[output.value.index()] = true);
        for node in self.nodes.iter().rev() {
            if node.outputs.iter().any(|v| used[v.index()]) {
                node.inputs.iter().for_each(|v| used[v.index()] = true);
            }
        }
        used
    }

    /// The same graph with its inputs' sizes replaced and all types inferred anew.
    pub fn specialize(&self, input_shapes: &[Vec<usize>]) -> Result<Graph> {
        if input_shapes.len() != self.inputs.len() {
            return Err(Error::argument(format!(
                "the model has {} input(s), but {} shape(s) were given",
                self.inputs.len(),
                input_shapes.len()
            )));
        }
        let mut graph = self.clone();
        for (input, shape) in self.inputs.iter().zip(input_shapes) {
            let ty = &mut graph.values[input.value.index()].ty;
            let given = Type::sized(ty.dtype, shape);
            if !ty.accepts(&given) {
                return Err(Error::argument(format!(
                    "input `{}` has shape {}, which {} does not fit",
                    input.name,
                    format_shape(&ty.shape),
                    format_shape(&given.shape)
                )));
            }
            *ty = given;
        }
        for node in &self.nodes {
            let types: Vec<&Type> = node.inputs.iter().map(|&v| &graph.values[v.index()].ty).collect();
            let inferred = shape::infer(&node.op, &types).map_err(|e| e.at(&node.scope))?;
            for (&output, ty) in node.outputs.iter().zip(inferred) {
                graph.values[output.index()].ty = ty;
            }
        }
        Ok(graph)
    }

    /// The same values with other outputs, where the results of the marked nodes are further inputs instead.
    pub(crate) fn cut(&self, cut: &[bool], outputs: impl IntoIterator<Item = ValueId>) -> Graph {
        let mut graph = self.clone();
        graph.nodes.clear();
        for (node, &cut) in self.nodes.iter().zip(cut) {
            for (output, value) in node.outputs.iter().enumerate() {
                let source = if cut {
                    graph.inputs.push(Named { name: format!("value {}", value.0), value: *value });
                    Source::Input(graph.inputs.len() - 1)
                } else {
                    Source::Node { node: graph.nodes.len(), output }
                };
                graph.values[value.index()].source = source;
            }
            if !cut {
                graph.nodes.push(node.clone());
            }
        }
        graph.outputs = outputs.into_iter().map(|value| Named { name: format!("value {}", value.0), value }).collect();
        graph
    }

    /// The same graph with its inputs of integers given: all of them flat and row-major, in signature order. They are
    /// parameters then, and the other inputs are those that are left. The sizes of these inputs must be known.
    ///
    /// ```
    /// use native_torch::{eval::Function, graph::{Builder, Dim, Op}, tensor::{DType, Tensor}};
    ///
    /// let mut b = Builder::new();
    /// let words = b.integers("words", vec![Dim::Size(2)]);
    /// let table = b.parameter("table", Tensor::from_slice(&[3, 1], &[10.0, 11.0, 12.0]));
    /// let y = b.node(Op::Embedding, &[table, words])?;
    /// let graph = b.finish(&[("y", y)])?.with_integers(&[2, 0])?;
    /// let f = Function::compile(&graph, DType::F64)?;
    /// let mut y = [0.0; 2];
    /// f.value(&mut f.workspace(), &[], &mut y)?;
    /// assert_eq!(y, [12.0, 10.0]);
    /// # Ok::<(), native_torch::Error>(())
    /// ```
    pub fn with_integers(&self, integers: &[i64]) -> Result<Graph> {
        let mut graph = self.clone();
        let described = self.inputs.iter().map(|input| {
            let ty = self.ty(input.value);
            (input.name.as_str(), ty.dtype, &ty.shape[..])
        });
        let mut left = Vec::new();
        for (input, own) in self.inputs.iter().zip(integers_of(described, integers)?) {
            let source = match own {
                None => {
                    left.push(input.clone());
                    Source::Input(left.len() - 1)
                }
                Some(tensor) => {
                    graph.parameters.push(Parameter { name: input.name.clone(), tensor });
                    Source::Parameter(graph.parameters.len() - 1)
                }
            };
            graph.values[input.value.index()].source = source;
        }
        graph.inputs = left;
        for node in graph.nodes.iter().filter(|node| node.op == Op::Embedding) {
            graph.embedding_rows(node)?;
        }
        Ok(graph)
    }

    /// The rows that an [`Op::Embedding`] reads, exactly; an error if the table does not have one, or if the indices are
    /// not stored.
    pub(crate) fn embedding_rows(&self, node: &Node) -> Result<Vec<usize>> {
        let Source::Parameter(parameter) = self.values[node.inputs[1].index()].source else {
            let message = "its indices are not given; give the integers with the graph";
            return Err(Error::argument(message).at(&node.scope));
        };
        let rows = self.sizes(node.inputs[0])[0];
        let row = |(at, &index): (usize, &i64)| {
            usize::try_from(index).ok().filter(|&index| index < rows).ok_or_else(|| {
                let last = rows as i64 - 1;
                Error::argument(format!("index {at} is {index}, but the table has the rows 0 to {last}"))
            })
        };
        let indices: Vec<i64> = self.parameters[parameter].tensor.to_vec()?;
        indices.iter().enumerate().map(row).collect::<Result<_>>().map_err(|e| e.at(&node.scope))
    }

    /// An error that names the first input or layer with a size that is not known, or an input of integers, which are
    /// given with [`Graph::with_integers`].
    pub fn check_concrete(&self) -> Result<()> {
        for input in &self.inputs {
            let ty = self.ty(input.value);
            if !ty.dtype.is_float() {
                return Err(Error::argument(format!(
                    "input `{}` holds integers, which have no derivative; give them apart from x, when the model is \
                     compiled",
                    input.name
                )));
            }
            if ty.sizes().is_none() {
                return Err(Error::argument(format!(
                    "input `{}` has the symbolic shape {}; give its sizes",
                    input.name,
                    format_shape(&ty.shape)
                )));
            }
        }
        for node in &self.nodes {
            if node.outputs.iter().any(|&v| self.ty(v).sizes().is_none()) {
                return Err(Error::argument(format!("{} needs to know its input's sizes; give them", node.scope)));
            }
        }
        Ok(())
    }
}
