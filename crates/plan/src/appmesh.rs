//! App Mesh objects to plans.
//!
//! The names of clusters are those of App Mesh, because people's dashboards and scripts look for them
//! (facts/walkthroughs.md §2.10).

mod cluster;
mod endpoints;
mod gateway;
mod matching;
mod retry;
mod service;

pub use endpoints::endpoints;

use crate::plan::{
    AccessLog, EGRESS_PORT, Handler, INGRESS_PORT, Inbound, LogFormat, Outbound, Plan,
    UnknownDestination, VirtualHost, Warning,
};
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};
use tombolo_model::{
    ScopeView,
    appmesh::{
        Kind, ResourceKey, Spec,
        spec::{
            self, MeshSpec, VirtualNodeSpec,
            listener::{FileAccessLog, Logging, LoggingFormat},
            mesh::{EgressFilterType, IpPreference},
            tls::{ListenerTls, TlsMode},
        },
    },
};

/// What a compilation looked at, so that a later change can be told to concern it or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dependencies {
    /// Resources that were read, also those that were not there.
    resources: HashSet<ResourceKey>,
    /// What was listed: the kind, the mesh and the parent.
    lists: HashSet<(Kind, Arc<str>, Arc<str>)>,
}

impl Dependencies {
    /// Whether a change to this resource can change the plan.
    pub fn concern(&self, key: &ResourceKey) -> bool {
        self.resources.contains(key)
            || key.kind.parent().is_some()
                && self
                    .lists
                    .contains(&(key.kind, key.mesh.clone(), key.parent.clone()))
    }

    /// All children of this kind were looked at.
    fn list(&mut self, kind: Kind, parent: &ResourceKey) {
        self.lists
            .insert((kind, parent.mesh.clone(), parent.name.clone()));
    }
}

/// Compiles the plan of the proxies of a virtual node or a virtual gateway. `None`: there is none of this
/// name.
pub fn compile(scope: &ScopeView, key: &ResourceKey) -> Option<(Plan, Dependencies)> {
    let mut compiler = Compiler {
        scope,
        mesh: key.mesh.clone(),
        mesh_spec: MeshSpec::default(),
        plan: Plan::default(),
        dependencies: Dependencies::default(),
    };
    if let Some(Spec::Mesh(spec)) = compiler.read(&ResourceKey::mesh(key.mesh.clone())) {
        compiler.mesh_spec = spec.clone();
    }
    match compiler.read(key)? {
        Spec::VirtualNode(spec) => compiler.node(key, spec),
        Spec::VirtualGateway(spec) => compiler.gateway(key, spec),
        _ => return None,
    }
    Some((compiler.plan, compiler.dependencies))
}

/// One compilation.
struct Compiler<'a> {
    scope: &'a ScopeView,
    mesh: Arc<str>,
    mesh_spec: MeshSpec,
    plan: Plan,
    dependencies: Dependencies,
}

/// What is planned for a port that the application calls, while backends are still being added.
#[derive(Default)]
struct Ports(BTreeMap<u16, Handler>);

