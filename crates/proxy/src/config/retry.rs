//! `RetryPolicy`: retriable failures, number of retries, and back-off.

use std::ops::RangeInclusive;
use std::time::Duration;

use envoy_types::pb::envoy::config::route::v3 as proto;
use envoy_types::pb::envoy::config::route::v3::retry_policy::RetryBackOff;
use http::StatusCode;

use super::error::{ConfigError, ConfigResult, ensure, reject_set};
use super::field::{Wrapped, field};

/// Envoy's default of `base_interval`; `max_interval` is ten times as long.
const BASE_INTERVAL: Duration = Duration::from_millis(25);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RetryPolicy {
    /// Retriable failures; a bit for each [`Failure`].
    failures: u8,
    /// Retriable response statuses.
    statuses: Vec<RangeInclusive<u16>>,
    /// Retriable gRPC statuses; a bit for each.
    grpc_statuses: u32,
    pub(crate) retries: u32,
    pub(crate) per_try_timeout: Option<Duration>,
    base_interval: Duration,
    max_interval: Duration,
    /// Maximum extra picks to avoid hosts that were already tried.
    pub(crate) host_attempts: u32,
}

/// The failure of an attempt before any response header arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    Connect,
    /// The connection was reset after the request had been sent, at least in part.
    Reset,
    /// The upstream reports that it did not process the request.
    Refused,
    PerTryTimeout,
}

impl RetryPolicy {
    pub(crate) fn compile(policy: &proto::RetryPolicy) -> ConfigResult<Self> {
        reject_set!(policy;
            retry_priority, retry_options_predicates, rate_limited_retry_back_off, retriable_headers,
            retriable_request_headers, per_try_idle_timeout, refresh_cluster_on_retry,
        );
        field!(policy.retry_host_predicate).each(|predicate| {
            ensure(
                predicate.name == "envoy.retry_host_predicates.previous_hosts",
                "",
                format!("{:?} is not supported", predicate.name),
            )
        })?;
        let mut codes = Vec::new();
        for code in &policy.retriable_status_codes {
            let code = u16::try_from(*code).ok();
            let code = code.filter(|code| StatusCode::from_u16(*code).is_ok());
            let invalid =
                || ConfigError::new("retriable_status_codes", "holds what is not a status");
            codes.push(code.ok_or_else(invalid)?);
        }
        let (base_interval, max_interval) = field!(policy.retry_back_off)
            .compile(back_off)?
            .unwrap_or((BASE_INTERVAL, BASE_INTERVAL * 10));
        let host_attempts =
            u32::try_from(policy.host_selection_retry_max_attempts.clamp(0, 64)).unwrap_or(0);
        let mut compiled = Self {
            failures: 0,
            statuses: Vec::new(),
            grpc_statuses: 0,
            retries: policy.num_retries.value_or(1),
            per_try_timeout: field!(policy.per_try_timeout).timeout(None)?,
            base_interval,
            max_interval,
            host_attempts,
        };
        let conditions = policy.retry_on.split(',').map(str::trim);
        for condition in conditions.filter(|condition| !condition.is_empty()) {
            compiled.add(condition, &codes)?;
        }
        Ok(compiled)
    }

    /// Adds a condition of `retry_on`; `codes` are those of `retriable-status-codes`.
    fn add(&mut self, condition: &str, codes: &[u16]) -> ConfigResult<()> {
        const ALL: u8 = u8::MAX;
        match condition {
            "5xx" => {
                self.failures = ALL;
                self.statuses.push(500..=999);
            }
            "gateway-error" => {
                self.failures = ALL;
                self.statuses.push(502..=504);
            }
            "reset" => self.failures = ALL,
            "reset-before-request" | "connect-failure" => self.failures |= Failure::Connect.bit(),
            "refused-stream" => self.failures |= Failure::Refused.bit(),
            "retriable-4xx" => self.statuses.push(409..=409),
            "retriable-status-codes" => {
                self.statuses.extend(codes.iter().map(|code| *code..=*code))
            }
            "cancelled" => self.grpc_statuses |= 1 << 1,
            "deadline-exceeded" => self.grpc_statuses |= 1 << 4,
            "resource-exhausted" => self.grpc_statuses |= 1 << 8,
            "internal" => self.grpc_statuses |= 1 << 13,
            "unavailable" => self.grpc_statuses |= 1 << 14,
            other => {
                let reason = format!("condition {other:?} is not supported");
                return Err(ConfigError::new("retry_on", reason));
            }
        }
        Ok(())
    }

