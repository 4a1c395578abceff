//! What is known of a cluster: mesh objects, namespaces, pods, labels of machines. Kept by the watches, read without I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::DynamicObject;
use parking_lot::Mutex;
use tokio::sync::watch;
use tombolo_controller::ObjectRef;
use tombolo_kube::ClusterObjects;
use tombolo_kube::crd::{Kind, Resource};
use tombolo_kube::selector::Labels;

/// Why an object is not understood.
#[derive(Debug, thiserror::Error)]
#[error("{kind} {namespace}/{name} is not understood: {message}")]
pub(super) struct Invalid {
    pub(super) kind: Kind,
    pub(super) namespace: String,
    pub(super) name: String,
    message: String,
}

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Watched {
    /// One of the seven kinds.
    Mesh(Kind),
    /// Namespaces.
    Namespaces,
    /// Pods.
    Pods,
    /// Machines.
    Nodes,
}

impl Watched {
    /// Everything that is watched.
    pub fn all() -> impl Iterator<Item = Self> {
        let others = [Self::Namespaces, Self::Pods, Self::Nodes];
        Kind::ALL.into_iter().map(Self::Mesh).chain(others)
    }

    /// The kind, as manifests have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mesh(kind) => kind.name(),
            Self::Namespaces => "Namespace",
            Self::Pods => "Pod",
            Self::Nodes => "Node",
        }
    }
}

/// See the module. Clones share one store.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    /// Guards everything that is known. Held for a lookup or an insertion.
    state: Mutex<State>,
    changed: watch::Sender<u64>,
    /// What was not listed yet.
    missing: watch::Sender<BTreeSet<Watched>>,
}

type ObjectName = (Kind, String, String);

#[derive(Default)]
struct State {
    /// What decisions are made from. Replaced only when something that matters to them has changed.
    objects: Arc<ClusterObjects>,
    /// Mesh objects as the API server has them, with status, finalizers and version.
    current: BTreeMap<ObjectName, Arc<Resource>>,
    pods: BTreeMap<(String, String), Arc<Pod>>,
    hosts: BTreeMap<String, Labels>,
}

impl Default for Store {
    fn default() -> Self {
        Self(Arc::new(Inner {
            state: Mutex::default(),
            changed: watch::channel(0).0,
            missing: watch::channel(Watched::all().collect()).0,
        }))
    }
}

impl Store {
    /// Marked after each change that matters.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// What was not listed yet, as it shrinks.
    pub fn missing(&self) -> watch::Receiver<BTreeSet<Watched>> {
        self.0.missing.subscribe()
    }

    /// See [`tombolo_controller::Cluster::objects`].
    pub fn objects(&self) -> Arc<ClusterObjects> {
        self.0.state.lock().objects.clone()
    }

    /// A mesh object as the API server has it.
    pub fn get(&self, object: &ObjectRef) -> Option<Arc<Resource>> {
        let name = (object.kind, object.namespace.clone(), object.name.clone());
        self.0.state.lock().current.get(&name).cloned()
    }

    /// Every pod, without what nobody here reads.
    pub fn pods(&self) -> Vec<Arc<Pod>> {
        self.0.state.lock().pods.values().cloned().collect()
    }

    /// A pod.
    pub fn pod(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        let key = (namespace.to_owned(), name.to_owned());
        self.0.state.lock().pods.get(&key).cloned()
    }

    /// The labels of a machine.
    pub fn host_labels(&self, name: &str) -> Option<Labels> {
        self.0.state.lock().hosts.get(name).cloned()
    }

    /// How many objects of a kind are known.
    pub fn count(&self, watched: Watched) -> usize {
        let state = self.0.state.lock();
        match watched {
            Watched::Mesh(kind) => state
                .current
                .keys()
                .filter(|(of, _, _)| *of == kind)
                .count(),
            Watched::Namespaces => state.objects.namespaces().count(),
            Watched::Pods => state.pods.len(),
            Watched::Nodes => state.hosts.len(),
        }
    }

    /// Everything of this kind was listed.
    pub(super) fn listed(&self, watched: Watched) {
        self.0
            .missing
            .send_if_modified(|missing| missing.remove(&watched));
    }

