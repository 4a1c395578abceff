//! Resources in the JSON of outputs (facts/appmesh-api.md §3).

use super::names;
use crate::wire::epoch;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;
use tombolo_model::{
    Timestamp,
    appmesh::{Kind, Metadata, Resource},
};

/// `MeshData`, `VirtualNodeData` and so on: the output of all operations but lists.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ResourceData {
    /// `meshName`, `virtualNodeName` and so on.
    #[serde(flatten)]
    names: Map<String, Value>,
    #[serde(with = "ResourceMetadata")]
    pub(crate) metadata: Metadata,
    pub(crate) spec: Value,
    status: Status,
}

/// The serde form of [`Metadata`]: the shape `ResourceMetadata`.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Metadata", rename_all = "camelCase")]
struct ResourceMetadata {
    arn: String,
    #[serde(with = "epoch")]
    created_at: Timestamp,
    #[serde(with = "epoch")]
    last_updated_at: Timestamp,
    mesh_owner: Arc<str>,
    resource_owner: Arc<str>,
    uid: String,
    version: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Status {
    status: String,
}

/// `MeshRef`, `VirtualNodeRef` and so on: an item of a list.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ResourceRef {
    #[serde(flatten)]
    names: Map<String, Value>,
    pub(crate) arn: String,
    #[serde(with = "epoch")]
    created_at: Timestamp,
    #[serde(with = "epoch")]
    pub(crate) last_updated_at: Timestamp,
    mesh_owner: String,
    resource_owner: String,
    pub(crate) version: u64,
}

impl ResourceData {
    /// `status` is `ACTIVE` or `DELETED`.
    pub(super) fn new(resource: &Resource, status: &str) -> Self {
        Self {
            names: own_names(resource),
            metadata: resource.metadata.clone(),
            spec: resource.spec.to_json(),
            status: Status {
                status: status.to_owned(),
            },
        }
    }
}

impl ResourceRef {
    pub(super) fn new(resource: &Resource) -> Self {
        let metadata = &resource.metadata;
        Self {
            names: own_names(resource),
            arn: metadata.arn.clone(),
            created_at: metadata.created_at,
            last_updated_at: metadata.last_updated_at,
            mesh_owner: metadata.mesh_owner.to_string(),
            resource_owner: metadata.resource_owner.to_string(),
            version: metadata.version,
        }
    }

    /// The resource's own name.
    pub(crate) fn name(&self, kind: Kind) -> Option<&str> {
        self.names.get(names::name_member(kind))?.as_str()
    }
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
