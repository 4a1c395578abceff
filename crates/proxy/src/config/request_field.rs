//! Request fields: headers, and pseudo-headers of HTTP/2.

use http::HeaderName;

/// A field of a request: a header, or a pseudo-header of HTTP/2.
#[derive(Debug, Clone)]
pub(crate) enum RequestField {
    Method,
    Path,
    Authority,
    Scheme,
    Header(HeaderName),
}

impl RequestField {
    /// `None` when this is not a header name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            ":method" => Self::Method,
            ":path" => Self::Path,
            ":authority" | "host" => Self::Authority,
            ":scheme" => Self::Scheme,
            name => Self::Header(HeaderName::from_bytes(name.as_bytes()).ok()?),
        })
    }
}
