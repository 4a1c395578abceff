//! Export and import of a full state as YAML: for backups, for migration between kinds of stores, and for inspection.
//!
//! The first document is the header: `format`, `revision`, and the number of `records` that follow. Each further
//! document is one record: `account`, `region`, and the record under the name of its type, exactly as it is
//! stored. The same state always gives the same text, and reading that text gives the same state.

mod check;
mod read;
mod write;

pub use read::read;
pub use write::write;

use std::fmt;

/// The `format` in the header.
const FORMAT: &str = "tombolo-export/1";

/// An error in an export, with its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Counted from 1.
    pub line: usize,
    /// The error, for the operator.
    pub message: String,
}

impl Problem {
    fn new(line: usize, message: impl Into<String>) -> Self {
        Self {
            line,
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.message)
    }
}

#[cfg(test)]
mod tests;
