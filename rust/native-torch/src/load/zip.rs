//! What `torch.save` writes since 1.6: a zip archive with `data.pkl`, and a record for each storage.

use std::{collections::HashMap, sync::Arc};

use super::{
    archive::Archive,
    contents::{Contents, Stored},
    detect,
    input::Input,
    pickle,
    records::Pickle,
};
use crate::{Error, Result, tensor::Source};

/// The pickle and the records of a model's archive.
pub(super) struct Zip {
    pub pickle: Pickle,
    pub contents: Contents,
    /// The top folder.
    pub folder: String,
    pub big_endian: bool,
}

pub(super) fn read(source: &Arc<Source>) -> Result<Zip> {
    let archive = Archive::open(source)?;
    detect::expect_model(&archive)?;
    check_version(&archive)?;
    let big_endian = big_endian(&archive)?;
    let data = archive.record("data.pkl").ok_or_else(|| Error::internal("there is no data.pkl"))?;
    data.verify()?;
    let (source, range) = data.location();
    let pickle = pickle::read(&mut Input::new(source, range), "data.pkl")?;
    let folder = archive.folder().to_owned();
    let records: Vec<_> =
        archive.into_records().into_iter().map(|record| Arc::new(record.with_big_endian(big_endian))).collect();
    let storages: HashMap<_, _> = (records.iter())
        .filter_map(|record| Some((record.name().strip_prefix("data/")?.to_owned(), Stored::whole(record.clone()))))
        .collect();
    let contents = Contents { place: "data/", records, storages, ..Contents::default() };
    Ok(Zip { pickle, contents, folder, big_endian })
}

/// The versions of the archive that torch 2.13 reads.
const VERSIONS: std::ops::RangeInclusive<u32> = 1..=10;

fn check_version(archive: &Archive) -> Result<()> {
    let Some(bytes) = archive.short("version")? else { return Ok(()) };
    let version = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse().ok());
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
    match archive.short("byteorder")?.as_deref() {
        None | Some(b"little") => Ok(false),
        Some(b"big") => Ok(true),
        Some(other) => Err(Error::format(format!(
            "record `byteorder` holds `{}`; little or big is expected",
            other[..other.len().min(16)].escape_ascii()
        ))),
    }
}
