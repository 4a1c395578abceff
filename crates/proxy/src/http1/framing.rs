//! Message framing: the end of a body.

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

/// The rule that determines the end of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    /// More than 0 bytes.
    Length(u64),
    Chunked,
    /// The body ends with the connection.
    UntilClose,
}

impl Framing {
    pub(super) fn length(length: u64) -> Self {
        if length == 0 {
            Self::None
        } else {
            Self::Length(length)
        }
    }
}

/// Whether a list-valued field has this token.
pub(crate) fn has_token(value: &HeaderValue, token: &str) -> bool {
    value.to_str().is_ok_and(|text| {
        text.split(',')
            .any(|known| known.trim().eq_ignore_ascii_case(token))
    })
}

/// Whether a `transfer-encoding` line is exactly `chunked`: no other coding is decoded here, and forwarding the bytes
/// without the field would change the message.
pub(super) fn is_chunked(value: &HeaderValue) -> bool {
    value
        .as_bytes()
        .trim_ascii()
        .eq_ignore_ascii_case(b"chunked")
}

/// Parses a length of decimal digits, without sign or whitespace.
pub(super) fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(digit.into())
    })
}

/// The common value of all `content-length` lines.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ContentLength {
    Absent,
    Agreed(u64),
    /// Not a number, or two different ones.
    Wrong,
}

pub(super) fn content_length(headers: &HeaderMap) -> ContentLength {
    let mut agreed = None;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        for part in value.as_bytes().split(|byte| *byte == b',') {
            match (digits(part.trim_ascii()), agreed) {
                (Some(length), None) => agreed = Some(length),
                (Some(length), Some(before)) if length == before => {}
                _ => return ContentLength::Wrong,
            }
        }
    }
    agreed.map_or(ContentLength::Absent, ContentLength::Agreed)
}

/// Whether a response to such a request can have a body at all.
pub(super) fn may_have_body(method: &Method, status: StatusCode) -> bool {
    let connected = method == Method::CONNECT && status.is_success();
    method != Method::HEAD
        && !connected
        && !status.is_informational()
        && status != StatusCode::NO_CONTENT
        && status != StatusCode::NOT_MODIFIED
}
