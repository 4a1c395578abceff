//! Lists the complete state of the App Mesh API.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use tombolo_model::appmesh::{Kind, ResourceKey};

use crate::api::ListedResource;
use crate::{ApiError, MeshApi};

/// Maximum concurrent list calls.
const CONCURRENT: usize = 8;

/// The result of listing.
pub(super) struct Listing {
    pub(super) resources: BTreeMap<ResourceKey, ListedResource>,
    /// The meshes whose resources were listed; `None`: all.
    meshes: Option<BTreeSet<Arc<str>>>,
}

impl Listing {
    /// Whether the resources of a mesh were listed.
    pub(super) fn covers(&self, mesh: &Arc<str>) -> bool {
        self.meshes
            .as_ref()
            .is_none_or(|meshes| meshes.contains(mesh))
    }
}

/// Lists these meshes, or all, with all their resources.
pub(super) async fn list<A: MeshApi>(
    api: &A,
    meshes: Option<BTreeSet<Arc<str>>>,
) -> Result<Listing, ApiError> {
    let mut listing = Listing {
        resources: BTreeMap::new(),
        meshes,
    };
    for mesh in api.list_meshes().await? {
        let name = mesh.key.mesh.clone();
        if listing.covers(&name) {
            listing.add(vec![mesh]);
            fill(api, &name, &mut listing).await?;
        }
    }
    Ok(listing)
}

async fn fill<A: MeshApi>(api: &A, mesh: &str, listing: &mut Listing) -> Result<(), ApiError> {
    let direct = Kind::ALL
        .into_iter()
        .filter(|kind| *kind != Kind::Mesh && kind.parent().is_none());
    let mut lists: Vec<(Kind, Arc<str>)> = direct.map(|kind| (kind, "".into())).collect();
    while !lists.is_empty() {
        let found: Vec<Vec<ListedResource>> = futures::stream::iter(lists)
            .map(|(kind, parent)| async move { existing(api.list(mesh, kind, &parent).await) })
            .buffer_unordered(CONCURRENT)
            .try_collect()
            .await?;
        let found: Vec<ListedResource> = found.into_iter().flatten().collect();
        // Then their children.
        lists = found
            .iter()
            .filter_map(|parent| Some((child(parent.key.kind)?, parent.key.name.clone())))
            .collect();
        listing.add(found);
    }
    Ok(())
}

/// The kind of a kind's children.
fn child(parent: Kind) -> Option<Kind> {
    Kind::ALL
        .into_iter()
        .find(|kind| kind.parent() == Some(parent))
}

/// The children of a parent that is deleted meanwhile: none.
fn existing(
    listed: Result<Vec<ListedResource>, ApiError>,
) -> Result<Vec<ListedResource>, ApiError> {
    match listed {
        Err(ApiError::NotFound(_)) => Ok(Vec::new()),
        other => other,
    }
}

impl Listing {
    fn add(&mut self, listed: Vec<ListedResource>) {
        let listed = listed
            .into_iter()
            .map(|listed| (listed.key.clone(), listed));
        self.resources.extend(listed);
    }
}
