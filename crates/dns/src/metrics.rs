//! What the server counts.
//!
//! Each worker counts for itself, in a [`Shard`] that no other core writes to; reading adds them up.

use crate::{
    record::{NAMED, RecordType},
    reply::{Code, Transport},
};
use parking_lot::Mutex;
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tombolo_telemetry::metrics::{
    Collector, ConstCounter, DescriptorEncoder, EncodeMetric, MetricEncoder, MetricType,
    NoLabelSet, Registry,
};

/// A count that only grows.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(crate) fn add(&self) {
        self.add_many(1);
    }

    pub(crate) fn add_many(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }
}

/// The codes that are counted by name; all others are counted together.
const CODES: [(Code, &str); 7] = [
    (Code::NO_ERROR, "NOERROR"),
    (Code::NX_DOMAIN, "NXDOMAIN"),
    (Code::REFUSED, "REFUSED"),
    (Code::SERV_FAIL, "SERVFAIL"),
    (Code::FORM_ERR, "FORMERR"),
    (Code::NOT_IMP, "NOTIMP"),
    (Code::BAD_VERS, "BADVERS"),
];

/// Counters of each type in each view, one for each code.
const CODE_SLOTS: usize = CODES.len() + 1;
const TYPE_SLOTS: usize = NAMED.len() + 1;

/// Upper bounds of the latency buckets.
const BUCKETS: [Duration; 9] = [
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(1000),
    Duration::from_millis(5000),
];

/// What one worker counts.
pub(crate) struct Shard {
    udp: Counter,
    tcp: Counter,
    pub(crate) ignored: Counter,
    pub(crate) truncated: Counter,
    pub(crate) limited: Counter,
    /// Answers over UDP that the system did not take.
    pub(crate) unsent: Counter,
    /// By view, type and code.
    answers: Box<[Counter]>,
}

impl Shard {
    fn new(views: usize) -> Self {
        let answers = std::iter::repeat_with(Counter::default);
        Self {
            udp: Counter::default(),
            tcp: Counter::default(),
            ignored: Counter::default(),
            truncated: Counter::default(),
            limited: Counter::default(),
            unsent: Counter::default(),
            answers: answers.take(views * TYPE_SLOTS * CODE_SLOTS).collect(),
        }
    }

    /// One that nobody reads.
    pub(crate) fn unshared() -> Self {
        Self::new(0)
    }

    pub(crate) fn received(&self, transport: Transport) {
        match transport {
            Transport::Udp => self.udp.add(),
            Transport::Tcp => self.tcp.add(),
        }
    }

    /// Counts an answer; `kind` is unknown where no question could be read.
    pub(crate) fn answered(&self, view: usize, kind: Option<RecordType>, code: Code) {
        let kind = NAMED.iter().position(|(named, _)| Some(*named) == kind);
        let kind = kind.unwrap_or(NAMED.len());
        let code = CODES.iter().position(|(named, _)| *named == code);
        let code = code.unwrap_or(CODES.len());
        if let Some(counter) = self.answers.get(slot(view, kind, code)) {
            counter.add();
        }
    }
}

fn slot(view: usize, kind: usize, code: usize) -> usize {
    (view * TYPE_SLOTS + kind) * CODE_SLOTS + code
}

/// Counters of one server since its start.
pub struct Metrics {
    /// The names of the views.
    views: Vec<String>,
    shards: Mutex<Vec<Arc<Shard>>>,
    /// Questions sent on to an upstream.
    pub(crate) forwarded: Counter,
    /// Forwarded questions that no upstream answered in time.
    pub(crate) forward_failures: Counter,
    /// Questions not forwarded because too many were under way.
    pub(crate) forward_overflows: Counter,
    /// Questions not forwarded because they had come through this server already.
    pub(crate) forward_loops: Counter,
    /// TCP connections closed at once because too many were open.
    pub(crate) tcp_overflows: Counter,
    latency: Latency,
}

/// How long upstreams took.
#[derive(Default)]
struct Latency {
    /// By bucket; the last one is for what took longer than every bound.
    buckets: [Counter; BUCKETS.len() + 1],
    microseconds: AtomicU64,
}

impl Metrics {
    /// For the view of everybody, and those of these VPCs.
    pub(crate) fn new(vpcs: &[String]) -> Self {
        Self {
            views: std::iter::once(String::new())
                .chain(vpcs.iter().cloned())
                .collect(),
            shards: Mutex::default(),
            forwarded: Counter::default(),
            forward_failures: Counter::default(),
            forward_overflows: Counter::default(),
            forward_loops: Counter::default(),
            tcp_overflows: Counter::default(),
            latency: Latency::default(),
        }
    }

    /// A place for one more worker to count in.
    pub(crate) fn shard(&self) -> Arc<Shard> {
        let shard = Arc::new(Shard::new(self.views.len()));
        self.shards.lock().push(shard.clone());
        shard
    }

    pub(crate) fn took(&self, time: Duration) {
        let bucket = BUCKETS.iter().position(|bound| time <= *bound);
        self.latency.buckets[bucket.unwrap_or(BUCKETS.len())].add();
        let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.latency.microseconds.fetch_add(microseconds, Relaxed);
    }

    /// Lets a registry read what is counted, whenever it is asked.
    pub fn register(self: &Arc<Self>, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("dns");
        registry.register_collector(Box::new(self.clone()));
    }

