//! A cluster as the reconcile core sees it: its objects in memory, kept by watches; its status written back.

mod patch;
mod store;
mod watch;

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;
use tombolo_controller::{Cluster, ObjectRef, PatchError, Reason, Status};
use tombolo_kube::crd::{self, Kind, Resource};
use tombolo_kube::selector::Labels;
use tombolo_kube::{ClusterObjects, PodExt, finalizer};

use crate::client::{CallError, call_existing};
use crate::events::{Events, Notice};
use crate::metrics::Metrics;

pub use store::Store;
pub use watch::watch_all;

/// The name under which fields are written, as `kubectl` shows them in `managedFields`.
const FIELD_MANAGER: &str = "tombolo-controller";
/// The annotation that AWS's controller writes, too.
const SERVICE_ARN: &str = "cloudMapServiceARN";
/// Attempts of a change that others overtake.
const ATTEMPTS: usize = 5;

/// One Kubernetes cluster.
pub struct KubernetesCluster {
    /// See [`Cluster::name`].
    name: String,
    /// See [`Cluster::owner`].
    owner: String,
    client: Client,
    store: Store,
    events: Events,
    metrics: Metrics,
}

impl KubernetesCluster {
    /// A cluster that nothing is known of yet: [`watch_all`] fills it. `uid` tells it from every other cluster, `name` is
    /// what people call it.
    pub fn new(
        client: Client,
        name: Option<&str>,
        uid: &str,
        events: Events,
        metrics: Metrics,
    ) -> Self {
        // Two clusters of one name must not take each other's instances for their own.
        let short = uid.split('-').next().unwrap_or_default();
        let name = match name {
            Some(name) => format!("{name}.{short}"),
            None => uid.to_owned(),
        };
        Self {
            owner: format!("kubernetes/{uid}"),
            name,
            client,
            store: Store::default(),
            events,
            metrics,
        }
    }

    /// The client of the API server.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// What is known of it.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The API of the kind of an object, in its namespace.
    fn api(&self, object: &ObjectRef) -> Api<DynamicObject> {
        let resource = api_resource(object.kind);
        match object.namespace.as_str() {
            "" => Api::all_with(self.client.clone(), &resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &resource),
        }
    }

