//! Problems of manifests, with their position.

use std::fmt;
use std::sync::Arc;

use crate::FieldPath;

/// The severity of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The manifests can be used.
    Warning,
    /// The manifests cannot be used.
    Error,
}

/// One problem, displayed as `file:line: Kind ns/name: field: problem; remedy`, without the severity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The severity.
    pub severity: Severity,
    /// Name of the file, as given to [`read`](super::read).
    pub file: Arc<str>,
    /// Line, counted from 1.
    pub line: usize,
    /// `Kind ns/name`, when the document is an object.
    pub object: Option<String>,
    /// The field; the root when there is none.
    pub field: FieldPath,
    /// The problem and its remedy.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        if !self.field.is_root() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

/// The problems of a set of manifests: all files, all documents, one per line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}
