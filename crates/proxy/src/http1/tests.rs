//! Tests of the codec alone. `fuzz` compares it with hyper's.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, header};
use proptest::prelude::*;

use super::body_decoder::{BodyDecodeError, BodyPart, Decoder};
use super::buffered_stream::WriteBuffer;
use super::encode::{self, BodyLength, Encoder, OutgoingHead, RequestMeta};
use super::framing::Framing;
use super::head::{self, HeadFinder, Limits, ParseError, RequestHead, ResponseHead};

const LIMITS: Limits = Limits {
    bytes: 8 * 1024,
    fields: 100,
};

fn request(raw: &str) -> Result<Option<RequestHead>, ParseError> {
    head::request(&mut BytesMut::from(raw), &mut HeadFinder::default(), LIMITS)
}

fn response(raw: &str, method: &Method) -> Result<Option<ResponseHead>, ParseError> {
    head::response(
        &mut BytesMut::from(raw),
        &mut HeadFinder::default(),
        LIMITS,
        method,
    )
}

/// Decodes all of `bytes`, which arrive in pieces that end at `cuts`, followed by the end of the connection.
fn decode(
    framing: Framing,
    bytes: &[u8],
    cuts: &[usize],
) -> Result<(Vec<u8>, Option<HeaderMap>, BytesMut), BodyDecodeError> {
    let mut decoder = Decoder::new(framing);
    let (mut body, mut trailers, mut buffer) = (Vec::new(), None, BytesMut::new());
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let mut from = 0;
    for end in ends {
        buffer.extend_from_slice(&bytes[from..end]);
        from = end;
        while !decoder.is_end()
            && let Some(piece) = decoder.decode(&mut buffer)?
        {
            match piece {
                BodyPart::Data(data) => body.extend_from_slice(&data),
                BodyPart::Trailers(fields) => trailers = Some(fields),
                BodyPart::End => break,
            }
        }
    }
    decoder.close()?;
    Ok((body, trailers, buffer))
}

fn written(output: &mut WriteBuffer) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !output.is_empty() {
        let mut slices = [std::io::IoSlice::new(&[]); super::buffered_stream::SLICES];
        let count = output.slices(&mut slices);
        let piece: Vec<u8> = slices[..count]
            .iter()
            .flat_map(|slice| slice.to_vec())
            .collect();
        // Partial writes, as sockets make them.
        let taken = piece.len().div_ceil(2);
        bytes.extend_from_slice(&piece[..taken]);
        output.advance(taken);
    }
    bytes
}

#[test]
fn request_framing_follows_rfc_9112() {
    let framed = |fields: &str| {
        let raw = format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n");
        let head = request(&raw)?.expect("a whole head");
        Ok((head.framing, head.keep_alive))
    };
    let five = Framing::Length(5);
    for (fields, expected) in [
        ("", (Framing::None, true)),
        ("content-length: 0\r\n", (Framing::None, true)),
        ("content-length: 5\r\n", (five, true)),
        ("content-length: 5\r\ncontent-length: 5\r\n", (five, true)),
        ("connection: close\r\n", (Framing::None, false)),
        ("transfer-encoding: Chunked\r\n", (Framing::Chunked, true)),
    ] {
        assert_eq!(framed(fields), Ok(expected), "{fields:?}");
    }
    let close_first = framed("connection: close\r\nconnection: keep-alive\r\n");
    assert_eq!(close_first, Ok((Framing::None, false)));
    for fields in [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: 5, 5\r\n",
        "content-length: +5\r\n",
        "content-length: \r\n",
        "content-length: 18446744073709551616\r\n",
        "x : y\r\n",
        "x: y\r\n folded\r\n",
        "x: y\rz\r\n",
    ] {
        assert_eq!(framed(fields), Err(ParseError::Syntax), "{fields:?}");
    }
    for fields in [
        "transfer-encoding: gzip, chunked\r\n",
        "transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: gzip\r\n",
        "transfer-encoding: chunked, gzip\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
    ] {
        assert_eq!(framed(fields), Err(ParseError::Coding), "{fields:?}");
    }
    let old = "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(request(old).unwrap_err(), ParseError::Syntax);
}

