//! `RetryPolicy`: which failures are tried again, how often and how soon.

use std::time::Duration;

use envoy_types::pb::envoy::config::route::v3 as proto;
use http::StatusCode;

use super::error::{ConfigError, ConfigResult, reject_set};
use super::value::{duration_or, number, timeout};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RetryPolicy {
    pub(crate) on: RetryOn,
    pub(crate) status_codes: Vec<u16>,
    pub(crate) retries: u32,
    pub(crate) per_try_timeout: Option<Duration>,
    pub(crate) base_interval: Duration,
    pub(crate) max_interval: Duration,
    /// How many extra picks may be spent on avoiding hosts already tried.
    pub(crate) host_attempts: u32,
}

/// The conditions of `retry_on`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RetryOn {
    pub(crate) server_error: bool,
    pub(crate) gateway_error: bool,
    pub(crate) reset: bool,
    pub(crate) reset_before_request: bool,
    pub(crate) connect_failure: bool,
    pub(crate) refused_stream: bool,
    pub(crate) retriable_4xx: bool,
    pub(crate) status_codes: bool,
    /// Bit per gRPC status code.
    pub(crate) grpc: u32,
}

/// How an attempt failed before any response header arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    Connect,
    /// Reset after the request had been sent, at least in part.
    Reset,
    /// The upstream says that it did not process the request.
    Refused,
    PerTryTimeout,
}

impl RetryPolicy {
    pub(crate) fn compile(policy: &proto::RetryPolicy) -> ConfigResult<Self> {
        reject_set!(policy;
            retry_priority, retry_options_predicates, rate_limited_retry_back_off, retriable_headers,
            retriable_request_headers, per_try_idle_timeout, refresh_cluster_on_retry,
        );
        let mut on = RetryOn::default();
        for condition in policy
            .retry_on
            .split(',')
            .map(str::trim)
            .filter(|text| !text.is_empty())
        {
            on.add(condition)?;
        }
        for (index, predicate) in policy.retry_host_predicate.iter().enumerate() {
            if predicate.name != "envoy.retry_host_predicates.previous_hosts" {
                return Err(ConfigError::new(
                    format!("retry_host_predicate[{index}]"),
                    format!("{:?} is not supported", predicate.name),
                ));
            }
        }
        let mut status_codes = Vec::new();
        for code in &policy.retriable_status_codes {
            let code = u16::try_from(*code)
                .ok()
                .filter(|code| StatusCode::from_u16(*code).is_ok());
            status_codes.push(code.ok_or_else(|| {
                ConfigError::new("retriable_status_codes", "holds what is not a status")
            })?);
        }
        let back_off = policy.retry_back_off.as_ref();
        let base = back_off.and_then(|back_off| back_off.base_interval.as_ref());
        let base = duration_or(
            base,
            Duration::from_millis(25),
            "retry_back_off.base_interval",
        )?;
        let base = base.max(Duration::from_millis(1));
        let max = back_off.and_then(|back_off| back_off.max_interval.as_ref());
        let max = duration_or(max, base * 10, "retry_back_off.max_interval")?;
        if max < base {
            return Err(ConfigError::new(
                "retry_back_off.max_interval",
                "must not be below base_interval",
            ));
        }
        let host_attempts =
            u32::try_from(policy.host_selection_retry_max_attempts.clamp(0, 64)).unwrap_or(0);
        Ok(Self {
            on,
            status_codes,
            retries: number(policy.num_retries.as_ref(), 1),
            per_try_timeout: timeout(policy.per_try_timeout.as_ref(), None, "per_try_timeout")?,
            base_interval: base,
            max_interval: max,
            host_attempts,
        })
    }

    /// Whether a response with this status (and gRPC status, when the headers carry one) is tried again.
    pub(crate) fn retries_response(&self, status: StatusCode, grpc_status: Option<u32>) -> bool {
        let code = status.as_u16();
        (self.on.server_error && code >= 500)
            || (self.on.gateway_error && (502..=504).contains(&code))
            || (self.on.retriable_4xx && code == 409)
            || (self.on.status_codes && self.status_codes.contains(&code))
            || grpc_status.is_some_and(|grpc| grpc < 32 && self.on.grpc & (1 << grpc) != 0)
    }

    pub(crate) fn retries_failure(&self, failure: Failure) -> bool {
        let on = &self.on;
        let any = on.server_error || on.gateway_error;
        match failure {
            Failure::Connect => any || on.reset || on.connect_failure || on.reset_before_request,
            Failure::Reset => any || on.reset,
            Failure::Refused => any || on.reset || on.refused_stream,
            Failure::PerTryTimeout => {
                any || on.reset || (on.status_codes && self.status_codes.contains(&504))
            }
        }
    }

    /// A random wait below `base × (2^n − 1)`, capped, for retry number `n` from 1. `random` is any 64 bits.
    pub(crate) fn back_off(&self, retry: u32, random: u64) -> Duration {
        let factor = (1u32 << retry.clamp(1, 16)) - 1;
        let ceiling = (self.base_interval * factor)
            .min(self.max_interval)
            .as_micros()
            .max(1);
        let ceiling = u64::try_from(ceiling).unwrap_or(u64::MAX);
        Duration::from_micros(random % ceiling)
    }
}

impl RetryOn {
    fn add(&mut self, condition: &str) -> ConfigResult<()> {
        match condition {
            "5xx" => self.server_error = true,
            "gateway-error" => self.gateway_error = true,
            "reset" => self.reset = true,
            "reset-before-request" => self.reset_before_request = true,
            "connect-failure" => self.connect_failure = true,
            "refused-stream" => self.refused_stream = true,
            "retriable-4xx" => self.retriable_4xx = true,
            "retriable-status-codes" => self.status_codes = true,
            "cancelled" => self.grpc |= 1 << 1,
            "deadline-exceeded" => self.grpc |= 1 << 4,
            "resource-exhausted" => self.grpc |= 1 << 8,
            "internal" => self.grpc |= 1 << 13,
            "unavailable" => self.grpc |= 1 << 14,
            other => {
                return Err(ConfigError::new(
                    "retry_on",
                    format!("condition {other:?} is not supported"),
                ));
            }
        }
        Ok(())
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
