//! Requests as text, so that they can be written and read by people, and cut apart by a fuzzer:
//!
//! ```text
//! PUT /v20190125/meshes
//! content-type: application/json
//!
//! {"meshName":"m"}
//! ----
//! GET /v20190125/meshes/m
//! ```

use http::{HeaderName, HeaderValue, Method, Request, Uri, request::Parts};

/// Stands between two requests.
const BETWEEN: &[u8] = b"\n----\n";

/// The requests of an input, at most `most`.
pub(crate) fn split(data: &[u8], most: usize) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(data);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let end = text
            .windows(BETWEEN.len())
            .position(|window| window == BETWEEN);
        let Some(end) = end else {
            return Some(text);
        };
        rest = Some(&text[end + BETWEEN.len()..]);
        Some(&text[..end])
    })
    .take(most)
}

/// Reads a request. None if HTTP itself does not let it through.
pub(crate) fn read(text: &[u8]) -> Option<(Parts, Vec<u8>)> {
    let (line, mut rest) = line(text);
    let line = line.split(|byte| *byte == b' ').collect::<Vec<_>>();
    let [method, target] = line.as_slice() else {
        return None;
    };
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method).ok()?;
    *request.uri_mut() = Uri::try_from(*target).ok()?;
    while !rest.is_empty() {
        let (field, after) = self::line(rest);
        rest = after;
        if field.is_empty() {
            break;
        }
        let colon = field.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&field[..colon]).ok()?;
        let value = HeaderValue::from_bytes(field[colon + 1..].trim_ascii()).ok()?;
        request.headers_mut().append(name, value);
    }
    Some((request.into_parts().0, rest.to_vec()))
}

/// The first line without its end, and what is behind it.
fn line(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&text[..end], &text[end + 1..]),
        None => (text, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_they_are_written() {
        let text = b"PUT /a?b=c\nx-one: 1\nX-One:2 \n\nbody\n\n----\nGET /\n----\nGET / HTTP/1.1";
        let requests: Vec<_> = split(text, 9).map(read).collect();
        let (put, body) = requests[0].as_ref().expect("legal");
        assert_eq!((put.method.as_str(), put.uri.query()), ("PUT", Some("b=c")));
        assert_eq!(put.headers.get_all("x-one").iter().count(), 2);
        assert_eq!(body, b"body\n");
        assert_eq!(requests[1].as_ref().expect("legal").0.uri, "/");
        assert!(requests[2].is_none());
        assert_eq!(split(text, 2).count(), 2);
    }
}
