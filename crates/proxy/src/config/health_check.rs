//! Active health checks of a cluster: HTTP, gRPC and TCP.

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3 as proto;
use envoy_types::pb::envoy::r#type::v3 as kind;
use http::{HeaderName, HeaderValue};

use super::error::{ConfigError, ConfigResult, ErrorContext, ensure, reject_set};
use super::field::{Field, Wrapped, field};

#[derive(Debug, Clone)]
pub(crate) struct HealthCheck {
    pub(crate) timeout: Duration,
    pub(crate) interval: Duration,
    pub(crate) unhealthy_threshold: u32,
    pub(crate) healthy_threshold: u32,
    pub(crate) port: Option<u16>,
    pub(crate) probe: Probe,
}

#[derive(Debug, Clone)]
pub(crate) enum Probe {
    Http(Arc<HttpProbe>),
    Grpc(Arc<GrpcProbe>),
    Tcp(Arc<TcpProbe>),
}

#[derive(Debug)]
pub(crate) struct HttpProbe {
    pub(crate) method: http::Method,
    pub(crate) path: String,
    /// Value of the `host` header; empty: the cluster's name, as in Envoy.
    pub(crate) host: String,
    pub(crate) http2: bool,
    /// Half-open ranges of statuses that count as healthy.
    pub(crate) expected: Vec<(u16, u16)>,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Debug)]
pub(crate) struct GrpcProbe {
    /// `HealthCheckRequest.service`; empty for the server as a whole.
    pub(crate) service: String,
    /// Value of `:authority`; empty: the cluster's name.
    pub(crate) authority: String,
    pub(crate) metadata: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Debug)]
pub(crate) struct TcpProbe {
    pub(crate) send: Vec<u8>,
    /// Byte sequences that must appear in the answer in this order.
    pub(crate) receive: Vec<Vec<u8>>,
}

pub(super) fn compile(check: &proto::HealthCheck) -> ConfigResult<HealthCheck> {
    use proto::health_check::HealthChecker;
    reject_set!(check; tls_options, transport_socket_match_criteria);
    let probe = match &check.health_checker {
        Some(HealthChecker::HttpHealthCheck(http)) => {
            http_probe(http).context("http_health_check")?
        }
        Some(HealthChecker::TcpHealthCheck(tcp)) => tcp_probe(tcp).context("tcp_health_check")?,
        Some(HealthChecker::GrpcHealthCheck(grpc)) => {
            grpc_probe(grpc).context("grpc_health_check")?
        }
        Some(HealthChecker::CustomHealthCheck(custom)) => {
            return Err(ConfigError::new(
                "custom_health_check",
                format!("{:?} is not supported", custom.name),
            ));
        }
        None => return Err(ConfigError::new("health_checker", "is required")),
    };
    // The other intervals only change how soon health is known, so `interval` is used for all of them.
    field!(check.no_traffic_interval).duration(Duration::ZERO)?;
    field!(check.timeout).required()?;
    field!(check.interval).required()?;
    Ok(HealthCheck {
        timeout: field!(check.timeout).positive(Duration::ZERO)?,
        interval: field!(check.interval).positive(Duration::ZERO)?,
        unhealthy_threshold: check.unhealthy_threshold.value_or(1).max(1),
        healthy_threshold: check.healthy_threshold.value_or(1).max(1),
        port: field!(check.alt_port).port()?,
        probe,
    })
}

fn http_probe(http: &proto::health_check::HttpHealthCheck) -> ConfigResult<Probe> {
    use kind::CodecClientType as Codec;
    reject_set!(http; send, receive, service_name_matcher);
    ensure(http.path.starts_with('/'), "path", "must begin with /")?;
    let method = match field!(http.method).variant("method")? {
        proto::RequestMethod::MethodUnspecified => http::Method::GET,
        method => http::Method::from_bytes(method.as_str_name().as_bytes())
            .map_err(|_| ConfigError::new("method", "is not an HTTP method"))?,
    };
    let http2 = match Codec::try_from(http.codec_client_type) {
        Ok(Codec::Http1) => false,
        Ok(Codec::Http2) => true,
        _ => return Err(ConfigError::unsupported("codec_client_type")),
    };
    let mut expected = field!(http.expected_statuses).each(|range| {
        match (u16::try_from(range.start), u16::try_from(range.end)) {
            (Ok(start), Ok(end)) if start < end => Ok((start, end)),
            _ => Err(ConfigError::new("", "is not a range of statuses")),
        }
    })?;
    if expected.is_empty() {
        expected.push((200, 201));
    }
    Ok(Probe::Http(Arc::new(HttpProbe {
        method,
        path: http.path.clone(),
        host: http.host.clone(),
        http2,
        expected,
        headers: headers(field!(http.request_headers_to_add))?,
    })))
}

fn grpc_probe(grpc: &proto::health_check::GrpcHealthCheck) -> ConfigResult<Probe> {
    Ok(Probe::Grpc(Arc::new(GrpcProbe {
        service: grpc.service_name.clone(),
        authority: grpc.authority.clone(),
        metadata: headers(field!(grpc.initial_metadata))?,
    })))
}

fn headers(
    options: Field<'_, Vec<proto::HeaderValueOption>>,
) -> ConfigResult<Vec<(HeaderName, HeaderValue)>> {
    options.each(|option| {
        let header = option.header.as_ref();
        let header = header.ok_or_else(|| ConfigError::new("", "is required"))?;
        let name = HeaderName::from_bytes(header.key.as_bytes());
        let value = HeaderValue::from_str(&header.value);
        match (name, value) {
            (Ok(name), Ok(value)) => Ok((name, value)),
            _ => Err(ConfigError::new("", "is not a valid header")),
        }
    })
}

fn tcp_probe(tcp: &proto::health_check::TcpHealthCheck) -> ConfigResult<Probe> {
    reject_set!(tcp; proxy_protocol_config);
    Ok(Probe::Tcp(Arc::new(TcpProbe {
        send: field!(tcp.send).compile(payload)?.unwrap_or_default(),
        receive: field!(tcp.receive).each(payload)?,
    })))
}

/// A payload is either hexadecimal text or bytes.
fn payload(payload: &proto::health_check::Payload) -> ConfigResult<Vec<u8>> {
    use proto::health_check::payload::Payload;
    match &payload.payload {
        Some(Payload::Binary(bytes)) => Ok(bytes.clone()),
        Some(Payload::Text(hex)) => {
            from_hex(hex).ok_or_else(|| ConfigError::new("text", "is not hexadecimal"))
        }
        None => Err(ConfigError::new("payload", "is required")),
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text
        .bytes()
        .map(|b| (b as char).to_digit(16))
        .collect::<Option<Vec<u32>>>()?;
    let pairs = digits.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs
        .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok())
        .collect()
}
