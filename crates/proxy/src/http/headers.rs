//! Header fields that concern one hop only, and those that a proxy adds.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::Session;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const HTTP: HeaderValue = HeaderValue::from_static("http");

/// What a client may not steer from outside: retry and timeout wishes addressed to a trusting Envoy.
const CLIENT_WISHES: [HeaderName; 11] = [
    HeaderName::from_static("x-envoy-retry-on"),
    HeaderName::from_static("x-envoy-retry-grpc-on"),
    HeaderName::from_static("x-envoy-max-retries"),
    HeaderName::from_static("x-envoy-retriable-status-codes"),
    HeaderName::from_static("x-envoy-retriable-header-names"),
    HeaderName::from_static("x-envoy-upstream-alt-stat-name"),
    HeaderName::from_static("x-envoy-upstream-rq-timeout-ms"),
    HeaderName::from_static("x-envoy-upstream-rq-timeout-alt-response"),
    HeaderName::from_static("x-envoy-upstream-rq-per-try-timeout-ms"),
    HeaderName::from_static("x-envoy-hedge-on-per-try-timeout"),
    HeaderName::from_static("x-envoy-expected-rq-timeout-ms"),
];

/// What a request is found to carry, in one pass over its names.
#[derive(Default)]
struct Seen {
    hop: bool,
    te: bool,
    expect: bool,
    wishes: bool,
    request_id: bool,
    proto: bool,
}

impl Seen {
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
                b'x' if text.starts_with("x-envoy-") => seen.wishes = true,
                _ => {}
            }
        }
        seen
    }
}

/// Request headers as routes and upstreams see them. `connection` and `upgrade` stay until [`leave`], because an
/// upgrade is told by them.
pub(super) fn arrive(headers: &mut HeaderMap, session: &Session) {
    let seen = Seen::scan(headers);
    if seen.te && headers.get(header::TE).is_none_or(|te| te != "trailers") {
        headers.remove(header::TE);
    }
    // The codec answers `100-continue` itself, when the body is first read.
    if seen.expect {
        headers.remove(header::EXPECT);
    }
    if seen.wishes {
        for name in &CLIENT_WISHES {
            headers.remove(name);
        }
    }
    let manager = &session.manager;
    if !seen.proto || manager.use_remote_address {
        headers.insert(X_FORWARDED_PROTO, HTTP);
    }
    if manager.use_remote_address && !manager.skip_xff_append {
        append_forwarded_for(headers, session);
    }
    let fresh = !seen.request_id || (manager.use_remote_address && !manager.preserve_request_id);
    if manager.generate_request_id && fresh {
        headers.insert(X_REQUEST_ID, session.worker.request_id());
    }
    if let Some(via) = &manager.via {
        headers.append(header::VIA, via.clone());
    }
    if seen.hop {
        remove_nominated(headers);
        headers.remove(KEEP_ALIVE);
        headers.remove(PROXY_CONNECTION);
        headers.remove(header::TRANSFER_ENCODING);
    }
}

/// Removes what is left of this hop before the request goes out.
pub(super) fn leave(headers: &mut HeaderMap) {
    headers.remove(header::CONNECTION);
    headers.remove(header::UPGRADE);
}

/// Removes the header fields that `connection` names, other than those that have their own rules.
fn remove_nominated(headers: &mut HeaderMap) {
    let mut nominated: Vec<HeaderName> = Vec::new();
    for value in headers.get_all(header::CONNECTION) {
        for token in value.to_str().unwrap_or_default().split(',').map(str::trim) {
            if let Ok(name) = HeaderName::from_bytes(token.as_bytes())
                && !matches!(
                    name,
                    header::UPGRADE | header::TE | header::CONNECTION | header::HOST
                )
                && name.as_str() != "close"
            {
                nominated.push(name);
            }
        }
    }
    for name in nominated {
        headers.remove(name);
    }
}

fn append_forwarded_for(headers: &mut HeaderMap, session: &Session) {
    let address = session.remote.ip().to_string();
    let value = match headers
        .get(X_FORWARDED_FOR)
        .and_then(|value| value.to_str().ok())
    {
        Some(before) => format!("{before},{address}"),
        None => address,
    };
    if let Ok(value) = HeaderValue::from_str(&value) {
        headers.insert(X_FORWARDED_FOR, value);
    }
}

/// Response headers that concerned only the upstream hop.
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

/// HTTP/2 may split cookies over several fields; HTTP/1 servers expect one.
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

/// Drops names with underscores, or says that one is there. Returns whether the request may go on.
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
    upgrade && names_upgrade(headers)
}

/// Whether the request asks for any upgrade.
pub(super) fn wants_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(header::UPGRADE) && names_upgrade(headers)
}

fn names_upgrade(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONNECTION).iter().any(|value| {
        value
            .to_str()
            .unwrap_or_default()
            .split(',')
            .any(|token| token.trim().eq_ignore_ascii_case("upgrade"))
    })
}
