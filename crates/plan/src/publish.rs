//! From changes in the store to snapshots for proxies.
//!
//! Each workload that has a proxy is compiled once and shared by all its proxies. A change recompiles
//! only the workloads that looked at what changed; an instance that comes or goes touches only the
//! endpoint sets that select it. A result that is as before wakes nobody.

mod workload;

pub use workload::Workload;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::sync::watch;
use tombolo_model::{Change, RecordKey, Scope, View};
use tombolo_store::{Event, Store};
use tombolo_xds::{
    Node, Snapshot,
    server::{Peer, Refusal, RefusalCode, Source},
};
use workload::{Compiled, EndpointSets, Touched};

use crate::plan::Warning;

/// How often everything is compiled again although nothing seems to have changed. What that finds
/// different is a bug, and is logged as one.
const RECHECK: Duration = Duration::from_secs(30);

/// Compiles plans as the store changes, and gives them to the xDS server. Clones share it.
#[derive(Clone)]
pub struct Publisher {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    /// The scope of proxies that name themselves without account and region.
    home: Scope,
    /// Guards the compiled workloads; held while some of them are compiled, never across an await.
    workloads: Mutex<HashMap<Workload, Published>>,
    /// The revision up to which all changes are in the snapshots.
    processed: watch::Sender<u64>,
}

/// A workload that has proxies, and what they hold.
struct Published {
    compiled: Compiled,
    snapshot: watch::Sender<Arc<Snapshot>>,
}

impl Publisher {
    /// A publisher that reads a store. Proxies that name themselves without account and region are
    /// looked for in `home`.
    pub fn new(store: Store, home: Scope) -> Self {
        let inner = Inner {
            store,
            home,
            workloads: Mutex::default(),
            processed: watch::Sender::new(0),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Follows the store until it is closed.
    pub async fn run(&self) {
        let mut watch = self.inner.store.watch();
        let mut recheck = tokio::time::interval(RECHECK);
        recheck.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = watch.next() => match event {
                    Some(Event::Changed { view, changes, .. }) => self.update(&view, &changes),
                    Some(Event::Resync { view }) => {
                        self.recompile(&view);
                    }
                    None => return,
                },
                _ = recheck.tick() => self.recheck(),
            }
        }
    }

    /// Tells up to which revision every change is in the snapshots.
    pub fn processed(&self) -> watch::Receiver<u64> {
        self.inner.processed.subscribe()
    }

    /// The revision of the snapshot that a proxy should hold now; `None` when it names no workload that
    /// is published.
    pub fn wanted(&self, node: &Node) -> Option<u64> {
        let workload = Workload::of_node(node, &self.inner.home).ok()?;
        let workloads = self.workloads();
        Some(workloads.get(&workload)?.snapshot.borrow().revision())
    }

    /// What the objects behind the published plans refer to in vain, by workload.
    pub fn warnings(&self) -> Vec<(Workload, Vec<Warning>)> {
        let workloads = self.workloads();
        let mut warnings: Vec<_> = workloads
            .iter()
            .filter(|(_, published)| !published.compiled.warnings().is_empty())
            .map(|(workload, published)| (workload.clone(), published.compiled.warnings().to_vec()))
            .collect();
        warnings.sort_by(|a, b| a.0.cmp(&b.0));
        warnings
    }

    /// The snapshots of a workload, from now on. It is compiled when its first proxy asks.
    fn follow(&self, workload: Workload) -> Result<watch::Receiver<Arc<Snapshot>>, Refusal> {
        let mut workloads = self.workloads();
        if let Some(published) = workloads.get(&workload) {
            return Ok(published.snapshot.subscribe());
        }
        let view = self.inner.store.view();
        let nothing = Snapshot::builder(0).build();
        let compiled = Compiled::new(&view, &workload, &nothing, &mut EndpointSets::default());
        let Some((compiled, snapshot)) = compiled else {
            return Err(Refusal::new(
                RefusalCode::NotFound,
                format!("{workload} does not exist: create it, or correct APPMESH_RESOURCE_ARN"),
            ));
        };
        let (sender, receiver) = watch::channel(Arc::new(snapshot));
        workloads.insert(
            workload,
            Published {
                compiled,
                snapshot: sender,
            },
        );
        Ok(receiver)
    }

