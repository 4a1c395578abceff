//! Compiles virtual nodes: the inbound ports and the outbound routing of their sidecars.

use super::{Compiler, access_log, cloudmap, cluster};
use crate::plan::{
    EGRESS_PORT, EgressPolicy, Handler, INGRESS_PORT, Inbound, Match, Outbound, RequestRewrite,
    Route, Target, VirtualHost,
};
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};
use tombolo_model::appmesh::{
    Kind, ResourceKey,
    spec::{
        VirtualNodeSpec,
        mesh::EgressFilterType,
        tls::{BackendDefaults, ClientPolicy},
        virtual_node::VirtualServiceBackend,
    },
};

impl Compiler<'_, '_, '_> {
    pub(super) fn node(&mut self, key: &ResourceKey, spec: &VirtualNodeSpec) {
        self.plan.access_log = spec.logging.as_ref().and_then(access_log);
        let preference = self.objects.preference(spec);
        self.plan.dual_stack = preference.is_some();
        for listener in spec.listeners() {
            let port = listener.port_mapping.port;
            if is_reserved(port) {
                let message = format!("port {port} is the sidecar's own: the listener is left out");
                self.warn(key, message);
                continue;
            }
            let name = cluster::ingress_name(&self.objects.mesh, &key.name, listener.port_mapping);
            let local = cluster::ingress(key, listener, cluster::prefers_ipv6(preference));
            self.plan.clusters.insert(name.clone(), local.into());
            self.plan.inbound.push(Inbound {
                port,
                protocol: cluster::protocol(listener.port_mapping.protocol),
                cluster: name,
                timeout: cluster::listener_timeout(listener.timeout.as_ref()),
            });
            self.warn_of_tls(key, port, listener.tls.as_ref());
        }
        let defaults = client_policy(spec.backend_defaults.as_ref());
        let mut ports = Ports::default();
        for backend in spec.backends() {
            self.backend(key, backend, defaults, &mut ports);
        }
        self.egress_policy(key, &mut ports);
        ports.outbound.sort_by_key(|outbound| outbound.port);
        self.plan.outbound = ports.outbound;
    }

    fn backend(
        &mut self,
        key: &ResourceKey,
        backend: &VirtualServiceBackend,
        defaults: Option<&ClientPolicy>,
        ports: &mut Ports,
    ) {
        let name = backend.name();
        let policy = backend.client_policy.as_ref().or(defaults);
        let service = self.service(key, name);
        for (port, handler) in &service.ports {
            let mut handler = handler.clone();
            if self.is_refused_by_policy(key, name, *port, policy) {
                handler = handler.without_targets();
            }
            if is_reserved(*port) {
                let message = format!("port {port} is the sidecar's own: calls to it are refused");
                let service = self.objects.key(Kind::VirtualService, name);
                self.warn(&service, message);
            } else {
                self.add_port(name, *port, handler, ports);
            }
        }
    }

    /// Adds a port of a service. If backends before it use the port too, HTTP requests are told apart by host, and TCP
    /// connections by their original destination if the registry has the addresses of the service.
    fn add_port(&mut self, service: &str, port: u16, handler: Handler, ports: &mut Ports) {
        let Some(taken) = ports.default_entry(port) else {
            return ports.push(port, service, handler);
        };
        if let (Handler::Http(hosts), Handler::Http(added)) = (&mut taken.handler, &handler) {
            for host in added {
                if !hosts.iter().any(|other| other.domains == host.domains) {
                    hosts.push(host.clone());
                }
            }
            return;
        }
        // One of the two is limited to the addresses of its service: the later one if those are known, else the
        // earlier.
        let key = self.objects.key(Kind::VirtualService, service);
        if let Handler::Tcp(_) = handler {
            let addresses = self.addresses(service, port, ports);
            if !addresses.is_empty() {
                ports.outbound.push(Outbound {
                    port,
                    destinations: addresses,
                    handler,
                });
                return;
            }
        }
        let (index, other) = ports.default_service(port);
        if let Handler::Tcp(_) = ports.outbound[index].handler {
            let addresses = self.addresses(&other, port, ports);
            if !addresses.is_empty() {
                ports.outbound[index].destinations = addresses;
                return ports.push(port, service, handler);
            }
        }
        let message = match handler {
            Handler::Http(_) => format!(
                "port {port} is already taken by the TCP service {other}: requests on it cannot be told apart, \
                 and go there"
            ),
            Handler::Tcp(_) => format!(
                "port {port} is already taken by {other}: connections cannot be told apart, and go there"
            ),
        };
        self.warn(&key, message);
    }

    /// The addresses of a service if its name is one of the registry, without those that another service has on this
    /// port.
    fn addresses(&mut self, service: &str, port: u16, ports: &Ports) -> Vec<IpAddr> {
        let mut addresses =
            cloudmap::addresses(self.objects.scope, service, self.context.dependencies());
        let others = || ports.outbound.iter().filter(|other| other.port == port);
        addresses.retain(|address| !others().any(|other| other.destinations.contains(address)));
        addresses
    }

    /// Plans calls to destinations that are no backend: the mesh's egress filter decides, and names of AWS are always
    /// passed through.
    fn egress_policy(&mut self, key: &ResourceKey, ports: &mut Ports) {
        let mesh = self.objects.mesh.clone();
        let add_cluster = |compiler: &mut Self, name: String| -> Arc<str> {
            let name: Arc<str> = name.into();
            let cluster = cluster::original_destination(key);
            compiler.plan.clusters.insert(name.clone(), cluster.into());
            name
        };
        let allows_all = self
            .objects
            .mesh_spec
            .egress_filter
            .map(|filter| filter.kind)
            == Some(EgressFilterType::AllowAll);
        if allows_all {
            let name = add_cluster(self, format!("cds_egress_{mesh}_passthrough"));
            self.plan.egress = EgressPolicy::PassThrough(name);
        }
        let amazon = add_cluster(self, format!("cds_egress_{mesh}_amazonaws"));
        for outbound in &mut ports.outbound {
            if let Handler::Http(hosts) = &mut outbound.handler {
                hosts.push(passthrough_host("amazonaws", "*.amazonaws.com", &amazon).into());
                if let EgressPolicy::PassThrough(cluster) = &self.plan.egress {
                    hosts.push(passthrough_host("passthrough", "*", cluster).into());
                }
            }
        }
    }
}

