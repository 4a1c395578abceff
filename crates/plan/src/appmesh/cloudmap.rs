//! What App Mesh looks up in the registry.

use crate::{
    dialect::{Reads, Topic},
    plan::{AddressFamily, Endpoint, EndpointQuery},
};
use std::net::IpAddr;
use tombolo_model::{
    RecordKey, ScopeView,
    cloudmap::{Health, Instance, Service},
};

/// The instances that a query selects, in a stable order. The port is the listener's, not the
/// instance's (facts/appmesh-api.md §6).
pub(super) fn endpoints(
    scope: &ScopeView,
    query: &EndpointQuery,
    reads: &mut Reads,
) -> Vec<Endpoint> {
    let Some(service) = service(scope, &query.namespace, &query.service, reads) else {
        return Vec::new();
    };
    let wanted = || {
        query
            .attributes
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    };
    instances(scope, service)
        .filter(|instance| instance.carries(wanted()))
        .filter_map(|instance| {
            Some(Endpoint {
                address: address(instance, query.family)?,
                port: query.port,
                healthy: !service.is_health_checked() || instance.health == Health::Healthy,
            })
        })
        .collect()
}

/// The addresses that DNS answers for `SERVICE.NAMESPACE`; empty where the registry has no such name.
pub(super) fn addresses(scope: &ScopeView, name: &str, reads: &mut Reads) -> Vec<IpAddr> {
    let found = name
        .split_once('.')
        .and_then(|(name, namespace)| service(scope, namespace, name, reads));
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
pub(super) fn has_namespace(scope: &ScopeView, name: &str, reads: &mut Reads) -> bool {
    namespace(scope, name, reads).is_some()
}

fn namespace<'a>(scope: &'a ScopeView, name: &str, reads: &mut Reads) -> Option<&'a str> {
    reads.note(Topic::Namespace(name.into()));
    let namespace = scope.namespace_by_name(name)?;
    reads.note(Topic::Record(RecordKey::Namespace(namespace.id.clone())));
    Some(&namespace.id)
}

fn service<'a>(
    scope: &'a ScopeView,
    namespace_name: &str,
    name: &str,
    reads: &mut Reads,
) -> Option<&'a Service> {
    let namespace = namespace(scope, namespace_name, reads)?;
    reads.note(Topic::Service(namespace_name.into(), name.into()));
    let service = scope.service_by_name(namespace, name)?;
    reads.note(Topic::Record(RecordKey::Service(service.id.clone())));
    reads.note(Topic::Instances(service.id.clone()));
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
