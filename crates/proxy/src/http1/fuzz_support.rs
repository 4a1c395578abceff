//! Parses one message from complete bytes, for the fuzz targets.

use super::{
    decode::{BodyPart, Decoder},
    framing::Framing,
    head::{self, HeadFinder, Limits, ParseError},
};
use crate::fuzzing::{Body, Request, Response};
use bytes::BytesMut;
use http::{HeaderMap, Method};

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

    /// The next piece; false at the end.
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

    /// None if it is malformed or ends early.
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

pub(crate) fn read_request(bytes: &[u8], cuts: &[usize], limits: Limits) -> Option<Request> {
    let mut reader = SplitReader::new(bytes, cuts);
    let head = reader.head(|buffer, search| head::request(buffer, search, limits))?;
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

pub(crate) fn read_response(
    bytes: &[u8],
    cuts: &[usize],
    limits: Limits,
    method: &Method,
) -> Option<Response> {
    let mut reader = SplitReader::new(bytes, cuts);
    let head = reader.head(|buffer, search| head::response(buffer, search, limits, method))?;
    Some(Response {
        status: head.status,
        headers: head.headers,
        body: reader.body(head.framing),
    })
}
