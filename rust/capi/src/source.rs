//! Where files are that are opened: paths, bytes that the caller lends, and readers of the caller's.

use std::{
    ffi::{OsStr, c_void},
    io::{self, Read, Seek, SeekFrom},
    mem::MaybeUninit,
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    slice,
    sync::Arc,
};

use engine::{
    Error, Result,
    load::{self, Checkpoint},
};

use crate::{
    status::{NtStatus, construct, guard},
    types::{NtBytes, NtStr, bytes, required},
};

/// Called once when the library needs bytes or a reader no more, with the context that came with them.
pub type NtRelease = Option<extern "C" fn(context: *mut c_void)>;

/// Reads `length` bytes, or fewer, into `buffer` from `position` on, counted from the beginning: a seek and a read. Gives
/// how many it read; 0 at the end, a negative number where it fails.
pub type NtRead = Option<extern "C" fn(context: *mut c_void, position: u64, buffer: *mut u8, length: usize) -> i64>;

/// A file that the caller reads. The library calls `read` when it opens the file, and when the numbers of a tensor are
/// first used: from any thread that it is called on, but one call at a time.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NtReader {
    /// Passed to each call; may be NULL.
    pub context: *mut c_void,
    /// The length of the file in bytes.
    pub length: u64,
    /// Reads at a position.
    pub read: NtRead,
    /// Called once when the file is not needed any more, also where opening it failed; may be NULL.
    pub release: NtRelease,
}

/// What is to be released when it is not needed any more.
struct Released {
    context: *mut c_void,
    release: NtRelease,
}

// SAFETY: the context is only handed to the caller's functions, which the header asks to serve any thread.
unsafe impl Send for Released {}
// SAFETY: as above; nothing is done with a shared reference.
unsafe impl Sync for Released {}

impl Drop for Released {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            release(self.context);
        }
    }
}

/// Bytes of the caller's.
struct Lent {
    data: *const u8,
    length: usize,
    _released: Released,
}

// SAFETY: the bytes are only read, and the caller promised that nobody changes them.
unsafe impl Send for Lent {}
// SAFETY: as above.
unsafe impl Sync for Lent {}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the caller promised that the bytes stay as they are until they are released, which dropping this does.
        unsafe { slice::from_raw_parts(self.data, self.length) }
    }
}

/// The caller's reader with a position.
struct Foreign {
    read: extern "C" fn(*mut c_void, u64, *mut u8, usize) -> i64,
    length: u64,
    position: u64,
    released: Released,
}

impl Read for Foreign {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let found = (self.read)(self.released.context, self.position, buffer.as_mut_ptr(), buffer.len());
        let count = usize::try_from(found).ok().filter(|&count| count <= buffer.len());
        let count = count.ok_or_else(|| {
            io::Error::other(format!("the reader gave {found} where {} bytes were asked for", buffer.len()))
        })?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Foreign {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or_else(|| io::Error::other("a position before the beginning"))?;
        Ok(self.position)
    }
}

/// A path of the operating system.
fn path(text: NtStr) -> Result<PathBuf> {
    Ok(PathBuf::from(OsStr::from_bytes(required(text, "path")?.to_bytes())))
}

/// Opens the file at a path.
pub fn open(text: NtStr) -> Result<Arc<Checkpoint>> {
    load::open(path(text)?).map(Arc::new)
}

/// Opens a file in memory; the bytes are released when nothing needs them, also where this fails.
pub fn open_bytes(lent: NtBytes, release: NtRelease, context: *mut c_void) -> Result<Arc<Checkpoint>> {
    let released = Released { context, release };
    let bytes = bytes(lent, "bytes")?;
    load::from_bytes(Lent { data: bytes.as_ptr(), length: bytes.len(), _released: released }).map(Arc::new)
}

/// Opens a file and makes a handle of it. The file is opened, and so what the caller lent is taken over, whatever else is
/// wrong.
pub fn opened<T>(
    open: impl FnOnce() -> Result<Arc<Checkpoint>>,
    out: Option<&mut MaybeUninit<Option<Box<T>>>>,
    make: impl FnOnce(Arc<Checkpoint>) -> Result<T>,
) -> NtStatus {
    let mut open = Some(open);
    let status = construct(out, || open.take().ok_or_else(|| Error::internal("opened twice"))?().and_then(make));
    if let Some(open) = open {
        // Nobody asked for the handle; what was lent is released all the same.
        let _ = guard(|| open().map(drop));
        return construct::<T>(None, || Err(Error::internal("no handle")));
    }
    status
}

/// Opens a file behind a reader, which is released when nothing needs it, also where this fails.
pub fn open_reader(reader: Option<&NtReader>) -> Result<Arc<Checkpoint>> {
    let &NtReader { context, length, read, release } = required(reader, "reader")?;
    let released = Released { context, release };
    let read = required(read, "reader.read")?;
    load::from_reader(Foreign { read, length, position: 0, released }).map(Arc::new)
}
