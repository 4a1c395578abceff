//! Encodes messages.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};

use super::buffered_stream::WriteBuffer;
use super::date_header;
use super::framing::{ContentLength, content_length, has_token, may_have_body};

/// Encodes a body with the framing of its head.
#[derive(Debug)]
pub(super) struct Encoder {
    kind: Kind,
    /// Announced trailer fields; others are not sent.
    trailers: Vec<HeaderName>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Remaining bytes. Surplus ones are not sent.
    Length(u64),
    Chunked,
    UntilClose,
}

/// The body is shorter than its `content-length`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BodyTooShort;

impl Encoder {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            trailers: Vec::new(),
        }
    }

    /// A chunked encoder, with the trailers that these headers announce.
    fn chunked(headers: &HeaderMap) -> Self {
        let announced = headers.get_all(header::TRAILER).iter();
        let trailers = announced
            .filter_map(|value| value.to_str().ok())
            .flat_map(|text| text.split(','))
            .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
            .collect();
        Self {
            kind: Kind::Chunked,
            trailers,
        }
    }

    /// Whether the connection cannot be used after this body.
    pub(super) fn is_last(&self) -> bool {
        self.kind == Kind::UntilClose
    }

    /// Whether no further bytes of the body are written.
    pub(super) fn is_full(&self) -> bool {
        self.kind == Kind::Length(0)
    }

    pub(super) fn data(&mut self, mut data: Bytes, output: &mut WriteBuffer) {
        match &mut self.kind {
            Kind::Length(left) => {
                if let Ok(left) = usize::try_from(*left) {
                    data.truncate(left);
                }
                *left -= data.len() as u64;
                output.push(data);
            }
            // An empty chunk would end the body.
            Kind::Chunked if data.is_empty() => {}
            Kind::Chunked => {
                append_hex(data.len(), output.tail());
                output.tail().extend_from_slice(b"\r\n");
                output.push(data);
                output.tail().extend_from_slice(b"\r\n");
            }
            Kind::UntilClose => output.push(data),
        }
    }

    /// Ends the body, with `trailers` only if its head announced them.
    pub(super) fn end(
        &mut self,
        trailers: Option<&HeaderMap>,
        output: &mut WriteBuffer,
    ) -> Result<(), BodyTooShort> {
        match self.kind {
            Kind::Length(0) | Kind::UntilClose => Ok(()),
            Kind::Length(_) => Err(BodyTooShort),
            Kind::Chunked => {
                let out = output.tail();
                out.extend_from_slice(b"0\r\n");
                for (name, value) in trailers.into_iter().flatten() {
                    if self.trailers.contains(name) && is_trailer(name) {
                        append_field(name, value, out);
                    }
                }
                out.extend_from_slice(b"\r\n");
                Ok(())
            }
        }
    }
}

/// Fields that affect framing, routing or authentication are not allowed in trailers (RFC 9110 section 6.5.1).
fn is_trailer(name: &HeaderName) -> bool {
    !matches!(
        *name,
        header::AUTHORIZATION
            | header::CACHE_CONTROL
            | header::CONTENT_ENCODING
            | header::CONTENT_LENGTH
            | header::CONTENT_RANGE
            | header::CONTENT_TYPE
            | header::HOST
            | header::MAX_FORWARDS
            | header::SET_COOKIE
            | header::TRAILER
            | header::TRANSFER_ENCODING
            | header::TE
    )
}

fn append_hex(number: usize, out: &mut Vec<u8>) {
    let digits = (usize::BITS - number.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(number >> (place * 4)) & 15]);
    }
}

fn append_field(name: &HeaderName, value: &HeaderValue, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn append_length(length: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"content-length: ");
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The length of a body, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyLength {
    Empty,
    /// Bytes.
    Exact(u64),
    Unknown,
}

impl BodyLength {
    pub(super) fn of(body: &impl hyper::body::Body) -> Self {
        if body.is_end_stream() {
            Self::Empty
        } else {
            body.size_hint().exact().map_or(Self::Unknown, Self::Exact)
        }
    }
}

/// Whether a `content-length` is consistent with such a body.
fn fits(length: &ContentLength, body_length: BodyLength) -> bool {
    match (length, body_length) {
        (ContentLength::Agreed(length), BodyLength::Empty) => *length == 0,
        (ContentLength::Agreed(_), BodyLength::Exact(_) | BodyLength::Unknown) => true,
        (ContentLength::Absent | ContentLength::Wrong, _) => false,
    }
}

/// The head of an outgoing request.
#[derive(Clone, Copy)]
pub(crate) struct OutgoingHead<'a> {
    pub(crate) method: &'a Method,
    pub(crate) target: &'a Uri,
    /// Replaces the `host` header.
    pub(crate) host: &'a HeaderValue,
    pub(crate) headers: &'a HeaderMap,
}