    /// Whether a response with this status (and gRPC status, when the headers have one) is retried.
    pub(crate) fn retries_response(&self, status: StatusCode, grpc_status: Option<u32>) -> bool {
        self.retries_status(status.as_u16())
            || grpc_status.is_some_and(|grpc| grpc < 32 && self.grpc_statuses & (1 << grpc) != 0)
    }

    fn retries_status(&self, code: u16) -> bool {
        self.statuses.iter().any(|range| range.contains(&code))
    }

    pub(crate) fn retries_failure(&self, failure: Failure) -> bool {
        self.failures & failure.bit() != 0
            || failure == Failure::PerTryTimeout && self.retries_status(504)
    }

    /// A random wait below `base × (2^n − 1)`, up to the maximum, for retry number `n` from 1. `random` is any 64
    /// bits.
    pub(crate) fn back_off(&self, retry: u32, random: u64) -> Duration {
        let factor = (1u32 << retry.clamp(1, 16)) - 1;
        let max_wait = (self.base_interval * factor)
            .min(self.max_interval)
            .as_micros()
            .max(1);
        let max_wait = u64::try_from(max_wait).unwrap_or(u64::MAX);
        Duration::from_micros(random % max_wait)
    }
}

/// The base and the maximum of the waits.
fn back_off(back_off: &RetryBackOff) -> ConfigResult<(Duration, Duration)> {
    let base = field!(back_off.base_interval).duration(BASE_INTERVAL)?;
    let base = base.max(Duration::from_millis(1));
    let max = field!(back_off.max_interval).duration(base * 10)?;
    ensure(
        max >= base,
        "max_interval",
        "must not be below base_interval",
    )?;
    Ok((base, max))
}

impl Failure {
    fn bit(self) -> u8 {
        1 << self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(on: &str, codes: &[u32]) -> RetryPolicy {
        RetryPolicy::compile(&proto::RetryPolicy {
            retry_on: on.to_owned(),
            retriable_status_codes: codes.to_vec(),
            ..Default::default()
        })
        .expect("valid policy")
    }

    #[test]
    fn app_mesh_default_retries_503_and_unavailable_but_not_500() {
        let policy = policy(
            "unavailable,connect-failure,refused-stream,retriable-status-codes",
            &[503],
        );
        assert!(policy.retries_response(StatusCode::SERVICE_UNAVAILABLE, None));
        assert!(!policy.retries_response(StatusCode::INTERNAL_SERVER_ERROR, None));
        assert!(policy.retries_response(StatusCode::OK, Some(14)));
        assert!(policy.retries_failure(Failure::Connect));
        assert!(!policy.retries_failure(Failure::Reset));
    }

    #[test]
    fn back_off_grows_to_its_cap() {
        let policy = policy("5xx", &[]);
        assert!(policy.back_off(1, u64::MAX) < Duration::from_millis(25));
        assert!(policy.back_off(40, u64::MAX) < Duration::from_millis(250));
    }

    #[test]
    fn unknown_conditions_are_rejected() {
        let error = RetryPolicy::compile(&proto::RetryPolicy {
            retry_on: "5xx,never".to_owned(),
            ..Default::default()
        });
        assert_eq!(error.unwrap_err().field(), "retry_on");
    }
}
