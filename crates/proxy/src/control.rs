//! The control thread: receives configuration, resolves names, checks health, and publishes changes to the workers.

mod dns_resolver;
mod health_checker;
mod last_good_config;
mod membership;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tombolo_xds::client::{Rejection as Nack, Update};
use tombolo_xds::{Client, ClientOptions, Kind, Node, Snapshot};

use crate::cluster_runtime::ClusterRuntime;
use crate::config::error::ConfigError;
use crate::config::listener::Chain;
use crate::config::{Config, RejectedResource};
use crate::generation::{BoundListener, Generation, SocketTable};
use crate::metrics::Registry;
use crate::options::Options;

use dns_resolver::{Resolved, Resolver, dns};
use health_checker::HealthChecker;
use last_good_config::{Identity, LastGood};
use membership::HostHistory;

/// Maximum time that a new configuration waits for its DNS names.
const WARM_TIMEOUT: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(100);
/// Pause before a control-plane client that ended unexpectedly is restarted.
const RESUBSCRIBE: Duration = Duration::from_secs(1);

/// The control thread's state. One per process.
pub(crate) struct Control {
    options: Arc<Options>,
    registry: Arc<Registry>,
    config: Arc<Config>,
    /// The current resources, for the file.
    effective: Snapshot,
    sockets: SocketTable,
    listeners: Vec<Arc<BoundListener>>,
    resolver: Resolver,
    resolved: mpsc::Receiver<Resolved>,
    history: HostHistory,
    health_checker: HealthChecker,
    sweeps: HashMap<Arc<str>, Instant>,
    last_good: Option<LastGood>,
    /// The rejected resources of the last update with the reasons, so that each one is logged once.
    rejected: HashMap<(Kind, Arc<str>), String>,
    number: u64,
    publisher: watch::Sender<Arc<Generation>>,
}

impl Control {
    pub(crate) fn new(
        options: Arc<Options>,
        registry: Arc<Registry>,
        publisher: watch::Sender<Arc<Generation>>,
    ) -> Self {
        let (resolver, resolved) = Resolver::new();
        let identity = Identity {
            node_id: options.node_id.clone(),
            node_cluster: options.node_cluster.clone(),
        };
        let last_good = options.state_dir.as_deref();
        Self {
            config: Arc::default(),
            effective: Snapshot::builder(0).build(),
            sockets: SocketTable::default(),
            listeners: Vec::new(),
            resolver,
            resolved,
            history: HostHistory::default(),
            health_checker: HealthChecker::new(options.socket_mark),
            sweeps: HashMap::new(),
            last_good: last_good.map(|directory| LastGood::new(directory, identity)),
            rejected: HashMap::new(),
            number: 0,
            publisher,
            options,
            registry,
        }
    }

