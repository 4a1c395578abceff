//! Virtual services as their callers see them.

use super::{Compiler, Ports, cluster, matching, retry};
use crate::plan::{Changes, Discovery, Handler, Match, Route, Target, TcpRoute, VirtualHost};
use std::{collections::btree_map::Entry, sync::Arc};
use tombolo_model::mesh::{
    Kind, ResourceKey, Spec,
    spec::{
        PortMapping, Protocol, RouteSpec, VirtualRouterSpec,
        route::{RouteAction, WeightedTarget},
        virtual_service::Provider,
    },
};

impl Compiler<'_> {
    /// Plans the calls of `caller` to a virtual service, on each port that its provider has.
    pub(super) fn service(
        &mut self,
        caller: &ResourceKey,
        service: &ResourceKey,
        ports: &mut Ports,
    ) {
        let Some(Spec::VirtualService(spec)) = self.read(service) else {
            let message = format!("virtual service {} does not exist yet", service.name);
            return self.warn(caller, message);
        };
        match &spec.provider {
            Some(Provider::VirtualNode { virtual_node_name }) => {
                self.provided_by_node(service, virtual_node_name, ports);
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
                    self.provided_by_router(service, &router, spec, ports);
                }
            }
            None => self.warn(service, "has no provider, so calls to it are refused"),
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
                self.add_tcp(service, mapping.port, route, ports);
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
            self.add_http(service, mapping.port, vec![route], ports);
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
                self.add_tcp(service, mapping.port, route, ports);
            } else {
                let mut planned: Vec<_> = here
                    .filter_map(|(name, route)| self.http_route(service, name, route, mapping))
                    .collect();
                planned.sort_by_cached_key(|(priority, route)| {
                    matching::order(*priority, &route.matcher, &route.name)
                });
                let planned = planned.into_iter().map(|(_, route)| route).collect();
                self.add_http(service, mapping.port, planned, ports);
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

    fn add_http(
        &mut self,
        service: &ResourceKey,
        port: u16,
        routes: Vec<Route>,
        ports: &mut Ports,
    ) {
        let host = VirtualHost {
            name: service.name.to_string(),
            domains: vec![service.name.to_ascii_lowercase()],
            routes,
        };
        match ports
            .0
            .entry(port)
            .or_insert_with(|| Handler::Http(Vec::new()))
        {
            Handler::Http(hosts) => {
                if !hosts.iter().any(|other| other.domains == host.domains) {
                    hosts.push(host);
                }
            }
            Handler::Tcp(other) => {
                let message = format!(
                    "port {port} is already taken by the TCP route {}: requests on it cannot be told apart",
                    other.name
                );
                self.warn(service, message);
            }
        }
    }

    fn add_tcp(&mut self, service: &ResourceKey, port: u16, route: TcpRoute, ports: &mut Ports) {
        match ports.0.entry(port) {
            Entry::Vacant(entry) => {
                entry.insert(Handler::Tcp(route));
            }
            Entry::Occupied(_) => {
                let message = format!(
                    "port {port} is already taken by another backend: connections cannot be told apart"
                );
                self.warn(service, message);
            }
        }
    }
}
