//! What is compiled, and what has to be compiled again when something changes.
//!
//! Three kinds of results are kept in a [`Cache`]: services, as all their callers see them; the endpoints of clusters;
//! and the plans and snapshots of workloads, put together from these. Each result has the topics that it read
//! ([`Reads`](crate::dialect::Reads)). A change recompiles the results that read what changed, and then the
//! workloads that use the results that differ.
//!
//! All of it is synchronous and belongs to one owner: no lock is held while compiling. A compilation that panics
//! is a bug; it is logged, and leaves what was there before, for that result alone.

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

/// The published snapshots, for those who only read them.
#[derive(Default)]
pub(crate) struct Published {
    /// Held for a lookup, or to put in one workload.
    pub(crate) workloads: Mutex<HashMap<Workload, PublishedWorkload>>,
}

/// What the proxies of a workload get.
#[derive(Clone)]
pub(crate) struct PublishedWorkload {
    pub(crate) snapshots: watch::Sender<Arc<Snapshot>>,
    pub(crate) warnings: Arc<[Warning]>,
}

impl Published {
    /// The snapshots of a workload that is published, from now on.
    pub(crate) fn subscribe(&self, workload: &Workload) -> Option<Snapshots> {
        let workloads = self.workloads.lock();
        Some(workloads.get(workload)?.snapshots.subscribe())
    }
}

/// Compiles the workloads that have proxies, and publishes what comes out.
pub(crate) struct Planner {
    dialect: Arc<dyn Dialect>,
    scopes: HashMap<Scope, Cache>,
    published: Arc<Published>,
    /// The revision up to which everything was verified, and whose turn it is.
    verified: Verification,
}

/// How far the verification of kept results is.
#[derive(Default)]
struct Verification {
    /// The revision at which the last complete round began.
    complete: Option<u64>,
    /// The revision at which this round began, and the workloads that are left to verify.
    round: Option<(u64, Vec<Workload>)>,
}

/// How many calls of [`Planner::verify`] verify everything once.
pub(crate) const VERIFY_STEPS: usize = 30;

impl Planner {
    pub(crate) fn new(dialect: Arc<dyn Dialect>, published: Arc<Published>) -> Self {
        Self {
            dialect,
            scopes: HashMap::new(),
            published,
            verified: Verification::default(),
        }
    }

    /// Compiles a workload for its first proxy, if that was not done before.
    pub(crate) fn follow(&mut self, view: &View, workload: &Workload) -> Result<Snapshots, Status> {
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
            Compiled::Published => {}
            Compiled::Missing => return Err(missing()),
            Compiled::Failed => {
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

    /// Brings everything that these changes concern to this view. `propagation` follows what comes of it.
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
            streams += self.renew(view, scope, Some(propagation), update).1;
        }
        propagation.published(streams);
    }

    /// Compiles everything again, because what changed is not known. Returns how many workloads differed from
    /// what was published.
    pub(crate) fn recompile(&mut self, view: &View, propagation: &Arc<Propagation>) -> usize {
        self.forget_unused();
        let (mut differed, mut streams) = (0, 0);
        let scopes: Vec<Scope> = self.scopes.keys().cloned().collect();
        for scope in scopes {
            let renewed = self.renew(view, &scope, Some(propagation), Cache::recompile_all);
            differed += renewed.0;
            streams += renewed.1;
        }
        propagation.published(streams);
        differed
    }

    /// Compiles one part of everything again, although nothing seems to have changed: after
    /// [`VERIFY_STEPS`] calls everything was. Returns how many workloads differed, each of which is a bug. Does
    /// nothing while nothing changes.
    pub(crate) fn verify(&mut self, view: &View) -> usize {
        self.forget_unused();
        if self.verified.round.is_none() {
            if self.verified.complete == Some(view.revision) {
                return 0;
            }
            let workloads = self.published.workloads.lock().keys().cloned().collect();
            self.verified.round = Some((view.revision, workloads));
        }
        let Some((begun, workloads)) = &mut self.verified.round else {
            return 0;
        };
        let count = self
            .published
            .workloads
            .lock()
            .len()
            .div_ceil(VERIFY_STEPS)
            .max(1);
        let rest = workloads.len().saturating_sub(count);
        let due = workloads.split_off(rest);
        if workloads.is_empty() {
            self.verified.complete = Some(*begun);
            self.verified.round = None;
        }
        due.iter()
            .map(|workload| {
                let recompile = |cache: &mut Cache, inputs: Inputs<'_>| {
                    cache.recompile_workload(inputs, &workload.key)
                };
                self.renew(view, &workload.scope, None, recompile).0
            })
            .sum()
    }

    /// Compiles in one scope, and publishes the workloads that differ. Returns how many differ, and how many streams
    /// get a new snapshot.
    fn renew(
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
                // It is gone: dropping the sender ends the streams of its proxies, which keep what they have.
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
                edit.follow(propagation.clone());
            }
            streams += snapshots.receiver_count();
            snapshots.send_replace(Arc::new(edit.build()));
        }
        (differed, streams)
    }

    /// Forgets workloads that have no proxy left.
    fn forget_unused(&mut self) {
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
                cache.forget(&workload.key);
                if cache.is_empty() {
                    self.scopes.remove(&workload.scope);
                }
            }
        }
    }
}

/// What came of the compilation of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compiled {
    /// There is a snapshot.
    Published,
    /// There is no such workload.
    Missing,
    /// The compiler panicked.
    Failed,
}

/// Runs a compilation. A panic is a bug of the dialect, and touches what is compiled here alone.
fn guarded<T>(what: &dyn std::fmt::Display, compile: impl FnOnce() -> T) -> Option<T> {
    // What a compilation leaves half done is dropped: results are put in place only when they are whole.
    match catch_unwind(AssertUnwindSafe(compile)) {
        Ok(value) => Some(value),
        Err(panic) => {
            let reason = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("a panic");
            tracing::error!(object = %what, reason, "compilation failed; the last plan stays");
            None
        }
    }
}

#[cfg(test)]
mod tests;
