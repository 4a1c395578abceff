//! A cluster as its DNS tells it: Services, headless pods, named ports.

use std::net::IpAddr;

use tombolo_dns::cluster::{Addresses, Cluster as Zone, Endpoint, Port, Service};

use crate::cluster::endpoint::ServiceView;
use crate::cluster::{Cluster, Kind};

/// The domain under which a cluster's names are.
pub const DOMAIN: &str = "cluster.local";

/// The names of a cluster with these Services.
pub fn cluster(cluster: &Cluster, services: &[ServiceView]) -> Zone {
    let (namespaces, external) = cluster.objects.read(|objects| {
        let namespaces = objects
            .of_kind(Kind::Namespace)
            .map(|namespace| namespace.key.name.clone())
            .collect();
        let external = objects
            .of_kind(Kind::Service)
            .filter(|service| service.text("/spec/type") == Some("ExternalName"));
        let external = external.filter_map(|service| {
            Some((
                service.key.clone(),
                service.text("/spec/externalName")?.to_owned(),
            ))
        });
        (
            namespaces,
            external.collect::<std::collections::BTreeMap<_, _>>(),
        )
    });
    let services = services.iter().map(|service| {
        let key = crate::cluster::Key::new(Kind::Service, &service.namespace, &service.name);
        let addresses = match (external.get(&key), service.address) {
            (Some(name), _) => Addresses::ExternalName(name.clone()),
            (None, Some(address)) => Addresses::ClusterIp(vec![IpAddr::V4(address)]),
            (None, None) => Addresses::Headless(
                service
                    .pods
                    .iter()
                    .map(|(name, address)| Endpoint {
                        address: IpAddr::V4(*address),
                        hostname: Some(name.clone()),
                    })
                    .collect(),
            ),
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
        sources: vec![super::dns_range(cluster)],
        domain: DOMAIN.to_owned(),
        namespaces,
        services: services.collect(),
    }
}
