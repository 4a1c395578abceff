//! The canonical form of a request, which both sides hash.
//!
//! Everything is done on the bytes that came over the wire: a path that was decoded first could not be
//! told from another one with an encoded slash.

use super::{AuthError, claim::incomplete};
use http::{HeaderMap, Method, Uri};

/// The canonical request of AWS's documentation. `signed_headers` is the list as the signer wrote it; the
/// error names one that is not there.
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
    // Each segment is encoded again, although it is encoded already.
    for byte in normal_path(uri.path()).bytes() {
        match byte {
            b'/' => text.push(b'/'),
            byte => encode(byte, &mut text),
        }
    }
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
        let mut is_first = true;
        for value in values {
            if !is_first {
                text.push(b',');
            }
            is_first = false;
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

/// Whether a path is what remains of it when `.`, `..` and empty segments are resolved. Signers sign what
/// remains, so that several paths share one signature: only this one of them is served.
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

/// Decoded, encoded again in the one way, and sorted. The signature itself is no part of what it signs.
fn query(query: &str, text: &mut Vec<u8>) {
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (recoded(key), recoded(value))
        })
        .filter(|(key, _)| key != b"X-Amz-Signature")
        .collect();
    pairs.sort_unstable();
    for (i, (key, value)) in pairs.iter().enumerate() {
        if i > 0 {
            text.push(b'&');
        }
        text.extend_from_slice(key);
        text.push(b'=');
        text.extend_from_slice(value);
    }
}

/// A percent sign that begins no escape stands for itself.
fn recoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut recoded = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while let Some(&byte) = bytes.get(i) {
        let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
        match (byte, digit(i + 1), digit(i + 2)) {
            (b'%', Some(high), Some(low)) => {
                encode((high * 16 + low) as u8, &mut recoded);
                i += 3;
            }
            _ => {
                encode(byte, &mut recoded);
                i += 1;
            }
        }
    }
    recoded
}

fn encode(byte: u8, text: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(byte),
        byte => text.extend([
            b'%',
            DIGITS[usize::from(byte >> 4)],
            DIGITS[usize::from(byte & 15)],
        ]),
    }
}

/// Without blanks at the ends, and with one wherever there are several.
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
