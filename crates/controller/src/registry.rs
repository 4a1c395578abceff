//! Pods into Cloud Map: ready pods are registered, and deregistered as soon as they leave.
//!
//! The unit of work is a virtual node of one cluster with its service ([`NodeKey`]): its pods are desired, the instances
//! that carry its mark are observed, [`plan`] names the calls. A service is loaded once and followed from then on; each
//! recheck loads it again.

mod load;
mod nodes;
mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt;
use tokio::sync::Notify;
use tokio::task::JoinError;
use tokio::time::Instant;
use tombolo_kube::inject::CLOUD_MAP_GATE;
use tombolo_kube::register::Instance;
use tombolo_telemetry::ErrorChain;

pub use nodes::{NodeKey, PodRef, ServiceName};
pub use plan::{Plan, plan};

use crate::cluster::Changes;
use crate::jobs::Jobs;
use crate::{ApiError, Cluster, Event, Observer, Options, Outcome, RegistryApi, WorkQueue};
use load::{Loaded, LoadedService};
use nodes::Nodes;

/// Keys under way at a time, and calls for each of them.
const CONCURRENT: usize = 8;
const CALLS: usize = 8;

/// Keeps the instances of the Cloud Map API as the pods of all clusters are, and opens the readiness gates of pods that
/// are registered.
pub struct Controller<C, A> {
    clusters: Vec<Arc<C>>,
    api: Arc<A>,
    options: Arc<Options>,
    observer: Observer,
    nodes: Nodes,
    /// Services that were loaded.
    services: BTreeMap<ServiceName, LoadedService>,
    /// Nodes that are gone and may have left instances behind.
    gone: BTreeSet<NodeKey>,
    queue: WorkQueue<Key>,
    jobs: Jobs<Key, Ended>,
    recheck: Instant,
}

/// What is worked on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    /// Look for what an earlier run left behind.
    Leftovers,
    /// Load a service; create it if a node uses it, delete it if none does and it is ours.
    Service(ServiceName),
    /// Register and deregister.
    Node(NodeKey),
}

/// How an attempt ended.
enum Ended {
    Leftovers(Result<BTreeMap<ServiceName, Vec<Instance>>, ApiError>),
    Service(Result<Loaded, ApiError>),
    Node(NodeResult),
}

/// What the calls for one node came to.
#[derive(Default)]
struct NodeResult {
    registered: Vec<Instance>,
    deregistered: Vec<String>,
    error: Option<ApiError>,
    /// Whether a gate could not be opened.
    gate_failed: bool,
    conflict: bool,
}

impl<C: Cluster, A: RegistryApi> Controller<C, A> {
    /// A controller that knows nothing of the registry yet.
    pub fn new(clusters: Vec<Arc<C>>, api: Arc<A>, options: Options, observer: Observer) -> Self {
        let mut queue = WorkQueue::default();
        queue.add(Key::Leftovers, 0);
        Self {
            clusters,
            api,
            observer,
            nodes: Nodes::default(),
            services: BTreeMap::new(),
            gone: BTreeSet::new(),
            queue,
            jobs: Jobs::new(),
            recheck: Instant::now() + options.recheck,
            options: Arc::new(options),
        }
    }

    /// Reconciles at each change and on a timer, until dropped. `restarted` is notified when the API was started again.
    pub async fn run(mut self, restarted: Arc<Notify>) {
        let mut changes = Changes::of(&self.clusters);
        let mut is_changed = true;
        loop {
            if std::mem::take(&mut is_changed) {
                self.refresh();
            }
            self.start_jobs();
            let due = self
                .queue
                .next_due()
                .map_or(self.recheck, |due| due.min(self.recheck));
            tokio::select! {
                () = changes.next() => is_changed = true,
                () = restarted.notified() => {
                    self.queue.reachable();
                    self.reload();
                }
                Some((key, ended)) = self.jobs.next() => self.ended(key, ended),
                () = tokio::time::sleep_until(due) => {
                    if self.recheck <= Instant::now() {
                        self.reload();
                    }
                }
            }
        }
    }

    /// Queues every service to be loaded again.
    fn reload(&mut self) {
        self.recheck = Instant::now() + self.options.recheck;
        let used = self.nodes.services().chain(self.services.keys());
        let used: BTreeSet<ServiceName> = used.cloned().collect();
        for service in used {
            self.queue.add(Key::Service(service), 0);
        }
    }

