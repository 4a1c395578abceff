//! One worker: a thread with its own runtime, sockets, upstream connections and counters.

pub(crate) mod active_listener;
mod serve_http;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::LocalRuntime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::access_log::{Files, Logs};
use crate::config::route::RouteTable;
use crate::descriptor_budget::Descriptors;
use crate::generation::Generation;
use crate::generation::LocalArc;
use crate::http::Session;
use crate::http::cached_header_values::{Milliseconds, RequestIds};
use crate::http1::WriteCoalescer;
use crate::metrics::{HttpStats, ListenerStats, Registry, Shard, TcpStats};
use crate::original_dst::ListenerAddresses;
use crate::upstream::{ClusterContext, ThreadLocalCluster};

use active_listener::ActiveListener;

/// The interval of housekeeping: idle connections and log buffers.
const TICK: Duration = Duration::from_millis(250);
/// Idle time after which a connection is closed, once its filter chain was replaced or the proxy drains. A busy one
/// gets `connection: close` with its next response.
const QUIET_TIMEOUT: Duration = Duration::from_secs(5);
/// Time after which a silent redirected client may be waiting for the server to speak first.
const SILENCE_THRESHOLD: Duration = Duration::from_secs(10);

/// The start arguments of a worker: its index, and the state that all workers share.
pub(crate) struct WorkerContext {
    pub(crate) index: usize,
    pub(crate) registry: Arc<Registry>,
    pub(crate) files: Arc<Files>,
    pub(crate) descriptors: Arc<Descriptors>,
    pub(crate) mark: Option<u32>,
    pub(crate) generations: watch::Receiver<Arc<Generation>>,
    pub(crate) phase: watch::Receiver<Phase>,
}

/// The life cycle of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Serving,
    /// Every response says that its connection closes; new connections are still served.
    Draining,
    /// Nothing is accepted; requests in flight may finish.
    Closing,
    Ended,
}

/// The configuration as this worker uses it.
#[derive(Default)]
pub(crate) struct LocalConfig {
    pub(crate) number: u64,
    pub(crate) clusters: HashMap<Arc<str>, Rc<ThreadLocalCluster>>,
    pub(crate) routes: HashMap<Arc<str>, LocalArc<RouteTable>>,
}

pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) logs: Rc<Logs>,
    pub(crate) write_coalescer: WriteCoalescer,
    pub(crate) request_ids: RequestIds,
    pub(crate) milliseconds: Milliseconds,
    local: RefCell<Rc<LocalConfig>>,
    listening: RefCell<HashMap<std::net::SocketAddr, Rc<ActiveListener>>>,
    sessions: RefCell<HashMap<u64, SessionEntry>>,
    next_session: Cell<u64>,
    phase: Cell<Phase>,
    /// Cancelled when connections without a request have to close.
    closing: CancellationToken,
    registry: Arc<Registry>,
    cluster_context: ClusterContext,
    http: RefCell<HashMap<Arc<str>, Arc<HttpStats>>>,
    tcp: RefCell<HashMap<Arc<str>, Arc<TcpStats>>>,
    listener: RefCell<HashMap<Arc<str>, Arc<ListenerStats>>>,
}

/// Runs a worker on the calling thread until the process ends.
pub(crate) fn run(context: WorkerContext, runtime: &LocalRuntime) {
    let WorkerContext {
        index,
        registry,
        files,
        descriptors,
        mark,
        mut generations,
        mut phase,
    } = context;
    let worker = Rc::new(Worker {
        index,
        logs: Logs::new(files),
        write_coalescer: WriteCoalescer::default(),
        request_ids: RequestIds::default(),
        milliseconds: Milliseconds::default(),
        local: RefCell::default(),
        listening: RefCell::default(),
        sessions: RefCell::default(),
        next_session: Cell::new(0),
        phase: Cell::new(Phase::Serving),
        closing: CancellationToken::new(),
        registry,
        cluster_context: ClusterContext {
            mark,
            listener_addresses: Rc::new(ListenerAddresses::default()),
            descriptors,
        },
        http: RefCell::default(),
        tcp: RefCell::default(),
        listener: RefCell::default(),
    });
    runtime.block_on(async move {
        let flushing = worker.clone();
        tokio::task::spawn_local(async move { flushing.write_coalescer.run().await });
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let first = generations.borrow_and_update().clone();
        worker.adopt(&first);
        loop {
            tokio::select! {
                changed = generations.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let generation = generations.borrow_and_update().clone();
                    worker.adopt(&generation);
                }
                changed = phase.changed() => {
                    let next = *phase.borrow_and_update();
                    if changed.is_err() || next == Phase::Ended {
                        break;
                    }
                    worker.enter(next);
                }
                _ = tick.tick() => worker.maintain(),
            }
        }
        worker.write_coalescer.flush();
        worker.logs.flush();
        // Breaks the reference cycle between idle connections and their cluster.
        for cluster in worker.local().clusters.values() {
            cluster.close();
        }
    });
}

