//! Parses message heads into `http` types. Nothing is copied; values are slices of the input.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};

use super::framing::{ContentLength, Framing, content_length, digits, has_token, is_chunked};
use super::{header_pool, request_line};

/// Maximum header fields that are parsed on the stack; larger limits use the heap.
const STACK_FIELDS: usize = 100;
/// Spare capacity for fields that a proxy adds to a message.
const ADDED_FIELDS: usize = 4;
/// Maximum bytes of a request target, the limit of `http::Uri`.
const MAX_TARGET: usize = 65_534;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Limits of a message head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) bytes: usize,
    pub(crate) fields: usize,
}

impl Limits {
    /// Whether fields that did not arrive over HTTP/1 are within the limits. Names and values count.
    pub(crate) fn admit(&self, headers: &HeaderMap) -> bool {
        let size = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
        headers.len() <= self.fields && headers.iter().map(size).sum::<usize>() <= self.bytes
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ParseError {
    Syntax,
    /// Not HTTP/1.0 or HTTP/1.1.
    Version,
    /// A transfer coding other than `chunked`.
    Coding,
    /// More bytes or fields than permitted.
    TooLarge,
    TargetTooLong,
    /// The request target has a fragment.
    Fragment,
    /// The client speaks HTTP/2 and would not understand an HTTP/1 response.
    Http2,
}

#[derive(Debug)]
pub(super) struct RequestHead {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
    pub(super) framing: Framing,
    /// Whether the client may send another request.
    pub(super) keep_alive: bool,
    /// Whether it waits for `100 Continue` before it sends the body.
    pub(super) expects: bool,
    /// Whether it accepts trailers.
    pub(super) trailers: bool,
}

#[derive(Debug)]
pub(super) struct ResponseHead {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) framing: Framing,
    pub(super) keep_alive: bool,
}

/// Finds the end of a head in bytes that arrive in pieces, reading each byte once.
#[derive(Debug, Default)]
pub(super) struct HeadFinder {
    seen: usize,
}

impl HeadFinder {
    /// The head's length including the empty line; `Err` with whether this was the first search of an incomplete
    /// head.
    fn find(&mut self, bytes: &[u8]) -> Result<usize, bool> {
        let first = self.seen == 0;
        // The end may start in the bytes that were searched already.
        let from = self.seen.saturating_sub(3);
        let mut rest = bytes.get(from..).unwrap_or_default();
        let mut at = from;
        while let Some(newline) = memchr::memchr(b'\n', rest) {
            at += newline + 1;
            rest = &rest[newline + 1..];
            match rest {
                [b'\n', ..] => return Ok(at + 1),
                [b'\r', b'\n', ..] => return Ok(at + 2),
                _ => {}
            }
        }
        self.seen = bytes.len();
        Err(first)
    }

    /// Splits a whole head off the buffer; `None` asks for more bytes.
    fn take(
        &mut self,
        buffer: &mut BytesMut,
        limits: Limits,
        check: impl Fn(&[u8]) -> Result<(), ParseError>,
    ) -> Result<Option<Bytes>, ParseError> {
        if self.seen == 0 {
            // Empty lines before a message are skipped (RFC 9112 section 2.2); a carriage return by itself is an
            // error.
            let blank = empty_lines(buffer);
            if blank > 0 {
                let _ = buffer.split_to(blank);
            }
            if matches!(buffer.as_ref(), [] | [b'\r']) {
                return Ok(None);
            }
        }
        match self.find(buffer) {
            Ok(length) if length > limits.bytes => Err(ParseError::TooLarge),
            Ok(length) => {
                self.seen = 0;
                Ok(Some(buffer.split_to(length).freeze()))
            }
            Err(_) if buffer.len() >= limits.bytes => Err(ParseError::TooLarge),
            Err(first) => {
                // Bytes that are not HTTP are refused at once, not when the head exceeds its limit.
                if first {
                    check(buffer)?;
                }
                Ok(None)
            }
        }
    }
}

/// The number of bytes of leading empty lines.
fn empty_lines(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        at += match bytes.get(at..) {
            Some([b'\n', ..]) => 1,
            Some([b'\r', b'\n', ..]) => 2,
            _ => return at,
        };
    }
}

fn parse_error(error: httparse::Error) -> ParseError {
    match error {
        httparse::Error::TooManyHeaders => ParseError::TooLarge,
        httparse::Error::Version => ParseError::Version,
        _ => ParseError::Syntax,
    }
}

