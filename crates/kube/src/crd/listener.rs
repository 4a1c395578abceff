//! Parts that listeners of nodes, routers and gateways share.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::check::{Check, Checker};

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// gRPC over HTTP/2.
    Grpc,
    /// HTTP/1.
    Http,
    /// HTTP/2 with prior knowledge.
    Http2,
    /// Anything over TCP.
    Tcp,
}

impl Protocol {
    /// As manifests write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
            Self::Http2 => "http2",
            Self::Tcp => "tcp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A port and what is spoken on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// 1 to 65535.
    pub port: u16,
    /// What is spoken on it.
    pub protocol: Protocol,
}

impl Check for PortMapping {
    fn check(&self, checker: &mut Checker) {
        checker.port("port", self.port);
    }
}

/// A span of time as the mesh API writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duration {
    /// Seconds or milliseconds.
    pub unit: DurationUnit,
    /// How many.
    pub value: i64,
}

/// Seconds or milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DurationUnit {
    /// Seconds.
    S,
    /// Milliseconds.
    Ms,
}

impl Check for Duration {
    fn check(&self, checker: &mut Checker) {
        checker.range("value", self.value, 0, i64::MAX);
    }
}

/// How clients probe a listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// Successes until healthy, 2 to 10. Required on a virtual node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy_threshold: Option<i64>,
    /// Time between probes, 5000 to 300000.
    pub interval_millis: i64,
    /// What the probe speaks.
    pub protocol: Protocol,
    /// Time until a probe has failed, 2000 to 60000.
    pub timeout_millis: i64,
    /// Failures until unhealthy, 2 to 10. Required on a virtual node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unhealthy_threshold: Option<i64>,
    /// HTTP path; only with http and http2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Port to probe; by default the listener's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

impl Check for HealthCheck {
    fn check(&self, checker: &mut Checker) {
        for (name, threshold) in [
            ("healthyThreshold", self.healthy_threshold),
            ("unhealthyThreshold", self.unhealthy_threshold),
        ] {
            match threshold {
                Some(threshold) => checker.range(name, threshold, 2, 10),
                None => checker.deny(name, "is required; give a number from 2 to 10"),
            }
        }
        checker.range("intervalMillis", self.interval_millis, 5_000, 300_000);
        checker.range("timeoutMillis", self.timeout_millis, 2_000, 60_000);
        if let Some(port) = self.port {
            checker.port("port", port);
        }
    }
}

/// When clients stop using an endpoint that answers with errors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutlierDetection {
    /// Errors in a row until ejection, at least 1.
    pub max_server_errors: i64,
    /// Time between sweeps.
    pub interval: Duration,
    /// Ejection time, multiplied by how often the endpoint was ejected.
    pub base_ejection_duration: Duration,
    /// Share of endpoints that may be ejected, 0 to 100.
    pub max_ejection_percent: i64,
}

impl Check for OutlierDetection {
    fn check(&self, checker: &mut Checker) {
        checker.range("maxServerErrors", self.max_server_errors, 1, i64::MAX);
        checker.field("interval", &self.interval);
        checker.field("baseEjectionDuration", &self.base_ejection_duration);
        checker.range("maxEjectionPercent", self.max_ejection_percent, 0, 100);
    }
}

/// Limits towards the application, of the listener's protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionPool {
    /// For tcp listeners.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpPool>,
    /// For http listeners.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpPool>,
    /// For http2 listeners.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http2: Option<RequestPool>,
    /// For grpc listeners.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<RequestPool>,
}

/// Limits of a tcp listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TcpPool {
    /// At least 1.
    pub max_connections: i64,
}

/// Limits of an http listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpPool {
    /// At least 1.
    pub max_connections: i64,
    /// Requests that may wait for a connection, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_pending_requests: Option<i64>,
}

/// Limits of an http2 or grpc listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestPool {
    /// Requests in flight, at least 1.
    pub max_requests: i64,
}

/// The largest limit the mesh API can carry.
const MAX_POOL: i64 = i32::MAX as i64;

impl Check for ConnectionPool {
    fn check(&self, checker: &mut Checker) {
        checker.exactly_one(&[
            ("tcp", self.tcp.is_some()),
            ("http", self.http.is_some()),
            ("http2", self.http2.is_some()),
            ("grpc", self.grpc.is_some()),
        ]);
        if let Some(pool) = &self.tcp {
            checker.within("tcp", |checker| {
                checker.range("maxConnections", pool.max_connections, 1, MAX_POOL)
            });
        }
        if let Some(pool) = &self.http {
            checker.within("http", |checker| {
                checker.range("maxConnections", pool.max_connections, 1, MAX_POOL);
                if let Some(pending) = pool.max_pending_requests {
                    checker.range("maxPendingRequests", pending, 1, MAX_POOL);
                }
            });
        }
        for (name, pool) in [("http2", &self.http2), ("grpc", &self.grpc)] {
            if let Some(pool) = pool {
                checker.within(name, |checker| {
                    checker.range("maxRequests", pool.max_requests, 1, MAX_POOL)
                });
            }
        }
    }
}

/// Timeouts of an HTTP-like protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpTimeout {
    /// From request to response; 0 disables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_request: Option<Duration>,
    /// Without traffic; 0 disables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<Duration>,
}

impl Check for HttpTimeout {
    fn check(&self, checker: &mut Checker) {
        checker.field("perRequest", &self.per_request);
        checker.field("idle", &self.idle);
    }
}

/// Timeout of a TCP connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpTimeout {
    /// Without traffic; 0 disables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<Duration>,
}

impl Check for TcpTimeout {
    fn check(&self, checker: &mut Checker) {
        checker.field("idle", &self.idle);
    }
}

/// Timeouts of a listener, of its protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerTimeout {
    /// For tcp listeners.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpTimeout>,
    /// For http listeners.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpTimeout>,
    /// For http2 listeners.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http2: Option<HttpTimeout>,
    /// For grpc listeners.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<HttpTimeout>,
}

impl Check for ListenerTimeout {
    fn check(&self, checker: &mut Checker) {
        checker.exactly_one(&[
            ("tcp", self.tcp.is_some()),
            ("http", self.http.is_some()),
            ("http2", self.http2.is_some()),
            ("grpc", self.grpc.is_some()),
        ]);
        checker.field("tcp", &self.tcp);
        checker.field("http", &self.http);
        checker.field("http2", &self.http2);
        checker.field("grpc", &self.grpc);
    }
}