    /// Takes in what changed in the clusters.
    fn refresh(&mut self) {
        let changed = self.nodes.refresh(&self.clusters);
        for key in changed {
            if !self.nodes.contains(&key) {
                self.gone.insert(key.clone());
            }
            self.queue.add(Key::Node(key), 0);
        }
    }

    fn start_jobs(&mut self) {
        let now = Instant::now();
        while self.queue.running() < CONCURRENT
            && let Some(key) = self.queue.pop(now)
        {
            match key.clone() {
                Key::Leftovers => {
                    let api = self.api.clone();
                    self.jobs.spawn(key, async move {
                        Ended::Leftovers(load::leftovers(&*api).await)
                    });
                }
                Key::Service(name) => self.start_service(name),
                Key::Node(node) => self.start_node(node),
            }
        }
    }

    fn start_service(&mut self, name: ServiceName) {
        let user = self.nodes.user(&name);
        let known = self
            .services
            .get(&name)
            .map(|service| service.service.clone());
        // Others may have registered in it since it was loaded: only an empty one of ours goes, and the API agrees.
        let job = load::Job {
            api: self.api.clone(),
            options: self.options.clone(),
            observer: self.observer.clone(),
            name: name.clone(),
            uid: user.map(|node| node.uid.clone()),
            is_used: user.is_some(),
            is_left: self.gone.iter().any(|node| node.service == name),
            known,
        };
        self.jobs.spawn(Key::Service(name), async move {
            Ended::Service(job.run().await)
        });
    }

    fn start_node(&mut self, key: NodeKey) {
        let Some(service) = self.services.get(&key.service) else {
            // Its end queues the node again.
            self.queue
                .finish(&Key::Node(key.clone()), Outcome::Done, Instant::now());
            self.queue.add(Key::Service(key.service), 0);
            return;
        };
        let node = self.nodes.get(&key);
        let pods = node
            .map(|node| self.nodes.pods(&key, node))
            .unwrap_or_default();
        let cluster_name = self.clusters[key.cluster].name();
        let plan = plan(&key, cluster_name, &pods, &service.instances);
        for address in &plan.taken {
            let (node, address) = (key.node.clone(), address.clone());
            tracing::warn!(
                node,
                address,
                "the address of a pod is registered for somebody else"
            );
            (self.observer)(Event::AddressTaken { node, address });
        }
        let gates: Vec<(String, PodRef)> = pods
            .into_iter()
            .filter(|pod| pod.awaits_gate && !plan.taken.contains(&pod.instance.id))
            .map(|pod| (pod.instance.id, pod.pod))
            .collect();
        let registered: BTreeSet<String> = service.instances.keys().cloned().collect();
        let (api, cluster) = (self.api.clone(), self.clusters[key.cluster].clone());
        let id = service.service.id.clone();
        self.jobs.spawn(Key::Node(key), async move {
            let mut result = perform(&*api, &id, plan).await;
            for (instance, pod) in gates {
                let is_new = result.registered.iter().any(|new| new.id == instance);
                let is_gone = result.deregistered.contains(&instance);
                if (is_new || registered.contains(&instance))
                    && !is_gone
                    && let Err(error) = cluster
                        .open_gate(&pod.namespace, &pod.name, CLOUD_MAP_GATE)
                        .await
                {
                    let error = ErrorChain(&error);
                    tracing::warn!(pod = pod.name, %error, "readiness gate not opened");
                    result.gate_failed = true;
                }
            }
            Ended::Node(result)
        });
    }

    fn ended(&mut self, key: Key, ended: Result<Ended, JoinError>) {
        let now = Instant::now();
        let was_outage = self.queue.is_outage();
        match (key, ended) {
            (key, Ok(Ended::Leftovers(Err(error)) | Ended::Service(Err(error)))) => {
                self.failed(&key, &error, now)
            }
            (key, Ok(Ended::Leftovers(Ok(services)))) => {
                for (service, instances) in services {
                    self.find_gone(&service, instances.iter());
                    // One that holds instances of others alone is not ours to delete.
                    let is_left = self.gone.iter().any(|node| node.service == service);
                    if instances.is_empty() || is_left {
                        self.queue.add(Key::Service(service), 0);
                    }
                }
                self.queue.finish(&key, Outcome::Done, now);
            }
            (Key::Service(name), Ok(Ended::Service(Ok(loaded)))) => {
                self.loaded(&name, loaded);
                self.queue.finish(&Key::Service(name), Outcome::Done, now);
            }
            (Key::Node(node), Ok(Ended::Node(result))) => self.node_done(node, result, now),
            (key, ended) => {
                if let Err(panic) = ended {
                    tracing::error!(error = %ErrorChain(&panic), "a registration failed");
                }
                if let Key::Node(node) = &key {
                    // What it did before it failed is not known.
                    self.services.remove(&node.service);
                }
                self.queue.finish(&key, Outcome::Failed, now);
            }
        }
        match (was_outage, self.queue.is_outage()) {
            (false, true) => tracing::warn!("the registry does not answer; trying until it does"),
            (true, false) => tracing::info!("the registry answers again"),
            _ => {}
        }
    }