    /// Runs until the task is dropped.
    pub(crate) async fn run(mut self) {
        let initial = self.initial();
        if !initial.is_empty() {
            self.adopt(&initial).await;
        }
        let mut client = self.subscribe();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // All branches are cancel safe.
            tokio::select! {
                update = next(&mut client) => match update {
                    Some(update) => {
                        let rejected = self.adopt(&update.snapshot).await;
                        if let Some(last_good) = &mut self.last_good {
                            last_good.save(self.effective.clone());
                        }
                        update.reject(rejected.into_iter().map(nack).collect());
                    }
                    None => {
                        tracing::error!("the client of the control plane ended; starting it again");
                        tokio::time::sleep(RESUBSCRIBE).await;
                        client = self.subscribe();
                    }
                },
                Some(resolved) = self.resolved.recv() => {
                    self.record(resolved);
                    self.publish();
                }
                _ = tick.tick() => self.maintain().await,
            }
        }
    }

    /// The last good configuration, overridden by the static resources.
    fn initial(&self) -> Snapshot {
        let mut builder = match self.last_good.as_ref().and_then(LastGood::load) {
            Some(snapshot) => {
                tracing::info!(
                    revision = snapshot.revision(),
                    "last good configuration loaded from disk"
                );
                let revision = snapshot.revision();
                snapshot.edit(revision)
            }
            None => Snapshot::builder(0),
        };
        for resource in &self.options.static_resources {
            builder.insert(resource.clone());
        }
        builder.build()
    }

    /// Starts a control-plane client, if one is configured.
    fn subscribe(&self) -> Option<Client> {
        let address = self.options.xds_address.as_ref()?;
        let endpoint = if address.contains("://") {
            address.clone()
        } else {
            format!("http://{address}")
        };
        let node = Node {
            id: self.options.node_id.clone(),
            cluster: self.options.node_cluster.clone(),
            metadata: self
                .options
                .node_metadata
                .iter()
                .map(|(key, value)| (key.clone(), value.clone().into()))
                .collect(),
            user_agent: "tombolo-proxy".to_owned(),
            user_agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Node::default()
        };
        let mut options = ClientOptions::new(endpoint, node);
        options.initial = self.effective.clone();
        options
            .authorities
            .clone_from(&self.options.xds_authorities);
        options.token_file.clone_from(&self.options.xds_token_file);
        Client::start(options)
            .inspect_err(|error| {
                tracing::error!(%address, %error, "the control plane's address is not usable; continuing without one");
            })
            .ok()
    }

    /// Compiles and publishes a snapshot; returns the rejected resources.
    async fn adopt(&mut self, snapshot: &Snapshot) -> Vec<RejectedResource> {
        let (mut next, mut rejected) = self.config.adopt(snapshot);
        self.bind(&mut next, &mut rejected);
        self.retire_chains(&next);
        self.effective = effective(snapshot, &self.effective, &rejected);
        self.config = Arc::new(next);
        self.warm().await;
        self.publish();
        self.report(&rejected);
        tracing::info!(
            revision = snapshot.revision(),
            listeners = self.config.listeners.len(),
            routes = self.config.routes.len(),
            clusters = self.config.clusters.len(),
            rejected = rejected.len(),
            "configuration adopted"
        );
        rejected
    }

    /// Logs the resources that were not rejected for the same reason before.
    fn report(&mut self, rejected: &[RejectedResource]) {
        let mut reasons = HashMap::with_capacity(rejected.len());
        for resource in rejected {
            let (kind, name) = (resource.kind, &resource.name);
            let reason = resource.rejection.to_string();
            if self.rejected.get(&(kind, name.clone())) != Some(&reason) {
                tracing::warn!(%kind, %name, %reason, "resource rejected; the previous version stays in force");
            }
            reasons.insert((kind, name.clone()), reason);
        }
        self.rejected = reasons;
    }

    /// Opens the sockets of new listeners. A socket that cannot be opened rejects its listener.
    fn bind(&mut self, next: &mut Config, rejected: &mut Vec<RejectedResource>) {
        let workers = self.options.worker_count();
        let mut failed = Vec::new();
        let mut taken: HashMap<SocketAddr, Arc<str>> = HashMap::new();
        for (name, entry) in &next.listeners {
            if !entry.value.bind {
                continue;
            }
            let address = entry.value.address;
            // Two listeners on one port would each get some of its connections.
            let other = taken.get(&address).filter(|_| address.port() != 0);
            let reason = if let Some(other) = other {
                format!("{address} belongs to listener {other}")
            } else {
                taken.insert(address, name.clone());
                match self.sockets.get(&entry.value, workers) {
                    Ok(_) => continue,
                    Err(error) => format!("cannot listen on {address}: {error}"),
                }
            };
            rejected.push(RejectedResource {
                kind: Kind::Listener,
                name: name.clone(),
                rejection: ConfigError::new("address", reason),
            });
            failed.push(name.clone());
        }
        for name in failed {
            match self.config.listeners.get(&name) {
                Some(previous) => next.listeners.insert(name, previous.clone()),
                None => next.listeners.remove(&name),
            };
        }
        let bound = next.listeners.values().map(|entry| &entry.value);
        let bound = bound.filter(|listener| listener.bind);
        self.sockets
            .retain(bound.clone().map(|listener| &**listener));
        let mut listeners = Vec::new();
        for listener in bound {
            let mut known = self.listeners.iter();
            match known.find(|known| Arc::ptr_eq(&known.listener, listener)) {
                Some(known) => listeners.push(known.clone()),
                None => match self.sockets.get(listener, workers) {
                    Ok(socket) => listeners.push(Arc::new(BoundListener {
                        listener: listener.clone(),
                        socket,
                    })),
                    Err(error) => tracing::error!(%error, "listener lost its socket"),
                },
            }
        }
        self.listeners = listeners;
    }

    /// Retires filter chains that no listener has any more: their connections close after the current request.
    fn retire_chains(&self, next: &Config) {
        let kept: HashSet<_> = chains(next).map(Arc::as_ptr).collect();
        for chain in chains(&self.config) {
            if !kept.contains(&Arc::as_ptr(chain)) {
                chain.retire();
            }
        }
    }

    /// Waits up to [`WARM_TIMEOUT`] until new DNS names have been resolved once, so that no route switches to a
    /// cluster without hosts.
    async fn warm(&mut self) {
        let clusters = self.config.clusters.values();
        self.resolver
            .set_names(clusters.filter_map(|entry| dns(&entry.value)));
        let deadline = tokio::time::Instant::now() + WARM_TIMEOUT;
        while self.resolver.is_waiting() {
            match tokio::time::timeout_at(deadline, self.resolved.recv()).await {
                Ok(Some(resolved)) => self.resolver.record(resolved),
                Ok(None) | Err(_) => break,
            }
        }
    }

    fn record(&mut self, resolved: Resolved) {
        self.resolver.record(resolved);
        // Answers that arrive together become one generation.
        while let Ok(more) = self.resolved.try_recv() {
            self.resolver.record(more);
        }
    }

    /// Builds a generation from the configuration and the known hosts; wakes the workers if it differs.
    fn publish(&mut self) {
        let current = self.publisher.borrow().clone();
        let mut clusters = BTreeMap::new();
        for (name, entry) in &self.config.clusters {
            let assignment = self.config.assignment(&entry.value);
            let runtime = self.history.runtime(
                &entry.value,
                assignment,
                &self.resolver,
                current.clusters.get(name),
            );
            clusters.insert(name.clone(), runtime);
        }
        self.history.forget(
            |name| self.config.clusters.contains_key(name),
            Instant::now(),
        );
        let is_known = |(name, runtime): (&Arc<str>, &Arc<ClusterRuntime>)| {
            let known = current.clusters.get(name);
            known.is_some_and(|known| Arc::ptr_eq(known, runtime))
        };
        let same = Arc::ptr_eq(&current.config, &self.config)
            && current.clusters.len() == clusters.len()
            && clusters.iter().all(is_known);
        if same {
            return;
        }
        self.health_checker.sync(clusters.values());
        self.sweeps.retain(|name, _| clusters.contains_key(name));
        self.registry
            .retain(|scope, name| scope != "cluster" || clusters.contains_key(name));
        self.number += 1;
        let generation = Generation {
            number: self.number,
            config: self.config.clone(),
            clusters,
            listeners: self.listeners.clone(),
        };
        self.publisher.send_replace(Arc::new(generation));
    }

    async fn maintain(&mut self) {
        let now = Instant::now();
        let current = self.publisher.borrow().clone();
        for (name, runtime) in &current.clusters {
            let Some(outlier) = &runtime.config.outlier else {
                continue;
            };
            let due = self
                .sweeps
                .entry(name.clone())
                .or_insert_with(|| now + outlier.interval);
            if now >= *due {
                *due = now + outlier.interval;
                runtime.sweep(outlier, now);
            }
        }
        self.resolver.maintain();
        if self.health_checker.any_has_ended() {
            tracing::error!("a health check ended; starting it again");
            self.health_checker.sync(current.clusters.values());
        }
        if let Some(last_good) = &mut self.last_good {
            last_good.maintain(now).await;
        }
    }
}

/// The next update; pending forever without a control plane. `None` when its client has ended.
async fn next(client: &mut Option<Client>) -> Option<Update> {
    match client {
        Some(client) => client.next().await,
        None => std::future::pending().await,
    }
}

fn chains(config: &Config) -> impl Iterator<Item = &Arc<Chain>> {
    let listeners = config.listeners.values();
    listeners.flat_map(|entry| entry.value.all_chains())
}

/// The snapshot with each rejected resource replaced by its previous version, which stays in force.
fn effective(snapshot: &Snapshot, before: &Snapshot, rejected: &[RejectedResource]) -> Snapshot {
    if rejected.is_empty() {
        return snapshot.clone();
    }
    let mut builder = snapshot.edit(snapshot.revision());
    for resource in rejected {
        match before.get(resource.kind, &resource.name) {
            Some(previous) => builder.insert(previous.clone()),
            None => builder.remove(resource.kind, &resource.name),
        };
    }
    builder.build()
}

fn nack(resource: RejectedResource) -> Nack {
    Nack {
        kind: resource.kind,
        name: resource.name,
        reason: resource.rejection.to_string(),
    }
}
