//! The attributes of services themselves.

use super::{errors, ids, read, write};
use crate::wire::{Call, Failure};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use tombolo_model::{Command, apply::registry, arn};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetInput {
    service_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateInput {
    service_id: String,
    attributes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DeleteInput {
    service_id: String,
    /// Keys alone.
    attributes: Vec<String>,
}

pub(super) fn get(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let input: GetInput = read(call)?;
    let view = call.view();
    let (_, service) = ids::service(call, view.scope(&call.scope), &input.service_id)?;
    write(&json!({ "ServiceAttributes": {
        "ServiceArn": arn::of_service(&call.scope, &service.id),
        "ResourceOwner": call.scope.account,
        "Attributes": service.attributes,
    }}))
}

pub(super) async fn update(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let input: UpdateInput = read(call)?;
    let command = registry::Command::UpdateServiceAttributes {
        service_id: ids::service_id(call, &input.service_id)?.to_owned(),
        attributes: input.attributes,
    };
    commit(call, command).await
}

pub(super) async fn delete(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let input: DeleteInput = read(call)?;
    let command = registry::Command::DeleteServiceAttributes {
        service_id: ids::service_id(call, &input.service_id)?.to_owned(),
        keys: input.attributes,
    };
    commit(call, command).await
}

async fn commit(call: &Call<'_>, command: registry::Command) -> Result<Vec<u8>, Failure> {
    call.commit(Command::Registry(command))
        .await
        .map_err(errors::from_commit)?;
    write(&json!({}))
}
