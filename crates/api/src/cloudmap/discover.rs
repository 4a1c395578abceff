//! Discovery: the hot path. It takes the published view, follows three maps to the instances and puts the
//! answer together from how each instance is spelled, which is worked out once for each; no lock
//! (facts/cloudmap-api.md §9).

use super::{errors, health, ids, invalid, json, read, write};
use crate::{
    random,
    wire::{Call, Failure},
};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, collections::BTreeMap, sync::Arc};
use tombolo_model::{
    ScopeView,
    apply::cloudmap::{is_attribute_key, is_attribute_value, is_service_name},
    cloudmap::{Health, Instance, Namespace, Service},
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

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RevisionInput<'a> {
    #[serde(borrow)]
    namespace_name: Cow<'a, str>,
    #[serde(borrow)]
    service_name: Cow<'a, str>,
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

/// What an answer says of an instance that holds for this instance alone.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Own<'a> {
    instance_id: &'a str,
    attributes: &'a BTreeMap<String, String>,
}

/// What it says of each instance of a service with the same health.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Common<'a> {
    namespace_name: &'a str,
    service_name: &'a str,
    health_status: &'static str,
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
    check_parameters("QueryParameters", input.query_parameters.as_ref())?;
    check_parameters("OptionalParameters", input.optional_parameters.as_ref())?;
    let (namespace, service) = (&input.namespace_name, &input.service_name);
    let owner = input.owner_account.as_deref();
    let (scope, namespace, service) =
        find(call, view.scope(&call.scope), namespace, service, owner)?;
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
    let revision = registered.map_or(0, |instances| instances.revision);
    Ok(spell(namespace, service, &chosen, revision))
}

/// The answer: `{"Instances":[{own,common},…],"InstancesRevision":…}`.
fn spell(
    namespace: &Namespace,
    service: &Service,
    instances: &[&Arc<Instance>],
    revision: u64,
) -> Vec<u8> {
    let common = |health| {
        let word = health::word(service, health);
        json(&Common {
            namespace_name: &namespace.http_name,
            service_name: &service.name,
            health_status: word,
        })
    };
    let (healthy, unhealthy) = (common(Health::Healthy), common(Health::Unhealthy));
    let parts = || {
        instances.iter().map(|instance| {
            let common = match instance.health {
                Health::Healthy => &healthy,
                Health::Unhealthy => &unhealthy,
            };
            // Two objects become one: `{own` and `,common}`.
            let own = own(instance);
            (&own[..own.len() - 1], &common[1..])
        })
    };
    let length: usize = parts()
        .map(|(own, common)| own.len() + common.len() + 2)
        .sum();
    let mut answer = Vec::with_capacity(length + 64);
    answer.extend_from_slice(br#"{"Instances":["#);
    for (i, (own, common)) in parts().enumerate() {
        if i > 0 {
            answer.push(b',');
        }
        answer.extend_from_slice(own);
        answer.push(b',');
        answer.extend_from_slice(common);
    }
    answer.extend_from_slice(br#"],"InstancesRevision":"#);
    answer.extend_from_slice(revision.to_string().as_bytes());
    answer.push(b'}');
    answer
}

fn own(instance: &Instance) -> &[u8] {
    instance.spelling.get_or_derive(|| {
        json(&Own {
            instance_id: &instance.id,
            attributes: &instance.attributes,
        })
    })
}

pub(super) fn revision(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let input: RevisionInput<'_> = read(call)?;
    let view = call.view();
    let (namespace, service) = (&input.namespace_name, &input.service_name);
    let owner = input.owner_account.as_deref();
    let (scope, _, service) = find(call, view.scope(&call.scope), namespace, service, owner)?;
    let registered = scope.instances(&service.id);
    write(&RevisionOutput {
        instances_revision: registered.map_or(0, |instances| instances.revision),
    })
}

/// Both names are looked up as they are: discovery knows no ids.
fn find<'a>(
    call: &Call<'_>,
    scope: Option<&'a ScopeView>,
    name: &str,
    service: &str,
    owner: Option<&str>,
) -> Result<(&'a ScopeView, &'a Arc<Namespace>, &'a Arc<Service>), Failure> {
    if !(1..=1024).contains(&name.len()) || !name.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(invalid(format!(
            "NamespaceName: {name:?} is not 1 to 1024 printable characters"
        )));
    }
    if !is_service_name(service) {
        return Err(invalid(format!(
            "ServiceName: {service:?} is not a name of 1 to 127 characters"
        )));
    }
    let is_own = ids::is_own(call, owner)?;
    let (scope, namespace) = scope
        .filter(|_| is_own)
        .and_then(|scope| Some((scope, scope.namespace_by_name(name)?)))
        .ok_or_else(|| errors::namespace_not_found(name))?;
    let service = scope
        .service_by_name(&namespace.id, service)
        .ok_or_else(|| errors::service_not_found(service))?;
    Ok((scope, namespace, service))
}

/// What no instance can have is a mistake, and nobody learns of it from an empty answer.
fn check_parameters(
    member: &str,
    wanted: Option<&BTreeMap<String, String>>,
) -> Result<(), Failure> {
    for (key, value) in wanted.into_iter().flatten() {
        if !is_attribute_key(key) || !is_attribute_value(value) {
            return Err(invalid(format!(
                "{member}: no instance can have an attribute {key:?} with the value {value:?}"
            )));
        }
    }
    Ok(())
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