/// Calls `parse` with space for the permitted number of fields.
fn with_header_buffer<'b, T>(
    fields: usize,
    parse: impl FnOnce(&mut [MaybeUninit<httparse::Header<'b>>]) -> T,
) -> T {
    if fields <= STACK_FIELDS {
        let mut room = [const { MaybeUninit::uninit() }; STACK_FIELDS];
        parse(&mut room[..fields])
    } else {
        let mut room: Vec<_> = (0..fields).map(|_| MaybeUninit::uninit()).collect();
        parse(&mut room)
    }
}

fn field(
    head: &Bytes,
    parsed: &httparse::Header<'_>,
) -> Result<(HeaderName, HeaderValue), ParseError> {
    let name = HeaderName::from_bytes(parsed.name.as_bytes()).map_err(|_| ParseError::Syntax)?;
    let value = HeaderValue::from_maybe_shared(head.slice_ref(parsed.value))
        .map_err(|_| ParseError::Syntax)?;
    Ok((name, value))
}

/// Whether a connection stays open, from the `connection` lines so far. A `close` is final.
struct KeepAlive {
    stays: bool,
    closed: bool,
}

impl KeepAlive {
    fn of(version: Version) -> Self {
        Self {
            stays: version == Version::HTTP_11,
            closed: false,
        }
    }

    fn observe(&mut self, value: &HeaderValue) {
        if self.closed || has_token(value, "close") {
            self.closed = true;
            self.stays = false;
        } else if !self.stays {
            self.stays = has_token(value, "keep-alive");
        }
    }
}

fn version(minor: Option<u8>) -> Version {
    if minor == Some(1) {
        Version::HTTP_11
    } else {
        Version::HTTP_10
    }
}

/// Splits a request's head off the buffer; `None` asks for more bytes.
pub(super) fn request(
    buffer: &mut BytesMut,
    search: &mut HeadFinder,
    limits: Limits,
) -> Result<Option<RequestHead>, ParseError> {
    let head = search.take(buffer, limits, |bytes| {
        if PREFACE.starts_with(bytes) {
            return Ok(());
        }
        with_header_buffer(limits.fields, |room| {
            httparse::Request::new(&mut [])
                .parse_with_uninit_headers(bytes, room)
                .map(drop)
                .map_err(parse_error)
        })
    })?;
    let Some(head) = head else {
        return Ok(None);
    };
    if PREFACE.starts_with(&head) {
        return Err(ParseError::Http2);
    }
    with_header_buffer(limits.fields, |room| parse_request(&head, room)).map(Some)
}

fn parse_request<'b>(
    head: &'b Bytes,
    room: &mut [MaybeUninit<httparse::Header<'b>>],
) -> Result<RequestHead, ParseError> {
    let mut parsed = httparse::Request::new(&mut []);
    let status = parsed
        .parse_with_uninit_headers(head, room)
        .map_err(parse_error)?;
    let (true, Some(method), Some(target)) = (status.is_complete(), parsed.method, parsed.path)
    else {
        return Err(ParseError::Syntax);
    };
    if target.len() > MAX_TARGET {
        return Err(ParseError::TargetTooLong);
    }
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| ParseError::Syntax)?;
    if !request_line::is_method(&method) {
        return Err(ParseError::Syntax);
    }
    let uri = request_line::parse(&method, head.slice_ref(target.as_bytes()))?;
    let version = version(parsed.version);
    let mut alive = KeepAlive::of(version);
    let mut headers = header_pool::take(parsed.headers.len() + ADDED_FIELDS);
    let (mut length, mut coded, mut chunked) = (None, false, false);
    let (mut expects, mut trailers, mut hosted) = (false, false, false);
    for parsed in parsed.headers.iter() {
        let (name, value) = field(head, parsed)?;
        match name {
            // RFC 9112 section 3.2: more than one `host` is an error.
            header::HOST if std::mem::replace(&mut hosted, true) => return Err(ParseError::Syntax),
            header::CONTENT_LENGTH => {
                let number = digits(value.as_bytes()).ok_or(ParseError::Syntax)?;
                match length {
                    None => length = Some(number),
                    Some(before) if before == number => continue,
                    Some(_) => return Err(ParseError::Syntax),
                }
            }
            header::TRANSFER_ENCODING => {
                // A repeated coding is refused.
                chunked = !coded && is_chunked(&value);
                coded = true;
            }
            header::CONNECTION => alive.observe(&value),
            header::TE => trailers |= has_token(&value, "trailers"),
            header::EXPECT => {
                expects = value.as_bytes().eq_ignore_ascii_case(b"100-continue");
            }
            _ => {}
        }
        headers.append(name, value);
    }
    if coded && (version == Version::HTTP_10 || length.is_some()) {
        // Both a coding and a length: request smuggling.
        return Err(ParseError::Syntax);
    }
    if coded && !chunked {
        return Err(ParseError::Coding);
    }
    let framing = if coded {
        Framing::Chunked
    } else {
        Framing::length(length.unwrap_or(0))
    };
    Ok(RequestHead {
        expects: expects && version == Version::HTTP_11 && framing != Framing::None,
        method,
        uri,
        version,
        headers,
        framing,
        keep_alive: alive.stays,
        trailers,
    })
}