impl Worker {
    pub(crate) fn local(&self) -> Rc<LocalConfig> {
        self.local.borrow().clone()
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.phase.get() >= Phase::Draining
    }

    pub(crate) fn http_stats(&self, prefix: &Arc<str>) -> Arc<HttpStats> {
        shard(&self.http, &self.registry, "http", prefix)
    }

    pub(crate) fn tcp_stats(&self, prefix: &Arc<str>) -> Arc<TcpStats> {
        shard(&self.tcp, &self.registry, "tcp", prefix)
    }

    fn listener_stats(&self, name: &Arc<str>) -> Arc<ListenerStats> {
        shard(&self.listener, &self.registry, "listener", name)
    }

    /// Adopts a generation. Clusters come first, so that no route ever names a missing one.
    fn adopt(self: &Rc<Self>, generation: &Arc<Generation>) {
        let old = self.local();
        let mut clusters = HashMap::with_capacity(generation.clusters.len());
        for (name, runtime) in &generation.clusters {
            let cluster = match old.clusters.get(name) {
                Some(known) => {
                    known.adopt(runtime.clone());
                    known.clone()
                }
                None => {
                    let stats = self.registry.shard("cluster", name);
                    ThreadLocalCluster::new(runtime.clone(), stats, self.cluster_context.clone())
                }
            };
            clusters.insert(name.clone(), cluster);
        }
        for (name, cluster) in &old.clusters {
            if !clusters.contains_key(name) {
                cluster.close();
            }
        }
        let routes = generation
            .config
            .routes
            .iter()
            .map(|(name, entry)| {
                let known = old.routes.get(name).cloned();
                let known = known.filter(|known| Arc::ptr_eq(known, &entry.value));
                let table = known.unwrap_or_else(|| LocalArc::new(entry.value.clone()));
                (name.clone(), table)
            })
            .collect();
        *self.local.borrow_mut() = Rc::new(LocalConfig {
            number: generation.number,
            clusters,
            routes,
        });
        self.listen(generation);
    }

