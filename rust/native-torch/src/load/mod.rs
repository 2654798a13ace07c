//! Bytes to models, models to graphs: reading what `torch.save`, `torch.jit.save` and
//! `torch.export.save` write, without Python.
//!
//! ```no_run
//! let checkpoint = native_torch::load::open("model.pt")?;
//! let model = checkpoint.model()?;
//! let graph = model.graph(None)?;
//! # Ok::<(), native_torch::Error>(())
//! ```
//!
//! A file is data: the pickle in it is read into plain records and what it names is never called. Sizes that a file
//! claims are checked before memory is taken, and nothing recurses over what a file nests.

mod archive;
mod aten;
mod build;
mod compose;
mod contents;
mod detect;
mod exported;
mod fields;
mod input;
mod kinds;
mod layers;
mod legacy;
mod model;
mod module;
mod pickle;
mod records;
mod repr;
#[cfg(test)]
mod robustness;
mod script;
mod tar;
mod tensors;
#[cfg(test)]
mod testing;
mod value;
mod walk;
mod zip;

use std::{
    fmt,
    io::{Read, Seek},
    path::Path,
    sync::Arc,
};

pub use build::{CustomForward, ModuleInput};
use contents::{Contents, Stored};
pub use exported::Program;
pub(crate) use exported::{Code, Parameter};
use input::Input;
pub use layers::Standard;
pub use model::Model;
pub use module::{Custom, Layer, Module, ModuleTensor};
use records::{Pickle, RecordId};
pub use script::Script;
pub use tensors::TensorInfo;
use tensors::Tensors;
use value::Records;
pub use value::Value;
pub use walk::NamedTensor;

use crate::{
    Error, Result,
    tensor::{Source, Storage},
};

/// A file that `torch.save`, `torch.jit.save` or `torch.export.save` wrote: what it holds, checked but for the numbers of the tensors, which
/// are read when they are first used.
pub struct Checkpoint {
    /// What the file is called in error messages.
    origin: String,
    content: Content,
    format: Format,
    folder: String,
    big_endian: bool,
}

enum Content {
    Pickle(Arc<Records>),
    Program(Arc<exported::Archived>),
    Script(script::Archived),
}

/// The form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The zip archive of torch 1.6 and later.
    Zip,
    /// The stream of torch before 1.6.
    Legacy,
    /// The tar archive of torch before 0.1.10.
    Tar,
    /// The `.pt2` archive of `torch.export.save`.
    Exported,
    /// The archive of `torch.jit.save`: TorchScript.
    Script,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Zip => "zip archive of torch.save",
            Format::Legacy => "legacy stream of torch.save before 1.6",
            Format::Tar => "tar archive of torch.save before 0.1.10",
            Format::Exported => "archive of torch.export.save",
            Format::Script => "TorchScript archive of torch.jit.save",
        })
    }
}

/// Opens a file that `torch.save` of any version of torch, `torch.jit.save` or `torch.export.save` wrote, whatever it is called.
///
/// Checks the archive's directory, the pickle or the program, and the size of every storage and tensor, and reads no more than that: the
/// numbers of a tensor are read, and their CRC-32 is checked, when they are first used. Fails with
/// [`ErrorKind::Format`](crate::ErrorKind) on a damaged file and with [`ErrorKind::Unsupported`](crate::ErrorKind) on
/// another format, saying which it is and what to do. The file must not be changed in place while it is in use.
pub fn open(path: impl AsRef<Path>) -> Result<Checkpoint> {
    let path = path.as_ref();
    Checkpoint::new(Source::open(path)?, path.display().to_string())
}

