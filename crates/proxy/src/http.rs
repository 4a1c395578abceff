//! HTTP: one request from its arrival to the last byte of its response.

pub(crate) mod access_log_entry;
pub(crate) mod cached_header_values;
pub(crate) mod deadline_timer;
mod deadlines;
mod forward;
mod headers;
pub(crate) mod http2;
pub(crate) mod local_reply;
mod path;
pub(crate) mod received_body;
pub(crate) mod response_body;
mod session;
pub(crate) mod upgrade;
pub(crate) mod upstream_request_body;

use std::rc::Rc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::http_protocol_options::HeadersWithUnderscoresAction;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};

use crate::config::action::Action;
use crate::config::format::LogFields;
use crate::config::http_connection_manager::{ServerHeader, StripPort};
use crate::config::matcher::{RequestView, is_grpc};
use crate::config::route::without_port;
use crate::http1::{Limits, header_pool};

use access_log_entry::AccessLogEntry;
use deadline_timer::DeadlineTimer;
use http2::Stream;
use local_reply::LocalReply;
use received_body::IncomingBody;
use response_body::{ResponseBody, ResponseContent};
pub(crate) use session::{InFlight, Session};

/// The state of one request.
struct RequestContext<'a> {
    session: &'a Rc<Session>,
    /// Present for HTTP/2 clients.
    stream: Option<Rc<Stream>>,
    started: Instant,
    /// Moves to the response body.
    in_flight: Option<InFlight>,
    log_entry: Option<Box<AccessLogEntry>>,
    /// Whether the client uses gRPC, so that local replies are gRPC responses.
    grpc: bool,
    request_id: Option<HeaderValue>,
    authority: HeaderValue,
}

/// Answers one request. Errors become responses; only a broken upstream body ends the connection.
pub(crate) async fn handle(
    session: Rc<Session>,
    request: Request<IncomingBody>,
) -> Response<ResponseBody> {
    let started = Instant::now();
    let in_flight = InFlight::begin(&session, started);
    let (mut parts, body) = request.into_parts();
    let mut request = RequestContext {
        stream: session.http2.then(Stream::current),
        started,
        in_flight: Some(in_flight),
        log_entry: None,
        grpc: is_grpc(&parts.headers),
        request_id: None,
        authority: HeaderValue::from_static(""),
        session: &session,
    };
    let response = match request.prepare(&mut parts) {
        Err(reply) => request.reply(reply),
        Ok(()) => request.route(&mut parts, body).await,
    };
    header_pool::put(parts.headers);
    response
}

