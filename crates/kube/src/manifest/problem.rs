//! What is wrong with a set of manifests, and where.

use std::fmt;
use std::sync::Arc;

use crate::FieldPath;

/// Whether a problem stops the set from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It does not.
    Warning,
    /// It does.
    Error,
}

/// One thing that is wrong, written as `file:line: Kind ns/name: field: what is wrong; what to do`. Whoever prints it
/// says how severe it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whether it stops the set from being used.
    pub severity: Severity,
    /// Name of the file, as given to [`read`](super::read).
    pub file: Arc<str>,
    /// Line, counted from 1.
    pub line: usize,
    /// `Kind ns/name`, when the document is an object.
    pub object: Option<String>,
    /// The field at fault; the root when none is.
    pub field: FieldPath,
    /// What is wrong, and what to do about it.
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

/// Everything that is wrong with a set of manifests: all files, all documents, one per line.
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
