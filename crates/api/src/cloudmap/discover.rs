//! DiscoverInstances, the hot path: three lookups in the published view, no lock. The output is concatenated from the
//! JSON of each instance, which is written once and kept with the instance (facts/cloudmap-api.md §9).

use super::{errors, instance::status, invalid, lookup};
use crate::{
    call::Call,
    error::ApiError,
    operation::{ANY, RpcOperation, reply},
    random,
    wire::json,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};
use tombolo_model::{
    Scope, ScopeView, View,
    apply::cloudmap::{is_attribute_key, is_attribute_value, is_service_name},
    cloudmap::{Health, Instance, Namespace, Service},
};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DiscoverInstances {
    pub(crate) namespace_name: String,
    pub(crate) service_name: String,
    pub(crate) max_results: Option<i64>,
    pub(crate) query_parameters: Option<BTreeMap<String, String>>,
    pub(crate) optional_parameters: Option<BTreeMap<String, String>>,
    pub(crate) health_status: Option<HealthFilter>,
    pub(crate) owner_account: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DiscoverInstancesRevision {
    pub(crate) namespace_name: String,
    pub(crate) service_name: String,
    pub(crate) owner_account: Option<String>,
}

/// Which instances of a health-checked service are returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum HealthFilter {
    /// The healthy ones.
    #[default]
    Healthy,
    /// The unhealthy ones.
    Unhealthy,
    /// All.
    All,
    /// The healthy ones; all, when none is healthy.
    HealthyOrElseAll,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DiscoverInstancesOutput {
    pub(crate) instances: Vec<DiscoveredShape>,
    #[allow(dead_code)]
    pub(crate) instances_revision: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DiscoveredShape {
    pub(crate) instance_id: String,
    pub(crate) attributes: BTreeMap<String, String>,
    /// `HEALTHY`, `UNHEALTHY` or `UNKNOWN`.
    pub(crate) health_status: String,
}

/// The part of a [`DiscoveredShape`] that belongs to one instance.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Own<'a> {
    instance_id: &'a str,
    attributes: &'a BTreeMap<String, String>,
}

/// The part that is the same for all instances of a service with one health.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Common<'a> {
    namespace_name: &'a str,
    service_name: &'a str,
    health_status: &'static str,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DiscoverInstancesRevisionOutput {
    pub(crate) instances_revision: u64,
}

const MAX_RESULTS: i64 = 1000;
const DEFAULT_RESULTS: i64 = 100;

impl RpcOperation for DiscoverInstances {
    type Output = DiscoverInstancesOutput;

    fn resource(&self, _: &Scope) -> String {
        ANY.to_owned()
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let max = self.max_results.unwrap_or(DEFAULT_RESULTS);
        if !(1..=MAX_RESULTS).contains(&max) {
            let message = format!("MaxResults: {max} is not between 1 and {MAX_RESULTS}");
            return Err(invalid(message));
        }
        let view = call.view();
        let query = wanted("QueryParameters", self.query_parameters.as_ref())?;
        let optional = wanted("OptionalParameters", self.optional_parameters.as_ref())?;
        let (namespace, service) = (&self.namespace_name, &self.service_name);
        let owner = self.owner_account.as_deref();
        let (scope, namespace, service) = find(call, &view, namespace, service, owner)?;
        let registered = scope.instances(&service.id);
        let mut chosen: Vec<&Arc<Instance>> = registered
            .into_iter()
            .flat_map(|instances| instances.by_id.values())
            .filter(|instance| instance.carries(query.iter().copied()))
            .collect();
        if service.is_health_checked() {
            retain_by_health(&mut chosen, self.health_status.unwrap_or_default());
        }
        // Optional parameters are ignored when no instance matches them.
        let preferred = |instance: &Instance| instance.carries(optional.iter().copied());
        if !optional.is_empty() && chosen.iter().any(|instance| preferred(instance)) {
            chosen.retain(|instance| preferred(instance));
        }
        random::sample(&mut chosen, max as usize);
        let revision = registered.map_or(0, |instances| instances.revision);
        Ok(write(namespace, service, &chosen, revision))
    }
}

impl RpcOperation for DiscoverInstancesRevision {
    type Output = DiscoverInstancesRevisionOutput;

    fn resource(&self, _: &Scope) -> String {
        ANY.to_owned()
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let view = call.view();
        let (namespace, service) = (&self.namespace_name, &self.service_name);
        let owner = self.owner_account.as_deref();
        let (scope, _, service) = find(call, &view, namespace, service, owner)?;
        let registered = scope.instances(&service.id);
        reply::<Self>(&DiscoverInstancesRevisionOutput {
            instances_revision: registered.map_or(0, |instances| instances.revision),
        })
    }
}

/// The JSON of a [`DiscoverInstancesOutput`]: `{"Instances":[{own,common},…],"InstancesRevision":…}`.
fn write(
    namespace: &Namespace,
    service: &Service,
    instances: &[&Arc<Instance>],
    revision: u64,
) -> Vec<u8> {
    let common = |health| {
        json::write(&Common {
            namespace_name: &namespace.http_name,
            service_name: &service.name,
            health_status: status(service, health),
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
    let mut body = Vec::with_capacity(length + 64);
    body.extend_from_slice(br#"{"Instances":["#);
    for (i, (own, common)) in parts().enumerate() {
        if i > 0 {
            body.push(b',');
        }
        body.extend_from_slice(own);
        body.push(b',');
        body.extend_from_slice(common);
    }
    body.extend_from_slice(br#"],"InstancesRevision":"#);
    body.extend_from_slice(revision.to_string().as_bytes());
    body.push(b'}');
    body
}

fn own(instance: &Instance) -> &[u8] {
    instance.spelling.get_or_derive(|| {
        json::write(&Own {
            instance_id: &instance.id,
            attributes: &instance.attributes,
        })
    })
}

/// Looks up a service by the names of its namespace and itself; discovery takes no ids.
fn find<'a>(
    call: &Call<'_>,
    view: &'a View,
    name: &str,
    service: &str,
    owner: Option<&str>,
) -> Result<(&'a ScopeView, &'a Arc<Namespace>, &'a Arc<Service>), ApiError> {
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
    let is_own = lookup::is_own(call, owner)?;
    let view = view.scope_or_empty(&call.scope);
    let namespace = view.namespace_by_name(name).filter(|_| is_own);
    let namespace = namespace.ok_or_else(|| errors::namespace_not_found(name))?;
    let service = view
        .service_by_name(&namespace.id, service)
        .ok_or_else(|| errors::service_not_found(service))?;
    Ok((view, namespace, service))
}

/// Attributes that no instance can have are an error: an empty result would hide the mistake.
/// The attributes that a caller asks for, once for all instances that are compared.
fn wanted<'a>(
    member: &str,
    parameters: Option<&'a BTreeMap<String, String>>,
) -> Result<Vec<(&'a str, &'a str)>, ApiError> {
    let read = |(key, value): (&'a String, &'a String)| {
        if !is_attribute_key(key) || !is_attribute_value(value) {
            return Err(invalid(format!(
                "{member}: no instance can have an attribute {key:?} with the value {value:?}"
            )));
        }
        Ok((key.as_str(), value.as_str()))
    };
    parameters.into_iter().flatten().map(read).collect()
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
