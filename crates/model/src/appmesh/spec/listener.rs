//! What listeners of nodes, routers and gateways share: ports, pools, health checks, timeouts.

use super::references::{Union, UnionOf, union};
use crate::validation::{Validate, Validator};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A port and its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortMapping {
    /// 1 to 65535.
    pub port: u16,
    /// The protocol on it.
    pub protocol: Protocol,
}

impl Validate for PortMapping {
    fn validate(&self, validator: &mut Validator) {
        validator.port("port", self.port);
    }
}

/// The ports of a list of listeners must differ. Called with the validator at the list.
pub(super) fn check_ports(validator: &mut Validator, ports: impl Iterator<Item = u16>) {
    let mut seen = Vec::new();
    for (index, port) in ports.enumerate() {
        if seen.contains(&port) {
            validator.item(index, |validator| {
                validator.within("portMapping", |validator| {
                    validator.deny("port", format!("{port} is used by another listener"));
                });
            });
        }
        seen.push(port);
    }
}

/// The protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1, with upgrades.
    Http,
    /// Any bytes.
    Tcp,
    /// HTTP/2 with prior knowledge.
    Http2,
    /// gRPC over HTTP/2.
    Grpc,
}

impl Protocol {
    /// The name in the API and in Envoy resource names: `http2`.
    pub fn word(self) -> &'static str {
        match self {
            Protocol::Http => "http",
            Protocol::Tcp => "tcp",
            Protocol::Http2 => "http2",
            Protocol::Grpc => "grpc",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A length of time. The API has both members optional, the Kubernetes kinds have them required.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duration {
    /// The unit; absent means milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<DurationUnit>,
    /// How many, at least 0; absent means 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<i64>,
}

impl Duration {
    /// The length. Saturates rather than overflows.
    pub fn length(self) -> std::time::Duration {
        let value = u64::try_from(self.value.unwrap_or(0)).unwrap_or(0);
        match self.unit {
            Some(DurationUnit::Seconds) => std::time::Duration::from_secs(value),
            Some(DurationUnit::Milliseconds) | None => std::time::Duration::from_millis(value),
        }
    }
}

impl Validate for Duration {
    fn validate(&self, validator: &mut Validator) {
        if validator.is_kubernetes() && self.unit.is_none() {
            validator.deny("unit", "is required; write s or ms");
        }
        match self.value {
            Some(value) => validator.range("value", value, 0, i64::MAX),
            None if validator.is_kubernetes() => validator.deny("value", "is required"),
            None => {}
        }
    }
}

/// The unit of a [`Duration`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DurationUnit {
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Milliseconds,
}

/// Timeouts of a listener, by protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ListenerTimeout {
    /// Of an HTTP/1.1 listener.
    Http(RequestTimeout),
    /// Of an HTTP/2 listener.
    Http2(RequestTimeout),
    /// Of a gRPC listener.
    Grpc(RequestTimeout),
    /// Of a TCP listener.
    Tcp(TcpTimeout),
}

union!(ListenerTimeout {
    Tcp: "tcp",
    Http: "http",
    Http2: "http2",
    Grpc: "grpc"
});

/// Timeouts of requests; 0 disables one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestTimeout {
    /// How long a stream may be silent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<Duration>,
    /// How long a request may take with all its attempts. Absent means 15 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_request: Option<Duration>,
}

impl Validate for RequestTimeout {
    fn validate(&self, validator: &mut Validator) {
        validator.field("perRequest", &self.per_request);
        validator.field("idle", &self.idle);
    }
}

/// Timeout of TCP connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpTimeout {
    /// How long a connection may be silent; 0 disables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<Duration>,
}

impl Validate for TcpTimeout {
    fn validate(&self, validator: &mut Validator) {
        validator.field("idle", &self.idle);
    }
}

/// Limits between a proxy and its own application, by protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConnectionPool {
    /// Of an HTTP/1.1 listener.
    Http(HttpConnectionPool),
    /// Of an HTTP/2 listener.
    Http2(RequestPool),
    /// Of a gRPC listener.
    Grpc(RequestPool),
    /// Of a TCP listener.
    Tcp(TcpConnectionPool),
}

union!(ConnectionPool {
    Tcp: "tcp",
    Http: "http",
    Http2: "http2",
    Grpc: "grpc"
});

/// Limits of an HTTP/1.1 pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpConnectionPool {
    /// At least 1.
    pub max_connections: u32,
    /// At least 1; absent means no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_pending_requests: Option<u32>,
}

