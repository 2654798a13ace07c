//! The bytes behind tensors: a range of a source, checked against its CRC when it is first read.

use std::{
    fmt,
    ops::Range,
    sync::{Arc, OnceLock},
};

use super::Source;
use crate::{Error, ErrorKind, Result};

/// Bytes that tensors share.
pub struct Storage {
    name: String,
    source: Arc<Source>,
    range: Range<usize>,
    big_endian: bool,
    crc32: Option<u32>,
    verdict: OnceLock<Result<()>>,
}

impl Storage {
    /// A range of a source. The name stands in error messages.
    ///
    /// Fails with [`ErrorKind::Format`] where the range reaches beyond the source.
    pub fn new(name: impl Into<String>, source: Arc<Source>, range: Range<usize>) -> Result<Self> {
        let name = name.into();
        if range.start > range.end || range.end > source.len() {
            return Err(Error::format(format!(
                "storage `{name}` is said to reach byte {} of {}; the file is truncated",
                range.end,
                source.len()
            )));
        }
        Ok(Self { name, source, range, big_endian: false, crc32: None, verdict: OnceLock::new() })
    }

    /// Bytes in memory.
    pub fn owned(name: impl Into<String>, bytes: Vec<u8>) -> Self {
        let range = 0..bytes.len();
        Self::new(name, Source::memory(bytes), range).expect("the range is the whole")
    }

    /// Says that elements are stored most significant byte first.
    #[must_use]
    pub fn with_big_endian(mut self, big_endian: bool) -> Self {
        self.big_endian = big_endian;
        self
    }

    /// Says which CRC-32 the bytes must have; it is checked when they are first read.
    #[must_use]
    pub fn with_crc32(mut self, crc32: u32) -> Self {
        self.crc32 = Some(crc32);
        self
    }

    /// The name that stands in error messages: the record of the archive.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The length in bytes.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Whether elements are stored most significant byte first.
    pub fn is_big_endian(&self) -> bool {
        self.big_endian
    }

    /// The source with the range of it that this is.
    pub(crate) fn location(&self) -> (&Arc<Source>, Range<usize>) {
        (&self.source, self.range.clone())
    }

    /// All bytes, copied.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(self.len());
        self.pieces(0..self.len(), &mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(bytes)
    }

    /// Checks the CRC once, and says the same ever after.
    pub fn verify(&self) -> Result<()> {
        match self.verdict.get() {
            Some(verdict) => verdict.clone(),
            None if self.crc32.is_none() => Ok(()),
            None => self.pieces(0..self.len(), &mut |_| Ok(())),
        }
    }

    /// Calls `visit` with the bytes of a range, piece by piece; the first call for any range checks the CRC of all.
    ///
    /// Reading all at once needs no pass of its own for the CRC: `visit` then sees bytes before they are known to be good,
    /// and what it made of them must not be used where this fails.
    pub(super) fn pieces(&self, range: Range<usize>, visit: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let unchecked = self.crc32.filter(|_| self.verdict.get().is_none());
        let place = |e: Error| e.at(format!("record `{}`", self.name));
        let at = self.range.start;
        match unchecked {
            Some(expected) if range == (0..self.len()) => {
                let mut hasher = crc32fast::Hasher::new();
                let hashed = &mut |bytes: &[u8]| {
                    hasher.update(bytes);
                    visit(bytes)
                };
                self.source.pieces(self.range.clone(), hashed).map_err(place)?;
                let verdict = self.judge(expected, hasher.finalize());
                // Two threads may have read at once; they found the same.
                self.verdict.get_or_init(|| verdict).clone()
            }
            _ => {
                self.verify()?;
                self.source.pieces(at + range.start..at + range.end, visit).map_err(place)
            }
        }
    }

    /// The bytes of a range, from memory as they are or read into `buffer`.
    pub(super) fn read<'a>(&'a self, range: Range<usize>, buffer: &'a mut Vec<u8>) -> Result<&'a [u8]> {
        self.verify()?;
        let at = self.range.start;
        let found = self.source.read(at + range.start..at + range.end, buffer);
        found.map_err(|e| e.at(format!("record `{}`", self.name)))
    }

    fn judge(&self, expected: u32, found: u32) -> Result<()> {
        if found == expected {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Format,
            format!(
                "record `{}` is damaged: its CRC-32 is {found:08x}, but the archive says {expected:08x}",
                self.name
            ),
        ))
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Storage({}, {} bytes)", self.name, self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crc_is_checked_by_the_first_reader_and_kept() {
        let storage = |crc: u32| Storage::owned("data/0", b"123456789".to_vec()).with_crc32(crc);
        let whole = |storage: &Storage| storage.pieces(0..9, &mut |_| Ok(()));
        let good = storage(0xcbf4_3926);
        whole(&good).unwrap();
        assert_eq!(good.read(2..4, &mut Vec::new()).unwrap(), b"34");
        for first in [whole, Storage::verify, |s: &Storage| s.read(2..4, &mut Vec::new()).map(drop)] {
            let bad = storage(1);
            for check in [first, whole, Storage::verify] {
                let error = check(&bad).unwrap_err();
                assert!(error.message().contains("record `data/0` is damaged"), "{error}");
            }
        }
        let beyond = Storage::new("x", Source::memory(vec![0; 4]), 2..5).unwrap_err();
        assert!(beyond.message().contains("storage `x` is said to reach byte 5 of 4"));
    }
}
