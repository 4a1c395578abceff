//! From method and raw path to an operation, and back for the client (facts/appmesh-api.md §1, §2).

use super::{BAD_REQUEST, names};
use crate::wire::{Failure, door::APP_MESH_PREFIX, percent};
use http::{Method, StatusCode};
use std::fmt;
use tombolo_model::appmesh::{Kind, ResourceKey};

/// What is done to a resource or a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Create,
    Describe,
    List,
    Update,
    Delete,
}

/// All resources of a kind below one parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Collection {
    pub(crate) kind: Kind,
    /// Empty for the collection of meshes.
    pub(crate) mesh: String,
    /// The router or gateway; empty for kinds that are directly in a mesh.
    pub(crate) parent: String,
}

impl Collection {
    /// The key of the member of this name.
    pub(crate) fn member(&self, name: &str) -> ResourceKey {
        match self.kind {
            Kind::Mesh => ResourceKey::mesh(name),
            kind => ResourceKey::child(self.mesh.as_str(), kind, self.parent.as_str(), name),
        }
    }

    /// The path of the collection.
    pub(crate) fn path(&self) -> String {
        let mesh = percent::encode(&self.mesh);
        let parent = percent::encode(&self.parent);
        let plural = names::plural(self.kind);
        match self.kind.parent() {
            _ if self.kind == Kind::Mesh => format!("{APP_MESH_PREFIX}/{plural}"),
            None => format!("{APP_MESH_PREFIX}/meshes/{mesh}/{plural}"),
            // Singular, unlike the collection of the parents themselves.
            Some(kind) => format!(
                "{APP_MESH_PREFIX}/meshes/{mesh}/{}/{parent}/{plural}",
                kind.path_word()
            ),
        }
    }

    /// The collection that a resource is in.
    pub(crate) fn of(key: &ResourceKey) -> Self {
        let mesh = match key.kind {
            Kind::Mesh => "",
            _ => &key.mesh,
        };
        Self {
            kind: key.kind,
            mesh: mesh.to_owned(),
            parent: key.parent.to_string(),
        }
    }
}

/// The path of a resource.
pub(crate) fn item_path(key: &ResourceKey) -> String {
    format!(
        "{}/{}",
        Collection::of(key).path(),
        percent::encode(&key.name)
    )
}

/// One of the 38 operations, with the names in its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Create or List.
    Collection(Verb, Collection),
    /// Describe, Update or Delete.
    Item(Verb, ResourceKey),
    TagResource,
    UntagResource,
    ListTagsForResource,
}

impl Operation {
    /// The mesh that it is about.
    pub(crate) fn mesh(&self) -> Option<&str> {
        match self {
            Operation::Collection(_, collection) => Some(&collection.mesh),
            Operation::Item(_, key) => Some(&key.mesh),
            _ => None,
        }
    }

    /// Whether the names in the path can be names: 1 to 255 characters. Those of virtual services have no
    /// bounds in the API.
    pub(crate) fn check_names(&self) -> Result<(), Failure> {
        let (collection, name) = match self {
            Operation::Collection(_, collection) => (collection.clone(), None),
            Operation::Item(_, key) => (Collection::of(key), Some(&*key.name)),
            _ => return Ok(()),
        };
        let own = name.filter(|_| collection.kind != Kind::VirtualService);
        let mesh = (collection.kind != Kind::Mesh).then_some(&*collection.mesh);
        let parent = collection.kind.parent();
        let named = [
            mesh.map(|name| (Kind::Mesh, name)),
            parent.map(|kind| (kind, &*collection.parent)),
            own.map(|name| (collection.kind, name)),
        ];
        for (kind, name) in named.into_iter().flatten() {
            let length = name.chars().count();
            if !(1..=255).contains(&length) {
                let member = names::name_member(kind);
                let message = format!("{member}: has {length} characters, allowed are 1 to 255");
                return Err(Failure::bad(BAD_REQUEST, message));
            }
        }
        Ok(())
    }
}

/// The operation's name, as in policies: `CreateVirtualNode`.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operation::Collection(Verb::List, collection) => {
                let plural = names::plural(collection.kind);
                write!(
                    f,
                    "List{}{}",
                    plural[..1].to_ascii_uppercase(),
                    &plural[1..]
                )
            }
            Operation::Collection(verb, collection) => write!(f, "{verb:?}{}", collection.kind),
            Operation::Item(verb, key) => write!(f, "{verb:?}{}", key.kind),
            Operation::TagResource => f.write_str("TagResource"),
            Operation::UntagResource => f.write_str("UntagResource"),
            Operation::ListTagsForResource => f.write_str("ListTagsForResource"),
        }
    }
}

