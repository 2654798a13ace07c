//! The zip archive that `torch.save` writes: its directory, checked against the file, and its records in it.
//!
//! The format is that of PKWARE's APPNOTE 6.3.10; section numbers below are its.

use std::{collections::HashMap, ops::Range, sync::Arc};

use super::detect;
use crate::{
    Error, Result,
    tensor::{Source, Storage},
};

/// A record of the archive: its name below the top folder, and its bytes in the file.
#[derive(Debug)]
struct Entry {
    name: String,
    range: Range<usize>,
    crc32: u32,
    /// The number of bytes that it holds, where it is compressed.
    unpacked: Option<usize>,
}

/// An archive whose directory has been checked: every record lies in the file and no two overlap.
pub(crate) struct Archive {
    folder: String,
    records: Vec<Storage>,
    index: HashMap<String, usize>,
}

impl Archive {
    /// Reads the directory of a zip file.
    pub fn open(source: &Arc<Source>) -> Result<Self> {
        let (folder, entries) = directory(source)?;
        let mut index = HashMap::with_capacity(entries.len());
        let mut records = Vec::with_capacity(entries.len());
        let mut room = TEXTS;
        for Entry { name, range, crc32, unpacked } in entries {
            if index.insert(name.clone(), records.len()).is_some() {
                return Err(Error::format(format!("the archive has record `{name}` twice")));
            }
            let storage = match unpacked {
                None => Storage::new(name, source.clone(), range)?,
                Some(size) => {
                    let bytes = inflate(source, range, size, &mut room).map_err(|e| e.at(quoted(&name)))?;
                    Storage::owned(name, bytes)
                }
            };
            records.push(storage.with_crc32(crc32));
        }
        Ok(Self { folder, records, index })
    }

    /// The top folder, which has the name that the file had when it was written.
    pub fn folder(&self) -> &str {
        &self.folder
    }

    /// The names of the records below the top folder, in the directory's order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.records.iter().map(|record| record.name())
    }

    /// The record of a name, whose CRC is checked when it is first read.
    pub fn record(&self, name: &str) -> Option<&Storage> {
        self.index.get(name).map(|&i| &self.records[i])
    }

    /// A short record's bytes, its CRC checked; an error if it is not short.
    pub fn short(&self, name: &str) -> Result<Option<Vec<u8>>> {
        const LIMIT: usize = 1 << 10;
        match self.record(name) {
            None => Ok(None),
            Some(record) if record.len() > LIMIT => {
                Err(Error::format(format!("record `{name}` has {} bytes; at most {LIMIT} make sense", record.len())))
            }
            Some(record) => record.to_bytes().map(Some),
        }
    }

    /// All records in the directory's order, whose CRC is checked when they are first read.
    pub fn into_records(self) -> Vec<Storage> {
        self.records
    }
}

/// Compressed texts may have this many bytes in all.
const TEXTS: usize = 1 << 27;

/// Whether a record is one that `torch.jit.save` compresses: code, and where it comes from.
fn is_text(name: &str) -> bool {
    name.contains("/code/") && (name.ends_with(".py") || name.ends_with(".debug_pkl"))
}

/// The bytes of a compressed record.
fn inflate(source: &Source, range: Range<usize>, size: usize, room: &mut usize) -> Result<Vec<u8>> {
    *room = room
        .checked_sub(size)
        .ok_or_else(|| Error::unsupported(format!("compressed records of more than {TEXTS} bytes in all")))?;
    let mut buffer = Vec::new();
    let packed = source.read(range, &mut buffer)?;
    let bytes = miniz_oxide::inflate::decompress_to_vec_with_limit(packed, size).ok();
    bytes
        .filter(|bytes| bytes.len() == size)
        .ok_or_else(|| Error::format(format!("it does not unpack to the {size} bytes that the directory claims")))
}

/// A reader of little-endian numbers in a part of the file that begins at byte `base`, each checked against its end.
#[derive(Clone)]
struct Cursor<'a> {
    bytes: &'a [u8],
    base: usize,
    at: usize,
    what: &'static str,
}