/// The outbound ports of a node while its backends are being added.
#[derive(Default)]
struct Ports {
    outbound: Vec<Outbound>,
    /// By port: the index of the entry of `outbound` without destination addresses, and the name of its service.
    defaults: BTreeMap<u16, (usize, String)>,
}

impl Ports {
    fn default_entry(&mut self, port: u16) -> Option<&mut Outbound> {
        let (index, _) = self.defaults.get(&port)?;
        Some(&mut self.outbound[*index])
    }

    fn default_service(&self, port: u16) -> (usize, String) {
        self.defaults[&port].clone()
    }

    fn push(&mut self, port: u16, service: &str, handler: Handler) {
        self.defaults
            .insert(port, (self.outbound.len(), service.to_owned()));
        self.outbound.push(Outbound {
            port,
            destinations: Vec::new(),
            handler,
        });
    }
}

fn is_reserved(port: u16) -> bool {
    [INGRESS_PORT, EGRESS_PORT].contains(&port)
}

pub(super) fn client_policy(defaults: Option<&BackendDefaults>) -> Option<&ClientPolicy> {
    defaults.and_then(|defaults| defaults.client_policy.as_ref())
}

/// A virtual host whose requests go to their original destination, through `cluster`.
fn passthrough_host(name: &str, domain: &str, cluster: &Arc<str>) -> VirtualHost {
    VirtualHost {
        origin: None,
        name: name.to_owned(),
        domains: vec![domain.to_owned()],
        routes: vec![Route {
            origin: None,
            name: name.to_owned(),
            matcher: Match::everything(),
            targets: vec![Target {
                cluster: cluster.clone(),
                weight: 1,
            }],
            timeout: cluster::DEFAULT_TIMEOUT,
            retry: None,
            rewrite: RequestRewrite::default(),
        }],
    }
}
