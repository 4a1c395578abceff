//! Reconciles pods into Cloud Map: ready pods are registered, and deregistered as soon as they terminate.
//!
//! The unit of work is a virtual node of one cluster with its service ([`NodeKey`]): its pods are the desired state,
//! the instances with its attributes the observed state, [`plan()`] returns the calls. A service is loaded once and its
//! state tracked from then on; each recheck loads it again.

mod load;
mod nodes;
mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt;
use tokio::sync::{Notify, watch};
use tokio::task::JoinError;
use tokio::time::Instant;
use tombolo_kube::finalizer;
use tombolo_kube::inject::CLOUD_MAP_GATE;
use tombolo_kube::register::Instance;
use tombolo_telemetry::ErrorChain;

pub use nodes::{NodeKey, PodRef, ServiceName};
pub use plan::{Plan, plan};

use crate::cluster::Changes;
use crate::jobs::Jobs;
use crate::mesh::RegistryProblems;
use crate::{
    ApiError, Cluster, Event, ObjectRef, Observer, Options, Outcome, PatchError, Problem, Reason,
    RegistryApi, WorkQueue,
};
use load::{Loaded, LoadedService};
use nodes::Nodes;

/// Maximum concurrent keys, and maximum concurrent calls for each of them.
const CONCURRENT: usize = 8;
const CALLS: usize = 8;

/// Reconciles the instances of the Cloud Map API with the pods of all clusters, and sets the readiness gates of
/// registered pods.
pub struct Controller<C, A> {
    clusters: Vec<Arc<C>>,
    api: Arc<A>,
    options: Arc<Options>,
    observer: Observer,
    nodes: Nodes,
    /// Services that were loaded.
    services: BTreeMap<ServiceName, LoadedService>,
    /// Deleted nodes whose objects were let go.
    released: BTreeSet<NodeKey>,
    /// Services that do not exist, as far as is known.
    absent: BTreeSet<ServiceName>,
    /// Deleted nodes that may have left instances behind.
    deleted_nodes: BTreeSet<NodeKey>,
    queue: WorkQueue<Key>,
    jobs: Jobs<Key, AttemptResult>,
    recheck: Instant,
    problems: watch::Sender<Arc<RegistryProblems>>,
}

/// The subject of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    /// Find the orphans of an earlier run.
    Orphans,
    /// Load a service; create it if a node uses it, delete it if none does and this controller owns it.
    Service(ServiceName),
    /// Register and deregister the pods of a node.
    Node(NodeKey),
}

/// The result of an attempt.
enum AttemptResult {
    Orphans(Result<BTreeMap<ServiceName, Vec<Instance>>, ApiError>),
    Service(Result<Loaded, ApiError>),
    Node(NodeResult),
}

/// The result of the calls for one node.
#[derive(Default)]
struct NodeResult {
    registered: Vec<Instance>,
    deregistered: Vec<String>,
    error: Option<ApiError>,
    /// Why nothing was tried.
    held_back: Option<String>,
    /// Whether a readiness gate could not be set.
    readiness_gate_failed: bool,
    /// Whether the object of a deleted node could be let go; `None`: it was not to be.
    released: Option<bool>,
    /// Addresses that are registered for others.
    taken: Vec<String>,
}

impl NodeResult {
    fn held_back(error: &PatchError) -> Self {
        Self {
            held_back: Some(ErrorChain(error).to_string()),
            ..Self::default()
        }
    }

    /// What the status of the node says about it.
    fn problem(&self) -> Option<Problem> {
        if let Some(error) = &self.error {
            return Some(Problem::from(error));
        }
        if let Some(message) = &self.held_back {
            return Some(Problem {
                reason: Reason::FinalizersNotAdded,
                message: message.clone(),
            });
        }
        (!self.taken.is_empty()).then(|| Problem {
            reason: Reason::AddressTaken,
            message: format!(
                "pods are not registered because their addresses are registered for another virtual node or cluster: \
                 {}; give the clusters address ranges that do not overlap, or deregister what is left of another",
                self.taken.join(", ")
            ),
        })
    }
}

