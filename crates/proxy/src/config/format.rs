//! Envoy's substitution formats (`%REQ(:METHOD)% %RESPONSE_CODE%`), for access logs and added headers.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use http::HeaderMap;

use super::error::{ConfigError, ConfigResult};
use super::request_field::RequestField;
use super::start_time;

/// The values that a format can print, of one request or connection.
#[derive(Default)]
pub(crate) struct LogFields<'a> {
    pub(crate) start: Option<SystemTime>,
    pub(crate) protocol: Option<&'static str>,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) authority: &'a str,
    pub(crate) scheme: &'a str,
    pub(crate) request: Option<&'a HeaderMap>,
    pub(crate) response: Option<&'a HeaderMap>,
    pub(crate) trailers: Option<&'a HeaderMap>,
    pub(crate) status: u16,
    pub(crate) details: &'a str,
    pub(crate) flags: &'a str,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) duration: Option<Duration>,
    pub(crate) request_duration: Option<Duration>,
    pub(crate) response_duration: Option<Duration>,
    pub(crate) upstream_host: Option<SocketAddr>,
    pub(crate) upstream_cluster: &'a str,
    pub(crate) local: Option<SocketAddr>,
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) route: &'a str,
    pub(crate) attempts: u32,
}

#[derive(Debug, Clone)]
pub(crate) struct Format {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone)]
enum Piece {
    Literal(String),
    Operator(Operator, Option<usize>),
}

#[derive(Debug, Clone)]
enum Operator {
    StartTime(Option<String>),
    Header(Source, Lookup),
    /// A JSON number in JSON logs.
    Number(fn(&LogFields<'_>) -> Option<u128>),
    Text(for<'a> fn(&LogFields<'a>) -> &'a str),
    Address(fn(&LogFields<'_>) -> Option<SocketAddr>, Part),
    GrpcStatus,
    /// An operator of Envoy whose value is never present here (dynamic metadata, TLS fields): prints `-`.
    Fixed(String),
}

/// The message whose headers are printed.
#[derive(Debug, Clone, Copy)]
enum Source {
    Request,
    Response,
    Trailers,
}

#[derive(Debug, Clone, Copy)]
enum Part {
    Both,
    Address,
    Port,
}

/// A header name with an optional alternative.
#[derive(Debug, Clone)]
struct Lookup {
    first: RequestField,
    second: Option<RequestField>,
}

/// Envoy's default format of file access logs.
pub(crate) const DEFAULT_ACCESS_LOG: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n";

impl Format {
    pub(crate) fn parse(text: &str) -> ConfigResult<Self> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(start) = rest.find('%') {
            literal.push_str(&rest[..start]);
            rest = &rest[start + 1..];
            if let Some(after) = rest.strip_prefix('%') {
                literal.push('%');
                rest = after;
                continue;
            }
            let (command, after) = split_command(rest).ok_or_else(|| {
                ConfigError::new("", format!("format operator is not closed: %{rest}"))
            })?;
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(command_piece(command)?);
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Self { pieces })
    }

    /// The text of a format without operators.
    pub(crate) fn literal(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }

    pub(crate) fn render(&self, fields: &LogFields<'_>, out: &mut String) {
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::Operator(operator, limit) => {
                    let before = out.len();
                    operator.render(fields, out);
                    if out.len() == before {
                        out.push('-');
                    } else if let Some(limit) = limit {
                        let mut end = (before + limit).min(out.len());
                        while !out.is_char_boundary(end) {
                            end -= 1;
                        }
                        out.truncate(end);
                    }
                }
            }
        }
    }

    /// The value for JSON logs: a lone operator with a numeric value becomes a JSON number, an absent value null.
    pub(crate) fn json(&self, fields: &LogFields<'_>) -> serde_json::Value {
        let mut text = String::new();
        if let [Piece::Operator(operator, _)] = self.pieces.as_slice() {
            operator.render(fields, &mut text);
            if text.is_empty() {
                return serde_json::Value::Null;
            }
            if operator.is_numeric()
                && let Ok(number) = text.parse::<u64>()
            {
                return number.into();
            }
        }
        text.clear();
        self.render(fields, &mut text);
        text.into()
    }
}

/// Splits at the closing `%`, which is not one inside the parentheses of an argument.
fn split_command(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0usize;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b'%' if depth == 0 => return Some((&text[..index], &text[index + 1..])),
            _ => {}
        }
    }
    None
}