/// Opens such a file that lies in memory, without a copy: `include_bytes!("model.pt")`, a `Vec<u8>`, an `Arc<[u8]>` or what
/// else lends bytes. Fails as [`open`] does.
pub fn from_bytes(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Checkpoint> {
    let origin = "the bytes";
    Checkpoint::new(Source::from_bytes(bytes).map_err(|e| e.at(origin))?, origin.to_owned())
}

/// Opens such a file behind a reader, from the reader's beginning to its end. Each part is read when it is needed, so the
/// reader is kept as long as the checkpoint or a tensor of it. Fails as [`open`] does.
pub fn from_reader(reader: impl Read + Seek + Send + 'static) -> Result<Checkpoint> {
    let origin = "the reader";
    Checkpoint::new(Source::from_reader(reader).map_err(|e| e.at(origin))?, origin.to_owned())
}

/// The records of a pickle and the tensors that they make of what the file holds, checked.
fn assemble(pickle: Pickle, contents: Contents) -> Result<Arc<Records>> {
    let tensors = Tensors::new(&pickle, contents);
    let records = Arc::new(Records { pickle, tensors });
    records.check_names()?;
    records.check_tensors()?;
    Ok(records)
}

/// The same of a pickle and storages in memory, by key.
fn assemble_in_memory(pickle: &[u8], storages: impl IntoIterator<Item = (String, Vec<u8>)>) -> Result<Arc<Records>> {
    // A source is never empty; nothing behind the pickle is read.
    let source = Source::from_bytes([pickle, b"\n"].concat())?;
    let pickle = pickle::read(&mut Input::new(&source, 0..pickle.len()), "data.pkl")?;
    let stored = |(key, bytes): (String, Vec<u8>)| {
        let storage = Storage::owned(format!("data/{key}"), bytes);
        (key, Stored::whole(Arc::new(storage)))
    };
    let storages = storages.into_iter().map(stored).collect();
    assemble(pickle, Contents { place: "data/", storages, ..Contents::default() })
}

/// The layers of torch that are known, by their Python module below `torch.nn.modules` and their class.
pub fn known_layers() -> impl Iterator<Item = (&'static str, &'static str)> {
    layers::classes()
}

impl Records {
    /// Fails on a class or function that no model needs, with the place in the model.
    fn check_names(&self) -> Result<()> {
        let Some((id, position)) = self.pickle.hostile() else { return Ok(()) };
        let error = Error::unsupported(format!(
            "the file names {}, which no model needs: it would run a program where Python loads it. Nothing was called \
             here; do not open this file with torch.load",
            self.kind(id)
        ));
        let error = error.at(format!("{}, byte {position}", self.pickle.name()));
        Err(match self.locate(id) {
            Some(path) => error.at(format!("`{path}`")),
            None => error,
        })
    }

    /// Fails on the first malformed tensor, with its name where it has one.
    fn check_tensors(&self) -> Result<()> {
        let Some((id, error)) = self.tensors.malformed() else { return Ok(()) };
        Err(match self.locate(id) {
            Some(path) => error.clone().at(format!("tensor `{path}`")),
            None => error.clone(),
        })
    }

    pub(crate) fn root(&self) -> RecordId {
        self.pickle.root()
    }
}

impl Checkpoint {
    fn new(source: Arc<Source>, origin: String) -> Result<Self> {
        match Self::read(&source) {
            Ok(checkpoint) => Ok(Self { origin, ..checkpoint }),
            Err(error) => Err(error.at(origin)),
        }
    }

    fn read(source: &Arc<Source>) -> Result<Self> {
        let format = detect::format(source)?;
        let (pickle, contents) = match format {
            Format::Zip | Format::Exported | Format::Script => return Self::read_zip(source),
            Format::Legacy => legacy::read(source)?,
            Format::Tar => tar::read(source)?,
        };
        let content = Content::Pickle(assemble(pickle, contents)?);
        Ok(Self { origin: String::new(), content, format, folder: String::new(), big_endian: false })
    }

    /// Reads a zip archive, which holds a pickle or a program.
    fn read_zip(source: &Arc<Source>) -> Result<Self> {
        let archive = archive::Archive::open(source)?;
        let format = detect::archive(&archive)?;
        let folder = archive.folder().to_owned();
        let big_endian = zip::big_endian(&archive)?;
        let content = if format == Format::Exported {
            Content::Program(Arc::new(exported::read(source, archive, big_endian)?))
        } else if format == Format::Script {
            Content::Script(script::read(source, archive, big_endian)?)
        } else {
            let (pickle, contents) = zip::read(archive, big_endian)?;
            Content::Pickle(assemble(pickle, contents)?)
        };
        Ok(Self { origin: String::new(), content, format, folder, big_endian })
    }

    /// The form of the file.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The name of the archive's top folder: what the file was called when it was written. Empty for other
    /// formats.
    pub fn archive_name(&self) -> &str {
        &self.folder
    }

    /// Whether the tensors are stored most significant byte first.
    pub fn is_big_endian(&self) -> bool {
        self.big_endian
    }

    /// The value that was saved; an error for a program, which is no value of Python's.
    pub fn root(&self) -> Result<Value> {
        match &self.content {
            Content::Pickle(records) => Ok(Value::new(records, records.root())),
            Content::Program(_) => Err(Error::unsupported(
                "the file holds a program of torch.export.save, not a saved value; its model and its tensors can be read",
            )
            .at(&self.origin)),
            Content::Script(_) => Err(Error::unsupported(
                "the file holds a program of torch.jit.save, not a saved value; its model and its tensors can be read",
            )
            .at(&self.origin)),
        }
    }

    fn records(&self) -> &[Arc<Storage>] {
        match &self.content {
            Content::Pickle(records) => records.tensors.records(),
            Content::Program(archived) => &archived.records,
            Content::Script(archived) => &archived.records,
        }
    }

    /// The names and sizes in bytes of the archive's records.
    pub fn archive_records(&self) -> impl Iterator<Item = (&str, usize)> {
        self.records().iter().map(|storage| (storage.name(), storage.len()))
    }

    /// The tensors in the file's order, under the names that a state dict gives them; in other containers, the keys that
    /// lead to them joined by dots. Those that cannot be used are among them, with an error in place of the tensor. Fails
    /// on a container that contains itself or nests too deep.
    pub fn tensors(&self) -> Result<Vec<NamedTensor>> {
        match &self.content {
            Content::Pickle(_) => self.root()?.tensors().map_err(|e| e.at(&self.origin)),
            Content::Program(archived) => Ok(archived.program.tensors().cloned().collect()),
            Content::Script(archived) => Ok(archived.script.tensors().cloned().collect()),
        }
    }

    /// The model that was saved, a module or a program; an error that says what the file holds if that is something else.
    pub fn model(&self) -> Result<Model> {
        match &self.content {
            Content::Pickle(_) => self.module().map(Model::Module),
            Content::Program(archived) => Ok(Model::Program(archived.program.clone())),
            Content::Script(archived) => Ok(Model::Script(archived.script.clone())),
        }
    }

    /// The module that was saved; an error that says what the file holds if that is something else.
    pub fn module(&self) -> Result<Module> {
        self.root()?.module().map_err(|e| e.at(&self.origin))
    }

    /// Reads every part of the file and checks its CRC-32, where the format has one; `progress` is told the bytes done and the bytes in all.
    pub fn verify(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
        let records = self.records();
        let total = records.iter().map(|storage| storage.len() as u64).sum();
        let mut done = 0;
        progress(done, total);
        for storage in records {
            storage.verify().map_err(|e| e.at(&self.origin))?;
            done += storage.len() as u64;
            progress(done, total);
        }
        Ok(())
    }
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.root() {
            Ok(root) => write!(f, "Checkpoint(`{}`, {root})", self.folder),
            Err(_) => write!(f, "Checkpoint(`{}`, {})", self.folder, self.format),
        }
    }
}
