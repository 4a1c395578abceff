//! The endpoints of a cluster, from the registry.

use crate::plan::{AddressFamily, Endpoint, EndpointQuery};
use std::net::IpAddr;
use tombolo_model::{
    ScopeView,
    cloudmap::{Health, Instance},
};

/// The instances that a query selects, in a stable order. The port is the listener's, not the
/// instance's (facts/appmesh-api.md §6).
pub fn endpoints(scope: &ScopeView, query: &EndpointQuery) -> Vec<Endpoint> {
    let service = scope
        .namespace_by_name(&query.namespace)
        .and_then(|namespace| scope.service_by_name(&namespace.id, &query.service));
    let Some(service) = service else {
        return Vec::new();
    };
    let Some(instances) = scope.instances(&service.id) else {
        return Vec::new();
    };
    let wanted = || {
        query
            .attributes
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    };
    instances
        .by_id
        .values()
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

fn address(instance: &Instance, family: AddressFamily) -> Option<IpAddr> {
    let v4 = || instance.attributes.ipv4().map(IpAddr::V4);
    let v6 = || instance.attributes.ipv6().map(IpAddr::V6);
    match family {
        AddressFamily::Any | AddressFamily::V4Preferred => v4().or_else(v6),
        AddressFamily::V6Preferred => v6().or_else(v4),
        AddressFamily::V4Only => v4(),
        AddressFamily::V6Only => v6(),
    }
}
