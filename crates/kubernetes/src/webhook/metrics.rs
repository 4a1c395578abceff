//! What the webhook counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tombolo_telemetry::metrics::{Counter, Family, Histogram, Label, Registry, collect, seconds};
use tombolo_telemetry::register;

use super::hook::Hook;

/// Counters of the webhook. Clones count together.
#[derive(Clone)]
pub(super) struct Metrics {
    reviews: Family<[Label; 3], Counter>,
    seconds: Histogram,
    fresh_reads: Counter,
    malformed: Counter,
    /// When the served certificate ends, in Unix seconds; 0: there is none of our own.
    certificate: Arc<AtomicI64>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            reviews: Family::default(),
            seconds: seconds(),
            fresh_reads: Counter::default(),
            malformed: Counter::default(),
            certificate: Arc::default(),
        }
    }
}

impl Metrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("webhook");
        register! { registry;
            "reviews" => self.reviews, "Questions that were answered, by kind of the object, action and result";
            "review_seconds" => self.seconds, "How long an answer took";
            "fresh_reads" => self.fresh_reads, "Answers before which the API server was asked again";
            "malformed_requests" => self.malformed, "Calls that are no question";
        }
        let certificate = self.certificate.clone();
        collect(registry, move |samples| {
            let ends = certificate.load(Ordering::Relaxed);
            samples.gauge(
                "certificate_end_timestamp_seconds",
                "When the own certificate that is served ends, in Unix seconds; 0 without one.",
                u64::try_from(ends).unwrap_or(0),
            )
        });
    }

    pub(super) fn answered(&self, hook: Hook, result: &'static str, took: Duration) {
        let labels = [
            ("kind", hook.kind()),
            ("action", hook.action()),
            ("result", result),
        ];
        self.reviews.get_or_create(&labels).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    pub(super) fn read_anew(&self) {
        self.fresh_reads.inc();
    }

    pub(super) fn malformed(&self) {
        self.malformed.inc();
    }

    pub(super) fn certificate(&self, ends: Timestamp) {
        self.certificate.store(ends.as_second(), Ordering::Relaxed);
    }
}
