//! Metrics of the server.
//!
//! Each worker has its own counters, a [`Shard`], to avoid contention between cores; the registry reads the sums.

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
};
use tombolo_telemetry::{
    metrics::{Counter, Histogram, Registry, Samples, collect},
    register,
};

/// The codes with their own counters; all others are counted together.
const CODES: [(Code, &str); 7] = [
    (Code::NO_ERROR, "NOERROR"),
    (Code::NX_DOMAIN, "NXDOMAIN"),
    (Code::REFUSED, "REFUSED"),
    (Code::SERV_FAIL, "SERVFAIL"),
    (Code::FORM_ERR, "FORMERR"),
    (Code::NOT_IMP, "NOTIMP"),
    (Code::BAD_VERS, "BADVERS"),
];

/// The number of counters for each type in each view: one for each code, and one for all others.
const CODE_SLOTS: usize = CODES.len() + 1;
/// The number of types with their own counters, and one for all others.
const TYPE_SLOTS: usize = NAMED.len() + 1;
/// The upper bounds of the histogram of upstreams' response times, in seconds.
const BUCKETS: [f64; 9] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

/// Events that each worker counts in its own [`Shard`].
#[derive(Clone, Copy)]
pub(crate) enum Event {
    Udp,
    Tcp,
    Ignored,
    Truncated,
    Limited,
    /// An answer over UDP that the system did not accept.
    Unsent,
}

/// The counters of one worker.
pub(crate) struct Shard {
    /// By [`Event`].
    events: [AtomicU64; Event::Unsent as usize + 1],
    /// By view, type and code.
    answers: Box<[AtomicU64]>,
}

impl Shard {
    fn new(views: usize) -> Self {
        let answers = std::iter::repeat_with(AtomicU64::default);
        Self {
            events: Default::default(),
            answers: answers.take(views * TYPE_SLOTS * CODE_SLOTS).collect(),
        }
    }

    /// A shard that no registry reads.
    pub(crate) fn unshared() -> Self {
        Self::new(0)
    }

    pub(crate) fn count(&self, event: Event) {
        self.count_many(event, 1);
    }

    pub(crate) fn count_many(&self, event: Event, count: u64) {
        self.events[event as usize].fetch_add(count, Relaxed);
    }

    pub(crate) fn received(&self, transport: Transport) {
        self.count(match transport {
            Transport::Udp => Event::Udp,
            Transport::Tcp => Event::Tcp,
        });
    }

    /// Counts an answer; `kind` is `None` if the question is malformed.
    pub(crate) fn answered(&self, view: usize, kind: Option<RecordType>, code: Code) {
        let kind = NAMED.iter().position(|named| Some(*named) == kind);
        let kind = kind.unwrap_or(NAMED.len());
        let code = CODES.iter().position(|(named, _)| *named == code);
        let code = code.unwrap_or(CODES.len());
        if let Some(counter) = self.answers.get(slot(view, kind, code)) {
            counter.fetch_add(1, Relaxed);
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
    /// Queries forwarded to an upstream.
    pub(crate) forwarded: Counter,
    /// Forwarded queries that no upstream answered in time.
    pub(crate) forward_failures: Counter,
    /// Queries not forwarded because too many were pending.
    pub(crate) forward_overflows: Counter,
    /// Queries not forwarded because this server had forwarded them before (a loop).
    pub(crate) forward_loops: Counter,
    /// TCP connections closed at once because too many were open.
    pub(crate) tcp_overflows: Counter,
    /// The response times of upstreams, in seconds.
    pub(crate) forward_seconds: Histogram,
}

impl Metrics {
    /// Metrics of the public view (index 0), and of the views of these VPCs.
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
            forward_seconds: Histogram::new(BUCKETS),
        }
    }

    /// Adds the counters of a worker.
    pub(crate) fn shard(&self) -> Arc<Shard> {
        let shard = Arc::new(Shard::new(self.views.len()));
        self.shards.lock().push(shard.clone());
        shard
    }

    /// Registers the metrics.
    pub fn register(self: &Arc<Self>, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("dns");
        register! { registry;
            "forwarded" => self.forwarded, "Questions sent on to an upstream";
            "forward_failures" => self.forward_failures, "Forwarded questions that no upstream answered";
            "forward_seconds" => self.forward_seconds, "How long upstreams took to answer";
            "tcp_overflows" => self.tcp_overflows, "TCP connections closed because too many were open";
        }
        let metrics = self.clone();
        collect(registry, move |samples| metrics.collect(samples));
    }

    fn collect(&self, samples: &mut Samples<'_>) -> fmt::Result {
        let shards = self.shards.lock();
        let sum = |event: Event| -> u64 {
            let counts = shards.iter().map(|shard| &shard.events[event as usize]);
            counts.map(|count| count.load(Relaxed)).sum()
        };
        let answers = |slot: usize| -> u64 {
            let counts = shards.iter().map(|shard| &shard.answers[slot]);
            counts.map(|count| count.load(Relaxed)).sum()
        };
        let kinds: Vec<_> = NAMED.iter().map(|kind| <&str>::from(*kind)).collect();
        let kinds = || kinds.iter().copied().chain(["other"]).enumerate();
        let codes = || {
            CODES
                .iter()
                .map(|(_, name)| *name)
                .chain(["other"])
                .enumerate()
        };
        let slots = self.views.iter().enumerate().flat_map(|(view, vpc)| {
            kinds().flat_map(move |(kind, kind_name)| {
                codes().map(move |(code, code_name)| {
                    let labels = [
                        ("view", vpc.as_str()),
                        ("type", kind_name),
                        ("code", code_name),
                    ];
                    (labels, slot(view, kind, code))
                })
            })
        });
        samples.counters(
            "answers",
            "Answers, by the client's VPC, the type asked for and the response code.",
            slots
                .map(|(labels, slot)| (labels, answers(slot)))
                .filter(|(_, count)| *count > 0),
        )?;
        let by_transport = [("udp", Event::Udp), ("tcp", Event::Tcp)];
        samples.counters(
            "messages",
            "Messages received, by transport.",
            by_transport.map(|(name, event)| ([("transport", name)], sum(event))),
        )?;
        let by_reason = [
            ("overflow", &self.forward_overflows),
            ("loop", &self.forward_loops),
        ];
        samples.counters(
            "forward_rejections",
            "Questions not forwarded, by reason.",
            by_reason.map(|(reason, count)| ([("reason", reason)], count.get())),
        )?;
        for (name, event, help) in [
            (
                "ignored",
                Event::Ignored,
                "Messages that got no answer: no header, or an answer themselves.",
            ),
            (
                "truncated",
                Event::Truncated,
                "Answers that were cut to fit into UDP.",
            ),
            (
                "rate_limited",
                Event::Limited,
                "Questions over UDP beyond the rate that one network may ask at.",
            ),
            (
                "unsent",
                Event::Unsent,
                "Answers over UDP that were dropped because the system took none.",
            ),
        ] {
            samples.counter(name, help, sum(event))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_all_workers_render_with_their_labels() {
        let metrics = Arc::new(Metrics::new(&["vpc-\"1".into()]));
        let (one, two) = (metrics.shard(), metrics.shard());
        one.answered(1, Some(RecordType::A), Code::NX_DOMAIN);
        two.answered(1, Some(RecordType::A), Code::NX_DOMAIN);
        two.answered(0, Some(RecordType::Unknown(4242)), Code(4000));
        two.answered(7, None, Code::NO_ERROR);
        one.received(Transport::Tcp);
        metrics.forward_seconds.observe(0.007);
        metrics.forward_seconds.observe(60.0);
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