impl RequestContext<'_> {
    /// Normalizes the request into the form that routes and upstreams expect.
    fn prepare(&mut self, parts: &mut Parts) -> Result<(), LocalReply> {
        let session = self.session;
        let manager = &session.manager;
        let version = parts.version;
        let authority = authority(parts);
        self.authority = authority.clone().unwrap_or(HeaderValue::from_static(""));
        if !manager.access_logs.is_empty() {
            self.log_entry = Some(self.start_log_entry(parts));
        }
        if version < Version::HTTP_11 && !manager.accept_http_10 {
            let reply =
                LocalReply::text(StatusCode::UPGRADE_REQUIRED, "Upgrade Required").closing();
            return Err(reply.with_details("low_version", "DPE"));
        }
        let Some(authority) =
            authority.filter(|authority| !authority.is_empty() || parts.method != Method::CONNECT)
        else {
            return Err(LocalReply::invalid("missing_host_header").closing());
        };
        if !is_valid_authority(authority.as_bytes()) {
            return Err(LocalReply::bad_request("invalid_authority"));
        }
        self.authority = self.strip_port(authority);
        if session.http2 {
            let limits = Limits {
                bytes: manager.max_header_bytes,
                fields: manager.max_header_count,
            };
            if !limits.admit(&parts.headers) {
                let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                let text = status.canonical_reason().unwrap_or_default();
                return Err(LocalReply::text(status, text).with_details("headers_too_large", "DPE"));
            }
            headers::join_cookies(&mut parts.headers);
        }
        // Routes match the request as the upstream receives it, so these come before matching, as in Envoy.
        if manager.underscores != HeadersWithUnderscoresAction::Allow {
            let drop = manager.underscores == HeadersWithUnderscoresAction::DropHeader;
            if !headers::without_underscores(&mut parts.headers, drop) {
                return Err(LocalReply::invalid("unexpected_underscore"));
            }
        }
        self.normalize_path(parts)?;
        if headers::sanitize_request(&mut parts.headers, session).is_err() {
            return Err(LocalReply::bad_request("connection_header_rejected"));
        }
        if manager.request_id_in_response || self.log_entry.is_some() {
            self.request_id = parts.headers.get("x-request-id").cloned();
        }
        if let (Some(log_entry), Some(id)) = (&mut self.log_entry, &self.request_id) {
            log_entry.request.insert("x-request-id", id.clone());
        }
        Ok(())
    }

    fn strip_port(&self, authority: HeaderValue) -> HeaderValue {
        let mode = self.session.manager.strip_port;
        if mode == StripPort::Keep {
            return authority;
        }
        let Ok(text) = authority.to_str() else {
            return authority;
        };
        let host = without_port(text);
        let own = text[host.len()..]
            .strip_prefix(':')
            .is_some_and(|port| port == self.session.addresses.local.port().to_string());
        if host.len() == text.len() || (mode == StripPort::Matching && !own) {
            return authority;
        }
        HeaderValue::from_str(host).unwrap_or(authority)
    }

    fn normalize_path(&self, parts: &mut Parts) -> Result<(), LocalReply> {
        let manager = &self.session.manager;
        let original = parts.uri.path();
        // `*` of an OPTIONS request stands for the server.
        if (!manager.normalize_path && !manager.merge_slashes) || original == "*" {
            return Ok(());
        }
        let failed = || LocalReply::invalid("path_normalization_failed");
        let mut normal = std::borrow::Cow::Borrowed(original);
        if manager.normalize_path {
            normal = path::normalize(original).ok_or_else(|| failed().closing())?;
        }
        if manager.merge_slashes {
            normal = path::merge_slashes(&normal).into_owned().into();
        }
        if normal != original {
            let normal = normal.into_owned();
            parts.uri = with_path(&parts.uri, &normal).ok_or_else(failed)?;
        }
        Ok(())
    }

    async fn route(&mut self, parts: &mut Parts, body: IncomingBody) -> Response<ResponseBody> {
        let Some(table) = self.session.routes() else {
            self.session.stats.no_route.inc();
            return self.reply(
                LocalReply::empty(StatusCode::NOT_FOUND)
                    .with_details("route_configuration_not_found", "NR"),
            );
        };
        let authority = self.authority.clone();
        let request = RequestView {
            method: &parts.method,
            authority: authority.to_str().unwrap_or_default(),
            path: parts.uri.path(),
            query: parts.uri.query(),
            scheme: "http",
            headers: &parts.headers,
        };
        // CONNECT needs a route with a CONNECT matcher, which is not supported; `*` is not a path.
        let tunnels = parts.method == Method::CONNECT;
        let unroutable = tunnels || parts.uri.path() == "*";
        let Some(route) = table.find(&request).filter(|_| !unroutable) else {
            self.session.stats.no_route.inc();
            let mut reply = LocalReply::empty(StatusCode::NOT_FOUND);
            if tunnels {
                reply = reply.closing();
            }
            return self.reply(reply.with_details("route_not_found", "NR"));
        };
        if let Some(log_entry) = &mut self.log_entry {
            log_entry.route = Some(route.name.clone());
        }
        let reply = match &route.action {
            Action::DirectResponse { status, body } => {
                self.session.stats.rq_direct_response.inc();
                LocalReply::direct(*status, body.clone())
            }
            Action::Redirect(redirect) => {
                self.session.stats.rq_redirect.inc();
                let location =
                    local_reply::location(redirect, &route.matcher.path, &authority, &parts.uri);
                LocalReply::redirect(redirect.status, location)
            }
            Action::Forward(forward) => return self.forward(route, forward, parts, body).await,
        };
        let mut response = self.reply(reply);
        let fields = LogFields {
            method: parts.method.as_str(),
            route: &route.name,
            ..LogFields::default()
        };
        for mutation in &route.response_mutations {
            mutation.apply(response.headers_mut(), &fields);
        }
        response
    }

    fn timer(&self) -> &DeadlineTimer {
        match &self.stream {
            Some(stream) => &stream.timer,
            None => &self.session.timer,
        }
    }

    /// Builds a local reply.
    fn reply(&mut self, reply: LocalReply) -> Response<ResponseBody> {
        let session = self.session;
        if let Some(log_entry) = &mut self.log_entry {
            log_entry.details = reply.details;
            log_entry.flags = reply.flags;
        }
        let (mut head, body) = reply.into_response(self.grpc).into_parts();
        self.set_response_headers(&mut head.headers, true);
        if let Some(log_entry) = &mut self.log_entry {
            log_entry.status = head.status.as_u16();
            log_entry.response = head.headers.clone();
        }
        session.stats.response(head.status.as_u16());
        let log_entry = self.log_entry.take();
        let content = ResponseContent::Local { body, log_entry };
        Response::from_parts(head, ResponseBody::new(content, self.in_flight.take()))
    }

    /// Sets the headers of every response.
    fn set_response_headers(&self, headers: &mut HeaderMap, local: bool) {
        let manager = &self.session.manager;
        match &manager.server {
            ServerHeader::AppendIfAbsent(_) if headers.contains_key(header::SERVER) => {}
            ServerHeader::PassThrough if !local => {}
            server => {
                headers.insert(header::SERVER, server_name(server));
            }
        }
        if manager.request_id_in_response
            && let Some(id) = &self.request_id
        {
            headers.insert("x-request-id", id.clone());
        }
        if let Some(via) = &manager.via {
            headers.append(header::VIA, via.clone());
        }
        if !self.session.http2 && self.session.should_close() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }

    fn start_log_entry(&self, parts: &Parts) -> Box<AccessLogEntry> {
        let session = self.session;
        let path = parts.uri.path_and_query();
        let length = parts.headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        Box::new(AccessLogEntry {
            logs: session.worker.logs.clone(),
            manager: session.manager.clone(),
            start: SystemTime::now(),
            started: self.started,
            protocol: match parts.version {
                Version::HTTP_2 => "HTTP/2",
                Version::HTTP_10 => "HTTP/1.0",
                _ => "HTTP/1.1",
            },
            method: parts.method.clone(),
            path: path.map_or_else(String::new, |path| path.as_str().to_owned()),
            authority: self.authority.to_str().unwrap_or_default().to_owned(),
            request: parts.headers.clone(),
            response: HeaderMap::new(),
            trailers: None,
            status: 0,
            details: "-",
            flags: "",
            bytes_received: length.unwrap_or(0),
            bytes_sent: 0,
            answered: None,
            upstream_host: None,
            upstream_cluster: None,
            local: session.addresses.local,
            remote: session.addresses.remote,
            route: None,
            attempts: 0,
        })
    }
}