fn command_piece(command: &str) -> ConfigResult<Piece> {
    let (body, limit) = match command.rfind(':') {
        Some(colon)
            if command[colon + 1..].bytes().all(|b| b.is_ascii_digit())
                && colon + 1 < command.len() =>
        {
            (&command[..colon], command[colon + 1..].parse().ok())
        }
        _ => (command, None),
    };
    let (name, argument) = match body.split_once('(') {
        Some((name, rest)) => {
            let argument = rest.strip_suffix(')').ok_or_else(|| {
                ConfigError::new(
                    "",
                    format!("format operator %{command}% lacks a closing parenthesis"),
                )
            })?;
            (name, Some(argument))
        }
        None => (body, None),
    };
    let header = |source| {
        let lookup = Lookup::parse(argument.unwrap_or_default()).ok_or_else(|| {
            ConfigError::new(
                "",
                format!("format operator %{command}% does not name a valid header"),
            )
        })?;
        Ok(Operator::Header(source, lookup))
    };
    let operator = match name {
        "START_TIME" => Operator::StartTime(argument.map(str::to_owned)),
        "REQ" => header(Source::Request)?,
        "RESP" => header(Source::Response)?,
        "TRAILER" => header(Source::Trailers)?,
        "PROTOCOL" => Operator::Text(|fields| fields.protocol.unwrap_or_default()),
        "RESPONSE_CODE" => Operator::Number(|fields| Some(fields.status.into())),
        "RESPONSE_CODE_DETAILS" => Operator::Text(|fields| fields.details),
        "RESPONSE_FLAGS" => Operator::Text(|fields| fields.flags),
        "BYTES_RECEIVED" => Operator::Number(|fields| Some(fields.bytes_received.into())),
        "BYTES_SENT" => Operator::Number(|fields| Some(fields.bytes_sent.into())),
        "DURATION" => Operator::Number(|fields| millis(fields.duration.or(Some(Duration::ZERO)))),
        "REQUEST_DURATION" => Operator::Number(|fields| millis(fields.request_duration)),
        "RESPONSE_DURATION" => Operator::Number(|fields| millis(fields.response_duration)),
        "RESPONSE_TX_DURATION" => Operator::Number(|fields| {
            millis(Some(
                fields.duration?.saturating_sub(fields.response_duration?),
            ))
        }),
        "UPSTREAM_HOST" | "UPSTREAM_REMOTE_ADDRESS" => {
            Operator::Address(|fields| fields.upstream_host, Part::Both)
        }
        "UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW" => {
            Operator::Text(|fields| fields.upstream_cluster)
        }
        "DOWNSTREAM_LOCAL_ADDRESS" => Operator::Address(|fields| fields.local, Part::Both),
        "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT" => {
            Operator::Address(|fields| fields.local, Part::Address)
        }
        "DOWNSTREAM_LOCAL_PORT" => Operator::Address(|fields| fields.local, Part::Port),
        "DOWNSTREAM_REMOTE_ADDRESS" | "DOWNSTREAM_DIRECT_REMOTE_ADDRESS" => {
            Operator::Address(|fields| fields.remote, Part::Both)
        }
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT"
        | "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT" => {
            Operator::Address(|fields| fields.remote, Part::Address)
        }
        "DOWNSTREAM_REMOTE_PORT" => Operator::Address(|fields| fields.remote, Part::Port),
        "ROUTE_NAME" => Operator::Text(|fields| fields.route),
        "GRPC_STATUS" | "GRPC_STATUS_NUMBER" => Operator::GrpcStatus,
        "UPSTREAM_REQUEST_ATTEMPT_COUNT" => Operator::Number(|fields| Some(fields.attempts.into())),
        "HOSTNAME" => Operator::Fixed(
            std::fs::read_to_string("/proc/sys/kernel/hostname")
                .map(|s| s.trim().to_owned())
                .unwrap_or_default(),
        ),
        "ENVIRONMENT" => {
            Operator::Fixed(std::env::var(argument.unwrap_or_default()).unwrap_or_default())
        }
        "UPSTREAM_LOCAL_ADDRESS"
        | "UPSTREAM_TRANSPORT_FAILURE_REASON"
        | "DOWNSTREAM_TRANSPORT_FAILURE_REASON"
        | "CONNECTION_TERMINATION_DETAILS"
        | "CONNECTION_ID"
        | "REQUESTED_SERVER_NAME"
        | "VIRTUAL_CLUSTER_NAME"
        | "DYNAMIC_METADATA"
        | "CLUSTER_METADATA"
        | "UPSTREAM_METADATA"
        | "METADATA"
        | "FILTER_STATE"
        | "DOWNSTREAM_PEER_URI_SAN"
        | "DOWNSTREAM_LOCAL_URI_SAN"
        | "DOWNSTREAM_PEER_SUBJECT"
        | "DOWNSTREAM_TLS_VERSION"
        | "DOWNSTREAM_TLS_CIPHER"
        | "FILTER_CHAIN_NAME"
        | "TRACE_ID" => Operator::Fixed(String::new()),
        _ => {
            return Err(ConfigError::new(
                "",
                format!("format operator %{name}% is not supported"),
            ));
        }
    };
    Ok(Piece::Operator(operator, limit))
}