    /// Takes what a change of our own was answered with, before the watch brings it. An object that is gone meanwhile stays
    /// gone.
    pub(super) fn put_if_known(&self, kind: Kind, object: DynamicObject) {
        if let Ok(resource) = decode(kind, object) {
            let mut state = self.0.state.lock();
            let name = name_of(&resource);
            let is_newer = state.current.get(&name).is_some_and(|known| {
                known.metadata().uid == resource.metadata().uid
                    && version(&resource) > version(known)
            });
            if is_newer && state.put(resource) {
                drop(state);
                self.mark();
            }
        }
    }

    /// Adds a mesh object, or replaces it.
    pub(super) fn put(&self, resource: Resource) {
        if self.0.state.lock().put(resource) {
            self.mark();
        }
    }

    /// Removes a mesh object.
    pub(super) fn remove(&self, kind: Kind, namespace: &str, name: &str) {
        if self.0.state.lock().remove(kind, namespace, name) {
            self.mark();
        }
    }

    /// Removes mesh objects of a kind that are not among these, namespace and name.
    pub(super) fn retain(&self, kind: Kind, listed: &BTreeSet<(String, String)>) {
        let mut state = self.0.state.lock();
        let known = state.current.keys();
        let gone: Vec<ObjectName> = known
            .filter(|(of, namespace, name)| {
                *of == kind && !listed.contains(&(namespace.clone(), name.clone()))
            })
            .cloned()
            .collect();
        for (kind, namespace, name) in &gone {
            state.remove(*kind, namespace, name);
        }
        drop(state);
        if !gone.is_empty() {
            self.mark();
        }
    }

    /// Adds a namespace, or replaces it.
    pub(super) fn put_namespace(&self, name: &str, labels: Labels) {
        let mut state = self.0.state.lock();
        if state.objects.namespace(name) != Some(&labels) {
            Arc::make_mut(&mut state.objects).put_namespace(name, labels);
            drop(state);
            self.mark();
        }
    }

    /// Removes a namespace.
    pub(super) fn remove_namespace(&self, name: &str) {
        let mut state = self.0.state.lock();
        if state.objects.namespace(name).is_some() {
            Arc::make_mut(&mut state.objects).remove_namespace(name);
            drop(state);
            self.mark();
        }
    }

    /// Names of the namespaces.
    pub(super) fn namespaces(&self) -> Vec<String> {
        let state = self.0.state.lock();
        state.objects.namespaces().map(str::to_owned).collect()
    }

    /// Adds a pod, or replaces it.
    pub(super) fn put_pod(&self, pod: Pod) {
        let pod = slim(pod);
        let key = pod_key(&pod);
        let mut state = self.0.state.lock();
        if state.pods.get(&key).is_none_or(|known| **known != pod) {
            state.pods.insert(key, Arc::new(pod));
            drop(state);
            self.mark();
        }
    }

    /// Removes a pod.
    pub(super) fn remove_pod(&self, pod: &Pod) {
        if self.0.state.lock().pods.remove(&pod_key(pod)).is_some() {
            self.mark();
        }
    }

    /// Removes pods that are not among these, namespace and name.
    pub(super) fn retain_pods(&self, listed: &BTreeSet<(String, String)>) {
        let mut state = self.0.state.lock();
        let before = state.pods.len();
        state.pods.retain(|key, _| listed.contains(key));
        let is_changed = state.pods.len() < before;
        drop(state);
        if is_changed {
            self.mark();
        }
    }

    /// Adds a machine, or replaces it. Its labels matter when a pod is registered the next time.
    pub(super) fn put_host(&self, name: String, labels: Labels) {
        self.0.state.lock().hosts.insert(name, labels);
    }

    /// Removes a machine.
    pub(super) fn remove_host(&self, name: &str) {
        self.0.state.lock().hosts.remove(name);
    }

    /// Removes machines that are not among these.
    pub(super) fn retain_hosts(&self, listed: &BTreeSet<String>) {
        let mut state = self.0.state.lock();
        state.hosts.retain(|name, _| listed.contains(name));
    }

    fn mark(&self) {
        self.0
            .changed
            .send_modify(|count| *count = count.wrapping_add(1));
    }
}

