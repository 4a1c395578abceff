//! The objects of one cluster, as admission, conversion and injection read them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::crd::{Kind, Mesh, Resource, VirtualGateway, VirtualNode, VirtualService};
use crate::selector::Labels;

/// Namespace and name of a namespaced object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// The namespace; empty for objects that have none.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl ObjectKey {
    /// The key of `namespace/name`.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The key of a mesh object.
    pub fn of(resource: &Resource) -> Self {
        Self::new(resource.namespace(), resource.name())
    }
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// Namespaces with their labels and all mesh objects of one cluster.
///
/// The maps are ordered, so lists are the same each time. Objects are shared: cloning the view is cheap enough for
/// snapshots.
#[derive(Clone, Debug, Default)]
pub struct ClusterObjects {
    namespaces: BTreeMap<String, Labels>,
    resources: BTreeMap<Kind, BTreeMap<ObjectKey, Arc<Resource>>>,
}

/// Declares methods that return the objects of one kind.
macro_rules! of_kind {
    ($($(#[$doc:meta])* $all:ident: $kind:ident;)+) => {$(
        $(#[$doc])*
        pub fn $all(&self) -> impl Iterator<Item = &$kind> {
            self.all(Kind::$kind).filter_map(|resource| match resource {
                Resource::$kind(object) => Some(object),
                _ => None,
            })
        }
    )+};
}

/// Declares methods that return one object of one kind, by namespace and name.
macro_rules! named {
    ($($(#[$doc:meta])* $get:ident: $kind:ident;)+) => {$(
        $(#[$doc])*
        pub fn $get(&self, namespace: &str, name: &str) -> Option<&$kind> {
            match self.get(Kind::$kind, namespace, name)? {
                Resource::$kind(object) => Some(object),
                _ => None,
            }
        }
    )+};
}

impl ClusterObjects {
    /// An empty cluster.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces a namespace.
    pub fn put_namespace(&mut self, name: impl Into<String>, labels: Labels) {
        self.namespaces.insert(name.into(), labels);
    }

    /// Removes a namespace. Its objects stay until they are removed, as in Kubernetes.
    pub fn remove_namespace(&mut self, name: &str) {
        self.namespaces.remove(name);
    }

    /// The labels of a namespace, or `None` if there is no such namespace.
    pub fn namespace(&self, name: &str) -> Option<&Labels> {
        self.namespaces.get(name)
    }

    /// The names of all namespaces.
    pub fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.namespaces.keys().map(String::as_str)
    }

    /// Adds an object, or replaces the one of the same kind, namespace and name, which is returned.
    pub fn put(&mut self, resource: Resource) -> Option<Arc<Resource>> {
        let key = ObjectKey::of(&resource);
        self.resources
            .entry(resource.kind())
            .or_default()
            .insert(key, Arc::new(resource))
    }

    /// Removes an object and returns it.
    pub fn remove(&mut self, kind: Kind, namespace: &str, name: &str) -> Option<Arc<Resource>> {
        self.resources
            .get_mut(&kind)?
            .remove(&ObjectKey::new(namespace, name))
    }

    /// An object. A mesh has the namespace `""`.
    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Resource> {
        let resource = self
            .resources
            .get(&kind)?
            .get(&ObjectKey::new(namespace, name))?;
        Some(resource)
    }

    /// Every object of one kind, by namespace and name.
    pub fn all(&self, kind: Kind) -> impl Iterator<Item = &Resource> {
        self.resources
            .get(&kind)
            .into_iter()
            .flatten()
            .map(|(_, resource)| resource.as_ref())
    }

    /// A mesh, by the name of its object.
    pub fn mesh(&self, name: &str) -> Option<&Mesh> {
        match self.get(Kind::Mesh, "", name)? {
            Resource::Mesh(mesh) => Some(mesh),
            _ => None,
        }
    }

    named! {
        /// A virtual node.
        virtual_node: VirtualNode;
        /// A virtual gateway.
        virtual_gateway: VirtualGateway;
    }

    of_kind! {
        /// Every mesh.
        meshes: Mesh;
        /// Every virtual node.
        virtual_nodes: VirtualNode;
        /// Every virtual service.
        virtual_services: VirtualService;
        /// Every virtual gateway.
        virtual_gateways: VirtualGateway;
    }
}
