//! What resources look like in answers (facts/appmesh-api.md §3).

use super::names;
use serde_json::{Map, Value, json};
use tombolo_model::appmesh::{Kind, Resource};

/// `MeshData`, `VirtualNodeData` and so on: the answer to everything but lists, not wrapped.
pub(super) fn data(resource: &Resource, status: &str) -> Value {
    let metadata = &resource.metadata;
    let mut data = own_names(resource);
    data.insert(
        "metadata".into(),
        json!({
            "arn": metadata.arn,
            "createdAt": metadata.created_at.epoch_seconds(),
            "lastUpdatedAt": metadata.last_updated_at.epoch_seconds(),
            "meshOwner": metadata.mesh_owner,
            "resourceOwner": metadata.resource_owner,
            "uid": metadata.uid,
            "version": metadata.version,
        }),
    );
    data.insert("spec".into(), resource.spec.to_json());
    data.insert("status".into(), json!({ "status": status }));
    Value::Object(data)
}

/// `MeshRef`, `VirtualNodeRef` and so on: an item of a list.
pub(super) fn reference(resource: &Resource) -> Value {
    let metadata = &resource.metadata;
    let mut reference = own_names(resource);
    reference.insert("arn".into(), metadata.arn.as_str().into());
    let created_at = metadata.created_at.epoch_seconds();
    reference.insert("createdAt".into(), created_at.into());
    let last_updated_at = metadata.last_updated_at.epoch_seconds();
    reference.insert("lastUpdatedAt".into(), last_updated_at.into());
    reference.insert("meshOwner".into(), (*metadata.mesh_owner).into());
    reference.insert("resourceOwner".into(), (*metadata.resource_owner).into());
    reference.insert("version".into(), metadata.version.into());
    Value::Object(reference)
}

fn own_names(resource: &Resource) -> Map<String, Value> {
    let key = &resource.key;
    let mut members = Map::new();
    members.insert("meshName".into(), (*key.mesh).into());
    if let Some(parent) = key.kind.parent() {
        members.insert(names::name_member(parent).into(), (*key.parent).into());
    }
    if key.kind != Kind::Mesh {
        members.insert(names::name_member(key.kind).into(), (*key.name).into());
    }
    members
}
