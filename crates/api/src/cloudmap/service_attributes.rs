//! The attributes of services themselves.

use super::{errors, ids, read, write};
use crate::wire::{Call, Failure};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use tombolo_model::{Command, apply::cloudmap, arn};

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

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GetOutput<'a> {
    service_attributes: Shape<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shape<'a> {
    service_arn: String,
    resource_owner: &'a str,
    /// As the model has it, there is at least one, or no member.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: &'a BTreeMap<String, String>,
}

pub(super) fn get(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let input: GetInput = read(call)?;
    let view = call.view();
    let (_, service) = ids::service(call, view.scope(&call.scope), &input.service_id)?;
    write(&GetOutput {
        service_attributes: Shape {
            service_arn: arn::of_service(&call.scope, &service.id),
            resource_owner: &call.scope.account,
            attributes: &service.attributes,
        },
    })
}

pub(super) async fn update(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let input: UpdateInput = read(call)?;
    let command = cloudmap::Command::UpdateServiceAttributes {
        service_id: ids::service_id(call, &input.service_id)?.to_owned(),
        attributes: input.attributes,
    };
    commit(call, command).await
}

pub(super) async fn delete(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let input: DeleteInput = read(call)?;
    let command = cloudmap::Command::DeleteServiceAttributes {
        service_id: ids::service_id(call, &input.service_id)?.to_owned(),
        keys: input.attributes,
    };
    commit(call, command).await
}

async fn commit(call: &Call<'_>, command: cloudmap::Command) -> Result<Vec<u8>, Failure> {
    call.commit(Command::CloudMap(command))
        .await
        .map_err(errors::from_commit)?;
    write(&json!({}))
}
