//! Metrics of a store.

use crate::store::{CommitError, Committed, Condition, Published};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;
use tombolo_telemetry::{
    metrics::{Counters, Histogram, Registry, collect, seconds},
    register,
};

/// The metrics of one store. Clones share them.
#[derive(Clone)]
pub(crate) struct Metrics {
    commits: Counters,
    seconds: Histogram,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            commits: Counters::new("outcome", ["committed", "rejected", "unavailable"]),
            seconds: seconds(),
        }
    }

    /// Counts a command by its outcome, and observes the time from the call to the answer.
    pub(crate) fn answered(&self, result: &Result<Committed, CommitError>, took: Duration) {
        self.commits.inc(match result {
            Ok(_) => "committed",
            Err(CommitError::Rejected(_)) => "rejected",
            Err(CommitError::Unavailable(_)) => "unavailable",
        });
        self.seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn register(
        &self,
        published: Arc<Published>,
        condition: watch::Receiver<Condition>,
        registry: &mut Registry,
    ) {
        let registry = registry.sub_registry_with_prefix("store");
        register! { registry;
            "commits" => self.commits.family,
                "Commands, by outcome: committed, rejected by a rule, or unavailable to be stored";
            "commit_seconds" => self.seconds,
                "Time from a command to its answer, durable if it was committed";
            "watch_resyncs" => published.watchers.resyncs(),
                "Watchers that fell behind, or were told of a replaced state, and look at everything again";
        }
        collect(registry, move |samples| {
            let revision = published.view.load().revision;
            let is_writable = u64::from(condition.borrow().problem.is_none());
            let pending = published.watchers.most_pending() as u64;
            samples.gauge(
                "revision",
                "The revision of the newest state that is shown.",
                revision,
            )?;
            samples.gauge(
                "writable",
                "1 while changes can be stored, else 0.",
                is_writable,
            )?;
            samples.gauge(
                "watch_pending_changes",
                "Changes that wait for the slowest watcher.",
                pending,
            )
        });
    }
}
