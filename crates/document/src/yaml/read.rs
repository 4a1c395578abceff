//! Reads YAML to values with the lines of their fields.
//!
//! The parser's events are processed here rather than by a ready-made loader, because a loader
//! copies an anchored node for every alias without a limit: a few lines of text can expand to gigabytes. Here
//! every node is counted, copies included.

use crate::document::{Document, Inside, Limits, Lines, SyntaxError};
use saphyr::{Scalar, ScanError};
use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::{Map, Number, Value};
use std::collections::HashMap;

impl From<ScanError> for SyntaxError {
    fn from(error: ScanError) -> Self {
        Self {
            line: error.marker().line().max(1),
            message: format!("not YAML: {}", error.info()),
        }
    }
}

/// Reads all documents of `text`. After an error, the documents before it are still returned.
pub fn read(text: &str, limits: &Limits) -> (Vec<Document>, Option<SyntaxError>) {
    if text.len() > limits.bytes {
        let message = format!(
            "has {} bytes; at most {} are read",
            text.len(),
            limits.bytes
        );
        return (Vec::new(), Some(SyntaxError { line: 1, message }));
    }
    let mut reader = Reader {
        limits,
        nodes: 0,
        anchors: HashMap::new(),
        open: Vec::new(),
        done: Vec::new(),
    };
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let outcome = match event {
            Ok((Event::StreamEnd, _)) => break,
            Ok((event, span)) => reader.take(event, span),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = outcome {
            return (reader.done, Some(error));
        }
    }
    (reader.done, None)
}

struct Reader<'a> {
    limits: &'a Limits,
    nodes: usize,
    /// Anchored nodes of the current document.
    anchors: HashMap<usize, Node>,
    /// Open collections, outermost first.
    open: Vec<Open>,
    done: Vec<Document>,
}

/// A complete node.
#[derive(Clone)]
struct Node {
    document: Document,
    /// The number of values in the node, including itself.
    size: usize,
    /// The nesting of collections.
    height: usize,
}

/// A collection being read.
struct Open {
    anchor: usize,
    line: usize,
    size: usize,
    height: usize,
    kind: Collection,
}

/// A key whose value is not read yet.
struct Key {
    name: String,
    line: usize,
    /// Whether this is the merge key: `<<`, not in quotes.
    is_merge: bool,
}

enum Collection {
    List {
        values: Vec<Value>,
        lines: Vec<Lines>,
    },
    Map {
        values: Map<String, Value>,
        lines: HashMap<String, Lines>,
        key: Option<Key>,
        merged: Vec<Document>,
    },
}

impl Reader<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), SyntaxError> {
        let line = span.start.line().max(1);
        if !self.limits.aliases && uses_anchor(&event) {
            return syntax_error(
                line,
                "anchors and aliases are not allowed here: write the value itself",
            );
        }
        match event {
            Event::DocumentStart(_) => {
                self.anchors.clear();
                let limit = self.limits.documents;
                if self.done.len() >= limit {
                    let message = format!("more than {limit} documents in one file; split it");
                    return syntax_error(line, message);
                }
                Ok(())
            }
            Event::MappingStart(anchor, _) => self.begin(
                anchor,
                line,
                Collection::Map {
                    values: Map::new(),
                    lines: HashMap::new(),
                    key: None,
                    merged: Vec::new(),
                },
            ),
            Event::SequenceStart(anchor, _) => self.begin(
                anchor,
                line,
                Collection::List {
                    values: Vec::new(),
                    lines: Vec::new(),
                },
            ),
            Event::MappingEnd | Event::SequenceEnd => match self.open.pop() {
                Some(open) => {
                    let anchor = open.anchor;
                    self.node(open.close(), anchor)
                }
                None => syntax_error(line, "a collection ends that never began"),
            },
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(&text, style, tag.as_deref(), line)?;
                if let Some(Open {
                    kind:
                        Collection::Map {
                            key: key @ None, ..
                        },
                    ..
                }) = self.open.last_mut()
                {
                    // A key is always text: `8080:` and `true:` are names in Kubernetes.
                    *key = Some(Key {
                        is_merge: text == "<<" && style == ScalarStyle::Plain,
                        name: text.into_owned(),
                        line,
                    });
                    return Ok(());
                }
                let lines = Lines {
                    line,
                    inside: Inside::Leaf,
                };
                self.count(1, line)?;
                let node = Node {
                    document: Document { value, lines },
                    size: 1,
                    height: 0,
                };
                self.node(node, anchor)
            }
            Event::Alias(anchor) => {
                let Some(anchored) = self.anchors.get(&anchor) else {
                    return syntax_error(line, "this alias stands inside the node that it names");
                };
                let (size, height) = (anchored.size, anchored.height);
                self.count(size, line)?;
                self.depth(height, line)?;
                // The nodes were counted above, so the copy is bounded.
                self.node(self.anchors[&anchor].clone(), 0)
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, anchor: usize, line: usize, kind: Collection) -> Result<(), SyntaxError> {
        if let Some(Open {
            kind: Collection::Map { key: None, .. },
            ..
        }) = self.open.last()
        {
            return syntax_error(line, "a key must be text, not a list or a map");
        }
        self.count(1, line)?;
        self.depth(1, line)?;
        self.open.push(Open {
            anchor,
            line,
            size: 1,
            height: 1,
            kind,
        });
        Ok(())
    }