impl<C: Cluster, A: RegistryApi> Controller<C, A> {
    /// A controller without any knowledge of the registry.
    pub fn new(clusters: Vec<Arc<C>>, api: Arc<A>, options: Options, observer: Observer) -> Self {
        let mut queue = WorkQueue::default();
        queue.add(Key::Orphans, 0);
        Self {
            clusters,
            api,
            observer,
            nodes: Nodes::default(),
            services: BTreeMap::new(),
            released: BTreeSet::new(),
            absent: BTreeSet::new(),
            deleted_nodes: BTreeSet::new(),
            queue,
            jobs: Jobs::new(),
            recheck: Instant::now() + options.recheck,
            problems: watch::channel(Arc::default()).0,
            options: Arc::new(options),
        }
    }

    /// Why pods are not registered, by virtual node, as it changes.
    pub fn problems(&self) -> watch::Receiver<Arc<RegistryProblems>> {
        self.problems.subscribe()
    }

    /// Reconciles at each change and on a timer, until dropped. `restarted` is notified when the API was restarted.
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

    /// Queues every service for loading.
    fn reload(&mut self) {
        self.recheck = Instant::now() + self.options.recheck;
        let used = self.nodes.services().chain(self.services.keys());
        let used: BTreeSet<ServiceName> = used.cloned().collect();
        for service in used {
            self.queue.add(Key::Service(service), 0);
        }
    }

    /// Applies the changes of the clusters.
    fn refresh(&mut self) {
        let changed = self.nodes.refresh(&self.clusters);
        let nodes = &self.nodes;
        self.released.retain(|node| nodes.deleted(node).is_some());
        for key in changed {
            if !self.nodes.contains(&key) {
                self.deleted_nodes.insert(key.clone());
            }
            self.queue.add(Key::Node(key), 0);
        }
        let nodes = &self.nodes;
        self.problems.send_if_modified(|problems| {
            let is_there = |object: &ObjectRef| nodes.objects().any(|node| node == object);
            let is_changed = !problems.keys().all(is_there);
            if is_changed {
                Arc::make_mut(problems).retain(|object, _| is_there(object));
            }
            is_changed
        });
    }

