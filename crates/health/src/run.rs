//! The loop that probes instances and records changes of their health.

use crate::{
    metrics::Metrics,
    probe::{ProbeError, Prober},
    schedule::{DueCheck, HealthChange, Schedule},
    target::Target,
};
use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;
use tombolo_model::{Command, apply::cloudmap, cloudmap::Health};
use tombolo_store::{CommitError, Event, Leadership, Store};
use tombolo_telemetry::{
    ErrorChain,
    supervisor::{Panicked, catch_panic},
};

/// Options of health checks.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The time from the end of a check of an instance to its next check.
    pub interval: Duration,
    /// The greatest number of checks in flight; further ones wait.
    pub concurrency: usize,
    /// Whether loopback addresses are checked. Callers who may register instances choose where the
    /// server connects to, so this is only for development mode.
    pub loopback: bool,
}

impl Default for Options {
    /// The defaults: a check every thirty seconds, as in AWS.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30),
            concurrency: 256,
            loopback: false,
        }
    }
}

struct CompletedCheck {
    due: DueCheck,
    /// The result of a check. `Panicked` is a bug, and not a result about the instance.
    result: Result<Result<(), ProbeError>, Panicked>,
}

/// Checks instances until the store closes. Among replicas only the leader runs this, and results are recorded
/// only while its leadership `lead` lasts, so that a suspended replica cannot overwrite its successor. Dropping
/// the future ends all checks; the next run repeats them.
pub async fn run(store: Store, lead: Leadership, options: Options, metrics: Metrics) {
    let prober = Arc::new(Prober::new());
    run_with(store, lead, options, metrics, move |target| {
        let prober = prober.clone();
        async move {
            target.check_address(options.loopback)?;
            prober.probe(&target).await
        }
    })
    .await;
}

/// As [`run`], with another probe, for tests.
async fn run_with<F>(
    store: Store,
    lead: Leadership,
    options: Options,
    metrics: Metrics,
    probe: impl Fn(Target) -> F,
) where
    F: Future<Output = Result<(), ProbeError>> + Send + 'static,
{
    let mut schedule = Schedule::new(options.interval);
    let mut watch = store.watch();
    let mut in_flight: JoinSet<CompletedCheck> = JoinSet::new();
    let mut recordings = JoinSet::new();
    loop {
        while in_flight.len() < options.concurrency
            && let Some(due) = schedule.take(Instant::now())
        {
            let probed = probe(due.target.clone());
            in_flight.spawn(async move {
                let result = catch_panic(probed).await;
                CompletedCheck { due, result }
            });
        }
        metrics
            .instances
            .set(i64::try_from(schedule.len()).unwrap_or(i64::MAX));
        let has_room = in_flight.len() < options.concurrency;
        let next = schedule.next().filter(|_| has_room);
        tokio::select! {
            event = watch.next() => match event {
                Some(Event::Resync { view }) => {
                    schedule.resync(&view, Instant::now());
                    tracing::debug!(instances = schedule.len(), "health checks planned");
                }
                Some(Event::Changed { view, changes, .. }) => {
                    schedule.change(&view, &changes, Instant::now());
                }
                None => return,
            },
            Some(checked) = in_flight.join_next(), if !in_flight.is_empty() => {
                let CompletedCheck { due, result } = checked.expect("panics are caught, and nobody aborts it");
                metrics.checked(result.as_ref().ok().map(Result::is_ok));
                match result {
                    Ok(result) => {
                        let change = schedule.result(due.number, result.is_ok(), Instant::now());
                        if let Some(change) = change {
                            // Concurrent with the checks, so that changes at the same time are committed together.
                            let (store, lead, metrics) = (store.clone(), lead.clone(), metrics.clone());
                            let reason = result.err();
                            recordings.spawn(async move {
                                record(&store, &lead, change, reason, &metrics).await;
                            });
                        }
                    }
                    Err(Panicked(panic)) => {
                        let address = due.target.address;
                        tracing::error!(%address, panic, "a health check panicked; it is made again");
                        schedule.reschedule(due.number, Instant::now());
                    }
                }
            }
            Some(recorded) = recordings.join_next(), if !recordings.is_empty() => {
                if let Err(error) = recorded {
                    tracing::error!(%error, "health was not recorded; it is tried again with the next check");
                }
            }
            () = sleep_until(next), if next.is_some() => {}
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at.into()).await;
    }
}

async fn record(
    store: &Store,
    lead: &Leadership,
    change: HealthChange,
    reason: Option<ProbeError>,
    metrics: &Metrics,
) {
    let HealthChange {
        name,
        operation_id,
        health,
    } = change;
    let command = cloudmap::RecordHealth {
        service_id: name.service_id.to_string(),
        instance_id: name.instance_id.to_string(),
        operation_id,
        health,
    };
    let (service, instance) = (&*name.service_id, &*name.instance_id);
    match store
        .commit_as_leader(lead, name.scope.clone(), Command::CloudMap(command.into()))
        .await
    {
        Ok(_) => metrics.changed(health),
        // The instance was deregistered meanwhile.
        Err(CommitError::Rejected(_)) => return,
        Err(error) => {
            tracing::warn!(service, instance, %error, "health could not be recorded; it is tried again with the next check");
            return;
        }
    }
    match health {
        Health::Unhealthy => {
            let reason = reason.map(|error| ErrorChain(&error).to_string());
            tracing::warn!(service, instance, reason, "instance became unhealthy");
        }
        Health::Healthy => tracing::info!(service, instance, "instance became healthy"),
    }
}

#[cfg(test)]
mod tests;
