//! A cluster in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use tokio::sync::watch;
use tombolo_kube::crd::{Kind as ObjectKind, Resource};
use tombolo_kube::manifest::Object;
use tombolo_kube::{ClusterObjects, Codec, admit};

use crate::{Cluster, ObjectRef, PatchError, Status};

/// A cluster in memory.
pub(crate) struct FakeCluster {
    name: String,
    /// The owner of what is created for it; `None`: it knows no finalizers either.
    owner: Option<String>,
    /// Finalizers of objects.
    held: Mutex<BTreeMap<String, BTreeSet<&'static str>>>,
    /// Services that were recorded in objects.
    recorded: Mutex<BTreeMap<String, String>>,
    objects: Mutex<Arc<ClusterObjects>>,
    pods: Mutex<BTreeMap<String, Arc<Pod>>>,
    statuses: Mutex<BTreeMap<String, Status>>,
    /// Pods whose readiness gate was set.
    gates: Mutex<BTreeSet<String>>,
    changed: watch::Sender<u64>,
}

impl FakeCluster {
    /// A cluster whose objects go at once when they are deleted.
    pub(crate) fn new(name: &str) -> Arc<Self> {
        Arc::new(Self::with_owner(name, None))
    }

    /// A cluster whose objects are held by finalizers.
    pub(crate) fn kubernetes(name: &str) -> Arc<Self> {
        Arc::new(Self::with_owner(name, Some(format!("kubernetes/{name}"))))
    }

    fn with_owner(name: &str, owner: Option<String>) -> Self {
        let mut objects = ClusterObjects::new();
        objects.put_namespace("shop", [("mesh".to_owned(), "m".to_owned())].into());
        Self {
            name: name.to_owned(),
            owner,
            held: Mutex::default(),
            recorded: Mutex::default(),
            objects: Mutex::new(Arc::new(objects)),
            pods: Mutex::default(),
            statuses: Mutex::default(),
            gates: Mutex::default(),
            changed: watch::channel(0).0,
        }
    }

    /// Adds an object as another controller or nobody admitted it.
    pub(crate) fn put_as_is(&self, object: Resource) {
        Arc::make_mut(&mut self.objects.lock()).put(object);
        self.changed.send_modify(|count| *count += 1);
    }

    /// An object, by its kind, namespace and name.
    pub(crate) fn object(&self, kind: ObjectKind, namespace: &str, name: &str) -> Option<Resource> {
        self.objects.lock().get(kind, namespace, name).cloned()
    }

