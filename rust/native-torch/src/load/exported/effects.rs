//! Calls that have an effect, as torch wraps them: it passes tokens from one to the next, so that their order is kept. The
//! calls of a program are in order as they are.

use std::collections::HashSet;

use super::{
    check,
    schema::{Argument, Graph, InputSpec, Signature},
};
use crate::{Error, Result};

const WRAPPER: &str = "torch.ops.higher_order.with_effects";

/// Puts the calls themselves in the place of those that wrap them, and takes the tokens out.
pub(super) fn unwrap(graph: &mut Graph, signature: &Signature) -> Result<()> {
    let mut tokens: HashSet<String> = HashSet::new();
    for spec in &signature.input_specs {
        if let InputSpec::Token { arg } = spec {
            tokens.insert(arg.name.clone());
        }
    }
    for node in graph.nodes.iter_mut().filter(|node| node.target == WRAPPER) {
        let place = check::place(node);
        let [token, operation, ..] = &node.inputs[..] else {
            return Err(Error::format("it wraps no operation").at(place));
        };
        let (Argument::AsTensor(_), Argument::AsOperator(target)) = (&token.arg, &operation.arg) else {
            return Err(Error::format("it wraps no operation").at(place));
        };
        node.target.clone_from(target);
        node.inputs.drain(..2);
        if !node.outputs.is_empty() {
            tokens.extend(check::references(&node.outputs.remove(0)).into_iter().map(str::to_owned));
        }
        node.outputs.retain(|output| !matches!(output, Argument::AsNone(_)));
    }
    let is_kept = |argument: &Argument| check::references(argument).iter().all(|name| !tokens.contains(*name));
    graph.inputs.retain(is_kept);
    graph.outputs.retain(is_kept);
    Ok(())
}
