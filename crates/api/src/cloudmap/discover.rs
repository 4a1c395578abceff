//! Discovery: the hot path. It takes the published view, follows three maps to the instances and writes
//! the answer from borrowed data; no lock, no copy of an attribute (facts/cloudmap-api.md §9).

use super::{errors, health, invalid, read, write};
use crate::{
    random,
    wire::{Call, Failure},
};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, collections::BTreeMap, sync::Arc};
use tombolo_model::{
    ScopeView,
    registry::{Health, Instance, Namespace, Service},
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Input<'a> {
    #[serde(borrow)]
    namespace_name: Cow<'a, str>,
    #[serde(borrow)]
    service_name: Cow<'a, str>,
    max_results: Option<i64>,
    query_parameters: Option<BTreeMap<String, String>>,
    optional_parameters: Option<BTreeMap<String, String>>,
    health_status: Option<HealthFilter>,
    #[serde(borrow)]
    owner_account: Option<Cow<'a, str>>,
}

/// Which instances a caller wants. It means nothing where health is not known.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum HealthFilter {
    #[default]
    Healthy,
    Unhealthy,
    All,
    /// All, when none is healthy.
    HealthyOrElseAll,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Output<'a> {
    instances: Vec<Item<'a>>,
    instances_revision: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Item<'a> {
    instance_id: &'a str,
    namespace_name: &'a str,
    service_name: &'a str,
    health_status: &'static str,
    attributes: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RevisionOutput {
    instances_revision: u64,
}

const MAX_RESULTS: i64 = 1000;
const DEFAULT_RESULTS: i64 = 100;

pub(super) fn instances(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let input: Input<'_> = read(call)?;
    let most = input.max_results.unwrap_or(DEFAULT_RESULTS);
    if !(1..=MAX_RESULTS).contains(&most) {
        let message = format!("MaxResults: {most} is not between 1 and {MAX_RESULTS}");
        return Err(invalid(message));
    }
    let view = call.view();
    let (scope, namespace, service) = find(call, view.scope(&call.scope), &input)?;
    let registered = scope.instances(&service.id);
    let mut chosen: Vec<&Arc<Instance>> = registered
        .into_iter()
        .flat_map(|instances| instances.by_id.values())
        .filter(|instance| carries(instance, input.query_parameters.as_ref()))
        .collect();
    if service.is_health_checked() {
        retain_by_health(&mut chosen, input.health_status.unwrap_or_default());
    }
    // Optional parameters narrow the choice only as long as somebody is left.
    if let Some(optional) = input.optional_parameters.as_ref().filter(|o| !o.is_empty())
        && chosen.iter().any(|i| carries(i, Some(optional)))
    {
        chosen.retain(|instance| carries(instance, Some(optional)));
    }
    random::sample(&mut chosen, most as usize);
    write(&Output {
        instances: chosen
            .into_iter()
            .map(|instance| Item {
                instance_id: &instance.id,
                namespace_name: &namespace.http_name,
                service_name: &service.name,
                health_status: health::word(service, instance),
                attributes: &instance.attributes,
            })
            .collect(),
        instances_revision: registered.map_or(0, |instances| instances.revision),
    })
}

pub(super) fn revision(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let input: Input<'_> = read(call)?;
    let view = call.view();
    let (scope, _, service) = find(call, view.scope(&call.scope), &input)?;
    let registered = scope.instances(&service.id);
    write(&RevisionOutput {
        instances_revision: registered.map_or(0, |instances| instances.revision),
    })
}

/// Both names are looked up as they are: discovery knows no ids.
fn find<'a>(
    call: &Call<'_>,
    scope: Option<&'a ScopeView>,
    input: &Input<'_>,
) -> Result<(&'a ScopeView, &'a Arc<Namespace>, &'a Arc<Service>), Failure> {
    let name = &*input.namespace_name;
    if !(1..=1024).contains(&name.len()) || !name.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(invalid(format!(
            "NamespaceName: {name:?} is not 1 to 1024 printable characters"
        )));
    }
    let owner = input.owner_account.as_deref();
    let (scope, namespace) = scope
        .filter(|_| owner.is_none_or(|owner| owner == &*call.scope.account))
        .and_then(|scope| Some((scope, scope.namespace_by_name(name)?)))
        .ok_or_else(|| errors::namespace_not_found(name))?;
    let service = scope
        .service_by_name(&namespace.id, &input.service_name)
        .ok_or_else(|| errors::service_not_found(&input.service_name))?;
    Ok((scope, namespace, service))
}

fn carries(instance: &Instance, wanted: Option<&BTreeMap<String, String>>) -> bool {
    wanted.is_none_or(|wanted| {
        instance.carries(
            wanted
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str())),
        )
    })
}

fn retain_by_health(instances: &mut Vec<&Arc<Instance>>, filter: HealthFilter) {
    let wanted = match filter {
        HealthFilter::All => return,
        HealthFilter::Unhealthy => Health::Unhealthy,
        HealthFilter::Healthy => Health::Healthy,
        HealthFilter::HealthyOrElseAll => {
            if !instances.iter().any(|i| i.health == Health::Healthy) {
                return;
            }
            Health::Healthy
        }
    };
    instances.retain(|instance| instance.health == wanted);
}
