//! Constant folding.

use crate::{
    Result,
    eval::Function,
    graph::{Graph, Parameter, Source, ValueId},
    tensor::{DType, Tensor},
};

/// Makes parameters of what depends on parameters alone and is an operand of what does not. Sizes must be known.
pub fn constants(graph: &Graph) -> Result<Graph> {
    graph.check_concrete()?;
    let mut constant: Vec<bool> =
        graph.values().iter().map(|value| matches!(value.source, Source::Parameter(_))).collect();
    let mut wanted: Vec<ValueId> = Vec::new();
    for node in graph.nodes() {
        let all = node.inputs.iter().all(|v| constant[v.index()]);
        node.outputs.iter().for_each(|v| constant[v.index()] = all);
        let operands = node.inputs.iter().filter(|v| !all && constant[v.index()]);
        for &v in operands.filter(|v| matches!(graph.values()[v.index()].source, Source::Node { .. })) {
            if !wanted.contains(&v) {
                wanted.push(v);
            }
        }
    }
    let mut folded = graph.clone();
    if wanted.is_empty() {
        return Ok(folded);
    }
    let none = vec![false; graph.nodes().len()];
    let mut part = graph.cut(&none, wanted.iter().copied());
    part.remove_unused();
    let function = Function::compile(&part, DType::F64)?;
    let mut numbers = vec![0.0; function.m()];
    // No output depends on the inputs.
    function.value(&mut function.workspace(), &vec![0.0; function.n()], &mut numbers)?;
    let mut rest = &numbers[..];
    let mut parameters = Vec::with_capacity(wanted.len());
    for v in wanted {
        let (own, others) = rest.split_at(graph.numel(v));
        rest = others;
        let name = format!("value {}", v.index());
        parameters.push((v, Parameter { name, tensor: Tensor::from_slice(&graph.sizes(v), own) }));
    }
    folded.set_parameters(parameters);
    folded.remove_unused();
    Ok(folded)
}
