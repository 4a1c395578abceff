//! What is compiled, and what has to be compiled again when something changes.
//!
//! Three kinds of results are kept, for as long as somebody needs them: services, as all their callers see them;
//! sets of endpoints, as all clusters that select them have them; and the plans of workloads, put together from
//! these. Each knows what it looked at ([`Reads`]). A change is taken to the results that looked at what
//! changed, and from those that come out different on to the workloads that use them. Everything else
//! costs nothing.
//!
//! All of it is synchronous and belongs to one owner: no lock is held while compiling. A compilation that panics
//! is a bug; it is logged, and leaves what was there before, for that result alone.

mod scope;

use crate::{Workload, dialect::Dialect, plan::Warning};
use scope::ScopePlanner;
use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;
use tombolo_model::{Change, RecordKey, Scope, View};
use tombolo_xds::{
    Propagation, Snapshot,
    server::{SubscribeError, SubscribeErrorCode},
};

/// The published snapshots, for those who only read them.
#[derive(Default)]
pub(crate) struct Published {
    /// Held for a lookup, or to put in one workload.
    workloads: Mutex<HashMap<Workload, PublishedWorkload>>,
}

/// What the proxies of a workload get.
#[derive(Clone)]
pub(crate) struct PublishedWorkload {
    pub(crate) snapshots: watch::Sender<Arc<Snapshot>>,
    pub(crate) warnings: Arc<[Warning]>,
}

impl Published {
    pub(crate) fn lock(&self) -> MutexGuard<'_, HashMap<Workload, PublishedWorkload>> {
        // Every value behind it is whole between two statements.
        self.workloads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The snapshots of a workload that is published, from now on.
    pub(crate) fn subscribe(&self, workload: &Workload) -> Option<watch::Receiver<Arc<Snapshot>>> {
        Some(self.lock().get(workload)?.snapshots.subscribe())
    }
}

/// Compiles the workloads that have proxies, and publishes what comes out.
pub(crate) struct Planner {
    dialect: Arc<dyn Dialect>,
    scopes: HashMap<Scope, ScopePlanner>,
    published: Arc<Published>,
    /// The revision up to which everything was verified, and whose turn it is.
    verified: Verification,
}

/// How far the verification of kept results is.
#[derive(Default)]
struct Verification {
    /// The revision at which the last complete round began.
    complete: Option<u64>,
    /// What this round has still to look at, and the revision at which it began.
    round: Option<(u64, Vec<Workload>)>,
}

