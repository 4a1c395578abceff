//! The network over a fake container runtime: rules that follow the objects.

use super::*;
use crate::cluster::testkit::{MESH, NAMESPACE, cluster_of, pod_is_ready};
use crate::container_runtime::fake::FakeRuntime;
use tombolo_linux::fabric::Refusal;

const WEB: &str = "apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {ports: [{port: 80, targetPort: 8081}], selector: {app: web}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: [{name: web, image: web}]}
";

const COLOR: &str = "apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: color, namespace: shop}
spec:
  podSelector: {matchLabels: {app: color}}
  listeners: [{portMapping: {port: 7070, protocol: http}}]
  serviceDiscovery: {dns: {hostname: color.shop}}
";

fn network() -> (FakeRuntime, Network) {
    let runtime = FakeRuntime::default();
    let east = cluster_of("east", 0, &[NAMESPACE, WEB].concat());
    let west = cluster_of("west", 1, &[MESH, COLOR].concat());
    let network = Network::new(
        Arc::new(runtime.clone()),
        vec![east, west],
        watch::channel(Arc::default()).1,
        Arc::new(Clusters::default()),
        NetworkPolicy::default(),
    );
    (runtime, network)
}

fn allowed(runtime: &FakeRuntime, from: &str) -> Allowed {
    runtime
        .rules()
        .policies
        .into_iter()
        .find(|policy| policy.from.name == from)
        .unwrap()
        .allowed
}

#[tokio::test]
async fn ports_of_virtual_nodes_are_open_until_denied() {
    let (runtime, network) = network();
    network.publish().await;
    assert_eq!(allowed(&runtime, "west"), Allowed::Ports(vec![]));
    let open = |runtime: &FakeRuntime| matches!(allowed(runtime, "east"), Allowed::Ports(ports) if ports.iter().any(|range| range.first == 7070));
    assert!(open(&runtime));
    let rule = "east:west:7070".parse().unwrap();
    network.change(&rule, NetworkPolicy::deny).await.unwrap();
    assert!(!open(&runtime));
    let rule = "east:south:1".parse().unwrap();
    let error = network
        .change(&rule, NetworkPolicy::allow)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("no cluster south"));
}

#[tokio::test]
async fn service_address_leads_to_pods_once_they_are_ready() {
    let (runtime, network) = network();
    network.publish().await;
    assert!(runtime.rules().services[0].endpoints.is_empty());
    pod_is_ready(&network.clusters[0], "web", "10.0.0.20");
    network.publish().await;
    assert_eq!(
        runtime.rules().services[0].endpoints,
        ["10.0.0.20:8081".parse().unwrap()]
    );
    assert_eq!(runtime.rules().services[0].port, 80);
}

#[tokio::test(start_paused = true)]
async fn refused_packets_of_the_last_minute_are_a_finding_and_older_ones_are_not() {
    let (runtime, network) = network();
    let refusal = |packets| Refusal {
        from: "west".into(),
        to: "east".into(),
        protocol: Protocol::Tcp,
        port: 81,
        packets,
    };
    network.sample().await;
    runtime.refuse(vec![refusal(3)]);
    let findings = network.diagnose().await;
    assert!(
        findings[0]
            .message
            .contains("east refuses port 81 from west (3 refused"),
        "{findings:?}"
    );
    for _ in 0..14 {
        tokio::time::advance(SAMPLE_INTERVAL).await;
        network.sample().await;
    }
    assert!(network.diagnose().await.is_empty());
}
