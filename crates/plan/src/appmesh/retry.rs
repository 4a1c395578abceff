//! Compiles retry policies, explicit and default (facts/walkthroughs.md §2.1).

use crate::plan::Retry;
use std::collections::BTreeSet;
use tombolo_model::appmesh::spec::retry::{GrpcRetryEvent, RetryPolicy};

/// The retry policy of a route that has none of its own.
pub(super) fn default() -> Retry {
    Retry {
        on: vec![
            "connect-failure",
            "refused-stream",
            "reset",
            "retriable-status-codes",
            "unavailable",
        ],
        statuses: vec![503],
        attempts: 2,
        try_timeout: None,
    }
}

/// The retry policy of a route that has its own: it replaces the default and is not merged with it.
pub(super) fn explicit(policy: &RetryPolicy) -> Retry {
    let mut on = BTreeSet::new();
    let mut statuses = BTreeSet::new();
    for event in policy.http_retry_events.iter().flatten() {
        match event.as_str() {
            "server-error" => {
                statuses.extend([500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511]);
                on.insert("reset");
            }
            "gateway-error" => {
                statuses.extend([502, 503, 504]);
                on.insert("reset");
            }
            "client-error" => statuses.extend([409]),
            "stream-error" => {
                on.insert("refused-stream");
            }
            // The API accepts any text here; unknown events have no effect.
            _ => {}
        }
    }
    if policy
        .tcp_retry_events
        .as_ref()
        .is_some_and(|events| !events.is_empty())
    {
        on.insert("connect-failure");
    }
    for event in policy.grpc_retry_events.iter().flatten() {
        on.insert(GrpcRetryEvent::as_str(*event));
    }
    if !statuses.is_empty() {
        on.insert("retriable-status-codes");
    }
    let try_timeout = policy.per_retry_timeout.length();
    Retry {
        on: on.into_iter().collect(),
        statuses: statuses.into_iter().collect(),
        attempts: u32::try_from(policy.max_retries).unwrap_or(u32::MAX),
        try_timeout: (!try_timeout.is_zero()).then_some(try_timeout),
    }
}
