//! Create, describe, update and delete, the same for all seven kinds.

use super::{
    errors::{self, bad_request, not_found},
    output::ResourceData,
    path::Collection,
};
use crate::{call::Call, error::ApiError, wire::json};
use tombolo_model::{
    Command, Reply, ScopeView,
    apply::appmesh,
    appmesh::{Kind, ResourceKey, Spec, Tag},
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
        // Only TagResource models an error of its own for too many tags.
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

/// Says which of a collection's ancestors does not exist.
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

/// Up to 36 letters, digits, dashes and underscores. An empty token recognises nothing.
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
