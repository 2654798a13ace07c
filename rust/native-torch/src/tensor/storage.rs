//! The bytes behind tensors: in memory or mapped from a file, checked against their CRC when first read.

use std::{
    fmt,
    fs::File,
    ops::Range,
    path::Path,
    sync::{Arc, OnceLock},
};

use memmap2::Mmap;

use crate::{Error, Result};

/// Bytes that tensors share.
pub struct Storage {
    name: String,
    bytes: Bytes,
    big_endian: bool,
    crc32: Option<u32>,
    verdict: OnceLock<Result<()>>,
}

enum Bytes {
    Owned(Vec<u8>),
    Mapped(Arc<Mapping>, Range<usize>),
}

/// A file mapped into memory, read only.
pub struct Mapping(Mmap);

impl Mapping {
    /// Maps the whole file at `path`.
    ///
    /// The file must not be truncated or rewritten in place while it is mapped (replacing it by renaming is fine): the
    /// operating system would then end the process. torch and this library never write in place.
    #[allow(unsafe_code)]
    pub fn open(path: &Path) -> Result<Arc<Self>> {
        let failed = |e: std::io::Error| Error::io(path.display(), &e);
        // Before it is opened: opening a pipe would wait for a writer.
        if !std::fs::metadata(path).map_err(failed)?.is_file() {
            return Err(Error::new(crate::ErrorKind::Io, format!("{}: not a regular file", path.display())));
        }
        let file = File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() == 0 {
            return Err(Error::format(format!("{}: the file is empty", path.display())));
        }
        // SAFETY: the map is read only and private to this value; the requirement that nobody truncates the file
        // meanwhile is stated above and cannot be checked by any process.
        let map = unsafe { Mmap::map(&file) }.map_err(failed)?;
        Ok(Arc::new(Self(map)))
    }

    /// The bytes of the file.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mapping({} bytes)", self.0.len())
    }
}

impl Storage {
    fn new(name: impl Into<String>, bytes: Bytes) -> Self {
        Self { name: name.into(), bytes, big_endian: false, crc32: None, verdict: OnceLock::new() }
    }

    /// Bytes in memory. The name stands in error messages.
    pub fn owned(name: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self::new(name, Bytes::Owned(bytes))
    }

    /// A range of a mapped file.
    ///
    /// # Panics
    /// If the range reaches beyond the map.
    pub fn mapped(name: impl Into<String>, mapping: Arc<Mapping>, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= mapping.bytes().len());
        Self::new(name, Bytes::Mapped(mapping, range))
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
        self.raw().len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether elements are stored most significant byte first.
    pub fn is_big_endian(&self) -> bool {
        self.big_endian
    }

    /// The bytes; the first call checks the CRC.
    pub fn bytes(&self) -> Result<&[u8]> {
        self.verify()?;
        Ok(self.raw())
    }

    /// Checks the CRC once, and says the same ever after.
    pub fn verify(&self) -> Result<()> {
        self.verdict
            .get_or_init(|| match self.crc32 {
                Some(expected) => {
                    let found = crc32fast::hash(self.raw());
                    if found == expected {
                        return Ok(());
                    }
                    Err(Error::format(format!(
                        "record `{}` is damaged: its CRC-32 is {found:08x}, but the archive says {expected:08x}",
                        self.name
                    )))
                }
                None => Ok(()),
            })
            .clone()
    }

    fn raw(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Owned(bytes) => bytes,
            Bytes::Mapped(mapping, range) => &mapping.bytes()[range.clone()],
        }
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Storage({}, {} bytes)", self.name, self.len())
    }
}