    fn start_jobs(&mut self) {
        let now = Instant::now();
        while self.queue.running() < CONCURRENT
            && let Some(key) = self.queue.pop(now)
        {
            match key.clone() {
                Key::Orphans => {
                    let api = self.api.clone();
                    self.jobs.spawn(key, async move {
                        AttemptResult::Orphans(load::list_all(&*api).await)
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
        // Others may have registered instances since it was loaded: the API only deletes an empty service.
        let job = load::Job {
            api: self.api.clone(),
            options: self.options.clone(),
            owner: user
                .and_then(|node| self.clusters[node.source.cluster].owner())
                .unwrap_or(&self.options.owner)
                .to_owned(),
            ours: crate::cluster::owners(&self.clusters, &self.options.owner),
            observer: self.observer.clone(),
            name: name.clone(),
            uid: user.map(|node| node.uid.clone()),
            is_used: user.is_some(),
            may_have_orphans: self.deleted_nodes.iter().any(|node| node.service == name),
            known,
        };
        self.jobs.spawn(Key::Service(name), async move {
            AttemptResult::Service(job.run().await)
        });
    }

    fn start_node(&mut self, key: NodeKey) {
        let deleted = self.nodes.deleted(&key);
        let deleted = deleted.filter(|_| !self.released.contains(&key)).cloned();
        let cluster = self.clusters[key.cluster].clone();
        let Some(service) = self.services.get(&key.service) else {
            if let Some(deleted) = deleted.filter(|_| self.absent.contains(&key.service)) {
                self.jobs.spawn(Key::Node(key), async move {
                    AttemptResult::Node(NodeResult {
                        released: Some(release(&*cluster, &deleted).await),
                        ..NodeResult::default()
                    })
                });
                return;
            }
            // The end of the service's attempt queues the node again.
            self.queue
                .finish(&Key::Node(key.clone()), Outcome::Done, Instant::now());
            self.queue.add(Key::Service(key.service), 0);
            return;
        };
        let node = self.nodes.get(&key);
        let pods = node
            .map(|node| self.nodes.pods(&key, node, &*cluster))
            .unwrap_or_default();
        let source = node.map(|node| node.source.clone());
        let cluster_name = cluster.name();
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
            .filter(|pod| pod.awaits_readiness_gate && !plan.taken.contains(&pod.instance.id))
            .map(|pod| (pod.instance.id, pod.pod))
            .collect();
        let registered: BTreeSet<String> = service.instances.keys().cloned().collect();
        let api = self.api.clone();
        let (id, arn) = (service.service.id.clone(), service.service.arn.clone());
        let taken = plan.taken.clone();
        self.jobs.spawn(Key::Node(key), async move {
            if let Some(source) = &source
                && let Err(error) = hold(&*cluster, source, &arn).await
            {
                return AttemptResult::Node(NodeResult::held_back(&error));
            }
            let mut result = perform(&*api, &id, plan).await;
            result.taken = taken;
            if let Some(deleted) = deleted
                && result.error.is_none()
            {
                result.released = Some(release(&*cluster, &deleted).await);
            }
            for (instance, pod) in gates {
                let is_new = result.registered.iter().any(|new| new.id == instance);
                let is_gone = result.deregistered.contains(&instance);
                if (is_new || registered.contains(&instance))
                    && !is_gone
                    && let Err(error) = cluster
                        .set_readiness_gate(&pod.namespace, &pod.name, CLOUD_MAP_GATE)
                        .await
                {
                    let error = ErrorChain(&error);
                    tracing::warn!(pod = pod.name, %error, "readiness gate not opened");
                    result.readiness_gate_failed = true;
                }
            }
            AttemptResult::Node(result)
        });
    }

    fn ended(&mut self, key: Key, ended: Result<AttemptResult, JoinError>) {
        let now = Instant::now();
        let was_outage = self.queue.is_outage();
        match (key, ended) {
            (key, Ok(AttemptResult::Orphans(Err(error)) | AttemptResult::Service(Err(error)))) => {
                self.failed(&key, &error, now)
            }
            (key, Ok(AttemptResult::Orphans(Ok(services)))) => {
                for (service, instances) in services {
                    self.find_deleted_nodes(&service, instances.iter());
                    // A service that only has instances of others is not deleted.
                    let may_have_orphans = self
                        .deleted_nodes
                        .iter()
                        .any(|node| node.service == service);
                    if instances.is_empty() || may_have_orphans {
                        self.queue.add(Key::Service(service), 0);
                    }
                }
                self.queue.finish(&key, Outcome::Done, now);
            }
            (Key::Service(name), Ok(AttemptResult::Service(Ok(loaded)))) => {
                self.loaded(&name, loaded);
                self.queue.finish(&Key::Service(name), Outcome::Done, now);
            }
            (Key::Node(node), Ok(AttemptResult::Node(result))) => self.node_done(node, result, now),
            (key, ended) => {
                if let Err(panic) = ended {
                    tracing::error!(error = %ErrorChain(&panic), "a registration failed");
                }
                if let Key::Node(node) = &key {
                    // The calls that it made before the panic are unknown.
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
                self.find_deleted_nodes(name, service.instances.values());
                self.services.insert(name.clone(), service);
                self.absent.remove(name);
                let deleted = self
                    .deleted_nodes
                    .iter()
                    .filter(|node| node.service == *name);
                let users = self.nodes.of_service(name).chain(deleted);
                let users: Vec<NodeKey> = users.cloned().collect();
                for node in users {
                    self.queue.add(Key::Node(node), 0);
                }
            }
            Loaded::Absent => {
                self.services.remove(name);
                for node in self.nodes.deleted_of(name) {
                    if !self.released.contains(&node) {
                        self.queue.add(Key::Node(node), 0);
                    }
                }
                self.absent.insert(name.clone());
                self.deleted_nodes.retain(|node| node.service != *name);
            }
            Loaded::OtherOwner => drop(self.services.remove(name)),
        }
    }

    fn failed(&mut self, key: &Key, error: &ApiError, now: Instant) {
        let outcome = error.outcome();
        if outcome == Outcome::Failed {
            tracing::warn!(?key, error = %ErrorChain(error), "registry not up to date");
        }
        let users: Vec<ObjectRef> = match key {
            Key::Orphans => Vec::new(),
            Key::Service(service) => self
                .nodes
                .of_service(service)
                .filter_map(|node| self.source(node))
                .collect(),
            Key::Node(node) => self.source(node).into_iter().collect(),
        };
        for user in users {
            self.set_problem(user, Some(Problem::from(error)));
        }
        self.queue.finish(key, outcome, now);
    }

    /// The object of a node that is there.
    fn source(&self, node: &NodeKey) -> Option<ObjectRef> {
        Some(self.nodes.get(node)?.source.clone())
    }

    /// Tells what keeps pods of a virtual node from being registered, if it has changed.
    fn set_problem(&self, node: ObjectRef, problem: Option<Problem>) {
        self.problems.send_if_modified(|problems| {
            if problems.get(&node) == problem.as_ref() {
                return false;
            }
            let problems = Arc::make_mut(problems);
            match problem {
                Some(problem) => drop(problems.insert(node, problem)),
                None => drop(problems.remove(&node)),
            }
            true
        });
    }

    fn node_done(&mut self, key: NodeKey, result: NodeResult, now: Instant) {
        if let Some(source) = self.source(&key) {
            self.set_problem(source, result.problem());
        }
        let is_retried = result.readiness_gate_failed
            || result.released == Some(false)
            || result.held_back.is_some()
            || !result.taken.is_empty();
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
                // The service was deleted, or a call whose answer was lost may have succeeded: load it again.
                self.services.remove(&key.service);
            }
            self.failed(&Key::Node(key), &error, now);
            return;
        }
        let outcome = if is_retried {
            Outcome::Failed
        } else {
            Outcome::Done
        };
        if result.released == Some(true) {
            self.released.insert(key.clone());
        }
        if outcome == Outcome::Done && !self.nodes.contains(&key) {
            let was_left = self.deleted_nodes.remove(&key);
            if was_left && self.nodes.user(&key.service).is_none() {
                self.queue.add(Key::Service(key.service.clone()), 0);
            }
        }
        self.queue.finish(&Key::Node(key), outcome, now);
    }

    /// Records the deleted nodes of these clusters that still have instances.
    fn find_deleted_nodes<'a>(
        &mut self,
        service: &ServiceName,
        instances: impl Iterator<Item = &'a Instance>,
    ) {
        for instance in instances {
            let names = self.clusters.iter().map(|cluster| cluster.name());
            if let Some(key) = NodeKey::of_instance(service, instance, names)
                && !self.nodes.contains(&key)
            {
                self.deleted_nodes.insert(key);
            }
        }
    }
}

/// The object of a node is held before any of its pods is registered, and says in which service.
async fn hold<C: Cluster>(cluster: &C, node: &ObjectRef, service: &str) -> Result<(), PatchError> {
    cluster.hold(node).await?;
    cluster.record_service(node, service).await
}

/// Lets the object of a deleted node go; whether it could.
async fn release<C: Cluster>(cluster: &C, node: &ObjectRef) -> bool {
    match cluster.release(node, finalizer::CLOUD_MAP).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%node, error = %ErrorChain(&error), "finalizer not removed");
            false
        }
    }
}

/// Makes the calls of a plan, a few at a time. Deregistrations come first: callers get errors until then.
async fn perform<A: RegistryApi>(api: &A, service: &str, plan: Plan) -> NodeResult {
    let mut result = NodeResult::default();
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
