//! Compares an answer with its shape in the model: required members, types, enumerations, bounds, timestamps as
//! numbers, and no unknown members.

use serde_json::Value;
use tombolo_tests::model::Shape;

/// The deviations, each with its path.
pub(crate) fn misfits(shape: Shape<'_>, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    look(shape, value, "", &mut found);
    found
}

fn look(shape: Shape<'_>, value: &Value, at: &str, found: &mut Vec<String>) {
    let kind = shape.kind();
    let is_right = match kind {
        "structure" | "map" => value.is_object(),
        "list" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
        "long" => value.as_i64().is_some(),
        "timestamp" | "float" | "double" => value.is_number(),
        other => panic!("{at}: no value of type {other} is known"),
    };
    if !is_right {
        found.push(format!("{at}: {value} is no {kind}"));
        return;
    }
    let size = match value {
        Value::String(text) => {
            let words = shape.words();
            if !words.is_empty() && !words.contains(&text.as_str()) {
                found.push(format!("{at}: {text:?} is none of {words:?}"));
            }
            Some(text.chars().count())
        }
        Value::Array(elements) => {
            for (i, element) in elements.iter().enumerate() {
                look(shape.element(), element, &format!("{at}[{i}]"), found);
            }
            Some(elements.len())
        }
        Value::Object(entries) if kind == "map" => {
            for (key, value) in entries {
                let place = format!("{at}[{key:?}]");
                look(shape.key(), &Value::from(key.as_str()), &place, found);
                look(shape.value(), value, &place, found);
            }
            Some(entries.len())
        }
        Value::Object(_) => {
            look_into(shape, value, at, found);
            None
        }
        _ => None,
    };
    let size = size.map(|size| size as i64).or(value.as_i64());
    if let Some(size) = size
        && (shape.min().is_some_and(|min| size < min) || shape.max().is_some_and(|max| size > max))
    {
        let (min, max) = (shape.min(), shape.max());
        found.push(format!("{at}: {size} is not within {min:?} and {max:?}"));
    }
}

fn look_into(shape: Shape<'_>, value: &Value, at: &str, found: &mut Vec<String>) {
    let given = value.as_object().expect("seen before");
    for name in given.keys() {
        if shape.member(name).is_none() {
            found.push(format!("{at}.{name}: {} has no such member", shape.name));
        }
    }
    for member in shape.members() {
        let place = format!("{at}.{}", member.name);
        match given.get(member.name) {
            Some(value) => look(member.shape, value, &place, found),
            None if shape.requires(member.name) => found.push(format!("{place}: is missing")),
            None => {}
        }
    }
    if shape.is_union() && given.len() != 1 {
        found.push(format!("{at}: {} has {} members", shape.name, given.len()));
    }
}
