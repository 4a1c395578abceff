//! The codec by itself, and against hyper's.

mod oracle;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, header};
use proptest::prelude::*;

use super::buffered_stream::WriteBuffer;
use super::decode::{BodyDecodeError, BodyPart, Decoder};
use super::encode::{self, BodyLength, RequestMeta};
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

/// Decodes all of `bytes`, which arrive in pieces that end at `cuts`; the peer closes behind them.
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
        // Never all at once, as sockets do it.
        let taken = piece.len().div_ceil(2);
        bytes.extend_from_slice(&piece[..taken]);
        output.advance(taken);
    }
    bytes
}

#[test]
fn request_framing_follows_rfc_9112() {
    let framed = |fields: &str| {
        request(&format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n"))
            .map(|head| head.map(|head| (head.framing, head.keep_alive)))
    };
    let fine = |framing, keep_alive| Ok(Some((framing, keep_alive)));
    for (fields, expected) in [
        ("", fine(Framing::None, true)),
        ("content-length: 0\r\n", fine(Framing::None, true)),
        ("content-length: 5\r\n", fine(Framing::Length(5), true)),
        (
            "content-length: 5\r\ncontent-length: 5\r\n",
            fine(Framing::Length(5), true),
        ),
        ("connection: close\r\n", fine(Framing::None, false)),
        (
            "connection: close\r\nconnection: keep-alive\r\n",
            fine(Framing::None, false),
        ),
        (
            "transfer-encoding: Chunked\r\n",
            fine(Framing::Chunked, true),
        ),
        (
            "transfer-encoding: gzip, chunked\r\n",
            Err(ParseError::Coding),
        ),
        (
            "transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n",
            Err(ParseError::Coding),
        ),
        (
            "content-length: 5\r\ntransfer-encoding: chunked\r\n",
            Err(ParseError::Syntax),
        ),
        (
            "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
            Err(ParseError::Syntax),
        ),
        (
            "content-length: 5\r\ncontent-length: 6\r\n",
            Err(ParseError::Syntax),
        ),
        ("content-length: 5, 5\r\n", Err(ParseError::Syntax)),
        ("content-length: +5\r\n", Err(ParseError::Syntax)),
        ("content-length: \r\n", Err(ParseError::Syntax)),
        (
            "content-length: 18446744073709551616\r\n",
            Err(ParseError::Syntax),
        ),
        ("transfer-encoding: gzip\r\n", Err(ParseError::Coding)),
        (
            "transfer-encoding: chunked, gzip\r\n",
            Err(ParseError::Coding),
        ),
        (
            "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
            Err(ParseError::Coding),
        ),
        ("x : y\r\n", Err(ParseError::Syntax)),
        ("x: y\r\n folded\r\n", Err(ParseError::Syntax)),
        ("x: y\rz\r\n", Err(ParseError::Syntax)),
    ] {
        assert_eq!(framed(fields), expected, "{fields:?}");
    }
    let old = "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(request(old).unwrap_err(), ParseError::Syntax);
}

#[test]
fn heads_are_limited() {
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(LIMITS.bytes));
    assert_eq!(request(&long).unwrap_err(), ParseError::TooLarge);
    assert_eq!(
        request(&long[..LIMITS.bytes]).unwrap_err(),
        ParseError::TooLarge,
        "before its end"
    );
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(101));
    assert_eq!(request(&many).unwrap_err(), ParseError::TooLarge);
    let roomy = Limits {
        fields: 101,
        ..LIMITS
    };
    let head = head::request(
        &mut BytesMut::from(&many[..]),
        &mut HeadFinder::default(),
        roomy,
    );
    assert_eq!(head.unwrap().unwrap().headers.len(), 101);
    let target = Limits {
        bytes: 1 << 20,
        ..LIMITS
    };
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(65_534));
    let head = head::request(
        &mut BytesMut::from(&long[..]),
        &mut HeadFinder::default(),
        target,
    );
    assert_eq!(head.unwrap_err(), ParseError::TargetTooLong);
}

