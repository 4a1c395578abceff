//! The mesh under change: fronts that call services. The route of the first service leads to one of two nodes; the
//! others make the mesh realistic. A gateway routes requests to the first.

use super::{Options, TIMEOUT};
use crate::Result;
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;
use tombolo_api::client::Client;
use tombolo_model::{
    Scope,
    apply::cloudmap::{CreateNamespace, CreateService, RegisterInstance},
    appmesh::{Kind, ResourceKey, Spec},
    cloudmap::NamespaceType,
};

/// The host name that fronts call.
pub(super) const SERVICE: &str = "back.bench";
/// The first port of a service; each has its own.
const FIRST_PORT: usize = 20_000;
/// Maximum concurrent API requests while the mesh is created.
const AT_ONCE: usize = 32;
const MESH: &str = "bench";
const NAMESPACE: &str = "bench.local";

pub(super) struct Mesh {
    api: SocketAddr,
    client: Client,
    service_id: String,
    fronts: usize,
}

impl Mesh {
    /// Creates the mesh: `first` is an instance of the node `one`, `other` of the node `two`.
    pub(super) async fn create(
        api: SocketAddr,
        first: SocketAddr,
        other: SocketAddr,
        gateway: u16,
        options: &Options,
    ) -> Result<Arc<Self>> {
        let scope = Scope::new("000000000000", "us-west-2");
        let client = Client::new(&format!("http://{api}"), scope)?.with_timeout(TIMEOUT);
        let namespace = CreateNamespace {
            name: NAMESPACE.into(),
            kind: NamespaceType::HTTP,
            vpc: None,
            description: None,
            soa_ttl: None,
            creator_request_id: None,
            tags: Vec::new(),
        };
        let operation = client.create_namespace(&namespace).await?;
        client.wait(&operation).await?;
        let namespace = client
            .find_namespace(NAMESPACE)
            .await?
            .ok_or("the namespace is not there")?;
        let mut ids = Vec::new();
        for (name, at) in [("one", first), ("two", other)] {
            let service = registry_service(name, &namespace.id);
            let id = client.create_service(&service).await?.id;
            let operation = client
                .register_instance(&instance(&id, "first", at))
                .await?;
            client.wait(&operation).await?;
            ids.push(id);
        }
        let mesh = Arc::new(Self {
            api,
            client,
            service_id: ids.swap_remove(0),
            fronts: options.callers,
        });
        mesh.put(ResourceKey::mesh(MESH), json!({})).await?;
        for (name, at) in [("one", first), ("two", other)] {
            mesh.put(resource(Kind::VirtualNode, name), node(name, at.port()))
                .await?;
        }
        mesh.service("back", SERVICE, FIRST_PORT, "one").await?;
        let rest: Vec<usize> = (1..options.services).collect();
        for numbers in rest.chunks(AT_ONCE) {
            let mut tasks = JoinSet::new();
            for number in numbers {
                let (mesh, number) = (mesh.clone(), *number);
                let namespace_id = namespace.id.clone();
                tasks.spawn(async move { mesh.other(number, &namespace_id).await });
            }
            while let Some(made) = tasks.join_next().await {
                made??;
            }
        }
        let mut tasks = JoinSet::new();
        for i in 0..options.callers {
            let backends = options.backends.min(options.services);
            // All call the first service; each calls its own share of the others.
            let others =
                (1..backends).map(|n| 1 + (i * backends + n) % (options.services - 1).max(1));
            let names = std::iter::once(SERVICE.to_owned()).chain(others.map(name_of));
            let backends: Vec<Value> = names
                .map(|name| json!({"virtualService": {"virtualServiceName": name}}))
                .collect();
            let mesh = mesh.clone();
            tasks.spawn(async move {
                let front = resource(Kind::VirtualNode, &format!("front-{i}"));
                mesh.put(front, json!({ "backends": backends })).await
            });
        }
        while let Some(made) = tasks.join_next().await {
            made??;
        }
        let listening =
            json!({"listeners": [{"portMapping": {"port": gateway, "protocol": "http"}}]});
        mesh.put(resource(Kind::VirtualGateway, "edge"), listening)
            .await?;
        let target = json!({"target": {"virtualService": {"virtualServiceName": SERVICE}}});
        let all = json!({"httpRoute": {"match": {"prefix": "/"}, "action": target}});
        mesh.put(
            ResourceKey::child(MESH, Kind::GatewayRoute, "edge", "all"),
            all,
        )
        .await?;
        Ok(mesh)
    }