/// Limits of an HTTP/2 pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestPool {
    /// At least 1.
    pub max_requests: u32,
}

/// Limits of a TCP pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TcpConnectionPool {
    /// At least 1.
    pub max_connections: u32,
}

/// The API's `integer` has 32 bits with a sign.
const MAX_POOL: i64 = i32::MAX as i64;

impl Validate for HttpConnectionPool {
    fn validate(&self, validator: &mut Validator) {
        validator.range("maxConnections", self.max_connections, 1, MAX_POOL);
        if let Some(pending) = self.max_pending_requests {
            validator.range("maxPendingRequests", pending, 1, MAX_POOL);
        }
    }
}

impl Validate for RequestPool {
    fn validate(&self, validator: &mut Validator) {
        validator.range("maxRequests", self.max_requests, 1, MAX_POOL);
    }
}

impl Validate for TcpConnectionPool {
    fn validate(&self, validator: &mut Validator) {
        validator.range("maxConnections", self.max_connections, 1, MAX_POOL);
    }
}

/// An active health check, made by the clients of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// Successes until an endpoint is healthy, 2 to 10.
    pub healthy_threshold: u32,
    /// Milliseconds between probes, 5000 to 300000.
    pub interval_millis: i64,
    /// The protocol of the probe.
    pub protocol: Protocol,
    /// Milliseconds until a probe has failed, 2000 to 60000.
    pub timeout_millis: i64,
    /// Failures until an endpoint is unhealthy, 2 to 10.
    pub unhealthy_threshold: u32,
    /// For HTTP and HTTP/2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Absent means the listener's port; when given it must be that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

impl HealthCheck {
    /// Time between probes.
    pub fn interval(&self) -> std::time::Duration {
        std::time::Duration::from_millis(u64::try_from(self.interval_millis).unwrap_or(0))
    }

    /// Time until a probe has failed.
    pub fn timeout(&self) -> std::time::Duration {
        std::time::Duration::from_millis(u64::try_from(self.timeout_millis).unwrap_or(0))
    }
}

impl Validate for HealthCheck {
    fn validate(&self, validator: &mut Validator) {
        validator.range("healthyThreshold", self.healthy_threshold, 2, 10);
        validator.range("unhealthyThreshold", self.unhealthy_threshold, 2, 10);
        validator.range("intervalMillis", self.interval_millis, 5_000, 300_000);
        validator.range("timeoutMillis", self.timeout_millis, 2_000, 60_000);
    }
}

/// A health check uses the listener's own port. Called with the validator at the listener.
pub(super) fn check_health_port(
    validator: &mut Validator,
    listener: PortMapping,
    health_check: Option<&HealthCheck>,
) {
    if let Some(port) = health_check.and_then(|check| check.port)
        && port != listener.port
    {
        validator.within("healthCheck", |validator| {
            let own = listener.port;
            validator.deny(
                "port",
                format!("{port} must equal the listener's port {own}"),
            );
        });
    }
}

/// A union by protocol, at `name`, must have the member of the listener's protocol. Called with the validator at the
/// listener.
pub(super) fn check_protocol<T: Union>(
    validator: &mut Validator,
    listener: PortMapping,
    name: &'static str,
    union: Option<&impl UnionOf<T>>,
) {
    let protocol = listener.protocol;
    let member = union.and_then(UnionOf::get).map(T::member);
    if member.is_some_and(|member| member != protocol.word()) {
        let message = format!("must be for the listener's protocol, {protocol}");
        validator.deny(name, message);
    }
}

/// Passive health checking, declared by a server and enforced by its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutlierDetection {
    /// How long a first ejection lasts.
    pub base_ejection_duration: Duration,
    /// How often ejected hosts are looked at again.
    pub interval: Duration,
    /// 0 to 100; at least one host can be ejected whatever it says.
    pub max_ejection_percent: u32,
    /// Consecutive 5xx answers that eject; at least 1.
    pub max_server_errors: i64,
}

impl Validate for OutlierDetection {
    fn validate(&self, validator: &mut Validator) {
        validator.range("maxServerErrors", self.max_server_errors, 1, i64::MAX);
        validator.field("interval", &self.interval);
        validator.field("baseEjectionDuration", &self.base_ejection_duration);
        validator.range("maxEjectionPercent", self.max_ejection_percent, 0, 100);
    }
}
