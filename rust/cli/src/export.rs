//! `native-torch export`.

use std::path::PathBuf;

use clap::Args;
use native_torch::{
    Result,
    graph::Dim,
    load,
    save::{Format, to_file, trained_in},
};

use crate::{evaluate::Precision, input};

/// The model, and the file that it becomes.
#[derive(Args)]
pub struct Arguments {
    /// The model, as torch.save(model), torch.export.save(program) or torch.jit.save(module) wrote it
    file: PathBuf,
    /// The file, whose name ends with .pt2 for torch.export.load, or .pt for torch.jit.load
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// The format, whatever the file is called: pt2 or torchscript
    #[arg(long)]
    format: Option<Format>,
    /// The input's shape, as 1,3,8,8, or N,3,8,8 where a size is left open; by default what the model asks for; once for
    /// each of several inputs
    #[arg(long, value_name = "SIZES")]
    shape: Vec<String>,
    /// The precision that the file computes in; by default that of the weights
    #[arg(long, value_enum)]
    dtype: Option<Precision>,
}

/// Writes the file.
pub fn run(arguments: &Arguments) -> Result<()> {
    let path = &arguments.output;
    // A wrong name is found before the work is done.
    let format = arguments.format.map_or_else(|| Format::of(path).map_err(|e| e.at("--output")), Ok)?;
    let shapes: Vec<Vec<Dim>> = arguments.shape.iter().map(|shape| input::dims(shape)).collect::<Result<_>>()?;
    let model = load::open(&arguments.file)?.model()?;
    let graph = if shapes.is_empty() { model.graph(None) } else { model.graph_of(&shapes) };
    let graph = graph.map_err(|e| e.at(arguments.file.display()))?;
    let dtype = arguments.dtype.map_or_else(|| trained_in(&graph), Precision::dtype);
    to_file(&graph, format, dtype, path)
}
