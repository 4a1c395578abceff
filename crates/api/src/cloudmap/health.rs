//! The health of instances, as told and as asked for.

use super::{PageInput, errors, ids, invalid, read, write};
use crate::wire::{Call, Failure};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{collections::BTreeMap, ops::Bound, sync::Arc};
use tombolo_model::{
    Command,
    apply::cloudmap,
    cloudmap::{Health, Instance, Service},
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetInput {
    service_id: String,
    instances: Option<Vec<String>>,
    #[serde(flatten)]
    page: PageInput,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GetOutput<'a> {
    status: BTreeMap<&'a str, &'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateInput {
    service_id: String,
    instance_id: String,
    status: Health,
}

/// What an instance's health is called. A service without a health check knows nothing about it.
pub(super) fn word(service: &Service, health: Health) -> &'static str {
    match health {
        _ if !service.is_health_checked() => "UNKNOWN",
        Health::Healthy => "HEALTHY",
        Health::Unhealthy => "UNHEALTHY",
    }
}

pub(super) fn get(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let input: GetInput = read(call)?;
    let paging = input.page.paging("instancesHealth")?;
    for id in input.instances.iter().flatten() {
        ids::check_instance_id(id)?;
    }
    if input.instances.as_ref().is_some_and(Vec::is_empty) {
        return Err(invalid("Instances: must not be empty"));
    }
    let view = call.view();
    let (scope, service) = ids::service(call, view.scope(&call.scope), &input.service_id)?;
    let page = match input.instances {
        None => {
            let start = paging.after().map_or(Bound::Unbounded, Bound::Excluded);
            let all = scope
                .instances(&service.id)
                .into_iter()
                .flat_map(|instances| instances.by_id.range::<_, str>((start, Bound::Unbounded)))
                .map(|(_, instance)| instance);
            paging.page(all, |instance| &instance.id)
        }
        Some(mut ids) => {
            ids.sort_unstable();
            ids.dedup();
            let mut wanted: Vec<&Arc<Instance>> = Vec::with_capacity(ids.len());
            for id in &ids {
                wanted.push(
                    scope
                        .instance(&service.id, id)
                        .ok_or_else(|| errors::instance_not_found(&service.name, id))?,
                );
            }
            paging.page(wanted.into_iter(), |instance| &instance.id)
        }
    };
    write(&GetOutput {
        status: page
            .items
            .into_iter()
            .map(|instance| (&*instance.id, word(service, instance.health)))
            .collect(),
        next_token: page.next,
    })
}

/// Takes effect at once, where AWS waits half a minute: a report of health is worth most when it is new.
pub(super) async fn update(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let input: UpdateInput = read(call)?;
    let command = cloudmap::Command::SetHealth {
        service_id: ids::service_id(call, &input.service_id)?.to_owned(),
        instance_id: input.instance_id,
        health: input.status,
    };
    call.commit(Command::CloudMap(command))
        .await
        .map_err(errors::from_commit)?;
    write(&json!({}))
}
