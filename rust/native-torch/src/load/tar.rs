//! The tar archive that torch before 0.1.10 wrote: `sys_info`, `pickle`, `tensors` and `storages`. The pickle refers to
//! tensors by keys, these to storages.
//!
//! The format of the headers is that of POSIX.1-2001 (pax).

use std::{collections::HashMap, ops::Range, sync::Arc};

use super::{
    contents::{Contents, Stored},
    input::Input,
    kinds::Element,
    legacy::{count, is_big_endian, plain},
    pickle,
    records::{Pickle, printable},
    tensors::{Described, RANK_LIMIT},
};
use crate::{
    Error, Result,
    tensor::{DType, Source, Storage},
};

const BLOCK: usize = 512;
/// torch wrote four members; with what a tar program adds, this is plenty.
const MEMBERS_LIMIT: usize = 1 << 10;

/// Whether a file begins with the header of a tar archive.
pub(super) fn is_tar(source: &Source) -> bool {
    let mut buffer = Vec::new();
    let block = source.read(0..BLOCK.min(source.len()), &mut buffer);
    block.is_ok_and(|block| block.len() == BLOCK && block[0] != 0 && checksum(block).is_some())
}

/// The value's pickle, the storages and the tensors.
pub(super) fn read(source: &Arc<Source>) -> Result<(Pickle, Contents)> {
    let members = members(source)?;
    let input = |name: &str| {
        let range = members.get(name).ok_or_else(|| {
            Error::format(format!("the tar archive has no member `{name}`, so torch.save did not write it"))
        })?;
        Ok(Input::new(source, range.clone()))
    };
    // The numbers of storages are little-endian whatever the machine was; what stands in front of them is not.
    let big_endian = match members.contains_key("sys_info") {
        true => is_big_endian(&plain(&mut input("sys_info")?, "member `sys_info`")?),
        false => false,
    };
    let mut contents = Contents { place: "storages/", ..Contents::default() };
    let elements = storages(source, &mut input("storages")?, big_endian, &mut contents)?;
    tensors(&mut input("tensors")?, big_endian, &elements, &mut contents)?;
    let value = pickle::read(&mut input("pickle")?, "member `pickle`")?;
    Ok((value, contents))
}

/// Where the members lie in the file, by name.
fn members(source: &Source) -> Result<HashMap<String, Range<usize>>> {
    let mut members = HashMap::new();
    let mut at = 0;
    // What a pax header says of the member behind it.
    let mut long_size = None;
    let mut buffer = Vec::new();
    while source.len() - at >= BLOCK {
        let block = source.read(at..at + BLOCK, &mut buffer)?;
        if block.iter().all(|&byte| byte == 0) {
            break;
        }
        let wrong = |what: &str| Error::format(format!("the tar header at byte {at} {what}; the file is damaged"));
        checksum(block).ok_or_else(|| wrong("has a wrong checksum"))?;
        let kind = block[156];
        let end = block[..100].iter().position(|&byte| byte == 0).unwrap_or(100);
        let name = printable(&String::from_utf8_lossy(&block[..end])).into_owned();
        let size = match long_size.take().filter(|_| kind != b'x') {
            Some(size) => size,
            None => number(&block[124..136]).ok_or_else(|| wrong("has a size that is no number"))?,
        };
        let start = at + BLOCK;
        let end = usize::try_from(size).ok().and_then(|size| start.checked_add(size));
        let end = end.filter(|&end| end <= source.len()).ok_or_else(|| {
            Error::format(format!(
                "member `{name}` claims {size} bytes, but {} remain; the file is truncated or damaged",
                source.len() - start
            ))
        })?;
        match kind {
            b'0' | 0 | b'7' => {
                if members.len() >= MEMBERS_LIMIT {
                    return Err(Error::unsupported(format!("a tar archive of more than {MEMBERS_LIMIT} members")));
                }
                if members.insert(name.clone(), start..end).is_some() {
                    return Err(Error::format(format!("the tar archive has member `{name}` twice")));
                }
            }
            b'x' => {
                let mut buffer = Vec::new();
                long_size = pax_size(source.read(start..end, &mut buffer)?);
            }
            _ => {}
        }
        at = end.next_multiple_of(BLOCK).min(source.len());
    }
    Ok(members)
}

/// The checksum in a header, if it is the header's.
fn checksum(block: &[u8]) -> Option<u64> {
    let sum = |(i, &byte): (usize, &u8)| if (148..156).contains(&i) { u64::from(b' ') } else { u64::from(byte) };
    let found: u64 = block.iter().enumerate().map(sum).sum();
    number(&block[148..156]).filter(|&stored| stored == found)
}

/// A number in octal digits, or in binary where the first bit is set.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let digits = field.iter().enumerate().map(|(i, &byte)| if i == 0 { byte & 0x7f } else { byte });
        return digits.into_iter().try_fold(0u64, |value, digit| value.checked_mul(256)?.checked_add(digit.into()));
    }
    let text = std::str::from_utf8(field).ok()?;
    u64::from_str_radix(text.trim_matches([' ', '\0']), 8).ok()
}

/// The size in a pax header's records, each of which is `LENGTH KEY=VALUE` and a newline.
fn pax_size(records: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(records).ok()?;
    let mut values = text.lines().rev().filter_map(|line| line.split_once(' ')?.1.strip_prefix("size="));
    values.next()?.parse().ok()
}