    /// Listens on the sockets that are new to this worker and closes those of removed listeners.
    fn listen(self: &Rc<Self>, generation: &Arc<Generation>) {
        let bound = generation
            .listeners
            .iter()
            .map(|bound| bound.socket.address);
        self.cluster_context.listener_addresses.replace(bound);
        if self.phase.get() >= Phase::Closing {
            return;
        }
        let mut listening = self.listening.borrow_mut();
        listening.retain(|address, current| {
            let stays = generation
                .listeners
                .iter()
                .any(|bound| bound.socket.address == *address);
            if !stays {
                current.stop();
            }
            stays
        });
        for bound in &generation.listeners {
            match listening.get(&bound.socket.address) {
                Some(current) => current.update(bound.listener.clone()),
                None => {
                    if let Some(started) = ActiveListener::start(self, bound) {
                        listening.insert(bound.socket.address, started);
                    }
                }
            }
        }
    }

    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        if phase >= Phase::Closing {
            self.closing.cancel();
            for (_, current) in self.listening.borrow_mut().drain() {
                current.stop();
            }
            for entry in self.sessions.borrow().values() {
                entry.session.close();
            }
        }
        tracing::debug!(worker = self.index, ?phase, "phase entered");
    }

    fn maintain(&self) {
        let now = Instant::now();
        self.logs.flush();
        for cluster in self.local().clusters.values() {
            cluster.maintain(now);
        }
        for entry in self.sessions.borrow().values() {
            self.maintain_session(&entry.session, now);
            entry.record_silence(now);
        }
        for listening in self.listening.borrow().values() {
            // A panic in an accept loop is a bug; a worker that accepts nothing must not seem alive.
            assert!(!listening.has_failed(), "an accept loop ended");
        }
    }

    fn maintain_session(&self, session: &Session, now: Instant) {
        if session.closing.get() || session.in_flight.get() > 0 && !session.http2 {
            return;
        }
        let manager = &session.manager;
        let idle = now.saturating_duration_since(session.active.get());
        let busy = session.in_flight.get() > 0;
        let leaving = session.chain.is_retired() || self.is_draining();
        let idle_over = !busy && manager.idle_timeout.is_some_and(|timeout| idle >= timeout);
        let age = now.saturating_duration_since(session.opened);
        let too_old = manager
            .max_connection_duration
            .is_some_and(|limit| age >= limit);
        if idle_over {
            session.stats.downstream_cx_idle_timeout.inc();
        }
        // GOAWAY loses no request, so an HTTP/2 connection need not be idle first.
        if idle_over || too_old || (leaving && (session.http2 || idle >= QUIET_TIMEOUT)) {
            session.close();
        }
    }

    /// Maximum open streams of a client's HTTP/2 connection, whatever the configuration permits.
    pub(crate) fn streams_per_connection(&self) -> u32 {
        self.cluster_context.descriptors.streams_per_connection()
    }

    /// Completes when connections without a request have to close.
    pub(crate) async fn closed(&self) {
        self.closing.cancelled().await;
    }

    /// Registers a session for [`Worker::maintain`] and the drain, until the guard is dropped.
    fn register(self: &Rc<Self>, session: &Rc<Session>) -> SessionGuard {
        let id = self.next_session.get();
        self.next_session.set(id + 1);
        let entry = SessionEntry {
            session: session.clone(),
            silent: Cell::new(false),
        };
        self.sessions.borrow_mut().insert(id, entry);
        if self.phase.get() >= Phase::Closing {
            session.close();
        }
        SessionGuard {
            worker: self.clone(),
            id,
        }
    }
}

/// A session in its worker's table.
struct SessionEntry {
    session: Rc<Session>,
    /// Whether the client has sent nothing for [`SILENCE_THRESHOLD`].
    silent: Cell<bool>,
}

impl SessionEntry {
    /// Counts a redirected client that sends nothing, and logs the likely cause once for each filter chain.
    fn record_silence(&self, now: Instant) {
        let session = &self.session;
        let has_begun = session.active.get() != session.opened;
        if self.silent.get()
            || has_begun
            || session.addresses.original_dst == session.addresses.local
            || now.saturating_duration_since(session.opened) < SILENCE_THRESHOLD
        {
            return;
        }
        self.silent.set(true);
        session.stats.downstream_cx_silent.inc();
        if session.chain.reports_silence() {
            tracing::warn!(
                destination = %session.addresses.original_dst,
                source = %session.addresses.remote,
                "a client has sent nothing for {} s on a port that carries HTTP in this mesh; if its protocol lets \
                 the server speak first (SMTP, MySQL, FTP), it waits for ever: give the port a TCP listener, or list \
                 it in APPMESH_EGRESS_IGNORED_PORTS",
                SILENCE_THRESHOLD.as_secs(),
            );
        }
    }
}

/// Removes a session from its worker's table on drop.
struct SessionGuard {
    worker: Rc<Worker>,
    id: u64,
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        self.worker.sessions.borrow_mut().remove(&self.id);
    }
}

/// This worker's shard for a name, created on first use.
fn shard<S: Shard + Default + Send + Sync + 'static>(
    known: &RefCell<HashMap<Arc<str>, Arc<S>>>,
    registry: &Registry,
    scope: &'static str,
    name: &Arc<str>,
) -> Arc<S> {
    known
        .borrow_mut()
        .entry(name.clone())
        .or_insert_with(|| registry.shard(scope, name))
        .clone()
}
