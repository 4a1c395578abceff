//! Cache of the namespaces and mesh objects of the store as typed [`ClusterObjects`], updated with each change.

use std::sync::Arc;

use serde_json::Value;
use tombolo_kube::ClusterObjects;
use tombolo_kube::crd::{self, Resource};

use super::Kind;
use super::object_store::{Key, Object};

/// Adds a new or changed object to the cache, unless only its status changed.
pub(super) fn put(cache: &mut Arc<ClusterObjects>, old: Option<&Object>, new: &Object) {
    let is_cached = new.key.kind == Kind::Namespace || new.key.kind.mesh();
    if !is_cached || old.is_some_and(|old| differs_in_status_only(&old.body, &new.body)) {
        return;
    }
    if new.key.kind == Kind::Namespace {
        let labels = new.meta.labels.clone().unwrap_or_default();
        Arc::make_mut(cache).put_namespace(&new.key.name, labels);
    } else if let Some(resource) = resource(new) {
        Arc::make_mut(cache).put(resource);
    }
}

/// Removes an object from the cache.
pub(super) fn remove(cache: &mut Arc<ClusterObjects>, key: &Key) {
    if key.kind == Kind::Namespace {
        Arc::make_mut(cache).remove_namespace(&key.name);
    } else if let Some(kind) = mesh_kind(key.kind) {
        Arc::make_mut(cache).remove(kind, &key.namespace, &key.name);
    }
}

fn differs_in_status_only(old: &Value, new: &Value) -> bool {
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