    fn loaded(&mut self, name: &ServiceName, loaded: Loaded) {
        match loaded {
            Loaded::Service(service) => {
                self.find_gone(name, service.instances.values());
                self.services.insert(name.clone(), service);
                let gone = self.gone.iter().filter(|node| node.service == *name);
                let users = self.nodes.of_service(name).chain(gone);
                let users: Vec<NodeKey> = users.cloned().collect();
                for node in users {
                    self.queue.add(Key::Node(node), 0);
                }
            }
            Loaded::Gone => {
                self.services.remove(name);
                self.gone.retain(|node| node.service != *name);
            }
            Loaded::NotOurs => drop(self.services.remove(name)),
        }
    }

    fn failed(&mut self, key: &Key, error: &ApiError, now: Instant) {
        let outcome = error.outcome();
        if outcome == Outcome::Failed {
            tracing::warn!(?key, error = %ErrorChain(error), "registry not up to date");
        }
        self.queue.finish(key, outcome, now);
    }

    fn node_done(&mut self, key: NodeKey, result: NodeResult, now: Instant) {
        if let Some(service) = self.services.get_mut(&key.service) {
            for instance in result.registered {
                service.instances.insert(instance.id.clone(), instance);
            }
            for id in &result.deregistered {
                service.instances.remove(id);
            }
        }
        if let Some(error) = result.error {
            if matches!(error, ApiError::NotFound(_) | ApiError::Unreachable(_)) {
                // The service is gone, or what was lost on the way may have been done: look again.
                self.services.remove(&key.service);
            }
            self.failed(&Key::Node(key), &error, now);
            return;
        }
        let outcome = if result.gate_failed || result.conflict {
            Outcome::Failed
        } else {
            Outcome::Done
        };
        if outcome == Outcome::Done && !self.nodes.contains(&key) {
            self.gone.remove(&key);
            if self.nodes.user(&key.service).is_none() {
                self.queue.add(Key::Service(key.service.clone()), 0);
            }
        }
        self.queue.finish(&Key::Node(key), outcome, now);
    }

    /// Notes the nodes of our clusters that have instances and are gone.
    fn find_gone<'a>(
        &mut self,
        service: &ServiceName,
        instances: impl Iterator<Item = &'a Instance>,
    ) {
        for instance in instances {
            let names = self.clusters.iter().map(|cluster| cluster.name());
            if let Some(key) = NodeKey::of_instance(service, instance, names)
                && !self.nodes.contains(&key)
            {
                self.gone.insert(key);
            }
        }
    }
}

/// Makes the calls of a plan, a few at a time. Deregistrations come first: their callers are waiting for errors.
async fn perform<A: RegistryApi>(api: &A, service: &str, plan: Plan) -> NodeResult {
    let mut result = NodeResult {
        conflict: !plan.taken.is_empty(),
        ..NodeResult::default()
    };
    let calls = plan.deregister.into_iter().map(|id| async {
        let ended = api.deregister(service, &id).await;
        (id, ended)
    });
    let mut calls = futures::stream::iter(calls).buffer_unordered(CALLS);
    while let Some((id, ended)) = calls.next().await {
        match ended {
            Ok(()) => result.deregistered.push(id),
            Err(error) => result.error = Some(error),
        }
    }
    let calls = plan.register.into_iter().map(|instance| async {
        let ended = api.register(service, &instance).await;
        (instance, ended)
    });
    let mut calls = futures::stream::iter(calls).buffer_unordered(CALLS);
    while let Some((instance, ended)) = calls.next().await {
        match ended {
            Ok(()) => result.registered.push(instance),
            Err(error) => result.error = Some(error),
        }
    }
    result
}

#[cfg(test)]
mod tests;
