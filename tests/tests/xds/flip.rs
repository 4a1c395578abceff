//! A route that turns back and forth faster than proxies answer: whatever the interleaving, they end with
//! what the last change asks for, and soon.

use serde_json::{Value, json};
use std::{net::Ipv4Addr, time::Duration};
use tokio::{net::TcpListener, time::timeout};
use tombolo_model::{
    Command, Scope,
    apply::{
        mesh,
        registry::{self, CreateNamespace, CreateService, RegisterInstance},
    },
    mesh::{Kind, ResourceKey, Spec},
    registry::NamespaceType,
};
use tombolo_plan::Publisher;
use tombolo_store::Store;
use tombolo_tests::{ACCOUNT, REGION};
use tombolo_xds::{Client, ClientOptions, Node, Server, Snapshot, Updates};

/// Long enough for a busy machine; a client that got stuck never comes.
const PATIENCE: Duration = Duration::from_secs(10);
const FLIPS: usize = 300;

/// When the next change is made, seen from a proxy that has just been given an update.
#[derive(Clone, Copy, Debug)]
enum Moment {
    BeforeItsAnswer,
    WithItsAnswer,
    /// This many turns of the scheduler after its answer.
    AfterItsAnswer(usize),
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_before_the_answer_to_the_last_is_not_lost() {
    flip(|_| Moment::BeforeItsAnswer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_with_the_answer_to_the_last_is_not_lost() {
    flip(|_| Moment::WithItsAnswer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_soon_after_the_answer_to_the_last_is_not_lost() {
    flip(|i| Moment::AfterItsAnswer(i % 40)).await;
}

async fn flip(moment: impl Fn(usize) -> Moment) {
    let mesh = Mesh::new().await;
    let mut updates = mesh.proxy().await;
    let first = timeout(PATIENCE, updates.next()).await;
    first
        .expect("a first update")
        .expect("the runtime runs")
        .accept();
    for i in 0..FLIPS {
        let target = ["two", "one"][i % 2];
        mesh.route(target).await;
        let place = format!("flip {i} ({:?})", moment(i));
        let cluster = format!("cds_egress_m_{target}_http_9000");
        // Updates of the change before may still come first.
        loop {
            let next = timeout(PATIENCE, updates.next()).await;
            let update = next
                .unwrap_or_else(|_| panic!("{place}: no update"))
                .expect("the runtime runs");
            let arrived = is_complete(&update.snapshot, &cluster);
            if !arrived {
                update.accept();
                continue;
            }
            match moment(i) {
                Moment::BeforeItsAnswer => {
                    mesh.route(["one", "two"][i % 2]).await;
                    mesh.route(target).await;
                    update.accept();
                }
                Moment::WithItsAnswer => update.accept(),
                Moment::AfterItsAnswer(turns) => {
                    update.accept();
                    for _ in 0..turns {
                        tokio::task::yield_now().await;
                    }
                }
            }
            break;
        }
    }
}

/// Whether a proxy has this cluster and its endpoints.
fn is_complete(snapshot: &Snapshot, cluster: &str) -> bool {
    use tombolo_xds::{
        Kind::{Cluster, Endpoint},
        envoy::pb::envoy::config::endpoint::v3::ClusterLoadAssignment,
    };
    let endpoints = snapshot.get(Endpoint, cluster).map(|resource| {
        let set: ClusterLoadAssignment = resource.decode().expect("our own bytes");
        set.endpoints.len()
    });
    snapshot.get(Cluster, cluster).is_some() && endpoints == Some(1)
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
        let publisher = Publisher::new(store.clone(), scope.clone());
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
        self.run(Command::Registry(registry::Command::CreateNamespace(
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
        self.run(Command::Registry(registry::Command::CreateService(service)))
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
        self.run(Command::Registry(registry::Command::RegisterInstance(
            instance,
        )))
        .await;
    }

    async fn put(&self, key: ResourceKey, spec: Value) {
        let spec = Spec::from_json(key.kind, spec).expect("a readable spec");
        let client_token = None;
        let command = if self.store.view().resource(&self.scope, &key).is_some() {
            mesh::Command::Update {
                key,
                spec,
                client_token,
            }
        } else {
            mesh::Command::Create {
                key,
                spec,
                tags: Vec::new(),
                client_token,
            }
        };
        self.run(Command::Mesh(command)).await;
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
