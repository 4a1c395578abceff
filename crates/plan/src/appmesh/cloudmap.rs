//! Lookups of App Mesh in the Cloud Map registry.

use crate::{
    dialect::{Dependencies, Dependency},
    plan::{AddressFamily, Endpoint, EndpointQuery},
};
use std::net::IpAddr;
use tombolo_model::{
    RecordKey, ScopeView,
    cloudmap::{Health, Instance, Service},
};

/// The instances that a query selects, in the order of their ids. The port is the listener's, not the
/// instance's (facts/appmesh-api.md §6).
pub(super) fn endpoints(
    scope: &ScopeView,
    query: &EndpointQuery,
    dependencies: &mut Dependencies,
) -> Vec<Endpoint> {
    let Some(service) = service(scope, &query.namespace, &query.service, dependencies) else {
        return Vec::new();
    };
    let attributes = || {
        query
            .attributes
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    };
    instances(scope, service)
        .filter(|instance| instance.carries(attributes()))
        .filter_map(|instance| {
            Some(Endpoint {
                address: address(instance, query.family)?,
                port: query.port,
                healthy: !service.is_health_checked() || instance.health == Health::Healthy,
            })
        })
        .collect()
}

/// The addresses that DNS answers for `SERVICE.NAMESPACE`, sorted; empty if the registry has no such name.
pub(super) fn addresses(
    scope: &ScopeView,
    name: &str,
    dependencies: &mut Dependencies,
) -> Vec<IpAddr> {
    let found = name
        .split_once('.')
        .and_then(|(name, namespace)| service(scope, namespace, name, dependencies));
    let Some(service) = found else {
        return Vec::new();
    };
    let mut addresses: Vec<IpAddr> = instances(scope, service)
        .flat_map(|instance| [v4(instance), v6(instance)])
        .flatten()
        .collect();
    addresses.sort();
    addresses.dedup();
    addresses
}

/// Whether there is a namespace of this name.
pub(super) fn has_namespace(
    scope: &ScopeView,
    name: &str,
    dependencies: &mut Dependencies,
) -> bool {
    namespace(scope, name, dependencies).is_some()
}

fn namespace<'a>(
    scope: &'a ScopeView,
    name: &str,
    dependencies: &mut Dependencies,
) -> Option<&'a str> {
    dependencies.add(Dependency::Namespace(name.into()));
    let namespace = scope.namespace_by_name(name)?;
    dependencies.add(Dependency::Record(RecordKey::Namespace(
        namespace.id.clone(),
    )));
    Some(&namespace.id)
}

fn service<'a>(
    scope: &'a ScopeView,
    namespace_name: &str,
    name: &str,
    dependencies: &mut Dependencies,
) -> Option<&'a Service> {
    let namespace = namespace(scope, namespace_name, dependencies)?;
    dependencies.add(Dependency::Service(namespace_name.into(), name.into()));
    let service = scope.service_by_name(namespace, name)?;
    dependencies.add(Dependency::Record(RecordKey::Service(service.id.clone())));
    dependencies.add(Dependency::Instances(service.id.clone()));
    Some(service)
}

fn instances<'a>(scope: &'a ScopeView, service: &Service) -> impl Iterator<Item = &'a Instance> {
    let instances = scope.instances(&service.id);
    instances
        .into_iter()
        .flat_map(|instances| instances.by_id.values())
        .map(|instance| &**instance)
}

fn v4(instance: &Instance) -> Option<IpAddr> {
    instance.attributes.ipv4().map(IpAddr::V4)
}

fn v6(instance: &Instance) -> Option<IpAddr> {
    instance.attributes.ipv6().map(IpAddr::V6)
}

fn address(instance: &Instance, family: AddressFamily) -> Option<IpAddr> {
    match family {
        AddressFamily::Any | AddressFamily::V4Preferred => v4(instance).or_else(|| v6(instance)),
        AddressFamily::V6Preferred => v6(instance).or_else(|| v4(instance)),
        AddressFamily::V4Only => v4(instance),
        AddressFamily::V6Only => v6(instance),
    }
}
