//! What a store counts.

use crate::store::{CommitError, Committed, Condition, Published};
use std::{fmt, sync::Arc, time::Duration};
use tokio::sync::watch;
use tombolo_telemetry::metrics::{
    Collector, ConstGauge, Counter, DescriptorEncoder, EncodeMetric, Family, Histogram, Label,
    Registry, counters, seconds,
};

#[derive(Clone)]
pub(crate) struct Metrics {
    commits: Family<[Label; 1], Counter>,
    seconds: Histogram,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            commits: counters("outcome", ["committed", "rejected", "unavailable"]),
            seconds: seconds(),
        }
    }

    /// Counts a command that was answered after so long.
    pub(crate) fn answered(&self, result: &Result<Committed, CommitError>, took: Duration) {
        let outcome = match result {
            Ok(_) => "committed",
            Err(CommitError::Rejected(_)) => "rejected",
            Err(CommitError::Unavailable(_)) => "unavailable",
        };
        self.commits.get_or_create(&[("outcome", outcome)]).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn register(
        &self,
        published: Arc<Published>,
        condition: watch::Receiver<Condition>,
        registry: &mut Registry,
    ) {
        let registry = registry.sub_registry_with_prefix("store");
        registry.register(
            "commits",
            "Commands, by outcome: committed, rejected by a rule, or unavailable to be stored",
            self.commits.clone(),
        );
        registry.register(
            "commit_seconds",
            "Time from a command to its answer, durable if it was committed",
            self.seconds.clone(),
        );
        registry.register(
            "watch_resyncs",
            "Watchers that fell behind, or were told of a replaced state, and look at everything again",
            published.watchers.resyncs().clone(),
        );
        registry.register_collector(Box::new(State {
            published,
            condition,
        }));
    }
}

/// What is read when somebody asks.
struct State {
    published: Arc<Published>,
    condition: watch::Receiver<Condition>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("State")
    }
}

impl Collector for State {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let is_writable = self.condition.borrow().problem.is_none();
        let gauges = [
            (
                "revision",
                "The revision of the newest state that is shown",
                self.published.view.load().revision,
            ),
            (
                "writable",
                "1 while changes can be stored, else 0",
                u64::from(is_writable),
            ),
            (
                "watch_pending_changes",
                "Changes that wait for the slowest watcher",
                self.published.watchers.most_pending() as u64,
            ),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value);
            let encoder = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(encoder)?;
        }
        Ok(())
    }
}
