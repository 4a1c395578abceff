//! The canonical request, which both sides hash.
//!
//! It is made from the raw bytes of the request: after decoding, an encoded slash in a path could not be distinguished
//! from a separator.

use super::{AuthError, claim::incomplete};
use crate::wire::percent::RESERVED;
use http::{HeaderMap, Method, Uri};
use percent_encoding::{AsciiSet, percent_decode_str, percent_encode, utf8_percent_encode};

/// The characters that are encoded in a path.
const RESERVED_IN_PATHS: &AsciiSet = &RESERVED.remove(b'/');

/// The canonical request. `signed_headers` is the list in the signature.
///
/// # Errors
/// A signed header is not in the request.
pub(crate) fn request(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    signed_headers: &str,
    payload: &str,
) -> Result<Vec<u8>, AuthError> {
    let mut text = Vec::with_capacity(512);
    text.extend_from_slice(method.as_str().as_bytes());
    text.push(b'\n');
    // Each segment is encoded twice.
    let path = normal_path(uri.path());
    text.extend(utf8_percent_encode(&path, RESERVED_IN_PATHS).flat_map(str::bytes));
    text.push(b'\n');
    query(uri.query().unwrap_or_default(), &mut text);
    text.push(b'\n');
    for name in signed_headers.split(';') {
        let mut values = headers.get_all(name).iter().peekable();
        if values.peek().is_none() {
            return Err(incomplete(format!(
                "The signed header '{name}' is not in the request."
            )));
        }
        text.extend_from_slice(name.as_bytes());
        text.push(b':');
        for (i, value) in values.enumerate() {
            if i > 0 {
                text.push(b',');
            }
            trimmed(value.as_bytes(), &mut text);
        }
        text.push(b'\n');
    }
    text.push(b'\n');
    text.extend_from_slice(signed_headers.as_bytes());
    text.push(b'\n');
    text.extend_from_slice(payload.as_bytes());
    Ok(text)
}

/// Whether a path has no empty segments, `.` or `..`. Signers sign the normal path, so other paths would have the same
/// signature: only the normal one is served.
pub(crate) fn has_normal_path(uri: &Uri) -> bool {
    normal_path(uri.path()) == uri.path()
}

fn normal_path(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    let is_directory = path.ends_with('/') && !segments.is_empty();
    let mut normal = String::with_capacity(path.len() + 1);
    for segment in &segments {
        normal.push('/');
        normal.push_str(segment);
    }
    if is_directory || segments.is_empty() {
        normal.push('/');
    }
    normal
}

/// Writes the canonical query: decoded, encoded in the canonical way, and sorted, without the signature itself.
fn query(query: &str, text: &mut Vec<u8>) {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (recoded(key), recoded(value))
    });
    let mut pairs: Vec<_> = pairs.filter(|(key, _)| key != "X-Amz-Signature").collect();
    pairs.sort_unstable();
    for (i, (key, value)) in pairs.iter().enumerate() {
        if i > 0 {
            text.push(b'&');
        }
        text.extend_from_slice(key.as_bytes());
        text.push(b'=');
        text.extend_from_slice(value.as_bytes());
    }
}

/// Decodes and encodes a text in the canonical way. A percent sign that begins no escape is literal.
fn recoded(text: &str) -> String {
    let decoded: Vec<u8> = percent_decode_str(text).collect();
    percent_encode(&decoded, RESERVED).to_string()
}

/// Writes a header value without blanks at the ends, and with one blank in place of several.
fn trimmed(value: &[u8], text: &mut Vec<u8>) {
    let words = value.split(|byte| matches!(byte, b' ' | b'\t'));
    let words = words.filter(|word| !word.is_empty());
    for (i, word) in words.enumerate() {
        if i > 0 {
            text.push(b' ');
        }
        text.extend_from_slice(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn canonical(uri: &str, headers: &[(&str, &str)], signed: &str) -> Result<String, AuthError> {
        let mut request = Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (request, ()) = request.body(()).expect("a legal request").into_parts();
        let text = super::request(
            &request.method,
            &request.uri,
            &request.headers,
            signed,
            "PAYLOAD",
        )?;
        Ok(String::from_utf8(text).expect("text in, text out"))
    }

    fn lines(uri: &str) -> (String, String) {
        let text = canonical(uri, &[("host", "h")], "host").expect("legal");
        let mut lines = text.lines().skip(1).map(str::to_owned);
        (lines.next().expect("path"), lines.next().expect("query"))
    }

    #[test]
    fn paths_are_encoded_again_and_normal() {
        for (path, expected) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a%2Fb%20c", "/a%252Fb%2520c"),
            ("/a-._~*", "/a-._~%2A"),
            ("/a//b/./c/../d/", "/a/b/d/"),
            ("/..", "/"),
            ("//", "/"),
        ] {
            assert_eq!(lines(path).0, expected, "{path}");
        }
    }

    #[test]
    fn queries_are_sorted_and_recoded() {
        for (query, expected) in [
            ("", ""),
            ("b=2&a=1", "a=1&b=2"),
            ("a=2&a=10&a", "a=&a=10&a=2"),
            ("k=%7E%2f+x", "k=~%2F%2Bx"),
            ("k=%zz%4", "k=%25zz%254"),
            ("a==b&&", "a=%3Db"),
            ("%58-Amz-Signature=1&X-Amz-Signature=2&c=%ff", "c=%FF"),
        ] {
            assert_eq!(lines(&format!("/?{query}")).1, expected, "{query}");
        }
    }

    #[test]
    fn header_values_lose_needless_blanks_and_duplicates_are_joined() {
        let headers = [
            ("host", "h:1"),
            ("x-amz-a", "  one \t two "),
            ("x-amz-a", "three"),
        ];
        let text = canonical("/", &headers, "host;x-amz-a").expect("legal");
        let expected = "GET\n/\n\nhost:h:1\nx-amz-a:one two,three\n\nhost;x-amz-a\nPAYLOAD";
        assert_eq!(text, expected);
        let missing = canonical("/", &headers, "host;x-amz-b");
        assert!(matches!(missing, Err(AuthError::Incomplete(why)) if why.contains("x-amz-b")));
    }

    #[test]
    fn only_one_of_the_paths_with_a_signature_is_served() {
        for (path, expected) in [
            ("/a/b", true),
            ("/a/b/", true),
            ("/a/./b", false),
            ("//a", false),
        ] {
            let uri = path.parse().expect("a path");
            assert_eq!(has_normal_path(&uri), expected, "{path}");
        }
    }
}
