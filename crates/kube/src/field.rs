//! Where in an object something is wrong, and what.

use std::fmt;

pub use tombolo_model::{FieldPath, Segment};

/// Why an object is refused: the field at fault, and one sentence that says what is wrong and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Denial {
    /// The field at fault; the root when the object as a whole is.
    pub field: FieldPath,
    /// What is wrong, and what to do about it.
    pub message: String,
}

impl Denial {
    /// A denial of `field`, written as in `spec.listeners[0].tls`.
    pub fn new(field: impl Into<FieldPath>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_root() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.field, self.message)
        }
    }
}

/// Every reason why an object is refused; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Denials(pub Vec<Denial>);

impl From<Denial> for Denials {
    fn from(denial: Denial) -> Self {
        Self(vec![denial])
    }
}

impl fmt::Display for Denials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, denial) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            denial.fmt(f)?;
        }
        Ok(())
    }
}
