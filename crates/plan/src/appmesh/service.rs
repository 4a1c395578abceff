//! Compiles virtual services, each once for all its callers.

use super::{Objects, cloudmap, cluster, matching, retry, warn};
use crate::{
    dialect::{Dependencies, ServicePlan},
    plan::{Discovery, Handler, Match, RequestRewrite, Route, Target, TcpRoute, VirtualHost},
};
use std::sync::Arc;
use tombolo_model::appmesh::{
    Kind, ResourceKey, Spec,
    spec::{
        PortMapping, Protocol, RouteSpec, VirtualRouterSpec, route::WeightedTarget,
        virtual_service::Provider,
    },
};

/// Compiles a virtual service on each port of its provider.
pub(super) fn compile(
    objects: Objects<'_>,
    dependencies: &mut Dependencies,
    service: &ResourceKey,
) -> ServicePlan {
    let mut compiler = ServiceCompiler {
        objects,
        dependencies,
        service,
        plan: ServicePlan::default(),
    };
    compiler.compile();
    compiler.plan
}

struct ServiceCompiler<'a, 'r> {
    objects: Objects<'a>,
    dependencies: &'r mut Dependencies,
    service: &'r ResourceKey,
    plan: ServicePlan,
}

impl<'a> ServiceCompiler<'a, '_> {
    fn compile(&mut self) {
        let Some(Spec::VirtualService(spec)) = self.read(self.service) else {
            return;
        };
        self.plan.exists = true;
        match &spec.provider {
            Some(Provider::VirtualNode(node)) => {
                self.provided_by_node(&node.virtual_node_name);
            }
            Some(Provider::VirtualRouter(router)) => {
                let router = &router.virtual_router_name;
                let router = self.objects.key(Kind::VirtualRouter, router);
                if let Some(Spec::VirtualRouter(spec)) = self.read(&router) {
                    self.provided_by_router(&router, spec);
                }
            }
            None => self.warn(self.service, "has no provider, so calls to it are refused"),
        }
    }

    fn read(&mut self, key: &ResourceKey) -> Option<&'a Spec> {
        self.objects.read(self.dependencies, key)
    }

    fn warn(&mut self, object: &ResourceKey, message: impl Into<String>) {
        warn(&mut self.plan.warnings, object, message);
    }

    fn provided_by_node(&mut self, node: &str) {
        let key = self.objects.key(Kind::VirtualNode, node);
        let Some(Spec::VirtualNode(spec)) = self.read(&key) else {
            return;
        };
        for mapping in spec.listeners().iter().map(|l| l.port_mapping) {
            let target = WeightedTarget {
                virtual_node: node.to_owned(),
                weight: 1,
                port: Some(mapping.port),
            };
            let targets = self.targets(std::slice::from_ref(&target), mapping);
            let name = self.service.name.to_string();
            let handler = if mapping.protocol == Protocol::Tcp {
                Handler::Tcp(TcpRoute {
                    origin: self.service.to_string().into(),
                    name,
                    targets,
                    idle: Some(cluster::IDLE_TIMEOUT),
                })
            } else {
                self.http(vec![Route {
                    origin: None,
                    name,
                    matcher: Match::everything(),
                    targets,
                    timeout: cluster::DEFAULT_TIMEOUT,
                    retry: Some(retry::default()),
                    rewrite: RequestRewrite::default(),
                }])
            };
            self.plan.ports.insert(mapping.port, handler);
        }
    }

    fn provided_by_router(&mut self, router: &ResourceKey, spec: &VirtualRouterSpec) {
        let routes =
            self.objects
                .children(self.dependencies, router, Kind::Route, |spec| match spec {
                    Spec::Route(spec) => Some(&**spec),
                    _ => None,
                });
        for mapping in spec.listeners() {
            let here = routes
                .iter()
                .copied()
                .filter(|(_, route)| route.match_port().is_none_or(|port| port == mapping.port));
            let handler = if mapping.protocol == Protocol::Tcp {
                let found =
                    here.filter_map(|(key, spec)| Some((key, spec, spec.tcp_route.as_ref()?)));
                // TCP connections have nothing to match: the first route by priority gets all of them.
                let first = found.min_by_key(|(key, spec, _)| {
                    (spec.priority.unwrap_or(u32::MAX), key.name.clone())
                });
                let Some((key, _, route)) = first else {
                    continue;
                };
                Handler::Tcp(TcpRoute {
                    origin: key.to_string().into(),
                    name: key.name.to_string(),
                    targets: self.targets(&route.action.weighted_targets, mapping),
                    idle: cluster::timeout_or_default(
                        route.timeout.and_then(|timeout| timeout.idle),
                        cluster::IDLE_TIMEOUT,
                    ),
                })
            } else {
                let mut planned: Vec<_> = here
                    .filter_map(|(key, route)| self.http_route(key, route, mapping))
                    .collect();
                planned.sort_by_cached_key(|(priority, route)| {
                    matching::precedence(*priority, &route.matcher, &route.name)
                });
                let planned = planned.into_iter().map(|(_, route)| route).collect();
                self.http(planned)
            };
            self.plan.ports.insert(mapping.port, handler);
        }
    }

    fn http_route(
        &mut self,
        key: &ResourceKey,
        spec: &RouteSpec,
        mapping: PortMapping,
    ) -> Option<(Option<u32>, Route)> {
        let http = spec.http_route.as_ref().or(spec.http2_route.as_ref());
        let (matcher, action, policy, timeout) = match (http, &spec.grpc_route) {
            (Some(route), _) => {
                let policy = route.retry_policy.as_ref();
                let matcher = matching::http(&route.matcher);
                (matcher, &route.action, policy, route.timeout)
            }
            (None, Some(route)) => {
                let policy = route.retry_policy.as_ref();
                let matcher = matching::grpc(&route.matcher);
                (matcher, &route.action, policy, route.timeout)
            }
            (None, None) => return None,
        };
        let route = Route {
            origin: Some(key.to_string().into()),
            name: key.name.to_string(),
            matcher,
            targets: self.targets(&action.weighted_targets, mapping),
            timeout: cluster::request_timeout(timeout),
            retry: Some(policy.map_or_else(retry::default, retry::explicit)),
            rewrite: RequestRewrite::default(),
        };
        Some((spec.priority, route))
    }

    /// The clusters of weighted targets; empty, so that requests are refused, if the sum of the weights is 0.
    fn targets(&mut self, targets: &[WeightedTarget], mapping: PortMapping) -> Vec<Target> {
        let planned: Vec<Target> = targets
            .iter()
            .filter_map(|target| {
                let cluster = self.target_cluster(target, mapping)?;
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

    /// Adds the cluster of a target's listener to the plan and returns its name. `None` if the node or the
    /// listener does not exist.
    fn target_cluster(
        &mut self,
        target: &WeightedTarget,
        mapping: PortMapping,
    ) -> Option<Arc<str>> {
        let key = self.objects.key(Kind::VirtualNode, &target.virtual_node);
        let Some(Spec::VirtualNode(spec)) = self.read(&key) else {
            let message = format!("its target {} does not exist", target.virtual_node);
            self.warn(self.service, message);
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
        let name = cluster::egress_name(&self.objects.mesh, &key.name, listener.port_mapping);
        let preference = self.objects.preference(spec);
        let planned = cluster::egress(&key, discovery, listener, preference);
        if let Discovery::Registry(query) = &planned.discovery
            && !cloudmap::has_namespace(self.objects.scope, &query.namespace, self.dependencies)
        {
            let message = format!(
                "the Cloud Map namespace {} does not exist yet",
                query.namespace
            );
            self.warn(&key, message);
        }
        self.plan.clusters.insert(name.clone(), planned.into());
        Some(name)
    }

    fn http(&self, routes: Vec<Route>) -> Handler {
        let host = VirtualHost {
            origin: Some(self.service.to_string().into()),
            name: self.service.name.to_string(),
            domains: vec![self.service.name.to_ascii_lowercase()],
            routes,
        };
        Handler::Http(vec![host.into()])
    }
}
