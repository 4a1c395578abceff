//! Tests of the registry controller with an API in memory whose failures the tests choose. Time is virtual.

use super::*;
use crate::CLUSTER_ATTRIBUTE;
use crate::testkit::{FakeApi, FakeCluster, Fault, until};
use std::time::Duration;
use tombolo_kube::crd::Kind as ObjectKind;
use tombolo_kube::register::{MESH, VIRTUAL_NODE};

const SERVICE: &str = "shop.local/color";

fn manifest(node: &str) -> String {
    format!(
        "
apiVersion: appmesh.k8s.aws/v1beta2
kind: Mesh
metadata: {{name: m}}
spec: {{namespaceSelector: {{matchLabels: {{mesh: m}}}}}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {{name: {node}, namespace: shop}}
spec:
  podSelector: {{matchLabels: {{app: {node}}}}}
  listeners: [{{portMapping: {{port: 8080, protocol: http}}}}]
  serviceDiscovery: {{awsCloudMap: {{namespaceName: shop.local, serviceName: color}}}}
"
    )
}

fn run(clusters: &[Arc<FakeCluster>], api: &Arc<FakeApi>) -> tokio::task::JoinHandle<()> {
    let options = Options {
        create_namespaces: Some("vpc".to_owned()),
        ..Options::new("test")
    };
    let controller = Controller::new(clusters.to_vec(), api.clone(), options, Arc::new(|_| {}));
    tokio::spawn(controller.run(Arc::new(Notify::new())))
}

fn ids(api: &FakeApi) -> Vec<String> {
    api.instances(SERVICE).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn pods_are_registered_with_their_cluster_and_their_gates_opened() {
    let (cluster, api) = (FakeCluster::new("east"), Arc::new(FakeApi::default()));
    cluster.apply(&manifest("red"));
    run(std::slice::from_ref(&cluster), &api);
    cluster.pod("one", "red", "10.0.0.1");
    cluster.pod("other", "blue", "10.0.0.2");
    until("the instance", || ids(&api) == ["10.0.0.1"]).await;
    until("the gate", || cluster.is_readiness_gate_set("one")).await;
    assert!(!cluster.is_readiness_gate_set("other"));
    cluster.delete_pod("one");
    until("its end", || ids(&api).is_empty()).await;
}

/// B6 for the registry controller: at rest, and beside a rejected pod, hardly any calls are made.
#[tokio::test(start_paused = true)]
async fn refused_pod_stops_nothing_but_itself_and_costs_little() {
    let (cluster, api) = (FakeCluster::new("east"), Arc::new(FakeApi::default()));
    for fault in [Fault::Refuse, Fault::Panic] {
        api.fault("10.0.0.66", Some(fault));
        cluster.apply(&manifest("red"));
        cluster.pod("bad", "red", "10.0.0.66");
        cluster.pod("good", "red", "10.0.0.1");
        let controller = run(std::slice::from_ref(&cluster), &api);
        if fault == Fault::Refuse {
            until("the good one", || ids(&api) == ["10.0.0.1"]).await;
        }
        tokio::time::sleep(Duration::from_secs(120)).await;
        api.calls();
        tokio::time::sleep(Duration::from_secs(120)).await;
        let calls = api.calls().len();
        assert!(calls <= 40, "{calls} calls in two minutes");
        api.fault("10.0.0.66", None);
        until("both", || ids(&api).len() == 2).await;
        controller.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn drift_is_noticed_and_an_outage_is_caught_up_with() {
    let (cluster, api) = (FakeCluster::new("east"), Arc::new(FakeApi::default()));
    cluster.apply(&manifest("red"));
    cluster.pod("one", "red", "10.0.0.1");
    run(std::slice::from_ref(&cluster), &api);
    until("the instance", || ids(&api) == ["10.0.0.1"]).await;
    RegistryApi::deregister(&*api, SERVICE, "10.0.0.1")
        .await
        .unwrap();
    until("the instance again", || ids(&api) == ["10.0.0.1"]).await;
    RegistryApi::delete_service(&*api, SERVICE).await.unwrap();
    until("the service again", || ids(&api) == ["10.0.0.1"]).await;
    api.set_away(true);
    tokio::time::sleep(Duration::from_secs(300)).await;
    cluster.pod("two", "red", "10.0.0.2");
    tokio::time::sleep(Duration::from_secs(300)).await;
    api.set_away(false);
    let back = Instant::now();
    until("both", || ids(&api).len() == 2).await;
    assert!(
        back.elapsed() < Duration::from_secs(5),
        "{:?}",
        back.elapsed()
    );
}

/// B7: orphaned instances and services of an earlier run are deleted; those of other clusters and people stay.
#[tokio::test(start_paused = true)]
async fn orphans_of_an_earlier_run_are_deleted_and_those_of_others_stay() {
    let instance = |id: &str, cluster: &str| Instance {
        id: id.to_owned(),
        attributes: [
            (MESH, "m"),
            (VIRTUAL_NODE, "red_shop"),
            (CLUSTER_ATTRIBUTE, cluster),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into(),
    };
    let (cluster, api) = (FakeCluster::new("east"), Arc::new(FakeApi::default()));
    cluster.apply(&manifest("red"));
    cluster.pod("one", "red", "10.0.0.1");
    let first = run(std::slice::from_ref(&cluster), &api);
    until("the instance", || ids(&api) == ["10.0.0.1"]).await;
    first.abort();
    api.add_service(
        "shop.local",
        "hand-made",
        vec![instance("10.9.0.1", "east"), instance("10.9.0.2", "west")],
    );
    api.add_service("shop.local", "empty", vec![]);
    let empty = FakeCluster::new("east");
    run(&[empty], &api);
    until("the end of the service", || {
        api.instances(SERVICE).is_none()
    })
    .await;
    until("the end of the instance", || {
        api.instances("shop.local/hand-made").unwrap() == ["10.9.0.2"]
    })
    .await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(
        api.instances("shop.local/empty"),
        Some(vec![]),
        "it was made by hand"
    );
    assert_eq!(api.instances("shop.local/hand-made").unwrap(), ["10.9.0.2"]);
}

#[tokio::test(start_paused = true)]
async fn shared_service_stays_until_its_last_node_goes() {
    let (cluster, api) = (FakeCluster::new("east"), Arc::new(FakeApi::default()));
    cluster.apply(&manifest("red"));
    cluster.apply(&manifest("blue"));
    cluster.pod("one", "red", "10.0.0.1");
    cluster.pod("two", "blue", "10.0.0.2");
    run(std::slice::from_ref(&cluster), &api);
    until("both", || ids(&api).len() == 2).await;
    cluster.delete(ObjectKind::VirtualNode, "shop", "red");
    until("the blue one alone", || ids(&api) == ["10.0.0.2"]).await;
    cluster.delete(ObjectKind::VirtualNode, "shop", "blue");
    until("the end of the service", || {
        api.instances(SERVICE).is_none()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn equal_addresses_in_two_clusters_are_told_and_the_first_one_stays() {
    let (east, west, api) = (
        FakeCluster::new("east"),
        FakeCluster::new("west"),
        Arc::new(FakeApi::default()),
    );
    east.apply(&manifest("red"));
    west.apply(&manifest("red"));
    east.pod("one", "red", "10.0.0.1");
    run(std::slice::from_ref(&east), &api);
    until("the instance", || ids(&api) == ["10.0.0.1"]).await;
    // The other cluster has a controller of its own.
    let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
    let observer: Observer = Arc::new(move |event| drop(sender.send(event)));
    let controller = Controller::new(
        vec![west.clone()],
        api.clone(),
        Options::new("west"),
        observer,
    );
    tokio::spawn(controller.run(Arc::new(Notify::new())));
    west.pod("one", "red", "10.0.0.1");
    let event = told.recv().await.unwrap();
    assert_eq!(
        event,
        Event::AddressTaken {
            node: "red_shop".to_owned(),
            address: "10.0.0.1".to_owned()
        }
    );
    assert!(!west.is_readiness_gate_set("one"));
    // A released address is registered.
    east.delete_pod("one");
    until("the gate", || west.is_readiness_gate_set("one")).await;
    assert_eq!(ids(&api), ["10.0.0.1"]);
}

fn run_kubernetes(
    cluster: &Arc<FakeCluster>,
    api: &Arc<FakeApi>,
) -> watch::Receiver<Arc<RegistryProblems>> {
    let options = Options {
        adopt: true,
        ..Options::new("kubernetes")
    };
    let clusters = vec![cluster.clone()];
    let controller = Controller::new(clusters, api.clone(), options, Arc::new(|_| {}));
    let problems = controller.problems();
    tokio::spawn(controller.run(Arc::new(Notify::new())));
    problems
}

#[tokio::test(start_paused = true)]
async fn an_object_is_held_and_names_its_service_until_its_pods_are_deregistered() {
    let (cluster, api) = (
        FakeCluster::kubernetes("east"),
        Arc::new(FakeApi::default()),
    );
    api.add_namespace("shop.local");
    cluster.apply(&manifest("red"));
    run_kubernetes(&cluster, &api);
    cluster.pod("one", "red", "10.0.0.1");
    until("the instance", || ids(&api) == ["10.0.0.1"]).await;
    let node = "VirtualNode shop/red";
    assert!(cluster.finalizers(node).contains(&finalizer::CLOUD_MAP));
    assert_eq!(cluster.recorded(node).as_deref(), Some(SERVICE));
    cluster.delete(ObjectKind::VirtualNode, "shop", "red");
    until("the release", || {
        !cluster.finalizers(node).contains(&finalizer::CLOUD_MAP)
    })
    .await;
    until("the end of the service", || {
        api.instances(SERVICE).is_none()
    })
    .await;
    // The mesh controller has its own.
    assert_eq!(cluster.finalizers(node), [finalizer::APP_MESH]);
}

#[tokio::test(start_paused = true)]
async fn an_object_whose_namespace_is_gone_is_let_go() {
    let (cluster, api) = (
        FakeCluster::kubernetes("east"),
        Arc::new(FakeApi::default()),
    );
    cluster.apply(&manifest("red"));
    let object = cluster
        .object(ObjectKind::VirtualNode, "shop", "red")
        .unwrap();
    let object = ObjectRef::of(0, &object);
    cluster.hold(&object).await.unwrap();
    let problems = run_kubernetes(&cluster, &api);
    until("the reason", || problems.borrow().contains_key(&object)).await;
    let problem = problems.borrow()[&object].message.clone();
    assert!(
        problem.contains("no Cloud Map namespace shop.local"),
        "{problem}"
    );
    cluster.delete(ObjectKind::VirtualNode, "shop", "red");
    until("the release", || {
        cluster.finalizers("VirtualNode shop/red") == [finalizer::APP_MESH]
    })
    .await;
    until("the end of the problem", || problems.borrow().is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_service_of_another_cluster_stays_though_it_is_empty() {
    let (east, west) = (
        FakeCluster::kubernetes("east"),
        FakeCluster::kubernetes("west"),
    );
    let api = Arc::new(FakeApi::default());
    api.add_namespace("shop.local");
    east.apply(&manifest("red"));
    run_kubernetes(&east, &api);
    until("the service", || api.instances(SERVICE).is_some()).await;
    run_kubernetes(&west, &api);
    tokio::time::sleep(Duration::from_secs(120)).await;
    let deleted = |call: &String| call.starts_with("delete ");
    assert!(!api.calls().iter().any(deleted));
}
