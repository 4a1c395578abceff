//! What the API counts.

use crate::error::ApiError;
use std::{borrow::Cow, time::Duration};
use tombolo_telemetry::{
    metrics::{Counter, Family, Histogram, Label, Registry, seconds},
    register,
};

/// Name and value of a label; the value is one of the names that this crate knows.
type Text = (&'static str, Cow<'static, str>);

/// What all listeners of a server count together.
#[derive(Clone)]
pub(crate) struct Metrics {
    calls: Family<[Text; 3], Counter>,
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

    /// Counts a call that was answered after so long. `operation` is empty where none was read.
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
