//! Metrics of a process: one registry, in the formats that scrapers read.
//!
//! A crate that counts has a `metrics` module with a `Metrics` that [registers](registry) what it counts:
//! `tombolo_<crate>_<thing>_<unit>`, with labels that take few values. The process makes the one registry,
//! lets everybody register, and serves [`render`]. The catalogue is docs/reference/metrics.md.

pub use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{
        MetricType,
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
    },
    registry::Registry,
};

use prometheus_client::{
    encoding::{prometheus_text, text},
    metrics::histogram::exponential_buckets,
};

/// One label: its name and value. Values come from a fixed list, never from a caller.
pub type Label = (&'static str, &'static str);

/// A registry whose metrics all begin with `tombolo_`. Each crate takes a sub-registry of its name.
pub fn registry() -> Registry {
    Registry::with_prefix("tombolo")
}

/// A histogram of durations in seconds, from a quarter of a millisecond to about 16 seconds.
pub fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_25, 4.0, 9))
}

/// A counter for each of these values of a label, all of which are shown from the start.
pub fn counters<const N: usize>(
    label: &'static str,
    values: [&'static str; N],
) -> Family<[Label; 1], Counter> {
    let family = Family::<[Label; 1], Counter>::default();
    for value in values {
        drop(family.get_or_create(&[(label, value)]));
    }
    family
}

/// The format of an exposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format 0.0.4, which every scraper reads.
    PrometheusText,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// What a client that sent this `Accept` header takes.
    pub fn accepted(accept: Option<&str>) -> Self {
        match accept {
            Some(accept) if accept.contains("application/openmetrics-text") => Self::OpenMetrics,
            _ => Self::PrometheusText,
        }
    }

    /// The `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::PrometheusText => prometheus_text::CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// All metrics of a registry, as text.
pub fn render(registry: &Registry, format: Format) -> String {
    let mut text = String::new();
    let written = match format {
        Format::PrometheusText => prometheus_text::encode(&mut text, registry),
        Format::OpenMetrics => text::encode(&mut text, registry),
    };
    written.expect("a string takes all text");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_are_as_their_scrapers_expect() {
        let mut registry = registry();
        let crate_registry = registry.sub_registry_with_prefix("test");
        let results = counters("result", ["ok", "failed"]);
        crate_registry.register("things", "Things", results.clone());
        results.get_or_create(&[("result", "ok")]).inc();
        let text = render(&registry, Format::PrometheusText);
        for line in [
            "# TYPE tombolo_test_things_total counter",
            "tombolo_test_things_total{result=\"ok\"} 1",
            "tombolo_test_things_total{result=\"failed\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        let text = render(&registry, Format::OpenMetrics);
        assert!(
            text.contains("# TYPE tombolo_test_things counter\n"),
            "{text}"
        );
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn open_metrics_are_for_those_who_ask() {
        let prometheus = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
        assert_eq!(Format::accepted(Some(prometheus)), Format::OpenMetrics);
        for other in [None, Some("*/*"), Some("text/html")] {
            assert_eq!(Format::accepted(other), Format::PrometheusText);
        }
    }
}
