//! Changes to a finished graph, for passes. Values keep their numbers and their types, so that what is known of them
//! stays true.

use super::{Graph, Node, Op, Parameter, Source, Type, Value, ValueId, shape};
use crate::{
    Error, Result,
    tensor::{DType, Tensor},
};

impl Graph {
    /// For each value, how many operands of nodes and outputs it is.
    pub(crate) fn uses(&self) -> Vec<usize> {
        let mut uses = vec![0; self.values.len()];
        let operands = self.nodes.iter().flat_map(|node| &node.inputs);
        operands.chain(self.outputs.iter().map(|output| &output.value)).for_each(|v| uses[v.index()] += 1);
        uses
    }

    /// Adds a parameter.
    pub(crate) fn add_parameter(&mut self, name: String, tensor: Tensor) -> ValueId {
        let id = ValueId(u32::try_from(self.values.len()).expect("fewer than 2^32 values"));
        let ty = Type::sized(DType::F64, tensor.shape());
        self.values.push(Value { ty, source: Source::Parameter(self.parameters.len()) });
        self.parameters.push(Parameter { name, tensor });
        id
    }

    /// Adds a parameter of a type that is known.
    pub(crate) fn add_typed_parameter(&mut self, ty: Type, parameter: Parameter) -> ValueId {
        let id = ValueId(u32::try_from(self.values.len()).expect("fewer than 2^32 values"));
        self.values.push(Value { ty, source: Source::Parameter(self.parameters.len()) });
        self.parameters.push(parameter);
        id
    }

    /// Adds a value for the result of a node that is still to come.
    pub(crate) fn add_result(&mut self, op: &Op, inputs: &[ValueId]) -> Result<ValueId> {
        let types: Vec<&Type> = inputs.iter().map(|&v| &self.values[v.index()].ty).collect();
        let ty = shape::infer(op, &types)?.swap_remove(0);
        let id = ValueId(u32::try_from(self.values.len()).expect("fewer than 2^32 values"));
        self.values.push(Value { ty, source: Source::Node { node: usize::MAX, output: 0 } });
        Ok(id)
    }

    /// Puts nodes in the place of one.
    pub(crate) fn replace(&mut self, at: usize, nodes: Vec<Node>) {
        self.nodes.splice(at..=at, nodes);
        for (at, node) in self.nodes.iter().enumerate() {
            for (output, value) in node.outputs.iter().enumerate() {
                self.values[value.index()].source = Source::Node { node: at, output };
            }
        }
    }

    /// Gives the results of nodes as parameters of the same values; the nodes compute them no more.
    pub(crate) fn set_parameters(&mut self, values: Vec<(ValueId, Parameter)>) {
        for (value, parameter) in values {
            self.values[value.index()].source = Source::Parameter(self.parameters.len());
            self.parameters.push(parameter);
        }
    }

    /// Makes a node of one result another operation with the same result.
    pub(crate) fn rewrite(&mut self, at: usize, op: Op, inputs: Vec<ValueId>, scope: String) -> Result<()> {
        let types: Vec<&Type> = inputs.iter().map(|&v| &self.values[v.index()].ty).collect();
        let inferred = shape::infer(&op, &types).map_err(|e| e.at(&scope))?;
        let node = &mut self.nodes[at];
        if inferred.len() != 1 || inferred[0].shape != self.values[node.outputs[0].index()].ty.shape {
            return Err(Error::internal(format!("{scope}: its result has another shape after a pass")));
        }
        (node.op, node.inputs, node.scope) = (op, inputs, scope);
        Ok(())
    }

    /// Removes the nodes that no output depends on, and those whose results are parameters.
    pub(crate) fn remove_unused(&mut self) {
        let used = self.used_values();
        let values = &self.values;
        self.nodes.retain(|node| {
            node.outputs.iter().any(|v| used[v.index()] && matches!(values[v.index()].source, Source::Node { .. }))
        });
        for (at, node) in self.nodes.iter().enumerate() {
            for (output, value) in node.outputs.iter().enumerate() {
                self.values[value.index()].source = Source::Node { node: at, output };
            }
        }
    }
}
