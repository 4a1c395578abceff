//! Allocates cluster IPs and node ports of Services.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use tombolo_kube::ObjectExt;
use tombolo_linux::fabric::Ipv4Range;

use super::object_store::Objects;
use crate::network::ip_allocation;

/// The cluster IPs and node ports in use.
#[derive(Default)]
struct Used {
    addresses: BTreeSet<Ipv4Addr>,
    node_ports: BTreeSet<u16>,
}

/// One pass: allocates the missing cluster IP and node ports of each Service.
pub(super) fn reconcile(objects: &mut Objects, range: Ipv4Range) {
    let services = objects.list::<Service>();
    let mut used = Used::default();
    for spec in services.iter().filter_map(|service| service.spec.as_ref()) {
        let address = spec.cluster_ip.as_deref();
        used.addresses
            .extend(address.and_then(|address| address.parse::<Ipv4Addr>().ok()));
        let ports = spec
            .ports
            .iter()
            .flatten()
            .filter_map(|port| port.node_port);
        used.node_ports
            .extend(ports.filter_map(|port| u16::try_from(port).ok()));
    }
    for service in services {
        let (namespace, name) = (service.namespace(), service.name());
        objects.edit::<Service>(namespace, name, |service| {
            if let Some(spec) = &mut service.spec {
                allocate(spec, range, &mut used, namespace, name);
            }
        });
    }
}

fn allocate(
    spec: &mut ServiceSpec,
    range: Ipv4Range,
    used: &mut Used,
    namespace: &str,
    name: &str,
) {
    let kind = spec.type_.get_or_insert_with(|| "ClusterIP".to_owned());
    if kind == "ExternalName" {
        return;
    }
    let has_node_ports = matches!(kind.as_str(), "NodePort" | "LoadBalancer");
    if spec.cluster_ip.as_deref().unwrap_or_default().is_empty()
        && let Some(address) =
            ip_allocation::service_address(range, &used.addresses, namespace, name)
    {
        used.addresses.insert(address);
        spec.cluster_ip = Some(address.to_string());
        spec.cluster_ips = Some(vec![address.to_string()]);
    }
    for port in spec.ports.iter_mut().flatten() {
        port.protocol.get_or_insert_with(|| "TCP".to_owned());
        let number = u16::try_from(port.port).unwrap_or(0);
        if has_node_ports
            && port.node_port.unwrap_or(0) == 0
            && let Some(free) = ip_allocation::node_port(&used.node_ports, namespace, name, number)
        {
            used.node_ports.insert(free);
            port.node_port = Some(i32::from(free));
        }
    }
}
