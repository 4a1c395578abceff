//! Resources of App Mesh: seven kinds, each with a key, metadata and a spec.

pub mod spec;

use crate::{Timestamp, string_enum::string_enum};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

pub use spec::Spec;

string_enum! {
    /// The seven kinds of App Mesh, parents before children. The text is the name in messages.
    #[derive(Hash, PartialOrd, Ord)]
    pub enum Kind {
        /// The mesh itself.
        Mesh = "Mesh",
        /// A workload: its listeners, discovery and backends.
        VirtualNode = "VirtualNode",
        /// A set of routes with listeners.
        VirtualRouter = "VirtualRouter",
        /// A route of a router.
        Route = "Route",
        /// A name that applications call.
        VirtualService = "VirtualService",
        /// A standalone proxy that lets traffic in.
        VirtualGateway = "VirtualGateway",
        /// A route of a gateway.
        GatewayRoute = "GatewayRoute",
    }
}

impl Kind {
    /// The name in ARNs and, with a plural `s`, in URLs: `virtualNode`.
    pub fn path_segment(self) -> &'static str {
        match self {
            Kind::Mesh => "mesh",
            Kind::VirtualNode => "virtualNode",
            Kind::VirtualRouter => "virtualRouter",
            Kind::Route => "route",
            Kind::VirtualService => "virtualService",
            Kind::VirtualGateway => "virtualGateway",
            Kind::GatewayRoute => "gatewayRoute",
        }
    }

    /// The kind of a name in ARNs.
    pub fn from_path_segment(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.path_segment() == word)
    }

    /// The kind of the parent of resources of this kind; `None` if the parent is the mesh.
    pub fn parent(self) -> Option<Kind> {
        match self {
            Kind::Route => Some(Kind::VirtualRouter),
            Kind::GatewayRoute => Some(Kind::VirtualGateway),
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The identity of a resource within its scope. Keys sort by mesh, kind, parent, name, so that the
/// resources of one kind in one mesh are adjacent.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ResourceKey {
    /// Name of the mesh.
    pub mesh: Arc<str>,
    /// The kind.
    pub kind: Kind,
    /// The router of a route, the gateway of a gateway route; empty for all other kinds.
    pub parent: Arc<str>,
    /// The name of the resource; equals `mesh` for a mesh.
    pub name: Arc<str>,
}

impl ResourceKey {
    /// The key of a mesh.
    pub fn mesh(name: impl Into<Arc<str>>) -> Self {
        let name = name.into();
        Self {
            mesh: name.clone(),
            kind: Kind::Mesh,
            parent: "".into(),
            name,
        }
    }

    /// The key of a resource directly in a mesh.
    pub fn new(mesh: impl Into<Arc<str>>, kind: Kind, name: impl Into<Arc<str>>) -> Self {
        Self {
            mesh: mesh.into(),
            kind,
            parent: "".into(),
            name: name.into(),
        }
    }

    /// The key of a route (`parent`: its router) or of a gateway route (`parent`: its gateway).
    pub fn child(
        mesh: impl Into<Arc<str>>,
        kind: Kind,
        parent: impl Into<Arc<str>>,
        name: impl Into<Arc<str>>,
    ) -> Self {
        Self {
            mesh: mesh.into(),
            kind,
            parent: parent.into(),
            name: name.into(),
        }
    }
}

impl ResourceKey {
    /// The key of the router of a route, of the gateway of a gateway route.
    pub fn parent_key(&self) -> Option<Self> {
        let kind = self.kind.parent()?;
        Some(Self::new(self.mesh.clone(), kind, self.parent.clone()))
    }
}

impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::arn::resource_path(self))
    }
}

/// The metadata of a resource (facts/appmesh-api.md §3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// Amazon Resource Name, unique among accounts and regions.
    pub arn: String,
    /// A UUID, new with each creation.
    pub uid: String,
    /// 1 at creation, plus one for each update.
    pub version: u64,
    /// The time of the creation.
    pub created_at: Timestamp,
    /// The time of the last update.
    pub last_updated_at: Timestamp,
    /// The account that owns the mesh.
    pub mesh_owner: Arc<str>,
    /// The account that owns the resource.
    pub resource_owner: Arc<str>,
}

/// A tag of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// 1 to 128 characters.
    pub key: String,
    /// 0 to 256 characters.
    pub value: String,
}

/// One resource of a mesh.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    /// Mesh, kind, parent and name.
    pub key: ResourceKey,
    /// ARN, uid, version, times and owners.
    pub metadata: Metadata,
    /// The desired state as it was sent; defaults are not filled in.
    pub spec: Spec,
    /// In the order in which they were added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// The client token of the creation, which identifies a retry of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// The client token of the last update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_by: Option<String>,
}
