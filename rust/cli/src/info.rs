//! `native-torch info`.

use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use native_torch::{
    Error, Result,
    graph::{Dim, Graph, Type, format_shape},
    load::{self, Checkpoint, Layer, Module, ModuleInput, NamedTensor},
};
use serde_json::{Value, json};

use crate::{input, output};

/// What is shown of which file.
#[derive(Args)]
pub struct Arguments {
    /// The file, as torch.save, torch.jit.save or torch.export.save wrote it
    file: PathBuf,
    /// Read the whole file and check every record's CRC-32
    #[arg(long)]
    verify: bool,
    /// The input's shape, as 1,3,8,8; by default what the first layer asks for; once for each of several inputs
    #[arg(long, value_name = "SIZES")]
    shape: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Prints what the file holds.
pub fn run(arguments: &Arguments) -> Result<()> {
    let checkpoint = load::open(&arguments.file)?;
    if arguments.verify {
        verify(&checkpoint)?;
    }
    let shapes: Vec<Vec<usize>> = arguments.shape.iter().map(|shape| input::shape(shape)).collect::<Result<_>>()?;
    let shapes: Vec<Vec<Dim>> = shapes.into_iter().map(|shape| shape.into_iter().map(Dim::Size).collect()).collect();
    let model = match checkpoint.model() {
        Ok(model) => {
            let graph = if shapes.is_empty() { model.graph(None) } else { model.graph_of(&shapes) };
            // A shape that the user gave must fit; what the model itself lacks is only told.
            if let (Err(error), true, true) = (&graph, !shapes.is_empty(), model.unsupported().is_empty()) {
                return Err(error.clone());
            }
            Ok(Model { model, graph })
        }
        Err(error) => Err(error),
    };
    let tensors = checkpoint.tensors()?;
    let report = Report { arguments, checkpoint: &checkpoint, model, tensors };
    output::print(&if arguments.json { report.json().to_string() } else { report.text() })
}

fn verify(checkpoint: &Checkpoint) -> Result<()> {
    let style = ProgressStyle::with_template("checking {bar:40} {bytes}/{total_bytes} {eta}")
        .map_err(|e| Error::internal(format!("the progress bar's template: {e}")))?;
    // Drawn on standard error, if that is a terminal.
    let bar = ProgressBar::new(0).with_style(style);
    let checked = checkpoint.verify(&mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    checked
}

struct Model {
    model: load::Model,
    graph: Result<Graph>,
}

impl Model {
    /// The inputs, with the shapes of the graph if there is one.
    fn inputs(&self) -> Vec<ModuleInput> {
        self.graph.as_ref().map_or_else(|_| self.model.inputs(), ModuleInput::of)
    }

    /// The layers of a module in order, each with the shape behind it; `None` where that is not known.
    fn layers(&self) -> Vec<(&Module, Option<&Type>)> {
        let Some(module) = self.model.module() else { return Vec::new() };
        let mut current = self.graph.as_ref().ok().map(|graph| graph.ty(graph.inputs()[0].value));
        let layers = module.layers().map(|layer| {
            if let Ok(graph) = &self.graph {
                // A layer without operations, like Dropout, passes its input on.
                let node = graph.nodes().iter().rev().find(|node| node.scope == layer.place());
                current = node.map(|node| graph.ty(node.outputs[0])).or(current);
            }
            (layer, current)
        });
        layers.collect()
    }
}

struct Report<'a> {
    arguments: &'a Arguments,
    checkpoint: &'a Checkpoint,
    model: Result<Model>,
    tensors: Vec<NamedTensor>,
}

fn kind(layer: &Module) -> &'static str {
    match layer.layer() {
        Layer::Custom(_) => "custom",
        Layer::Unsupported { .. } => "unsupported",
        Layer::Sequential | Layer::Standard(_) => "layer",
    }
}

fn shape(ty: Option<&Type>) -> String {
    ty.map_or_else(|| "?".to_owned(), |ty| format_shape(&ty.shape))
}

