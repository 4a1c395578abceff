//! Lists of resources.

use super::{Page, errors::bad_request, names, output::ResourceRef, path::Collection, resource};
use crate::{
    call::Call,
    error::ApiError,
    wire::{Paging, json, paging},
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::{ops::RangeInclusive, sync::Arc};
use tombolo_model::appmesh::{Kind, Resource};

pub(super) fn list(
    call: &Call<'_>,
    collection: &Collection,
    page: &Page,
) -> Result<Vec<u8>, ApiError> {
    let plural = names::plural(collection.kind);
    let paging = page.paging(plural, 1..=100)?;
    let view = call.view();
    let scope = view.scope(&call.scope);
    resource::check_parents(call, scope, collection)?;
    let page: paging::Page<&Arc<Resource>> = match (scope, collection.kind) {
        (None, _) => paging::Page {
            items: Vec::new(),
            next: None,
        },
        (Some(scope), Kind::Mesh) => paging.page(scope.meshes(), |mesh| &mesh.key.name),
        (Some(scope), kind) => {
            let members = scope.members(&collection.mesh, kind, Some(&collection.parent));
            paging.page(members, |member| &member.key.name)
        }
    };
    let items = page.items.iter().map(|item| ResourceRef::new(item));
    Ok(answer(plural, &items.collect::<Vec<_>>(), page.next))
}

impl Page {
    /// The page of a list.
    pub(super) fn paging(
        &self,
        list: &'static str,
        bounds: RangeInclusive<i64>,
    ) -> Result<Paging, ApiError> {
        Paging::new(list, self.limit, bounds, self.next_token.as_deref()).map_err(bad_request)
    }
}

/// A list is wrapped, and the last page has no token.
pub(super) fn answer(member: &str, items: &[impl Serialize], next: Option<String>) -> Vec<u8> {
    let mut answer = Map::new();
    answer.insert(member.into(), json!(items));
    if let Some(next) = next {
        answer.insert("nextToken".into(), next.into());
    }
    json::write(&Value::Object(answer))
}