impl<'a> Compiler<'a> {
    /// Reads a resource and remembers that the plan depends on it.
    fn read(&mut self, key: &ResourceKey) -> Option<&'a Spec> {
        self.dependencies.resources.insert(key.clone());
        self.scope.resource(key).map(|resource| &resource.spec)
    }

    fn warn(&mut self, object: &ResourceKey, message: impl Into<String>) {
        let warning = Warning {
            object: object.to_string(),
            message: message.into(),
        };
        if !self.plan.warnings.contains(&warning) {
            self.plan.warnings.push(warning);
        }
    }

    fn node(&mut self, key: &ResourceKey, spec: &VirtualNodeSpec) {
        self.plan.access_log = spec.logging.as_ref().and_then(access_log);
        self.plan.dual_stack = self.preference(spec).is_some();
        for listener in spec.listeners() {
            let port = listener.port_mapping.port;
            if [INGRESS_PORT, EGRESS_PORT].contains(&port) {
                let message = format!("port {port} is the sidecar's own: the listener is left out");
                self.warn(key, message);
                continue;
            }
            let cluster = cluster::ingress_name(&self.mesh, &key.name, listener.port_mapping);
            let ipv6 = cluster::prefers_ipv6(self.preference(spec));
            self.plan
                .clusters
                .insert(cluster.clone(), cluster::local(listener, ipv6));
            self.plan.inbound.push(Inbound {
                port: listener.port_mapping.port,
                protocol: cluster::protocol(listener.port_mapping.protocol),
                cluster,
                timeout: cluster::listener_timeout(listener.timeout.as_ref()),
            });
            self.warn_of_tls(key, listener.port_mapping.port, listener.tls.as_ref());
        }
        self.outbound(key, spec);
    }

    fn warn_of_tls(&mut self, key: &ResourceKey, port: u16, tls: Option<&ListenerTls>) {
        if tls.is_some_and(|tls| tls.mode != TlsMode::Disabled) {
            let message = format!("TLS of listener {port} is not supported yet: it is plaintext");
            self.warn(key, message);
        }
    }

    fn outbound(&mut self, key: &ResourceKey, spec: &VirtualNodeSpec) {
        let mut ports = Ports::default();
        let defaults = spec
            .backend_defaults
            .as_ref()
            .and_then(|defaults| defaults.client_policy.as_ref());
        for backend in spec.backends() {
            let service = ResourceKey::new(self.mesh.clone(), Kind::VirtualService, backend.name());
            let policy = backend.client_policy.as_ref().or(defaults);
            let added = self.service(key, &service, policy);
            self.add(&mut ports, &service, added);
        }
        let passes = self.mesh_spec.egress_filter.map(|filter| filter.kind)
            == Some(EgressFilterType::AllowAll);
        if passes {
            let name: Arc<str> = format!("cds_egress_{}_passthrough", self.mesh).into();
            self.plan
                .clusters
                .insert(name.clone(), cluster::original_destination());
            self.plan.unknown = UnknownDestination::PassThrough(name);
        }
        let amazon: Arc<str> = format!("cds_egress_{}_amazonaws", self.mesh).into();
        self.plan
            .clusters
            .insert(amazon.clone(), cluster::original_destination());
        for (port, mut handler) in ports.0 {
            if let Handler::Http(hosts) = &mut handler {
                hosts.push(open_host("amazonaws", "*.amazonaws.com", &amazon));
                if let UnknownDestination::PassThrough(cluster) = &self.plan.unknown {
                    hosts.push(open_host("passthrough", "*", cluster));
                }
            }
            self.plan.outbound.push(Outbound { port, handler });
        }
    }

    /// The address-family preference of a node: its own, else the mesh's.
    fn preference(&self, spec: &VirtualNodeSpec) -> Option<IpPreference> {
        let own = match &spec.service_discovery {
            Some(spec::virtual_node::ServiceDiscovery::AwsCloudMap(d)) => d.ip_preference,
            Some(spec::virtual_node::ServiceDiscovery::Dns(d)) => d.ip_preference,
            None => None,
        };
        own.or(self.mesh_preference())
    }

    fn mesh_preference(&self) -> Option<IpPreference> {
        self.mesh_spec.service_discovery?.ip_preference
    }
}

/// A host whose requests go wherever they were going.
fn open_host(name: &str, domain: &str, cluster: &Arc<str>) -> VirtualHost {
    use crate::plan::{Changes, Match, Route, Target};
    VirtualHost {
        name: name.to_owned(),
        domains: vec![domain.to_owned()],
        routes: vec![Route {
            name: name.to_owned(),
            matcher: Match::everything(),
            targets: vec![Target {
                cluster: cluster.clone(),
                weight: 1,
            }],
            timeout: cluster::DEFAULT_TIMEOUT,
            retry: None,
            changes: Changes::default(),
        }],
    }
}

fn access_log(logging: &Logging) -> Option<AccessLog> {
    let spec::listener::AccessLog::File(FileAccessLog { path, format }) =
        logging.access_log.as_ref()?;
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
