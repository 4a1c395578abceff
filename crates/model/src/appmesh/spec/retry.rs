//! Retry policies of routes.

use super::{
    listener::Duration,
    long,
    problem::{Checked, Problem, list, text},
};
use serde::{Deserialize, Serialize};

/// When and how often a request is tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetryPolicy {
    /// How often at most, beside the first try.
    #[serde(deserialize_with = "long::read")]
    pub max_retries: u64,
    /// How long one try may take.
    pub per_retry_timeout: Duration,
    /// `server-error`, `gateway-error`, `client-error`, `stream-error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_retry_events: Option<Vec<String>>,
    /// `connection-error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_retry_events: Option<Vec<TcpRetryEvent>>,
    /// On gRPC routes only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_retry_events: Option<Vec<GrpcRetryEvent>>,
}

/// Failures below HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TcpRetryEvent {
    /// No connection could be made.
    ConnectionError,
}

/// gRPC statuses.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GrpcRetryEvent {
    Cancelled,
    DeadlineExceeded,
    Internal,
    ResourceExhausted,
    Unavailable,
}

impl GrpcRetryEvent {
    /// The status as the API and Envoy spell it.
    pub fn word(self) -> &'static str {
        match self {
            GrpcRetryEvent::Cancelled => "cancelled",
            GrpcRetryEvent::DeadlineExceeded => "deadline-exceeded",
            GrpcRetryEvent::Internal => "internal",
            GrpcRetryEvent::ResourceExhausted => "resource-exhausted",
            GrpcRetryEvent::Unavailable => "unavailable",
        }
    }
}

impl RetryPolicy {
    pub(crate) fn check(&self, at: &str) -> Checked {
        if let Some(events) = &self.http_retry_events {
            list(&format!("{at}.httpRetryEvents"), events, 1..=25)?;
            for (i, event) in events.iter().enumerate() {
                text(&format!("{at}.httpRetryEvents[{i}]"), event, 1..=25)?;
            }
        }
        if let Some(events) = &self.tcp_retry_events {
            list(&format!("{at}.tcpRetryEvents"), events, 1..=1)?;
        }
        if let Some(events) = &self.grpc_retry_events {
            list(&format!("{at}.grpcRetryEvents"), events, 1..=5)?;
        }
        let has_events = self.http_retry_events.is_some()
            || self.tcp_retry_events.is_some()
            || self.grpc_retry_events.is_some();
        if has_events {
            return Ok(());
        }
        Err(Problem::new(at, "must name at least one retry event"))
    }
}
