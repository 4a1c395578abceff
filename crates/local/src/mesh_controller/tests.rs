//! Controller and registrar against the real API over a store in memory.

use std::time::Duration;

use tokio::sync::Notify;
use tombolo_api::client::{Client, Discover};
use tombolo_model::Scope;
use tombolo_model::appmesh::{Kind as MeshKind, ResourceKey};

use super::*;
use crate::cluster::testkit::{apply_to, cluster_of, delete, pod_is_ready};
use crate::progress::Progress;
use tombolo_controller::{mesh, registry};

const DEADLINE: Duration = Duration::from_secs(20);

fn members(egress: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Namespace
metadata: {{name: shop, labels: {{mesh: m}}}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: Mesh
metadata: {{name: m}}
spec: {{namespaceSelector: {{matchLabels: {{mesh: m}}}}, egressFilter: {{type: {egress}}}}}
"
    )
}

const NODE: &str = "---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: color, namespace: shop}
spec:
  podSelector: {matchLabels: {app: color}}
  listeners: [{portMapping: {port: 8080, protocol: http}}]
  serviceDiscovery: {awsCloudMap: {namespaceName: shop.local, serviceName: color}}
---
apiVersion: v1
kind: Pod
metadata: {name: one, namespace: shop, labels: {app: color}}
spec: {containers: [{name: web, image: web}]}
";

/// Starts an API server, and controller and registrar for the clusters.
async fn run(clusters: &[Arc<Cluster>]) -> Client {
    let config = tombolo_api::Config {
        account: "111122223333".to_owned(),
        default_region: "us-west-2".to_owned(),
        ..tombolo_api::Config::default()
    };
    let server = tombolo_api::Server::new(tombolo_store::Store::memory(), config).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(server.serve(listener, std::future::pending()));
    let client = Client::new(&endpoint, Scope::new("111122223333", "us-west-2")).unwrap();
    let api = Arc::new(client.clone());
    let observer = observer(Progress::new(|_| {}));
    let mesh = mesh::Controller::new(clusters.to_vec(), api.clone(), options(), observer.clone());
    tokio::spawn(mesh.run(Arc::new(Notify::new())));
    let registry = registry::Controller::new(clusters.to_vec(), api, options(), observer);
    tokio::spawn(registry.run(Arc::new(Notify::new())));
    client
}

/// Waits for a condition with a deadline.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "{what} never came");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn status(cluster: &Cluster, kind: Kind, namespace: &str, name: &str, pointer: &str) -> String {
    let key = Key::new(kind, namespace, name);
    let text = |object: &Arc<crate::cluster::Object>| object.text(pointer).map(str::to_owned);
    cluster
        .objects
        .read(|objects| objects.object(&key).and_then(text))
        .unwrap_or_default()
}

async fn found(client: &Client) -> usize {
    client
        .discover(&Discover::new("shop.local", "color"))
        .await
        .map_or(0, |found| found.len())
}

#[tokio::test]
async fn mesh_of_two_clusters_is_one_and_lives_until_the_last_lets_go() {
    let east = cluster_of("east", 0, &members("ALLOW_ALL"));
    let west = cluster_of("west", 1, &members("ALLOW_ALL"));
    let client = run(&[east.clone(), west.clone()]).await;
    let arn = |cluster: &Cluster| status(cluster, Kind::Mesh, "", "m", "/status/meshARN");
    until("the ARN in both", async || {
        arn(&east).ends_with("mesh/m") && arn(&east) == arn(&west)
    })
    .await;
    delete(&east, Kind::Mesh, "m", Some(0));
    // The west still desires it: another object of its mesh is reconciled after the deletion was observed.
    apply_to(&west, &format!("{}{NODE}", members("ALLOW_ALL")));
    let node = ResourceKey::new("m", MeshKind::VirtualNode, "color_shop");
    until("the node", async || {
        client.find(&node).await.unwrap().is_some()
    })
    .await;
    assert!(
        client
            .find(&ResourceKey::mesh("m"))
            .await
            .unwrap()
            .is_some()
    );
    delete(&west, Kind::VirtualNode, "color", Some(0));
    delete(&west, Kind::Mesh, "m", Some(0));
    until("the end of the mesh", async || {
        client
            .find(&ResourceKey::mesh("m"))
            .await
            .unwrap()
            .is_none()
    })
    .await;
}

#[tokio::test]
async fn clusters_that_disagree_are_told_so_and_the_first_one_stands() {
    let east = cluster_of("east", 0, &members("ALLOW_ALL"));
    let west = cluster_of("west", 1, &members("DROP_ALL"));
    let _client = run(&[east.clone(), west.clone()]).await;
    let message = || status(&west, Kind::Mesh, "", "m", "/status/conditions/0/message");
    until("the complaint", async || {
        message().contains("has a different spec in east")
    })
    .await;
    until("the first", async || {
        status(&east, Kind::Mesh, "", "m", "/status/conditions/0/status") == "True"
    })
    .await;
}

#[tokio::test]
async fn pods_are_registered_when_ready_and_gone_when_they_leave() {
    let cluster = cluster_of("east", 0, &format!("{}{NODE}", members("ALLOW_ALL")));
    let client = run(std::slice::from_ref(&cluster)).await;
    until("the namespace", async || {
        client.find_namespace("shop.local").await.unwrap().is_some()
    })
    .await;
    assert_eq!(
        found(&client).await,
        0,
        "a pod that is not ready must not be found"
    );
    pod_is_ready(&cluster, "one", "10.0.0.20");
    until("the instance", async || found(&client).await == 1).await;
    let instance = &client
        .discover(&Discover::new("shop.local", "color"))
        .await
        .unwrap()[0];
    assert_eq!(instance.id, "10.0.0.20");
    assert_eq!(instance.attributes["AWS_INSTANCE_PORT"], "8080");
    assert_eq!(
        instance.attributes["appmesh.k8s.aws/virtualNode"],
        "color_shop"
    );
    delete(&cluster, Kind::Pod, "one", Some(0));
    until("its end", async || found(&client).await == 0).await;
}

#[tokio::test]
async fn same_node_in_two_clusters_has_the_pods_of_both() {
    let text = format!("{}{NODE}", members("ALLOW_ALL"));
    let (east, west) = (cluster_of("east", 0, &text), cluster_of("west", 1, &text));
    let client = run(&[east.clone(), west.clone()]).await;
    pod_is_ready(&east, "one", "10.0.0.20");
    pod_is_ready(&west, "one", "10.1.0.20");
    until("both", async || found(&client).await == 2).await;
    delete(&east, Kind::VirtualNode, "color", Some(0));
    until("only the west's", async || found(&client).await == 1).await;
}

#[tokio::test]
async fn instances_and_service_go_with_their_virtual_node() {
    let cluster = cluster_of("east", 0, &format!("{}{NODE}", members("ALLOW_ALL")));
    let client = run(std::slice::from_ref(&cluster)).await;
    pod_is_ready(&cluster, "one", "10.0.0.20");
    until("the instance", async || found(&client).await == 1).await;
    delete(&cluster, Kind::VirtualNode, "color", Some(0));
    let namespace = client.find_namespace("shop.local").await.unwrap().unwrap();
    until("the end of the service", async || {
        client
            .find_service(&namespace.id, "color")
            .await
            .unwrap()
            .is_none()
    })
    .await;
}