    fn encode_answers(&self, shards: &[Arc<Shard>], encoder: &mut MetricEncoder) -> fmt::Result {
        for (view, vpc) in self.views.iter().enumerate() {
            let kinds = NAMED.iter().map(|(_, name)| *name).chain(["other"]);
            for (kind, kind_name) in kinds.enumerate() {
                let codes = CODES.iter().map(|(_, name)| *name).chain(["other"]);
                for (code, code_name) in codes.enumerate() {
                    let slot = slot(view, kind, code);
                    let counts = shards.iter().map(|shard| shard.answers[slot].get());
                    let count: u64 = counts.sum();
                    if count > 0 {
                        let labels = [
                            ("view", vpc.as_str()),
                            ("type", kind_name),
                            ("code", code_name),
                        ];
                        ConstCounter::new(count).encode(encoder.encode_family(&labels)?)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The sum of the counters whose name and labels contain all of these; for tests.
    #[cfg(test)]
    pub(crate) fn count(self: &Arc<Self>, parts: &[&str]) -> u64 {
        self.text()
            .lines()
            .filter(|line| !line.starts_with('#') && parts.iter().all(|part| line.contains(part)))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    }

    #[cfg(test)]
    fn text(self: &Arc<Self>) -> String {
        use tombolo_telemetry::metrics::{Format, registry, render};
        let mut registry = registry();
        self.register(&mut registry);
        render(&registry, Format::PrometheusText)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics")
            .field("views", &self.views)
            .finish_non_exhaustive()
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let shards = self.shards.lock();
        let sum = |get: fn(&Shard) -> &Counter| -> u64 {
            shards.iter().map(|shard| get(shard).get()).sum()
        };
        let counter = MetricType::Counter;
        let help = "Answers, by the client's VPC, the type asked for and the response code.";
        let mut answers = encoder.encode_descriptor("answers", help, None, counter)?;
        self.encode_answers(&shards, &mut answers)?;
        for (name, help, label, values) in [
            (
                "messages",
                "Messages received, by transport.",
                "transport",
                [
                    ("udp", sum(|shard| &shard.udp)),
                    ("tcp", sum(|shard| &shard.tcp)),
                ],
            ),
            (
                "forward_rejections",
                "Questions not forwarded, by reason.",
                "reason",
                [
                    ("overflow", self.forward_overflows.get()),
                    ("loop", self.forward_loops.get()),
                ],
            ),
        ] {
            let mut family = encoder.encode_descriptor(name, help, None, counter)?;
            for (value, count) in values {
                let labels = [(label, value)];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        for (name, help, count) in [
            (
                "ignored",
                "Messages that got no answer: no header, or an answer themselves.",
                sum(|shard| &shard.ignored),
            ),
            (
                "truncated",
                "Answers that were cut to fit into UDP.",
                sum(|shard| &shard.truncated),
            ),
            (
                "rate_limited",
                "Questions over UDP beyond the rate that one network may ask at.",
                sum(|shard| &shard.limited),
            ),
            (
                "unsent",
                "Answers over UDP that were dropped because the system took none.",
                sum(|shard| &shard.unsent),
            ),
            (
                "forwarded",
                "Questions sent on to an upstream.",
                self.forwarded.get(),
            ),
            (
                "forward_failures",
                "Forwarded questions that no upstream answered.",
                self.forward_failures.get(),
            ),
            (
                "tcp_overflows",
                "TCP connections closed because too many were open.",
                self.tcp_overflows.get(),
            ),
        ] {
            let encoder = encoder.encode_descriptor(name, help, None, counter)?;
            ConstCounter::new(count).encode(encoder)?;
        }
        self.latency.encode(&mut encoder)
    }
}

impl Latency {
    fn encode(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let bounds = BUCKETS.iter().map(Duration::as_secs_f64).chain([f64::MAX]);
        let counts = self.buckets.iter().map(Counter::get);
        let buckets: Vec<_> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let seconds = self.microseconds.load(Relaxed) as f64 / 1e6;
        let (name, help) = ("forward_seconds", "How long upstreams took to answer.");
        encoder
            .encode_descriptor(name, help, None, MetricType::Histogram)?
            .encode_histogram::<NoLabelSet>(seconds, count, &buckets, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_all_workers_render_with_their_labels() {
        let metrics = Arc::new(Metrics::new(&["vpc-\"1".into()]));
        let (one, two) = (metrics.shard(), metrics.shard());
        one.answered(1, Some(RecordType::A), Code::NX_DOMAIN);
        two.answered(1, Some(RecordType::A), Code::NX_DOMAIN);
        two.answered(0, Some(RecordType(4242)), Code(4000));
        two.answered(7, None, Code::NO_ERROR);
        one.received(Transport::Tcp);
        metrics.took(Duration::from_millis(7));
        metrics.took(Duration::from_secs(60));
        let out = metrics.text();
        for line in [
            "tombolo_dns_answers_total{view=\"vpc-\\\"1\",type=\"A\",code=\"NXDOMAIN\"} 2",
            "tombolo_dns_answers_total{view=\"\",type=\"other\",code=\"other\"} 1",
            "tombolo_dns_messages_total{transport=\"tcp\"} 1",
            "# TYPE tombolo_dns_truncated_total counter",
            "tombolo_dns_truncated_total 0",
            "tombolo_dns_forward_seconds_bucket{le=\"0.005\"} 0",
            "tombolo_dns_forward_seconds_bucket{le=\"5\"} 1",
            "tombolo_dns_forward_seconds_bucket{le=\"+Inf\"} 2",
            "tombolo_dns_forward_seconds_sum 60.007",
        ] {
            assert!(out.lines().any(|found| found == line), "{line}\n{out}");
        }
    }
}
