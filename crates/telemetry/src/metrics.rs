//! The metrics of a process: one registry, in the formats of scrapers.
//!
//! A crate with metrics has a module `metrics` with a type `Metrics`, which registers them as
//! `tombolo_<crate>_<thing>_<unit>`, with labels that have few values. The process creates the [`registry`],
//! passes it to all crates, and serves [`render`]. The catalogue is docs/reference/metrics.md.

pub use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, prometheus_text, text},
    metrics::{counter::ConstCounter, gauge::ConstGauge, histogram::exponential_buckets},
};
use std::fmt;

/// One label: its name and value. Values come from a fixed list, never from a caller.
pub type Label = (&'static str, &'static str);

/// A registry whose metrics all begin with `tombolo_`. Each crate uses a sub-registry of its name.
pub fn registry() -> Registry {
    Registry::with_prefix("tombolo")
}

/// A histogram of durations in seconds, from a quarter of a millisecond to about 16 seconds.
pub fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_25, 4.0, 9))
}

/// Registers metrics, one per line, under the registry's prefix and these names.
///
/// ```
/// # use tombolo_telemetry::{metrics::{Counter, registry}, register};
/// let (mut registry, calls) = (registry(), <Counter>::default());
/// register! { registry;
///     "calls" => calls, "Calls that were answered";
/// }
/// ```
#[macro_export]
macro_rules! register {
    ($registry:expr; $($name:literal => $metric:expr, $help:literal;)+) => {
        $($registry.register($name, $help, $metric.clone());)+
    };
}

/// A counter for each value of one label, all of which are exposed from the start. Clones share the counters.
#[derive(Clone, Debug)]
pub struct Counters {
    label: &'static str,
    /// The metric to register.
    pub family: Family<[Label; 1], Counter>,
}

impl Counters {
    /// A counter for each of these values of `label`.
    pub fn new<const N: usize>(label: &'static str, values: [&'static str; N]) -> Self {
        let family = Family::<[Label; 1], Counter>::default();
        for value in values {
            drop(family.get_or_create(&[(label, value)]));
        }
        Self { label, family }
    }

    /// Increments the counter of a value.
    pub fn inc(&self, value: &'static str) {
        self.family.get_or_create(&[(self.label, value)]).inc();
    }
}

/// Registers metrics whose values `read` writes at each scrape.
pub fn collect(
    registry: &mut Registry,
    read: impl Fn(&mut Samples<'_>) -> fmt::Result + Send + Sync + 'static,
) {
    registry.register_collector(Box::new(Collected(read)));
}

/// The writer of samples for [`collect`].
pub struct Samples<'a>(DescriptorEncoder<'a>);

impl Samples<'_> {
    /// Writes the value of a gauge.
    ///
    /// # Errors
    /// The underlying writer fails.
    pub fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.metric(name, help, ConstGauge::new(value))
    }

    /// Writes the value of a counter.
    ///
    /// # Errors
    /// See [`Samples::gauge`].
    pub fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.metric(name, help, ConstCounter::new(value))
    }

    /// Writes the values of a counter by its labels.
    ///
    /// # Errors
    /// See [`Samples::gauge`].
    pub fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let counter = ConstCounter::new(0_u64).metric_type();
        let mut family = self.0.encode_descriptor(name, help, None, counter)?;
        for (labels, value) in values {
            ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn metric(&mut self, name: &str, help: &str, metric: impl EncodeMetric) -> fmt::Result {
        let encoder = self
            .0
            .encode_descriptor(name, help, None, metric.metric_type())?;
        metric.encode(encoder)
    }
}

struct Collected<F>(F);

impl<F> fmt::Debug for Collected<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collected")
    }
}

impl<F> Collector for Collected<F>
where
    F: Fn(&mut Samples<'_>) -> fmt::Result + Send + Sync + 'static,
{
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        (self.0)(&mut Samples(encoder))
    }
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
    /// The format for a client that sent this `Accept` header.
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
        let results = Counters::new("result", ["ok", "failed"]);
        register! { crate_registry;
            "things" => results.family, "Things";
        }
        collect(crate_registry, |samples| {
            samples.gauge("held", "Held.", 7)?;
            samples.counter("read", "Read.", 8)?;
            samples.counters("by", "By label.", [([("a", "b")], 9)])
        });
        results.inc("ok");
        let text = render(&registry, Format::PrometheusText);
        for line in [
            "# TYPE tombolo_test_things_total counter",
            "tombolo_test_things_total{result=\"ok\"} 1",
            "tombolo_test_things_total{result=\"failed\"} 0",
            "# TYPE tombolo_test_held gauge",
            "tombolo_test_held 7",
            "tombolo_test_read_total 8",
            "tombolo_test_by_total{a=\"b\"} 9",
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
