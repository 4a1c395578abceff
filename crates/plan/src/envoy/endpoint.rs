//! Translates the endpoints of clusters.

use super::protobuf::socket;
use crate::plan::Endpoint;
use tombolo_xds::{
    Resource,
    envoy::pb::envoy::config::{
        core::v3::HealthStatus,
        endpoint::v3::{
            self as endpoint, ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints,
            lb_endpoint::HostIdentifier,
        },
    },
};

/// The `ClusterLoadAssignment` of a cluster. An empty set is a resource too: it removes the last endpoint.
pub fn endpoints(cluster: &str, endpoints: &[Endpoint]) -> Resource {
    let hosts: Vec<LbEndpoint> = endpoints
        .iter()
        .map(|endpoint| {
            let mut host = host(&endpoint.address.to_string(), endpoint.port);
            if !endpoint.healthy {
                host.health_status = HealthStatus::Unhealthy.into();
            }
            host
        })
        .collect();
    Resource::encode(cluster, &assignment(cluster, hosts))
}

pub(super) fn host(address: &str, port: u16) -> LbEndpoint {
    LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(endpoint::Endpoint {
            address: Some(socket(address, port)),
            ..Default::default()
        })),
        ..Default::default()
    }
}

pub(super) fn assignment(cluster: &str, hosts: Vec<LbEndpoint>) -> ClusterLoadAssignment {
    let endpoints = if hosts.is_empty() {
        Vec::new()
    } else {
        vec![LocalityLbEndpoints {
            lb_endpoints: hosts,
            ..Default::default()
        }]
    };
    ClusterLoadAssignment {
        cluster_name: cluster.to_owned(),
        endpoints,
        ..Default::default()
    }
}
