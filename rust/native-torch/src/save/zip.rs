//! Zip archives as torch reads them: records are stored as they are, and their bytes begin at multiples of 64.

use std::io::Write;

use crate::{Error, Result};

/// Where torch wants the bytes of a record to begin, so that a file can be mapped.
const ALIGNMENT: u64 = 64;
/// The largest numbers that the fields of 2 and 4 bytes hold; those of zip64 follow where one is not enough.
const SHORT: u64 = 0xffff;
const LONG: u64 = 0xffff_ffff;
/// Names are UTF-8.
const FLAGS: u16 = 1 << 11;
/// The version that an unpacker needs for zip64.
const VERSION: u16 = 45;
/// The tag of an extra field that only fills space, and of the one of zip64.
const PADDING: u16 = u16::from_le_bytes(*b"FB");
const ZIP64: u16 = 1;
/// The first of January 1980, as the format counts days: the same model gives the same bytes.
const DATE: u16 = 1 << 5 | 1;

struct Entry {
    name: String,
    crc: u32,
    size: u64,
    offset: u64,
}

/// Writes an archive whose records all lie in one folder.
pub(super) struct Archive<'a> {
    to: &'a mut dyn Write,
    folder: &'static str,
    at: u64,
    entries: Vec<Entry>,
}

impl<'a> Archive<'a> {
    /// An archive of this top folder.
    pub fn new(to: &'a mut dyn Write, folder: &'static str) -> Self {
        Self { to, folder, at: 0, entries: Vec::new() }
    }

    /// Adds a record.
    pub fn record(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let name = format!("{}/{name}", self.folder);
        if name.len() as u64 > SHORT {
            return Err(Error::argument(format!("a record would have a name of {} bytes", name.len())));
        }
        let (crc, size, offset) = (crc32fast::hash(bytes), bytes.len() as u64, self.at);
        let large = size >= LONG;
        let wide = if large { extra(ZIP64, &[size.to_le_bytes(), size.to_le_bytes()].concat()) } else { Vec::new() };
        // The header, the name, and the tag and the length of the filler.
        let fixed = offset + 30 + (name.len() + wide.len()) as u64 + 4;
        let filler = extra(PADDING, &vec![b'Z'; (fixed.next_multiple_of(ALIGNMENT) - fixed) as usize]);
        let mut header = Vec::from(*b"PK\x03\x04");
        header.extend(common(crc, size));
        header.extend((name.len() as u16).to_le_bytes());
        header.extend(((wide.len() + filler.len()) as u16).to_le_bytes());
        for part in [&header, name.as_bytes(), &wide, &filler, bytes] {
            self.write(part)?;
        }
        self.entries.push(Entry { name, crc, size, offset });
        Ok(())
    }

    /// Writes the directory.
    pub fn finish(mut self) -> Result<()> {
        let (start, entries) = (self.at, std::mem::take(&mut self.entries));
        for Entry { name, crc, size, offset } in &entries {
            let mut wide = Vec::new();
            if *size >= LONG {
                wide.extend([size.to_le_bytes(), size.to_le_bytes()].concat());
            }
            if *offset >= LONG {
                wide.extend(offset.to_le_bytes());
            }
            let wide = if wide.is_empty() { wide } else { extra(ZIP64, &wide) };
            let mut header = Vec::from(*b"PK\x01\x02");
            header.extend(VERSION.to_le_bytes());
            header.extend(common(*crc, *size));
            header.extend((name.len() as u16).to_le_bytes());
            header.extend((wide.len() as u16).to_le_bytes());
            // No comment, the first disk, no attributes.
            header.extend([0; 10]);
            header.extend((LONG.min(*offset) as u32).to_le_bytes());
            for part in [&header, name.as_bytes(), &wide] {
                self.write(part)?;
            }
        }
        let (size, count) = (self.at - start, entries.len() as u64);
        let mut end = Vec::new();
        if start >= LONG || size >= LONG || count >= SHORT {
            end.extend(*b"PK\x06\x06");
            end.extend(44u64.to_le_bytes());
            end.extend([VERSION.to_le_bytes(), VERSION.to_le_bytes()].concat());
            end.extend([0; 8]);
            [count, count, size, start /* the locator */].iter().for_each(|v| end.extend(v.to_le_bytes()));
            end.extend(*b"PK\x06\x07");
            end.extend(0u32.to_le_bytes());
            end.extend(self.at.to_le_bytes());
            end.extend(1u32.to_le_bytes());
        }
        end.extend(*b"PK\x05\x06");
        end.extend([0; 4]);
        [count, count].iter().for_each(|&v| end.extend((SHORT.min(v) as u16).to_le_bytes()));
        [size, start].iter().for_each(|&v| end.extend((LONG.min(v) as u32).to_le_bytes()));
        end.extend([0; 2]);
        self.write(&end)?;
        self.to.flush().map_err(|e| Error::io("the archive", &e))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.to.write_all(bytes).map_err(|e| Error::io("the archive", &e))?;
        self.at += bytes.len() as u64;
        Ok(())
    }
}

/// What headers and directory have in common: from the version that is needed to the two sizes.
fn common(crc: u32, size: u64) -> Vec<u8> {
    let mut fields = Vec::new();
    let stored = 0u16;
    [VERSION, FLAGS, stored, 0, DATE].iter().for_each(|v| fields.extend(v.to_le_bytes()));
    let size = LONG.min(size) as u32;
    [crc, size, size].iter().for_each(|v| fields.extend(v.to_le_bytes()));
    fields
}

fn extra(tag: u16, bytes: &[u8]) -> Vec<u8> {
    [&tag.to_le_bytes(), &(bytes.len() as u16).to_le_bytes(), bytes].concat()
}
