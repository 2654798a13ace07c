//! Passes: graphs to graphs that compute the same with less. Values that are left keep their numbers, so that bounds of
//! the one hold for the other; sums are rounded otherwise. BatchNorms go into convolutions and linear layers by [`affine`].
//!
//! | pass | what it does |
//! |---|---|
//! | [`constants`] | what depends on parameters alone is computed once |
//! | [`affine`] | chains of linear layers, convolutions, BatchNorms and arithmetic with constants become one layer each |
//! | [`dead`] | what no output depends on is left out |
//!
//! Element-wise chains are fused where a graph is compiled, and not in the graph, whose values derivatives and bounds need:
//! [`Function::chains`](crate::eval::Function::chains) tells which they are.

mod affine;
mod constants;

pub use affine::affine;
pub use constants::constants;

use crate::{
    Result,
    graph::{Graph, Node},
};

/// Leaves out what no output depends on.
pub fn dead(graph: &Graph) -> Graph {
    let mut graph = graph.clone();
    graph.remove_unused();
    graph
}

/// All passes: constants, affine chains, dead code. Sizes must be known.
///
/// ```
/// use native_torch::{graph::{Builder, Dim, Unary}, passes::fold, tensor::Tensor};
///
/// let mut b = Builder::new();
/// let x = b.input("x", vec![Dim::Size(2)]);
/// b.set_scope("layer `0` (torch.nn.modules.linear.Linear)");
/// let weight = b.parameter("0.weight", Tensor::from_slice(&[2, 2], &[1.0, -2.0, 1.0, 1.0]));
/// let z = b.linear(x, weight, None)?;
/// b.set_scope("layer `1` (torch.nn.modules.batchnorm.BatchNorm1d)");
/// let y = b.unary(Unary::Affine { scale: 2.0, shift: 1.0 }, z)?;
/// let folded = fold(&b.finish(&[("y", y)])?, |_| true)?;
/// assert_eq!(folded.nodes().len(), 1);
/// assert_eq!(
///     folded.nodes()[0].scope,
///     "layer `0` (torch.nn.modules.linear.Linear), layer `1` (torch.nn.modules.batchnorm.BatchNorm1d)"
/// );
/// # Ok::<(), native_torch::Error>(())
/// ```
pub fn fold(graph: &Graph, may_fold: impl Fn(&Node) -> bool) -> Result<Graph> {
    Ok(dead(&affine(&constants(graph)?, may_fold)?))
}