#[test]
fn heads_are_limited() {
    let within = |raw: &str, bytes, fields| {
        let limits = Limits { bytes, fields };
        let mut finder = HeadFinder::default();
        head::request(&mut BytesMut::from(raw), &mut finder, limits)
    };
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(65_534));
    let error = |raw| within(raw, 8192, 100).unwrap_err();
    assert_eq!(error(&long), ParseError::TooLarge);
    assert_eq!(error(&long[..8192]), ParseError::TooLarge, "before its end");
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(101));
    assert_eq!(error(&many), ParseError::TooLarge);
    let head = within(&many, 8192, 101).unwrap().unwrap();
    assert_eq!(head.headers.len(), 101);
    let error = within(&long, 1 << 20, 100).unwrap_err();
    assert_eq!(error, ParseError::TargetTooLong);
}

#[test]
fn bytes_that_are_not_http_are_recognised_at_once() {
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for (bytes, error) in [
        ("\x16\x03\x01", ParseError::Syntax),
        ("\x00", ParseError::Syntax),
        ("{\"a\":", ParseError::Syntax),
        ("\rGET / HTTP/1.1\r\n\r\n", ParseError::Syntax),
        ("\r\n\rGET", ParseError::Syntax),
        ("\r\r\n", ParseError::Syntax),
        ("GET / HTTP/9", ParseError::Version),
        (preface, ParseError::Http2),
    ] {
        assert_eq!(request(bytes).unwrap_err(), error, "{bytes:?}");
    }
    for bytes in [
        "",
        "\r\n",
        "\r",
        "\n\r",
        "G",
        "GET / HT",
        "GET / HTTP/1.1\r\nho",
    ] {
        assert!(request(bytes).unwrap().is_none(), "{bytes:?}");
    }
    assert!(request("\r\n\r\nGET / HTTP/1.1\r\n\r\n").unwrap().is_some());
    assert!(request("\n\nGET / HTTP/1.1\r\n\r\n").unwrap().is_some());
}

#[test]
fn response_framing_follows_rfc_9112() {
    let framed = |raw: &str, method: &Method| {
        response(raw, method).map(|head| head.map(|head| (head.framing, head.keep_alive)))
    };
    let three = Framing::Length(3);
    for (head, expected) in [
        ("1.1 200 OK", (Framing::UntilClose, false)),
        ("1.1 200 OK|content-length: 0", (Framing::None, true)),
        ("1.1 200 OK|content-length: 3, 3", (three, true)),
        (
            "1.1 200 OK|transfer-encoding: chunked",
            (Framing::Chunked, true),
        ),
        (
            "1.1 200 OK|content-length: 3|transfer-encoding: chunked",
            (Framing::Chunked, false),
        ),
        ("1.0 200 OK|content-length: 3", (three, false)),
        (
            "1.0 200 OK|content-length: 3|connection: keep-alive",
            (three, true),
        ),
        (
            "1.1 204 No Content|content-length: 3",
            (Framing::None, true),
        ),
        (
            "1.1 304 Not Modified|content-length: 3",
            (Framing::None, true),
        ),
        ("1.1 101 Switching|upgrade: x", (Framing::None, false)),
        (
            "1.1 100 Continue||HTTP/1.1 103 Hints|link: x||HTTP/1.1 200 OK|content-length: 3",
            (three, true),
        ),
    ] {
        let raw = format!("HTTP/{}\r\n\r\n", head.replace('|', "\r\n"));
        assert_eq!(framed(&raw, &Method::GET), Ok(Some(expected)), "{head}");
    }
    for (raw, expected) in [
        ("HTTP/1.1 100 Continue\r\n\r\n", Ok(None)),
        ("ICY 200 OK\r\n\r\n", Err(ParseError::Version)),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 7\r\ncontent-length: 8\r\n\r\n",
            Err(ParseError::Syntax),
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
            Err(ParseError::Coding),
        ),
    ] {
        assert_eq!(framed(raw, &Method::GET), expected, "{raw:?}");
    }
    let sized = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n";
    assert_eq!(
        framed(sized, &Method::HEAD),
        Ok(Some((Framing::None, true)))
    );
    let twice = "HTTP/1.1 200 OK\r\ncontent-length: 7\r\ncontent-length: 7\r\n\r\n";
    let headers = response(twice, &Method::GET).unwrap().unwrap().headers;
    assert_eq!(headers.get_all(header::CONTENT_LENGTH).iter().count(), 1);
}

