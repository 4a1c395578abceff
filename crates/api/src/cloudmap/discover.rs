//! `DiscoverInstances`, the hot path: three look-ups in the published view, without a lock. The output is concatenated
//! from the JSON of each instance, which is cached in the instance (facts/cloudmap-api.md §9).

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

/// The filter of `DiscoverInstances` by health, for services with a health check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum HealthFilter {
    /// Healthy instances.
    #[default]
    Healthy,
    /// Unhealthy instances.
    Unhealthy,
    /// All instances.
    All,
    /// Healthy instances, or all if none is healthy.
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

/// The members of a [`DiscoveredShape`] that depend on the instance only.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct InstanceMembers<'a> {
    instance_id: &'a str,
    attributes: &'a BTreeMap<String, String>,
}

/// The members of a [`DiscoveredShape`] that are the same for all instances of a service with the same health.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ServiceMembers<'a> {
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
        let query = attributes("QueryParameters", self.query_parameters.as_ref())?;
        let optional = attributes("OptionalParameters", self.optional_parameters.as_ref())?;
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
        // Optional parameters are ignored if no instance matches them.
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

/// The JSON of a [`DiscoverInstancesOutput`]: `{"Instances":[{instance,service},…],"InstancesRevision":…}`, where
/// `instance` and `service` are the members of [`InstanceMembers`] and [`ServiceMembers`].
fn write(
    namespace: &Namespace,
    service: &Service,
    instances: &[&Arc<Instance>],
    revision: u64,
) -> Vec<u8> {
    let service_members = |health| {
        json::write(&ServiceMembers {
            namespace_name: &namespace.http_name,
            service_name: &service.name,
            health_status: status(service, health),
        })
    };
    let healthy = service_members(Health::Healthy);
    let unhealthy = service_members(Health::Unhealthy);
    let parts = || {
        instances.iter().map(|instance| {
            let service = match instance.health {
                Health::Healthy => &healthy,
                Health::Unhealthy => &unhealthy,
            };
            // The two JSON objects are merged into one: without `}` of the first and `{` of the second.
            let instance = instance_members(instance);
            (&instance[..instance.len() - 1], &service[1..])
        })
    };
    let length: usize = parts()
        .map(|(instance, service)| instance.len() + service.len() + 2)
        .sum();
    let mut body = Vec::with_capacity(length + 64);
    body.extend_from_slice(br#"{"Instances":["#);
    for (i, (instance, service)) in parts().enumerate() {
        if i > 0 {
            body.push(b',');
        }
        body.extend_from_slice(instance);
        body.push(b',');
        body.extend_from_slice(service);
    }
    body.extend_from_slice(br#"],"InstancesRevision":"#);
    body.extend_from_slice(revision.to_string().as_bytes());
    body.push(b'}');
    body
}

/// The JSON of [`InstanceMembers`], from the cache in the instance.
fn instance_members(instance: &Instance) -> &[u8] {
    instance.discovery_json.get_or_derive(|| {
        json::write(&InstanceMembers {
            instance_id: &instance.id,
            attributes: &instance.attributes,
        })
    })
}

/// Looks up a service by its name and the HTTP name of its namespace.
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

/// The attributes in a member of the input, as key and value.
///
/// # Errors
/// An attribute that no instance can have: an empty result would hide the mistake.
fn attributes<'a>(
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
    let health = match filter {
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
    instances.retain(|instance| instance.health == health);
}
