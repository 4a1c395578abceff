//! What the control plane shall hold, decided from the objects of all clusters.

use std::collections::BTreeMap;

use tombolo_kube::crd::Resource;
use tombolo_kube::{ClusterObjects, convert};
use tombolo_model::appmesh::{ResourceKey, Spec};

/// An object of a cluster, as messages name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// Index of the cluster.
    pub cluster: usize,
    /// Its store key.
    pub key: crate::cluster::Key,
}

/// One resource of the control plane and the objects that ask for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Its spec.
    pub spec: Spec,
    /// Who asks. A mesh of one name in two clusters is one mesh.
    pub sources: Vec<Source>,
}

/// The decision.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Resources by key; within one mesh the order of keys is one in which parents come first.
    pub items: BTreeMap<ResourceKey, Item>,
    /// Objects that cannot be brought over now, with what is wrong.
    pub refused: Vec<(Source, String)>,
}

/// Merges the wishes of all clusters. Where two clusters ask for different things under one name, the first
/// cluster's wish stands and the other object is refused.
pub fn wanted(clusters: &[(&str, &ClusterObjects)]) -> Wanted {
    let mut wanted = Wanted::default();
    for (index, (_, objects)) in clusters.iter().enumerate() {
        for resource in tombolo_kube::crd::Kind::ALL
            .into_iter()
            .flat_map(|kind| objects.all(kind))
        {
            let Some(key) = store_key(resource) else {
                continue;
            };
            let source = Source {
                cluster: index,
                key,
            };
            match convert::convert(resource, objects) {
                Ok(Some(converted)) => {
                    for item in std::iter::once(converted.resource).chain(converted.routes) {
                        merge(&mut wanted, clusters, item, &source);
                    }
                }
                Ok(None) => {}
                Err(error) => wanted.refused.push((source, error.to_string())),
            }
        }
    }
    wanted
}

fn merge(
    wanted: &mut Wanted,
    clusters: &[(&str, &ClusterObjects)],
    item: convert::Item,
    source: &Source,
) {
    match wanted.items.get_mut(&item.key) {
        None => {
            wanted.items.insert(
                item.key,
                Item {
                    spec: item.spec,
                    sources: vec![source.clone()],
                },
            );
        }
        Some(known) if known.spec == item.spec => known.sources.push(source.clone()),
        Some(known) => {
            let other = known
                .sources
                .first()
                .map_or("another cluster", |first| clusters[first.cluster].0);
            let message = format!(
                "{} {} has a different spec in {other}; make both equal, or give this one another awsName",
                item.key.kind, item.key.name
            );
            if wanted.refused.last().is_none_or(|(last, _)| last != source) {
                wanted.refused.push((source.clone(), message));
            }
        }
    }
}

fn store_key(resource: &Resource) -> Option<crate::cluster::Key> {
    let kind = crate::cluster::Kind::read(tombolo_kube::crd::API_VERSION, resource.kind().name())?;
    Some(crate::cluster::Key::new(
        kind,
        resource.namespace(),
        resource.name(),
    ))
}