#[test]
fn malformed_chunks_are_refused() {
    for bytes in [
        "\r\n",
        "g\r\n",
        "5 5\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "10000000000000000\r\n",
        "0\r\n\n",
        "0\r\nno colon\r\n\r\n",
        "0\r\nx: 1\ny: 2\r\n\r\n",
    ] {
        assert!(
            decode(Framing::Chunked, bytes.as_bytes(), &[]).is_err(),
            "{bytes:?}"
        );
    }
    let error = |framing, bytes: &str| decode(framing, bytes.as_bytes(), &[]).unwrap_err();
    let endless = format!("5;{}", "x".repeat(20_000));
    assert_eq!(error(Framing::Chunked, &endless), BodyDecodeError::Chunk);
    let trailers = format!("0\r\nx: {}", "x".repeat(70_000));
    let too_large = BodyDecodeError::TrailersTooLarge;
    assert_eq!(error(Framing::Chunked, &trailers), too_large);
    for (framing, cut) in [
        (Framing::Chunked, ""),
        (Framing::Chunked, "5"),
        (Framing::Chunked, "5\r\nhel"),
        (Framing::Chunked, "5\r\nhello\r\n"),
        (Framing::Chunked, "0\r\n"),
        (Framing::Chunked, "0\r\nx: y\r\n"),
        (Framing::Length(5), "four"),
    ] {
        assert_eq!(
            error(framing, cut),
            BodyDecodeError::UnexpectedEof,
            "{cut:?}"
        );
    }
}

/// The header fields of a response to `request` (method, version, status) with this body, except `date`; `body` when
/// a body follows, and `stays` when the connection stays open.
fn encoded(request: &str, field: &'static str, body_length: BodyLength) -> String {
    let [method, version, status] = request.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{request}")
    };
    let mut headers = HeaderMap::new();
    if let Some((name, value)) = field.split_once(": ") {
        headers.append(name, HeaderValue::from_static(value));
    }
    let request = RequestMeta {
        method: method.parse().unwrap(),
        version: match version {
            "1.0" => Version::HTTP_10,
            _ => Version::HTTP_11,
        },
        keep_alive: true,
        trailers: true,
    };
    let mut out = Vec::new();
    let status: StatusCode = status.parse().unwrap();
    let (encoder, stays) = encode::response(status, &headers, &request, body_length, &mut out);
    let text = String::from_utf8(out).unwrap();
    let mut lines = text.lines();
    let reason = lines.next().unwrap().splitn(3, ' ').nth(2);
    assert_eq!(reason, Some(status.canonical_reason().unwrap_or("Unknown")));
    let mut parts: Vec<&str> = lines.filter(|line| !line.starts_with("date: ")).collect();
    assert_eq!(parts.pop(), Some(""), "{text}");
    parts.extend(encoder.is_some().then_some("body"));
    parts.extend(stays.then_some("stays"));
    parts.join(", ")
}

#[test]
fn responses_say_where_they_end() {
    use BodyLength::{Empty, Exact, Unknown};
    let four = "content-length: 4";
    for (request, field, length, expected) in [
        (
            "GET 1.1 200",
            four,
            Exact(4),
            "content-length: 4, body, stays",
        ),
        (
            "GET 1.1 200",
            "",
            Exact(4),
            "content-length: 4, body, stays",
        ),
        ("GET 1.1 200", "", Empty, "content-length: 0, body, stays"),
        ("GET 1.1 200", four, Empty, "content-length: 0, body, stays"),
        (
            "GET 1.1 200",
            "",
            Unknown,
            "transfer-encoding: chunked, body, stays",
        ),
        ("GET 1.0 200", "", Unknown, "body"),
        (
            "GET 1.0 200",
            four,
            Exact(4),
            "content-length: 4, connection: keep-alive, body, stays",
        ),
        ("HEAD 1.1 200", four, Empty, "content-length: 4, stays"),
        ("HEAD 1.1 200", "", Empty, "stays"),
        ("GET 1.1 204", "", Empty, "stays"),
        ("GET 1.1 204", four, Empty, "stays"),
        ("GET 1.1 304", four, Empty, "content-length: 4, stays"),
        ("GET 1.1 299", "", Empty, "content-length: 0, body, stays"),
        (
            "GET 1.1 200",
            "connection: close",
            Empty,
            "connection: close, content-length: 0, body",
        ),
    ] {
        let got = encoded(request, field, length);
        assert_eq!(got, expected, "{request} {field:?} {length:?}");
    }
}

