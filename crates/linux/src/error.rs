//! The one error of this crate: what was attempted, what the kernel said, and what to do about it.

use std::{fmt, io};

/// A failed operation on the kernel. `Display` reads "cannot WHAT: CAUSE[; HINT]".
#[derive(Debug)]
pub struct Error {
    what: String,
    cause: io::Error,
    hint: Option<String>,
}

/// Result of an operation on the kernel.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn new(what: impl Into<String>, cause: impl Into<io::Error>) -> Self {
        Self {
            what: what.into(),
            cause: cause.into(),
            hint: None,
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says what larger attempt this one was part of.
    pub(crate) fn within(mut self, attempt: impl fmt::Display) -> Self {
        self.what = format!("{attempt}: {}", self.what);
        self
    }

    /// The kind of the underlying error, e.g. [`io::ErrorKind::NotFound`] for a program that does not exist.
    pub fn kind(&self) -> io::ErrorKind {
        self.cause.kind()
    }

    /// The kernel's error number, when the kernel was asked at all.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.cause.raw_os_error()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.what, self.cause)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// Names the attempt that an I/O result belongs to.
pub(crate) trait Attempt<T> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Attempt<T> for std::result::Result<T, E> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|cause| Error::new(what(), cause))
    }
}