#[test]
fn what_is_not_http_is_told_from_its_first_bytes() {
    for bytes in ["\x16\x03\x01", "\x00", "{\"a\":"] {
        assert_eq!(request(bytes).unwrap_err(), ParseError::Syntax, "{bytes:?}");
    }
    assert_eq!(request("GET / HTTP/9").unwrap_err(), ParseError::Version);
    assert_eq!(
        request("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap_err(),
        ParseError::Http2
    );
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
    for bytes in ["\rGET / HTTP/1.1\r\n\r\n", "\r\n\rGET", "\r\r\n"] {
        assert_eq!(
            request(bytes).map(drop),
            Err(ParseError::Syntax),
            "{bytes:?}"
        );
    }
}

#[test]
fn response_framing_follows_rfc_9112() {
    let get = Method::GET;
    let framed = |raw: &str, method: &Method| {
        response(raw, method).map(|head| head.map(|head| (head.framing, head.keep_alive)))
    };
    let fine = |framing, keep_alive| Ok(Some((framing, keep_alive)));
    for (raw, expected) in [
        ("HTTP/1.1 200 OK\r\n\r\n", fine(Framing::UntilClose, false)),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            fine(Framing::None, true),
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 7, 7\r\n\r\n",
            fine(Framing::Length(7), true),
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 7\r\ncontent-length: 8\r\n\r\n",
            Err(ParseError::Syntax),
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            fine(Framing::Chunked, true),
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n",
            fine(Framing::Chunked, false),
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
            Err(ParseError::Coding),
        ),
        (
            "HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\n",
            fine(Framing::Length(3), false),
        ),
        (
            "HTTP/1.0 200 OK\r\ncontent-length: 3\r\nconnection: keep-alive\r\n\r\n",
            fine(Framing::Length(3), true),
        ),
        (
            "HTTP/1.1 204 No Content\r\ncontent-length: 3\r\n\r\n",
            fine(Framing::None, true),
        ),
        (
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 3\r\n\r\n",
            fine(Framing::None, true),
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n",
            fine(Framing::Length(3), true),
        ),
        ("HTTP/1.1 100 Continue\r\n\r\n", Ok(None)),
        (
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
            fine(Framing::None, false),
        ),
        ("ICY 200 OK\r\n\r\n", Err(ParseError::Version)),
    ] {
        assert_eq!(framed(raw, &get), expected, "{raw:?}");
    }
    assert_eq!(
        framed(
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n",
            &Method::HEAD
        ),
        fine(Framing::None, true)
    );
    let twice = "HTTP/1.1 200 OK\r\ncontent-length: 7\r\ncontent-length: 7\r\n\r\n";
    let head = response(twice, &get).unwrap().unwrap();
    assert_eq!(
        head.headers.get_all(header::CONTENT_LENGTH).iter().count(),
        1
    );
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
    let endless = format!("5;{}", "x".repeat(20_000));
    assert_eq!(
        decode(Framing::Chunked, endless.as_bytes(), &[]).unwrap_err(),
        BodyDecodeError::Chunk
    );
    let trailers = format!("0\r\nx: {}", "x".repeat(70_000));
    assert_eq!(
        decode(Framing::Chunked, trailers.as_bytes(), &[]).unwrap_err(),
        BodyDecodeError::TrailersTooLarge
    );
    for cut in [
        "",
        "5",
        "5\r\nhel",
        "5\r\nhello\r\n",
        "0\r\n",
        "0\r\nx: y\r\n",
    ] {
        assert_eq!(
            decode(Framing::Chunked, cut.as_bytes(), &[]).unwrap_err(),
            BodyDecodeError::UnexpectedEof,
            "{cut:?}"
        );
    }
    assert_eq!(
        decode(Framing::Length(5), b"four", &[]).unwrap_err(),
        BodyDecodeError::UnexpectedEof
    );
}

/// The status line and fields of a response with this status, headers and body, `connection` and `date` aside.
fn encoded(
    method: &Method,
    version: Version,
    status: u16,
    fields: &[(&'static str, &'static str)],
    body_length: BodyLength,
) -> (String, bool, bool) {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_static(value));
    }
    let request = RequestMeta {
        method: method.clone(),
        version,
        keep_alive: true,
        trailers: true,
    };
    let mut out = Vec::new();
    let status = StatusCode::from_u16(status).unwrap();
    let (encoder, stays) = encode::response(status, &headers, &request, body_length, &mut out);
    let text = String::from_utf8(out).unwrap();
    let date = text.find("date: ").expect("a date");
    let end = date + text[date..].find("\r\n").unwrap() + 2;
    (
        format!("{}{}", &text[..date], &text[end..]),
        encoder.is_some(),
        stays,
    )
}