    fn workloads(&self) -> MutexGuard<'_, HashMap<Workload, Published>> {
        self.inner
            .workloads
            .lock()
            .expect("compiling does not panic")
    }

    /// Brings the workloads that these changes concern to this view.
    fn update(&self, view: &View, changes: &[Change]) {
        let touched = Touches::of(view, changes);
        let mut sets = EndpointSets::default();
        self.workloads().retain(|workload, published| {
            let Some(touched) = touched.scopes.get(&workload.scope) else {
                return true;
            };
            let is_concerned = touched
                .resources
                .iter()
                .any(|key| published.compiled.depends_on(key))
                || touched.registry && published.compiled.reads_registry();
            if is_concerned {
                return published.compile(view, workload, &mut sets);
            }
            let next = published.compiled.with_endpoints(
                view,
                workload,
                &published.snapshot.borrow(),
                touched,
                &mut sets,
            );
            if let Some(next) = next {
                published.publish(next);
            }
            true
        });
        self.inner.processed.send_replace(view.revision);
    }

    /// Compiles everything again, and forgets workloads that have no proxy left. Answers how many
    /// differed from what was published.
    fn recompile(&self, view: &View) -> usize {
        let mut sets = EndpointSets::default();
        let mut differed = 0;
        self.workloads().retain(|workload, published| {
            if published.snapshot.receiver_count() == 0 {
                return false;
            }
            let before = published.snapshot.borrow().clone();
            let exists = published.compile(view, workload, &mut sets);
            differed += usize::from(*published.snapshot.borrow() != before);
            exists
        });
        self.inner.processed.send_replace(view.revision);
        differed
    }

    fn recheck(&self) {
        let view = self.inner.store.view();
        if view.revision != *self.inner.processed.borrow() {
            // Changes are on their way; what differs now is not a drift.
            return;
        }
        let drifted = self.recompile(&view);
        if drifted > 0 {
            tracing::error!(
                drifted,
                "snapshots had drifted from the store and were replaced"
            );
        }
    }
}

impl Published {
    /// Compiles anew and publishes. `false`: the workload is gone. Its proxies keep what they have.
    fn compile(&mut self, view: &View, workload: &Workload, sets: &mut EndpointSets) -> bool {
        let previous = self.snapshot.borrow().clone();
        let Some((compiled, next)) = Compiled::new(view, workload, &previous, sets) else {
            return false;
        };
        self.compiled = compiled;
        self.publish(next);
        true
    }

    fn publish(&self, next: Snapshot) {
        self.snapshot.send_if_modified(|current| {
            let differs = **current != next;
            if differs {
                *current = Arc::new(next);
            }
            differs
        });
    }
}

impl Source for Publisher {
    async fn subscribe(
        &self,
        node: &Node,
        _peer: &Peer,
    ) -> Result<watch::Receiver<Arc<Snapshot>>, Refusal> {
        self.follow(Workload::of_node(node, &self.inner.home)?)
    }
}

/// What some changes are about, by scope.
struct Touches {
    scopes: HashMap<Scope, Touched>,
}

impl Touches {
    fn of(view: &View, changes: &[Change]) -> Self {
        let mut scopes: HashMap<Scope, Touched> = HashMap::new();
        for change in changes {
            let touched = scopes.entry(change.scope().clone()).or_default();
            match change.key() {
                RecordKey::Resource(key) => {
                    touched.resources.insert(key);
                }
                RecordKey::Instance(service_id, _) => {
                    let service = view
                        .scope(change.scope())
                        .and_then(|s| s.service(&service_id));
                    match service {
                        Some(service) => {
                            touched.services.insert(service.id.clone());
                        }
                        None => touched.registry = true,
                    }
                }
                // Names came or went: any query may mean something else now.
                RecordKey::Namespace(_) | RecordKey::Service(_) => touched.registry = true,
                RecordKey::Operation(_) => {}
            }
        }
        Self { scopes }
    }
}

#[cfg(test)]
mod tests;
