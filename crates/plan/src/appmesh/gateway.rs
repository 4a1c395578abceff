//! Compiles virtual gateways and their gateway routes.

use super::{Compiler, access_log, cluster, matching, node::client_policy};
use crate::plan::{
    EGRESS_PORT, Gateway, GatewayListener, Handler, HeaderMatch, PathRewrite, RequestRewrite,
    Route, SERVICE_HEADER, Target, Timeout, ValueMatch,
};
use std::sync::Arc;
use tombolo_model::appmesh::{
    Kind, ResourceKey, Spec,
    spec::{
        GatewayRouteSpec, VirtualGatewaySpec,
        gateway_route::{
            GatewayRouteTarget, HostnameRewrite, HttpGatewayRouteMatch, HttpGatewayRouteRewrite,
            Switch,
        },
        matching::HostnameMatch,
        tls::ClientPolicy,
    },
};

/// The timeouts of the routes that send requests back to the gateway. The routes of the service have their own, and
/// the shorter of two would win.
const UNLIMITED: Timeout = Timeout {
    request: None,
    idle: None,
};

impl Compiler<'_, '_, '_> {
    pub(super) fn gateway(&mut self, key: &ResourceKey, spec: &VirtualGatewaySpec) {
        self.plan.access_log = spec.logging.as_ref().and_then(access_log);
        self.plan.dual_stack = self.objects.mesh_preference().is_some();
        let dependencies = self.context.dependencies();
        let routes =
            self.objects
                .children(dependencies, key, Kind::GatewayRoute, |spec| match spec {
                    Spec::GatewayRoute(spec) => Some(&**spec),
                    _ => None,
                });
        let mut gateway = Gateway::default();
        let is_only = spec.listeners.len() == 1;
        let policy = client_policy(spec.backend_defaults.as_ref());
        for listener in &spec.listeners {
            let mapping = listener.port_mapping;
            if mapping.port == EGRESS_PORT {
                let message =
                    format!("port {EGRESS_PORT} is the proxy's own: the listener is left out");
                self.warn(key, message);
                continue;
            }
            self.warn_of_tls(key, mapping.port, listener.tls.as_ref());
            let back = cluster::self_redirect_name(&self.objects.mesh, &key.name, mapping, is_only);
            self.plan
                .clusters
                .insert(back.clone(), cluster::self_redirect(key, listener).into());
            let mut here: Vec<_> = routes
                .iter()
                .filter(|(_, spec)| spec.match_port().is_none_or(|port| port == mapping.port))
                .filter_map(|(route, spec)| {
                    let planned = self.gateway_route(
                        route,
                        spec,
                        &back,
                        policy,
                        &mut gateway.service_routes,
                    )?;
                    Some((spec, planned))
                })
                .collect();
            here.sort_by_cached_key(|(spec, route)| {
                let order = matching::precedence(spec.priority, &route.matcher, &route.name);
                (spec.priority.unwrap_or(u32::MAX), host_rank(spec), order)
            });
            gateway.listeners.push(GatewayListener {
                port: mapping.port,
                protocol: cluster::protocol(mapping.protocol),
                routes: here.into_iter().map(|(_, route)| route).collect(),
            });
        }
        self.plan.gateway = Some(gateway);
    }

    /// Compiles a gateway route to a route of a listener, and adds the routes of its service to
    /// `service_routes`. `None` if the route has no usable target.
    fn gateway_route(
        &mut self,
        key: &ResourceKey,
        spec: &GatewayRouteSpec,
        back: &Arc<str>,
        policy: Option<&ClientPolicy>,
        service_routes: &mut Vec<Route>,
    ) -> Option<Route> {
        let (_, target) = spec.target()?;
        let mark = self.service_routes(key, target, policy, service_routes)?;
        let service = &target.virtual_service.virtual_service_name;
        let (mut matcher, hostname, mut rewrite) =
            if let Some(route) = spec.http_route.as_ref().or(spec.http2_route.as_ref()) {
                let asked = route.action.rewrite.as_ref();
                let rewrite = RequestRewrite {
                    host: new_host(service, asked.and_then(|rewrite| rewrite.hostname)),
                    path: path_rewrite(&route.matcher, asked),
                    ..RequestRewrite::default()
                };
                let matcher = matching::gateway_http(&route.matcher);
                (matcher, route.matcher.hostname.as_ref(), rewrite)
            } else {
                let route = spec.grpc_route.as_ref()?;
                let asked = route.action.rewrite.as_ref();
                let rewrite = RequestRewrite {
                    host: new_host(service, asked.and_then(|rewrite| rewrite.hostname)),
                    ..RequestRewrite::default()
                };
                let matcher = matching::gateway_grpc(&route.matcher);
                (matcher, route.matcher.hostname.as_ref(), rewrite)
            };
        matcher.headers.extend(hostname.and_then(host));
        rewrite.set_headers.push((SERVICE_HEADER.to_owned(), mark));
        Some(Route {
            origin: Some(key.to_string().into()),
            name: key.name.to_string(),
            matcher,
            targets: vec![Target {
                cluster: back.clone(),
                weight: 1,
            }],
            timeout: UNLIMITED,
            retry: None,
            rewrite,
        })
    }

    /// Adds the routes of a service to `service_routes` once, for requests with the service's value of
    /// [`SERVICE_HEADER`]; returns that value.
    fn service_routes(
        &mut self,
        route: &ResourceKey,
        target: &GatewayRouteTarget,
        policy: Option<&ClientPolicy>,
        service_routes: &mut Vec<Route>,
    ) -> Option<String> {
        let name = target.virtual_service.virtual_service_name.as_str();
        let service = self.service(route, name);
        let port = match target.port {
            Some(port) => port,
            None => *service.ports.keys().next()?,
        };
        let Some(mut handler) = service.ports.get(&port).cloned() else {
            let message = format!("virtual service {name} is not provided on port {port}");
            self.warn(route, message);
            return None;
        };
        if self.is_refused_by_policy(route, name, port, policy) {
            handler = handler.without_targets();
        }
        let Handler::Http(hosts) = handler else {
            let message = format!(
                "virtual service {name} speaks TCP on port {port}: a gateway cannot choose by requests there"
            );
            self.warn(route, message);
            return None;
        };
        let mark = format!("{}:{port}", name.to_ascii_lowercase());
        let is_marked = HeaderMatch {
            name: SERVICE_HEADER.to_owned(),
            value: ValueMatch::Exact(mark.clone()),
            invert: false,
        };
        if !service_routes
            .iter()
            .any(|route| route.matcher.headers.contains(&is_marked))
        {
            for (host, route) in hosts
                .iter()
                .flat_map(|host| host.routes.iter().map(move |route| (host, route)))
            {
                let mut route = route.clone();
                route.origin = route.origin.or_else(|| host.origin.clone());
                route.matcher.headers.push(is_marked.clone());
                route.rewrite.remove_headers.push(SERVICE_HEADER.to_owned());
                service_routes.push(route);
            }
        }
        Some(mark)
    }
}

