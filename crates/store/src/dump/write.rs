//! A state to text.

use super::FORMAT;
use crate::state::State;
use serde_json::{Map, Value, json};
use std::io;
use tombolo_model::{Record, Scope};

/// Writes a state, record by record.
pub fn write(state: &State, out: &mut impl io::Write) -> io::Result<()> {
    let head = json!({
        "format": FORMAT,
        "revision": state.revision,
        "records": state.records.len(),
    });
    out.write_all(text(&head).as_bytes())?;
    for (scope, record) in &state.records {
        out.write_all(b"---\n")?;
        out.write_all(text(&document(scope, record)).as_bytes())?;
    }
    Ok(())
}

/// A record as a document.
fn document(scope: &Scope, record: &Record) -> Value {
    let mut members = Map::new();
    members.insert("account".into(), scope.account.as_ref().into());
    members.insert("region".into(), scope.region.as_ref().into());
    let record = serde_json::to_value(record).expect("records have string keys");
    if let Value::Object(typed) = record {
        members.extend(typed);
    }
    Value::Object(members)
}

fn text(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(members) => map(members, 0, &mut text),
        other => inline(other, &mut text),
    }
    text
}

/// The members of a map, each on lines of its own.
fn map(members: &Map<String, Value>, depth: usize, out: &mut String) {
    for (nth, (key, value)) in members.iter().enumerate() {
        if nth > 0 || !out.ends_with("- ") {
            indent(depth, out);
        }
        string(key, out);
        out.push(':');
        below(value, depth, out);
    }
}

/// What stands behind a key: on its line, or below it.
fn below(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            out.push('\n');
            map(members, depth + 1, out);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            for item in items {
                indent(depth, out);
                out.push_str("- ");
                match item {
                    Value::Object(members) if !members.is_empty() => map(members, depth + 1, out),
                    other => {
                        inline(other, out);
                        out.push('\n');
                    }
                }
            }
        }
        other => {
            out.push(' ');
            inline(other, out);
            out.push('\n');
        }
    }
}

fn indent(depth: usize, out: &mut String) {
    out.extend(std::iter::repeat_n("  ", depth));
}

/// A value on one line. Lists in lists, which no record has, are written as JSON, which is YAML, too.
fn inline(value: &Value, out: &mut String) {
    match value {
        Value::String(text) => string(text, out),
        other => out.push_str(&other.to_string()),
    }
}

/// A text: bare where nobody can take it for anything else, otherwise in quotes with escapes. This is
/// stricter than YAML asks for, so that no reader's rules about bare words matter.
fn string(text: &str, out: &mut String) {
    const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let is_bare = text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if is_bare {
        return out.push_str(text);
    }
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            // What has no shape of its own, or ends lines for some readers.
            _ if character.is_control() || INVISIBLE.contains(&character) => {
                out.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

/// Line separators, byte order marks, and what is no character.
const INVISIBLE: [char; 5] = ['\u{2028}', '\u{2029}', '\u{feff}', '\u{fffe}', '\u{ffff}'];
