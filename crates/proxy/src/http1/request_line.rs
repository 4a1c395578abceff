//! Request lines: the served methods, and the four forms of a request target (RFC 9112 section 3.2).

use bytes::Bytes;
use http::uri::Authority;
use http::{Method, Uri};

use super::head::ParseError;

/// Registered methods other than those of `http`; the set that Envoy's parser accepts.
const METHODS: [&str; 25] = [
    "ACL",
    "BIND",
    "CHECKOUT",
    "COPY",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MOVE",
    "MSEARCH",
    "NOTIFY",
    "PROPFIND",
    "PROPPATCH",
    "PURGE",
    "REBIND",
    "REPORT",
    "SEARCH",
    "SOURCE",
    "SUBSCRIBE",
    "UNBIND",
    "UNLINK",
    "UNLOCK",
    "UNSUBSCRIBE",
];

/// Whether requests with this method are served. Method names are case-sensitive.
pub(super) fn is_method(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET
            | Method::POST
            | Method::PUT
            | Method::DELETE
            | Method::HEAD
            | Method::OPTIONS
            | Method::CONNECT
            | Method::PATCH
            | Method::TRACE
    ) || METHODS.contains(&method.as_str())
}

/// A request target as a URI: a path (origin form), an `http` or `https` URI (absolute form), `host:port` of a
/// CONNECT (authority form), or the `*` of an OPTIONS (asterisk form).
pub(super) fn parse(method: &Method, target: Bytes) -> Result<Uri, ParseError> {
    let mut escape = false;
    for byte in &target {
        match byte {
            b'#' if target[0] != b'#' => return Err(ParseError::Fragment),
            0x7f.. => return Err(ParseError::Syntax),
            // Clients send these three unescaped, and `Uri` accepts them only percent-encoded.
            b'<' | b'>' | b'`' => escape = true,
            _ => {}
        }
    }
    let origin = target.first() == Some(&b'/');
    let target = if escape { escaped(&target) } else { target };
    let uri = Uri::from_maybe_shared(target).map_err(|_| ParseError::Syntax)?;
    let valid = if origin {
        true
    } else if method == Method::CONNECT {
        uri.scheme().is_none() && uri.authority().is_some()
    } else if uri.path() == "*" {
        method == Method::OPTIONS
    } else {
        let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
        scheme && uri.authority().is_some_and(is_host_and_port)
    };
    if valid {
        Ok(uri)
    } else {
        Err(ParseError::Syntax)
    }
}

/// Whether the authority is a host, optionally with a port.
fn is_host_and_port(authority: &Authority) -> bool {
    let rest = authority.as_str().rsplit_once(authority.host());
    rest.is_some_and(|(_, rest)| rest.is_empty() || authority.port_u16().is_some())
}

/// The target with `<`, `>` and the backtick percent-encoded.
fn escaped(target: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(target.len() + 16);
    for byte in target {
        match byte {
            b'<' => out.extend_from_slice(b"%3C"),
            b'>' => out.extend_from_slice(b"%3E"),
            b'`' => out.extend_from_slice(b"%60"),
            other => out.push(*other),
        }
    }
    out.into()
}
