//! Namespaces and mesh objects of the store as the [`ClusterObjects`] of `tombolo-kube`, updated with each change.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod};
use serde_json::Value;
use tombolo_kube::crd::{self, Resource};
use tombolo_kube::inject::{InjectConfig, Injection, SIDECAR, inject};
use tombolo_kube::{ClusterObjects, ObjectExt, manifest};

use super::object_store::{Key, Object};
use super::{Inject, Kind};

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
    let without_status = |body: &Value| {
        let mut body = body.clone();
        if let Some(fields) = body.as_object_mut() {
            fields.shift_remove("status");
        }
        if let Some(meta) = body.get_mut("metadata").and_then(Value::as_object_mut) {
            meta.shift_remove("resourceVersion");
        }
        body
    };
    without_status(old) == without_status(new)
}

/// A stored mesh object as its type.
pub(super) fn resource(object: &Object) -> Option<Resource> {
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

/// Annotation with the name of the container that the injector made the proxy of its pod. It comes from no manifest.
const PROXY: &str = "tombolo.dev/proxy-container";

/// The sidecar injector of a cluster; pods outside the mesh stay as they are.
pub(crate) fn injector(config: InjectConfig) -> Box<Inject> {
    Box::new(move |objects, mut pod: Pod| {
        if let Some(annotations) = &mut pod.metadata.annotations {
            annotations.remove(PROXY);
        }
        if let Injection::Injected { pod: injected, .. } =
            inject(&pod, pod.namespace(), objects.mesh(), &config)?
        {
            pod = *injected;
            set_proxy(&mut pod, SIDECAR);
        }
        Ok(pod)
    })
}

/// Marks the proxy of a pod.
pub(crate) fn set_proxy(pod: &mut Pod, container: &str) {
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(PROXY.to_owned(), container.to_owned());
}

/// Whether a container is the proxy of its pod.
pub(crate) fn is_proxy(pod: &Pod, container: &Container) -> bool {
    pod.annotation(PROXY) == Some(&container.name)
}

/// The key under which a manifest's object is stored; `None` for kinds that are not run.
pub(crate) fn key(object: &manifest::Object) -> Option<Key> {
    let kind = match object {
        manifest::Object::Istio(_) | manifest::Object::NotRun(_) => return None,
        object => Kind::read(object.api_version(), object.kind())?,
    };
    let namespace = object.namespace().unwrap_or_default();
    Some(Key::new(kind, namespace, object.name()))
}
