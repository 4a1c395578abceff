//! A whole state as YAML that people can read: for backups, for moving from one kind of store to another,
//! and for looking.
//!
//! The first document says what it is: `format`, `revision`, and how many `records` follow. Each further
//! document is one record: `account`, `region`, and the record under the name of its type, exactly as it is
//! stored. The same state always gives the same text, and reading that text gives the same state.

mod check;
mod read;
mod write;

pub use read::read;
pub use write::write;

use std::fmt;

/// `format` of the first document.
const FORMAT: &str = "tombolo-export/1";

/// An error in a text, with its line.
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
