//! The network over a fake machine: rules that follow the objects.

use super::*;
use crate::cluster::testkit::{cluster_of, pod_is_ready};
use crate::machine::fake::FakeMachine;
use tombolo_linux::fabric::Refusal;

const EAST: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {ports: [{port: 80, targetPort: 8081}], selector: {app: web}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: [{name: web, image: web}]}
";

const WEST: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {mesh: m}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: Mesh
metadata: {name: m}
spec: {namespaceSelector: {matchLabels: {mesh: m}}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: color, namespace: shop}
spec:
  podSelector: {matchLabels: {app: color}}
  listeners: [{portMapping: {port: 7070, protocol: http}}]
  serviceDiscovery: {dns: {hostname: color.shop}}
";

fn network() -> (FakeMachine, Network) {
    let machine = FakeMachine::default();
    let clusters = vec![cluster_of("east", 0, EAST), cluster_of("west", 1, WEST)];
    let desired = watch::channel(Arc::default()).1;
    let network = Network::new(
        Arc::new(machine.clone()),
        clusters,
        desired,
        Arc::new(Clusters::default()),
        Rules::default(),
    );
    (machine, network)
}

fn allowed(machine: &FakeMachine, from: &str) -> Allowed {
    machine
        .rules()
        .policies
        .into_iter()
        .find(|policy| policy.from.name == from)
        .unwrap()
        .allowed
}

#[tokio::test]
async fn ports_of_virtual_nodes_are_open_until_denied() {
    let (machine, network) = network();
    network.publish().await;
    assert_eq!(allowed(&machine, "west"), Allowed::Ports(vec![]));
    let open = |machine: &FakeMachine| matches!(allowed(machine, "east"), Allowed::Ports(ports) if ports.iter().any(|range| range.first == 7070));
    assert!(open(&machine));
    network
        .deny(&"east:west:7070".parse().unwrap())
        .await
        .unwrap();
    assert!(!open(&machine));
    assert!(
        network
            .allow(&"east:south:1".parse().unwrap())
            .await
            .unwrap_err()
            .to_string()
            .contains("no cluster south")
    );
}

#[tokio::test]
async fn service_address_leads_to_pods_once_they_are_ready() {
    let (machine, network) = network();
    network.publish().await;
    assert!(machine.rules().services[0].endpoints.is_empty());
    pod_is_ready(&network.clusters[0], "shop", "web", "10.0.0.20");
    network.publish().await;
    assert_eq!(
        machine.rules().services[0].endpoints,
        ["10.0.0.20:8081".parse().unwrap()]
    );
    assert_eq!(machine.rules().services[0].port, 80);
}

#[tokio::test(start_paused = true)]
async fn refused_packets_of_the_last_minute_are_a_finding_and_older_ones_are_not() {
    let (machine, network) = network();
    let refusal = |packets| Refusal {
        from: "west".into(),
        to: "east".into(),
        protocol: Protocol::Tcp,
        port: 81,
        packets,
    };
    network.sample().await;
    machine.refuse(vec![refusal(3)]);
    let findings = network.diagnose().await;
    assert!(
        findings[0]
            .message
            .contains("east refuses port 81 from west (3 refused"),
        "{findings:?}"
    );
    for _ in 0..14 {
        tokio::time::advance(SAMPLE).await;
        network.sample().await;
    }
    assert!(network.diagnose().await.is_empty());
}
