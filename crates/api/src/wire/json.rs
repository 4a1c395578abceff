//! Parses the inputs of operations from JSON: unknown members are ignored, errors name the path.
//!
//! A body is parsed once, and policies, handlers and the log use the result, so that they cannot disagree about the
//! same bytes.

use crate::error::ApiError;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use tombolo_document::decode_known;
use tombolo_model::FieldPath;

/// A JSON object.
pub(crate) type Object = Map<String, Value>;

/// Parses a body that is one JSON object; an empty body is an empty object.
pub(crate) fn object(body: &[u8]) -> Result<Object, ApiError> {
    if body.iter().all(|byte| b" \t\r\n".contains(byte)) {
        return Ok(Object::new());
    }
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| ApiError::serialization(format!("the body is not JSON: {error}")))?;
    of_value(value)
}

/// The object of a parsed body.
pub(crate) fn of_value(value: Value) -> Result<Object, ApiError> {
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(ApiError::serialization("the body is not an object")),
    }
}

/// Parses an operation's input. `bounds` is the error code of input that has the right JSON types but is not valid, for
/// example a missing member or an unknown enum value.
pub(crate) fn input<T: DeserializeOwned>(
    object: Object,
    bounds: &'static str,
) -> Result<T, ApiError> {
    read("", Value::Object(object), bounds)
}

/// Parses a part of an input, which is an object at `path`.
pub(crate) fn part<T: DeserializeOwned>(
    path: &str,
    part: Value,
    bounds: &'static str,
) -> Result<T, ApiError> {
    if !part.is_object() {
        return Err(ApiError::serialization(format!(
            "{path}: is not a JSON object"
        )));
    }
    read(path, part, bounds)
}

fn read<T: DeserializeOwned>(
    path: &str,
    value: Value,
    bounds: &'static str,
) -> Result<T, ApiError> {
    decode_known(&value).map_err(|error| {
        let path = FieldPath::from(path).join(&error.field);
        let message = if path.is_root() {
            error.message
        } else {
            format!("{path}: {}", error.message)
        };
        if error.is_wrong_type {
            ApiError::serialization(message)
        } else {
            ApiError::bad_request(bounds, message)
        }
    })
}

/// The JSON of an operation's output.
pub(crate) fn write(output: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(output).expect("outputs have string keys only")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(Debug, serde::Deserialize)]
    struct Input {
        #[allow(dead_code)]
        name: String,
        #[serde(default)]
        inner: Option<Inner>,
    }

    #[derive(Debug, serde::Deserialize)]
    struct Inner {
        kind: Kind,
        ttl: u32,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    enum Kind {
        A,
    }

    fn read(body: &[u8]) -> Result<Input, ApiError> {
        input(object(body)?, "Bounds")
    }

    fn code(body: &str) -> (&'static str, String) {
        let error = read(body.as_bytes()).expect_err(body);
        (error.code, error.message)
    }

    #[test]
    fn unknown_members_are_ignored() {
        let input = read(br#"{"name":"x","new":1,"inner":{"kind":"A","ttl":1,"x":[]}}"#);
        let inner = input.expect("legal").inner.expect("given");
        assert_eq!((inner.kind, inner.ttl), (Kind::A, 1));
    }

    /// Input that only some parsers accept is refused by all operations, also in ignored members.
    #[test]
    fn what_is_ignored_must_be_json_too() {
        for body in [
            &b"{\"name\":\"x\",\"new\":\"\xff\"}"[..],
            b"{\"name\":\"x\",\"\xff\":1}",
            b"\x0c{\"name\":\"x\"}",
            b"\xef\xbb\xbf{\"name\":\"x\"}",
            br#"{"name":"x","new":1e999}"#,
            br#"{"name":"x","new":"\ud800"}"#,
        ] {
            let error = read(body).expect_err("not JSON");
            assert_eq!(error.code, "SerializationException");
        }
    }

    #[test]
    fn broken_bounds_are_told_apart_from_wrong_types() {
        for (body, expected) in [
            ("", "Bounds"),
            (" \r\n", "Bounds"),
            ("{}", "Bounds"),
            (r#"{"name":null}"#, "Bounds"),
            (r#"{"name":"x","inner":{"kind":"B","ttl":1}}"#, "Bounds"),
            (r#"{"name":"x","inner":{"kind":"A","ttl":-1}}"#, "Bounds"),
            (r#"{"name":"x","inner":{"kind":null,"ttl":1}}"#, "Bounds"),
            (
                r#"{"name":"x","inner":{"kind":1,"ttl":1}}"#,
                "SerializationException",
            ),
            (r#"{"name":1}"#, "SerializationException"),
            (r#"{"name":"x","inner":[]}"#, "SerializationException"),
            (r#"{"name":"x","inner":["A",1]}"#, "SerializationException"),
            (r#"["x"]"#, "SerializationException"),
            (r#"{"name":"x"}}"#, "SerializationException"),
            (r#"{"name":"#, "SerializationException"),
            ("\u{7f}", "SerializationException"),
            ("null", "SerializationException"),
        ] {
            assert_eq!(code(body).0, expected, "{body}");
        }
    }

    #[test]
    fn messages_name_the_path() {
        let (_, message) = code(r#"{"name":"x","inner":{"kind":"B","ttl":1}}"#);
        assert_eq!(message, "inner.kind: unknown variant `B`, expected `A`");
        let error =
            part::<Inner>("spec", json!({"kind": "A", "ttl": "1"}), "Bounds").expect_err("a text");
        assert!(
            error.message.starts_with("spec.ttl: invalid type"),
            "{error:?}"
        );
        assert_eq!(error.code, "SerializationException");
    }
}
