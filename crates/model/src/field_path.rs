//! The path of a field in an object, as Kubernetes writes it.

use std::fmt;

/// A segment of a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Segment {
    /// A member of a map, by its key.
    Field(String),
    /// An item of a list, counted from zero.
    Index(usize),
}

/// A path such as `spec.listeners[0].portMapping.port`.
///
/// Keys that would be ambiguous beside the dots are bracketed, as Kubernetes does:
/// `metadata.labels[app.kubernetes.io/name]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldPath(Vec<Segment>);

impl FieldPath {
    /// The object itself.
    pub fn root() -> Self {
        Self::default()
    }

    /// The steps from the root.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// Whether this is the object itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// This path with a field appended.
    #[must_use]
    pub fn field(mut self, name: impl Into<String>) -> Self {
        self.0.push(Segment::Field(name.into()));
        self
    }

    /// This path with a list index appended.
    #[must_use]
    pub fn index(mut self, index: usize) -> Self {
        self.0.push(Segment::Index(index));
        self
    }

    /// This path followed by `rest`.
    #[must_use]
    pub fn join(mut self, rest: &FieldPath) -> Self {
        self.0.extend_from_slice(&rest.0);
        self
    }

    /// Appends a segment.
    pub fn push(&mut self, segment: Segment) {
        self.0.push(segment);
    }

    /// Removes the last segment, if any.
    pub fn pop(&mut self) {
        self.0.pop();
    }

    /// The path with `[*]` for every list index, for tables about all items.
    pub fn pattern(&self) -> String {
        let mut out = String::new();
        for segment in &self.0 {
            match segment {
                Segment::Index(_) => out.push_str("[*]"),
                field @ Segment::Field(_) => write_segment(&mut out, field),
            }
        }
        out
    }
}

fn write_segment(out: &mut String, segment: &Segment) {
    match segment {
        Segment::Index(index) => {
            out.push('[');
            out.push_str(&index.to_string());
            out.push(']');
        }
        Segment::Field(name) if name.is_empty() || name.contains(['.', '/', '[', ']', ' ']) => {
            out.push('[');
            out.push_str(name);
            out.push(']');
        }
        Segment::Field(name) => {
            if !out.is_empty() {
                out.push('.');
            }
            out.push_str(name);
        }
    }
}

impl FromIterator<Segment> for FieldPath {
    fn from_iter<T: IntoIterator<Item = Segment>>(segments: T) -> Self {
        Self(Vec::from_iter(segments))
    }
}

/// A name in snake case as specs write it; other names stay as they are.
pub(crate) fn camel_case(name: &str) -> String {
    let mut is_first_of_word = false;
    let mut camel = String::with_capacity(name.len());
    for c in name.chars() {
        if c == '_' {
            is_first_of_word = true;
            continue;
        }
        camel.push(if is_first_of_word {
            c.to_ascii_uppercase()
        } else {
            c
        });
        is_first_of_word = false;
    }
    camel
}

/// Reads the form that [`fmt::Display`] writes. Anything reads as some path: this is for paths written in
/// code, where a misspelt one only points at a less exact line.
impl From<&str> for FieldPath {
    fn from(text: &str) -> Self {
        let mut path = Self::root();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('.') {
                rest = after;
                continue;
            }
            if let Some(after) = rest.strip_prefix('[') {
                let end = after.find(']').unwrap_or(after.len());
                let inner = &after[..end];
                path.0.push(match inner.parse() {
                    Ok(index) => Segment::Index(index),
                    Err(_) => Segment::Field(inner.to_owned()),
                });
                rest = after.get(end + 1..).unwrap_or("");
                continue;
            }
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            path.0.push(Segment::Field(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        path
    }
}

impl From<String> for FieldPath {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<&String> for FieldPath {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        for segment in &self.0 {
            write_segment(&mut out, segment);
        }
        f.write_str(&out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_back_as_written() {
        for text in [
            "spec",
            "spec.listeners[0].portMapping.port",
            "metadata.labels[app.kubernetes.io/name]",
            "items[3]",
            "",
        ] {
            assert_eq!(FieldPath::from(text).to_string(), text);
        }
    }

    #[test]
    fn an_unclosed_bracket_is_still_a_path() {
        assert_eq!(FieldPath::from("a[0").to_string(), "a[0]");
    }

    #[test]
    fn a_pattern_speaks_of_every_item() {
        let path = FieldPath::from("spec.routes[7].tcpRoute.match.prefix");
        assert_eq!(path.pattern(), "spec.routes[*].tcpRoute.match.prefix");
    }
}