/// The sort key of a route by its host: exact hosts first, then suffixes, then routes for all hosts.
fn host_rank(spec: &GatewayRouteSpec) -> u8 {
    let http = spec.http_route.as_ref().or(spec.http2_route.as_ref());
    let hostname = match (http, &spec.grpc_route) {
        (Some(route), _) => route.matcher.hostname.as_ref(),
        (None, Some(route)) => route.matcher.hostname.as_ref(),
        (None, None) => None,
    };
    match hostname {
        Some(hostname) if hostname.exact.is_some() => 0,
        Some(_) => 1,
        None => 2,
    }
}

/// The condition on the `:authority` header: the host in any case, with or without a port.
fn host(hostname: &HostnameMatch) -> Option<HeaderMatch> {
    let pattern = match (&hostname.exact, &hostname.suffix) {
        (Some(exact), _) => regex::escape(exact),
        (None, Some(suffix)) => format!(".*{}", regex::escape(suffix)),
        (None, None) => return None,
    };
    Some(HeaderMatch {
        name: ":authority".to_owned(),
        value: ValueMatch::Regex(format!("(?i){pattern}(:[0-9]+)?")),
        invert: false,
    })
}

fn new_host(service: &str, rewrite: Option<HostnameRewrite>) -> Option<String> {
    let is_kept =
        rewrite.is_some_and(|rewrite| rewrite.default_target_hostname == Some(Switch::Disabled));
    (!is_kept).then(|| service.to_owned())
}

/// The rewrite of the path. By default a matched prefix becomes `/`, and a path that is matched otherwise stays.
fn path_rewrite(
    matcher: &HttpGatewayRouteMatch,
    rewrite: Option<&HttpGatewayRouteRewrite>,
) -> Option<PathRewrite> {
    let whole = rewrite
        .and_then(|rewrite| rewrite.path.as_ref())
        .and_then(|path| path.exact.as_ref());
    if let Some(whole) = whole {
        return Some(PathRewrite::Full(whole.clone()));
    }
    let from = matcher.prefix.as_ref()?;
    let prefix = rewrite.and_then(|rewrite| rewrite.prefix.as_ref());
    let to = match prefix.and_then(|prefix| prefix.value.as_ref()) {
        Some(value) => value.as_str(),
        None if prefix.is_some_and(|p| p.default_prefix == Some(Switch::Disabled)) => return None,
        None => "/",
    };
    (from != to).then(|| PathRewrite::Prefix {
        from: from.clone(),
        to: to.to_owned(),
    })
}

#[cfg(test)]
mod tests;
