//! Services with their endpoints: the input of service rules, DNS, load balancers and environment variables.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tombolo_kube::{ObjectExt, PodExt};

use super::object_store::Objects;

/// A Service with its endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceView {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// The cluster IP; `None` for a headless Service.
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) ports: Vec<PortView>,
    /// Ready pods by name, or by `hostname` where a pod sets one.
    pub(crate) pods: BTreeMap<String, Ipv4Addr>,
    /// Whether it is of type LoadBalancer.
    pub(crate) load_balancer: bool,
}

/// One port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PortView {
    pub(crate) name: Option<String>,
    /// The port on the cluster IP.
    pub(crate) port: u16,
    /// The node port, for Services of type NodePort and LoadBalancer.
    pub(crate) node_port: Option<u16>,
    /// Whether it is UDP rather than TCP.
    pub(crate) udp: bool,
    /// Ready pods, each with its own target port.
    pub(crate) targets: Vec<SocketAddrV4>,
}

/// Every Service of the cluster.
pub(crate) fn services(objects: &Objects) -> Vec<ServiceView> {
    let pods = objects.list::<Pod>();
    let services = objects.list::<Service>();
    services
        .iter()
        .map(|service| resolve(service, &pods))
        .collect()
}

fn resolve(service: &Service, pods: &[Arc<Pod>]) -> ServiceView {
    let spec = service.spec.clone().unwrap_or_default();
    let publish_not_ready = spec.publish_not_ready_addresses == Some(true);
    // A Service without a selector selects nothing.
    let selector = spec.selector.filter(|selector| !selector.is_empty());
    let is_selected = |pod: &Pod| {
        pod.namespace() == service.namespace()
            && selector.as_ref().is_some_and(|selector| {
                let mut labels = selector.iter();
                labels.all(|(key, value)| pod.labels().get(key) == Some(value))
            })
            && (pod.is_serving() || publish_not_ready && !pod.is_terminating())
    };
    let selected = pods.iter().filter(|pod| is_selected(pod));
    let selected = selected.filter_map(|pod| Some((pod, pod.ipv4()?)));
    let selected: Vec<(&Arc<Pod>, Ipv4Addr)> = selected.collect();
    let ports = spec.ports.iter().flatten().filter_map(|port| {
        let number = u16::try_from(port.port).ok()?;
        let targets = selected.iter().filter_map(|(pod, address)| {
            let port = target_port(port.target_port.as_ref(), number, pod)?;
            Some(SocketAddrV4::new(*address, port))
        });
        Some(PortView {
            name: port.name.clone(),
            port: number,
            node_port: port.node_port.and_then(|port| u16::try_from(port).ok()),
            udp: port.protocol.as_deref() == Some("UDP"),
            targets: targets.collect(),
        })
    });
    ServiceView {
        name: service.name().to_owned(),
        namespace: service.namespace().to_owned(),
        address: spec.cluster_ip.and_then(|address| address.parse().ok()),
        ports: ports.collect(),
        pods: selected
            .iter()
            .map(|(pod, address)| (hostname(pod).to_owned(), *address))
            .collect(),
        load_balancer: spec.type_.as_deref() == Some("LoadBalancer"),
    }
}

/// `spec.hostname`; the pod's name where absent.
pub(crate) fn hostname(pod: &Pod) -> &str {
    let spec = pod.spec.as_ref();
    let own = spec.and_then(|spec| spec.hostname.as_deref());
    own.unwrap_or(pod.name())
}

/// The container port of a `targetPort`: `port` where it is absent or 0; a name is looked up among the ports of the
/// pod's containers.
pub(crate) fn target_port(target: Option<&IntOrString>, port: u16, pod: &Pod) -> Option<u16> {
    match target {
        None | Some(IntOrString::Int(0)) => Some(port),
        Some(IntOrString::Int(number)) => u16::try_from(*number).ok(),
        Some(IntOrString::String(name)) => name.parse().ok().or_else(|| {
            let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
            let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
            let found = ports.find(|port| port.name.as_deref() == Some(name))?;
            u16::try_from(found.container_port).ok()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
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
