//! Instances.

use super::{PageInput, errors, ids, read, run_operation, write};
use crate::wire::{Call, Failure};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, ops::Bound};
use tombolo_model::{apply::cloudmap, cloudmap::Instance};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RegisterInput {
    service_id: String,
    instance_id: String,
    creator_request_id: Option<String>,
    attributes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InstanceInput {
    service_id: String,
    instance_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListInput {
    service_id: String,
    #[serde(flatten)]
    page: PageInput,
}

/// `Instance` and `InstanceSummary`; the latter has no token.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shape<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    creator_request_id: Option<&'a str>,
    attributes: &'a BTreeMap<String, String>,
    created_by_account: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GetOutput<'a> {
    resource_owner: &'a str,
    instance: Shape<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListOutput<'a> {
    resource_owner: &'a str,
    instances: Vec<Shape<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

pub(super) async fn register(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let input: RegisterInput = read(call)?;
    let command = cloudmap::RegisterInstance {
        service_id: ids::service_id(call, &input.service_id)?.to_owned(),
        instance_id: input.instance_id,
        attributes: input.attributes,
        creator_request_id: input.creator_request_id,
    };
    run_operation(call, cloudmap::Command::RegisterInstance(command)).await
}

pub(super) async fn deregister(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let input: InstanceInput = read(call)?;
    let command = cloudmap::Command::DeregisterInstance {
        service_id: ids::service_id(call, &input.service_id)?.to_owned(),
        instance_id: input.instance_id,
    };
    run_operation(call, command).await
}

pub(super) fn get(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let input: InstanceInput = read(call)?;
    ids::check_instance_id(&input.instance_id)?;
    let view = call.view();
    let (scope, service) = ids::service(call, view.scope(&call.scope), &input.service_id)?;
    let instance = scope
        .instance(&service.id, &input.instance_id)
        .ok_or_else(|| errors::instance_not_found(&service.name, &input.instance_id))?;
    write(&GetOutput {
        resource_owner: &call.scope.account,
        instance: shape(call, instance, instance.creator_request_id.as_deref()),
    })
}

pub(super) fn list(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let input: ListInput = read(call)?;
    let paging = input.page.paging("instances")?;
    let view = call.view();
    let (scope, service) = ids::service(call, view.scope(&call.scope), &input.service_id)?;
    let start = paging.after().map_or(Bound::Unbounded, Bound::Excluded);
    let instances = scope
        .instances(&service.id)
        .into_iter()
        .flat_map(|instances| instances.by_id.range::<_, str>((start, Bound::Unbounded)))
        .map(|(_, instance)| instance);
    let page = paging.page(instances, |instance| &instance.id);
    write(&ListOutput {
        resource_owner: &call.scope.account,
        instances: page
            .items
            .into_iter()
            .map(|instance| shape(call, instance, None))
            .collect(),
        next_token: page.next,
    })
}

fn shape<'a>(
    call: &'a Call<'_>,
    instance: &'a Instance,
    creator_request_id: Option<&'a str>,
) -> Shape<'a> {
    Shape {
        id: &instance.id,
        creator_request_id,
        attributes: &instance.attributes,
        created_by_account: &call.scope.account,
    }
}
