//! The DNS records of a cluster: Services, pods of headless Services, named ports.

use std::net::IpAddr;

use tombolo_dns::cluster::{Addresses, Cluster as Zone, Endpoint, IpNet, Port, Service};

use crate::cluster::service_view::ServiceView;
use crate::cluster::{Cluster, Key, Kind};

/// The domain of a cluster's names.
const DOMAIN: &str = "cluster.local";

/// The zone of a cluster with these Services, for clients in the cluster's range.
pub(super) fn zone(cluster: &Cluster, services: &[ServiceView]) -> Zone {
    let address = IpAddr::V4(cluster.range.address());
    // Invariant: the prefix of a range is at most 32.
    let range = IpNet::new_assert(address, cluster.range.prefix());
    cluster.objects.read(|objects| {
        let namespaces = objects.of_kind(Kind::Namespace);
        let services = services.iter().map(|service| {
            let key = Key::new(Kind::Service, &service.namespace, &service.name);
            let object = objects.object(&key);
            let external = object
                .filter(|object| object.text("/spec/type") == Some("ExternalName"))
                .and_then(|object| object.text("/spec/externalName"));
            let pods = service.pods.iter().map(|(name, address)| Endpoint {
                address: IpAddr::V4(*address),
                hostname: Some(name.clone()),
            });
            let addresses = match (external, service.address) {
                (Some(name), _) => Addresses::ExternalName(name.to_owned()),
                (None, Some(address)) => Addresses::ClusterIp(vec![IpAddr::V4(address)]),
                (None, None) => Addresses::Headless(pods.collect()),
            };
            let ports = service.ports.iter().map(|port| Port {
                name: port.name.clone().unwrap_or_default(),
                protocol: if port.udp { "udp" } else { "tcp" }.to_owned(),
                port: port.port,
            });
            Service {
                namespace: service.namespace.clone(),
                name: service.name.clone(),
                addresses,
                ports: ports.collect(),
            }
        });
        Zone {
            sources: vec![range],
            domain: DOMAIN.to_owned(),
            namespaces: namespaces
                .map(|namespace| namespace.key.name.clone())
                .collect(),
            services: services.collect(),
        }
    })
}
