//! Small meshes for the tests of this crate, written as the APIs take them.

use crate::{
    AppMesh, Dialect, Plan,
    dialect::{Context, Dependencies},
};
use serde_json::{Value, json};
use std::sync::Arc;
use tombolo_model::{
    Change, Command, RecordKey, Rejection, Reply, Scope, ScopeView, Timestamp, View,
    apply::{
        appmesh,
        cloudmap::{self, CreateNamespace, CreateService, RegisterInstance},
    },
    appmesh::{Kind, ResourceKey, Spec},
    cloudmap::NamespaceType,
};

/// The mesh of every sample.
pub(crate) const MESH: &str = "m";
/// The namespace that samples use.
pub(crate) const NAMESPACE: &str = "shop.local";

pub(crate) fn scope() -> Scope {
    Scope::new("111122223333", "us-west-2")
}

pub(crate) fn node(name: &str) -> ResourceKey {
    ResourceKey::new(MESH, Kind::VirtualNode, name)
}

pub(crate) fn router(name: &str) -> ResourceKey {
    ResourceKey::new(MESH, Kind::VirtualRouter, name)
}

pub(crate) fn route(router: &str, name: &str) -> ResourceKey {
    ResourceKey::child(MESH, Kind::Route, router, name)
}

pub(crate) fn service(name: &str) -> ResourceKey {
    ResourceKey::new(MESH, Kind::VirtualService, name)
}

pub(crate) fn gateway(name: &str) -> ResourceKey {
    ResourceKey::new(MESH, Kind::VirtualGateway, name)
}

pub(crate) fn gateway_route(gateway: &str, name: &str) -> ResourceKey {
    ResourceKey::child(MESH, Kind::GatewayRoute, gateway, name)
}

/// The plan of a workload, compiled without a cache, and all its dependencies.
pub(crate) fn compile(scope: &ScopeView, key: &ResourceKey) -> Option<(Plan, Dependencies)> {
    let (mut own, mut of_services) = (Dependencies::default(), Dependencies::default());
    let mut services =
        |service: &RecordKey| Arc::new(AppMesh.compile_service(scope, service, &mut of_services));
    let mut context = Context {
        dependencies: &mut own,
        services: &mut services,
    };
    let plan = AppMesh.compile(scope, &RecordKey::Resource(key.clone()), &mut context)?;
    of_services
        .iter()
        .for_each(|dependency| own.add(dependency.clone()));
    Some((plan, own))
}

/// Whether a change of a resource invalidates one of these dependencies.
pub(crate) fn is_invalidated_by(dependencies: &Dependencies, key: &ResourceKey) -> bool {
    let mut found = false;
    let key = RecordKey::Resource(key.clone());
    Dependencies::invalidated_by(None, &key, &mut |dependency| {
        found |= dependencies.contains(&dependency);
    });
    found
}

/// A state that is built command by command.
pub(crate) struct Sample {
    pub(crate) view: View,
    commands: u64,
}

impl Sample {
    /// A mesh of this spec and nothing else.
    pub(crate) fn new(mesh: Value) -> Self {
        let empty = Self {
            view: View::default(),
            commands: 0,
        };
        empty.with(&ResourceKey::mesh(MESH), mesh)
    }

    pub(crate) fn scope(&self) -> &ScopeView {
        self.view.scope(&scope()).expect("a sample is not empty")
    }

    /// Adds a resource.
    pub(crate) fn with(mut self, key: &ResourceKey, spec: Value) -> Self {
        self.put(key, spec);
        self
    }

    /// Creates [`NAMESPACE`].
    pub(crate) fn with_namespace(mut self) -> Self {
        self.namespace();
        self
    }

    /// Applies a command; returns the changes.
    pub(crate) fn run(&mut self, command: Command) -> Result<(Vec<Change>, Reply), Rejection> {
        self.commands += 1;
        let context = tombolo_model::Context {
            scope: scope(),
            now: Timestamp(1_700_000_000_000 + self.commands),
            seed: self.commands,
            limits: tombolo_model::Limits::default(),
        };
        let applied = tombolo_model::apply(&self.view, &context, &command)?;
        if !applied.changes.is_empty() {
            let revision = self.view.revision + 1;
            for change in &applied.changes {
                self.view.apply(revision, change);
            }
        }
        Ok((applied.changes, applied.reply))
    }

    fn must(&mut self, command: Command) -> (Vec<Change>, Reply) {
        let shown = format!("{command:?}");
        let result = self.run(command);
        result.unwrap_or_else(|rejection| panic!("{shown}: {rejection}"))
    }

