//! The desired state of the App Mesh API, computed from the objects of all clusters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tombolo_kube::ClusterObjects;
use tombolo_kube::convert::{self, ConvertError};
use tombolo_kube::crd::{Kind as ObjectKind, Resource as Object};
use tombolo_model::appmesh::{Kind, ResourceKey, Spec};

use crate::{ObjectRef, Problem, Reason};

/// One resource of the App Mesh API and the objects that desire it.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// The spec.
    pub spec: Arc<Spec>,
    /// The objects that desire it. A mesh of one name in two clusters is one mesh.
    pub sources: Vec<ObjectRef>,
}

/// The desired state of all clusters.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// Resources by key.
    pub resources: BTreeMap<ResourceKey, Resource>,
    /// The resources that each object desires, and its generation.
    pub objects: BTreeMap<ObjectRef, DesiredObject>,
    /// Objects that cannot be converted now, with the reasons. The resources that they desired before are kept.
    pub rejected: BTreeMap<ObjectRef, RejectedObject>,
    /// Resources of rejected objects, which are kept.
    kept: BTreeSet<ResourceKey>,
}

/// The desired state of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DesiredObject {
    /// One resource, and the routes of a virtual router. Empty for a rejected object.
    pub resources: Vec<ResourceKey>,
    /// `metadata.generation`.
    pub generation: Option<i64>,
}

/// The reason why an object is rejected.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RejectedObject {
    /// It cannot be converted.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// An object of an earlier cluster desires another spec under the same name.
    #[error(
        "{kind} {name} has a different spec in {cluster}; make both equal, or give this one another awsName"
    )]
    Conflict {
        /// The kind of the resource.
        kind: Kind,
        /// The name of the resource.
        name: Arc<str>,
        /// The other cluster.
        cluster: String,
    },
}

impl From<&RejectedObject> for Problem {
    fn from(rejected: &RejectedObject) -> Self {
        let reason = match rejected {
            RejectedObject::Convert(_) => Reason::InvalidReference,
            RejectedObject::Conflict { .. } => Reason::Conflict,
        };
        Self {
            reason,
            message: rejected.to_string(),
        }
    }
}

impl Desired {
    /// Whether a resource that is not desired now must be kept, because the object that desired it is rejected.
    pub fn keeps(&self, key: &ResourceKey) -> bool {
        let router = || ResourceKey::new(key.mesh.clone(), Kind::VirtualRouter, key.parent.clone());
        self.kept.contains(key) || (key.kind == Kind::Route && self.kept.contains(&router()))
    }
}

/// Merges the desired state of all clusters, given by name. Where two clusters desire different specs under one name,
/// that of the first cluster is applied and the object of the other is rejected.
pub fn desired(clusters: &[(&str, &ClusterObjects)]) -> Desired {
    let mut desired = Desired::default();
    for (index, (_, objects)) in clusters.iter().enumerate() {
        for object in ObjectKind::ALL
            .into_iter()
            .flat_map(|kind| objects.all(kind))
        {
            let source = ObjectRef::of(index, object);
            let entry = DesiredObject {
                resources: Vec::new(),
                generation: object.metadata().generation,
            };
            match convert::convert(object, objects) {
                Ok(Some(converted)) => {
                    desired.objects.insert(source.clone(), entry);
                    for item in std::iter::once(converted.resource).chain(converted.routes) {
                        desired.merge(clusters, item, &source);
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    desired.objects.insert(source.clone(), entry);
                    desired.keep(object, objects);
                    desired.rejected.insert(source, error.into());
                }
            }
        }
    }
    desired
}

impl Desired {
    fn merge(
        &mut self,
        clusters: &[(&str, &ClusterObjects)],
        item: convert::Item,
        source: &ObjectRef,
    ) {
        let convert::Item { key, spec } = item;
        if let Some(known) = self.resources.get_mut(&key) {
            if *known.spec != spec {
                let first = known.sources.first().map_or(0, |first| first.cluster);
                let conflict = RejectedObject::Conflict {
                    kind: key.kind,
                    name: key.name,
                    cluster: clusters[first].0.to_owned(),
                };
                self.rejected.entry(source.clone()).or_insert(conflict);
                return;
            }
            known.sources.push(source.clone());
        } else {
            let resource = Resource {
                spec: Arc::new(spec),
                sources: vec![source.clone()],
            };
            self.resources.insert(key.clone(), resource);
        }
        if let Some(entry) = self.objects.get_mut(source) {
            entry.resources.push(key);
        }
    }

    /// Keeps the resources of an object. An object whose mesh is deleted has no key: its resources are deleted.
    fn keep(&mut self, object: &Object, objects: &ClusterObjects) {
        self.kept
            .extend(convert::key(object, objects).ok().flatten());
    }
}
