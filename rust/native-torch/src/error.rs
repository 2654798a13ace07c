//! The error type of every room.

use std::fmt;

/// What kind of thing went wrong; the C ABI turns it into a status code and Julia into an exception type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller passed something wrong: a length, a shape, an option.
    Argument,
    /// The operating system refused to read or write.
    Io,
    /// A file is malformed: truncated, contradicts itself, or claims more than it holds.
    Format,
    /// The input is well formed, but asks for something that is not there.
    Unsupported,
    /// A solver failed for a reason of its own.
    Solver,
    /// A defect of this library.
    Internal,
}

/// An error: its kind, and a message that names the thing, where it is, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

/// The result type of every room.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of the given kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// [`ErrorKind::Argument`].
    pub fn argument(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Argument, message)
    }

    /// [`ErrorKind::Io`], for the thing that was being read or written.
    pub fn io(what: impl fmt::Display, source: &std::io::Error) -> Self {
        Self::new(ErrorKind::Io, format!("{what}: {source}"))
    }

    /// [`ErrorKind::Format`].
    pub fn format(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Format, message)
    }

    /// [`ErrorKind::Unsupported`].
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// [`ErrorKind::Solver`].
    pub fn solver(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Solver, message)
    }

    /// [`ErrorKind::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// What kind of error this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The message without its context.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The same error with the place put in front: `place: message`.
    #[must_use]
    pub fn at(self, place: impl fmt::Display) -> Self {
        Self { kind: self.kind, message: format!("{place}: {}", self.message) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
