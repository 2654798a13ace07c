//! Parts of a graph under construction that are taken out of it, to become graphs of their own.

use super::{Builder, Comparison, Graph, Named, Op, Parameter, Source, Type, ValueId};
use crate::{
    Error,
    tensor::{DType, Tensor},
};

/// A place in the construction of a graph.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    values: usize,
    nodes: usize,
    parameters: usize,
}

/// What was added to a graph since a mark.
#[derive(Debug)]
pub(crate) struct Region {
    mark: Mark,
    /// The whole graph as it was then.
    graph: Graph,
}

/// What a region gives.
#[derive(Clone, Debug)]
pub(crate) enum Result {
    Value(ValueId),
    Known(Tensor),
}

impl Mark {
    /// The values that are made first behind it.
    pub fn following(&self, count: usize) -> Vec<ValueId> {
        (self.values..self.values + count)
            .map(|at| ValueId(u32::try_from(at).expect("fewer than 2^32 values")))
            .collect()
    }

    /// Whether a value was there already.
    pub fn knows(&self, value: ValueId) -> bool {
        value.index() < self.values
    }
}

impl Builder {
    /// The place where the graph is now.
    pub(crate) fn mark(&self) -> Mark {
        let Graph { values, nodes, parameters, .. } = &self.graph;
        Mark { values: values.len(), nodes: nodes.len(), parameters: parameters.len() }
    }

    /// A value that a region is given from outside.
    pub(crate) fn placeholder(&mut self, sizes: &[usize]) -> ValueId {
        self.value(Type::sized(DType::F64, sizes), Source::Input(usize::MAX))
    }

    /// Takes out what was added since a mark.
    pub(crate) fn take(&mut self, mark: Mark) -> Region {
        let graph = self.graph.clone();
        self.graph.values.truncate(mark.values);
        self.graph.nodes.truncate(mark.nodes);
        self.graph.parameters.truncate(mark.parameters);
        Region { mark, graph }
    }
}

impl Region {
    /// Whether a value was there before it.
    pub fn is_outside(&self, value: ValueId) -> bool {
        self.mark.knows(value)
    }

    /// The computed values outside that it reads, or gives, each once.
    pub fn captured(&self, results: &[Result]) -> Vec<ValueId> {
        let read = self.graph.nodes[self.mark.nodes..].iter().flat_map(|node| node.inputs.iter().copied());
        let given = results.iter().filter_map(|result| match result {
            Result::Value(value) => Some(*value),
            Result::Known(_) => None,
        });
        let mut captured: Vec<ValueId> = read.chain(given).filter(|&value| self.mark.knows(value)).collect();
        captured.retain(|value| !matches!(self.graph.values[value.index()].source, Source::Parameter(_)));
        captured.sort_unstable();
        captured.dedup();
        captured
    }

    /// The graph that computes these results from these values, of which masks are given as numbers.
    pub fn graph(&self, inputs: &[ValueId], results: &[Result]) -> crate::Result<Graph> {
        let mut builder = Builder::new();
        let mut known: Vec<Option<ValueId>> = vec![None; self.graph.values.len()];
        let given: Vec<ValueId> = inputs
            .iter()
            .enumerate()
            .map(|(i, &value)| builder.input(&format!("input {i}"), self.graph.ty(value).shape.clone()))
            .collect();
        for (&value, given) in inputs.iter().zip(given) {
            known[value.index()] = Some(match self.graph.ty(value).dtype {
                DType::Bool => {
                    let zero = builder.parameter("zero", Tensor::from_slice(&[], &[0.0]));
                    builder.node(Op::Compare(Comparison::NotEqual), &[given, zero])?
                }
                dtype if dtype.is_float() => given,
                _ => return Err(Error::unsupported("integers of the input are used where control depends on values")),
            });
        }
        let find = |builder: &mut Builder, known: &mut [Option<ValueId>], value: ValueId| {
            if let Some(found) = known[value.index()] {
                return Ok(found);
            }
            let Source::Parameter(parameter) = self.graph.values[value.index()].source else {
                return Err(Error::internal("a part of a graph reads what it is not given"));
            };
            let Parameter { name, tensor } = &self.graph.parameters[parameter];
            let value_inside = builder.parameter(name, tensor.clone());
            known[value.index()] = Some(value_inside);
            Ok(value_inside)
        };
        for node in &self.graph.nodes[self.mark.nodes..] {
            let operands =
                node.inputs.iter().map(|&v| find(&mut builder, &mut known, v)).collect::<crate::Result<Vec<_>>>()?;
            builder.set_scope(&*node.scope);
            let result = builder.node(node.op.clone(), &operands)?;
            known[node.outputs[0].index()] = Some(result);
        }
        let mut outputs = Vec::with_capacity(results.len());
        for (i, result) in results.iter().enumerate() {
            let value = match result {
                Result::Value(value) => find(&mut builder, &mut known, *value)?,
                Result::Known(tensor) => builder.parameter("known", tensor.clone()),
            };
            outputs.push(Named { name: format!("output {i}"), value });
        }
        let mut graph = builder.graph;
        graph.outputs = outputs;
        graph.remove_unused();
        Ok(graph)
    }
}
