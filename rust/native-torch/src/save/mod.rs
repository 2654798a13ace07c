//! Graphs as files that torch loads and runs: TorchScript.
//!
//! A graph becomes a list of calls of ATen's operations, those that torch itself would use, so that torch's values and
//! derivatives are those of the graph. Each format prints that list. Weights keep their names, and those that are shared
//! are stored once.

mod aten;
mod pickle;
mod script;
mod weights;
mod zip;

use crate::{Error, Result, graph::Graph, tensor::DType};

/// The graph as a TorchScript archive in memory, for `torch.jit.load` and libtorch. `float` is the type that it computes
/// in and that its weights are stored in, float64 or float32.
///
/// Its `forward` takes the graph's inputs in their order, those of integers as int64, and gives one tensor or a tuple of
/// them. Sizes need not be known, but where an error says so. Weights are parameters under their names in the state dict,
/// integers buffers.
///
/// ```
/// use native_torch::{graph::{Builder, Dim, Unary}, load, save, tensor::{DType, Tensor}};
///
/// let mut b = Builder::new();
/// let x = b.input("x", vec![Dim::Size(2)]);
/// let weight = b.parameter("0.weight", Tensor::from_slice(&[1, 2], &[1.0, -2.0]));
/// let y = b.linear(x, weight, None)?;
/// let graph = b.finish(&[("y", y)])?;
/// let checkpoint = load::from_bytes(save::script(&graph, DType::F64)?)?;
/// assert_eq!(checkpoint.tensors()?[0].name, "0.weight");
/// # Ok::<(), native_torch::Error>(())
/// ```
pub fn script(graph: &Graph, float: DType) -> Result<Vec<u8>> {
    check(float)?;
    let mut bytes = Vec::new();
    script::write(&aten::program(graph)?, float, &mut bytes)?;
    Ok(bytes)
}

fn check(float: DType) -> Result<()> {
    if matches!(float, DType::F64 | DType::F32) {
        return Ok(());
    }
    Err(Error::argument(format!("models are written in float64 or float32, not in {}", float.name())))
}
