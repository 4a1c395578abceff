//! Retry policies of routes.

use super::listener::Duration;
use crate::validation::{Validate, Validator};
use serde::{Deserialize, Serialize};

/// When and how often a request is tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetryPolicy {
    /// How often at most, beside the first try; at least 0.
    pub max_retries: i64,
    /// How long one try may take.
    pub per_retry_timeout: Duration,
    /// `server-error`, `gateway-error`, `client-error`, `stream-error`. Text, because the API takes any word of 1 to
    /// 25 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_retry_events: Option<Vec<String>>,
    /// `connection-error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_retry_events: Option<Vec<TcpRetryEvent>>,
    /// On gRPC routes only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_retry_events: Option<Vec<GrpcRetryEvent>>,
}

/// The words that mean something.
const HTTP_RETRY_EVENTS: [&str; 4] = [
    "server-error",
    "gateway-error",
    "client-error",
    "stream-error",
];

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

impl Validate for RetryPolicy {
    fn validate(&self, validator: &mut Validator) {
        validator.range("maxRetries", self.max_retries, 0, i64::MAX);
        validator.field("perRetryTimeout", &self.per_retry_timeout);
        let (http, tcp, grpc) = (
            self.http_retry_events.as_deref(),
            self.tcp_retry_events.as_deref(),
            self.grpc_retry_events.as_deref(),
        );
        validator.items("httpRetryEvents", http, 1, 25);
        validator.each(
            "httpRetryEvents",
            http.unwrap_or_default(),
            |validator, event| {
                if validator.is_kubernetes() && !HTTP_RETRY_EVENTS.contains(&event.as_str()) {
                    let known = HTTP_RETRY_EVENTS.join(", ");
                    validator.deny_here(format!("{event:?} is not one of {known}"));
                }
                validator.length_here(event, 1, 25);
            },
        );
        validator.items("tcpRetryEvents", tcp, 1, 1);
        validator.items("grpcRetryEvents", grpc, 1, 5);
        if http.is_none() && tcp.is_none() && grpc.is_none() {
            validator.deny_here("must name at least one retry event");
        }
    }
}
