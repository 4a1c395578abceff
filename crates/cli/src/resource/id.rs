//! Identities of resources in commands: names rather than generated ids.

use crate::resource::kind::Kind;
use serde_json::{Map, Value};
use std::fmt;
use tombolo_model::appmesh::{self, ResourceKey};

/// The identity of a resource within an account and a region.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Id {
    Namespace {
        name: String,
    },
    Service {
        namespace: String,
        name: String,
    },
    Instance {
        namespace: String,
        service: String,
        name: String,
    },
    Mesh(ResourceKey),
}

impl Id {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Namespace { .. } => Kind::Namespace,
            Self::Service { .. } => Kind::Service,
            Self::Instance { .. } => Kind::Instance,
            Self::Mesh(key) => Kind::Mesh(key.kind),
        }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Namespace { name } | Self::Service { name, .. } | Self::Instance { name, .. } => {
                name
            }
            Self::Mesh(key) => &key.name,
        }
    }

    /// The members of a document's `metadata` with the names of the containers of this kind, outermost first.
    pub(crate) fn containers(kind: Kind) -> &'static [&'static str] {
        match kind {
            Kind::Namespace | Kind::Mesh(appmesh::Kind::Mesh) => &[],
            Kind::Service => &["namespace"],
            Kind::Instance => &["namespace", "service"],
            Kind::Mesh(appmesh::Kind::Route) => &["mesh", "virtualRouter"],
            Kind::Mesh(appmesh::Kind::GatewayRoute) => &["mesh", "virtualGateway"],
            Kind::Mesh(_) => &["mesh"],
        }
    }

    /// The identity of a resource in these containers.
    pub(crate) fn new(kind: Kind, containers: &[String], name: String) -> Option<Self> {
        Some(match (kind, containers) {
            (Kind::Namespace, []) => Self::Namespace { name },
            (Kind::Service, [namespace]) => Self::Service {
                namespace: namespace.clone(),
                name,
            },
            (Kind::Instance, [namespace, service]) => Self::Instance {
                namespace: namespace.clone(),
                service: service.clone(),
                name,
            },
            (Kind::Mesh(appmesh::Kind::Mesh), []) => Self::Mesh(ResourceKey::mesh(name)),
            (Kind::Mesh(kind), [mesh]) if kind.parent().is_none() => {
                Self::Mesh(ResourceKey::new(mesh.as_str(), kind, name))
            }
            (Kind::Mesh(kind), [mesh, parent]) => Self::Mesh(ResourceKey::child(
                mesh.as_str(),
                kind,
                parent.as_str(),
                name,
            )),
            _ => return None,
        })
    }

    /// All its containers, outermost first.
    fn container_names(&self) -> Vec<&str> {
        match self {
            Self::Namespace { .. } => Vec::new(),
            Self::Service { namespace, .. } => vec![namespace],
            Self::Instance {
                namespace, service, ..
            } => vec![namespace, service],
            Self::Mesh(key) if key.kind == appmesh::Kind::Mesh => Vec::new(),
            Self::Mesh(key) if key.parent.is_empty() => vec![&key.mesh],
            Self::Mesh(key) => vec![&key.mesh, &key.parent],
        }
    }

    /// `shop/front/all`: the containers, and the name.
    pub(crate) fn path(&self) -> String {
        let mut words = self.container_names();
        words.push(self.name());
        words.join("/")
    }

    /// Whether a command-line argument matches it: its name, or a path that ends with it.
    pub(crate) fn matches_name(&self, word: &str) -> bool {
        let path = self.path();
        self.name() == word
            || path == word
            || path
                .strip_suffix(word)
                .is_some_and(|rest| rest.ends_with('/') && word.ends_with(self.name()))
    }

    /// The `metadata` of its document, without tags.
    pub(crate) fn metadata(&self) -> Map<String, Value> {
        let mut metadata = Map::new();
        metadata.insert("name".into(), self.name().into());
        let members = Self::containers(self.kind()).iter();
        for (member, place) in members.zip(self.container_names()) {
            metadata.insert((*member).into(), place.into());
        }
        metadata
    }

    /// The parent, if that is a resource of the same API.
    pub(crate) fn container(&self) -> Option<Id> {
        Some(match self {
            Self::Namespace { .. } => return None,
            Self::Service { namespace, .. } => Self::Namespace {
                name: namespace.clone(),
            },
            Self::Instance {
                namespace, service, ..
            } => Self::Service {
                namespace: namespace.clone(),
                name: service.clone(),
            },
            Self::Mesh(key) => Self::Mesh(match key.kind.parent() {
                Some(kind) => ResourceKey::new(key.mesh.clone(), kind, key.parent.clone()),
                None if key.kind == appmesh::Kind::Mesh => return None,
                None => ResourceKey::mesh(key.mesh.clone()),
            }),
        })
    }
}

/// The form that every command accepts: `route/shop/front/all`.
impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind().as_str(), self.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_identity_survives_its_document_and_is_called_by_its_path() {
        for kind in Kind::ALL {
            let containers: Vec<String> = Id::containers(kind)
                .iter()
                .map(|member| format!("in-{member}"))
                .collect();
            let id = Id::new(kind, &containers, "a/b".into()).expect("all containers are given");
            let metadata = id.metadata();
            assert_eq!(metadata["name"], "a/b");
            for member in Id::containers(kind) {
                assert_eq!(metadata[*member], format!("in-{member}"));
            }
            let path = id.path();
            assert!(id.matches_name("a/b") && id.matches_name(&path), "{path}");
            assert!(!id.matches_name("b") && !id.matches_name("/a/b"), "{path}");
            assert_eq!(id.to_string(), format!("{}/{path}", kind.as_str()));
            assert_eq!(id.container().is_some(), !containers.is_empty());
        }
    }

    #[test]
    fn a_name_may_be_told_with_its_inner_container_alone() {
        let key = ResourceKey::child("shop", appmesh::Kind::Route, "front", "all");
        let id = Id::Mesh(key);
        for word in ["all", "front/all", "shop/front/all"] {
            assert!(id.matches_name(word), "{word}");
        }
        for word in ["nt/all", "shop/all", "front/", "op/front/all"] {
            assert!(!id.matches_name(word), "{word}");
        }
    }
}