    /// Creates a resource, or updates it where it exists.
    pub(crate) fn put(&mut self, key: &ResourceKey, spec: Value) -> Vec<Change> {
        self.must(put(&self.view, key, spec)).0
    }

    /// Creates [`NAMESPACE`].
    pub(crate) fn namespace(&mut self) -> Vec<Change> {
        self.must(create_namespace()).0
    }

    /// Creates a service in [`NAMESPACE`].
    pub(crate) fn registry_service(&mut self, name: &str) -> Vec<Change> {
        self.must(create_service(self.namespace_id(), name)).0
    }

    pub(crate) fn namespace_id(&self) -> String {
        let namespace = self.scope().namespace_by_name(NAMESPACE);
        namespace.expect("the namespace exists").id.to_string()
    }

    pub(crate) fn service_id(&self, name: &str) -> String {
        let service = self.scope().service_by_name(&self.namespace_id(), name);
        service.expect("the service exists").id.to_string()
    }

    /// Registers an instance, or replaces it.
    pub(crate) fn instance(
        &mut self,
        service: &str,
        id: &str,
        attributes: &[(&str, &str)],
    ) -> Vec<Change> {
        self.must(register(self.service_id(service), id, attributes))
            .0
    }
}

/// Creates a resource, or updates it where it exists.
pub(crate) fn put(view: &View, key: &ResourceKey, spec: Value) -> Command {
    let spec = Spec::from_json(key.kind, spec).expect("a readable spec");
    let exists = view.resource(&scope(), key).is_some();
    let (key, client_token) = (key.clone(), None);
    Command::AppMesh(if exists {
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
    })
}

/// Creates [`NAMESPACE`].
pub(crate) fn create_namespace() -> Command {
    Command::CloudMap(cloudmap::Command::CreateNamespace(CreateNamespace {
        name: NAMESPACE.into(),
        kind: NamespaceType::HTTP,
        vpc: None,
        description: None,
        soa_ttl: None,
        creator_request_id: None,
        tags: Vec::new(),
    }))
}

/// Creates a service of the registry.
pub(crate) fn create_service(namespace_id: String, name: &str) -> Command {
    Command::CloudMap(cloudmap::Command::CreateService(CreateService {
        name: name.into(),
        namespace_id,
        description: None,
        dns_config: None,
        health_check: None,
        custom_health_check: true,
        http_only: false,
        creator_request_id: None,
        tags: Vec::new(),
    }))
}

/// Registers an instance, or replaces it.
pub(crate) fn register(service_id: String, id: &str, attributes: &[(&str, &str)]) -> Command {
    let attributes = attributes.iter();
    let attributes = attributes.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Command::CloudMap(cloudmap::Command::RegisterInstance(RegisterInstance {
        service_id,
        instance_id: id.into(),
        attributes: attributes.collect(),
        creator_request_id: None,
    }))
}

/// A node found in the registry, with one listener.
pub(crate) fn registered(port: u16, protocol: &str, service: &str) -> Value {
    json!({
        "listeners": [{"portMapping": {"port": port, "protocol": protocol}}],
        "serviceDiscovery": {
            "awsCloudMap": {"namespaceName": NAMESPACE, "serviceName": service},
        },
    })
}

/// A node without listeners that calls these services.
pub(crate) fn caller(backends: &[&str]) -> Value {
    let backends: Vec<Value> = backends
        .iter()
        .map(|name| json!({"virtualService": {"virtualServiceName": name}}))
        .collect();
    json!({"backends": backends})
}

/// A service that a router provides.
pub(crate) fn routed(router: &str) -> Value {
    json!({"provider": {"virtualRouter": {"virtualRouterName": router}}})
}

/// A service that a node provides.
pub(crate) fn provided(node: &str) -> Value {
    json!({"provider": {"virtualNode": {"virtualNodeName": node}}})
}

/// A router with one listener.
pub(crate) fn listening(port: u16, protocol: &str) -> Value {
    json!({"listeners": [{"portMapping": {"port": port, "protocol": protocol}}]})
}

/// An HTTP route of everything to nodes by weight.
pub(crate) fn weighted(targets: &[(&str, u32)]) -> Value {
    json!({"httpRoute": {"match": {"prefix": "/"}, "action": shares(targets)}})
}

/// The action of a route: nodes by weight.
pub(crate) fn shares(targets: &[(&str, u32)]) -> Value {
    let targets: Vec<Value> = targets
        .iter()
        .map(|(node, weight)| json!({"virtualNode": node, "weight": weight}))
        .collect();
    json!({ "weightedTargets": targets })
}
