//! Executes the operations, which are the same for all seven kinds.

use super::{
    Page,
    errors::{self, bad_request, not_found},
    names,
    output::{ResourceData, ResourceRef},
    path::Collection,
};
use crate::{
    call::Call,
    error::ApiError,
    wire::{Paging, json, paging},
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::{ops::RangeInclusive, sync::Arc};
use tombolo_model::{
    Command, Reply, ScopeView,
    apply::appmesh,
    appmesh::{Kind, Resource, ResourceKey, Spec, Tag},
    arn,
};

pub(super) async fn create(
    call: &Call<'_>,
    key: ResourceKey,
    spec: Spec,
    tags: Vec<Tag>,
    client_token: Option<String>,
) -> Result<Vec<u8>, ApiError> {
    let command = appmesh::Command::Create {
        key,
        spec,
        tags,
        client_token: checked_token(client_token)?,
    };
    match commit(call, command, "ACTIVE").await {
        // Only TagResource has an error of its own for too many tags.
        Err(error) if error.code == "TooManyTagsException" => Err(bad_request(error.message)),
        answer => answer,
    }
}

pub(super) async fn update(
    call: &Call<'_>,
    key: ResourceKey,
    spec: Spec,
    client_token: Option<String>,
) -> Result<Vec<u8>, ApiError> {
    let command = appmesh::Command::Update {
        spec,
        client_token: checked_token(client_token)?,
        key,
    };
    commit(call, command, "ACTIVE").await
}

pub(super) async fn delete(call: &Call<'_>, key: ResourceKey) -> Result<Vec<u8>, ApiError> {
    commit(call, appmesh::Command::Delete { key }, "DELETED").await
}

pub(super) fn describe(call: &Call<'_>, key: &ResourceKey) -> Result<Vec<u8>, ApiError> {
    let view = call.view();
    let scope = view.scope(&call.scope);
    check_parents(call, scope, &Collection::of(key))?;
    match scope.and_then(|scope| scope.resource(key)) {
        Some(resource) => Ok(json::write(&ResourceData::new(resource, "ACTIVE"))),
        None => Err(absent(call, key)),
    }
}

/// Checks that a collection's ancestors exist.
///
/// # Errors
/// The first ancestor that does not exist.
pub(super) fn check_parents(
    call: &Call<'_>,
    scope: Option<&ScopeView>,
    collection: &Collection,
) -> Result<(), ApiError> {
    let exists = |key: ResourceKey| match scope.and_then(|scope| scope.resource(&key)) {
        Some(_) => Ok(()),
        None => Err(absent(call, &key)),
    };
    if collection.kind == Kind::Mesh {
        return Ok(());
    }
    exists(ResourceKey::mesh(collection.mesh.as_str()))?;
    match collection.kind.parent() {
        Some(kind) => exists(ResourceKey::new(
            collection.mesh.as_str(),
            kind,
            collection.parent.as_str(),
        )),
        None => Ok(()),
    }
}

fn absent(call: &Call<'_>, key: &ResourceKey) -> ApiError {
    let place = match key.kind {
        Kind::Mesh => String::new(),
        _ => format!(" under mesh {}", key.mesh),
    };
    not_found(format!(
        "{} with name {} is not present{place} for account {}",
        key.kind, key.name, call.scope.account
    ))
}

async fn commit(
    call: &Call<'_>,
    command: appmesh::Command,
    status: &str,
) -> Result<Vec<u8>, ApiError> {
    let reply = call.commit(Command::AppMesh(command)).await;
    match reply.map_err(errors::from_commit)? {
        Reply::Resource(resource) => Ok(json::write(&ResourceData::new(&resource, status))),
        other => unreachable!("commands about resources answer with them, not with {other:?}"),
    }
}

/// Checks a client token: up to 36 letters, digits, dashes and underscores. An empty one is ignored.
fn checked_token(token: Option<String>) -> Result<Option<String>, ApiError> {
    let Some(token) = token.filter(|token| !token.is_empty()) else {
        return Ok(None);
    };
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if token.len() > 36 || !token.bytes().all(legal) {
        return Err(bad_request(
            "clientToken: is not up to 36 letters, digits, dashes and underscores",
        ));
    }
    Ok(Some(token))
}

pub(super) fn list(
    call: &Call<'_>,
    collection: &Collection,
    page: &Page,
) -> Result<Vec<u8>, ApiError> {
    let plural = names::plural(collection.kind);
    let paging = page.paging(plural, 1..=100)?;
    let view = call.view();
    let scope = view.scope(&call.scope);
    check_parents(call, scope, collection)?;
    let page: paging::Page<&Arc<Resource>> = match (scope, collection.kind) {
        (None, _) => paging::Page::default(),
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
    /// The paging of the list of this name.
    pub(super) fn paging(
        &self,
        list: &'static str,
        bounds: RangeInclusive<i64>,
    ) -> Result<Paging, ApiError> {
        Paging::new(list, self.limit, bounds, self.next_token.as_deref())
            .map_err(|error| bad_request(error.to_string()))
    }
}

/// The output of a list: the items as `member`, and the token unless it is the last page.
pub(super) fn answer(member: &str, items: &[impl Serialize], next: Option<String>) -> Vec<u8> {
    let mut answer = Map::new();
    answer.insert(member.into(), json!(items));
    if let Some(next) = next {
        answer.insert("nextToken".into(), next.into());
    }
    json::write(&Value::Object(answer))
}

pub(super) async fn tag(
    call: &Call<'_>,
    resource_arn: &str,
    tags: Vec<Tag>,
) -> Result<Vec<u8>, ApiError> {
    let key = resource_key(call, resource_arn)?;
    commit_tags(call, appmesh::Command::Tag { key, tags }).await
}

pub(super) async fn untag(
    call: &Call<'_>,
    resource_arn: &str,
    tag_keys: Vec<String>,
) -> Result<Vec<u8>, ApiError> {
    let key = resource_key(call, resource_arn)?;
    commit_tags(call, appmesh::Command::Untag { key, tag_keys }).await
}

/// Lists tags sorted by key, so that a page can start after the last key of the previous page.
pub(super) fn list_tags(
    call: &Call<'_>,
    resource_arn: &str,
    page: &Page,
) -> Result<Vec<u8>, ApiError> {
    let paging = page.paging("tags", 1..=50)?;
    let key = resource_key(call, resource_arn)?;
    let view = call.view();
    let Some(resource) = view.resource(&call.scope, &key) else {
        return Err(not_found(format!("no resource has the ARN of {key}")));
    };
    let mut tags: Vec<&Tag> = resource.tags.iter().collect();
    tags.sort_by(|a, b| a.key.cmp(&b.key));
    let page = paging.page(tags.into_iter(), |tag| &tag.key);
    Ok(answer("tags", &page.items, page.next))
}

async fn commit_tags(call: &Call<'_>, command: appmesh::Command) -> Result<Vec<u8>, ApiError> {
    let committed = call.commit(Command::AppMesh(command)).await;
    committed.map_err(errors::from_commit)?;
    Ok(json::write(&json!({})))
}

fn resource_key(call: &Call<'_>, text: &str) -> Result<ResourceKey, ApiError> {
    let name = arn::parse_resource(text)
        .ok_or_else(|| bad_request(format!("resourceArn: {text:?} is not an App Mesh ARN")))?;
    match name.scope {
        None => Err(bad_request(format!("resourceArn: {text:?} is not an ARN"))),
        Some(scope) if scope != call.scope => {
            Err(not_found(format!("no resource has the ARN {text}")))
        }
        Some(_) => Ok(name.key),
    }
}
