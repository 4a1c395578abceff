//! A route that turns back and forth faster than proxies answer: whatever the interleaving, they end with
//! what the last change asks for, and soon.

use serde_json::{Value, json};
use std::{net::Ipv4Addr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::watch, time::timeout};
use tombolo_model::{
    Command, Scope,
    apply::{
        appmesh,
        cloudmap::{self, CreateNamespace, CreateService, RegisterInstance},
    },
    appmesh::{Kind, ResourceKey, Spec},
    cloudmap::NamespaceType,
};
use tombolo_plan::{AppMesh, Publisher};
use tombolo_store::Store;
use tombolo_tests::{ACCOUNT, REGION};
use tombolo_xds::{
    self as xds, Client, ClientOptions, Node, Server, Snapshot, client::Updates,
    envoy::pb::envoy::config::endpoint::v3::ClusterLoadAssignment,
};

/// Long enough for a busy machine; a proxy that got stuck never comes.
const DEADLINE: Duration = Duration::from_secs(10);
const BURSTS: usize = 150;
/// They answer at different paces, so that changes meet every phase of an exchange.
const PROXIES: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proxies_end_with_the_last_change_whatever_they_were_doing() {
    let mesh = Mesh::new().await;
    let mut held = Vec::new();
    for pace in 0..PROXIES {
        held.push(follow(mesh.proxy().await, pace * 8));
    }
    let mut turn = 0;
    for burst in 0..BURSTS {
        for _ in 0..=burst % 4 {
            turn += 1;
            mesh.route(["one", "two"][turn % 2]).await;
            // Not a wait for anything: it moves the next change to another phase.
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

/// A proxy that adopts whatever comes, after some turns of the scheduler.
fn follow(mut updates: Updates, turns: usize) -> watch::Receiver<Arc<Snapshot>> {
    let (sender, receiver) = watch::channel(Arc::new(Snapshot::builder(0).build()));
    tokio::spawn(async move {
        while let Some(update) = updates.next().await {
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

struct Mesh {
    store: Store,
    scope: Scope,
    publisher: Publisher,
}

impl Mesh {
    /// A node `web` that calls a service whose route leads to one of two nodes, each with an instance.
    async fn new() -> Self {
        let (store, scope) = (Store::memory(), Scope::new(ACCOUNT, REGION));
        let publisher = Publisher::new(store.clone(), scope.clone(), AppMesh);
        let follow = publisher.clone();
        tokio::spawn(async move { follow.run().await });
        let mesh = Self {
            store,
            scope,
            publisher,
        };
        mesh.put(ResourceKey::mesh("m"), json!({})).await;
        mesh.instances().await;
        for name in ["one", "two"] {
            let spec = json!({
                "listeners": [{"portMapping": {"port": 9000, "protocol": "http"}}],
                "serviceDiscovery": {"awsCloudMap": {"namespaceName": "n", "serviceName": "s"}},
            });
            mesh.put(ResourceKey::new("m", Kind::VirtualNode, name), spec)
                .await;
        }
        let listening = json!({"listeners": [{"portMapping": {"port": 80, "protocol": "http"}}]});
        mesh.put(ResourceKey::new("m", Kind::VirtualRouter, "r"), listening)
            .await;
        mesh.route("one").await;
        let provider = json!({"provider": {"virtualRouter": {"virtualRouterName": "r"}}});
        mesh.put(
            ResourceKey::new("m", Kind::VirtualService, "back.local"),
            provider,
        )
        .await;
        let web = json!({"backends": [{"virtualService": {"virtualServiceName": "back.local"}}]});
        mesh.put(ResourceKey::new("m", Kind::VirtualNode, "web"), web)
            .await;
        mesh
    }

    async fn route(&self, to: &str) {
        let spec = json!({"httpRoute": {
            "match": {"prefix": "/"},
            "action": {"weightedTargets": [{"virtualNode": to, "weight": 1}]},
        }});
        self.put(ResourceKey::child("m", Kind::Route, "r", "x"), spec)
            .await;
    }

    async fn instances(&self) {
        let namespace = CreateNamespace {
            name: "n".into(),
            kind: NamespaceType::HTTP,
            vpc: None,
            description: None,
            soa_ttl: None,
            creator_request_id: None,
            tags: Vec::new(),
        };
        self.run(Command::CloudMap(cloudmap::Command::CreateNamespace(
            namespace,
        )))
        .await;
        let view = self.store.view();
        let scope = view.scope(&self.scope).expect("not empty");
        let namespace_id = scope
            .namespace_by_name("n")
            .expect("made just now")
            .id
            .clone();
        let service = CreateService {
            name: "s".into(),
            namespace_id: namespace_id.to_string(),
            description: None,
            dns_config: None,
            health_check: None,
            custom_health_check: false,
            http_only: false,
            creator_request_id: None,
            tags: Vec::new(),
        };
        self.run(Command::CloudMap(cloudmap::Command::CreateService(service)))
            .await;
        let view = self.store.view();
        let scope = view.scope(&self.scope).expect("not empty");
        let service = scope
            .service_by_name(&namespace_id, "s")
            .expect("made just now");
        let instance = RegisterInstance {
            service_id: service.id.to_string(),
            instance_id: "i".into(),
            attributes: [("AWS_INSTANCE_IPV4".to_owned(), "10.0.0.1".to_owned())].into(),
            creator_request_id: None,
        };
        self.run(Command::CloudMap(cloudmap::Command::RegisterInstance(
            instance,
        )))
        .await;
    }

    async fn put(&self, key: ResourceKey, spec: Value) {
        let spec = Spec::from_json(key.kind, spec).expect("a readable spec");
        let client_token = None;
        let command = if self.store.view().resource(&self.scope, &key).is_some() {
            appmesh::Command::Update {
                key,
                spec,
                client_token,
            }
        } else {
            appmesh::Command::Create {
                key,
                spec,
                tags: Vec::new(),
                client_token,
            }
        };
        self.run(Command::AppMesh(command)).await;
    }

    async fn run(&self, command: Command) {
        let committed = self.store.commit(self.scope.clone(), command).await;
        committed.expect("a legal command");
    }

    /// A proxy of `web` over a real connection.
    async fn proxy(&self) -> Updates {
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
        Client::start(options).expect("an address").1
    }
}
