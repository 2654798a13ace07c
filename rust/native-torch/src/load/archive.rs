//! The zip archive that `torch.save` writes: its directory, checked against the file, and its records in the map.
//!
//! The format is that of PKWARE's APPNOTE 6.3.10; section numbers below are its.

use std::{collections::HashMap, ops::Range, sync::Arc};

use super::detect;
use crate::{
    Error, Result,
    tensor::{Mapping, Storage},
};

/// A record of the archive: its name below the top folder, and its bytes in the file.
#[derive(Debug)]
struct Entry {
    name: String,
    range: Range<usize>,
    crc32: u32,
}

/// An archive whose directory has been checked: every record lies in the file and no two overlap.
pub(crate) struct Archive {
    mapping: Arc<Mapping>,
    folder: String,
    entries: Vec<Entry>,
    index: HashMap<String, usize>,
}

impl Archive {
    /// Reads the directory of a mapped zip file.
    pub fn open(mapping: Arc<Mapping>) -> Result<Self> {
        let (folder, entries) = directory(mapping.bytes())?;
        let mut index = HashMap::with_capacity(entries.len());
        for (i, entry) in entries.iter().enumerate() {
            if index.insert(entry.name.clone(), i).is_some() {
                return Err(Error::format(format!("the archive has record `{}` twice", entry.name)));
            }
        }
        Ok(Self { mapping, folder, entries, index })
    }

    /// The top folder, which has the name that the file had when it was written.
    pub fn folder(&self) -> &str {
        &self.folder
    }

    /// The names of the records below the top folder, in the directory's order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.name.as_str())
    }

    /// Whether there is a record of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.index.contains_key(name)
    }

    /// A record's bytes, its CRC checked.
    pub fn read(&self, name: &str) -> Result<Option<&[u8]>> {
        let Some(&i) = self.index.get(name) else { return Ok(None) };
        self.storage(i).verify()?;
        Ok(Some(&self.mapping.bytes()[self.entries[i].range.clone()]))
    }

    /// All records as storages, whose CRC is checked when they are first read.
    pub fn storages(&self) -> impl Iterator<Item = Storage> {
        (0..self.entries.len()).map(|i| self.storage(i))
    }

    fn storage(&self, i: usize) -> Storage {
        let Entry { name, range, crc32 } = &self.entries[i];
        Storage::mapped(name.clone(), self.mapping.clone(), range.clone()).with_crc32(*crc32)
    }
}

/// Checks the directory of a zip file in memory.
#[cfg(test)]
pub(super) fn check(bytes: &[u8]) -> Result<()> {
    directory(bytes).map(drop)
}

/// A reader of little-endian numbers at a position, each checked against the end.
#[derive(Clone)]
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    what: &'static str,
}

