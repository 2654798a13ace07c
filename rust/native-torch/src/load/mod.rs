//! Bytes to modules, modules to graphs: reading what `torch.save` writes, without Python.
//!
//! ```no_run
//! let checkpoint = native_torch::load::open("model.pt")?;
//! let module = checkpoint.module()?;
//! let graph = module.graph(None)?;
//! # Ok::<(), native_torch::Error>(())
//! ```
//!
//! A file is data: the pickle in it is read into plain records and what it names is never called. Sizes that a file
//! claims are checked before memory is taken, and nothing recurses over what a file nests.

mod archive;
mod build;
mod detect;
mod fields;
mod layers;
mod module;
mod pickle;
mod records;
#[cfg(test)]
mod robustness;
mod tensors;
#[cfg(test)]
mod testing;
mod value;
mod walk;

use std::{path::Path, sync::Arc};

use archive::Archive;
pub use build::CustomForward;
pub use layers::Standard;
pub use module::{Custom, Layer, Module, ModuleTensor};
use records::RecordId;
use tensors::Tensors;
pub use value::Value;
use value::{Records, View};
pub use walk::NamedTensor;

use crate::{
    Error, Result,
    tensor::{Mapping, Storage},
};

/// A file that `torch.save` wrote: its records, checked but for the numbers of the tensors, which are read when they are
/// first used.
pub struct Checkpoint {
    /// What the file is called in error messages.
    origin: String,
    records: Arc<Records>,
    folder: String,
    big_endian: bool,
}

/// Opens a file that `torch.save` wrote.
///
/// Checks the archive's directory, `data.pkl`, and the size of every tensor; fails with
/// [`ErrorKind::Format`](crate::ErrorKind) on a damaged file and with [`ErrorKind::Unsupported`](crate::ErrorKind) on
/// another format, saying which it is and what to do. The file must not be changed in place while it is in use.
pub fn open(path: impl AsRef<Path>) -> Result<Checkpoint> {
    let path = path.as_ref();
    let mapping = Mapping::open(path)?;
    let origin = path.display().to_string();
    read(mapping, &origin).map_err(|e| e.at(&origin))
}

fn read(mapping: Arc<Mapping>, origin: &str) -> Result<Checkpoint> {
    detect::expect_zip(mapping.bytes())?;
    let archive = Archive::open(mapping)?;
    detect::expect_model(&archive)?;
    check_version(&archive)?;
    let big_endian = big_endian(&archive)?;
    let bytes = archive.read("data.pkl")?.unwrap_or_default();
    let storages = archive.storages().map(|storage| storage.with_big_endian(big_endian));
    let records = assemble(bytes, storages)?;
    Ok(Checkpoint { origin: origin.to_owned(), records, folder: archive.folder().to_owned(), big_endian })
}

/// The records of a pickle and the tensors that they make of storages, checked.
fn assemble(pickle: &[u8], storages: impl Iterator<Item = Storage>) -> Result<Arc<Records>> {
    let pickle = pickle::read(pickle, "data.pkl")?;
    let tensors = Tensors::new(&pickle, storages);
    let records = Arc::new(Records { pickle, tensors });
    records.check_names()?;
    records.check_tensors()?;
    Ok(records)
}

/// The versions of the archive that torch 2.13 reads.
const VERSIONS: std::ops::RangeInclusive<u32> = 1..=10;

fn check_version(archive: &Archive) -> Result<()> {
    let Some(bytes) = archive.read("version")? else { return Ok(()) };
    let version = std::str::from_utf8(bytes).ok().and_then(|text| text.trim().parse().ok());
    match version {
        Some(version) if VERSIONS.contains(&version) => Ok(()),
        Some(version) => Err(Error::unsupported(format!(
            "record `version` says {version}; versions {} to {} are read",
            VERSIONS.start(),
            VERSIONS.end()
        ))),
        None => Err(Error::format("record `version` holds no number")),
    }
}

fn big_endian(archive: &Archive) -> Result<bool> {
    match archive.read("byteorder")? {
        None | Some(b"little") => Ok(false),
        Some(b"big") => Ok(true),
        Some(other) => Err(Error::format(format!(
            "record `byteorder` holds `{}`; little or big is expected",
            other[..other.len().min(16)].escape_ascii()
        ))),
    }
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
        let error = error.at(format!("data.pkl, byte {position}"));
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
    /// The name of the archive's top folder: what the file was called when it was written.
    pub fn archive_name(&self) -> &str {
        &self.folder
    }

    /// Whether the tensors are stored most significant byte first.
    pub fn is_big_endian(&self) -> bool {
        self.big_endian
    }

    /// The value that was saved.
    pub fn root(&self) -> Value {
        Value::new(&self.records, self.records.root())
    }

    /// The names and sizes in bytes of the archive's records.
    pub fn archive_records(&self) -> impl Iterator<Item = (&str, usize)> {
        self.records.tensors.records().iter().map(|storage| (storage.name(), storage.len()))
    }

    /// The tensors in the file's order, under the names that a state dict gives them; in other containers, the keys that
    /// lead to them joined by dots. Fails on a container that contains itself or nests too deep.
    pub fn tensors(&self) -> Result<Vec<NamedTensor>> {
        let mut tensors = Vec::new();
        let walked = self.records.walk_tensors(self.records.root(), &mut |name, id| {
            if let Some(tensor) = self.records.tensors.get(id) {
                tensors.push(NamedTensor { name: name.to_owned(), tensor: tensor.clone() });
            }
        });
        walked.map(|()| tensors).map_err(|e| e.at(&self.origin))
    }

    /// The module that was saved; an error that says what the file holds if that is something else.
    pub fn module(&self) -> Result<Module> {
        self.read_module().map_err(|e| e.at(&self.origin))
    }

    fn read_module(&self) -> Result<Module> {
        const ADVICE: &str = "save the whole module with torch.save(model, path)";
        let root = self.records.root();
        let held = match self.records.view(root) {
            View::Object(object) if self.records.is_module(object) => return module::read(&self.records),
            View::Object(_) => {
                return Err(Error::unsupported(format!(
                    "the file holds a value of {}, which is not a torch module (nothing was called); {ADVICE}",
                    self.records.kind(root)
                )));
            }
            View::Dict(entries) => {
                let mut entries = entries.iter();
                let module = entries.find(|(_, value)| match self.records.view(*value) {
                    View::Object(object) => self.records.is_module(object),
                    _ => false,
                });
                match module {
                    Some(&(key, _)) => format!("a dict whose entry {} is a module", self.records.printed(key)),
                    None => "a dict (a state_dict?), but not the layers".to_owned(),
                }
            }
            View::Tensor(_) => "a tensor, but no module".to_owned(),
            _ => format!("a {}, but no module", self.records.kind(root)),
        };
        Err(Error::unsupported(format!("the file holds {held}; {ADVICE}")))
    }

    /// Checks the CRC-32 of every record of the archive; `progress` is told the bytes done and the bytes in all.
    pub fn verify(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
        let records = self.records.tensors.records();
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

impl std::fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Checkpoint(`{}`, {})", self.folder, self.root())
    }
}
