//! Incremental compilation: caches compiled results and recompiles those that a change affects.
//!
//! A [`Cache`] has three kinds of results: services, each compiled once for all its callers; the endpoints of clusters;
//! and the plans and snapshots of workloads, which are put together from these. Each result has its
//! [`Dependencies`](crate::dialect::Dependencies). A change recompiles the results that depend on the changed record,
//! and then the workloads that use the results that differ.
//!
//! All of it is synchronous and belongs to one owner: no lock is held while compiling. A compilation that panics
//! is a bug; it is logged, and the previous result stays.

mod cache;

use crate::{Workload, dialect::Dialect, plan::Warning};
use cache::{Cache, Inputs};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};
use tokio::sync::watch;
use tombolo_model::{Change, RecordKey, Scope, View};
use tombolo_xds::{Propagation, Snapshot, Status, server::Snapshots};

/// The published snapshots, which the xDS server reads.
#[derive(Default)]
pub(crate) struct Published {
    /// Locked for a lookup, or for the insertion or removal of workloads; never while compiling.
    pub(crate) workloads: Mutex<HashMap<Workload, PublishedWorkload>>,
}

/// The published state of a workload.
#[derive(Clone)]
pub(crate) struct PublishedWorkload {
    pub(crate) snapshots: watch::Sender<Arc<Snapshot>>,
    pub(crate) warnings: Arc<[Warning]>,
}

impl Published {
    /// Subscribes to the snapshots of a workload. `None` if it is not published.
    pub(crate) fn subscribe(&self, workload: &Workload) -> Option<Snapshots> {
        let workloads = self.workloads.lock();
        Some(workloads.get(workload)?.snapshots.subscribe())
    }
}

/// Compiles the workloads that have proxies, and publishes their snapshots.
pub(crate) struct Planner {
    dialect: Arc<dyn Dialect>,
    scopes: HashMap<Scope, Cache>,
    published: Arc<Published>,
    /// The progress of the drift check.
    drift_check: DriftCheck,
}

/// The progress of the check of cached results against newly compiled ones.
#[derive(Default)]
struct DriftCheck {
    /// The revision at which the last complete round began.
    complete: Option<u64>,
    /// The revision at which the current round began, and the workloads that are left to check.
    round: Option<(u64, Vec<Workload>)>,
}

/// The number of calls of [`Planner::check_drift`] that check every workload once.
pub(crate) const DRIFT_CHECK_STEPS: usize = 30;

impl Planner {
    pub(crate) fn new(dialect: Arc<dyn Dialect>, published: Arc<Published>) -> Self {
        Self {
            dialect,
            scopes: HashMap::new(),
            published,
            drift_check: DriftCheck::default(),
        }
    }

    /// Subscribes to the snapshots of a workload; compiles and publishes it first if it is not published.
    ///
    /// # Errors
    ///
    /// `NOT_FOUND` if there is no such workload, `UNAVAILABLE` if the compiler panicked.
    pub(crate) fn subscribe(
        &mut self,
        view: &View,
        workload: &Workload,
    ) -> Result<Snapshots, Status> {
        if let Some(receiver) = self.published.subscribe(workload) {
            return Ok(receiver);
        }
        let missing = || {
            Status::not_found(format!(
                "{workload} does not exist: create it, or correct APPMESH_RESOURCE_ARN"
            ))
        };
        if view.scope(&workload.scope).is_none() {
            return Err(missing());
        }
        let inputs = Inputs::new(&*self.dialect, view, &workload.scope);
        let cache = self.scopes.entry(workload.scope.clone()).or_default();
        match cache.compile(inputs, &workload.key) {
            CompileOutcome::Compiled => {}
            CompileOutcome::NotFound => return Err(missing()),
            CompileOutcome::Panicked => {
                return Err(Status::unavailable(format!(
                    "{workload} cannot be compiled: see the log of the control plane"
                )));
            }
        }
        let (snapshot, warnings) = cache.result(&workload.key).ok_or_else(missing)?;
        let (snapshots, receiver) = watch::channel(snapshot);
        let published = PublishedWorkload {
            snapshots,
            warnings,
        };
        self.published
            .workloads
            .lock()
            .insert(workload.clone(), published);
        Ok(receiver)
    }

    /// Recompiles and publishes the workloads that these changes affect, from this view. `propagation` follows the
    /// snapshots to the proxies.
    pub(crate) fn update(
        &mut self,
        view: &View,
        changes: &[Change],
        propagation: &Arc<Propagation>,
    ) {
        let mut by_scope: HashMap<&Scope, Vec<RecordKey>> = HashMap::new();
        for change in changes {
            by_scope
                .entry(change.scope())
                .or_default()
                .push(change.key());
        }
        let mut streams = 0;
        for (scope, keys) in by_scope {
            let update = |cache: &mut Cache, inputs: Inputs<'_>| cache.update(inputs, &keys);
            streams += self.republish(view, scope, Some(propagation), update).1;
        }
        propagation.published(streams);
    }

