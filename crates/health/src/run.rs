//! Making the checks.

use crate::{
    probe::Prober,
    schedule::{Due, Finding, Schedule},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;
use tombolo_model::{Command, apply::cloudmap, cloudmap::Health};
use tombolo_store::{CommitError, Event, Store};

/// How checks are made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Between the end of a check of an instance and its next.
    pub interval: Duration,
    /// Checks that are under way at the same time; the others wait.
    pub concurrency: usize,
    /// Whether instances on this machine itself are checked. Who may register an instance chooses where the
    /// server connects to, so this is for those who may do everything anyway.
    pub loopback: bool,
}

impl Default for Options {
    /// Every thirty seconds, as AWS did.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30),
            concurrency: 256,
            loopback: false,
        }
    }
}

/// The result of a check that was made.
struct Checked {
    due: Due,
    result: Result<(), String>,
}

/// Checks instances until the store closes. Among replicas only one may run it at a time; dropping the
/// future ends all checks.
pub async fn run(store: Store, options: Options) {
    let prober = Arc::new(Prober::new());
    let mut schedule = Schedule::new(options.interval);
    let mut watch = store.watch();
    let mut under_way: JoinSet<Checked> = JoinSet::new();
    let mut recordings = JoinSet::new();
    loop {
        while under_way.len() < options.concurrency
            && let Some(due) = schedule.take(Instant::now())
        {
            let prober = prober.clone();
            under_way.spawn(async move {
                let result = match due.target.check_reach(options.loopback) {
                    Ok(()) => prober.ask(&due.target).await,
                    Err(why) => Err(why),
                };
                Checked { due, result }
            });
        }
        let has_room = under_way.len() < options.concurrency;
        let next = schedule.next().filter(|_| has_room);
        tokio::select! {
            event = watch.next() => match event {
                Some(Event::Resync { view }) => {
                    schedule.resync(&view, Instant::now());
                    tracing::debug!(instances = schedule.len(), "health checks planned");
                }
                Some(Event::Changed { view, changes }) => {
                    schedule.change(&view, &changes, Instant::now());
                }
                None => return,
            },
            Some(Ok(checked)) = under_way.join_next(), if !under_way.is_empty() => {
                let Checked { due, result } = checked;
                if let Some(finding) =
                    schedule.result(due.number, result.is_ok(), Instant::now())
                {
                    // Beside the checks: those that turn together are made durable together.
                    recordings.spawn(record(store.clone(), finding, result.err()));
                }
            }
            Some(_) = recordings.join_next(), if !recordings.is_empty() => {}
            () = sleep_until(next), if next.is_some() => {}
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at.into()).await;
    }
}

async fn record(store: Store, finding: Finding, reason: Option<String>) {
    let Finding {
        name,
        operation_id,
        health,
    } = finding;
    let command = cloudmap::Command::RecordHealth {
        service_id: name.service_id.to_string(),
        instance_id: name.instance_id.to_string(),
        operation_id,
        health,
    };
    let (service, instance) = (&*name.service_id, &*name.instance_id);
    match store
        .commit(name.scope.clone(), Command::CloudMap(command))
        .await
    {
        Ok(_) => match (health, reason) {
            (Health::Unhealthy, reason) => {
                let reason = reason.unwrap_or_default();
                tracing::warn!(service, instance, reason, "instance became unhealthy");
            }
            (Health::Healthy, _) => tracing::info!(service, instance, "instance became healthy"),
        },
        // The instance went meanwhile.
        Err(CommitError::Rejected(_)) => {}
        Err(error) => {
            tracing::warn!(service, instance, %error, "health could not be recorded; it is tried again with the next check");
        }
    }
}