/// Writes a request's head.
pub(super) fn request(
    head: &OutgoingHead<'_>,
    body_length: BodyLength,
    out: &mut Vec<u8>,
) -> Encoder {
    let OutgoingHead {
        method,
        target,
        host,
        headers,
    } = *head;
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    match (target.authority(), target.path_and_query()) {
        (None, Some(path)) => {
            // A target of only a query is one of the root (RFC 9112 section 3.2.1).
            if path.as_str().starts_with('?') {
                out.push(b'/');
            }
            out.extend_from_slice(path.as_str().as_bytes());
        }
        _ => out.extend_from_slice(target.to_string().as_bytes()),
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let mut hosted = false;
    for (name, value) in headers {
        match *name {
            header::HOST if hosted => {}
            header::HOST => {
                hosted = true;
                append_field(name, host, out);
            }
            header::TRANSFER_ENCODING => {}
            // A wrong length would make part of the body the next request.
            header::CONTENT_LENGTH if !fits(&content_length(headers), body_length) => {}
            _ => append_field(name, value, out),
        }
    }
    if !hosted {
        append_field(&header::HOST, host, out);
    }
    let encoder = if body_length == BodyLength::Empty {
        if has_body_by_definition(method) && !headers.contains_key(header::CONTENT_LENGTH) {
            append_length(0, out);
        }
        Encoder::new(Kind::Length(0))
    } else {
        match (content_length(headers), body_length) {
            (ContentLength::Agreed(length), _) => Encoder::new(Kind::Length(length)),
            (_, BodyLength::Exact(length)) => {
                append_length(length, out);
                Encoder::new(Kind::Length(length))
            }
            (_, BodyLength::Empty | BodyLength::Unknown) => {
                out.extend_from_slice(b"transfer-encoding: chunked\r\n");
                Encoder::chunked(headers)
            }
        }
    };
    out.extend_from_slice(b"\r\n");
    encoder
}

/// Whether a request with this method has `content-length: 0` when it has no body (RFC 9110 section 8.6).
fn has_body_by_definition(method: &Method) -> bool {
    !matches!(
        *method,
        Method::GET | Method::HEAD | Method::DELETE | Method::TRACE | Method::CONNECT
    )
}

/// The parts of a request that affect the encoding of its response.
#[derive(Debug, Clone)]
pub(super) struct RequestMeta {
    pub(super) method: Method,
    pub(super) version: Version,
    /// Whether the connection could carry another request.
    pub(super) keep_alive: bool,
    /// Whether the client accepts trailers.
    pub(super) trailers: bool,
}

/// Writes a response's head. Returns the body's encoder (`None`: no body follows) and whether the connection stays
/// open.
pub(super) fn response(
    status: StatusCode,
    headers: &HeaderMap,
    request: &RequestMeta,
    body_length: BodyLength,
    out: &mut Vec<u8>,
) -> (Option<Encoder>, bool) {
    let old = request.version == Version::HTTP_10;
    append_status(status, old, out);
    let switching = status == StatusCode::SWITCHING_PROTOCOLS;
    let bodied = may_have_body(&request.method, status);
    let mut stays = request.keep_alive;
    // The upstream's `content-length` delimits the body, if there is one.
    let mut sized = None;
    let (mut dated, mut alive, mut close) = (false, false, false);
    for (name, value) in headers {
        match *name {
            header::CONTENT_LENGTH => {
                let length = super::framing::digits(value.as_bytes());
                let is_wrong = bodied && body_length == BodyLength::Empty && length != Some(0);
                let misplaced = status == StatusCode::NO_CONTENT || status.is_informational();
                if sized.is_some() || length.is_none() || is_wrong || misplaced {
                    continue;
                }
                sized = length;
            }
            header::TRANSFER_ENCODING => continue,
            header::CONNECTION => {
                close |= has_token(value, "close");
                alive |= has_token(value, "keep-alive");
            }
            header::DATE => dated = true,
            header::TRAILER if old || !bodied => continue,
            _ => {}
        }
        append_field(name, value, out);
    }
    stays &= !close;
    let encoder = if !bodied {
        if let (None, BodyLength::Exact(length), &Method::HEAD) =
            (sized, body_length, &request.method)
        {
            append_length(length, out);
        }
        None
    } else {
        let known = match body_length {
            BodyLength::Empty => Some(0),
            BodyLength::Exact(length) => Some(length),
            BodyLength::Unknown => None,
        };
        Some(match (sized, known) {
            (Some(length), _) => Encoder::new(Kind::Length(length)),
            (None, Some(length)) => {
                append_length(length, out);
                Encoder::new(Kind::Length(length))
            }
            (None, None) if old => Encoder::new(Kind::UntilClose),
            (None, None) => {
                out.extend_from_slice(b"transfer-encoding: chunked\r\n");
                let mut encoder = Encoder::chunked(headers);
                if !request.trailers {
                    encoder.trailers.clear();
                }
                encoder
            }
        })
    };
    stays &= !switching && !encoder.as_ref().is_some_and(Encoder::is_last);
    if !switching {
        if !stays && !close && !old {
            out.extend_from_slice(b"connection: close\r\n");
        } else if stays && old && !alive {
            // HTTP/1.0 keep-alive must be confirmed.
            out.extend_from_slice(b"connection: keep-alive\r\n");
        }
    }
    if !dated {
        out.extend_from_slice(b"date: ");
        date_header::append(out);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    (encoder, stays)
}

fn append_status(status: StatusCode, old: bool, out: &mut Vec<u8>) {
    if status == StatusCode::OK && !old {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    out.extend_from_slice(if old { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    // Envoy's reason phrase for unregistered statuses.
    let reason = status.canonical_reason().unwrap_or("Unknown");
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
}
