//! The App Mesh dialect: compiles virtual nodes and virtual gateways to plans.
//!
//! Clusters have the names that App Mesh gives them, because dashboards and scripts of users search for those
//! (facts/walkthroughs.md §2.10).

mod cloudmap;
mod cluster;
mod gateway;
mod matching;
mod node;
mod retry;
mod service;

use crate::{
    dialect::{Context, Dependencies, Dependency, Dialect, ServicePlan},
    plan::{AccessLog, Endpoint, EndpointQuery, LogFormat, Plan, Warning},
};
use std::sync::Arc;
use tombolo_model::{
    RecordKey, Scope, ScopeView,
    appmesh::{
        Kind, ResourceKey, Spec,
        spec::{
            MeshSpec, VirtualNodeSpec,
            logging::{AccessLog as AccessLogSpec, FileAccessLog, Logging, LoggingFormat},
            mesh::IpPreference,
            tls::{ClientPolicy, ClientPolicyTls, ListenerTls, TlsMode},
        },
    },
    arn,
};
use tombolo_xds::{Node, Status};

/// The App Mesh dialect: workloads are virtual nodes and virtual gateways, services are virtual services.
pub struct AppMesh;

impl Dialect for AppMesh {
    /// The id of a proxy's node is an ARN, or the resource path of one such as `mesh/m/virtualNode/n`. If the id is
    /// neither, the node's cluster is read the same way.
    fn workload_of(&self, node: &Node) -> Result<(Option<Scope>, RecordKey), Status> {
        let named = arn::parse_resource(&node.id).or_else(|| arn::parse_resource(&node.cluster));
        let Some(named) = named else {
            return Err(Status::invalid_argument(format!(
                "the node id {:?} is neither an App Mesh ARN nor mesh/MESH/virtualNode/NODE nor \
                 mesh/MESH/virtualGateway/GATEWAY",
                node.id
            )));
        };
        if !matches!(named.key.kind, Kind::VirtualNode | Kind::VirtualGateway) {
            return Err(Status::invalid_argument(format!(
                "{} is a {}: proxies belong to virtual nodes and virtual gateways",
                named.key, named.key.kind
            )));
        }
        Ok((named.scope, RecordKey::Resource(named.key)))
    }

    fn compile(
        &self,
        scope: &ScopeView,
        workload: &RecordKey,
        context: &mut Context<'_>,
    ) -> Option<Plan> {
        let RecordKey::Resource(key) = workload else {
            return None;
        };
        let objects = Objects::new(scope, &key.mesh, context.dependencies());
        let mut compiler = Compiler {
            objects,
            context,
            plan: Plan {
                origin: key.to_string().into(),
                ..Plan::default()
            },
        };
        match compiler.read(key)? {
            Spec::VirtualNode(spec) => compiler.node(key, spec),
            Spec::VirtualGateway(spec) => compiler.gateway(key, spec),
            _ => return None,
        }
        Some(compiler.plan)
    }

    fn compile_service(
        &self,
        scope: &ScopeView,
        service: &RecordKey,
        dependencies: &mut Dependencies,
    ) -> ServicePlan {
        match service {
            RecordKey::Resource(key) => {
                let objects = Objects::new(scope, &key.mesh, dependencies);
                service::compile(objects, dependencies, key)
            }
            _ => ServicePlan::default(),
        }
    }

    fn endpoints(
        &self,
        scope: &ScopeView,
        query: &EndpointQuery,
        dependencies: &mut Dependencies,
    ) -> Vec<Endpoint> {
        cloudmap::endpoints(scope, query, dependencies)
    }
}

/// The objects of one mesh.
struct Objects<'a> {
    scope: &'a ScopeView,
    mesh: Arc<str>,
    mesh_spec: MeshSpec,
}

impl<'a> Objects<'a> {
    fn new(scope: &'a ScopeView, mesh: &Arc<str>, dependencies: &mut Dependencies) -> Self {
        let mut objects = Self {
            scope,
            mesh: mesh.clone(),
            mesh_spec: MeshSpec::default(),
        };
        if let Some(Spec::Mesh(spec)) = objects.read(dependencies, &ResourceKey::mesh(mesh.clone()))
        {
            objects.mesh_spec = spec.clone();
        }
        objects
    }

