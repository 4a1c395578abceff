//! Percent-encoding of paths, queries and forms. A path is split before its segments are decoded, because a name may
//! contain an encoded slash.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::borrow::Cow;

/// The characters that AWS clients encode: all but `A-Za-z0-9-._~`.
pub(crate) const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Decodes `%xx`. `None` if an escape is malformed or the result is not UTF-8.
pub(crate) fn decode(text: &str) -> Option<Cow<'_, str>> {
    let is_escape = |rest: &str| {
        let digits = rest.as_bytes().first_chunk::<2>();
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    let is_whole = text.split('%').skip(1).all(is_escape);
    is_whole.then(|| percent_decode_str(text).decode_utf8().ok())?
}

/// Encodes the characters in [`RESERVED`].
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// The first value of a key in a query, decoded. A plus is literal, because AWS clients encode a space as `%20`.
pub(crate) fn query_value<'a>(query: &'a str, key: &str) -> Option<Cow<'a, str>> {
    query.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name)? == key).then(|| decode(value))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_names_round_trip() {
        for name in ["a/b c", "~-._", "ü+&=%", ""] {
            assert_eq!(decode(&encode(name)).as_deref(), Some(name));
        }
    }

    #[test]
    fn broken_escapes_are_no_text() {
        for broken in ["%", "%4", "%zz", "a%f", "%ff", "%+1"] {
            assert_eq!(decode(broken), None, "{broken}");
        }
    }

    #[test]
    fn queries_are_read_by_whole_key() {
        let query = "xlimit=1&limit=2&nextToken=a%2Fb+c&flag";
        assert_eq!(query_value(query, "limit").as_deref(), Some("2"));
        assert_eq!(query_value(query, "nextToken").as_deref(), Some("a/b+c"));
        assert_eq!(query_value(query, "flag").as_deref(), Some(""));
        assert_eq!(query_value(query, "none"), None);
    }
}
