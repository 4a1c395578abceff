//! Metrics of the APIs.

use crate::error::ApiError;
use std::{borrow::Cow, time::Duration};
use tombolo_telemetry::{
    metrics::{Counter, Family, Histogram, Label, Registry, seconds},
    register,
};

/// The name and the value of a label. Values come from a fixed list, never from a caller.
type OwnedLabel = (&'static str, Cow<'static, str>);
/// The metrics that all listeners of a server share.
#[derive(Clone)]
pub(crate) struct Metrics {
    calls: Family<[OwnedLabel; 3], Counter>,
    seconds: Family<[Label; 1], Histogram, fn() -> Histogram>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            calls: Family::default(),
            seconds: Family::new_with_constructor(seconds),
        }
    }
}

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("api");
        register! { registry;
            "calls" => self.calls, "Calls of AWS operations, by service, operation and outcome";
            "call_seconds" => self.seconds, "Time from a call's head to its answer, by service";
        }
    }

    /// Counts a call and observes its duration. `operation` is empty if none was parsed.
    pub(crate) fn answered<T>(
        &self,
        service: &'static str,
        operation: Cow<'static, str>,
        result: &Result<T, ApiError>,
        took: Duration,
    ) {
        let outcome = match result {
            Ok(_) => "ok",
            Err(error) if error.status.is_server_error() => "failed",
            Err(_) => "refused",
        };
        let labels = [
            ("service", Cow::Borrowed(service)),
            ("operation", operation),
            ("outcome", Cow::Borrowed(outcome)),
        ];
        self.calls.get_or_create(&labels).inc();
        let seconds = self.seconds.get_or_create(&[("service", service)]);
        seconds.observe(took.as_secs_f64());
    }
}
