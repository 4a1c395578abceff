//! The mesh under change: fronts that call one service, whose route leads to one of two nodes.

use super::PATIENCE;
use crate::Result;
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tombolo_api::client::Client;
use tombolo_model::{
    Scope,
    apply::cloudmap::{CreateNamespace, CreateService, RegisterInstance},
    appmesh::{Kind, ResourceKey, Spec},
    cloudmap::NamespaceType,
};

/// The name that fronts call.
pub(super) const SERVICE: &str = "back.bench";
/// How many nodes call it: each has plans of its own.
pub(super) const FRONTS: usize = 4;
const MESH: &str = "bench";
const NAMESPACE: &str = "bench.local";

pub(super) struct Mesh {
    api: SocketAddr,
    client: Client,
    service_id: String,
}

impl Mesh {
    /// Makes it all: `first` is an instance of the node `one`, `other` of the node `two`.
    pub(super) async fn create(
        api: SocketAddr,
        first: SocketAddr,
        other: SocketAddr,
        port: u16,
    ) -> Result<Self> {
        let scope = Scope::new("000000000000", "us-west-2");
        let client = Client::new(&format!("http://{api}"), scope)?.with_patience(PATIENCE);
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
            let service = CreateService {
                name: name.into(),
                namespace_id: namespace.id.clone(),
                description: None,
                dns_config: None,
                health_check: None,
                custom_health_check: false,
                http_only: false,
                creator_request_id: None,
                tags: Vec::new(),
            };
            let id = client.create_service(&service).await?.id;
            let operation = client
                .register_instance(&instance(&id, "first", at))
                .await?;
            client.wait(&operation).await?;
            ids.push(id);
        }
        let mesh = Self {
            api,
            client,
            service_id: ids.swap_remove(0),
        };
        mesh.put(ResourceKey::mesh(MESH), json!({})).await?;
        for (name, at) in [("one", first), ("two", other)] {
            let spec = json!({
                "listeners": [{"portMapping": {"port": at.port(), "protocol": "http"}}],
                "serviceDiscovery": {"awsCloudMap": {"namespaceName": NAMESPACE, "serviceName": name}},
            });
            mesh.put(ResourceKey::new(MESH, Kind::VirtualNode, name), spec)
                .await?;
        }
        let listening = json!({"listeners": [{"portMapping": {"port": port, "protocol": "http"}}]});
        mesh.put(
            ResourceKey::new(MESH, Kind::VirtualRouter, "back"),
            listening,
        )
        .await?;
        mesh.put(route(), route_to("one")).await?;
        let provider = json!({"provider": {"virtualRouter": {"virtualRouterName": "back"}}});
        mesh.put(
            ResourceKey::new(MESH, Kind::VirtualService, SERVICE),
            provider,
        )
        .await?;
        for i in 0..FRONTS {
            let spec = json!({"backends": [{"virtualService": {"virtualServiceName": SERVICE}}]});
            mesh.put(
                ResourceKey::new(MESH, Kind::VirtualNode, format!("front-{i}")),
                spec,
            )
            .await?;
        }
        Ok(mesh)
    }

    /// The name by which the proxies of a front call themselves.
    pub(super) fn front(&self, i: usize) -> String {
        format!("mesh/{MESH}/virtualNode/front-{}", i % FRONTS)
    }

    /// The revision of the control plane's state.
    pub(super) async fn revision(&self) -> Result<u64> {
        let status = crate::http::get(self.api, "/tombolo/v1/status").await?;
        let status: Value = serde_json::from_slice(&status)?;
        Ok(status["revision"]
            .as_u64()
            .ok_or("the status has no revision")?)
    }

    /// Turns the route; answers with the time of the API's answer.
    pub(super) async fn route(&self, to_other: bool) -> Result<Instant> {
        let spec = route_to(if to_other { "two" } else { "one" });
        self.client
            .update(&route(), &Spec::from_json(Kind::Route, spec)?)
            .await?;
        Ok(Instant::now())
    }

    /// Registers a second instance of the first node, or takes it away; answers with the time of the
    /// API's answer.
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
        tokio::time::timeout(PATIENCE + Duration::from_secs(1), created).await??;
        Ok(())
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