impl State {
    /// Whether something that matters has changed.
    fn put(&mut self, resource: Resource) -> bool {
        let (kind, namespace, name) = name_of(&resource);
        let essence = essence(&resource);
        self.current.insert(
            (kind, namespace.clone(), name.clone()),
            Arc::new(resource.clone()),
        );
        let known = self.objects.get(kind, &namespace, &name);
        if known.is_some_and(|known| self::essence(known) == essence) {
            return false;
        }
        Arc::make_mut(&mut self.objects).put(resource);
        true
    }

    fn remove(&mut self, kind: Kind, namespace: &str, name: &str) -> bool {
        let key = (kind, namespace.to_owned(), name.to_owned());
        let is_known = self.current.remove(&key).is_some();
        if is_known {
            Arc::make_mut(&mut self.objects).remove(kind, namespace, name);
        }
        is_known
    }
}

/// Reads a mesh object of the API server.
pub(super) fn decode(kind: Kind, mut object: DynamicObject) -> Result<Resource, Invalid> {
    // The largest part of many objects, and nobody reads it.
    object.metadata.managed_fields = None;
    let namespace = object.metadata.namespace.clone().unwrap_or_default();
    let name = object.metadata.name.clone().unwrap_or_default();
    let invalid = |message: String| Invalid {
        kind,
        namespace: namespace.clone(),
        name: name.clone(),
        message,
    };
    let value = serde_json::to_value(&object).map_err(|error| invalid(error.to_string()))?;
    let decoded = Resource::decode(kind, &value).map_err(|error| invalid(error.to_string()))?;
    Ok(decoded.value)
}

fn name_of(resource: &Resource) -> ObjectName {
    (
        resource.kind(),
        resource.namespace().to_owned(),
        resource.name().to_owned(),
    )
}

/// The version of an object; those of one object can be compared.
fn version(resource: &Resource) -> u64 {
    let version = resource.metadata().resource_version.as_deref();
    version
        .and_then(|version| version.parse().ok())
        .unwrap_or(0)
}

/// What decisions are made from: everything but the status, and what changes with each write.
fn essence(resource: &Resource) -> Resource {
    let mut essence = resource.clone();
    *essence.status_mut() = None;
    let metadata = essence.metadata_mut();
    *metadata = ObjectMeta {
        name: metadata.name.take(),
        namespace: metadata.namespace.take(),
        uid: metadata.uid.take(),
        generation: metadata.generation,
        labels: metadata.labels.take(),
        deletion_timestamp: metadata.deletion_timestamp.take(),
        ..ObjectMeta::default()
    };
    essence
}

fn pod_key(pod: &Pod) -> (String, String) {
    (
        pod.metadata.namespace.clone().unwrap_or_default(),
        pod.metadata.name.clone().unwrap_or_default(),
    )
}

/// A pod without what nobody here reads: a tenth of it.
fn slim(pod: Pod) -> Pod {
    let spec = pod.spec.map(|spec| PodSpec {
        node_name: spec.node_name,
        readiness_gates: spec.readiness_gates,
        restart_policy: spec.restart_policy,
        ..PodSpec::default()
    });
    let relevant = |condition: &k8s_openapi::api::core::v1::PodCondition| {
        condition.type_ == "ContainersReady" || condition.type_.starts_with("conditions.appmesh")
    };
    let status = pod.status.map(|status| PodStatus {
        phase: status.phase,
        pod_ip: status.pod_ip,
        conditions: status.conditions.map(|conditions| {
            let relevant = conditions.into_iter().filter(relevant);
            // Probe and transition times of others would make equal pods differ.
            relevant
                .map(|condition| k8s_openapi::api::core::v1::PodCondition {
                    type_: condition.type_,
                    status: condition.status,
                    ..Default::default()
                })
                .collect()
        }),
        ..PodStatus::default()
    });
    Pod {
        metadata: ObjectMeta {
            name: pod.metadata.name,
            namespace: pod.metadata.namespace,
            uid: pod.metadata.uid,
            labels: pod.metadata.labels,
            deletion_timestamp: pod.metadata.deletion_timestamp,
            ..ObjectMeta::default()
        },
        spec,
        status,
    }
}

#[cfg(test)]
mod tests;
