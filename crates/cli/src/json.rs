//! Access to documents by JSON pointers (RFC 6901).

use serde_json::Value;

/// The text or number at a pointer; empty when there is none.
pub(crate) fn text(document: &Value, pointer: &str) -> String {
    document.pointer(pointer).map(scalar).unwrap_or_default()
}

/// The text at a pointer, or `otherwise`.
pub(crate) fn text_or(document: &Value, pointer: &str, otherwise: &str) -> String {
    match text(document, pointer) {
        text if text.is_empty() => otherwise.to_owned(),
        text => text,
    }
}

/// A scalar as text: a string without its quotes, empty for null.
pub(crate) fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// The items of the list at a pointer.
pub(crate) fn items<'a>(document: &'a Value, pointer: &str) -> &'a [Value] {
    let list = document.pointer(pointer).and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default()
}

/// The texts at a pointer in each item of a list, comma-separated.
pub(crate) fn each(document: &Value, list: &str, pointer: &str) -> String {
    let items = items(document, list).iter();
    items
        .map(|item| text(item, pointer))
        .collect::<Vec<_>>()
        .join(",")
}

/// The members of the map at a pointer: `app=front,version=v1`.
pub(crate) fn pairs(document: &Value, pointer: &str) -> String {
    let members = document.pointer(pointer).and_then(Value::as_object);
    let pairs = members.into_iter().flatten();
    pairs
        .map(|(key, value)| format!("{key}={}", scalar(value)))
        .collect::<Vec<_>>()
        .join(",")
}