impl<'a> Cursor<'a> {
    fn new(bytes: &'a [u8], base: usize, what: &'static str) -> Self {
        Self { bytes, base, at: 0, what }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(length).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or_else(|| {
            let at = self.base + self.at;
            Error::format(format!("{} at byte {at} reaches beyond its end; the file is truncated", self.what))
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
            .map_err(|_| Error::format(format!("{} at byte {} claims {value} bytes", self.what, self.base + self.at)))
    }

    fn signature(&mut self, expected: &[u8; 4]) -> Result<()> {
        let at = self.base + self.at;
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
fn central(source: &Source) -> Result<Central> {
    const END_LENGTH: usize = 22;
    const LOCATOR_LENGTH: usize = 20;
    const END64_LENGTH: usize = 56;
    let truncated = || {
        Error::format("the file begins as a zip archive but has no directory at its end; it is truncated or damaged")
    };
    let mut buffer = Vec::new();
    let base = source.len().saturating_sub(END_LENGTH + LOCATOR_LENGTH + usize::from(u16::MAX));
    let tail = source.read(base..source.len(), &mut buffer)?;
    let last = tail.len().checked_sub(END_LENGTH).ok_or_else(truncated)?;
    // The comment behind the record must reach the end of the file exactly.
    let is_end = |&at: &usize| {
        tail[at..].starts_with(END)
            && usize::from(u16::from_le_bytes([tail[at + 20], tail[at + 21]])) == tail.len() - at - END_LENGTH
    };
    let end = (0..=last).rev().find(is_end).ok_or_else(truncated)?;

    let mut cursor = Cursor::new(&tail[end..], base + end, "the end of the zip directory");
    cursor.signature(END)?;
    let disks = [cursor.u16()?, cursor.u16()?];
    let (here, mut count) = (cursor.u16()?, u64::from(cursor.u16()?));
    let (mut size, mut offset) = (u64::from(cursor.u32()?), u64::from(cursor.u32()?));
    let mut limit = base + end;
    let zip64 = end.checked_sub(LOCATOR_LENGTH).filter(|&at| tail[at..].starts_with(LOCATOR64));
    if let Some(at) = zip64 {
        let locator = base + at;
        let mut cursor = Cursor::new(&tail[at..], locator, "the zip64 locator");
        cursor.take(8)?;
        let at = cursor.size(8)?;
        if at >= locator {
            return Err(Error::format(format!("the zip64 directory's end is said to be at byte {at}, behind itself")));
        }
        let mut buffer = Vec::new();
        let record = source.read(at..locator.min(at + END64_LENGTH), &mut buffer)?;
        let mut cursor = Cursor::new(record, at, "zip64 end of the zip directory");
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
    /// The number of bytes that it takes in the file; fewer than its size if it is compressed.
    stored: usize,
    method: u16,
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
    } else if method != 0 && !(method == 8 && is_text(&name)) {
        Some(Error::unsupported(format!(
            "record `{name}` is compressed (zip method {method}{}), but tensors are mapped as they lie in the file; unpack \
             the archive and pack it with `zip -0 -r`",
            if method == 8 { ", deflate" } else { "" }
        )))
    } else {
        None
    };
    if refused.is_none() && method == 0 && packed != unpacked {
        return Err(Error::format(format!("record `{name}` is stored, but claims {packed} and {unpacked} bytes")));
    }
    let size = usize::try_from(unpacked).ok();
    let stored = usize::try_from(packed).ok();
    let local = usize::try_from(local).ok();
    let (size, (stored, local)) = size.zip(stored.zip(local)).ok_or_else(|| {
        Error::format(format!(
            "record `{name}` claims {unpacked} bytes, more than the file has; it is truncated or damaged"
        ))
    })?;
    Ok(Header { name, flags, crc32, size, stored, method, local, packed: refused })
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
fn local(source: &Source, limit: usize, header: &Header) -> Result<(Range<usize>, Range<usize>)> {
    let mut buffer = Vec::new();
    let part = |at: usize, length: usize| at.min(limit)..at.saturating_add(length).min(limit);
    let mut cursor = Cursor::new(source.read(part(header.local, 30), &mut buffer)?, header.local, "local header");
    cursor.signature(LOCAL)?;
    cursor.take(2)?;
    let flags = cursor.u16()?;
    let method = cursor.u16()?;
    cursor.take(4)?;
    let crc32 = cursor.u32()?;
    let (packed, unpacked) = (u64::from(cursor.u32()?), u64::from(cursor.u32()?));
    let [name, extra] = [cursor.u16()?, cursor.u16()?].map(usize::from);
    let (mut buffer, at) = (Vec::new(), header.local + 30);
    let mut cursor = Cursor::new(source.read(part(at, name + extra), &mut buffer)?, at, "local header");
    let found = cursor.take(name)?;
    let extra = cursor.take(extra)?;
    let disagree = |what: &str| Error::format(format!("its local header and the directory disagree on {what}"));
    if found != header.name.as_bytes() {
        return Err(disagree("its name"));
    }
    if method != header.method {
        return Err(disagree("its compression"));
    }
    // With bit 3, sizes and CRC may be left to the descriptor.
    let has_descriptor = flags & 8 != 0;
    if has_descriptor != (header.flags & 8 != 0) {
        return Err(disagree("its flags"));
    }
    let [unpacked, packed] = zip64([unpacked, packed], extra)?;
    let (size, stored) = (header.size as u64, header.stored as u64);
    let left_out = has_descriptor && (unpacked, packed, crc32) == (0, 0, 0);
    if !left_out && (unpacked, packed) != (size, stored) {
        return Err(disagree("its size"));
    }
    if !left_out && crc32 != header.crc32 {
        return Err(disagree("its CRC-32"));
    }
    let start = at + cursor.at;
    let end = start.checked_add(header.stored).filter(|&end| end <= limit).ok_or_else(|| {
        Error::format(format!(
            "its {} bytes from byte {start} reach beyond byte {limit}; the file is truncated",
            header.stored
        ))
    })?;
    let descriptor = if has_descriptor { descriptor(source, part(end, 24), header)? } else { 0 };
    Ok((header.local..end + descriptor, start..end))
}

/// The length of a record's data descriptor, which need not be there.
fn descriptor(source: &Source, range: Range<usize>, header: &Header) -> Result<usize> {
    let mut buffer = Vec::new();
    let mut cursor = Cursor::new(source.read(range.clone(), &mut buffer)?, range.start, "its data descriptor");
    if !cursor.bytes.starts_with(DESCRIPTOR) {
        return Ok(0);
    }
    cursor.take(4)?;
    let crc32 = cursor.u32()?;
    let mut long = cursor.clone();
    let sizes = [cursor.u32()?, cursor.u32()?].map(u64::from);
    let expected = [header.stored as u64, header.size as u64];
    // The descriptor of a zip64 record has sizes of 8 bytes; nothing else tells the two apart.
    if sizes != expected {
        if [long.number(8)?, long.number(8)?] != expected {
            return Err(Error::format("its data descriptor and the directory disagree on its size"));
        }
        cursor = long;
    }
    if crc32 != header.crc32 {
        return Err(Error::format("its data descriptor and the directory disagree on its CRC-32"));
    }
    Ok(cursor.at)
}

/// The top folder and the records below it, in the directory's order.
fn directory(source: &Source) -> Result<(String, Vec<Entry>)> {
    let Central { range, count } = central(source)?;
    let limit = range.start;
    let mut buffer = Vec::new();
    let mut cursor = Cursor::new(source.read(range, &mut buffer)?, limit, "header of the zip directory");
    let mut headers = Vec::with_capacity(count);
    for _ in 0..count {
        headers.push(header(&mut cursor)?);
    }
    let rest = cursor.bytes.len() - cursor.at;
    if rest > 0 {
        return Err(Error::format(format!(
            "the zip directory says that it has {count} entries, but {rest} bytes follow them"
        )));
    }
    if let Some(error) = headers.iter().find_map(|header| header.packed.clone()) {
        // Other formats that torch writes are compressed; their name says more than that.
        let below = |header: &Header| header.name.split_once('/').map_or("", |(_, name)| name).to_owned();
        return Err(detect::other_archive(headers.iter().map(below)).unwrap_or(error));
    }
    // Once with the least that each record takes, since the local headers of overlapping records contradict each other.
    let least = headers.iter().map(|header| {
        let end = header.local.saturating_add(30 + header.name.len()).saturating_add(header.stored);
        header.local..end
    });
    check_overlap(least.collect(), &headers)?;
    let mut entries = Vec::with_capacity(count);
    let mut extents = Vec::with_capacity(count);
    for header in &headers {
        let (extent, data) = local(source, limit, header).map_err(|e| e.at(quoted(&header.name)))?;
        extents.push(extent);
        let unpacked = (header.method != 0).then_some(header.size);
        entries.push(Entry { name: header.name.clone(), range: data, crc32: header.crc32, unpacked });
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

    fn read(bytes: &[u8]) -> Result<(String, Vec<Entry>)> {
        directory(&*Source::from_bytes(bytes.to_vec())?)
    }

    fn names(bytes: &[u8]) -> Result<Vec<String>> {
        Ok(read(bytes)?.1.into_iter().map(|entry| entry.name).collect())
    }

    #[test]
    fn load_finds_the_records_with_and_without_zip64() {
        for zip64 in [false, true] {
            let bytes = zip(&[("data.pkl", b"N."), ("data/0", b"1234"), ("empty", b"")], zip64);
            let (folder, entries) = read(&bytes).unwrap();
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
