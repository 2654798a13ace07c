//! What `torch.save` writes since 1.6: a zip archive with `data.pkl`, and a record for each storage.

use std::{collections::HashMap, sync::Arc};

use super::{
    archive::Archive,
    contents::{Contents, Stored},
    input::Input,
    pickle,
    records::Pickle,
};
use crate::{Error, Result};

/// The pickle of a model's archive, and what it refers to.
pub(super) fn read(archive: Archive, big_endian: bool) -> Result<(Pickle, Contents)> {
    version(&archive)?;
    let data = archive.record("data.pkl").ok_or_else(|| Error::internal("there is no data.pkl"))?;
    data.verify()?;
    let (source, range) = data.location();
    let pickle = pickle::read(&mut Input::new(source, range), "data.pkl")?;
    let records: Vec<_> =
        archive.into_records().into_iter().map(|record| Arc::new(record.with_big_endian(big_endian))).collect();
    let storages: HashMap<_, _> = (records.iter())
        .filter_map(|record| Some((record.name().strip_prefix("data/")?.to_owned(), Stored::whole(record.clone()))))
        .collect();
    Ok((pickle, Contents { place: "data/", records, storages, ..Contents::default() }))
}

/// The versions of the archive that torch 2.13 reads.
const VERSIONS: std::ops::RangeInclusive<u32> = 1..=10;

/// The version of the archive, checked to be one that is read; `None` where the file does not say.
pub(super) fn version(archive: &Archive) -> Result<Option<u32>> {
    // torch.jit.save writes it beside the data.
    let (name, bytes) = match archive.short("version")? {
        Some(bytes) => ("version", bytes),
        None => match archive.short(".data/version")? {
            Some(bytes) => (".data/version", bytes),
            None => return Ok(None),
        },
    };
    let version = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse().ok());
    match version {
        Some(version) if VERSIONS.contains(&version) => Ok(Some(version)),
        Some(version) => Err(Error::unsupported(format!(
            "record `{name}` says {version}; versions {} to {} are read",
            VERSIONS.start(),
            VERSIONS.end()
        ))),
        None => Err(Error::format(format!("record `{name}` holds no number"))),
    }
}

/// Whether the archive's numbers are stored most significant byte first.
pub(super) fn big_endian(archive: &Archive) -> Result<bool> {
    match archive.short("byteorder")?.as_deref() {
        None | Some(b"little") => Ok(false),
        Some(b"big") => Ok(true),
        Some(other) => Err(Error::format(format!(
            "record `byteorder` holds `{}`; little or big is expected",
            other[..other.len().min(16)].escape_ascii()
        ))),
    }
}