/// Splits a response's head off the buffer, skipping interim ones (1xx other than 101); `None` asks for more bytes.
pub(super) fn response(
    buffer: &mut BytesMut,
    search: &mut HeadFinder,
    limits: Limits,
    method: &Method,
) -> Result<Option<ResponseHead>, ParseError> {
    loop {
        let head = search.take(buffer, limits, |bytes| {
            with_header_buffer(limits.fields, |room| {
                httparse::ParserConfig::default()
                    .parse_response_with_uninit_headers(
                        &mut httparse::Response::new(&mut []),
                        bytes,
                        room,
                    )
                    .map(drop)
                    .map_err(parse_error)
            })
        })?;
        let Some(head) = head else {
            return Ok(None);
        };
        let response =
            with_header_buffer(limits.fields, |room| parse_response(&head, room, method))?;
        if !response.status.is_informational() || response.status == StatusCode::SWITCHING_PROTOCOLS
        {
            return Ok(Some(response));
        }
    }
}

fn parse_response<'b>(
    head: &'b Bytes,
    room: &mut [MaybeUninit<httparse::Header<'b>>],
    method: &Method,
) -> Result<ResponseHead, ParseError> {
    let mut parsed = httparse::Response::new(&mut []);
    let status = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut parsed, head, room)
        .map_err(parse_error)?;
    let (true, Some(code)) = (status.is_complete(), parsed.code) else {
        return Err(ParseError::Syntax);
    };
    let status = StatusCode::from_u16(code).map_err(|_| ParseError::Syntax)?;
    let version = version(parsed.version);
    let mut alive = KeepAlive::of(version);
    let mut headers = header_pool::take(parsed.headers.len() + ADDED_FIELDS);
    let (mut sized, mut coded, mut chunked) = (false, false, false);
    for parsed in parsed.headers.iter() {
        let (name, value) = field(head, parsed)?;
        match name {
            header::CONTENT_LENGTH => sized = true,
            header::TRANSFER_ENCODING => {
                // A repeated coding is refused.
                chunked = !coded && is_chunked(&value);
                coded = true;
            }
            header::CONNECTION => alive.observe(&value),
            _ => {}
        }
        headers.append(name, value);
    }
    let framing = if !super::framing::may_have_body(method, status) {
        Framing::None
    } else if coded {
        if version == Version::HTTP_10 {
            return Err(ParseError::Syntax);
        }
        if sized {
            headers.remove(header::CONTENT_LENGTH);
            alive.stays = false;
        }
        if !chunked {
            return Err(ParseError::Coding);
        }
        Framing::Chunked
    } else {
        match content_length(&headers) {
            ContentLength::Agreed(length) => {
                // Replaces several lines, or several equal numbers in one, by one line with one number.
                if headers
                    .get(header::CONTENT_LENGTH)
                    .is_some_and(|value| digits(value.as_bytes()).is_none())
                    || headers
                        .get_all(header::CONTENT_LENGTH)
                        .iter()
                        .nth(1)
                        .is_some()
                {
                    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
                }
                Framing::length(length)
            }
            ContentLength::Wrong => return Err(ParseError::Syntax),
            ContentLength::Absent => Framing::UntilClose,
        }
    };
    let switching = status == StatusCode::SWITCHING_PROTOCOLS;
    Ok(ResponseHead {
        status,
        headers,
        framing,
        keep_alive: alive.stays && framing != Framing::UntilClose && !switching,
    })
}