impl<'a> Cursor<'a> {
    fn new(bytes: &'a [u8], at: usize, what: &'static str) -> Self {
        Self { bytes, at, what }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(length).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or_else(|| {
            Error::format(format!("{} at byte {} reaches beyond its end; the file is truncated", self.what, self.at))
        })?;
        let bytes = &self.bytes[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    fn number(&mut self, size: usize) -> Result<u64> {
        Ok(self.take(size)?.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    fn u16(&mut self) -> Result<u16> {
        Ok(self.number(2)? as u16)
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(self.number(4)? as u32)
    }

    fn size(&mut self, size: usize) -> Result<usize> {
        let value = self.number(size)?;
        usize::try_from(value)
            .map_err(|_| Error::format(format!("{} at byte {} claims {value} bytes", self.what, self.at)))
    }

    fn signature(&mut self, expected: &[u8; 4]) -> Result<()> {
        let at = self.at;
        if self.take(4)? == expected {
            return Ok(());
        }
        Err(Error::format(format!("there is no {} at byte {at}; the archive is damaged", self.what)))
    }
}

const END: &[u8; 4] = b"PK\x05\x06";
const END64: &[u8; 4] = b"PK\x06\x06";
const LOCATOR64: &[u8; 4] = b"PK\x06\x07";
const CENTRAL: &[u8; 4] = b"PK\x01\x02";
const LOCAL: &[u8; 4] = b"PK\x03\x04";
const DESCRIPTOR: &[u8; 4] = b"PK\x07\x08";

/// Where the central directory lies, and how many headers it has.
struct Central {
    range: Range<usize>,
    count: usize,
}

/// The end of central directory record (4.3.16) and its zip64 form (4.3.14, 4.3.15).
fn central(bytes: &[u8]) -> Result<Central> {
    const END_LENGTH: usize = 22;
    const LOCATOR_LENGTH: usize = 20;
    let truncated = || {
        Error::format("the file begins as a zip archive but has no directory at its end; it is truncated or damaged")
    };
    let last = bytes.len().checked_sub(END_LENGTH).ok_or_else(truncated)?;
    let first = last.saturating_sub(usize::from(u16::MAX));
    // The comment behind the record must reach the end of the file exactly.
    let is_end = |&at: &usize| {
        bytes[at..].starts_with(END)
            && usize::from(u16::from_le_bytes([bytes[at + 20], bytes[at + 21]])) == bytes.len() - at - END_LENGTH
    };
    let end = (first..=last).rev().find(is_end).ok_or_else(truncated)?;

    let mut cursor = Cursor::new(bytes, end + 4, "the end of the zip directory");
    let disks = [cursor.u16()?, cursor.u16()?];
    let (here, mut count) = (cursor.u16()?, u64::from(cursor.u16()?));
    let (mut size, mut offset) = (u64::from(cursor.u32()?), u64::from(cursor.u32()?));
    let mut limit = end;
    let zip64 = end.checked_sub(LOCATOR_LENGTH).filter(|&at| bytes[at..].starts_with(LOCATOR64));
    if let Some(locator) = zip64 {
        let mut cursor = Cursor::new(bytes, locator + 8, "the zip64 locator");
        let at = cursor.size(8)?;
        if at >= locator {
            return Err(Error::format(format!("the zip64 directory's end is said to be at byte {at}, behind itself")));
        }
        let mut cursor = Cursor::new(&bytes[..locator], at, "zip64 end of the zip directory");
        cursor.signature(END64)?;
        cursor.take(8 + 2 + 2 + 4 + 4 + 8)?;
        count = cursor.number(8)?;
        size = cursor.number(8)?;
        offset = cursor.number(8)?;
        limit = at;
    } else if disks != [0, 0] || u64::from(here) != count {
        return Err(Error::unsupported("the zip archive is split over several files; join them"));
    }
    let range = usize::try_from(offset).ok().zip(usize::try_from(size).ok()).and_then(|(offset, size)| {
        let end = offset.checked_add(size)?;
        (end <= limit).then_some(offset..end)
    });
    let range = range.ok_or_else(|| {
        Error::format(format!("the zip directory is said to have {size} bytes at byte {offset}, but ends by {limit}"))
    })?;
    // A header takes 46 bytes, so that no memory is taken for more headers than there can be.
    let count = usize::try_from(count)
        .ok()
        .filter(|&count| count <= range.len() / 46)
        .ok_or_else(|| Error::format(format!("the zip directory claims {count} records in {} bytes", range.len())))?;
    Ok(Central { range, count })
}

/// A header of the central directory (4.3.12).
struct Header {
    name: String,
    flags: u16,
    crc32: u32,
    size: usize,
    local: usize,
    /// Why the record cannot be mapped, if it cannot.
    packed: Option<Error>,
}

fn header(cursor: &mut Cursor) -> Result<Header> {
    cursor.signature(CENTRAL)?;
    cursor.take(4)?;
    let flags = cursor.u16()?;
    let method = cursor.u16()?;
    cursor.take(4)?;
    let crc32 = cursor.u32()?;
    let (packed, unpacked) = (u64::from(cursor.u32()?), u64::from(cursor.u32()?));
    let lengths = [cursor.u16()?, cursor.u16()?, cursor.u16()?];
    cursor.take(2 + 2 + 4)?;
    let local = u64::from(cursor.u32()?);
    let name = name(cursor.take(lengths[0].into())?)?;
    let extra = cursor.take(lengths[1].into())?;
    cursor.take(lengths[2].into())?;

    let [unpacked, packed, local] = zip64([unpacked, packed, local], extra).map_err(|e| e.at(quoted(&name)))?;
    let refused = if flags & 1 != 0 {
        Some(Error::unsupported(format!("record `{name}` is encrypted; torch writes plain records")))
    } else if method != 0 {
        Some(Error::unsupported(format!(
            "record `{name}` is compressed (zip method {method}{}), but tensors are mapped as they lie in the file; unpack \
             the archive and pack it with `zip -0 -r`",
            if method == 8 { ", deflate" } else { "" }
        )))
    } else {
        None
    };
    if refused.is_none() && packed != unpacked {
        return Err(Error::format(format!("record `{name}` is stored, but claims {packed} and {unpacked} bytes")));
    }
    let size = usize::try_from(unpacked).ok();
    let local = usize::try_from(local).ok();
    let (size, local) = size.zip(local).ok_or_else(|| {
        Error::format(format!(
            "record `{name}` claims {unpacked} bytes, more than the file has; it is truncated or damaged"
        ))
    })?;
    Ok(Header { name, flags, crc32, size, local, packed: refused })
}

fn quoted(name: &str) -> String {
    format!("record `{name}`")
}

fn name(bytes: &[u8]) -> Result<String> {
    let name = std::str::from_utf8(bytes).map_err(|_| {
        Error::format(format!("a record of the archive has a name that is not UTF-8: {}", bytes.escape_ascii()))
    })?;
    if name.contains(char::is_control) {
        let name = bytes.escape_ascii();
        return Err(Error::format(format!("a record of the archive has control characters in its name: {name}")));
    }
    Ok(name.to_owned())
}

/// Replaces the values that are all ones by those of the zip64 extra field (4.5.3).
fn zip64<const N: usize>(mut values: [u64; N], extra: &[u8]) -> Result<[u64; N]> {
    let all_ones = u64::from(u32::MAX);
    if !values.contains(&all_ones) {
        return Ok(values);
    }
    let mut cursor = Cursor::new(extra, 0, "the extra field");
    while cursor.at < extra.len() {
        let (id, length) = (cursor.u16()?, cursor.u16()?);
        let mut field = Cursor::new(cursor.take(length.into())?, 0, "the zip64 extra field");
        if id == 1 {
            for value in values.iter_mut().filter(|value| **value == all_ones) {
                *value = field.number(8)?;
            }
            return Ok(values);
        }
    }
    Ok(values)
}

/// Checks a record's local header (4.3.7) and data descriptor (4.3.9) against the directory; the extent of header,
/// bytes and descriptor, and where the bytes lie.
fn local(bytes: &[u8], header: &Header) -> Result<(Range<usize>, Range<usize>)> {
    let mut cursor = Cursor::new(bytes, header.local, "local header");
    cursor.signature(LOCAL)?;
    cursor.take(2)?;
    let flags = cursor.u16()?;
    let method = cursor.u16()?;
    cursor.take(4)?;
    let crc32 = cursor.u32()?;
    let (packed, unpacked) = (u64::from(cursor.u32()?), u64::from(cursor.u32()?));
    let lengths = [cursor.u16()?, cursor.u16()?];
    let found = cursor.take(lengths[0].into())?;
    let extra = cursor.take(lengths[1].into())?;
    let disagree = |what: &str| Error::format(format!("its local header and the directory disagree on {what}"));
    if found != header.name.as_bytes() {
        return Err(disagree("its name"));
    }
    if method != 0 {
        return Err(disagree("its compression"));
    }
    // With bit 3, sizes and CRC may be left to the descriptor.
    let has_descriptor = flags & 8 != 0;
    if has_descriptor != (header.flags & 8 != 0) {
        return Err(disagree("its flags"));
    }
    let [unpacked, packed] = zip64([unpacked, packed], extra)?;
    let size = header.size as u64;
    let left_out = has_descriptor && (unpacked, packed, crc32) == (0, 0, 0);
    if !left_out && (unpacked, packed) != (size, size) {
        return Err(disagree("its size"));
    }
    if !left_out && crc32 != header.crc32 {
        return Err(disagree("its CRC-32"));
    }
    let start = cursor.at;
    cursor.what = "its data";
    cursor.take(header.size)?;
    let data = start..cursor.at;
    if has_descriptor && bytes[cursor.at..].starts_with(DESCRIPTOR) {
        cursor.what = "its data descriptor";
        cursor.take(4)?;
        let crc32 = cursor.u32()?;
        let mut long = cursor.clone();
        let sizes = [cursor.u32()?, cursor.u32()?].map(u64::from);
        // The descriptor of a zip64 record has sizes of 8 bytes; nothing else tells the two apart.
        if sizes != [size, size] {
            if [long.number(8)?, long.number(8)?] != [size, size] {
                return Err(Error::format("its data descriptor and the directory disagree on its size"));
            }
            cursor = long;
        }
        if crc32 != header.crc32 {
            return Err(Error::format("its data descriptor and the directory disagree on its CRC-32"));
        }
    }
    Ok((header.local..cursor.at, data))
}

/// The top folder and the records below it, in the directory's order.
fn directory(bytes: &[u8]) -> Result<(String, Vec<Entry>)> {
    let Central { range, count } = central(bytes)?;
    let before = &bytes[..range.start];
    let mut cursor = Cursor::new(&bytes[..range.end], range.start, "header of the zip directory");
    let mut headers = Vec::with_capacity(count);
    for _ in 0..count {
        headers.push(header(&mut cursor)?);
    }
    if cursor.at != range.end {
        return Err(Error::format(format!(
            "the zip directory says that it has {count} entries, but {} bytes follow them",
            range.end - cursor.at
        )));
    }
    if let Some(error) = headers.iter().find_map(|header| header.packed.clone()) {
        // Other formats that torch writes are compressed; their name says more than that.
        let below = |header: &Header| header.name.split_once('/').map_or("", |(_, name)| name).to_owned();
        return Err(detect::other_archive(headers.iter().map(below)).unwrap_or(error));
    }
    // Once with the least that each record takes, since the local headers of overlapping records contradict each other.
    let least = headers.iter().map(|header| {
        let end = header.local.saturating_add(30 + header.name.len()).saturating_add(header.size);
        header.local..end
    });
    check_overlap(least.collect(), &headers)?;
    let mut entries = Vec::with_capacity(count);
    let mut extents = Vec::with_capacity(count);
    for header in &headers {
        let (extent, data) = local(before, header).map_err(|e| e.at(quoted(&header.name)))?;
        extents.push(extent);
        entries.push(Entry { name: header.name.clone(), range: data, crc32: header.crc32 });
    }
    check_overlap(extents, &headers)?;
    let folder = folder(&entries)?;
    entries.retain(|entry| entry.name.len() > folder.len() && entry.name.starts_with(&folder));
    for entry in &mut entries {
        entry.name.drain(..folder.len());
    }
    Ok((folder.trim_end_matches('/').to_owned(), entries))
}

fn check_overlap(extents: Vec<Range<usize>>, headers: &[Header]) -> Result<()> {
    let mut extents: Vec<_> = extents.into_iter().zip(headers).collect();
    extents.sort_by_key(|(extent, _)| extent.start);
    for pair in extents.windows(2) {
        let [(a, first), (b, second)] = pair else { continue };
        if a.end > b.start {
            return Err(Error::format(format!(
                "the records `{}` and `{}` overlap in the file, or one claims more bytes than it has",
                first.name, second.name
            )));
        }
    }
    Ok(())
}

/// The folder of `data.pkl`, or the first record's where there is none, with its slash.
fn folder(entries: &[Entry]) -> Result<String> {
    let top = |name: &str| name.split_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
    let mut pickles = entries.iter().filter(|entry| entry.name == format!("{}data.pkl", top(&entry.name)));
    let Some(first) = pickles.next() else {
        return Ok(entries.first().map_or(String::new(), |entry| top(&entry.name)));
    };
    if let Some(second) = pickles.next() {
        return Err(Error::format(format!(
            "the archive holds two models, `{}` and `{}`; unpack them into files of their own",
            first.name, second.name
        )));
    }
    Ok(top(&first.name))
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{message, zip},
        *,
    };

    fn names(bytes: &[u8]) -> Result<Vec<String>> {
        Ok(directory(bytes)?.1.into_iter().map(|entry| entry.name).collect())
    }

    #[test]
    fn load_finds_the_records_with_and_without_zip64() {
        for zip64 in [false, true] {
            let bytes = zip(&[("data.pkl", b"N."), ("data/0", b"1234"), ("empty", b"")], zip64);
            let (folder, entries) = directory(&bytes).unwrap();
            assert_eq!(folder, "model");
            assert_eq!(&bytes[entries[1].range.clone()], b"1234");
            assert_eq!(names(&bytes).unwrap(), ["data.pkl", "data/0", "empty"]);
        }
    }

    #[test]
    fn load_takes_the_end_record_from_behind_a_comment() {
        let mut bytes = zip(&[("data.pkl", b"N.")], false);
        let end = bytes.len() - 2;
        bytes[end] = 5;
        assert!(message(names(&bytes)).contains("no directory at its end"));
        bytes.extend(b"hello");
        assert_eq!(names(&bytes).unwrap(), ["data.pkl"]);
    }

    #[test]
    fn load_refuses_a_directory_that_contradicts_the_file() {
        let good = zip(&[("data.pkl", b"N."), ("data/0", b"1234")], false);
        let replaced = |from: &[u8], to: &[u8], last: bool| {
            let mut bytes = good.clone();
            let positions: Vec<usize> =
                (0..bytes.len() - from.len()).filter(|&i| bytes[i..].starts_with(from)).collect();
            let at = if last { positions[positions.len() - 1] } else { positions[0] };
            bytes[at..at + to.len()].copy_from_slice(to);
            message(names(&bytes))
        };
        let cases = [
            (replaced(b"model/data/0", b"model/data/1", false), "`model/data/0`: its local header and the directory"),
            (replaced(b"model/data/0", b"model/data/\xff", true), "not UTF-8"),
            (replaced(b"model/data/0", b"model/data/\x1b", true), "control characters"),
            (replaced(b"PK\x01\x02", b"PK\x01\x03", true), "there is no header of the zip directory"),
            (replaced(b"PK\x03\x04", b"PK\x03\x05", true), "there is no local header"),
        ];
        for (message, expected) in cases {
            assert!(message.contains(expected), "{message}");
        }
    }
}
