//! Who answers for a Service: the pods behind it, as networks, names and load balancers see them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::object::Objects;

/// A Service with everything resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceView {
    /// Namespace of the Service.
    pub namespace: String,
    /// Name of the Service.
    pub name: String,
    /// Its virtual address; `None` for headless ones.
    pub address: Option<Ipv4Addr>,
    /// Its ports.
    pub ports: Vec<PortView>,
    /// Ready pods behind it, by pod name (or `hostname` where a pod sets one).
    pub pods: BTreeMap<String, Ipv4Addr>,
    /// Whether it asks for an address outside of the cluster.
    pub load_balancer: bool,
}

/// One port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortView {
    /// The port's name, if it has one.
    pub name: Option<String>,
    /// The port on the virtual address.
    pub port: u16,
    /// The port on each node, for NodePort and LoadBalancer Services.
    pub node_port: Option<u16>,
    /// Whether it is UDP rather than TCP.
    pub udp: bool,
    /// Ready pods and the port that each listens on.
    pub targets: Vec<SocketAddrV4>,
}

/// Whether a pod takes traffic: ready and not on its way out.
pub fn serves(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none() && condition(pod, "Ready")
}

/// Whether a condition of a pod is true.
pub fn condition(pod: &Pod, name: &str) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == name && condition.status == "True")
}

/// A pod's address, once it has one.
pub fn address(pod: &Pod) -> Option<Ipv4Addr> {
    pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()
}

/// Whether every label asked for is there. An empty selector selects nothing here, as for Services.
pub fn selects(
    selector: Option<&BTreeMap<String, String>>,
    labels: Option<&BTreeMap<String, String>>,
) -> bool {
    let Some(selector) = selector.filter(|selector| !selector.is_empty()) else {
        return false;
    };
    selector
        .iter()
        .all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
}

/// Every Service of the cluster, resolved.
pub fn services(objects: &Objects) -> Vec<ServiceView> {
    let pods = objects.list::<Pod>();
    objects
        .list::<Service>()
        .iter()
        .map(|service| resolve(service, &pods))
        .collect()
}

/// One Service, resolved against the cluster's pods.
pub fn resolve(service: &Service, pods: &[std::sync::Arc<Pod>]) -> ServiceView {
    let spec = service.spec.clone().unwrap_or_default();
    let namespace = service.metadata.namespace.clone().unwrap_or_default();
    let publish_early = spec.publish_not_ready_addresses == Some(true);
    let behind: Vec<(&Pod, Ipv4Addr)> = pods
        .iter()
        .filter(|pod| pod.metadata.namespace.as_deref() == Some(namespace.as_str()))
        .filter(|pod| selects(spec.selector.as_ref(), pod.metadata.labels.as_ref()))
        .filter(|pod| serves(pod) || (publish_early && pod.metadata.deletion_timestamp.is_none()))
        .filter_map(|pod| Some((pod.as_ref(), address(pod)?)))
        .collect();
    let ports = spec.ports.iter().flatten().filter_map(|port| {
        let number = u16::try_from(port.port).ok()?;
        let targets = behind
            .iter()
            .filter_map(|(pod, ip)| {
                Some(SocketAddrV4::new(
                    *ip,
                    target_port(port.target_port.as_ref(), number, pod)?,
                ))
            })
            .collect();
        Some(PortView {
            name: port.name.clone(),
            port: number,
            node_port: port.node_port.and_then(|port| u16::try_from(port).ok()),
            udp: port.protocol.as_deref() == Some("UDP"),
            targets,
        })
    });
    ServiceView {
        name: service.metadata.name.clone().unwrap_or_default(),
        namespace,
        address: spec
            .cluster_ip
            .as_deref()
            .and_then(|address| address.parse().ok()),
        ports: ports.collect(),
        pods: behind
            .iter()
            .map(|(pod, ip)| (host_name(pod), *ip))
            .collect(),
        load_balancer: spec.type_.as_deref() == Some("LoadBalancer"),
    }
}

fn host_name(pod: &Pod) -> String {
    let hostname = pod.spec.as_ref().and_then(|spec| spec.hostname.clone());
    hostname
        .or_else(|| pod.metadata.name.clone())
        .unwrap_or_default()
}

/// The port of a pod that a Service's `targetPort` means; a name is looked up among the pod's own ports.
pub fn target_port(target: Option<&IntOrString>, port: u16, pod: &Pod) -> Option<u16> {
    match target {
        None => Some(port),
        Some(IntOrString::Int(number)) => match u16::try_from(*number).ok()? {
            0 => Some(port),
            number => Some(number),
        },
        Some(IntOrString::String(name)) => match name.parse() {
            Ok(number) => Some(number),
            Err(_) => {
                let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
                let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
                let found = ports.find(|port| port.name.as_deref() == Some(name))?;
                u16::try_from(found.container_port).ok()
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;
    use tombolo_kube::Codec;

    fn pod(name: &str, ip: &str, ready: &str, terminating: bool) -> Arc<Pod> {
        let mut body = json!({
            "metadata": {"name": name, "namespace": "shop", "labels": {"app": "web", "extra": "x"}},
            "spec": {"containers": [{"name": "web", "ports": [{"name": "http", "containerPort": 8081}]}]},
            "status": {"podIP": ip, "conditions": [{"type": "Ready", "status": ready}]},
        });
        if terminating {
            body["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        Arc::new(Codec::from_json(&body).unwrap())
    }

    fn service(spec: serde_json::Value) -> Service {
        Codec::from_json(&json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec}))
            .unwrap()
    }

    #[test]
    fn only_ready_pods_that_stay_are_endpoints() {
        let pods = [
            pod("a", "10.0.0.1", "True", false),
            pod("b", "10.0.0.2", "False", false),
            pod("c", "10.0.0.3", "True", true),
        ];
        let service = service(
            json!({"clusterIP": "10.100.0.11", "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}),
        );
        let view = resolve(&service, &pods);
        assert_eq!(view.address, Some(Ipv4Addr::new(10, 100, 0, 11)));
        assert_eq!(view.ports[0].targets, ["10.0.0.1:8081".parse().unwrap()]);
    }

    #[test]
    fn service_without_selector_has_an_address_and_no_endpoints() {
        let service = service(json!({"clusterIP": "10.100.0.12", "ports": [{"port": 8080}]}));
        let view = resolve(&service, &[pod("a", "10.0.0.1", "True", false)]);
        assert!(view.address.is_some() && view.ports[0].targets.is_empty() && view.pods.is_empty());
    }

    #[test]
    fn headless_service_lists_its_pods() {
        let service = service(
            json!({"clusterIP": "None", "selector": {"app": "web"}, "ports": [{"port": 80}]}),
        );
        let view = resolve(&service, &[pod("a", "10.0.0.1", "True", false)]);
        assert_eq!(view.address, None);
        assert_eq!(view.pods["a"], Ipv4Addr::new(10, 0, 0, 1));
    }
}
