//! The one error of this crate: the operation, the kernel's error, and a hint.

use std::{fmt, io};

/// A failed operation on the kernel. `Display` reads "cannot OPERATION: CAUSE[; HINT]".
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation}: {cause}{}", hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default())]
pub struct Error {
    operation: String,
    #[source]
    cause: io::Error,
    hint: Option<String>,
}

/// Result of an operation on the kernel.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error that reads "cannot OPERATION: CAUSE".
    pub fn new(operation: impl Into<String>, cause: impl Into<io::Error>) -> Self {
        Self {
            operation: operation.into(),
            cause: cause.into(),
            hint: None,
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Names the larger operation that this one was part of.
    pub(crate) fn within(mut self, operation: impl fmt::Display) -> Self {
        self.operation = format!("{operation}: {}", self.operation);
        self
    }

    /// The kind of the underlying error, e.g. [`io::ErrorKind::NotFound`] for a program that does not exist.
    pub fn kind(&self) -> io::ErrorKind {
        self.cause.kind()
    }

    /// The kernel's error number; `None` when the kernel was not called.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.cause.raw_os_error()
    }
}

/// Adds the name of the operation to an I/O error.
pub(crate) trait Attempt<T> {
    fn attempt(self, operation: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Attempt<T> for std::result::Result<T, E> {
    fn attempt(self, operation: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|cause| Error::new(operation(), cause))
    }
}
