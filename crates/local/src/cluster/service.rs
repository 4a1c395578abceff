//! Services as objects: their virtual addresses and node ports.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use tombolo_linux::fabric::Ipv4Range;

use super::object::Objects;
use crate::network::address;

/// One pass: each Service that may have an address has one.
pub fn reconcile(objects: &mut Objects, range: Ipv4Range) {
    let services = objects.list::<Service>();
    let mut addresses: BTreeSet<Ipv4Addr> = BTreeSet::new();
    let mut ports: BTreeMap<u16, ()> = BTreeMap::new();
    for spec in services.iter().filter_map(|service| service.spec.as_ref()) {
        addresses.extend(
            spec.cluster_ip
                .as_deref()
                .and_then(|address| address.parse::<Ipv4Addr>().ok()),
        );
        let own = spec
            .ports
            .iter()
            .flatten()
            .filter_map(|port| u16::try_from(port.node_port?).ok());
        ports.extend(own.map(|port| (port, ())));
    }
    for service in services {
        let (namespace, name) = (
            service.metadata.namespace.clone().unwrap_or_default(),
            service.metadata.name.clone().unwrap_or_default(),
        );
        objects.edit::<Service>(&namespace, &name, |service| {
            let Some(spec) = &mut service.spec else {
                return;
            };
            complete(spec, range, &mut addresses, &mut ports, &namespace, &name);
        });
    }
}

fn complete(
    spec: &mut ServiceSpec,
    range: Ipv4Range,
    addresses: &mut BTreeSet<Ipv4Addr>,
    ports: &mut BTreeMap<u16, ()>,
    namespace: &str,
    name: &str,
) {
    let kind = spec
        .type_
        .get_or_insert_with(|| "ClusterIP".to_owned())
        .clone();
    if kind == "ExternalName" {
        return;
    }
    if spec.cluster_ip.as_deref().unwrap_or_default().is_empty()
        && let Some(address) = address::service_address(range, addresses, namespace, name)
    {
        addresses.insert(address);
        spec.cluster_ip = Some(address.to_string());
        spec.cluster_ips = Some(vec![address.to_string()]);
    }
    for port in spec.ports.iter_mut().flatten() {
        port.protocol.get_or_insert_with(|| "TCP".to_owned());
        let number = u16::try_from(port.port).unwrap_or(0);
        if matches!(kind.as_str(), "NodePort" | "LoadBalancer")
            && port.node_port.unwrap_or(0) == 0
            && let Some(free) = address::node_port(ports, namespace, name, number)
        {
            ports.insert(free, ());
            port.node_port = Some(i32::from(free));
        }
    }
}