/// The operation of a method and a path. The path is split before its segments are decoded: names may
/// hold encoded slashes.
pub(crate) fn operation(method: &Method, path: &str) -> Result<Operation, Failure> {
    let unknown = || {
        Failure::new(
            StatusCode::NOT_FOUND,
            "UnknownOperationException",
            format!("App Mesh has no operation {method} {path}"),
        )
    };
    let rest = path
        .strip_prefix(APP_MESH_PREFIX)
        .and_then(|rest| rest.strip_prefix('/'))
        .ok_or_else(unknown)?;
    let mut segments = Vec::with_capacity(6);
    for segment in rest.split('/') {
        let segment = percent::decode(segment)
            .ok_or_else(|| Failure::bad(BAD_REQUEST, format!("{segment:?} is not encoded text")))?;
        segments.push(segment);
    }
    let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
    let collection = |kind, mesh: &str, parent: &str| Collection {
        kind,
        mesh: mesh.to_owned(),
        parent: parent.to_owned(),
    };
    let (collection, name) = match *segments.as_slice() {
        ["tag"] if method == Method::PUT => return Ok(Operation::TagResource),
        ["untag"] if method == Method::PUT => return Ok(Operation::UntagResource),
        ["tags"] if method == Method::GET => return Ok(Operation::ListTagsForResource),
        ["meshes", ref name @ ..] if name.len() < 2 => (collection(Kind::Mesh, "", ""), name),
        [
            "meshes",
            mesh,
            "virtualRouter",
            router,
            "routes",
            ref name @ ..,
        ] => (collection(Kind::Route, mesh, router), name),
        [
            "meshes",
            mesh,
            "virtualGateway",
            gateway,
            "gatewayRoutes",
            ref name @ ..,
        ] => (collection(Kind::GatewayRoute, mesh, gateway), name),
        ["meshes", mesh, plural, ref name @ ..] => {
            let kind = names::member_kind(plural).ok_or_else(unknown)?;
            (collection(kind, mesh, ""), name)
        }
        _ => return Err(unknown()),
    };
    match (name, method) {
        ([], &Method::PUT) => Ok(Operation::Collection(Verb::Create, collection)),
        ([], &Method::GET) => Ok(Operation::Collection(Verb::List, collection)),
        ([name], &Method::GET) => Ok(Operation::Item(Verb::Describe, collection.member(name))),
        ([name], &Method::PUT) => Ok(Operation::Item(Verb::Update, collection.member(name))),
        ([name], &Method::DELETE) => Ok(Operation::Item(Verb::Delete, collection.member(name))),
        _ => Err(unknown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(method: Method, path: &str) -> String {
        operation(&method, path).map_or_else(|failure| failure.code.into(), |o| o.to_string())
    }

    #[test]
    fn every_kind_has_its_five_operations_and_paths_round_trip() {
        let mut names = Vec::new();
        for kind in Kind::ALL {
            let key = match kind {
                Kind::Mesh => ResourceKey::mesh("m/%"),
                Kind::Route | Kind::GatewayRoute => ResourceKey::child("m/%", kind, "p é", "n.n"),
                kind => ResourceKey::new("m/%", kind, "n.n"),
            };
            let (all, one) = (Collection::of(&key).path(), item_path(&key));
            assert_eq!(
                operation(&Method::DELETE, &one),
                Ok(Operation::Item(Verb::Delete, key))
            );
            names.extend([
                name(Method::PUT, &all),
                name(Method::GET, &all),
                name(Method::GET, &one),
                name(Method::PUT, &one),
                name(Method::DELETE, &one),
            ]);
        }
        assert_eq!(names.len(), 35);
        assert_eq!(
            names[..5],
            [
                "CreateMesh",
                "ListMeshes",
                "DescribeMesh",
                "UpdateMesh",
                "DeleteMesh"
            ]
        );
        assert!(names.contains(&"ListGatewayRoutes".into()));
        assert!(names.contains(&"UpdateVirtualRouter".into()));
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 35, "all different");
    }

    #[test]
    fn paths_and_methods_of_nobody_are_unknown() {
        let unknown = "UnknownOperationException";
        for (method, path) in [
            (Method::POST, "/v20190125/meshes"),
            (Method::DELETE, "/v20190125/meshes"),
            (Method::GET, "/v20190125"),
            (Method::GET, "/v20190125/"),
            (Method::GET, "/v20190125/tag"),
            (Method::GET, "/v20190125/meshes/m/virtualRouter"),
            (Method::GET, "/v20190125/meshes/m/routes"),
            (Method::GET, "/v20190125/meshes/m/virtualNode/n/routes"),
            (Method::GET, "/v20190125/meshes/m/virtualNodes/n/x"),
        ] {
            assert_eq!(name(method, path), unknown, "{path}");
        }
        assert_eq!(name(Method::GET, "/v20190125/meshes/%zz"), BAD_REQUEST);
    }
}
