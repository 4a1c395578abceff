//! One YAML document to a tree that remembers its lines. Anchors, aliases and tags, which no export has,
//! are refused: so a text cannot ask for more memory than its own size.

use super::Problem;
use saphyr::Scalar;
use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Number, Value};

/// Levels of lists and maps; records have fewer than twenty.
const DEPTH: usize = 64;

/// A value and the lines of what is in it.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    lines: Lines,
}

#[derive(Debug)]
struct Lines {
    line: usize,
    /// In the order of the members or items.
    inside: Vec<Lines>,
}

impl Node {
    /// The line of what a path of member names and item numbers leads to, or of its nearest parent.
    pub(super) fn line(&self, path: &[String]) -> usize {
        let (mut value, mut lines) = (&self.value, &self.lines);
        for step in path {
            let nth = match value {
                Value::Object(members) => members.keys().position(|key| key == step),
                Value::Array(_) => step.parse().ok(),
                _ => None,
            };
            let next = nth.and_then(|nth| {
                let value = match value {
                    Value::Object(members) => members.values().nth(nth),
                    Value::Array(items) => items.get(nth),
                    _ => None,
                };
                Some((value?, lines.inside.get(nth)?))
            });
            match next {
                Some(next) => (value, lines) = next,
                None => break,
            }
        }
        lines.line
    }
}

/// A list or map that has begun.
struct Open {
    line: usize,
    is_map: bool,
    key: Option<(String, usize)>,
    items: Vec<Value>,
    members: Map<String, Value>,
    inside: Vec<Lines>,
}

/// Reads a text that holds one document and begins on a line.
pub(super) fn read(text: &str, first: usize) -> Result<Node, Problem> {
    // What is missing at the end is missing on the last line.
    let last = first + text.lines().count().max(1) - 1;
    let mut open: Vec<Open> = Vec::new();
    let mut done = None;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let line = (first + error.marker().line().max(1) - 1).min(last);
            Problem::new(line, format!("not YAML: {}", error.info()))
        })?;
        let line = first + span.start.line().max(1) - 1;
        let complete = match event {
            Event::MappingStart(0, None) | Event::SequenceStart(0, None) => {
                if open.len() >= DEPTH {
                    return Err(Problem::new(
                        line,
                        format!("nested deeper than {DEPTH} levels"),
                    ));
                }
                open.push(Open {
                    line,
                    is_map: matches!(event, Event::MappingStart(..)),
                    key: None,
                    items: Vec::new(),
                    members: Map::new(),
                    inside: Vec::new(),
                });
                continue;
            }
            Event::MappingEnd | Event::SequenceEnd => match open.pop() {
                Some(open) => open.close(),
                None => continue,
            },
            Event::Scalar(text, style, 0, None) => {
                if let Some(Open {
                    is_map: true,
                    key: key @ None,
                    ..
                }) = open.last_mut()
                {
                    *key = Some((text.into_owned(), line));
                    continue;
                }
                let lines = Lines {
                    line,
                    inside: Vec::new(),
                };
                let value = scalar(&text, style, line)?;
                Node { value, lines }
            }
            Event::Alias(_)
            | Event::Scalar(..)
            | Event::MappingStart(..)
            | Event::SequenceStart(..) => {
                return Err(Problem::new(
                    line,
                    "anchors, aliases and tags do not belong into an export",
                ));
            }
            _ => continue,
        };
        match open.last_mut() {
            Some(parent) => parent.take(complete)?,
            None => done = Some(complete),
        }
    }
    done.ok_or_else(|| Problem::new(first, "this document is empty"))
}

impl Open {
    fn take(&mut self, mut node: Node) -> Result<(), Problem> {
        if !self.is_map {
            self.items.push(node.value);
            self.inside.push(node.lines);
            return Ok(());
        }
        let Some((key, line)) = self.key.take() else {
            return Err(Problem::new(node.lines.line, "a key must be text"));
        };
        if self.members.contains_key(&key) {
            return Err(Problem::new(line, format!("{key} is given twice")));
        }
        // The key's line: a value may begin further down.
        node.lines.line = line;
        self.members.insert(key, node.value);
        self.inside.push(node.lines);
        Ok(())
    }

    fn close(self) -> Node {
        Node {
            value: if self.is_map {
                Value::Object(self.members)
            } else {
                Value::Array(self.items)
            },
            lines: Lines {
                line: self.line,
                inside: self.inside,
            },
        }
    }
}

fn scalar(text: &str, style: ScalarStyle, line: usize) -> Result<Value, Problem> {
    let unclear = || Problem::new(line, format!("{text:?} is unclear; put it in quotes"));
    match Scalar::parse_from_cow_and_metadata(text.into(), style, None) {
        Some(Scalar::Null) => Ok(Value::Null),
        Some(Scalar::Boolean(value)) => Ok(Value::Bool(value)),
        Some(Scalar::Integer(value)) => Ok(value.into()),
        Some(Scalar::FloatingPoint(value)) => {
            let number = Number::from_f64(value.into_inner()).ok_or_else(unclear)?;
            Ok(Value::Number(number))
        }
        Some(Scalar::String(value)) => Ok(Value::String(value.into_owned())),
        None => Err(unclear()),
    }
}
