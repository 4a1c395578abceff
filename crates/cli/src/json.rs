//! Reading documents by JSON pointers (RFC 6901).

use serde_json::Value;

/// The text or number at a pointer; empty where there is none.
pub(crate) fn text(document: &Value, pointer: &str) -> String {
    document.pointer(pointer).map(word).unwrap_or_default()
}

/// The text at a pointer, or another where there is none.
pub(crate) fn text_or(document: &Value, pointer: &str, otherwise: &str) -> String {
    match text(document, pointer) {
        text if text.is_empty() => otherwise.to_owned(),
        text => text,
    }
}

/// A value in one word: a text without its quotes, nothing for null.
pub(crate) fn word(value: &Value) -> String {
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

/// Of each item of the list at a pointer, the text at a second pointer; with commas.
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
        .map(|(key, value)| format!("{key}={}", word(value)))
        .collect::<Vec<_>>()
        .join(",")
}
