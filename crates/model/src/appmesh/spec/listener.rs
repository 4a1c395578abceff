//! The parts of listeners of nodes, routers and gateways: ports, connection pools, health checks, timeouts.

use super::{
    declare::{spec, union},
    references::{Union, UnionOf},
};
use crate::{
    string_enum::string_enum,
    validation::{Validate, Validator},
};
use std::{fmt, time};

spec! {
    /// A port and its protocol.
    #[derive(Copy, Hash, PartialOrd, Ord)]
    pub struct PortMapping: Validate {
        /// 1 to 65535.
        port: u16 [1..=65535],
        /// The protocol on it.
        protocol: Protocol,
    }
}

/// The ports of the member `listeners` must differ. Called with the validator at the spec.
pub(super) fn check_ports(validator: &mut Validator, ports: impl Iterator<Item = u16>) {
    let mut seen = Vec::new();
    for port in ports {
        if seen.contains(&port) {
            let message = format!("{port} is used by another listener");
            let field = format!("listeners[{}].portMapping.port", seen.len());
            validator.deny_at(field, message);
        }
        seen.push(port);
    }
}

string_enum! {
    /// The protocol of a port.
    #[derive(Hash, PartialOrd, Ord)]
    pub enum Protocol {
        /// HTTP/1.1, with upgrades.
        Http = "http",
        /// TCP with opaque content.
        Tcp = "tcp",
        /// HTTP/2 with prior knowledge.
        Http2 = "http2",
        /// gRPC over HTTP/2.
        Grpc = "grpc",
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

spec! {
    /// A duration. Both members are optional in the API and required in the Kubernetes kinds.
    #[derive(Copy, Default)]
    pub struct Duration {
        /// Absent means milliseconds.
        unit: Option<DurationUnit>,
        /// In that unit, at least 0; absent means 0.
        value: Option<i64> [0..=i64::MAX],
    }
}

impl Duration {
    /// The length. Saturates rather than overflows.
    pub fn length(self) -> time::Duration {
        let value = u64::try_from(self.value.unwrap_or(0)).unwrap_or(0);
        match self.unit {
            Some(DurationUnit::Seconds) => time::Duration::from_secs(value),
            Some(DurationUnit::Milliseconds) | None => time::Duration::from_millis(value),
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

string_enum! {
    /// The unit of a [`Duration`].
    #[allow(missing_docs)]
    pub enum DurationUnit {
        Seconds = "s",
        Milliseconds = "ms",
    }
}

union! {
    /// Timeouts of a listener, by protocol.
    #[derive(Copy)]
    #[allow(missing_docs)]
    pub enum ListenerTimeout: Validate {
        Tcp(TcpTimeout) as "tcp",
        Http(RequestTimeout) as "http",
        Http2(RequestTimeout) as "http2",
        Grpc(RequestTimeout) as "grpc",
    }
}

spec! {
    /// Timeouts of requests; 0 disables one.
    #[derive(Copy, Default)]
    pub struct RequestTimeout: Validate {
        /// The time without a byte on a stream.
        idle: Option<Duration>,
        /// The time for a request with all its tries. Absent means 15 s.
        per_request: Option<Duration>,
    }

    /// Timeout of TCP connections.
    #[derive(Copy, Default)]
    pub struct TcpTimeout: Validate {
        /// The time without a byte on a connection; 0 disables the timeout.
        idle: Option<Duration>,
    }
}

union! {
    /// Limits between a proxy and its own application, by protocol.
    #[derive(Copy)]
    #[allow(missing_docs)]
    pub enum ConnectionPool: Validate {
        Tcp(TcpConnectionPool) as "tcp",
        Http(HttpConnectionPool) as "http",
        Http2(RequestPool) as "http2",
        Grpc(RequestPool) as "grpc",
    }
}

spec! {
    /// Limits of an HTTP/1.1 pool.
    #[derive(Copy)]
    pub struct HttpConnectionPool: Validate {
        /// At least 1.
        max_connections: u32 [1..=MAX_POOL],
        /// At least 1; absent means no limit.
        max_pending_requests: Option<u32> [1..=MAX_POOL],
    }

    /// Limits of an HTTP/2 pool.
    #[derive(Copy)]
    pub struct RequestPool: Validate {
        /// At least 1.
        max_requests: u32 [1..=MAX_POOL],
    }

    /// Limits of a TCP pool.
    #[derive(Copy)]
    pub struct TcpConnectionPool: Validate {
        /// At least 1.
        max_connections: u32 [1..=MAX_POOL],
    }
}

/// The API's `integer` has 32 bits with a sign.
const MAX_POOL: i64 = i32::MAX as i64;

spec! {
    /// An active health check, made by the clients of a node.
    pub struct HealthCheck: Validate {
        /// Successes until an endpoint is healthy, 2 to 10.
        healthy_threshold: u32 [2..=10],
        /// Milliseconds between probes, 5000 to 300000.
        interval_millis: i64 [5_000..=300_000],
        /// The protocol of the probe.
        protocol: Protocol,
        /// Milliseconds until a probe has failed, 2000 to 60000.
        timeout_millis: i64 [2_000..=60_000],
        /// Failures until an endpoint is unhealthy, 2 to 10.
        unhealthy_threshold: u32 [2..=10],
        /// The path of the request, for HTTP and HTTP/2.
        path: Option<String>,
        /// Absent means the listener's port; no other is allowed.
        port: Option<u16> [1..=65535],
    }
}

impl HealthCheck {
    /// Time between probes.
    pub fn interval(&self) -> time::Duration {
        time::Duration::from_millis(u64::try_from(self.interval_millis).unwrap_or(0))
    }

    /// Time until a probe has failed.
    pub fn timeout(&self) -> time::Duration {
        time::Duration::from_millis(u64::try_from(self.timeout_millis).unwrap_or(0))
    }
}

/// A health check uses the listener's own port. Called with the validator at the listener.
pub(super) fn check_health_port(
    validator: &mut Validator,
    listener: PortMapping,
    health_check: Option<&HealthCheck>,
) {
    let own = listener.port;
    if let Some(port) = health_check.and_then(|check| check.port)
        && port != own
    {
        let message = format!("{port} must equal the listener's port {own}");
        validator.deny_at("healthCheck.port", message);
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
    if member.is_some_and(|member| member != protocol.as_str()) {
        let message = format!("must be for the listener's protocol, {protocol}");
        validator.deny(name, message);
    }
}

spec! {
    /// Passive health checking, declared by a server and enforced by its clients.
    #[derive(Copy)]
    pub struct OutlierDetection: Validate {
        /// The length of the first ejection.
        base_ejection_duration: Duration,
        /// The time between two checks for ejections that have ended.
        interval: Duration,
        /// 0 to 100; at least one host can be ejected in any case.
        max_ejection_percent: u32 [0..=100],
        /// Consecutive 5xx responses that eject a host; at least 1.
        max_server_errors: i64 [1..=i64::MAX],
    }
}