/// Writes the head of a POST to `/p?q`.
fn post(headers: &HeaderMap, body_length: BodyLength, output: &mut WriteBuffer) -> Encoder {
    let head = OutgoingHead {
        method: &Method::POST,
        target: &Uri::from_static("/p?q"),
        host: &HeaderValue::from_static("a.test"),
        headers,
    };
    encode::request(&head, body_length, output.tail())
}

#[test]
fn trailers_are_sent_where_they_were_announced() {
    let mut headers = HeaderMap::new();
    headers.insert(
        header::TRAILER,
        HeaderValue::from_static("x-sum, content-length"),
    );
    let mut output = WriteBuffer::default();
    let mut encoder = post(&headers, BodyLength::Unknown, &mut output);
    let mut trailers = HeaderMap::new();
    for name in ["x-sum", "x-other", "content-length"] {
        trailers.insert(name, HeaderValue::from_static("1"));
    }
    encoder.data(Bytes::from_static(b"hi"), &mut output);
    encoder.end(Some(&trailers), &mut output).unwrap();
    let text = String::from_utf8(written(&mut output)).unwrap();
    assert!(
        text.ends_with("\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 1\r\n\r\n"),
        "{text}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A message is decoded the same however it is split.
    #[test]
    fn encoded_bodies_decode(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9000), 0..6),
        known in any::<bool>(),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let whole = chunks.concat();
        let body_length = if known { BodyLength::Exact(whole.len() as u64) } else { BodyLength::Unknown };
        let mut output = WriteBuffer::default();
        let mut encoder = post(&HeaderMap::new(), body_length, &mut output);
        for chunk in &chunks {
            encoder.data(Bytes::copy_from_slice(chunk), &mut output);
        }
        prop_assert_eq!(encoder.end(None, &mut output), Ok(()));
        let mut bytes = BytesMut::from(&written(&mut output)[..]);
        bytes.extend_from_slice(b"GET /next");
        let head = head::request(&mut bytes, &mut HeadFinder::default(), LIMITS).unwrap().unwrap();
        prop_assert_eq!(&head.uri, "/p?q");
        let (body, trailers, rest) = decode(head.framing, &bytes, &cuts).unwrap();
        prop_assert_eq!(body, whole);
        prop_assert!(trailers.is_none());
        prop_assert_eq!(&rest[..], b"GET /next");
    }

    /// A head that arrives byte by byte is parsed the same as one that arrives at once.
    #[test]
    fn heads_in_pieces_are_whole_ones(
        names in prop::collection::vec("[a-z][a-z-]{0,9}", 0..8),
        cuts in prop::collection::vec(1usize..40, 1..20),
    ) {
        let fields: String = names.iter().map(|name| format!("x{name}: v{name}\r\n")).collect();
        let raw = format!("PUT /a/b HTTP/1.1\r\nhost: a\r\n{fields}\r\nrest");
        let whole = request(&raw).unwrap().unwrap();
        let (mut buffer, mut search, mut at) = (BytesMut::new(), HeadFinder::default(), 0);
        let mut cuts = cuts.iter().cycle();
        let pieced = loop {
            let end = (at + cuts.next().unwrap()).min(raw.len());
            buffer.extend_from_slice(&raw.as_bytes()[at..end]);
            at = end;
            if let Some(head) = head::request(&mut buffer, &mut search, LIMITS).unwrap() {
                break head;
            }
            prop_assert!(at < raw.len(), "no end found");
        };
        prop_assert_eq!(pieced.headers, whole.headers);
        prop_assert!(raw[raw.len() - 4 - (raw.len() - at).min(4)..].ends_with("rest"));
    }

    /// Arbitrary bytes are refused or parsed, without a panic.
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), cuts in prop::collection::vec(any::<usize>(), 0..4)) {
        let _ = head::request(&mut BytesMut::from(&bytes[..]), &mut HeadFinder::default(), LIMITS);
        let _ = head::response(&mut BytesMut::from(&bytes[..]), &mut HeadFinder::default(), LIMITS, &Method::GET);
        for framing in [Framing::Chunked, Framing::Length(77), Framing::UntilClose] {
            let _ = decode(framing, &bytes, &cuts);
        }
    }
}
