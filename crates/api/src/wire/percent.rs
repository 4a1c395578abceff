//! Percent-encoding of paths, queries and forms. Segments are decoded one by one, after the path was
//! split: a name may hold an encoded slash.

use std::borrow::Cow;

/// Decodes `%xx`. None when an escape is cut short or the result is not UTF-8.
pub(crate) fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            decoded.push((high * 16 + low) as u8);
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

/// Encodes everything but `A-Za-z0-9-._~`, as AWS clients do.
pub(crate) fn encode(text: &str) -> String {
    use std::fmt::Write;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => write!(encoded, "%{byte:02X}").expect("strings take everything"),
        }
    }
    encoded
}

/// The first value of a key in a query, decoded. A plus stays a plus: AWS clients send `%20`.
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
