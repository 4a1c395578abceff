//! The desired state of the App Mesh API, computed from the objects of all clusters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tombolo_kube::convert::{self, ConvertError};
use tombolo_kube::crd::{Kind as ObjectKind, Resource as Object};
use tombolo_kube::members::Members;
use tombolo_kube::{ClusterObjects, Violations, admit};
use tombolo_model::appmesh::{Kind, ResourceKey, Spec};
use tombolo_model::arn;

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
    /// Objects that are being deleted, each with the resources that have to go before it does.
    pub deleted: BTreeMap<ObjectRef, Vec<ResourceKey>>,
    /// Objects that are being deleted and stay, with their resources, until their members are gone.
    pub pending: BTreeMap<ObjectRef, Members>,
    /// Objects that nobody admitted, as admission would have them.
    pub admitted: BTreeMap<ObjectRef, Arc<Object>>,
    /// Resources of rejected objects, which are kept.
    kept: BTreeSet<ResourceKey>,
    /// Resources of deleted objects.
    claimed: BTreeSet<ResourceKey>,
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
    /// It was created while nobody admitted objects, and is not admissible now.
    #[error("it was created while the webhook was away, and cannot be admitted now: {0}")]
    NotAdmissible(Violations),
    /// It was created while nobody admitted objects; that is done now.
    #[error("it was created while the webhook was away; its names and its mesh are filled in now")]
    NotAdmitted,
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
            RejectedObject::NotAdmitted => Reason::Pending,
            RejectedObject::Convert(_) | RejectedObject::NotAdmissible(_) => {
                Reason::InvalidReference
            }
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

    /// Whether an object decides about a resource that is not desired: one that is being deleted, or the router of a
    /// route, which owns all its routes.
    pub fn claims(&self, key: &ResourceKey) -> bool {
        let is_router =
            |key: &ResourceKey| self.resources.contains_key(key) || self.claimed.contains(key);
        self.claimed.contains(key)
            || (key.kind == Kind::Route
                && is_router(&ResourceKey::new(
                    key.mesh.clone(),
                    Kind::VirtualRouter,
                    key.parent.clone(),
                )))
    }

    /// Whether an object that is being deleted has this resource.
    pub fn is_claimed(&self, key: &ResourceKey) -> bool {
        self.claimed.contains(key)
    }

    /// Resources of objects that are being deleted, but for those that another object desires.
    pub fn to_delete(&self) -> impl Iterator<Item = &ResourceKey> {
        let all = self.claimed.iter();
        all.filter(|key| !self.resources.contains_key(*key))
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
            if object.metadata().deletion_timestamp.is_some() {
                let members = Members::of(object, objects);
                if members.is_empty() {
                    let resources = resources_of(object, objects);
                    desired.claimed.extend(resources.iter().cloned());
                    let entry = DesiredObject {
                        resources: resources.clone(),
                        ..entry
                    };
                    desired.objects.insert(source.clone(), entry);
                    desired.deleted.insert(source, resources);
                    continue;
                }
                desired.pending.insert(source.clone(), members);
            }
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
                    let refused = desired.refusal(&source, error, object, objects);
                    desired.rejected.insert(source, refused);
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

    /// An object that nobody admitted is admitted now, if it can be.
    fn refusal(
        &mut self,
        source: &ObjectRef,
        error: ConvertError,
        object: &Object,
        objects: &ClusterObjects,
    ) -> RejectedObject {
        if !matches!(error, ConvertError::NotAdmitted { .. }) {
            return error.into();
        }
        match admit::create(object.clone(), objects, admit::IpFamily::V4) {
            Ok(admitted) => {
                self.admitted.insert(source.clone(), Arc::new(admitted));
                RejectedObject::NotAdmitted
            }
            Err(violations) => RejectedObject::NotAdmissible(violations),
        }
    }

    /// Keeps the resources of an object. An object whose mesh is deleted has no key: its resources are deleted.
    fn keep(&mut self, object: &Object, objects: &ClusterObjects) {
        self.kept
            .extend(convert::key(object, objects).ok().flatten());
    }
}

/// The resources of an object that is being deleted: its own, and the routes of a virtual router. Where its mesh or its
/// gateway is gone already, the ARN in its status names them.
fn resources_of(object: &Object, objects: &ClusterObjects) -> Vec<ResourceKey> {
    let own = match convert::key(object, objects) {
        Ok(key) => key,
        Err(_) => recorded_arn(object)
            .and_then(|arn| arn::parse_resource(&arn))
            .map(|resource| resource.key),
    };
    let Some(own) = own else {
        return Vec::new();
    };
    let route =
        |name: &str| ResourceKey::child(own.mesh.clone(), Kind::Route, own.name.clone(), name);
    let routes: Vec<ResourceKey> = match object {
        Object::VirtualRouter(router) => router
            .spec
            .routes()
            .iter()
            .map(|each| route(&each.name))
            .collect(),
        _ => Vec::new(),
    };
    std::iter::once(own).chain(routes).collect()
}

/// The ARN that a controller wrote into the status.
fn recorded_arn(object: &Object) -> Option<String> {
    let name = crate::status::arn_field(object.kind());
    let arn = object.status()?.get(name)?.as_str()?;
    Some(arn.to_owned())
}
