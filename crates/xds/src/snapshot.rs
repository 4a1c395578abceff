//! The full configuration of one proxy at one revision.

use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use prost::Message;

use crate::envoy::pb::envoy::service::discovery::v3::DeltaDiscoveryResponse;
use crate::propagation::Propagation;
use crate::resource::{DecodeError, Kind, Reference, Resource, wire};

/// The greatest number of propagations in a snapshot. The oldest are dropped: the answers of proxies that are further
/// behind are not logged.
const MAX_PROPAGATIONS: usize = 16;

/// The resources of one kind, by name. A persistent map: a clone is a pointer, and an edited clone shares all but the
/// path to the edited entries.
pub type Resources = OrdMap<Arc<str>, Arc<Resource>>;

/// An immutable, complete set of resources: the configuration of one proxy at one revision.
///
/// Cheap to clone, to edit and to compare: each kind is a persistent map, so a snapshot from [`Snapshot::edit`]
/// shares the unchanged entries, and [`Snapshot::difference`] skips shared parts. Two snapshots are equal if
/// they have the same resources at the same versions; **the revision is not compared**, so equal snapshots need
/// no push.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    revision: u64,
    kinds: [Resources; 5],
    /// The change that led to this snapshot, and changes before it that some proxy has not answered; oldest first.
    propagations: Vec<Arc<Propagation>>,
}

impl Snapshot {
    /// Starts an empty snapshot.
    pub fn builder(revision: u64) -> Builder {
        Builder {
            snapshot: Snapshot {
                revision,
                ..Snapshot::default()
            },
        }
    }

    /// Starts a new snapshot from the resources of this one, without its propagations.
    pub fn edit(&self, revision: u64) -> Builder {
        Builder {
            snapshot: Snapshot {
                revision,
                kinds: self.kinds.clone(),
                propagations: Vec::new(),
            },
        }
    }

    /// The revision of the store that this snapshot reflects.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The change that led to this snapshot, and changes before it that some proxy had not answered, oldest first. An
    /// answer to this snapshot answers all of them.
    pub fn propagations(&self) -> &[Arc<Propagation>] {
        &self.propagations
    }

    /// All resources of a kind.
    pub fn resources(&self, kind: Kind) -> &Resources {
        &self.kinds[kind.index()]
    }

    /// One resource.
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Arc<Resource>> {
        self.resources(kind).get(name)
    }

    /// All resources, kind by kind in [`Kind::PUSH_ORDER`].
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        Kind::PUSH_ORDER
            .into_iter()
            .flat_map(|kind| self.resources(kind).values())
    }

    /// The number of resources of all kinds.
    pub fn len(&self) -> usize {
        self.kinds.iter().map(|resources| resources.len()).sum()
    }

    /// Whether there is no resource at all.
    pub fn is_empty(&self) -> bool {
        self.kinds.iter().all(|resources| resources.is_empty())
    }

    /// The names of a kind whose resources differ: missing in one of both, or with another version. In order. The cost
    /// depends on the edits between both, not on their size.
    pub fn difference<'a>(
        &'a self,
        other: &'a Snapshot,
        kind: Kind,
    ) -> impl Iterator<Item = &'a Arc<str>> {
        let (ours, theirs) = (&self.kinds[kind.index()], &other.kinds[kind.index()]);
        ours.diff(theirs).map(|item| match item {
            DiffItem::Add(name, _) | DiffItem::Remove(name, _) => name,
            DiffItem::Update { new: (name, _), .. } => name,
        })
    }

    /// The references to missing resources, each with the resource that has the reference, in order. A proxy
    /// waits for the missing resources.
    pub fn missing(&self) -> impl Iterator<Item = (&Reference, &Arc<Resource>)> {
        self.iter()
            .flat_map(|resource| resource.references().iter().map(move |r| (r, resource)))
            .filter(move |(reference, _)| self.get(reference.kind, &reference.name).is_none())
    }

    /// The snapshot as bytes, for a file: one encoded `DeltaDiscoveryResponse` with every resource, which
    /// protobuf tools can read. The order is stable.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = DeltaDiscoveryResponse {
            system_version_info: self.revision.to_string(),
            ..Default::default()
        }
        .encode_to_vec();
        for resource in self.iter() {
            wire::put_field(wire::RESPONSE_RESOURCES, resource.wire_bytes(), &mut bytes);
        }
        bytes
    }

    /// The inverse of [`Snapshot::to_bytes`].
    ///
    /// # Errors
    ///
    /// If the bytes are no such response, or a resource has an unknown type or no body.
    pub fn from_bytes(bytes: &[u8]) -> Result<Snapshot, DecodeError> {
        let saved = DeltaDiscoveryResponse::decode(bytes).map_err(DecodeError::Malformed)?;
        let mut builder = Snapshot::builder(saved.system_version_info.parse().unwrap_or(0));
        for wire in saved.resources {
            builder.insert(Resource::from_wire(wire)?);
        }
        Ok(builder.build())
    }
}

impl PartialEq for Snapshot {
    fn eq(&self, other: &Snapshot) -> bool {
        Kind::ALL
            .into_iter()
            .all(|kind| self.difference(other, kind).next().is_none())
    }
}

impl Eq for Snapshot {}