    /// Changes an object as `change` says from what is known of it. Where somebody else was faster it is read again, a few
    /// times. `None` from `change`: nothing is to be changed.
    async fn change(
        &self,
        object: &ObjectRef,
        change: impl Fn(&Resource) -> Option<Value> + Send,
    ) -> Result<(), CallError> {
        let api = self.api(object);
        let mut known = self.store.get(object);
        for attempt in 1.. {
            let Some(resource) = &known else {
                return Ok(());
            };
            let Some(mut patch) = change(resource) else {
                return Ok(());
            };
            patch["metadata"]["resourceVersion"] = json!(resource.metadata().resource_version);
            let params = PatchParams {
                field_manager: Some(FIELD_MANAGER.to_owned()),
                ..PatchParams::default()
            };
            let patch = Patch::Merge(patch);
            match call_existing(api.patch(&object.name, &params, &patch)).await {
                Ok(changed) => {
                    self.metrics.patched(object.kind);
                    if let Some(changed) = changed {
                        self.store.put_if_known(object.kind, changed);
                    }
                    return Ok(());
                }
                Err(error) if error.is_conflict() && attempt < ATTEMPTS => {
                    let read = call_existing(api.get(&object.name)).await?;
                    known =
                        read.and_then(|read| store::decode(object.kind, read).ok().map(Arc::new));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Tells people of a problem that the status of the object does not name yet.
    fn notify(&self, resource: &Resource, status: &Status, old: Option<&Value>) {
        let problems = status.problem.iter().chain(&status.registry);
        // What the controller has not come to yet is nothing to act on.
        let mut problems = problems
            .filter(|problem| problem.reason != Reason::Pending)
            .peekable();
        if problems.peek().is_none() {
            self.events.settled(resource);
        }
        for problem in problems {
            let is_known = |condition: &Value| {
                condition.get("message").and_then(Value::as_str) == Some(&problem.message)
            };
            let conditions = old.and_then(|old| old.get("conditions")?.as_array());
            if conditions.is_some_and(|conditions| conditions.iter().any(is_known)) {
                continue;
            }
            self.events.send(Notice::warning(
                resource,
                problem.reason.as_str(),
                &problem.message,
            ));
        }
    }
}

/// How the API server names a kind.
pub(crate) fn api_resource(kind: Kind) -> ApiResource {
    let kind_name = kind.name();
    let gvk = GroupVersionKind::gvk(crd::GROUP, crd::VERSION, kind_name);
    let singular = kind_name.to_ascii_lowercase();
    let plural = match kind {
        Kind::Mesh => "meshes".to_owned(),
        _ => format!("{singular}s"),
    };
    ApiResource::from_gvk_with_plural(&gvk, &plural)
}

fn boxed(error: CallError) -> PatchError {
    PatchError(Box::new(error))
}

impl Cluster for KubernetesCluster {
    fn name(&self) -> &str {
        &self.name
    }

    fn changes(&self) -> Receiver<u64> {
        self.store.changes()
    }

    fn objects(&self) -> Arc<ClusterObjects> {
        self.store.objects()
    }

    fn pods(&self) -> Vec<Arc<Pod>> {
        self.store.pods()
    }

    fn owner(&self) -> Option<&str> {
        Some(&self.owner)
    }

    fn host_labels(&self, host: &str) -> Option<Labels> {
        self.store.host_labels(host)
    }

    async fn patch_status(&self, object: &ObjectRef, status: &Status) -> Result<(), PatchError> {
        let Some(resource) = self.store.get(object) else {
            return Ok(());
        };
        let old = resource.status();
        let new = status.to_json(object.kind, old, Timestamp::now());
        let Some(difference) = patch::merge(old.unwrap_or(&Value::Null), &new) else {
            return Ok(());
        };
        self.notify(&resource, status, old);
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(json!({ "status": difference }));
        let api = self.api(object);
        let written = call_existing(api.patch_status(&object.name, &params, &patch)).await;
        self.metrics.patched(object.kind);
        if let Some(written) = written.map_err(boxed)? {
            self.store.put_if_known(object.kind, written);
        }
        Ok(())
    }

    async fn set_readiness_gate(
        &self,
        namespace: &str,
        pod: &str,
        condition: &str,
    ) -> Result<(), PatchError> {
        let Some(known) = self.store.pod(namespace, pod) else {
            return Ok(());
        };
        if known.has_condition(condition) || !known.readiness_gates().any(|gate| gate == condition)
        {
            return Ok(());
        }
        let condition = json!({
            "type": condition,
            "status": "True",
            "lastProbeTime": null,
            "lastTransitionTime": k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::now()),
        });
        let patch = json!({
            "metadata": {"uid": known.metadata.uid},
            "status": {"conditions": [condition]},
        });
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let params = PatchParams::default();
        let patch = Patch::Strategic(patch);
        match call_existing(api.patch_status(pod, &params, &patch)).await {
            Ok(_) => Ok(()),
            // Another pod of that name has come: it has its own turn.
            Err(error) if error.is_conflict() => Ok(()),
            Err(error) => Err(boxed(error)),
        }
    }

    async fn hold(&self, object: &ObjectRef) -> Result<(), PatchError> {
        let change = |resource: &Resource| {
            let metadata = resource.metadata();
            if metadata.deletion_timestamp.is_some() {
                return None;
            }
            let mut finalizers = metadata.finalizers.clone().unwrap_or_default();
            let before = finalizers.len();
            for required in finalizer::of(resource) {
                if !finalizers.iter().any(|finalizer| finalizer == required) {
                    finalizers.push((*required).to_owned());
                }
            }
            (finalizers.len() > before).then(|| json!({"metadata": {"finalizers": finalizers}}))
        };
        self.change(object, change).await.map_err(boxed)
    }

    async fn release(&self, object: &ObjectRef, finalizer: &'static str) -> Result<(), PatchError> {
        let change = |resource: &Resource| {
            let all = resource
                .metadata()
                .finalizers
                .as_deref()
                .unwrap_or_default();
            let left: Vec<&String> = all.iter().filter(|each| *each != finalizer).collect();
            (left.len() < all.len()).then(|| json!({"metadata": {"finalizers": left}}))
        };
        self.change(object, change).await.map_err(boxed)
    }

    async fn admit(&self, object: &ObjectRef, admitted: &Resource) -> Result<(), PatchError> {
        let spec = &admitted.to_json()["spec"];
        let change = |resource: &Resource| {
            let known = &resource.to_json()["spec"];
            let mut patch = json!({});
            for member in ["awsName", "meshRef", "virtualGatewayRef"] {
                if let Some(value) = spec.get(member).filter(|_| known.get(member).is_none()) {
                    patch["spec"][member] = value.clone();
                }
            }
            patch.get("spec").is_some().then_some(patch)
        };
        self.change(object, change).await.map_err(boxed)
    }

    async fn record_service(&self, object: &ObjectRef, arn: &str) -> Result<(), PatchError> {
        let change = |resource: &Resource| {
            let annotations = resource.metadata().annotations.as_ref();
            let known = annotations.and_then(|annotations| annotations.get(SERVICE_ARN));
            (known.map(String::as_str) != Some(arn))
                .then(|| json!({"metadata": {"annotations": {SERVICE_ARN: arn}}}))
        };
        self.change(object, change).await.map_err(boxed)
    }
}