fn millis(duration: Option<Duration>) -> Option<u128> {
    duration.map(|duration| duration.as_millis())
}

impl Lookup {
    fn parse(text: &str) -> Option<Self> {
        let (first, second) = match text.split_once('?') {
            Some((first, second)) => (first, Some(RequestField::parse(second)?)),
            None => (text, None),
        };
        let first = RequestField::parse(first)?;
        Some(Self { first, second })
    }

    fn render(&self, fields: &LogFields<'_>, headers: Option<&HeaderMap>, out: &mut String) {
        let before = out.len();
        for field in std::iter::once(&self.first).chain(&self.second) {
            match field {
                RequestField::Method => out.push_str(fields.method),
                RequestField::Path => out.push_str(fields.path),
                RequestField::Authority => out.push_str(fields.authority),
                RequestField::Scheme => out.push_str(fields.scheme),
                RequestField::Header(name) => {
                    if let Some(value) = headers.and_then(|headers| headers.get(name)) {
                        out.push_str(&String::from_utf8_lossy(value.as_bytes()));
                    }
                }
            }
            if out.len() > before {
                break;
            }
        }
    }
}

impl Operator {
    fn is_numeric(&self) -> bool {
        matches!(self, Self::Number(_) | Self::GrpcStatus)
    }

    fn render(&self, fields: &LogFields<'_>, out: &mut String) {
        match self {
            Self::StartTime(format) => {
                if let Some(start) = fields.start {
                    start_time::render(start, format.as_deref(), out);
                }
            }
            Self::Header(source, lookup) => {
                let headers = match source {
                    Source::Request => fields.request,
                    Source::Response => fields.response,
                    Source::Trailers => fields.trailers,
                };
                lookup.render(fields, headers, out);
            }
            Self::Number(read) => {
                if let Some(number) = read(fields) {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "{number}");
                }
            }
            Self::Text(read) => out.push_str(read(fields)),
            Self::Address(read, part) => part.render(read(fields), out),
            Self::GrpcStatus => {
                let find = |headers: Option<&HeaderMap>| {
                    headers.and_then(|h| h.get("grpc-status")).cloned()
                };
                if let Some(value) = find(fields.trailers).or_else(|| find(fields.response)) {
                    out.push_str(&String::from_utf8_lossy(value.as_bytes()));
                }
            }
            Self::Fixed(text) => out.push_str(text),
        }
    }
}

impl Part {
    fn render(self, address: Option<SocketAddr>, out: &mut String) {
        let Some(address) = address else { return };
        let _ = match self {
            Self::Both => write!(out, "{address}"),
            Self::Address => write!(out, "{}", address.ip()),
            Self::Port => write!(out, "{}", address.port()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(format: &str, fields: &LogFields<'_>) -> String {
        let mut out = String::new();
        Format::parse(format)
            .expect("valid format")
            .render(fields, &mut out);
        out
    }

    #[test]
    fn operators_print_their_fields_and_absent_ones_a_dash() {
        let mut headers = HeaderMap::new();
        headers.insert("user-agent", "probe/1".parse().unwrap());
        let fields = LogFields {
            method: "GET",
            path: "/x",
            status: 204,
            request: Some(&headers),
            ..LogFields::default()
        };
        let line = rendered(
            "%REQ(:METHOD)% %REQ(X-Original?:PATH)% %RESPONSE_CODE% %REQ(USER-AGENT):5% %RESP(a)% 100%%",
            &fields,
        );
        assert_eq!(line, "GET /x 204 probe - 100%");
    }

    #[test]
    fn unknown_operators_are_rejected_by_name() {
        let error = Format::parse("%NO_SUCH_THING%").unwrap_err().to_string();
        assert!(error.contains("NO_SUCH_THING"), "{error}");
        assert!(Format::parse("%RESPONSE_CODE").is_err());
    }

    #[test]
    fn json_values_keep_their_type() {
        let fields = LogFields {
            status: 200,
            ..LogFields::default()
        };
        for (format, expected) in [
            ("%RESPONSE_CODE%", serde_json::json!(200)),
            ("%UPSTREAM_HOST%", serde_json::Value::Null),
            ("code=%RESPONSE_CODE%", serde_json::json!("code=200")),
        ] {
            assert_eq!(Format::parse(format).unwrap().json(&fields), expected);
        }
    }
}