/// The response to bytes that are not an HTTP request.
pub(crate) fn error_response(
    session: &Session,
    status: StatusCode,
    text: &'static str,
) -> Response<Bytes> {
    let mut response = LocalReply::text(status, text)
        .closing()
        .into_response(false);
    let server = server_name(&session.manager.server);
    response.headers_mut().insert(header::SERVER, server);
    response
}

/// The `server` header of local replies.
fn server_name(server: &ServerHeader) -> HeaderValue {
    match server {
        ServerHeader::Overwrite(name) | ServerHeader::AppendIfAbsent(name) => name.clone(),
        ServerHeader::PassThrough => HeaderValue::from_static("envoy"),
    }
}

/// The requested host: of an absolute request target, else of the `host` header.
fn authority(parts: &Parts) -> Option<HeaderValue> {
    match parts.uri.authority() {
        Some(authority) => {
            // User information is not forwarded (RFC 9110 section 4.2.4).
            let host = authority.as_str().rsplit('@').next().unwrap_or_default();
            HeaderValue::from_str(host).ok()
        }
        None => parts.headers.get(header::HOST).cloned(),
    }
}

/// Whether a host is syntactically valid: letters, digits and the punctuation of RFC 3986 section 3.2.
fn is_valid_authority(host: &[u8]) -> bool {
    host.iter()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:%@[]".contains(byte))
}

/// The same target with another path; the query stays unless the path has its own.
fn with_path(uri: &Uri, path: &str) -> Option<Uri> {
    let target = match uri.query() {
        Some(query) if !path.contains('?') => format!("{path}?{query}"),
        _ => path.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(target.parse().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn future_size<A, B, F: Future>(_: impl Fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// The state of a request is moved when the request begins, so every request pays for its size. Rarely used
    /// branches (opening connections, upgrades) are boxed to keep it small.
    #[test]
    fn request_state_stays_small() {
        let size = future_size(handle);
        assert!(size <= 4608, "{size} bytes");
    }
}
