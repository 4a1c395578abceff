//! What the server counts.
//!
//! Each worker counts for itself, in a [`Shard`] that no other core writes to; reading adds them up.

use crate::{
    record::{NAMED, RecordType},
    reply::{Code, Transport},
};
use std::{
    fmt::Write,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
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
const BUCKETS: [(Duration, &str); 9] = [
    (Duration::from_millis(1), "0.001"),
    (Duration::from_millis(5), "0.005"),
    (Duration::from_millis(10), "0.01"),
    (Duration::from_millis(25), "0.025"),
    (Duration::from_millis(50), "0.05"),
    (Duration::from_millis(100), "0.1"),
    (Duration::from_millis(250), "0.25"),
    (Duration::from_millis(1000), "1"),
    (Duration::from_millis(5000), "5"),
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
    /// By bucket; what took longer than the last is in `count` alone.
    buckets: [Counter; BUCKETS.len()],
    count: Counter,
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
        // Nothing can be half done in a list of counters.
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        shards.push(shard.clone());
        shard
    }

    pub(crate) fn took(&self, time: Duration) {
        let bucket = BUCKETS.iter().position(|(bound, _)| time <= *bound);
        if let Some(bucket) = bucket {
            self.latency.buckets[bucket].add();
        }
        self.latency.count.add();
        let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.latency.microseconds.fetch_add(microseconds, Relaxed);
    }

    /// Appends all counters as Prometheus text.
    pub fn render(&self, out: &mut String) {
        let shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = |get: &dyn Fn(&Shard) -> &Counter| -> u64 {
            shards.iter().map(|shard| get(shard).get()).sum()
        };
        let mut family = |name: &str, help: &str, series: &[(String, u64)]| {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter");
            for (labels, count) in series {
                let _ = writeln!(out, "{name}{labels} {count}");
            }
        };
        family(
            "tombolo_dns_messages_total",
            "Messages received, by transport.",
            &[
                ("{transport=\"udp\"}".into(), sum(&|shard| &shard.udp)),
                ("{transport=\"tcp\"}".into(), sum(&|shard| &shard.tcp)),
            ],
        );
        let mut answers = Vec::new();
        for (view, vpc) in self.views.iter().enumerate() {
            let kinds = NAMED.iter().map(|(_, name)| *name).chain(["other"]);
            for (kind, kind_name) in kinds.enumerate() {
                let codes = CODES.iter().map(|(_, name)| *name).chain(["other"]);
                for (code, code_name) in codes.enumerate() {
                    let count = sum(&|shard| &shard.answers[slot(view, kind, code)]);
                    if count > 0 {
                        let vpc = vpc.replace('\\', "\\\\").replace('"', "\\\"");
                        answers.push((
                            format!("{{view=\"{vpc}\",type=\"{kind_name}\",code=\"{code_name}\"}}"),
                            count,
                        ));
                    }
                }
            }
        }
        family(
            "tombolo_dns_answers_total",
            "Answers, by the client's VPC, the type asked for and the response code.",
            &answers,
        );
        let plain = |count: u64| [(String::new(), count)];
        for (name, help, count) in [
            (
                "tombolo_dns_ignored_total",
                "Messages that got no answer: no header, or an answer themselves.",
                sum(&|shard| &shard.ignored),
            ),
            (
                "tombolo_dns_truncated_total",
                "Answers that were cut to fit into UDP.",
                sum(&|shard| &shard.truncated),
            ),
            (
                "tombolo_dns_rate_limited_total",
                "Questions over UDP beyond the rate that one network may ask at.",
                sum(&|shard| &shard.limited),
            ),
            (
                "tombolo_dns_unsent_total",
                "Answers over UDP that were dropped because the system took none.",
                sum(&|shard| &shard.unsent),
            ),
            (
                "tombolo_dns_forwarded_total",
                "Questions sent on to an upstream.",
                self.forwarded.get(),
            ),
            (
                "tombolo_dns_forward_failures_total",
                "Forwarded questions that no upstream answered.",
                self.forward_failures.get(),
            ),
            (
                "tombolo_dns_tcp_overflows_total",
                "TCP connections closed because too many were open.",
                self.tcp_overflows.get(),
            ),
        ] {
            family(name, help, &plain(count));
        }
        family(
            "tombolo_dns_forward_rejections_total",
            "Questions not forwarded, by reason.",
            &[
                ("{reason=\"overflow\"}".into(), self.forward_overflows.get()),
                ("{reason=\"loop\"}".into(), self.forward_loops.get()),
            ],
        );
        self.latency.render(out);
    }

    /// The sum of the counters whose name and labels contain all of these; for tests.
    #[cfg(test)]
    pub(crate) fn count(&self, parts: &[&str]) -> u64 {
        let mut text = String::new();
        self.render(&mut text);
        text.lines()
            .filter(|line| !line.starts_with('#') && parts.iter().all(|part| line.contains(part)))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    }
}

impl Latency {
    fn render(&self, out: &mut String) {
        let name = "tombolo_dns_forward_seconds";
        let _ = writeln!(
            out,
            "# HELP {name} How long upstreams took to answer.\n# TYPE {name} histogram"
        );
        let mut below = 0;
        for ((_, bound), bucket) in BUCKETS.iter().zip(&self.buckets) {
            below += bucket.get();
            let _ = writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {below}");
        }
        let count = self.count.get();
        let microseconds = self.microseconds.load(Relaxed);
        let seconds = format!(
            "{}.{:06}",
            microseconds / 1_000_000,
            microseconds % 1_000_000
        );
        let _ = writeln!(
            out,
            "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {seconds}\n{name}_count {count}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_all_workers_render_with_their_labels() {
        let metrics = Metrics::new(&["vpc-\"1".into()]);
        let (one, two) = (metrics.shard(), metrics.shard());
        one.answered(1, Some(RecordType::A), Code::NX_DOMAIN);
        two.answered(1, Some(RecordType::A), Code::NX_DOMAIN);
        two.answered(0, Some(RecordType(4242)), Code(4000));
        two.answered(7, None, Code::NO_ERROR);
        one.received(Transport::Tcp);
        metrics.took(Duration::from_millis(7));
        metrics.took(Duration::from_secs(60));
        let mut out = String::new();
        metrics.render(&mut out);
        for line in [
            "tombolo_dns_answers_total{view=\"vpc-\\\"1\",type=\"A\",code=\"NXDOMAIN\"} 2",
            "tombolo_dns_answers_total{view=\"\",type=\"other\",code=\"other\"} 1",
            "tombolo_dns_messages_total{transport=\"tcp\"} 1",
            "# TYPE tombolo_dns_truncated_total counter",
            "tombolo_dns_truncated_total 0",
            "tombolo_dns_forward_seconds_bucket{le=\"0.005\"} 0",
            "tombolo_dns_forward_seconds_bucket{le=\"5\"} 1",
            "tombolo_dns_forward_seconds_bucket{le=\"+Inf\"} 2",
            "tombolo_dns_forward_seconds_sum 60.007000",
        ] {
            assert!(out.lines().any(|found| found == line), "{line}\n{out}");
        }
    }
}
