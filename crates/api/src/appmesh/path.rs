//! Parses methods and paths, and writes paths for the client (facts/appmesh-api.md §1, §2).

use super::{BAD_REQUEST, names};
use crate::{error::ApiError, service::APP_MESH_PREFIX, wire::percent};
use http::{Method, StatusCode};
use tombolo_model::appmesh::{Kind, ResourceKey};

/// The verb of an operation on a resource or a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Create,
    Describe,
    List,
    Update,
    Delete,
}

impl Verb {
    pub(super) const ALL: [Verb; 5] = [
        Verb::Create,
        Verb::Describe,
        Verb::List,
        Verb::Update,
        Verb::Delete,
    ];

    /// The name of the operation on a kind: `CreateVirtualNode`, `ListMeshes`.
    pub(super) fn operation(self, kind: Kind) -> String {
        match self {
            Verb::List => {
                let plural = names::plural(kind);
                format!("List{}{}", plural[..1].to_ascii_uppercase(), &plural[1..])
            }
            verb => format!("{verb:?}{kind}"),
        }
    }
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

    /// The resource that contains the collection; `None` for the meshes.
    pub(super) fn parent_key(&self) -> Option<ResourceKey> {
        let mesh = || self.mesh.as_str();
        match self.kind.parent() {
            _ if self.kind == Kind::Mesh => None,
            None => Some(ResourceKey::mesh(mesh())),
            Some(parent) => Some(ResourceKey::new(mesh(), parent, self.parent.as_str())),
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
            // The segment of the parent is singular, unlike in its own path.
            Some(kind) => format!(
                "{APP_MESH_PREFIX}/meshes/{mesh}/{}/{parent}/{plural}",
                kind.path_segment()
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
pub(super) fn of_item(key: &ResourceKey) -> String {
    format!(
        "{}/{}",
        Collection::of(key).path(),
        percent::encode(&key.name)
    )
}

/// The target of a call, from its method and path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Create or List.
    Collection(Verb, Collection),
    /// Describe, Update or Delete.
    Item(Verb, ResourceKey),
    Tag,
    Untag,
    Tags,
}

/// Parses a method and a path. The path is split before its segments are decoded, because names may contain encoded
/// slashes.
pub(super) fn read(method: &Method, path: &str) -> Result<Target, ApiError> {
    let unknown = || {
        ApiError::new(
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
        let segment = percent::decode(segment).ok_or_else(|| {
            ApiError::bad_request(BAD_REQUEST, format!("{segment:?} is not encoded text"))
        })?;
        segments.push(segment);
    }
    let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
    let collection = |kind, mesh: &str, parent: &str| Collection {
        kind,
        mesh: mesh.to_owned(),
        parent: parent.to_owned(),
    };
    let (collection, name) = match *segments.as_slice() {
        ["tag"] if method == Method::PUT => return Ok(Target::Tag),
        ["untag"] if method == Method::PUT => return Ok(Target::Untag),
        ["tags"] if method == Method::GET => return Ok(Target::Tags),
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
        ([], &Method::PUT) => Ok(Target::Collection(Verb::Create, collection)),
        ([], &Method::GET) => Ok(Target::Collection(Verb::List, collection)),
        ([name], &Method::GET) => Ok(Target::Item(Verb::Describe, collection.member(name))),
        ([name], &Method::PUT) => Ok(Target::Item(Verb::Update, collection.member(name))),
        ([name], &Method::DELETE) => Ok(Target::Item(Verb::Delete, collection.member(name))),
        _ => Err(unknown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_paths_and_methods_are_unknown_operations() {
        let code = |method: &Method, path: &str| read(method, path).map_err(|error| error.code);
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
            assert_eq!(code(&method, path), Err(unknown), "{path}");
        }
        let broken = code(&Method::GET, "/v20190125/meshes/%zz");
        assert_eq!(broken, Err(BAD_REQUEST));
    }
}