    /// Creates a service that is not changed, with two instances of its own.
    async fn other(&self, number: usize, namespace_id: &str) -> Result<()> {
        let name = format!("n{number}");
        let id = self
            .client
            .create_service(&registry_service(&name, namespace_id))
            .await?
            .id;
        let [_, _, high, low] = u32::try_from(number)?.to_be_bytes();
        for (instance_id, last) in [("a", 1), ("b", 2)] {
            let at = SocketAddr::from(([10, high, low, last], 8080));
            let operation = self
                .client
                .register_instance(&instance(&id, instance_id, at))
                .await?;
            self.client.wait(&operation).await?;
        }
        self.put(resource(Kind::VirtualNode, &name), node(&name, 8080))
            .await?;
        let service = name_of(number);
        self.service(&name, &service, FIRST_PORT + number, &name)
            .await
    }

    /// Creates a virtual service with a router of its own, whose route leads to a node.
    async fn service(&self, router: &str, name: &str, port: usize, to: &str) -> Result<()> {
        let listening = json!({"listeners": [{"portMapping": {"port": port, "protocol": "http"}}]});
        self.put(resource(Kind::VirtualRouter, router), listening)
            .await?;
        self.put(
            ResourceKey::child(MESH, Kind::Route, router, "all"),
            route_to(to),
        )
        .await?;
        let provider = json!({"provider": {"virtualRouter": {"virtualRouterName": router}}});
        self.put(resource(Kind::VirtualService, name), provider)
            .await
    }

    /// The node id of a front's proxies.
    pub(super) fn front(&self, i: usize) -> String {
        format!("mesh/{MESH}/virtualNode/front-{}", i % self.fronts)
    }

    /// The node id of the gateway's proxies.
    pub(super) fn gateway(&self) -> String {
        format!("mesh/{MESH}/virtualGateway/edge")
    }

    /// The revision of the control plane's state.
    pub(super) async fn revision(&self) -> Result<u64> {
        let status = crate::http::get(self.api, "/tombolo/v1/status").await?;
        let status: Value = serde_json::from_slice(&status)?;
        Ok(status["revision"]
            .as_u64()
            .ok_or("the status has no revision")?)
    }

    /// Changes the route; the time of the API's answer.
    pub(super) async fn route(&self, to_other: bool) -> Result<Instant> {
        let spec = route_to(if to_other { "two" } else { "one" });
        self.client
            .update(&route(), &Spec::from_json(Kind::Route, spec)?)
            .await?;
        Ok(Instant::now())
    }

    /// Registers a second instance of the first node, or deregisters it; the time of the API's answer.
    pub(super) async fn second_instance(&self, at: SocketAddr, comes: bool) -> Result<Instant> {
        if comes {
            self.client
                .register_instance(&instance(&self.service_id, "second", at))
                .await?;
        } else {
            self.client
                .deregister_instance(&self.service_id, "second")
                .await?;
        }
        Ok(Instant::now())
    }

    async fn put(&self, key: ResourceKey, spec: Value) -> Result<()> {
        let spec = Spec::from_json(key.kind, spec)?;
        let created = self.client.create(&key, &spec);
        tokio::time::timeout(TIMEOUT + Duration::from_secs(1), created).await??;
        Ok(())
    }
}

fn resource(kind: Kind, name: &str) -> ResourceKey {
    ResourceKey::new(MESH, kind, name)
}

fn name_of(number: usize) -> String {
    format!("s{number}.bench")
}

fn node(name: &str, port: u16) -> Value {
    json!({
        "listeners": [{"portMapping": {"port": port, "protocol": "http"}}],
        "serviceDiscovery": {"awsCloudMap": {"namespaceName": NAMESPACE, "serviceName": name}},
    })
}

fn registry_service(name: &str, namespace_id: &str) -> CreateService {
    CreateService {
        name: name.into(),
        namespace_id: namespace_id.into(),
        description: None,
        dns_config: None,
        health_check: None,
        custom_health_check: false,
        http_only: false,
        creator_request_id: None,
        tags: Vec::new(),
    }
}

fn route() -> ResourceKey {
    ResourceKey::child(MESH, Kind::Route, "back", "all")
}

fn route_to(node: &str) -> Value {
    json!({"httpRoute": {
        "match": {"prefix": "/"},
        "action": {"weightedTargets": [{"virtualNode": node, "weight": 1}]},
    }})
}

fn instance(service_id: &str, id: &str, at: SocketAddr) -> RegisterInstance {
    RegisterInstance {
        service_id: service_id.into(),
        instance_id: id.into(),
        attributes: [("AWS_INSTANCE_IPV4".to_owned(), at.ip().to_string())].into(),
        creator_request_id: None,
    }
}
