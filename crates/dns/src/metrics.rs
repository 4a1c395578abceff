//! What the server counts.

use hickory_proto::op::ResponseCode;
use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// A count that only grows.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// Counters of one server since its start.
#[derive(Default)]
pub struct Metrics {
    /// Packets that came over UDP.
    pub udp_packets: Counter,
    /// Messages that came over TCP.
    pub tcp_messages: Counter,
    /// Messages that got no answer: no header, or an answer themselves.
    pub ignored: Counter,
    /// Answers by response code.
    pub answers: Answers,
    /// Answers that were cut to fit into UDP.
    pub truncated: Counter,
    /// Questions sent on to an upstream.
    pub forwarded: Counter,
    /// Forwarded questions that no upstream answered in time.
    pub forward_failures: Counter,
    /// Questions not forwarded because too many were under way.
    pub forward_overflows: Counter,
    /// Questions not forwarded because they had come through this server already.
    pub forward_loops: Counter,
    /// TCP connections closed at once because too many were open.
    pub tcp_overflows: Counter,
}

/// Name, help, and each series' labels with its counter.
type Family<'a> = (&'a str, &'a str, &'a [(&'a str, &'a Counter)]);

/// Answers by response code.
#[derive(Default)]
pub struct Answers {
    /// Names found, with or without such records.
    pub no_error: Counter,
    /// Names that do not exist.
    pub nx_domain: Counter,
    /// Names that are not ours to answer.
    pub refused: Counter,
    /// Upstreams that failed.
    pub serv_fail: Counter,
    /// Messages that are no question.
    pub form_err: Counter,
    /// Everything else.
    pub other: Counter,
}

impl Answers {
    pub(crate) fn of(&self, code: ResponseCode) -> &Counter {
        match code {
            ResponseCode::NoError => &self.no_error,
            ResponseCode::NXDomain => &self.nx_domain,
            ResponseCode::Refused => &self.refused,
            ResponseCode::ServFail => &self.serv_fail,
            ResponseCode::FormErr => &self.form_err,
            _ => &self.other,
        }
    }
}

impl Metrics {
    /// Appends all counters as Prometheus text.
    pub fn render(&self, out: &mut String) {
        let answers = &self.answers;
        let families: [Family<'_>; 8] = [
            (
                "tombolo_dns_queries_total",
                "Messages received, by transport.",
                &[
                    ("{transport=\"udp\"}", &self.udp_packets),
                    ("{transport=\"tcp\"}", &self.tcp_messages),
                ],
            ),
            (
                "tombolo_dns_ignored_total",
                "Messages that got no answer.",
                &[("", &self.ignored)],
            ),
            (
                "tombolo_dns_answers_total",
                "Answers, by response code.",
                &[
                    ("{code=\"NOERROR\"}", &answers.no_error),
                    ("{code=\"NXDOMAIN\"}", &answers.nx_domain),
                    ("{code=\"REFUSED\"}", &answers.refused),
                    ("{code=\"SERVFAIL\"}", &answers.serv_fail),
                    ("{code=\"FORMERR\"}", &answers.form_err),
                    ("{code=\"other\"}", &answers.other),
                ],
            ),
            (
                "tombolo_dns_truncated_total",
                "Answers cut to fit into UDP.",
                &[("", &self.truncated)],
            ),
            (
                "tombolo_dns_forwarded_total",
                "Questions sent on to an upstream.",
                &[("", &self.forwarded)],
            ),
            (
                "tombolo_dns_forward_failures_total",
                "Forwarded questions that no upstream answered.",
                &[("", &self.forward_failures)],
            ),
            (
                "tombolo_dns_forward_rejections_total",
                "Questions not forwarded, by reason.",
                &[
                    ("{reason=\"overflow\"}", &self.forward_overflows),
                    ("{reason=\"loop\"}", &self.forward_loops),
                ],
            ),
            (
                "tombolo_dns_tcp_overflows_total",
                "TCP connections closed because too many were open.",
                &[("", &self.tcp_overflows)],
            ),
        ];
        for (name, help, series) in families {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter");
            for (labels, counter) in series {
                let _ = writeln!(out, "{name}{labels} {}", counter.get());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_render_with_their_labels() {
        let metrics = Metrics::default();
        metrics.answers.of(ResponseCode::NXDomain).add();
        let mut out = String::new();
        metrics.render(&mut out);
        assert!(out.contains("tombolo_dns_answers_total{code=\"NXDOMAIN\"} 1\n"));
        assert!(out.contains(
            "# TYPE tombolo_dns_truncated_total counter\ntombolo_dns_truncated_total 0\n"
        ));
    }
}
