//! Writes values as YAML.

use serde_json::{Map, Value};

/// A value as a YAML document without its leading `---`; ends with a line feed. Any reader, of YAML 1.1 or 1.2, reads
/// the same value from it.
#[must_use]
pub fn write(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(members) if !members.is_empty() => map(members, 0, &mut text),
        Value::Array(items) if !items.is_empty() => list(items, 0, &mut text),
        other => {
            inline(other, &mut text);
            text.push('\n');
        }
    }
    text
}

/// Writes the members of a map, each on its own lines.
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

/// Writes the value of a key: on its line, or below it.
fn below(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            out.push('\n');
            map(members, depth + 1, out);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            list(items, depth, out);
        }
        other => {
            out.push(' ');
            inline(other, out);
            out.push('\n');
        }
    }
}

/// Writes the items of a list, each on its own lines.
fn list(items: &[Value], depth: usize, out: &mut String) {
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

fn indent(depth: usize, out: &mut String) {
    out.extend(std::iter::repeat_n("  ", depth));
}

/// A value on one line. A list directly in a list is written as JSON, which is YAML too.
fn inline(value: &Value, out: &mut String) {
    match value {
        Value::String(text) => string(text, out),
        other => out.push_str(&other.to_string()),
    }
}

/// A text: plain if it is unambiguous, otherwise in quotes with escapes. This is stricter than YAML requires,
/// so that every reader agrees.
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
            // Invisible characters, and those that end lines for some readers.
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
