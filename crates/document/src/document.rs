//! A document: its value, and the lines of its fields.

use serde_json::Value;
use std::collections::HashMap;
use tombolo_model::{FieldPath, Segment};

/// One document: its value and the lines of its fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// The value; members of objects are in the order of the text.
    pub value: Value,
    /// The line of each field.
    pub lines: Lines,
}

/// The lines of one document, in the shape of its value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lines {
    pub(crate) line: usize,
    pub(crate) inside: Inside,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Inside {
    #[default]
    Leaf,
    List(Vec<Lines>),
    Map(HashMap<String, Lines>),
}

impl Lines {
    /// The line of `path`, or of its nearest parent that exists. Counted from 1.
    #[must_use]
    pub fn of(&self, path: &FieldPath) -> usize {
        let mut here = self;
        for segment in path.segments() {
            match here.child(segment) {
                Some(child) => here = child,
                None => break,
            }
        }
        here.line
    }

    /// The lines of the value at `path`.
    #[must_use]
    pub fn below(&self, path: &FieldPath) -> Option<&Self> {
        path.segments()
            .iter()
            .try_fold(self, |here, segment| here.child(segment))
    }

    /// The lines of a member of an object.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Self> {
        match &self.inside {
            Inside::Map(members) => members.get(name),
            Inside::Leaf | Inside::List(_) => None,
        }
    }

    /// The lines of an item of an array, counted from zero.
    #[must_use]
    pub fn item(&self, index: usize) -> Option<&Self> {
        match &self.inside {
            Inside::List(items) => items.get(index),
            Inside::Leaf | Inside::Map(_) => None,
        }
    }

    fn child(&self, segment: &Segment) -> Option<&Self> {
        match segment {
            Segment::Field(name) => self.field(name),
            Segment::Index(index) => self.item(*index),
        }
    }
}

/// The limits of a text that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The maximum length of the text in bytes.
    pub bytes: usize,
    /// The maximum number of documents.
    pub documents: usize,
    /// The maximum number of values: scalars, lists and maps; each alias counts as much as its anchored value.
    pub nodes: usize,
    /// The maximum nesting of lists and maps.
    pub depth: usize,
    /// Whether anchors and aliases are accepted. Without them the memory is proportional to the length of the text.
    pub aliases: bool,
}

impl Default for Limits {
    /// The limits of a file of Kubernetes manifests: 8 MiB, 5,000 documents, a million values, 64 levels.
    fn default() -> Self {
        Self {
            bytes: 8 << 20,
            documents: 5_000,
            nodes: 1_000_000,
            depth: 64,
            aliases: true,
        }
    }
}

/// An error in a text that is not YAML, or exceeds a limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct SyntaxError {
    /// The line, counted from 1.
    pub line: usize,
    /// The error and the remedy.
    pub message: String,
}