    /// Recompiles every workload, for when the changes are not known. Returns the number of workloads that
    /// differed from the published ones.
    pub(crate) fn recompile(&mut self, view: &View, propagation: &Arc<Propagation>) -> usize {
        self.evict_unused();
        let (mut differed, mut streams) = (0, 0);
        let scopes: Vec<Scope> = self.scopes.keys().cloned().collect();
        for scope in scopes {
            let republished = self.republish(view, &scope, Some(propagation), Cache::recompile_all);
            differed += republished.0;
            streams += republished.1;
        }
        propagation.published(streams);
        differed
    }

    /// Recompiles the next share of the workloads and compares them with the published ones:
    /// [`DRIFT_CHECK_STEPS`] calls check all of them. Returns the number of workloads that differed, each of
    /// which is a bug; they are republished. Does nothing if no revision came since the last round began.
    pub(crate) fn check_drift(&mut self, view: &View) -> usize {
        self.evict_unused();
        if self.drift_check.round.is_none() {
            if self.drift_check.complete == Some(view.revision) {
                return 0;
            }
            let workloads = self.published.workloads.lock().keys().cloned().collect();
            self.drift_check.round = Some((view.revision, workloads));
        }
        let Some((begun, workloads)) = &mut self.drift_check.round else {
            return 0;
        };
        let count = self
            .published
            .workloads
            .lock()
            .len()
            .div_ceil(DRIFT_CHECK_STEPS)
            .max(1);
        let rest = workloads.len().saturating_sub(count);
        let due = workloads.split_off(rest);
        if workloads.is_empty() {
            self.drift_check.complete = Some(*begun);
            self.drift_check.round = None;
        }
        due.iter()
            .map(|workload| {
                let recompile = |cache: &mut Cache, inputs: Inputs<'_>| {
                    cache.recompile_workload(inputs, &workload.key)
                };
                self.republish(view, &workload.scope, None, recompile).0
            })
            .sum()
    }

    /// Runs `compile` on the cache of a scope and publishes the workloads that differ. Returns the number of
    /// those, and the number of streams that get a new snapshot.
    fn republish(
        &mut self,
        view: &View,
        scope: &Scope,
        propagation: Option<&Arc<Propagation>>,
        compile: impl FnOnce(&mut Cache, Inputs<'_>) -> Vec<RecordKey>,
    ) -> (usize, usize) {
        let Some(cache) = self.scopes.get_mut(scope) else {
            return (0, 0);
        };
        let differ = compile(cache, Inputs::new(&*self.dialect, view, scope));
        let (differed, mut streams) = (differ.len(), 0);
        for key in differ {
            let workload = Workload {
                scope: scope.clone(),
                key,
            };
            let Some((snapshot, warnings)) = cache.result(&workload.key) else {
                // The workload was deleted: dropping the sender ends the streams of its proxies, which keep
                // their configuration.
                self.published.workloads.lock().remove(&workload);
                continue;
            };
            let mut published = self.published.workloads.lock();
            let Some(entry) = published.get_mut(&workload) else {
                continue;
            };
            entry.warnings = warnings;
            let snapshots = entry.snapshots.clone();
            drop(published);
            let before = snapshots.borrow().clone();
            if *before == *snapshot {
                continue;
            }
            let mut edit = snapshot.edit(snapshot.revision());
            let unanswered = before.propagations().iter().filter(|p| !p.is_done());
            for propagation in unanswered.chain(propagation) {
                edit.add_propagation(propagation.clone());
            }
            streams += snapshots.receiver_count();
            snapshots.send_replace(Arc::new(edit.build()));
        }
        (differed, streams)
    }

    /// Evicts workloads that have no proxy left.
    fn evict_unused(&mut self) {
        let mut unused = Vec::new();
        self.published
            .workloads
            .lock()
            .retain(|workload, published| {
                let is_used = published.snapshots.receiver_count() > 0;
                if !is_used {
                    unused.push(workload.clone());
                }
                is_used
            });
        for workload in unused {
            if let Some(cache) = self.scopes.get_mut(&workload.scope) {
                cache.evict(&workload.key);
                if cache.is_empty() {
                    self.scopes.remove(&workload.scope);
                }
            }
        }
    }
}

/// The outcome of compiling a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CompileOutcome {
    /// There is a new snapshot.
    Compiled,
    /// There is no such workload.
    NotFound,
    /// The compiler panicked; the previous snapshot stays, if there is one.
    Panicked,
}

/// Runs a compilation and catches a panic, which is a bug of the dialect: it is logged with `object`, and `None` is
/// returned.
fn catch_panic<T>(object: &dyn std::fmt::Display, compile: impl FnOnce() -> T) -> Option<T> {
    // Unwind safe: the partial state of a failed compilation is dropped, and only complete results enter the cache.
    match catch_unwind(AssertUnwindSafe(compile)) {
        Ok(value) => Some(value),
        Err(panic) => {
            let reason = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("a panic");
            tracing::error!(%object, reason, "compilation failed; the last plan stays");
            None
        }
    }
}

#[cfg(test)]
mod tests;
