//! Publishes snapshots for the xDS server as the store changes.
//!
//! The [`Publisher`] gives the changes of the store to the [`Planner`], on a thread that may block, and serves the xDS
//! server from the published snapshots. [`debounce`] batches changes that follow each other closely.

mod debounce;

use crate::{
    Workload,
    dialect::Dialect,
    plan::Warning,
    planner::{DRIFT_CHECK_STEPS, Planner, Published},
};
use debounce::{Debounced, Delays};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Mutex, mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior, interval},
};
use tombolo_model::{Scope, View};
use tombolo_store::{Event, Store};
use tombolo_telemetry::{
    Causes,
    metrics::{Histogram, Registry, seconds},
};
use tombolo_xds::{
    Node, Propagation, Status,
    server::{Peer, Snapshots, Source},
};

/// The time in which the drift check recompiles every cached result once. A difference is a bug and is logged as one.
const DRIFT_CHECK_PERIOD: Duration = Duration::from_secs(30);
/// The intervals of the debounce in production.
const DELAYS: Delays = Delays {
    push: Duration::from_millis(50),
    min_quiet: Duration::from_millis(5),
    max_wait: Duration::from_millis(100),
};
/// The greatest number of proxies that wait for the first plan of their workload. Further ones get `UNAVAILABLE` and
/// try again.
const MAX_WAITING: usize = 16_384;

/// Compiles plans as the store changes, and gives their snapshots to the xDS server. Clones share one state.
#[derive(Clone)]
pub struct Publisher {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    dialect: Arc<dyn Dialect>,
    /// The scope of proxies whose node names no account and region.
    default_scope: Scope,
    published: Arc<Published>,
    /// The queue of proxies that wait for the first plan of their workload.
    waiting: mpsc::Sender<Waiting>,
    /// The end of the queue, locked by the one call of [`Publisher::run`] that runs.
    receiver: Mutex<mpsc::Receiver<Waiting>>,
    /// The revision up to which all changes are in the published snapshots.
    processed: watch::Sender<u64>,
    delays: Delays,
    /// The time to compile a change.
    compile_seconds: Histogram,
    /// The time from the start of a compilation to the answer of the last proxy.
    propagation_seconds: Histogram,
}

/// A proxy that waits for the first plan of its workload.
struct Waiting {
    workload: Workload,
    answer: oneshot::Sender<Result<Snapshots, Status>>,
}

