//! Hop-by-hop header fields, and header fields that a proxy adds.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::Session;
use crate::http1::has_token;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_EXTERNAL_ADDRESS: HeaderName = HeaderName::from_static("x-envoy-external-address");
const HTTP: HeaderValue = HeaderValue::from_static("http");

/// Headers that only proxies may set: the client's identity, retry and timeout overrides. Envoy removes the same
/// headers when no address is configured as internal.
const UNTRUSTED: [HeaderName; 16] = [
    HeaderName::from_static("x-forwarded-client-cert"),
    HeaderName::from_static("x-envoy-internal"),
    HeaderName::from_static("x-envoy-retry-on"),
    HeaderName::from_static("x-envoy-retry-grpc-on"),
    HeaderName::from_static("x-envoy-max-retries"),
    HeaderName::from_static("x-envoy-retriable-status-codes"),
    HeaderName::from_static("x-envoy-retriable-header-names"),
    HeaderName::from_static("x-envoy-upstream-alt-stat-name"),
    HeaderName::from_static("x-envoy-upstream-rq-timeout-ms"),
    HeaderName::from_static("x-envoy-upstream-rq-timeout-alt-response"),
    HeaderName::from_static("x-envoy-upstream-rq-per-try-timeout-ms"),
    HeaderName::from_static("x-envoy-upstream-stream-duration-ms"),
    HeaderName::from_static("x-envoy-hedge-on-per-try-timeout"),
    HeaderName::from_static("x-envoy-force-trace"),
    HeaderName::from_static("x-envoy-ip-tags"),
    HeaderName::from_static("x-envoy-original-url"),
];

/// Headers set by other proxies of the mesh; only removed at the edge (`use_remote_address`).
const UNTRUSTED_AT_EDGE: [HeaderName; 5] = [
    HeaderName::from_static("x-envoy-decorator-operation"),
    HeaderName::from_static("x-envoy-downstream-service-cluster"),
    HeaderName::from_static("x-envoy-downstream-service-node"),
    HeaderName::from_static("x-envoy-original-path"),
    HeaderName::from_static("x-envoy-original-host"),
];

/// Number of fields in the `connection` header from which a request is refused.
const MAX_NOMINATED: usize = 10;
/// Maximum bytes of a `te` header that `connection` names.
const MAX_TE: usize = 256;

/// The `connection` header names a field that a client must not remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ConnectionHeaderRejected;

/// The presence of header fields in a request, found in one pass over its names.
#[derive(Default)]
struct HeaderScan {
    hop: bool,
    te: bool,
    expect: bool,
    untrusted: bool,
    request_id: bool,
    proto: bool,
}

impl HeaderScan {
    fn scan(headers: &HeaderMap) -> Self {
        let mut seen = Self::default();
        for name in headers.keys() {
            let text = name.as_str();
            match text.as_bytes()[0] {
                b'c' if text == "connection" => seen.hop = true,
                b'k' if text == "keep-alive" => seen.hop = true,
                b'p' if text == "proxy-connection" => seen.hop = true,
                b't' if text == "transfer-encoding" => seen.hop = true,
                b't' if text == "te" => seen.te = true,
                b'u' if text == "upgrade" => seen.hop = true,
                b'e' if text == "expect" => seen.expect = true,
                b'x' if text == "x-request-id" => seen.request_id = true,
                b'x' if text == "x-forwarded-proto" => seen.proto = true,
                b'x' if text.starts_with("x-envoy-") => seen.untrusted = true,
                b'x' if text == "x-forwarded-client-cert" => seen.untrusted = true,
                _ => {}
            }
        }
        seen
    }
}

/// Removes the request headers that routes and upstreams must not see. `connection` and `upgrade` stay until
/// [`remove_hop_headers`], because they identify an upgrade.
pub(super) fn sanitize_request(
    headers: &mut HeaderMap,
    session: &Session,
) -> Result<(), ConnectionHeaderRejected> {
    let mut seen = HeaderScan::scan(headers);
    if seen.hop {
        remove_nominated(headers)?;
        headers.remove(KEEP_ALIVE);
        headers.remove(PROXY_CONNECTION);
        headers.remove(header::TRANSFER_ENCODING);
        seen = HeaderScan::scan(headers);
    }
    if seen.te && headers.get(header::TE).is_none_or(|te| te != "trailers") {
        keep_trailers(headers);
    }
    // The codec answers `100-continue` itself, when the body is first read.
    if seen.expect {
        headers.remove(header::EXPECT);
    }
    if seen.untrusted {
        for name in &UNTRUSTED {
            headers.remove(name);
        }
        if session.manager.use_remote_address {
            for name in &UNTRUSTED_AT_EDGE {
                headers.remove(name);
            }
        }
    }
    let manager = &session.manager;
    if !seen.proto || manager.use_remote_address {
        headers.insert(X_FORWARDED_PROTO, HTTP);
    }
    if manager.use_remote_address {
        append_addresses(headers, session);
    }
    let fresh = !seen.request_id || (manager.use_remote_address && !manager.preserve_request_id);
    if manager.generate_request_id && fresh {
        headers.insert(X_REQUEST_ID, session.worker.request_ids.next());
    }
    if let Some(via) = &manager.via {
        headers.append(header::VIA, via.clone());
    }
    Ok(())
}

