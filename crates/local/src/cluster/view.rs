//! The store as `tombolo-kube` looks at it: namespaces and mesh objects, kept up to date with each change.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use tombolo_kube::crd::{self, Resource};
use tombolo_kube::inject::{InjectConfig, Injection, inject};
use tombolo_kube::{ClusterObjects, manifest};

use super::Kind;
use super::object::{Key, Object};
use super::workload::Inject;

/// Takes a new or changed object into the view, unless nothing but its status changed.
pub(super) fn put(view: &mut Arc<ClusterObjects>, old: Option<&Object>, new: &Object) {
    let is_seen = new.key.kind == Kind::Namespace || new.key.kind.mesh();
    if !is_seen || old.is_some_and(|old| is_same_but_for_status(&old.body, &new.body)) {
        return;
    }
    if new.key.kind == Kind::Namespace {
        let labels = new.meta.labels.clone().unwrap_or_default();
        Arc::make_mut(view).put_namespace(&new.key.name, labels);
    } else if let Some(resource) = resource(new) {
        Arc::make_mut(view).put(resource);
    }
}

/// Takes a removed object out of the view.
pub(super) fn remove(view: &mut Arc<ClusterObjects>, key: &Key) {
    if key.kind == Kind::Namespace {
        Arc::make_mut(view).remove_namespace(&key.name);
    } else if let Some(kind) = mesh_kind(key.kind) {
        Arc::make_mut(view).remove(kind, &key.namespace, &key.name);
    }
}

fn is_same_but_for_status(old: &Value, new: &Value) -> bool {
    let meaning = |body: &Value| -> Vec<(String, Value)> {
        let fields = body.as_object().into_iter().flatten();
        let fields = fields.filter(|(name, _)| *name != "status");
        let mut fields: Vec<_> = fields
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        for (name, value) in &mut fields {
            if let Some(meta) = value.as_object_mut().filter(|_| name == "metadata") {
                meta.shift_remove("resourceVersion");
            }
        }
        fields
    };
    meaning(old) == meaning(new)
}

/// A stored mesh object as what it is.
pub fn resource(object: &Object) -> Option<Resource> {
    let kind = mesh_kind(object.key.kind)?;
    match Resource::decode(kind, &object.body) {
        Ok(decoded) => Some(decoded.value),
        Err(error) => {
            tracing::error!(object = %object.key, %error, "stored object has an unexpected shape");
            None
        }
    }
}

fn mesh_kind(kind: Kind) -> Option<crd::Kind> {
    crd::Kind::from_name(kind.name()).filter(|_| kind.mesh())
}

/// The injector of a cluster: pods that belong to the mesh get their sidecar, others stay as they are.
pub fn injector(config: InjectConfig) -> Box<Inject> {
    Box::new(move |objects, mut pod: Pod| {
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        match inject(&pod, &namespace, objects.mesh(), &config) {
            Ok(Injection::Injected { pod: injected, .. }) => pod = *injected,
            Ok(Injection::Untouched(_)) => {}
            Err(denial) => return Err(denial.to_string()),
        }
        Ok(pod)
    })
}

/// The kind under which a manifest's object is stored; `None` for kinds that are not run.
pub fn kind(object: &manifest::Object) -> Option<Kind> {
    match object {
        manifest::Object::Istio(_) | manifest::Object::NotRun(_) => None,
        object => Kind::read(object.api_version(), object.kind()),
    }
}