impl Publisher {
    /// A publisher that reads a store. The workloads of proxies whose node names no account and region are looked up in
    /// `default_scope`.
    pub fn new(store: Store, default_scope: Scope, dialect: impl Dialect) -> Self {
        let (waiting, receiver) = mpsc::channel(MAX_WAITING);
        let inner = Inner {
            store,
            dialect: Arc::new(dialect),
            default_scope,
            published: Arc::default(),
            waiting,
            receiver: Mutex::new(receiver),
            processed: watch::Sender::new(0),
            delays: DELAYS,
            compile_seconds: seconds(),
            propagation_seconds: seconds(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Registers the publisher's metrics.
    pub fn register_metrics(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("plan");
        registry.register(
            "compile_seconds",
            "Time to compile the changes of the store that go out together",
            self.inner.compile_seconds.clone(),
        );
        registry.register(
            "propagation_seconds",
            "Time from the start of a compilation to the answer of the last proxy that it concerns",
            self.inner.propagation_seconds.clone(),
        );
    }

    #[cfg(test)]
    fn with_delays(mut self, delays: Delays) -> Self {
        let inner = Arc::get_mut(&mut self.inner).expect("not shared yet");
        inner.delays = delays;
        self
    }

    /// Publishes the changes of the store until it is closed. One call runs at a time; the others wait for its end.
    ///
    /// # Panics
    ///
    /// If the planner panics outside of a compilation, which is a bug: its cache may be inconsistent then.
    pub async fn run(&self) {
        let mut receiver = self.inner.receiver.lock().await;
        let mut planner = Planner::new(self.inner.dialect.clone(), self.inner.published.clone());
        let mut events = Debounced::new(self.inner.store.watch(), self.inner.delays);
        let mut drift_check = interval(DRIFT_CHECK_PERIOD / DRIFT_CHECK_STEPS as u32);
        drift_check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(first) = receiver.recv() => {
                    let mut waiting = vec![first];
                    while let Ok(next) = receiver.try_recv() {
                        waiting.push(next);
                    }
                    let view = self.inner.store.view();
                    planner = run_blocking(planner, move |planner| {
                        answer_waiting(planner, &view, waiting);
                    })
                    .await;
                }
                event = events.next() => {
                    let Some(event) = event else { return };
                    let propagation = Arc::new(self.propagation(&event));
                    planner = self.apply(planner, event, propagation.clone()).await;
                    events.pushing(propagation);
                }
                _ = drift_check.tick() => planner = self.check_drift(planner).await,
            }
        }
    }

    async fn apply(
        &self,
        planner: Planner,
        event: Event,
        propagation: Arc<Propagation>,
    ) -> Planner {
        let revision = view_of(&event).revision;
        let begun = Instant::now();
        let planner = run_blocking(planner, move |planner| {
            let _in_span = propagation.span().enter();
            match event {
                Event::Changed { view, changes, .. } => {
                    planner.update(&view, &changes, &propagation);
                }
                Event::Resync { view } => {
                    planner.recompile(&view, &propagation);
                }
            }
        })
        .await;
        let elapsed = begun.elapsed().as_secs_f64();
        self.inner.compile_seconds.observe(elapsed);
        self.inner.processed.send_replace(revision);
        planner
    }

    async fn check_drift(&self, planner: Planner) -> Planner {
        let view = self.inner.store.view();
        if view.revision != *self.inner.processed.borrow() {
            // Changes are not processed yet: a difference would not be a drift.
            return planner;
        }
        run_blocking(planner, move |planner| {
            let drifted = planner.check_drift(&view);
            if drifted > 0 {
                tracing::error!(
                    drifted,
                    "snapshots had drifted from the store and were replaced"
                );
            }
        })
        .await
    }

    /// The revision up to which all changes are in the published snapshots.
    pub fn processed(&self) -> watch::Receiver<u64> {
        self.inner.processed.subscribe()
    }

    /// The revision of the snapshot that a proxy should have now; `None` if its node names no published workload.
    pub fn wanted_revision(&self, node: &Node) -> Option<u64> {
        let workload = self.workload_of(node).ok()?;
        let published = self.inner.published.workloads.lock();
        Some(published.get(&workload)?.snapshots.borrow().revision())
    }

    /// The warnings of the published plans, by workload; sorted, without workloads that have none.
    pub fn warnings(&self) -> Vec<(Workload, Vec<Warning>)> {
        let published = self.inner.published.workloads.lock();
        let mut warnings: Vec<_> = published
            .iter()
            .filter(|(_, published)| !published.warnings.is_empty())
            .map(|(workload, published)| (workload.clone(), published.warnings.to_vec()))
            .collect();
        drop(published);
        warnings.sort_by(|a, b| a.0.cmp(&b.0));
        warnings
    }

    /// Subscribes to the snapshots of a workload. If it is not published, waits until [`Publisher::run`] has
    /// compiled it.
    async fn subscribe_to(&self, workload: Workload) -> Result<Snapshots, Status> {
        if let Some(receiver) = self.inner.published.subscribe(&workload) {
            return Ok(receiver);
        }
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { workload, answer };
        let queued = self.inner.waiting.try_send(waiting);
        queued.map_err(|_| Status::unavailable("too many proxies wait for their first plan"))?;
        let answer = answered.await;
        answer.map_err(|_| Status::unavailable("the control plane is shutting down"))?
    }

    fn propagation(&self, event: &Event) -> Propagation {
        let none = Causes::default();
        let causes = match event {
            Event::Changed { causes, .. } => causes,
            Event::Resync { .. } => &none,
        };
        let seconds = self.inner.propagation_seconds.clone();
        Propagation::new(view_of(event).revision, causes, seconds)
    }

    /// The workload that a proxy says it belongs to.
    ///
    /// # Errors
    ///
    /// The status for a proxy that names none.
    pub fn workload_of(&self, node: &Node) -> Result<Workload, Status> {
        let (scope, key) = self.inner.dialect.workload_of(node)?;
        let scope = scope.unwrap_or_else(|| self.inner.default_scope.clone());
        Ok(Workload { scope, key })
    }
}

impl Source for Publisher {
    async fn subscribe(&self, node: &Node, _peer: &Peer) -> Result<Snapshots, Status> {
        self.subscribe_to(self.workload_of(node)?).await
    }
}

fn view_of(event: &Event) -> &View {
    match event {
        Event::Changed { view, .. } | Event::Resync { view } => view,
    }
}

fn answer_waiting(planner: &mut Planner, view: &View, waiting: Vec<Waiting>) {
    for Waiting { workload, answer } in waiting {
        // The proxy may have disconnected meanwhile.
        let _ = answer.send(planner.subscribe(view, &workload));
    }
}

/// Runs work of the planner on a thread that may block, and returns the planner.
async fn run_blocking(
    mut planner: Planner,
    work: impl FnOnce(&mut Planner) + Send + 'static,
) -> Planner {
    let work = tokio::task::spawn_blocking(move || {
        work(&mut planner);
        planner
    });
    match work.await {
        Ok(planner) => planner,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down; nothing runs after this.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests;
