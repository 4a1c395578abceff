//! Responses of the proxy itself: errors, redirects, direct responses. Bodies and response flags are Envoy's.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, header};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

use super::path;
use crate::config::action::{PathRewrite, Redirect};
use crate::config::matcher::PathMatch;
use crate::config::route::without_port;

pub(super) struct LocalReply {
    pub(super) status: StatusCode,
    body: Bytes,
    location: Option<HeaderValue>,
    overloaded: bool,
    /// Stays an HTTP response for gRPC clients too.
    plain: bool,
    /// Whether the connection closes after this response.
    closing: bool,
    pub(super) details: &'static str,
    pub(super) flags: &'static str,
}

impl LocalReply {
    pub(super) fn empty(status: StatusCode) -> Self {
        Self::text(status, Bytes::new())
    }

    pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            body: body.into(),
            location: None,
            overloaded: false,
            plain: false,
            closing: false,
            details: "-",
            flags: "",
        }
    }

    /// The reply to a malformed request; closes the connection, because the following bytes may not be a request.
    pub(super) fn bad_request(details: &'static str) -> Self {
        let reply = Self::text(StatusCode::BAD_REQUEST, "Bad Request");
        reply.with_details(details, "DPE").closing()
    }

    /// The reply to a request with unacceptable header fields.
    pub(super) fn invalid(details: &'static str) -> Self {
        Self::empty(StatusCode::BAD_REQUEST).with_details(details, "DPE")
    }

    pub(super) fn direct(status: StatusCode, body: Bytes) -> Self {
        Self {
            details: "direct_response",
            ..Self::text(status, body)
        }
    }

    pub(super) fn redirect(status: StatusCode, location: HeaderValue) -> Self {
        Self {
            location: Some(location),
            plain: true,
            details: "direct_response",
            ..Self::empty(status)
        }
    }

    pub(super) fn with_details(mut self, details: &'static str, flags: &'static str) -> Self {
        (self.details, self.flags) = (details, flags);
        self
    }

    pub(super) fn overloaded(mut self) -> Self {
        self.overloaded = true;
        self
    }

    pub(super) fn closing(mut self) -> Self {
        self.closing = true;
        self
    }

    pub(super) fn into_response(self, grpc: bool) -> Response<Bytes> {
        let mut headers = HeaderMap::new();
        let mut status = self.status;
        let mut body = self.body;
        if let Some(location) = self.location {
            headers.insert(header::LOCATION, location);
        }
        if self.closing {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if self.overloaded {
            headers.insert("x-envoy-overloaded", HeaderValue::from_static("true"));
        }
        if grpc && !self.plain {
            headers.insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/grpc"),
            );
            headers.insert("grpc-status", HeaderValue::from(grpc_from_http(status)));
            if !body.is_empty()
                && let Ok(message) = HeaderValue::from_str(&grpc_message(&body))
            {
                headers.insert("grpc-message", message);
            }
            status = StatusCode::OK;
            body = Bytes::new();
        } else {
            if !body.is_empty() {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
            }
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}

/// `grpc-message`: everything but printable ASCII, and the percent sign, is percent-encoded.
fn grpc_message(text: &[u8]) -> String {
    const ENCODED: &AsciiSet = &CONTROLS.add(b'%');
    percent_encode(text, ENCODED).to_string()
}

/// The gRPC status of a local reply, after the gRPC specification's table.
fn grpc_from_http(status: StatusCode) -> u32 {
    match status.as_u16() {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

/// The HTTP status that a gRPC status counts as for outlier detection.
pub(super) fn http_from_grpc(status: u32) -> u16 {
    match status {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}

pub(super) fn grpc_status(headers: &HeaderMap) -> Option<u32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// The target of a redirect.
pub(super) fn location(
    redirect: &Redirect,
    matched: &PathMatch,
    authority: &HeaderValue,
    uri: &Uri,
) -> HeaderValue {
    let authority = authority.to_str().unwrap_or_default();
    let scheme = redirect.scheme.as_deref().unwrap_or("http");
    let host = redirect.host.as_deref();
    let host = match redirect.port {
        Some(port) => format!("{}:{port}", host.unwrap_or(without_port(authority))),
        None => host.unwrap_or(authority).to_owned(),
    };
    let mut target = match &redirect.path {
        PathRewrite::Keep => uri.path().to_owned(),
        other => path::rewrite(other, matched, uri.path()).unwrap_or_default(),
    };
    if !redirect.strip_query
        && !target.contains('?')
        && let Some(query) = uri.query()
    {
        target = format!("{target}?{query}");
    }
    HeaderValue::from_str(&format!("{scheme}://{host}{target}"))
        .unwrap_or(HeaderValue::from_static("/"))
}