/// Removes the remaining hop-by-hop fields, including upgrade offers.
pub(super) fn remove_hop_headers(headers: &mut HeaderMap) {
    headers.remove(header::CONNECTION);
    if headers.remove(header::UPGRADE).is_some() {
        headers.remove(HTTP2_SETTINGS);
    }
}

/// Removes the header fields that `connection` names, except those with rules of their own. As in Envoy, fields in
/// which proxies record the origin of a request must not be named.
fn remove_nominated(headers: &mut HeaderMap) -> Result<(), ConnectionHeaderRejected> {
    let mut nominated: Vec<HeaderName> = Vec::new();
    let mut count = 0;
    for value in headers.get_all(header::CONNECTION) {
        let tokens = value.as_bytes().split(|byte| *byte == b',');
        for token in tokens
            .map(<[u8]>::trim_ascii)
            .filter(|token| !token.is_empty())
        {
            count += 1;
            if count >= MAX_NOMINATED || token.starts_with(b":") {
                return Err(ConnectionHeaderRejected);
            }
            let Ok(name) = HeaderName::from_bytes(token) else {
                continue;
            };
            match name.as_str() {
                "x-forwarded-for" | "x-forwarded-host" | "x-forwarded-proto" | "host" => {
                    return Err(ConnectionHeaderRejected);
                }
                "close" | "upgrade" | "connection" | "keep-alive" => {}
                _ => nominated.push(name),
            }
        }
    }
    for name in nominated {
        if name == header::TE {
            if headers.get(header::TE).is_some_and(|te| te.len() >= MAX_TE) {
                return Err(ConnectionHeaderRejected);
            }
            keep_trailers(headers);
        } else {
            headers.remove(name);
        }
    }
    Ok(())
}

/// Reduces `te` to `trailers`, the only value that is not hop-by-hop.
fn keep_trailers(headers: &mut HeaderMap) {
    let wanted = headers
        .get_all(header::TE)
        .iter()
        .any(|te| has_token(te, "trailers"));
    headers.remove(header::TE);
    if wanted {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// Adds the client's address, at the edge (`use_remote_address`).
fn append_addresses(headers: &mut HeaderMap, session: &Session) {
    let address = session.addresses.remote.ip().to_string();
    let Ok(alone) = HeaderValue::from_str(&address) else {
        return;
    };
    if !session.manager.skip_xff_append {
        let before = headers.get(X_FORWARDED_FOR);
        let value = match before.and_then(|before| before.to_str().ok()) {
            Some(before) => HeaderValue::from_str(&format!("{before},{address}")).ok(),
            None => Some(alone.clone()),
        };
        if let Some(value) = value {
            headers.insert(X_FORWARDED_FOR, value);
        }
    }
    headers.insert(X_EXTERNAL_ADDRESS, alone);
}

/// Removes hop-by-hop headers from a response.
pub(super) fn clean_response(headers: &mut HeaderMap) {
    let mut seen = false;
    for name in headers.keys() {
        seen |= matches!(
            name.as_str(),
            "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade"
        );
    }
    if seen {
        headers.remove(header::CONNECTION);
        headers.remove(KEEP_ALIVE);
        headers.remove(PROXY_CONNECTION);
        headers.remove(header::TRANSFER_ENCODING);
        headers.remove(header::UPGRADE);
    }
}

/// Joins cookies: HTTP/2 may split them over several fields; HTTP/1 servers expect one.
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let mut values = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (values.next(), values.next()) else {
        return;
    };
    let mut joined = first.as_bytes().to_vec();
    for value in std::iter::once(second).chain(values) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(value.as_bytes());
    }
    if let Ok(value) = HeaderValue::from_bytes(&joined) {
        headers.insert(header::COOKIE, value);
    }
}

/// Handles header names with underscores: drops them if `drop`, otherwise detects them. Returns whether the request
/// may continue.
pub(super) fn without_underscores(headers: &mut HeaderMap, drop: bool) -> bool {
    let names: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().contains('_'))
        .cloned()
        .collect();
    if !drop {
        return names.is_empty();
    }
    for name in names {
        headers.remove(name);
    }
    true
}

/// Whether the request asks for WebSocket.
pub(super) fn wants_websocket(headers: &HeaderMap) -> bool {
    let upgrade = headers
        .get(header::UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let mut connection = headers.get_all(header::CONNECTION).iter();
    upgrade && connection.any(|value| has_token(value, "upgrade"))
}
