//! The rules of health checks that the server makes (facts/cloudmap-api.md §7).

use super::bounds::too_long;
use crate::{
    Rejection,
    cloudmap::{HealthCheckConfig, HealthCheckType, NamespaceType},
};

/// Checks the rules that do not depend on the state. `at` is the path to the check in the input.
pub(super) fn check(at: &str, config: &HealthCheckConfig) -> Result<(), Rejection> {
    let path = format!("{at}.ResourcePath");
    too_long(&path, config.resource_path.as_deref(), 255)?;
    if config.kind == HealthCheckType::TCP && config.resource_path.is_some() {
        return Err(Rejection::invalid(path, "must not be given with type TCP"));
    }
    let threshold = config.failure_threshold;
    if threshold.is_some_and(|threshold| !(1..=10).contains(&threshold)) {
        return Err(Rejection::invalid(
            format!("{at}.FailureThreshold"),
            "must be between 1 and 10",
        ));
    }
    Ok(())
}

/// Checks that a service may have a health check.
pub(super) fn check_fit(
    at: &str,
    kind: NamespaceType,
    has_custom_check: bool,
) -> Result<(), Rejection> {
    if has_custom_check {
        let message = "must not be given together with HealthCheckCustomConfig";
        return Err(Rejection::invalid(at, message));
    }
    if kind == NamespaceType::DNS_PRIVATE {
        let message = "is not possible in a private DNS namespace; use HealthCheckCustomConfig";
        return Err(Rejection::invalid(at, message));
    }
    Ok(())
}