    /// The finalizers of an object.
    pub(crate) fn finalizers(&self, object: &str) -> Vec<&'static str> {
        let held = self.held.lock();
        held.get(object).into_iter().flatten().copied().collect()
    }

    /// The service that was recorded in a virtual node.
    pub(crate) fn recorded(&self, object: &str) -> Option<String> {
        self.recorded.lock().get(object).cloned()
    }

    /// Deletes every mesh object, as the end of its namespaces does.
    pub(crate) fn delete_all(&self) {
        let objects = self.objects.lock().clone();
        for object in ObjectKind::ALL
            .into_iter()
            .flat_map(|kind| objects.all(kind))
        {
            self.delete(object.kind(), object.namespace(), object.name());
        }
    }

    /// Admits namespaces and mesh objects of a manifest, each with a uid and a generation that is one above that of the object that it
    /// replaces.
    pub(crate) fn apply(&self, manifest: &str) {
        let source = [tombolo_kube::manifest::Source::new("test.yaml", manifest)];
        let read = tombolo_kube::manifest::read(&source, &Default::default())
            .unwrap_or_else(|problems| panic!("{problems}"));
        for located in read.into_apply_order() {
            match located.object {
                Object::Mesh(new) => self.put(*new),
                Object::Namespace(namespace) => {
                    let labels = namespace.metadata.labels.unwrap_or_default();
                    let name = namespace.metadata.name.unwrap_or_default();
                    Arc::make_mut(&mut self.objects.lock()).put_namespace(name, labels);
                }
                _ => {}
            }
        }
    }

    fn put(&self, new: Resource) {
        let mut guard = self.objects.lock();
        let objects = Arc::make_mut(&mut guard);
        let old = objects
            .get(new.kind(), new.namespace(), new.name())
            .cloned();
        let admitted = match &old {
            Some(old) => admit::update(old, new, admit::IpFamily::V4),
            None => admit::create(new, objects, admit::IpFamily::V4),
        };
        let mut admitted = admitted.unwrap_or_else(|denials| panic!("{:?}", denials.0));
        let meta = admitted.metadata_mut();
        let generation = old
            .as_ref()
            .and_then(|old| old.metadata().generation)
            .unwrap_or(0);
        meta.generation = Some(generation + 1);
        meta.uid = Some(format!("uid-{}", meta.name.clone().unwrap_or_default()));
        objects.put(admitted);
        drop(guard);
        self.changed.send_modify(|count| *count += 1);
    }

    pub(crate) fn delete(&self, kind: ObjectKind, namespace: &str, name: &str) {
        let mut objects = self.objects.lock();
        let objects = Arc::make_mut(&mut objects);
        let mut object = objects
            .get(kind, namespace, name)
            .expect("it is there")
            .clone();
        let reference = ObjectRef::of(0, &object).to_string();
        if self.finalizers(&reference).is_empty() {
            objects.remove(kind, namespace, name);
        } else {
            let now = k8s_openapi::jiff::Timestamp::UNIX_EPOCH;
            let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now);
            object.metadata_mut().deletion_timestamp = Some(now);
            objects.put(object);
        }
        self.changed.send_modify(|count| *count += 1);
    }

    /// Adds or replaces a pod of the namespace `shop`: ready, with a readiness gate.
    pub(crate) fn pod(&self, name: &str, app: &str, address: &str) {
        let pod = serde_json::json!({
            "metadata": {"name": name, "namespace": "shop", "labels": {"app": app}},
            "spec": {"containers": [], "readinessGates": [{"conditionType": tombolo_kube::inject::CLOUD_MAP_GATE}]},
            "status": {"podIP": address, "phase": "Running", "conditions": [{"type": "ContainersReady", "status": "True"}]},
        });
        let pod = Codec::from_json(&pod).unwrap();
        self.pods.lock().insert(name.to_owned(), Arc::new(pod));
        self.changed.send_modify(|count| *count += 1);
    }

    pub(crate) fn delete_pod(&self, name: &str) {
        self.pods.lock().remove(name).expect("it is there");
        self.changed.send_modify(|count| *count += 1);
    }

    /// The status of an object that was written last.
    pub(crate) fn status(&self, object: &str) -> Option<Status> {
        self.statuses.lock().get(object).cloned()
    }

    pub(crate) fn is_readiness_gate_set(&self, pod: &str) -> bool {
        self.gates.lock().contains(pod)
    }
}

impl Cluster for FakeCluster {
    fn name(&self) -> &str {
        &self.name
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn objects(&self) -> Arc<ClusterObjects> {
        self.objects.lock().clone()
    }

    fn pods(&self) -> Vec<Arc<Pod>> {
        self.pods.lock().values().cloned().collect()
    }

    async fn patch_status(&self, object: &ObjectRef, status: &Status) -> Result<(), PatchError> {
        self.statuses
            .lock()
            .insert(object.to_string(), status.clone());
        Ok(())
    }

    fn owner(&self) -> Option<&str> {
        self.owner.as_deref()
    }

    async fn hold(&self, object: &ObjectRef) -> Result<(), PatchError> {
        let known = self.object(object.kind, &object.namespace, &object.name);
        if let Some(known) = known.filter(|_| self.owner.is_some()) {
            let finalizers = tombolo_kube::finalizer::of(&known).iter().copied();
            let mut held = self.held.lock();
            held.entry(object.to_string())
                .or_default()
                .extend(finalizers);
        }
        Ok(())
    }

    async fn release(&self, object: &ObjectRef, finalizer: &'static str) -> Result<(), PatchError> {
        let mut held = self.held.lock();
        let Some(finalizers) = held.get_mut(&object.to_string()) else {
            return Ok(());
        };
        finalizers.remove(finalizer);
        if finalizers.is_empty() {
            held.remove(&object.to_string());
            let mut objects = self.objects.lock();
            let objects = Arc::make_mut(&mut objects);
            objects.remove(object.kind, &object.namespace, &object.name);
            self.changed.send_modify(|count| *count += 1);
        }
        Ok(())
    }

    async fn admit(&self, _: &ObjectRef, admitted: &Resource) -> Result<(), PatchError> {
        self.put_as_is(admitted.clone());
        Ok(())
    }

    async fn record_service(&self, object: &ObjectRef, arn: &str) -> Result<(), PatchError> {
        let mut recorded = self.recorded.lock();
        recorded.insert(object.to_string(), arn.to_owned());
        Ok(())
    }

    async fn set_readiness_gate(&self, _: &str, pod: &str, _: &str) -> Result<(), PatchError> {
        self.gates.lock().insert(pod.to_owned());
        Ok(())
    }
}
