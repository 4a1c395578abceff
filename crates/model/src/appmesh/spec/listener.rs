//! What listeners of nodes, routers and gateways share: ports, pools, health checks, timeouts.

use super::{
    long,
    problem::{Checked, Problem, number},
};
use serde::{Deserialize, Serialize};

/// A port and what is spoken on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortMapping {
    /// 1 to 65535.
    pub port: u16,
    /// What is spoken.
    pub protocol: Protocol,
}

impl PortMapping {
    pub(crate) fn check(&self, at: &str) -> Checked {
        number(&format!("{at}.port"), self.port, 1..=u16::MAX)
    }
}

/// What is spoken on a port.
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

/// A length of time as the API writes it. Both members are optional in the API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duration {
    /// The unit; absent means milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<DurationUnit>,
    /// How many; absent means 0.
    #[serde(
        default,
        deserialize_with = "long::read_optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub value: Option<u64>,
}

impl Duration {
    /// The length. Saturates rather than overflows.
    pub fn length(self) -> std::time::Duration {
        let value = self.value.unwrap_or(0);
        match self.unit {
            Some(DurationUnit::Seconds) => std::time::Duration::from_secs(value),
            Some(DurationUnit::Milliseconds) | None => std::time::Duration::from_millis(value),
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

impl ListenerTimeout {
    /// The protocol it is for.
    pub fn protocol(&self) -> Protocol {
        match self {
            ListenerTimeout::Http(_) => Protocol::Http,
            ListenerTimeout::Http2(_) => Protocol::Http2,
            ListenerTimeout::Grpc(_) => Protocol::Grpc,
            ListenerTimeout::Tcp(_) => Protocol::Tcp,
        }
    }
}

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

/// Timeout of TCP connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpTimeout {
    /// How long a connection may be silent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<Duration>,
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

impl ConnectionPool {
    /// The protocol it is for.
    pub fn protocol(&self) -> Protocol {
        match self {
            ConnectionPool::Http(_) => Protocol::Http,
            ConnectionPool::Http2(_) => Protocol::Http2,
            ConnectionPool::Grpc(_) => Protocol::Grpc,
            ConnectionPool::Tcp(_) => Protocol::Tcp,
        }
    }

    pub(crate) fn check(&self, at: &str) -> Checked {
        let at_least_one = |field: &str, value: u32| {
            number(
                &format!("{at}.{}.{field}", self.protocol().word()),
                value,
                1..=i32::MAX as u32,
            )
        };
        match self {
            ConnectionPool::Http(pool) => {
                at_least_one("maxConnections", pool.max_connections)?;
                pool.max_pending_requests
                    .map_or(Ok(()), |n| at_least_one("maxPendingRequests", n))
            }
            ConnectionPool::Http2(pool) | ConnectionPool::Grpc(pool) => {
                at_least_one("maxRequests", pool.max_requests)
            }
            ConnectionPool::Tcp(pool) => at_least_one("maxConnections", pool.max_connections),
        }
    }
}

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

/// An active health check, made by the clients of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// 2 to 10.
    pub healthy_threshold: u32,
    /// 5000 to 300000.
    pub interval_millis: u64,
    /// What is asked.
    pub protocol: Protocol,
    /// 2000 to 60000.
    pub timeout_millis: u64,
    /// 2 to 10.
    pub unhealthy_threshold: u32,
    /// For HTTP and HTTP/2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Absent means the listener's port; when given it must be that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

impl HealthCheck {
    pub(crate) fn check(&self, at: &str, listener: &PortMapping) -> Checked {
        number(
            &format!("{at}.healthyThreshold"),
            self.healthy_threshold,
            2..=10,
        )?;
        number(
            &format!("{at}.unhealthyThreshold"),
            self.unhealthy_threshold,
            2..=10,
        )?;
        number(
            &format!("{at}.intervalMillis"),
            self.interval_millis,
            5000..=300_000,
        )?;
        number(
            &format!("{at}.timeoutMillis"),
            self.timeout_millis,
            2000..=60_000,
        )?;
        match self.port {
            Some(port) if port != listener.port => Err(Problem::new(
                format!("{at}.port"),
                format!("{port} must equal the listener's port {}", listener.port),
            )),
            _ => Ok(()),
        }
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
    #[serde(deserialize_with = "long::read")]
    pub max_server_errors: u64,
}

impl OutlierDetection {
    pub(crate) fn check(&self, at: &str) -> Checked {
        number(
            &format!("{at}.maxEjectionPercent"),
            self.max_ejection_percent,
            0..=100,
        )?;
        number(
            &format!("{at}.maxServerErrors"),
            self.max_server_errors,
            1..=u64::MAX,
        )
    }
}

/// Where a proxy writes its access log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Logging {
    /// The access log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_log: Option<AccessLog>,
}

/// An access log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AccessLog {
    /// Written to a file.
    File(FileAccessLog),
}

/// An access log in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileAccessLog {
    /// For example `/dev/stdout`; 1 to 255 characters.
    pub path: String,
    /// Absent means Envoy's default format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<LoggingFormat>,
}

/// The format of a log line, in Envoy's operators.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LoggingFormat {
    /// Members of a JSON object.
    Json(Vec<JsonFormatMember>),
    /// A line of text.
    Text(String),
}

/// One member of a JSON log line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JsonFormatMember {
    /// 1 to 100 characters.
    pub key: String,
    /// 1 to 100 characters.
    pub value: String,
}

impl Logging {
    pub(crate) fn check(&self, at: &str) -> Checked {
        use super::problem::text;
        let Some(AccessLog::File(file)) = &self.access_log else {
            return Ok(());
        };
        let at = format!("{at}.accessLog.file");
        text(&format!("{at}.path"), &file.path, 1..=255)?;
        match &file.format {
            Some(LoggingFormat::Text(line)) => text(&format!("{at}.format.text"), line, 1..=1000),
            Some(LoggingFormat::Json(members)) => {
                for (i, member) in members.iter().enumerate() {
                    text(&format!("{at}.format.json[{i}].key"), &member.key, 1..=100)?;
                    text(
                        &format!("{at}.format.json[{i}].value"),
                        &member.value,
                        1..=100,
                    )?;
                }
                Ok(())
            }
            None => Ok(()),
        }
    }
}
