//! Retry policies of routes.

use super::{declare::spec, listener::Duration};
use crate::{
    string_enum::string_enum,
    validation::{Validate, Validator},
};

spec! {
    /// The number, timeout and causes of retries of a request.
    pub struct RetryPolicy {
        /// Attempts beside the first one, at least 0.
        max_retries: i64 [0..=i64::MAX],
        /// Timeout of one attempt.
        per_retry_timeout: Duration,
        /// `server-error`, `gateway-error`, `client-error`, `stream-error`. Text, because the API takes any word of
        /// 1 to 25 characters.
        http_retry_events: Option<Vec<String>> [1..=25],
        /// `connection-error`.
        tcp_retry_events: Option<Vec<TcpRetryEvent>> [1..=1],
        /// On gRPC routes only.
        grpc_retry_events: Option<Vec<GrpcRetryEvent>> [1..=5],
    }
}

/// The events of HTTP that have a meaning.
pub const HTTP_RETRY_EVENTS: [&str; 4] = [
    "server-error",
    "gateway-error",
    "client-error",
    "stream-error",
];

string_enum! {
    /// Failures below HTTP.
    pub enum TcpRetryEvent {
        /// No connection could be made.
        ConnectionError = "connection-error",
    }
}

string_enum! {
    /// gRPC statuses, spelled as in the API and in Envoy.
    #[allow(missing_docs)]
    pub enum GrpcRetryEvent {
        Cancelled = "cancelled",
        DeadlineExceeded = "deadline-exceeded",
        Internal = "internal",
        ResourceExhausted = "resource-exhausted",
        Unavailable = "unavailable",
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
