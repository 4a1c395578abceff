//! A path through a JSON value.

use super::{TemplateError, closing};
use serde_json::Value;
use std::str::FromStr;

/// A path: its root, and its steps.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Path {
    from_root: bool,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// Members with these names.
    Members(Vec<String>),
    /// An element; negative indexes count from the end.
    Index(i64),
    /// Elements from the first index up to, excluding, the second; negative indexes count from the end.
    Slice(Option<i64>, Option<i64>),
    /// All members or elements.
    All,
    /// Members with this name at any depth.
    Deep(String),
    /// Elements that satisfy a condition.
    Filter(Path, Condition),
}

#[derive(Clone, Debug, PartialEq)]
enum Condition {
    Exists,
    Equal(Value),
    Unequal(Value),
}

impl Path {
    /// All values that the path matches.
    pub(super) fn of<'a>(&self, root: &'a Value, here: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![if self.from_root { root } else { here }];
        for step in &self.steps {
            let mut next = Vec::new();
            for value in found {
                step.of(root, value, &mut next);
            }
            found = next;
        }
        found
    }
}

impl Step {
    fn of<'a>(&self, root: &'a Value, value: &'a Value, found: &mut Vec<&'a Value>) {
        match (self, value) {
            (Self::Members(names), Value::Object(map)) => {
                found.extend(names.iter().filter_map(|name| map.get(name)));
            }
            (Self::Index(index), Value::Array(items)) => {
                let position = usize::try_from(position(*index, items.len())).ok();
                found.extend(position.and_then(|position| items.get(position)));
            }
            (Self::Slice(first, end), Value::Array(items)) => {
                let bound = |index: Option<i64>, otherwise: usize| {
                    let position = index.map(|index| position(index, items.len()).max(0));
                    let position = position.and_then(|position| position.try_into().ok());
                    position.unwrap_or(otherwise)
                };
                let (first, end) = (bound(*first, 0), bound(*end, items.len()));
                found.extend(items.iter().take(end).skip(first));
            }
            (Self::All, Value::Array(items)) => found.extend(items),
            (Self::All, Value::Object(map)) => found.extend(map.values()),
            (Self::Deep(name), _) => deep(name, value, found),
            (Self::Filter(path, condition), Value::Array(items)) => {
                found.extend(items.iter().filter(|item| {
                    let values = path.of(root, item);
                    match condition {
                        Condition::Exists => !values.is_empty(),
                        Condition::Equal(wanted) => values.contains(&wanted),
                        Condition::Unequal(wanted) => values.iter().any(|value| value != &wanted),
                    }
                }));
            }
            _ => {}
        }
    }
}

/// Converts an index to one from the start of a list.
fn position(index: i64, length: usize) -> i64 {
    match index {
        0.. => index,
        _ => i64::try_from(length)
            .unwrap_or(i64::MAX)
            .saturating_add(index),
    }
}

fn deep<'a>(name: &str, value: &'a Value, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get(name));
            map.values().for_each(|value| deep(name, value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| deep(name, value, found)),
        _ => {}
    }
}

impl FromStr for Path {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let from_root = text.starts_with('$');
        let mut rest = text.strip_prefix(['$', '@']).unwrap_or(text);
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(inside) = rest.strip_prefix('[') {
                let end =
                    closing(inside, '[', ']').ok_or_else(|| format!("a [ has no ] in {text}"))?;
                steps.push(indexed(inside[..end].trim())?);
                rest = &inside[end + 1..];
                continue;
            }
            let is_deep = rest.starts_with("..");
            let (name, after) = name(rest.trim_start_matches('.'));
            rest = after;
            match (name.as_str(), is_deep) {
                ("", true) => return Err(format!(".. needs a name after it in {text}").into()),
                ("", false) => {}
                ("*", false) => steps.push(Step::All),
                (_, true) => steps.push(Step::Deep(name)),
                (_, false) => steps.push(Step::Members(vec![name])),
            }
        }
        Ok(Self { from_root, steps })
    }
}

/// A name up to the next `.` or `[`; a backslash escapes the next character.
fn name(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut letters = text.char_indices();
    while let Some((position, letter)) = letters.next() {
        match letter {
            '.' | '[' => return (name, &text[position..]),
            '\\' => name.extend(letters.next().map(|(_, escaped)| escaped)),
            letter => name.push(letter),
        }
    }
    (name, "")
}

/// The step in brackets.
fn indexed(text: &str) -> Result<Step, TemplateError> {
    let number = |text: &str| {
        text.trim().parse::<i64>().map_err(|_| {
            format!("[{text}] is no index: use a number, *, FIRST:END, 'name' or ?(@.field==value)")
        })
    };
    if text == "*" {
        return Ok(Step::All);
    }
    if let Some(filter) = text
        .strip_prefix("?(")
        .and_then(|rest| rest.strip_suffix(')'))
    {
        return filtered(filter.trim());
    }
    if text.starts_with(['"', '\'']) {
        let names = text.split(',').map(|name| unquoted(name.trim()));
        return Ok(Step::Members(names.collect::<Result<_, _>>()?));
    }
    if let Some((first, end)) = text.split_once(':') {
        let bound = |text: &str| match text.trim() {
            "" => Ok(None),
            text => number(text).map(Some),
        };
        return Ok(Step::Slice(bound(first)?, bound(end)?));
    }
    Ok(Step::Index(number(text)?))
}

fn filtered(text: &str) -> Result<Step, TemplateError> {
    let (path, condition) = if let Some((path, value)) = text.split_once("==") {
        (path, Condition::Equal(literal(value.trim())?))
    } else if let Some((path, value)) = text.split_once("!=") {
        (path, Condition::Unequal(literal(value.trim())?))
    } else if text.contains(['<', '>', '=', '~', '!', '&', '|', ' ']) {
        return Err(format!(
            "the filter {text} is not understood: use @.field, @.field==value or @.field!=value"
        )
        .into());
    } else {
        (text, Condition::Exists)
    };
    Ok(Step::Filter(path.trim().parse()?, condition))
}

fn literal(text: &str) -> Result<Value, TemplateError> {
    if text.starts_with(['"', '\'']) {
        return unquoted(text).map(Value::String);
    }
    serde_json::from_str(text)
        .map_err(|_| format!("{text} in a filter is no value; put texts in quotes").into())
}

/// A text without its quotes and escapes.
pub(super) fn unquoted(text: &str) -> Result<String, TemplateError> {
    let quote = text.chars().next().unwrap_or('"');
    let inside = text
        .strip_prefix(quote)
        .and_then(|rest| rest.strip_suffix(quote))
        .ok_or_else(|| format!("{text} lacks a quote at its end"))?;
    let mut plain = String::new();
    let mut letters = inside.chars();
    while let Some(letter) = letters.next() {
        plain.push(match letter {
            '\\' => match letters.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('r') => '\r',
                Some(other) => other,
                None => '\\',
            },
            letter => letter,
        });
    }
    Ok(plain)
}
