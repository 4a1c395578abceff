//! Create, describe, update and delete, the same for all seven kinds.

use super::{
    BAD_REQUEST, errors,
    errors::{bad_request, not_found},
    names,
    routing::Collection,
    shape,
};
use crate::wire::{Call, Failure, json};
use serde::Deserialize;
use serde_json::{Map, Value};
use tombolo_model::{
    Command, Reply, ScopeView,
    apply::appmesh,
    appmesh::{Kind, ResourceKey, Spec, Tag},
};

/// The body of every create and update. The resource's own name is among `names`, under a member that
/// depends on the kind.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Input {
    client_token: Option<String>,
    spec: Option<Value>,
    tags: Option<Vec<Tag>>,
    #[serde(flatten)]
    names: Map<String, Value>,
}

pub(super) async fn create(call: &Call<'_>, collection: &Collection) -> Result<Value, Failure> {
    let mut input: Input = json::read(&call.body, BAD_REQUEST)?;
    let member = names::name_member(collection.kind);
    let name = match input.names.remove(member) {
        Some(Value::String(name)) => name,
        None | Some(Value::Null) => {
            return Err(bad_request(format!("{member}: must be given")));
        }
        Some(_) => return Err(Failure::serialization(format!("{member}: is not a string"))),
    };
    let command = appmesh::Command::Create {
        key: collection.member(&name),
        spec: read_spec(collection.kind, input.spec)?,
        tags: input.tags.unwrap_or_default(),
        client_token: checked_token(input.client_token)?,
    };
    match commit(call, command).await {
        // Only TagResource models an error of its own for too many tags.
        Err(failure) if failure.code == "TooManyTagsException" => Err(bad_request(failure.message)),
        answer => answer,
    }
}

pub(super) async fn update(call: &Call<'_>, key: ResourceKey) -> Result<Value, Failure> {
    let input: Input = json::read(&call.body, BAD_REQUEST)?;
    let command = appmesh::Command::Update {
        spec: read_spec(key.kind, input.spec)?,
        client_token: checked_token(input.client_token)?,
        key,
    };
    commit(call, command).await
}

pub(super) async fn delete(call: &Call<'_>, key: ResourceKey) -> Result<Value, Failure> {
    let reply = call
        .commit(Command::AppMesh(appmesh::Command::Delete { key }))
        .await
        .map_err(errors::from_commit)?;
    Ok(answer(&reply, "DELETED"))
}

pub(super) fn describe(call: &Call<'_>, key: &ResourceKey) -> Result<Value, Failure> {
    let view = call.view();
    let scope = view.scope(&call.scope);
    check_parents(call, scope, &Collection::of(key))?;
    match scope.and_then(|scope| scope.resource(key)) {
        Some(resource) => Ok(shape::data(resource, "ACTIVE")),
        None => Err(absent(call, key)),
    }
}

/// Says which of a collection's ancestors does not exist.
pub(super) fn check_parents(
    call: &Call<'_>,
    scope: Option<&ScopeView>,
    collection: &Collection,
) -> Result<(), Failure> {
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

fn absent(call: &Call<'_>, key: &ResourceKey) -> Failure {
    let place = match key.kind {
        Kind::Mesh => String::new(),
        _ => format!(" under mesh {}", key.mesh),
    };
    not_found(format!(
        "{} with name {} is not present{place} for account {}",
        key.kind, key.name, call.scope.account
    ))
}

async fn commit(call: &Call<'_>, command: appmesh::Command) -> Result<Value, Failure> {
    let reply = call
        .commit(Command::AppMesh(command))
        .await
        .map_err(errors::from_commit)?;
    Ok(answer(&reply, "ACTIVE"))
}

fn answer(reply: &Reply, status: &str) -> Value {
    match reply {
        Reply::Resource(resource) => shape::data(resource, status),
        other => unreachable!("commands about resources answer with them, not with {other:?}"),
    }
}

/// Reads the spec of a kind. Only a mesh can do without one.
fn read_spec(kind: Kind, spec: Option<Value>) -> Result<Spec, Failure> {
    let spec = match (spec, kind) {
        (Some(spec), _) => spec,
        (None, Kind::Mesh) => Value::Object(Map::new()),
        (None, _) => return Err(bad_request("spec: must be given")),
    };
    fn read<T: serde::de::DeserializeOwned>(spec: Value) -> Result<T, Failure> {
        json::read_part("spec", spec, BAD_REQUEST)
    }
    Ok(match kind {
        Kind::Mesh => Spec::Mesh(read(spec)?),
        Kind::VirtualNode => Spec::VirtualNode(read(spec)?),
        Kind::VirtualRouter => Spec::VirtualRouter(read(spec)?),
        Kind::Route => Spec::Route(read(spec)?),
        Kind::VirtualService => Spec::VirtualService(read(spec)?),
        Kind::VirtualGateway => Spec::VirtualGateway(read(spec)?),
        Kind::GatewayRoute => Spec::GatewayRoute(read(spec)?),
    })
}

/// Up to 36 letters, digits, dashes and underscores. An empty token recognises nothing.
fn checked_token(token: Option<String>) -> Result<Option<String>, Failure> {
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
