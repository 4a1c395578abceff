//! Reads an export.

use super::{FORMAT, Problem, check};
use crate::full_state::FullState;
use serde::Deserialize;
use serde_json::Value;
use tombolo_document::{Document, Limits, decode_known, yaml};
use tombolo_model::{FieldPath, Record, Scope};

/// The limits of each document. Records are shallow and small, and an export has no anchors.
const LIMITS: Limits = Limits {
    bytes: 64 << 20,
    documents: 1,
    nodes: 1_000_000,
    depth: 64,
    aliases: false,
};

/// The greatest number of problems that are reported.
const MAX_PROBLEMS: usize = 20;

/// Reads an export that [`write`](super::write()) wrote, and checks it: the number of records, their fields, and the
/// invariants of the state, such as unique records and existing references.
///
/// # Errors
/// The first problems, at most 20.
pub fn read(text: &str) -> Result<FullState, Vec<Problem>> {
    if let Some(problem) = unprintable(text) {
        return Err(vec![problem]);
    }
    let mut documents = documents(text);
    let head = match documents.next() {
        Some((line, text)) => head(line, text).map_err(|problem| vec![problem])?,
        None => return Err(vec![Problem::new(1, "there is nothing in it")]),
    };
    let mut state = FullState {
        revision: head.revision,
        records: Vec::new(),
    };
    let mut lines = Vec::new();
    let mut problems = Vec::new();
    for (line, text) in documents {
        match document(line, text).and_then(|document| record(line, &document)) {
            Ok(record) => {
                state.records.push(record);
                lines.push(line);
            }
            Err(problem) => problems.push(problem),
        }
        if problems.len() >= MAX_PROBLEMS {
            return Err(problems);
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    if state.records.len() != head.records {
        let (found, said) = (state.records.len(), head.records);
        let last = text.lines().count().max(1);
        return Err(vec![Problem::new(
            last,
            format!("{found} records, but the first document says {said}: is the text cut off?"),
        )]);
    }
    let problems: Vec<Problem> = check::check(&state)
        .take(MAX_PROBLEMS)
        .map(|(nth, message)| Problem::new(lines[nth], message))
        .collect();
    if problems.is_empty() {
        Ok(state)
    } else {
        Err(problems)
    }
}

/// The error of the first control character, which YAML does not allow unescaped. It is reported before YAML is parsed.
fn unprintable(text: &str) -> Option<Problem> {
    let is_wrong = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    let at = text.find(is_wrong)?;
    let line = text[..at].matches('\n').count() + 1;
    Some(Problem::new(
        line,
        "there is a control character; is this text?",
    ))
}

/// The documents of a text, each with its first line, counted from 1.
fn documents(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = Some(text);
    let mut line = 1;
    std::iter::from_fn(move || {
        loop {
            let text = rest.take()?;
            let mut end = 0;
            for whole in text.split_inclusive('\n') {
                if whole.trim_end() == "---" {
                    rest = Some(&text[end + whole.len()..]);
                    break;
                }
                end += whole.len();
            }
            let document = &text[..end];
            let first = line;
            line += document.lines().count() + 1;
            // Empty text before a leading `---` is no document.
            if !document.trim().is_empty() || rest.is_none() && first > 1 {
                return Some((first, document));
            }
        }
    })
}

/// Parses a document that begins on line `first`; lines in the result are relative, counted from 1.
fn document(first: usize, text: &str) -> Result<Document, Problem> {
    let (documents, error) = yaml::read(text, &LIMITS);
    if let Some(error) = error {
        // An error at the end of the text is reported on the last line.
        let last = text.lines().count().max(1);
        return Err(Problem::new(
            first + error.line.min(last) - 1,
            error.message,
        ));
    }
    let document = documents.into_iter().next();
    document.ok_or_else(|| Problem::new(first, "this document is empty"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    format: String,
    revision: u64,
    records: usize,
}

fn head(line: usize, text: &str) -> Result<Head, Problem> {
    let document = document(line, text)?;
    let not_an_export = |why: String| {
        Problem::new(
            line,
            format!("this is no export, which begins with `format: {FORMAT}`: {why}"),
        )
    };
    let head: Head =
        decode_known(&document.value).map_err(|error| not_an_export(error.to_string()))?;
    if head.format != FORMAT {
        return Err(not_an_export(format!("its format is {}", head.format)));
    }
    Ok(head)
}

fn record(first: usize, document: &Document) -> Result<(Scope, Record), Problem> {
    let at = |path: &FieldPath| first + document.lines.of(path) - 1;
    let Value::Object(mut members) = document.value.clone() else {
        return Err(Problem::new(at(&FieldPath::root()), "a record is a map"));
    };
    let mut text = |name: &str| match members.shift_remove(name) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(Problem::new(
            at(&FieldPath::from(name)),
            format!("{name} must be a text in quotes"),
        )),
        None => Err(Problem::new(
            at(&FieldPath::root()),
            format!("{name} is missing"),
        )),
    };
    let (account, region) = (text("account")?, text("region")?);
    let scope = Scope::parse(&account, &region)
        .map_err(|error| Problem::new(at(&FieldPath::from("account")), error.to_string()))?;
    let value = Value::Object(members);
    let record: Record =
        decode_known(&value).map_err(|error| Problem::new(at(&error.field), error.to_string()))?;
    if let Some(path) = lost(&value, &record.to_value()) {
        return Err(Problem::new(
            at(&path),
            format!("{path} is not known here and would be lost"),
        ));
    }
    Ok((scope, record))
}

/// The path of the first value that decoding dropped or changed: unknown fields, and values that decode to others.
fn lost(given: &Value, kept: &Value) -> Option<FieldPath> {
    let below = |step: FieldPath, given: &Value, kept: Option<&Value>| match kept {
        Some(kept) => Some(step.join(&lost(given, kept)?)),
        // Absent and null mean the same.
        None => (!given.is_null()).then_some(step),
    };
    let root = FieldPath::root;
    match (given, kept) {
        (Value::Object(given), Value::Object(kept)) => given
            .iter()
            .find_map(|(key, value)| below(root().field(key), value, kept.get(key))),
        (Value::Array(given), Value::Array(kept)) => given
            .iter()
            .enumerate()
            .find_map(|(nth, value)| below(root().index(nth), value, kept.get(nth))),
        _ => (given != kept).then(root),
    }
}