#[test]
fn responses_say_where_they_end() {
    let (get, head) = (Method::GET, Method::HEAD);
    let (new, old) = (Version::HTTP_11, Version::HTTP_10);
    let known: &[(&str, &str)] = &[("content-length", "4")];
    for (method, version, status, fields, body_length, expected) in [
        (
            &get,
            new,
            200,
            known,
            BodyLength::Exact(4),
            ("content-length: 4\r\n", true, true),
        ),
        (
            &get,
            new,
            200,
            &[],
            BodyLength::Exact(4),
            ("content-length: 4\r\n", true, true),
        ),
        (
            &get,
            new,
            200,
            &[],
            BodyLength::Empty,
            ("content-length: 0\r\n", true, true),
        ),
        (
            &get,
            new,
            200,
            known,
            BodyLength::Empty,
            ("content-length: 0\r\n", true, true),
        ),
        (
            &get,
            new,
            200,
            &[],
            BodyLength::Unknown,
            ("transfer-encoding: chunked\r\n", true, true),
        ),
        (&get, old, 200, &[], BodyLength::Unknown, ("", true, false)),
        (
            &get,
            old,
            200,
            known,
            BodyLength::Exact(4),
            (
                "content-length: 4\r\nconnection: keep-alive\r\n",
                true,
                true,
            ),
        ),
        (
            &head,
            new,
            200,
            known,
            BodyLength::Empty,
            ("content-length: 4\r\n", false, true),
        ),
        (&head, new, 200, &[], BodyLength::Empty, ("", false, true)),
        (&get, new, 204, &[], BodyLength::Empty, ("", false, true)),
        (&get, new, 204, known, BodyLength::Empty, ("", false, true)),
        (
            &get,
            new,
            304,
            known,
            BodyLength::Empty,
            ("content-length: 4\r\n", false, true),
        ),
        (
            &get,
            new,
            200,
            &[("connection", "close")],
            BodyLength::Empty,
            ("connection: close\r\ncontent-length: 0\r\n", true, false),
        ),
    ] {
        let (text, bodied, stays) = encoded(method, version, status, fields, body_length);
        let (_, rest) = text.split_once("\r\n").unwrap();
        let got = (rest.strip_suffix("\r\n").unwrap(), bodied, stays);
        assert_eq!(
            got, expected,
            "{method} {version:?} {status} {fields:?} {body_length:?}"
        );
    }
    let (text, ..) = encoded(&get, new, 299, &[], BodyLength::Empty);
    assert!(text.starts_with("HTTP/1.1 299 Unknown\r\n"), "{text}");
}

#[test]
fn trailers_are_sent_where_they_were_announced() {
    let mut headers = HeaderMap::new();
    headers.insert(
        header::TRAILER,
        HeaderValue::from_static("x-sum, content-length"),
    );
    let mut output = WriteBuffer::default();
    let mut encoder = encode::request(
        &Method::POST,
        &Uri::from_static("/"),
        &HeaderValue::from_static("a"),
        &headers,
        BodyLength::Unknown,
        output.tail(),
    );
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

    /// However a message is cut on its way, what arrives is what was sent.
    #[test]
    fn encoded_bodies_decode(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9000), 0..6),
        known in any::<bool>(),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let whole = chunks.concat();
        let body_length = if known { BodyLength::Exact(whole.len() as u64) } else { BodyLength::Unknown };
        let mut output = WriteBuffer::default();
        let mut encoder = encode::request(
            &Method::POST, &Uri::from_static("/p?q"), &HeaderValue::from_static("a.test"),
            &HeaderMap::new(), body_length, output.tail(),
        );
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

    /// A head that arrives byte by byte is found where it ends, and is the same.
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

    /// Foreign bytes are refused or understood; they break nothing.
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), cuts in prop::collection::vec(any::<usize>(), 0..4)) {
        let _ = head::request(&mut BytesMut::from(&bytes[..]), &mut HeadFinder::default(), LIMITS);
        let _ = head::response(&mut BytesMut::from(&bytes[..]), &mut HeadFinder::default(), LIMITS, &Method::GET);
        for framing in [Framing::Chunked, Framing::Length(77), Framing::UntilClose] {
            let _ = decode(framing, &bytes, &cuts);
        }
    }
}
