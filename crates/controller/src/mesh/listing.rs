//! Everything that the mesh API holds, by lists.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use tombolo_model::appmesh::{Kind, ResourceKey};

use crate::api::Listed;
use crate::{ApiError, MeshApi};

/// Lists under way at a time.
const CONCURRENT: usize = 8;

/// What was listed.
pub(super) struct Listing {
    pub(super) resources: BTreeMap<ResourceKey, Listed>,
    /// The meshes that were looked into; `None`: all.
    meshes: Option<BTreeSet<Arc<str>>>,
}

impl Listing {
    /// Whether a mesh was looked into.
    pub(super) fn covers(&self, mesh: &Arc<str>) -> bool {
        self.meshes
            .as_ref()
            .is_none_or(|meshes| meshes.contains(mesh))
    }
}

/// Lists these meshes, or all, with everything in them.
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
        let found: Vec<Vec<Listed>> = futures::stream::iter(lists)
            .map(|(kind, parent)| async move { existing(api.list(mesh, kind, &parent).await) })
            .buffer_unordered(CONCURRENT)
            .try_collect()
            .await?;
        let found: Vec<Listed> = found.into_iter().flatten().collect();
        // Then what is in them.
        lists = found
            .iter()
            .filter_map(|parent| Some((child(parent.key.kind)?, parent.key.name.clone())))
            .collect();
        listing.add(found);
    }
    Ok(())
}

/// The kind of what a resource of this kind holds.
fn child(parent: Kind) -> Option<Kind> {
    Kind::ALL
        .into_iter()
        .find(|kind| kind.parent() == Some(parent))
}

/// A parent that is gone meanwhile holds nothing.
fn existing(listed: Result<Vec<Listed>, ApiError>) -> Result<Vec<Listed>, ApiError> {
    match listed {
        Err(ApiError::NotFound(_)) => Ok(Vec::new()),
        other => other,
    }
}

impl Listing {
    fn add(&mut self, listed: Vec<Listed>) {
        let listed = listed
            .into_iter()
            .map(|listed| (listed.key.clone(), listed));
        self.resources.extend(listed);
    }
}
