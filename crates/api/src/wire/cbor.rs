//! CBOR bodies (rpc-v2-cbor), converted from and to JSON values. No operation has inputs with CBOR tags or byte
//! strings.

use crate::error::ApiError;
use serde_json::Value;

/// The maximum nesting, as in JSON.
const MAX_DEPTH: usize = 128;
/// Parses a body.
pub(crate) fn read(body: &[u8]) -> Result<Value, ApiError> {
    let mut rest = body;
    let value: Value = ciborium::de::from_reader_with_recursion_limit(&mut rest, MAX_DEPTH)
        .map_err(|error| ApiError::serialization(format!("the body is not CBOR: {error}")))?;
    if !rest.is_empty() {
        return Err(ApiError::serialization(
            "the body holds more than one CBOR value",
        ));
    }
    Ok(value)
}

/// Converts the JSON text of an output to CBOR.
pub(super) fn of_json(json: &[u8]) -> Vec<u8> {
    let value: Value = serde_json::from_slice(json).expect("answers are JSON");
    let mut body = Vec::with_capacity(json.len());
    ciborium::into_writer(&value, &mut body).expect("vectors take everything");
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_those_of_json() {
        let value = json!({"a": [1, -2, 1.5, "x", null, true], "b": {"c": {}}});
        let body = of_json(value.to_string().as_bytes());
        assert_eq!(read(&body).ok(), Some(value));
        // As botocore writes: maps and arrays of indefinite length.
        let indefinite = b"\xbf\x61a\x9f\x01\xff\xff";
        assert_eq!(read(indefinite).ok(), Some(json!({"a": [1]})));
    }

    #[test]
    fn everything_else_is_refused() {
        let deep = [vec![0x81; 1000], vec![0x01]].concat();
        for body in [
            &b""[..],
            b"{}",
            b"\xa1\x01\x02",
            b"\xa1\x61a",
            b"\x41\x00",
            b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x7b\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\xa0\xa0",
            &deep,
        ] {
            let error = read(body).expect_err("no value");
            assert_eq!(error.code, "SerializationException", "{body:?}");
        }
    }
}