/// How many rounds of [`Planner::verify`] look at everything once.
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
    pub(crate) fn follow(
        &mut self,
        view: &View,
        workload: &Workload,
    ) -> Result<watch::Receiver<Arc<Snapshot>>, SubscribeError> {
        if let Some(receiver) = self.published.subscribe(workload) {
            return Ok(receiver);
        }
        let missing = || {
            SubscribeError::new(
                SubscribeErrorCode::NotFound,
                format!("{workload} does not exist: create it, or correct APPMESH_RESOURCE_ARN"),
            )
        };
        let scope = view.scope(&workload.scope).ok_or_else(missing)?;
        let planner = self.scopes.entry(workload.scope.clone()).or_default();
        let dialect = &*self.dialect;
        match planner.compile(dialect, scope, view.revision, &workload.key, None) {
            Compiled::Published => {}
            Compiled::Missing => return Err(missing()),
            Compiled::Failed => {
                let message =
                    format!("{workload} cannot be planned: see the log of the control plane");
                return Err(SubscribeError::new(
                    SubscribeErrorCode::Unavailable,
                    message,
                ));
            }
        }
        let (snapshot, warnings) = planner.result(&workload.key).ok_or_else(missing)?;
        let (snapshots, receiver) = watch::channel(snapshot);
        let published = PublishedWorkload {
            snapshots,
            warnings,
        };
        self.published.lock().insert(workload.clone(), published);
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
            let Some(planner) = self.scopes.get_mut(scope) else {
                continue;
            };
            let empty = Default::default();
            let state = view.scope(scope).unwrap_or(&empty);
            let touched = planner.update(&*self.dialect, state, view.revision, &keys);
            streams += self.publish(scope, touched, Some(propagation));
        }
        propagation.published(streams);
    }

    /// Compiles everything again, because what changed is not known. Answers how many workloads differed from
    /// what was published.
    pub(crate) fn recompile(&mut self, view: &View, propagation: &Arc<Propagation>) -> usize {
        self.forget_unused();
        let (mut differed, mut streams) = (0, 0);
        let scopes: Vec<Scope> = self.scopes.keys().cloned().collect();
        for scope in scopes {
            let Some(planner) = self.scopes.get_mut(&scope) else {
                continue;
            };
            let empty = Default::default();
            let state = view.scope(&scope).unwrap_or(&empty);
            let touched = planner.recompile(&*self.dialect, state, view.revision);
            differed += touched.len();
            streams += self.publish(&scope, touched, Some(propagation));
        }
        propagation.published(streams);
        differed
    }

    /// Compiles one part of everything again, although nothing seems to have changed: after
    /// [`VERIFY_STEPS`] of them everything was. Answers how many workloads differed, which is a bug each. Nothing is
    /// done while nothing changes.
    pub(crate) fn verify(&mut self, view: &View) -> usize {
        self.forget_unused();
        if self.verified.round.is_none() {
            if self.verified.complete == Some(view.revision) {
                return 0;
            }
            let workloads = self.published.lock().keys().cloned().collect();
            self.verified.round = Some((view.revision, workloads));
        }
        let Some((begun, workloads)) = &mut self.verified.round else {
            return 0;
        };
        let count = self.published.lock().len().div_ceil(VERIFY_STEPS).max(1);
        let rest = workloads.len().saturating_sub(count);
        let due = workloads.split_off(rest);
        if workloads.is_empty() {
            self.verified.complete = Some(*begun);
            self.verified.round = None;
        }
        let mut differed = 0;
        for workload in due {
            let Some(planner) = self.scopes.get_mut(&workload.scope) else {
                continue;
            };
            let empty = Default::default();
            let state = view.scope(&workload.scope).unwrap_or(&empty);
            let touched = planner.verify(&*self.dialect, state, view.revision, &workload.key);
            differed += touched.len();
            self.publish(&workload.scope, touched, None);
        }
        differed
    }

    /// Publishes workloads that came out different; answers how many streams get them.
    fn publish(
        &mut self,
        scope: &Scope,
        touched: Vec<RecordKey>,
        propagation: Option<&Arc<Propagation>>,
    ) -> usize {
        let mut streams = 0;
        let Some(planner) = self.scopes.get(scope) else {
            return 0;
        };
        for key in touched {
            let workload = Workload {
                scope: scope.clone(),
                key,
            };
            let Some((snapshot, warnings)) = planner.result(&workload.key) else {
                // It is gone: dropping the sender ends the streams of its proxies, which keep what they have.
                self.published.lock().remove(&workload);
                continue;
            };
            let mut published = self.published.lock();
            let Some(entry) = published.get_mut(&workload) else {
                continue;
            };
            entry.warnings = warnings;
            let snapshots = entry.snapshots.clone();
            drop(published);
            if **snapshots.borrow() == *snapshot {
                continue;
            }
            let mut edit = snapshot.edit(snapshot.revision());
            if let Some(propagation) = propagation {
                edit.follow(propagation.clone());
            }
            streams += snapshots.receiver_count();
            snapshots.send_replace(Arc::new(edit.build()));
        }
        streams
    }

    /// Forgets workloads that have no proxy left.
    fn forget_unused(&mut self) {
        let mut unused = Vec::new();
        self.published.lock().retain(|workload, published| {
            let is_used = published.snapshots.receiver_count() > 0;
            if !is_used {
                unused.push(workload.clone());
            }
            is_used
        });
        for workload in unused {
            if let Some(planner) = self.scopes.get_mut(&workload.scope) {
                planner.forget(&workload.key);
                if planner.is_empty() {
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
            tracing::error!(object = %what, reason, "planning failed; its last plan stays");
            None
        }
    }
}

#[cfg(test)]
mod tests;