/// A number of things, as a pickle of its own.
fn length(input: &mut Input, what: &str) -> Result<usize> {
    let pickle = plain(input, what)?;
    count(&pickle, pickle.root(), what)
}

fn long(input: &mut Input, big_endian: bool) -> Result<u64> {
    let value = input.number(8)?;
    Ok(if big_endian { value.swap_bytes() } else { value })
}

/// Reads the member `storages`: their number, each as `(key, location, type)` with its length and bytes, and then the
/// views `(key, root's key, offset, length)`.
fn storages(
    source: &Arc<Source>,
    input: &mut Input,
    big_endian: bool,
    contents: &mut Contents,
) -> Result<HashMap<String, Element>> {
    let mut elements = HashMap::new();
    for _ in 0..length(input, "number of storages")? {
        let pickle = plain(input, "description of a storage")?;
        let wrong = || Error::format(format!("the description of a storage before byte {}", input.source_position()));
        let &[key, _, class] = pickle.tuple(pickle.root()).ok_or_else(wrong)? else { return Err(wrong()) };
        let key = pickle.text(key).ok_or_else(wrong)?.into_owned();
        let element = Element::of_storage(pickle.global(class).ok_or_else(wrong)?)?;
        let name = format!("storages/{}", printable(&key));
        let bytes = long(input, big_endian)?.checked_mul(element.size() as u64);
        let bytes = bytes.ok_or_else(|| Error::format(format!("{name}: its length overflows")))?;
        let start = input.source_position();
        input.skip(bytes).map_err(|e| e.at(&name))?;
        let storage = Arc::new(Storage::new(name, source.clone(), start..input.source_position())?);
        contents.records.push(storage.clone());
        elements.insert(key.clone(), element);
        if contents.storages.insert(key.clone(), Stored::whole(storage)).is_some() {
            return Err(Error::format(format!("the storage `{}` is in the file twice", key.escape_debug())));
        }
    }
    let views = plain(input, "list of views")?;
    let wrong = || Error::format("a view of a storage that is no keys, offset and length");
    let super::records::Record::List(list) = views.get(views.root()) else { return Err(wrong()) };
    for &view in list {
        let &[key, root, offset, length] = views.tuple(view).ok_or_else(wrong)? else { return Err(wrong()) };
        let (key, root) = views.text(key).zip(views.text(root)).ok_or_else(wrong)?;
        let stored = contents.storages.get(&*root).zip(elements.get(&*root));
        let (stored, &element) = stored
            .ok_or_else(|| Error::format(format!("a view of storage `{}`, which is missing", root.escape_debug())))?;
        let (offset, length) = (views.count(offset, "view offset")?, views.count(length, "view length")?);
        let view = stored.view(offset, length, element.size())?;
        elements.insert(key.clone().into_owned(), element);
        contents.storages.insert(key.into_owned(), view);
    }
    Ok(elements)
}

/// Reads the member `tensors`: their number, and each as `(key, storage's key, type)` with its rank, of which four of
/// eight bytes count, its sizes, strides and offset.
fn tensors(
    input: &mut Input,
    big_endian: bool,
    elements: &HashMap<String, Element>,
    contents: &mut Contents,
) -> Result<()> {
    for _ in 0..length(input, "number of tensors")? {
        let pickle = plain(input, "description of a tensor")?;
        let at = input.source_position();
        let wrong = || Error::format(format!("the description of a tensor before byte {at}"));
        let &[key, storage, _] = pickle.tuple(pickle.root()).ok_or_else(wrong)? else { return Err(wrong()) };
        let key = pickle.text(key).ok_or_else(wrong)?.into_owned();
        let place = |e: Error| e.at(format!("tensor `{}` at byte {at}", printable(&key)));
        let rank = long(input, big_endian)? & u64::from(u32::MAX);
        if rank > RANK_LIMIT as u64 {
            return Err(place(Error::format(format!("it has {rank} dimensions; torch allows {RANK_LIMIT}"))));
        }
        let mut longs = |count: u64| -> Result<Vec<usize>> {
            let size = |value: u64| {
                let error = || Error::format(format!("it has the negative size, stride or offset {}", value as i64));
                i64::try_from(value).ok().and_then(|value| usize::try_from(value).ok()).ok_or_else(error)
            };
            (0..count).map(|_| long(input, big_endian).and_then(size)).collect()
        };
        let mut read = || Ok((longs(rank)?, longs(rank)?, longs(1)?[0]));
        let (mut shape, mut strides, offset) = read().map_err(place)?;
        let stored = pickle.text(storage).and_then(|key| Some((contents.storages.get(&*key)?, *elements.get(&*key)?)));
        let missing = || place(Error::format("its storage is missing from the file"));
        let empty = (Stored::whole(Arc::new(Storage::owned("none", Vec::new()))), Element::Number(DType::F32));
        let (stored, element) = match stored {
            Some((stored, element)) => (stored, element),
            // The oldest tensors without elements had no storage.
            None if matches!(pickle.get(storage), super::records::Record::None) => (&empty.0, empty.1),
            None => return Err(missing()),
        };
        // Without dimensions a tensor was empty then, as it still is where it has no element to hold.
        if shape.is_empty() && stored.part.is_empty() {
            (shape, strides) = (vec![0], vec![1]);
        }
        let tensor = Described::stored("strided", element, stored, shape, strides, offset).map_err(place)?;
        if contents.tensors.insert(key.clone(), tensor).is_some() {
            return Err(place(Error::format("it is in the file twice")));
        }
    }
    Ok(())
}
