//! Where the bytes of a file are: in the file system, in memory, or behind a reader.

use std::{
    fmt,
    fs::File,
    io::{ErrorKind, Read, Seek, SeekFrom},
    ops::Range,
    os::unix::fs::FileExt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{Error, Result};

/// Bytes that are read where and when they are needed, from any thread.
///
/// Files are read at positions and never mapped: what has been read can be given back at once, and a file that is cut
/// short while it is in use gives an error instead of ending the process.
pub struct Source {
    kind: Kind,
    length: usize,
}

enum Kind {
    File(File),
    Memory(Box<dyn AsRef<[u8]> + Send + Sync>),
    Reader(Mutex<Box<dyn Reader>>),
    /// A range of another source, which begins at this byte of it.
    Part(Arc<Source>, usize),
}

trait Reader: Read + Seek + Send {}
impl<T: Read + Seek + Send> Reader for T {}

/// Longer ranges are visited in pieces of this many bytes, a multiple of every element's size.
const PIECE: usize = 1 << 20;

impl Source {
    /// The file at `path`. It must not be changed in place while it is in use: what is read then may be of either version.
    pub fn open(path: &Path) -> Result<Arc<Self>> {
        let failed = |e: std::io::Error| Error::io(path.display(), &e);
        // Before it is opened: opening a pipe would wait for a writer.
        if !std::fs::metadata(path).map_err(failed)?.is_file() {
            return Err(Error::new(crate::ErrorKind::Io, format!("{}: not a regular file", path.display())));
        }
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        Self::new(Kind::File(file), length).map_err(|e| e.at(path.display()))
    }

    /// Bytes in memory, which are not copied: `&'static [u8]`, `Vec<u8>`, `Arc<[u8]>` or what else lends bytes.
    pub fn from_bytes(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Arc<Self>> {
        let length = bytes.as_ref().len() as u64;
        Self::new(Kind::Memory(Box::new(bytes)), length)
    }

    /// All that a reader reads from its beginning to its end, wherever it stands now.
    pub fn from_reader(mut reader: impl Read + Seek + Send + 'static) -> Result<Arc<Self>> {
        let length = reader.seek(SeekFrom::End(0)).map_err(|e| Error::io("the reader's end", &e))?;
        Self::new(Kind::Reader(Mutex::new(Box::new(reader))), length)
    }

    /// A range of a source as a source of its own: a file within a file.
    ///
    /// Fails with [`ErrorKind::Format`](crate::ErrorKind) where the range is empty or reaches beyond the end.
    pub fn part(source: &Arc<Self>, range: Range<usize>) -> Result<Arc<Self>> {
        source.check(&range)?;
        let length = range.len() as u64;
        Self::new(Kind::Part(source.clone(), range.start), length)
    }

    fn new(kind: Kind, length: u64) -> Result<Arc<Self>> {
        if length == 0 {
            return Err(Error::format("the file is empty"));
        }
        let length = usize::try_from(length)
            .map_err(|_| Error::unsupported(format!("{length} bytes are more than this machine can address")))?;
        Ok(Arc::new(Self { kind, length }))
    }

    /// Bytes that may be none, for storages.
    pub(super) fn memory(bytes: Vec<u8>) -> Arc<Self> {
        let length = bytes.len();
        Arc::new(Self { kind: Kind::Memory(Box::new(bytes)), length })
    }

    /// The length in bytes.
    #[allow(clippy::len_without_is_empty, reason = "no source is empty")]
    pub fn len(&self) -> usize {
        self.length
    }

    /// The bytes of a range: those in memory as they are, others read into `buffer`.
    ///
    /// Fails with [`ErrorKind::Format`](crate::ErrorKind) where the range reaches beyond the end, with
    /// [`ErrorKind::Io`](crate::ErrorKind) where the bytes cannot be read.
    pub fn read<'a>(&'a self, range: Range<usize>, buffer: &'a mut Vec<u8>) -> Result<&'a [u8]> {
        self.check(&range)?;
        let (start, length) = (range.start as u64, range.len());
        let done = match &self.kind {
            Kind::Memory(bytes) => return (**bytes).as_ref().get(range.clone()).ok_or_else(|| self.beyond(&range)),
            Kind::Part(source, at) => return source.read(at + range.start..at + range.end, buffer),
            Kind::File(file) => {
                buffer.resize(length, 0);
                file.read_exact_at(buffer, start)
            }
            Kind::Reader(reader) => {
                buffer.resize(length, 0);
                // A reader is put in its place anew each time, so that a panic in it leaves nothing half done.
                let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
                reader.seek(SeekFrom::Start(start)).and_then(|_| reader.read_exact(buffer))
            }
        };
        match done {
            Ok(()) => Ok(buffer),
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => Err(Error::new(
                crate::ErrorKind::Io,
                format!("it ends before byte {}, but had {} bytes when it was opened", range.end, self.length),
            )),
            Err(e) => Err(Error::io(format!("bytes {start} to {}", range.end), &e)),
        }
    }

    fn check(&self, range: &Range<usize>) -> Result<()> {
        if range.start > range.end || range.end > self.length {
            return Err(self.beyond(range));
        }
        Ok(())
    }

    fn beyond(&self, Range { start, end }: &Range<usize>) -> Error {
        Error::format(format!("bytes {start} to {end} of {} are asked for; the file is truncated", self.length))
    }

    /// Calls `visit` with the bytes of a range, piece by piece, so that a long one takes little memory.
    pub(crate) fn pieces(&self, range: Range<usize>, visit: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut buffer = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let end = at.saturating_add(PIECE).min(range.end);
            visit(self.read(at..end, &mut buffer)?)?;
            at = end;
        }
        Ok(())
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::File(_) => "file",
            Kind::Memory(_) => "memory",
            Kind::Reader(_) => "reader",
            Kind::Part(..) => "part",
        };
        write!(f, "Source({kind}, {} bytes)", self.length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn every_kind_of_source_gives_the_same_bytes() {
        let bytes: Vec<u8> = (0..=255).collect();
        let path = std::env::temp_dir().join(format!("native-torch-source-{}", std::process::id()));
        std::fs::write(&path, &bytes).unwrap();
        let shared: Arc<[u8]> = bytes.clone().into();
        let mut reader = Cursor::new(bytes.clone());
        reader.set_position(99);
        let sources = [
            Source::open(&path).unwrap(),
            Source::from_bytes(shared).unwrap(),
            Source::from_bytes(b"\0\x01\x02\x03").unwrap(),
            Source::from_reader(reader).unwrap(),
        ];
        for source in sources {
            let mut buffer = Vec::new();
            assert_eq!(source.read(1..4, &mut buffer).unwrap(), [1, 2, 3]);
            assert!(source.read(4..4, &mut buffer).unwrap().is_empty());
            let beyond = source.read(2..source.len() + 1, &mut buffer).unwrap_err();
            assert_eq!(beyond.kind(), crate::ErrorKind::Format);
        }
        let whole = Source::from_bytes(b"0123456789").unwrap();
        let part = Source::part(&whole, 2..6).unwrap();
        assert_eq!((part.len(), part.read(1..3, &mut Vec::new()).unwrap()), (4, &b"34"[..]));
        assert!(part.read(1..5, &mut Vec::new()).is_err());
        assert!(Source::part(&whole, 2..11).is_err());
        // A file that shrinks is an error, not a signal.
        let source = Source::open(&path).unwrap();
        std::fs::write(&path, b"short").unwrap();
        assert_eq!(source.read(0..256, &mut Vec::new()).unwrap_err().kind(), crate::ErrorKind::Io);
        std::fs::remove_file(path).unwrap();
        assert_eq!(Source::from_bytes([]).unwrap_err().message(), "the file is empty");
    }
}
