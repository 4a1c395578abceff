//! Reading JSON inputs: unknown members are ignored, and a mistake is told with the path to it.

use super::{
    Failure,
    objects::{self, Objects},
};
use serde::de::{Deserialize, DeserializeOwned};
use serde_json::Value;

/// Reads an operation's input; an empty body is an empty object. `bounds` is the code for input that is
/// of the right JSON types but breaks the model: a member missing, a word that is none of an enum's.
pub(crate) fn read<'a, T: Deserialize<'a>>(
    body: &'a [u8],
    bounds: &'static str,
) -> Result<T, Failure> {
    // serde_json would not look at the text of what it ignores, and need not look at text again.
    let Ok(text) = std::str::from_utf8(body) else {
        return Err(Failure::serialization("the body is not text (UTF-8)"));
    };
    let text = match text.trim_ascii() {
        "" => "{}",
        text if text.starts_with('{') => text,
        _ => return Err(Failure::serialization("the body is not a JSON object")),
    };
    let mut reader = serde_json::Deserializer::from_str(text);
    if let Ok(value) = objects::read(&mut reader)
        && reader.end().is_ok()
    {
        return Ok(value);
    }
    // Only a body with a mistake pays for keeping track of where it is.
    let mut reader = serde_json::Deserializer::from_str(text);
    match serde_path_to_error::deserialize::<_, T>(Objects(&mut reader)) {
        Err(error) => {
            // What is no text where an enum's word must be is broken JSON to serde_json, unless it is
            // read as JSON first.
            let again = (error.inner().is_syntax())
                .then(|| serde_json::from_str::<Value>(text).ok())
                .flatten()
                .and_then(|value| serde_path_to_error::deserialize::<_, T>(Objects(value)).err());
            let error = again.unwrap_or(error);
            let path = error.path().to_string();
            Err(explain(&path, error.inner(), bounds))
        }
        Ok(_) => Err(Failure::serialization(
            "the body holds more than one JSON object",
        )),
    }
}

/// Reads a part of an input that was set aside, at `path`.
pub(crate) fn read_part<T: DeserializeOwned>(
    path: &str,
    part: Value,
    bounds: &'static str,
) -> Result<T, Failure> {
    if !part.is_object() {
        return Err(Failure::serialization(format!(
            "{path}: is not a JSON object"
        )));
    }
    serde_path_to_error::deserialize(Objects(part)).map_err(|error| {
        let inner = error.path().to_string();
        let path = match inner.as_str() {
            "." => path.to_owned(),
            inner => format!("{path}.{inner}"),
        };
        explain(&path, error.inner(), bounds)
    })
}

/// serde_json tells a wrong type from a broken bound only in words, and these words are part of serde's
/// interface (`serde::de::Error::invalid_type`); a test below holds them to it. A null stands for an
/// absent member, so a null where a value must be is a missing value.
fn explain(path: &str, error: &serde_json::Error, bounds: &'static str) -> Failure {
    let text = error.to_string();
    let text = match text.rfind(" at line ") {
        Some(end) if error.is_data() => &text[..end],
        _ => &text,
    };
    let message = match path {
        "." => text.to_owned(),
        path => format!("{path}: {text}"),
    };
    let is_wrong_type = text.starts_with("invalid type") && !text.starts_with("invalid type: null");
    if !error.is_data() || is_wrong_type {
        return Failure::serialization(message);
    }
    Failure::bad(bounds, message)
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

    fn code(body: &str) -> (&'static str, String) {
        let failure = read::<Input>(body.as_bytes(), "Bounds").expect_err(body);
        (failure.code, failure.message)
    }

    #[test]
    fn unknown_members_are_ignored() {
        let input: Input = read(
            br#"{"name":"x","new":1,"inner":{"kind":"A","ttl":1,"x":[]}}"#,
            "Bounds",
        )
        .expect("legal");
        let inner = input.inner.expect("given");
        assert_eq!((inner.kind, inner.ttl), (Kind::A, 1));
    }

    #[test]
    fn what_is_ignored_must_be_text_too() {
        for body in [
            &b"{\"name\":\"x\",\"new\":\"\xff\"}"[..],
            b"{\"name\":\"x\",\"\xff\":1}",
        ] {
            let failure = read::<Input>(body, "Bounds").expect_err("not text");
            assert_eq!(failure.code, "SerializationException");
        }
    }

    #[test]
    fn broken_bounds_are_told_apart_from_wrong_types() {
        for (body, expected) in [
            ("", "Bounds"),
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
        ] {
            assert_eq!(code(body).0, expected, "{body}");
        }
    }

    #[test]
    fn messages_name_the_path() {
        let (_, message) = code(r#"{"name":"x","inner":{"kind":"B","ttl":1}}"#);
        assert_eq!(message, "inner.kind: unknown variant `B`, expected `A`");
        let failure =
            read_part::<Inner>("spec", json!({"kind": "A", "ttl": "1"}), "Bounds").expect_err("a");
        assert!(
            failure.message.starts_with("spec.ttl: invalid type"),
            "{failure:?}"
        );
        assert_eq!(failure.code, "SerializationException");
    }
}
