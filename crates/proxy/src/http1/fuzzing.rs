//! Decodes one message from complete bytes, for the fuzz targets (docs/decisions/0008). Not a stable interface.

use bytes::BytesMut;
use http::{HeaderMap, Method, StatusCode, Uri};

use super::body_decoder::{BodyPart, Decoder};
use super::framing::Framing;
use super::head::{self, HeadFinder, Limits, ParseError};

/// A body with its trailers.
pub type Body = (Vec<u8>, Option<HeaderMap>);

const LIMITS: Limits = Limits {
    bytes: 8 * 1024,
    fields: 100,
};

/// A decoded request.
#[derive(Debug, PartialEq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The request target.
    pub uri: Uri,
    /// The header fields.
    pub headers: HeaderMap,
    /// `None` if it is malformed or truncated.
    pub body: Option<Body>,
    /// Number of bytes after the message, if its end is known.
    pub left: usize,
}

/// A decoded response.
#[derive(Debug, PartialEq)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// `None` if it is malformed or truncated.
    pub body: Option<Body>,
}

/// Decodes the first request of these bytes, which arrive in pieces that end at `cuts` (sorted).
pub fn request(bytes: &[u8], cuts: &[usize]) -> Option<Request> {
    let mut reader = SplitReader::new(bytes, cuts);
    let head = reader.head(|buffer, finder| head::request(buffer, finder, LIMITS))?;
    let body = reader.body(head.framing);
    let left = reader.buffer.len() + reader.rest.len();
    Some(Request {
        method: head.method,
        uri: head.uri,
        headers: head.headers,
        left: body.as_ref().map_or(0, |_| left),
        body,
    })
}

/// Decodes the response to a request with this method, likewise.
pub fn response(bytes: &[u8], cuts: &[usize], method: &Method) -> Option<Response> {
    let mut reader = SplitReader::new(bytes, cuts);
    let head = reader.head(|buffer, finder| head::response(buffer, finder, LIMITS, method))?;
    Some(Response {
        status: head.status,
        headers: head.headers,
        body: reader.body(head.framing),
    })
}

/// Bytes that arrive in pieces.
struct SplitReader<'a> {
    rest: &'a [u8],
    at: usize,
    cuts: &'a [usize],
    buffer: BytesMut,
}

impl<'a> SplitReader<'a> {
    fn new(bytes: &'a [u8], cuts: &'a [usize]) -> Self {
        Self {
            rest: bytes,
            at: 0,
            cuts,
            buffer: BytesMut::new(),
        }
    }

    /// Appends the next piece; false at the end.
    fn more(&mut self) -> bool {
        while let [cut, cuts @ ..] = self.cuts {
            self.cuts = cuts;
            let length = cut.saturating_sub(self.at).min(self.rest.len());
            if length > 0 {
                self.take(length);
                return true;
            }
        }
        let left = self.rest.len();
        self.take(left);
        left > 0
    }

    fn take(&mut self, length: usize) {
        let (piece, rest) = self.rest.split_at(length);
        self.buffer.extend_from_slice(piece);
        self.rest = rest;
        self.at += length;
    }

    fn head<T>(
        &mut self,
        mut read: impl FnMut(&mut BytesMut, &mut HeadFinder) -> Result<Option<T>, ParseError>,
    ) -> Option<T> {
        let mut search = HeadFinder::default();
        while self.more() {
            if let Some(head) = read(&mut self.buffer, &mut search).ok()? {
                return Some(head);
            }
        }
        None
    }

    /// `None` if it is malformed or truncated.
    fn body(&mut self, framing: Framing) -> Option<Body> {
        let mut decoder = Decoder::new(framing);
        let (mut body, mut trailers) = (Vec::new(), None::<HeaderMap>);
        loop {
            match decoder.decode(&mut self.buffer).ok()? {
                Some(BodyPart::Data(data)) => body.extend_from_slice(&data),
                Some(BodyPart::Trailers(fields)) => trailers = Some(fields),
                Some(BodyPart::End) => return Some((body, trailers)),
                None if self.more() => {}
                None => {
                    decoder.close().ok()?;
                    return Some((body, trailers));
                }
            }
        }
    }
}