impl Report<'_> {
    fn byte_order(&self) -> &'static str {
        if self.checkpoint.is_big_endian() { "big" } else { "little" }
    }

    fn text(&self) -> String {
        let mut parts = vec![format!(
            "{}: {}, {}-endian{}",
            self.arguments.file.display(),
            self.checkpoint.format(),
            self.byte_order(),
            if self.arguments.verify { ", every CRC-32 is right" } else { "" }
        )];
        match &self.model {
            Ok(model) => {
                parts[0] += &format!("\n{}, {} parameters", model.model.describe(), model.model.parameter_count());
                for input in model.inputs() {
                    let integers = if input.dtype.is_float() { "" } else { " of integers" };
                    let shape = input.shape.as_deref().map_or_else(|| "?".to_owned(), format_shape);
                    parts[0] += &format!("\ninput `{}`{integers} {shape}", input.name);
                }
                match &model.graph {
                    Ok(graph) => {
                        for output in graph.outputs() {
                            parts[0] += &format!("\noutput `{}` {}", output.name, shape(Some(graph.ty(output.value))));
                        }
                    }
                    Err(error) => parts[0] += &format!("\nno graph: {error}"),
                }
                let rows: Vec<Vec<String>> = model
                    .layers()
                    .into_iter()
                    .map(|(layer, ty)| {
                        let count = layer.parameter_count().to_string();
                        vec![layer.path().to_owned(), layer.describe(), shape(ty), count, kind(layer).to_owned()]
                    })
                    .collect();
                if model.model.module().is_some() {
                    parts.push(output::table(&["path", "layer", "output shape", "parameters", "kind"], &rows));
                }
                if let Some(operations) = model.model.operations() {
                    let calls = operations.into_iter();
                    let rows: Vec<Vec<String>> = calls.map(|(name, count)| vec![name, count.to_string()]).collect();
                    parts.push(output::table(&["operation", "calls"], &rows));
                }
            }
            Err(error) => parts.push(format!("no model: {error}")),
        }
        if !self.tensors.is_empty() {
            let rows: Vec<Vec<String>> = self
                .tensors
                .iter()
                .map(|NamedTensor { name, info, tensor }| {
                    let shape = info.shape.as_ref().map_or_else(|| "?".to_owned(), |shape| format!("{shape:?}"));
                    let dtype = info.dtype.clone().unwrap_or_else(|| "?".to_owned());
                    let note = tensor.as_ref().err().map(|error| format!("{}: {error}", info.kind));
                    vec![name.clone(), dtype, shape, note.unwrap_or_default()]
                })
                .collect();
            let refused = rows.iter().any(|row| !row[3].is_empty());
            let headings = ["tensor", "dtype", "shape", if refused { "not supported" } else { "" }];
            parts.push(output::table(&headings, &rows));
        }
        let unsupported: Vec<String> =
            self.unsupported().iter().map(|(place, why)| format!("{place}: {why}")).collect();
        if !unsupported.is_empty() {
            parts.push(format!("not supported\n{}", unsupported.join("\n")));
        }
        parts.join("\n\n")
    }

    fn unsupported(&self) -> Vec<(String, String)> {
        self.model.iter().flat_map(|model| model.model.unsupported()).collect()
    }

    fn json(&self) -> Value {
        let sizes = |shape: &[Dim]| -> Value {
            shape.iter().map(|d| d.size().map_or_else(|| d.to_string().into(), Value::from)).collect()
        };
        let dims = |ty: Option<&Type>| ty.map(|ty| sizes(&ty.shape));
        let model = self.model.as_ref().ok();
        let layers: Vec<Value> = model
            .iter()
            .flat_map(|model| model.layers())
            .map(|(layer, ty)| {
                json!({
                    "path": layer.path(),
                    "class": layer.class(),
                    "layer": layer.describe(),
                    "kind": kind(layer),
                    "output_shape": dims(ty),
                    "parameters": layer.parameter_count(),
                })
            })
            .collect();
        let operations: Vec<Value> = model
            .and_then(|model| model.model.operations())
            .into_iter()
            .flatten()
            .map(|(name, calls)| json!({ "name": name, "calls": calls }))
            .collect();
        let inputs = model.map_or_else(Vec::new, Model::inputs).into_iter();
        let inputs: Vec<Value> = inputs
            .map(|input| {
                let dtype = if input.dtype.is_float() { "float" } else { input.dtype.name() };
                json!({ "name": input.name, "dtype": dtype, "shape": input.shape.as_deref().map(sizes) })
            })
            .collect();
        let graph = model.and_then(|model| model.graph.as_ref().ok());
        let outputs = graph.iter().flat_map(|graph| graph.outputs().iter().map(|v| (v, graph.ty(v.value))));
        let outputs: Vec<Value> = outputs.map(|(v, ty)| json!({ "name": v.name, "shape": dims(Some(ty)) })).collect();
        let tensors: Vec<Value> = self
            .tensors
            .iter()
            .map(|NamedTensor { name, info, tensor }| {
                let error = tensor.as_ref().err().map(Error::to_string);
                json!({ "name": name, "kind": info.kind, "dtype": info.dtype, "shape": info.shape, "error": error })
            })
            .collect();
        let error = match &self.model {
            Ok(model) => model.graph.as_ref().err().map(Error::to_string),
            Err(error) => Some(error.to_string()),
        };
        let unsupported: Vec<Value> =
            self.unsupported().into_iter().map(|(place, reason)| json!({ "place": place, "reason": reason })).collect();
        json!({
            "file": self.arguments.file.display().to_string(),
            "format": self.checkpoint.format().to_string(),
            "byte_order": self.byte_order(),
            "verified": self.arguments.verify,
            "inputs": inputs,
            "outputs": outputs,
            "parameters": model.map(|model| model.model.parameter_count()),
            "layers": layers,
            "operations": operations,
            "tensors": tensors,
            "unsupported": unsupported,
            "error": error,
        })
    }
}