/// Collects the resources of a [`Snapshot`].
#[derive(Clone, Debug, Default)]
pub struct Builder {
    snapshot: Snapshot,
}

impl Builder {
    /// Adds a resource, or replaces the one of the same kind and name. Does nothing if the version is the same,
    /// so that the map stays shared.
    pub fn insert(&mut self, resource: impl Into<Arc<Resource>>) -> &mut Builder {
        let resource = resource.into();
        let resources = &mut self.snapshot.kinds[resource.kind().index()];
        if resources.get(resource.name()) != Some(&resource) {
            resources.insert(resource.name().clone(), resource);
        }
        self
    }

    /// Like [`Builder::insert`], for chains.
    pub fn with(mut self, resource: impl Into<Arc<Resource>>) -> Builder {
        self.insert(resource);
        self
    }

    /// Removes a resource if it exists.
    pub fn remove(&mut self, kind: Kind, name: &str) -> &mut Builder {
        let resources = &mut self.snapshot.kinds[kind.index()];
        // Removing a missing key would copy the path to its place in the persistent map.
        if resources.contains_key(name) {
            resources.remove(name);
        }
        self
    }

    /// Adds a propagation to carry to the proxies, newer than those in the snapshot already. The newest 16 are kept.
    pub fn add_propagation(&mut self, propagation: Arc<Propagation>) -> &mut Builder {
        let propagations = &mut self.snapshot.propagations;
        if propagations.len() == MAX_PROPAGATIONS {
            propagations.remove(0);
        }
        propagations.push(propagation);
        self
    }

    /// The resources so far.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The snapshot.
    pub fn build(self) -> Snapshot {
        self.snapshot
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envoy::pb::envoy::config::cluster::v3::Cluster;
    use crate::envoy::pb::envoy::config::cluster::v3::cluster::{
        ClusterDiscoveryType, DiscoveryType, EdsClusterConfig,
    };
    use crate::envoy::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;

    fn cluster(name: &str, service: &str) -> Resource {
        let kind = ClusterDiscoveryType::Type(DiscoveryType::Eds as i32);
        let message = Cluster {
            name: name.into(),
            cluster_discovery_type: Some(kind),
            eds_cluster_config: Some(EdsClusterConfig {
                service_name: service.into(),
                eds_config: None,
            }),
            ..Default::default()
        };
        Resource::encode(name, &message)
    }

    fn endpoints(name: &str) -> Resource {
        let message = ClusterLoadAssignment {
            cluster_name: name.into(),
            ..Default::default()
        };
        Resource::encode(name, &message)
    }

    #[test]
    fn equality_ignores_the_revision_and_sees_the_content() {
        let one = Snapshot::builder(1).with(cluster("a", "")).build();
        let two = Snapshot::builder(2).with(cluster("a", "")).build();
        assert_eq!(one, two);
        assert_ne!(one, Snapshot::builder(1).with(cluster("a", "b")).build());
        assert_ne!(one, Snapshot::builder(1).build());
    }

    #[test]
    fn an_edit_shares_what_it_does_not_touch() {
        let one = Snapshot::builder(1)
            .with(cluster("a", ""))
            .with(endpoints("a"))
            .build();
        let mut edit = one.edit(2);
        edit.insert(cluster("a", ""))
            .insert(endpoints("b"))
            .remove(Kind::Listener, "none");
        let two = edit.build();
        let shared = |kind: Kind| one.kinds[kind.index()].ptr_eq(&two.kinds[kind.index()]);
        assert!(shared(Kind::Cluster) && shared(Kind::Listener) && !shared(Kind::Endpoint));
    }

    #[test]
    fn the_difference_names_what_came_went_or_changed() {
        let many = (0..500).map(|n| cluster(&format!("c{n:03}"), ""));
        let one = many.fold(Snapshot::builder(1), Builder::with).build();
        let mut edit = one.edit(2);
        edit.insert(cluster("c100", "other"))
            .insert(cluster("new", ""))
            .remove(Kind::Cluster, "c400");
        let two = edit.build();
        let names: Vec<&str> = one
            .difference(&two, Kind::Cluster)
            .map(|name| &**name)
            .collect();
        assert_eq!(names, ["c100", "c400", "new"]);
        assert_eq!(one.difference(&two, Kind::Endpoint).count(), 0);
    }

    #[test]
    fn a_cluster_misses_its_endpoints() {
        let snapshot = Snapshot::builder(1)
            .with(cluster("a", "b"))
            .with(endpoints("a"))
            .build();
        let missing = snapshot
            .missing()
            .map(|(reference, by)| (&*reference.name, &**by.name()));
        assert_eq!(missing.collect::<Vec<_>>(), [("b", "a")]);
        let fixed = snapshot.edit(2).with(endpoints("b")).build();
        assert_eq!(fixed.missing().count(), 0);
    }

    #[test]
    fn bytes_give_back_the_snapshot() {
        let one = Snapshot::builder(7)
            .with(cluster("a", "b"))
            .with(endpoints("b"))
            .build();
        let two = Snapshot::from_bytes(&one.to_bytes()).unwrap();
        assert_eq!((two.revision(), &two), (7, &one));
        assert!(Snapshot::from_bytes(b"\xff\xff not a message").is_err());
    }
}
