//! Lists of resources.

use super::{errors::bad_request, names, resource, routing::Collection, shape};
use crate::wire::{Call, Failure, Paging, paging::Page, percent};
use serde_json::{Map, Value};
use std::{ops::RangeInclusive, sync::Arc};
use tombolo_model::appmesh::{Kind, Resource};

pub(super) fn list(call: &Call<'_>, collection: &Collection) -> Result<Value, Failure> {
    let plural = names::plural(collection.kind);
    let paging = paging(call, plural, 1..=100)?;
    let view = call.view();
    let scope = view.scope(&call.scope);
    resource::check_parents(call, scope, collection)?;
    let page: Page<&Arc<Resource>> = match (scope, collection.kind) {
        (None, _) => Page {
            items: Vec::new(),
            next: None,
        },
        (Some(scope), Kind::Mesh) => paging.page(scope.meshes(), |mesh| &mesh.key.name),
        (Some(scope), kind) => {
            let members = scope.members(&collection.mesh, kind, Some(&collection.parent));
            paging.page(members, |member| &member.key.name)
        }
    };
    let items = page.items.iter().map(|item| shape::reference(item));
    Ok(answer(plural, items.collect(), page.next))
}

/// The paging that the query asks for.
pub(super) fn paging(
    call: &Call<'_>,
    list: &'static str,
    bounds: RangeInclusive<i64>,
) -> Result<Paging, Failure> {
    let limit = match percent::query_value(call.query(), "limit") {
        None => None,
        Some(limit) => Some(
            limit
                .parse()
                .map_err(|_| bad_request(format!("limit: {limit:?} is not a number")))?,
        ),
    };
    let token = percent::query_value(call.query(), "nextToken").filter(|token| !token.is_empty());
    Paging::new(list, limit, bounds, token.as_deref()).map_err(bad_request)
}

/// A list is wrapped, and the last page has no token.
pub(super) fn answer(member: &str, items: Vec<Value>, next: Option<String>) -> Value {
    let mut answer = Map::new();
    answer.insert(member.into(), items.into());
    if let Some(next) = next {
        answer.insert("nextToken".into(), next.into());
    }
    Value::Object(answer)
}
