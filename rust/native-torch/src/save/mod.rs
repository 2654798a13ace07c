//! Graphs as files that torch loads and runs: `.pt2` programs and TorchScript.
//!
//! A graph becomes a list of calls of ATen's operations, those that torch itself would use, so that torch's values and
//! derivatives are those of the graph. Each format prints that list. Weights keep their names, and those that are shared
//! are stored once.

mod aten;
mod exported;
mod pickle;
mod script;
mod weights;
mod zip;

use std::{
    fmt, fs,
    io::{self, Write},
    path::Path,
    str::FromStr,
};

use crate::{Error, Result, graph::Graph, load, tensor::DType};

/// A format of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// The archive of `torch.export.save`, as torch 2.13 writes it; `torch.export.load` reads it.
    Exported,
    /// The archive of `torch.jit.save`; `torch.jit.load` and libtorch read it.
    Script,
}

impl Format {
    /// Every format.
    pub const ALL: [Format; 2] = [Format::Exported, Format::Script];

    /// The name by which the command and the bindings choose it.
    pub fn name(self) -> &'static str {
        match self {
            Format::Exported => "pt2",
            Format::Script => "torchscript",
        }
    }

    /// The format that a file's name ends with: `.pt2`, or `.pt`, `.pth` and `.ts` for TorchScript.
    pub fn of(path: &Path) -> Result<Self> {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        match extension.as_deref() {
            Some("pt2") => Ok(Format::Exported),
            Some("pt" | "pth" | "ts") => Ok(Format::Script),
            _ => Err(Error::argument(format!(
                "`{}` names no format; give the file the end .pt2, or .pt for TorchScript, or name the format",
                path.display()
            ))),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = Error;

    /// `pt2` or `torchscript`.
    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|format| format.name() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(" and ");
            Error::argument(format!("there is no format `{text}`; there are {known}"))
        })
    }
}

/// The type that a graph's weights were trained in, for files: float64 if one of them is float64, float32 otherwise.
pub fn trained_in(graph: &Graph) -> DType {
    let is_double = graph.parameters().iter().any(|parameter| parameter.tensor.dtype() == DType::F64);
    if is_double { DType::F64 } else { DType::F32 }
}

/// Writes the graph. `float` is the type that the file computes in and stores its weights in, float64 or float32.
///
/// `forward` takes the graph's inputs in their order, those of integers as int64, and gives one tensor or a tuple of
/// them. Sizes need not be known, but where an error says so. Weights are parameters under their names in the state dict,
/// integers buffers; those that no output depends on are left out.
pub fn write(graph: &Graph, format: Format, float: DType, to: &mut dyn Write) -> Result<()> {
    if !matches!(float, DType::F64 | DType::F32) {
        return Err(Error::argument(format!("models are written in float64 or float32, not in {}", float.name())));
    }
    let program = aten::program(graph)?;
    match format {
        Format::Exported => exported::write(&program, float, to),
        Format::Script => script::write(&program, float, to),
    }
}

/// The same in memory.
///
/// ```
/// use native_torch::{graph::{Builder, Dim}, load, save, tensor::{DType, Tensor}};
///
/// let mut b = Builder::new();
/// let x = b.input("x", vec![Dim::Size(2)]);
/// let weight = b.parameter("0.weight", Tensor::from_slice(&[1, 2], &[1.0, -2.0]));
/// let y = b.linear(x, weight, None)?;
/// let graph = b.finish(&[("y", y)])?;
/// let checkpoint = load::from_bytes(save::to_bytes(&graph, save::Format::Exported, DType::F64)?)?;
/// assert_eq!(checkpoint.tensors()?[0].name, "0.weight");
/// # Ok::<(), native_torch::Error>(())
/// ```
pub fn to_bytes(graph: &Graph, format: Format, float: DType) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    write(graph, format, float, &mut bytes)?;
    Ok(bytes)
}

/// The graph as TorchScript in memory.
pub fn script(graph: &Graph, float: DType) -> Result<Vec<u8>> {
    to_bytes(graph, Format::Script, float)
}

/// A program's own calls as TorchScript in memory.
pub(crate) fn code(code: load::Code, float: DType) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    script::write_code(code, float, &mut bytes)?;
    Ok(bytes)
}

/// Writes the graph to a file. The file appears when it is whole: one that is there is replaced then, so that a model may
/// be written over the file that it was read from.
pub fn to_file(graph: &Graph, format: Format, float: DType, path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let name = path.file_name().ok_or_else(|| Error::argument(format!("`{}` names no file", path.display())))?;
    let part = path.with_file_name(format!(".{}.{}.part", name.to_string_lossy(), std::process::id()));
    let failed = |e: &io::Error| Error::io(path.display(), e);
    let written = fs::File::create(&part).map_err(|e| failed(&e)).and_then(|file| {
        let mut file = io::BufWriter::new(file);
        write(graph, format, float, &mut file).map_err(|e| e.at(path.display()))?;
        fs::rename(&part, path).map_err(|e| failed(&e))
    });
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written
}