    fn count(&mut self, nodes: usize, line: usize) -> Result<(), SyntaxError> {
        self.nodes = self.nodes.saturating_add(nodes);
        let limit = self.limits.nodes;
        if self.nodes > limit {
            let message = format!("more than {limit} values, aliases included; split the file");
            return syntax_error(line, message);
        }
        Ok(())
    }

    fn depth(&self, height: usize, line: usize) -> Result<(), SyntaxError> {
        let limit = self.limits.depth;
        if self.open.len() + height > limit {
            return syntax_error(line, format!("nested deeper than {limit} levels"));
        }
        Ok(())
    }

    /// Adds a complete node to the innermost open collection, or as a document.
    fn node(&mut self, node: Node, anchor: usize) -> Result<(), SyntaxError> {
        if anchor != 0 {
            self.count(node.size, node.document.lines.line)?;
            self.anchors.insert(anchor, node.clone());
        }
        let Node {
            document,
            size,
            height,
        } = node;
        let Some(open) = self.open.last_mut() else {
            self.done.push(document);
            return Ok(());
        };
        open.size += size;
        open.height = open.height.max(height + 1);
        match &mut open.kind {
            Collection::List { values, lines } => {
                values.push(document.value);
                lines.push(document.lines);
            }
            Collection::Map {
                values,
                lines,
                key,
                merged,
            } => {
                let Some(Key {
                    name,
                    line,
                    is_merge,
                }) = key.take()
                else {
                    return syntax_error(
                        document.lines.line,
                        "a key must be plain text, not an alias",
                    );
                };
                if is_merge {
                    merged.push(document);
                    return Ok(());
                }
                if values.contains_key(&name) {
                    let first = lines.get(&name).map_or(0, |lines| lines.line);
                    return syntax_error(
                        line,
                        format!("key {name:?} is given twice; the first is on line {first}"),
                    );
                }
                // The line of the key, because a value may begin on a later line.
                let mut inside = document.lines;
                inside.line = line;
                values.insert(name.clone(), document.value);
                lines.insert(name, inside);
            }
        }
        Ok(())
    }
}

impl Open {
    fn close(self) -> Node {
        let (value, inside) = match self.kind {
            Collection::List { values, lines } => (Value::Array(values), Inside::List(lines)),
            Collection::Map {
                mut values,
                mut lines,
                merged,
                ..
            } => {
                for source in merged {
                    merge(&mut values, &mut lines, source);
                }
                (Value::Object(values), Inside::Map(lines))
            }
        };
        let line = self.line;
        Node {
            document: Document {
                value,
                lines: Lines { line, inside },
            },
            size: self.size,
            height: self.height,
        }
    }
}

/// Applies the merge key `<<`: adds members of the source that the map does not have. A list merges each of its maps.
fn merge(values: &mut Map<String, Value>, lines: &mut HashMap<String, Lines>, source: Document) {
    match (source.value, source.lines.inside) {
        (Value::Object(members), Inside::Map(mut member_lines)) => {
            for (name, value) in members {
                if values.contains_key(&name) {
                    continue;
                }
                lines.insert(name.clone(), member_lines.remove(&name).unwrap_or_default());
                values.insert(name, value);
            }
        }
        (Value::Array(items), Inside::List(item_lines)) => {
            for (value, lines_of_item) in items.into_iter().zip(item_lines) {
                let item = Document {
                    value,
                    lines: lines_of_item,
                };
                if item.value.is_object() {
                    merge(values, lines, item);
                }
            }
        }
        _ => {}
    }
}

fn uses_anchor(event: &Event<'_>) -> bool {
    match event {
        Event::Alias(_) => true,
        Event::Scalar(_, _, anchor, _)
        | Event::MappingStart(anchor, _)
        | Event::SequenceStart(anchor, _) => *anchor != 0,
        _ => false,
    }
}

fn syntax_error<T>(line: usize, message: impl Into<String>) -> Result<T, SyntaxError> {
    Err(SyntaxError {
        line,
        message: message.into(),
    })
}

fn scalar(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    line: usize,
) -> Result<Value, SyntaxError> {
    // In YAML 1.1, which Kubernetes reads, a leading zero means an octal number, as in file modes.
    if style == ScalarStyle::Plain && tag.is_none() && text.len() > 1 && text.starts_with('0') {
        let octal = text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        if octal && let Ok(number) = i64::from_str_radix(text, 8) {
            return Ok(number.into());
        }
    }
    let tag = tag.cloned().map(std::borrow::Cow::Owned);
    match Scalar::parse_from_cow_and_metadata(text.into(), style, tag.as_ref()) {
        Some(Scalar::Null) => Ok(Value::Null),
        Some(Scalar::Boolean(value)) => Ok(Value::Bool(value)),
        Some(Scalar::Integer(value)) => Ok(value.into()),
        Some(Scalar::FloatingPoint(value)) => match Number::from_f64(value.into_inner()) {
            Some(number) => Ok(Value::Number(number)),
            None => syntax_error(
                line,
                format!("{text} is not a number that Kubernetes knows; put text in quotes"),
            ),
        },
        Some(Scalar::String(value)) => Ok(Value::String(value.into_owned())),
        None => syntax_error(line, format!("{text:?} does not fit its tag")),
    }
}
