//! Virtual services as their callers see them.

use super::{Compiler, Ports, cluster, matching, retry};
use crate::plan::{
    Changes, Discovery, EGRESS_PORT, Handler, INGRESS_PORT, Match, Route, Target, TcpRoute,
    VirtualHost,
};
use std::{collections::btree_map::Entry, sync::Arc};
use tombolo_model::appmesh::{
    Kind, ResourceKey, Spec,
    spec::{
        PortMapping, Protocol, RouteSpec, VirtualRouterSpec,
        route::{RouteAction, WeightedTarget},
        tls::ClientPolicy,
        virtual_service::Provider,
    },
};

impl Compiler<'_> {
    /// Plans the calls of `caller` to a virtual service, on each port that its provider has. A policy that
    /// enforces TLS refuses them: TLS is not there yet, and plaintext is what the policy forbids.
    pub(super) fn service(
        &mut self,
        caller: &ResourceKey,
        service: &ResourceKey,
        policy: Option<&ClientPolicy>,
    ) -> Ports {
        let mut ports = Ports::default();
        let Some(Spec::VirtualService(spec)) = self.read(service) else {
            let message = format!("virtual service {} does not exist yet", service.name);
            self.warn(caller, message);
            return ports;
        };
        match &spec.provider {
            Some(Provider::VirtualNode { virtual_node_name }) => {
                self.provided_by_node(service, virtual_node_name, &mut ports);
            }
            Some(Provider::VirtualRouter {
                virtual_router_name,
            }) => {
                let router = ResourceKey::new(
                    self.mesh.clone(),
                    Kind::VirtualRouter,
                    virtual_router_name.as_str(),
                );
                if let Some(Spec::VirtualRouter(spec)) = self.read(&router) {
                    self.provided_by_router(service, &router, spec, &mut ports);
                }
            }
            None => self.warn(service, "has no provider, so calls to it are refused"),
        }
        let enforced = policy.and_then(|policy| policy.tls.as_ref());
        if let Some(tls) = enforced.filter(|tls| tls.enforce != Some(false)) {
            let named = tls.ports.as_deref().unwrap_or_default();
            for (port, handler) in &mut ports.0 {
                if named.is_empty() || named.contains(port) {
                    handler.refuse();
                    let message = format!(
                        "its client policy enforces TLS towards {} on port {port}, which is not supported \
                         yet: calls are refused",
                        service.name
                    );
                    self.warn(caller, message);
                }
            }
        }
        ports
    }

    /// Adds the ports of a service to those of the backends before it. A port that is taken stays what it is
    /// unless both speak HTTP, which tells them apart by host.
    pub(super) fn add(&mut self, ports: &mut Ports, service: &ResourceKey, added: Ports) {
        for (port, handler) in added.0 {
            if [INGRESS_PORT, EGRESS_PORT].contains(&port) {
                let message = format!("port {port} is the sidecar's own: calls to it are refused");
                self.warn(service, message);
                continue;
            }
            let taken = match ports.0.entry(port) {
                Entry::Vacant(entry) => {
                    entry.insert(handler);
                    continue;
                }
                Entry::Occupied(entry) => entry.into_mut(),
            };
            let message = match (taken, handler) {
                (Handler::Http(hosts), Handler::Http(added)) => {
                    for host in added {
                        if !hosts.iter().any(|other| other.domains == host.domains) {
                            hosts.push(host);
                        }
                    }
                    continue;
                }
                (Handler::Tcp(other), Handler::Http(_)) => format!(
                    "port {port} is already taken by the TCP route {}: requests on it cannot be told apart",
                    other.name
                ),
                (_, Handler::Tcp(_)) => format!(
                    "port {port} is already taken by another backend: connections cannot be told apart"
                ),
            };
            self.warn(service, message);
        }
    }

    fn provided_by_node(&mut self, service: &ResourceKey, node: &str, ports: &mut Ports) {
        let key = ResourceKey::new(self.mesh.clone(), Kind::VirtualNode, node);
        let Some(Spec::VirtualNode(spec)) = self.read(&key) else {
            return;
        };
        let mappings: Vec<PortMapping> = spec.listeners().iter().map(|l| l.port_mapping).collect();
        for mapping in mappings {
            let target = WeightedTarget {
                virtual_node: node.to_owned(),
                weight: 1,
                port: Some(mapping.port),
            };
            let targets = self.targets(service, std::slice::from_ref(&target), mapping);
            if mapping.protocol == Protocol::Tcp {
                let route = TcpRoute {
                    name: service.name.to_string(),
                    targets,
                    idle: Some(cluster::IDLE_TIMEOUT),
                };
                ports.0.insert(mapping.port, Handler::Tcp(route));
                continue;
            }
            let route = Route {
                name: service.name.to_string(),
                matcher: Match::everything(),
                targets,
                timeout: cluster::DEFAULT_TIMEOUT,
                retry: Some(retry::default()),
                changes: Changes::default(),
            };
            let handler = Self::http(service, vec![route]);
            ports.0.insert(mapping.port, handler);
        }
    }

    fn provided_by_router(
        &mut self,
        service: &ResourceKey,
        router: &ResourceKey,
        spec: &VirtualRouterSpec,
        ports: &mut Ports,
    ) {
        self.dependencies.list(Kind::Route, router);
        let scope = self.scope;
        let routes: Vec<(&str, &RouteSpec)> = scope
            .members(&router.mesh, Kind::Route, Some(&router.name))
            .filter_map(|route| match &route.spec {
                Spec::Route(spec) => Some((&*route.key.name, &**spec)),
                _ => None,
            })
            .collect();
        for mapping in spec.listeners() {
            let here = routes
                .iter()
                .copied()
                .filter(|(_, route)| route.match_port().is_none_or(|port| port == mapping.port));
            if mapping.protocol == Protocol::Tcp {
                let mut found =
                    here.filter_map(|(name, spec)| Some((name, spec, spec.tcp_route.as_ref()?)));
                // Connections carry nothing to choose by: the first route by priority has them all.
                let first = found.by_ref().min_by_key(|(name, spec, _)| {
                    (spec.priority.unwrap_or(u32::MAX), name.to_owned())
                });
                let Some((name, _, route)) = first else {
                    continue;
                };
                let route = TcpRoute {
                    name: name.to_owned(),
                    targets: self.targets(service, &route.action.weighted_targets, mapping),
                    idle: cluster::length(
                        route.timeout.and_then(|timeout| timeout.idle),
                        cluster::IDLE_TIMEOUT,
                    ),
                };
                ports.0.insert(mapping.port, Handler::Tcp(route));
            } else {
                let mut planned: Vec<_> = here
                    .filter_map(|(name, route)| self.http_route(service, name, route, mapping))
                    .collect();
                planned.sort_by_cached_key(|(priority, route)| {
                    matching::order(*priority, &route.matcher, &route.name)
                });
                let planned = planned.into_iter().map(|(_, route)| route).collect();
                ports.0.insert(mapping.port, Self::http(service, planned));
            }
        }
    }

    fn http_route(
        &mut self,
        service: &ResourceKey,
        name: &str,
        spec: &RouteSpec,
        mapping: PortMapping,
    ) -> Option<(Option<u32>, Route)> {
        let (matcher, action, policy, timeout): (_, &RouteAction, _, _) =
            if let Some(route) = spec.http_route.as_ref().or(spec.http2_route.as_ref()) {
                let matcher = matching::http(&route.matcher);
                (
                    matcher,
                    &route.action,
                    route.retry_policy.as_ref(),
                    route.timeout,
                )
            } else {
                let route = spec.grpc_route.as_ref()?;
                let matcher = matching::grpc(&route.matcher);
                (
                    matcher,
                    &route.action,
                    route.retry_policy.as_ref(),
                    route.timeout,
                )
            };
        let route = Route {
            name: name.to_owned(),
            matcher,
            targets: self.targets(service, &action.weighted_targets, mapping),
            timeout: cluster::request_timeout(timeout),
            retry: Some(policy.map_or_else(retry::default, retry::explicit)),
            changes: Changes::default(),
        };
        Some((spec.priority, route))
    }

    /// The clusters of weighted targets. Their sum may be 0: then nobody is sent to.
    fn targets(
        &mut self,
        service: &ResourceKey,
        targets: &[WeightedTarget],
        mapping: PortMapping,
    ) -> Vec<Target> {
        let planned: Vec<Target> = targets
            .iter()
            .filter_map(|target| {
                let cluster = self.target_cluster(service, target, mapping)?;
                Some(Target {
                    cluster,
                    weight: target.weight,
                })
            })
            .collect();
        if planned.iter().all(|target| target.weight == 0) {
            return Vec::new();
        }
        planned
    }

    /// The cluster of a node's listener, added to the plan. `None`: the node has no such listener.
    fn target_cluster(
        &mut self,
        service: &ResourceKey,
        target: &WeightedTarget,
        mapping: PortMapping,
    ) -> Option<Arc<str>> {
        let key = ResourceKey::new(
            self.mesh.clone(),
            Kind::VirtualNode,
            target.virtual_node.as_str(),
        );
        let Some(Spec::VirtualNode(spec)) = self.read(&key) else {
            self.warn(
                service,
                format!("its target {} does not exist", target.virtual_node),
            );
            return None;
        };
        let listeners = spec.listeners();
        let listener = match target.port {
            Some(port) => listeners.iter().find(|l| l.port_mapping.port == port),
            // Without a port: the listener of the same number, else the only one.
            None => listeners
                .iter()
                .find(|l| l.port_mapping.port == mapping.port)
                .or(listeners.first()),
        };
        let (Some(listener), Some(discovery)) = (listener, &spec.service_discovery) else {
            self.warn(&key, "has no listener to send to, so it gets no traffic");
            return None;
        };
        let name = cluster::egress_name(&self.mesh, &key.name, listener.port_mapping);
        let preference = self.preference(spec);
        let planned = cluster::remote(discovery, listener, preference);
        if let Discovery::Registry(query) = &planned.discovery
            && self.scope.namespace_by_name(&query.namespace).is_none()
        {
            self.warn(
                &key,
                format!(
                    "the Cloud Map namespace {} does not exist yet",
                    query.namespace
                ),
            );
        }
        self.plan.clusters.insert(name.clone(), planned);
        Some(name)
    }

    fn http(service: &ResourceKey, routes: Vec<Route>) -> Handler {
        Handler::Http(vec![VirtualHost {
            name: service.name.to_string(),
            domains: vec![service.name.to_ascii_lowercase()],
            routes,
        }])
    }
}