    fn read(&self, dependencies: &mut Dependencies, key: &ResourceKey) -> Option<&'a Spec> {
        dependencies.add(Dependency::Record(RecordKey::Resource(key.clone())));
        self.scope.resource(key).map(|resource| &resource.spec)
    }

    /// The children of a resource that are of this kind, with their specs; `spec` selects the variant of the kind.
    fn children<'b, T>(
        &self,
        dependencies: &mut Dependencies,
        parent: &'b ResourceKey,
        kind: Kind,
        spec: fn(&Spec) -> Option<&T>,
    ) -> Vec<(&'b ResourceKey, &'b T)>
    where
        'a: 'b,
    {
        dependencies.add(Dependency::Children(RecordKey::Resource(parent.clone())));
        self.scope
            .members(&parent.mesh, kind, Some(&parent.name))
            .filter_map(|child| Some((&child.key, spec(&child.spec)?)))
            .collect()
    }

    /// The key of a resource directly in the mesh.
    fn key(&self, kind: Kind, name: &str) -> ResourceKey {
        ResourceKey::new(self.mesh.clone(), kind, name)
    }

    /// The IP preference of a node: its own, or the mesh's if it has none.
    fn preference(&self, spec: &VirtualNodeSpec) -> Option<IpPreference> {
        spec.ip_preference().or(self.mesh_preference())
    }

    fn mesh_preference(&self) -> Option<IpPreference> {
        self.mesh_spec.service_discovery?.ip_preference
    }
}

/// The compilation of one workload.
struct Compiler<'a, 'c, 'x> {
    objects: Objects<'a>,
    context: &'c mut Context<'x>,
    plan: Plan,
}

impl<'a> Compiler<'a, '_, '_> {
    fn read(&mut self, key: &ResourceKey) -> Option<&'a Spec> {
        self.objects.read(self.context.dependencies(), key)
    }

    fn warn(&mut self, object: &ResourceKey, message: impl Into<String>) {
        warn(&mut self.plan.warnings, object, message);
    }

    /// The compiled virtual service that `caller` calls. Adds its clusters and warnings to the plan.
    fn service(&mut self, caller: &ResourceKey, name: &str) -> Arc<ServicePlan> {
        let key = self.objects.key(Kind::VirtualService, name);
        let service = self.context.service(&RecordKey::Resource(key));
        if !service.exists {
            let message = format!("virtual service {name} does not exist yet");
            self.warn(caller, message);
        }
        for warning in &service.warnings {
            if !self.plan.warnings.contains(warning) {
                self.plan.warnings.push(warning.clone());
            }
        }
        let clusters = service.clusters.iter();
        self.plan
            .clusters
            .extend(clusters.map(|(name, cluster)| (name.clone(), cluster.clone())));
        service
    }

    /// Whether calls of `caller` to a service's port must be refused: its client policy enforces TLS there,
    /// which is not supported, and forbids plaintext. Adds a warning if so.
    fn is_refused_by_policy(
        &mut self,
        caller: &ResourceKey,
        service: &str,
        port: u16,
        policy: Option<&ClientPolicy>,
    ) -> bool {
        let is_refused = policy
            .and_then(|policy| policy.tls.as_ref())
            .is_some_and(|tls| enforces(tls, port));
        if is_refused {
            let message = format!(
                "its client policy enforces TLS towards {service} on port {port}, which is not supported \
                 yet: calls are refused"
            );
            self.warn(caller, message);
        }
        is_refused
    }

    fn warn_of_tls(&mut self, key: &ResourceKey, port: u16, tls: Option<&ListenerTls>) {
        if tls.is_some_and(|tls| tls.mode != TlsMode::Disabled) {
            let message = format!("TLS of listener {port} is not supported yet: it is plaintext");
            self.warn(key, message);
        }
    }
}

fn enforces(tls: &ClientPolicyTls, port: u16) -> bool {
    let ports = tls.ports.as_deref().unwrap_or_default();
    tls.enforce != Some(false) && (ports.is_empty() || ports.contains(&port))
}

fn warn(warnings: &mut Vec<Warning>, object: &ResourceKey, message: impl Into<String>) {
    let warning = Warning {
        object: object.to_string(),
        message: message.into(),
    };
    if !warnings.contains(&warning) {
        warnings.push(warning);
    }
}

fn access_log(logging: &Logging) -> Option<AccessLog> {
    let AccessLogSpec::File(FileAccessLog { path, format }) = logging.access_log.as_ref()?;
    let format = format.as_ref().map(|format| match format {
        LoggingFormat::Text(line) => LogFormat::Text(line.clone()),
        LoggingFormat::Json(members) => LogFormat::Json(
            members
                .iter()
                .map(|m| (m.key.clone(), m.value.clone()))
                .collect(),
        ),
    });
    Some(AccessLog {
        path: path.clone(),
        format,
    })
}

#[cfg(test)]
mod tests;
