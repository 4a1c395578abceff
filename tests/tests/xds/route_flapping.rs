//! A route that changes back and forth faster than proxies answer: for any interleaving, they converge to the last
//! change, and soon.

use serde_json::json;
use std::{net::Ipv4Addr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::watch, time::timeout};
use tombolo_model::{
    Command, Scope,
    apply::appmesh,
    appmesh::{Kind, ResourceKey, Spec},
};
use tombolo_plan::{AppMesh, Publisher};
use tombolo_store::Store;
use tombolo_tests::{ACCOUNT, REGION, mesh::Mesh};
use tombolo_xds::{
    self as xds, Client, ClientOptions, Node, Server, Snapshot,
    envoy::pb::envoy::config::endpoint::v3::ClusterLoadAssignment,
};

/// A node `web` that calls a service whose route leads to one of two nodes, each with instances.
const MANIFEST: &str = "
apiVersion: appmesh.k8s.aws/v1beta2
kind: Mesh
metadata: {name: m}
spec: {namespaceSelector: {}}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: one, namespace: shop}
spec:
  awsName: one
  podSelector: {matchLabels: {app: one}}
  listeners: [{portMapping: {port: 9000, protocol: http}}]
  serviceDiscovery: {awsCloudMap: {namespaceName: n, serviceName: one}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: two, namespace: shop}
spec:
  awsName: two
  podSelector: {matchLabels: {app: two}}
  listeners: [{portMapping: {port: 9000, protocol: http}}]
  serviceDiscovery: {awsCloudMap: {namespaceName: n, serviceName: two}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualRouter
metadata: {name: r, namespace: shop}
spec:
  awsName: r
  listeners: [{portMapping: {port: 80, protocol: http}}]
  routes:
  - name: x
    httpRoute:
      match: {prefix: /}
      action: {weightedTargets: [{virtualNodeRef: {name: one}, weight: 1}]}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualService
metadata: {name: back, namespace: shop}
spec:
  awsName: back.local
  provider: {virtualRouter: {virtualRouterRef: {name: r}}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: web, namespace: shop}
spec:
  awsName: web
  podSelector: {matchLabels: {app: web}}
  backends: [{virtualService: {virtualServiceRef: {name: back}}}]
";

/// Long enough for a busy machine; a stuck proxy never converges.
const DEADLINE: Duration = Duration::from_secs(10);
const BURSTS: usize = 150;
/// They answer at different speeds, so that changes hit every phase of an exchange.
const PROXIES: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proxies_end_with_the_last_change_whatever_they_were_doing() {
    let control_plane = ControlPlane::start().await;
    let mut held = Vec::new();
    for pace in 0..PROXIES {
        held.push(follow(control_plane.proxy().await, pace * 8));
    }
    let mut turn = 0;
    for burst in 0..BURSTS {
        for _ in 0..=burst % 4 {
            turn += 1;
            control_plane.route(["one", "two"][turn % 2]).await;
            // Not a wait for a condition: it moves the next change to another phase.
            for _ in 0..burst * 37 % 400 {
                tokio::task::yield_now().await;
            }
        }
        let (target, other) = (["one", "two"][turn % 2], ["two", "one"][turn % 2]);
        for (proxy, held) in held.iter_mut().enumerate() {
            let complete = held.wait_for(|snapshot| leads_to(snapshot, target, other));
            let complete = timeout(DEADLINE, complete).await;
            let complete =
                complete.unwrap_or_else(|_| panic!("burst {burst}: proxy {proxy} is stuck"));
            complete.expect("the proxy runs");
        }
    }
}

/// A proxy that adopts every update after some yields to the scheduler.
fn follow(mut client: Client, turns: usize) -> watch::Receiver<Arc<Snapshot>> {
    let (sender, receiver) = watch::channel(Arc::new(Snapshot::builder(0).build()));
    tokio::spawn(async move {
        while let Some(update) = client.next().await {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            sender.send_replace(update.snapshot.clone());
            update.accept();
        }
    });
    receiver
}

/// Whether a proxy has the cluster of one node with its endpoints, and not that of the other.
fn leads_to(snapshot: &Snapshot, target: &str, other: &str) -> bool {
    let cluster = |node| format!("cds_egress_m_{node}_http_9000");
    let (target, other) = (cluster(target), cluster(other));
    let endpoints = snapshot.get(xds::Kind::Endpoint, &target).map(|resource| {
        let set: ClusterLoadAssignment = resource.decode().expect("our own bytes");
        set.endpoints.len()
    });
    snapshot.get(xds::Kind::Cluster, &target).is_some()
        && snapshot.get(xds::Kind::Cluster, &other).is_none()
        && endpoints == Some(1)
}

/// A control plane in this process.
struct ControlPlane {
    store: Store,
    scope: Scope,
    publisher: Publisher,
}

impl ControlPlane {
    async fn start() -> Self {
        let (store, scope) = (Store::memory(), Scope::new(ACCOUNT, REGION));
        let mut mesh = Mesh::new(store.clone(), scope.clone());
        assert_eq!(mesh.apply_text("mesh.yaml", MANIFEST).await, [""; 0]);
        let publisher = Publisher::new(store.clone(), scope.clone(), AppMesh);
        let running = publisher.clone();
        tokio::spawn(async move { running.run().await });
        Self {
            store,
            scope,
            publisher,
        }
    }

    async fn route(&self, to: &str) {
        let spec = json!({"httpRoute": {
            "match": {"prefix": "/"},
            "action": {"weightedTargets": [{"virtualNode": to, "weight": 1}]},
        }});
        let update = appmesh::Command::Update {
            key: ResourceKey::child("m", Kind::Route, "r", "x"),
            spec: Spec::from_json(Kind::Route, spec).expect("a readable spec"),
            client_token: None,
        };
        let committed = self
            .store
            .commit(self.scope.clone(), Command::AppMesh(update));
        committed.await.expect("a legal command");
    }

    /// A proxy of `web` over a real connection.
    async fn proxy(&self) -> Client {
        let server = Server::new(self.publisher.clone(), Default::default());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("loopback");
        let address = listener.local_addr().expect("a bound socket");
        tokio::spawn(server.serve(listener, std::future::pending()));
        let name = "mesh/m/virtualNode/web".to_owned();
        let node = Node {
            id: name.clone(),
            cluster: name,
            ..Node::default()
        };
        let options = ClientOptions::new(format!("http://{address}"), node);
        Client::start(options).expect("an address")
    }
}
