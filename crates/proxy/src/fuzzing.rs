//! What the fuzz targets need of the inside (docs/decisions/0008). No part of the interface: it changes
//! without notice.

use crate::http1::{Limits, read_request, read_response};
use http::{HeaderMap, Method, StatusCode, Uri};

/// A body with its trailers.
pub type Body = (Vec<u8>, Option<HeaderMap>);

const LIMITS: Limits = Limits {
    bytes: 8 * 1024,
    fields: 100,
};

/// A request as it was understood.
#[derive(Debug, PartialEq)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// Its target.
    pub uri: Uri,
    /// Its fields.
    pub headers: HeaderMap,
    /// None if it is malformed or cut.
    pub body: Option<Body>,
    /// How many bytes stand behind it, where its end is known.
    pub left: usize,
}

/// A response as it was understood.
#[derive(Debug, PartialEq)]
pub struct Response {
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub headers: HeaderMap,
    /// None if it is malformed or cut.
    pub body: Option<Body>,
}

/// Reads the first request of these bytes, which arrive in pieces that end at `cuts` (sorted).
pub fn request(bytes: &[u8], cuts: &[usize]) -> Option<Request> {
    read_request(bytes, cuts, LIMITS)
}

/// Reads the response to a request with this method, likewise.
pub fn response(bytes: &[u8], cuts: &[usize], method: &Method) -> Option<Response> {
    read_response(bytes, cuts, LIMITS, method)
}
