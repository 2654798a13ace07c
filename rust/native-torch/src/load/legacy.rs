//! The stream that torch before 1.6 wrote, and writes with `_use_new_zipfile_serialization=False`: five pickles (a magic
//! number, the version, the machine, the value, the keys of the storages), then the storages in the order of the keys, each
//! with its length in front.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use super::{
    contents::{Contents, Stored},
    input::Input,
    kinds::Element,
    pickle,
    records::{Pickle, Record, RecordId},
};
use crate::{
    Error, Result,
    tensor::{Source, Storage},
};

/// The number 0x1950a86a20f9469cfc6c, least significant byte first.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// The pickle of the magic number is shorter in every protocol.
const MAGIC_LENGTH: usize = 64;
const VERSION: i64 = 1001;

/// Whether a file begins with the magic number.
pub(super) fn is_legacy(source: &Source) -> bool {
    let mut input = Input::new(source, 0..source.len().min(MAGIC_LENGTH));
    pickle::read(&mut input, "").is_ok_and(|pickle| is_magic(&pickle))
}

fn is_magic(pickle: &Pickle) -> bool {
    matches!(pickle.get(pickle.root()), Record::BigInt(bytes) if **bytes == MAGIC)
}

/// The value's pickle and the storages.
pub(super) fn read(source: &Arc<Source>) -> Result<(Pickle, Contents)> {
    let mut input = Input::new(source, 0..source.len());
    if !is_magic(&plain(&mut input, "magic number")?) {
        return Err(Error::format("the stream does not begin with torch's magic number"));
    }
    let version = plain(&mut input, "version")?;
    match version.get(version.root()) {
        Record::Int(VERSION) => {}
        Record::Int(other) => {
            return Err(Error::unsupported(format!("the stream has version {other}; {VERSION} is read")));
        }
        _ => return Err(Error::format("the stream's version is no number")),
    }
    let machine = plain(&mut input, "description of the machine")?;
    let lengths_may_be_big = is_big_endian(&machine);
    let value = pickle::read(&mut input, "the legacy stream")?;
    let keys = plain(&mut input, "list of storages")?;

    let expected = expected(&value);
    let mut contents = Contents { place: "storages/", ..Contents::default() };
    let list = match keys.get(keys.root()) {
        Record::List(list) => &list[..],
        Record::Tuple(list) => &list[..],
        _ => return Err(Error::format("the keys of the storages are no list")),
    };
    for &key in list {
        let key = keys.text(key).ok_or_else(|| Error::format("the key of a storage is no text"))?;
        let name = format!("storages/{}", super::records::printable(&key));
        let &(element, count) = expected.get(&*key).ok_or_else(|| {
            Error::format(format!(
                "{name} is in the file, but no value refers to it, so that its elements are not known"
            ))
        })?;
        let length = length(&mut input, count, lengths_may_be_big).map_err(|e| e.at(&name))?;
        let bytes = length.checked_mul(element.size() as u64);
        let bytes = bytes.ok_or_else(|| Error::format(format!("{name}: its {length} elements overflow")))?;
        let start = input.source_position();
        input.skip(bytes).map_err(|e| e.at(&name))?;
        let storage = Arc::new(Storage::new(name, source.clone(), start..input.source_position())?);
        contents.records.push(storage.clone());
        if contents.storages.insert(key.clone().into_owned(), Stored::whole(storage)).is_some() {
            return Err(Error::format(format!("the storage `{}` is in the file twice", key.escape_debug())));
        }
    }
    Ok((value, contents))
}

/// A pickle without anything but plain values.
pub(super) fn plain(input: &mut Input, what: &str) -> Result<Pickle> {
    let from = input.source_position();
    let pickle = pickle::read(input, &format!("the {what} at byte {from}"))?;
    match pickle.hostile() {
        Some((id, _)) => Err(Error::unsupported(format!(
            "the {what} at byte {from} names {}, which no model needs; nothing was called",
            pickle.global(id).map(ToString::to_string).unwrap_or_default()
        ))),
        None => Ok(pickle),
    }
}

/// Whether the machine that wrote the file was big-endian. torch wrote the numbers of storages little-endian all the
/// same, but not, in old versions, the lengths in front of them.
pub(super) fn is_big_endian(machine: &Pickle) -> bool {
    let Record::Dict(entries) = machine.get(machine.root()) else { return false };
    entries.iter().any(|&(key, value)| {
        machine.text(key).as_deref() == Some("little_endian") && matches!(machine.get(value), Record::Bool(false))
    })
}

/// The element type and the number of elements of each storage, by its key: those of the first reference to it.
fn expected(pickle: &Pickle) -> HashMap<String, (Element, usize)> {
    let mut expected = HashMap::new();
    for (_, record) in pickle.iter() {
        let Record::Persistent(id) = record else { continue };
        // A reference that is malformed is told where a tensor is made of it.
        let Ok(reference) = pickle.storage_reference(*id) else { continue };
        if let Entry::Vacant(entry) = expected.entry(reference.key.into_owned()) {
            entry.insert((reference.element, reference.count));
        }
    }
    expected
}

/// The length in front of a storage, which must be the one that the pickle gives it.
fn length(input: &mut Input, expected: usize, may_be_big: bool) -> Result<u64> {
    let length = input.number(8)?;
    let fits = |length: u64| usize::try_from(length).is_ok_and(|length| length == expected);
    if may_be_big && fits(length.swap_bytes()) {
        return Ok(length.swap_bytes());
    }
    if !fits(length) {
        return Err(Error::format(format!(
            "the storage is said to have {expected} elements, but the length in front of it is {length}"
        )));
    }
    Ok(length)
}

/// A number of elements or of things that a pickle of its own holds.
pub(super) fn count(pickle: &Pickle, id: RecordId, what: &str) -> Result<usize> {
    match pickle.get(id) {
        Record::Int(value) => usize::try_from(*value).ok(),
        _ => None,
    }
    .ok_or_else(|| Error::format(format!("the {what} is no number of things")))
}
