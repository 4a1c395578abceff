//! Ports that must be named because what is referred to has several listeners: checked where the reference is
//! written (in [`super::route`] and [`super::gateway_route`]) and, here, where a listener is added.
//!
//! Removing a listener is allowed although a route names its port, because controllers that renumber a router and its
//! routes update the router first. The route matches nothing until it is updated, too.

use super::references::provided_services;
use crate::{
    Rejection, ScopeView,
    appmesh::{
        Kind, Resource, ResourceKey, Spec,
        spec::{GatewayRouteSpec, RouteSpec},
    },
};
use std::sync::Arc;

pub(super) const ROUTE: &str =
    "Route must define a port match criteria if the Virtual Router has multiple listeners";
pub(super) const GATEWAY_ROUTE: &str =
    "Gateway route must define a match port if the parent Virtual Gateway has multiple listeners";

const LISTENERS: &str = "spec.listeners";

/// The ports of a node, a router or a gateway; none of anything else.
pub(super) fn of(spec: &Spec) -> Vec<u16> {
    match spec {
        Spec::VirtualNode(spec) => {
            let listeners = spec.listeners().iter();
            listeners.map(|l| l.port_mapping.port).collect()
        }
        Spec::VirtualRouter(spec) => spec.listeners().map(|mapping| mapping.port).collect(),
        Spec::VirtualGateway(spec) => {
            let listeners = spec.listeners.iter();
            listeners.map(|l| l.port_mapping.port).collect()
        }
        _ => Vec::new(),
    }
}

/// Refuses several listeners of a router while one of its routes names no port, of a node while a route targets
/// it without a port, of a gateway likewise, and of what provides a virtual service while a gateway route leads
/// there without a port.
pub(super) fn check_listeners(
    scope: &ScopeView,
    key: &ResourceKey,
    spec: &Spec,
) -> Result<(), Rejection> {
    if of(spec).len() < 2 {
        return Ok(());
    }
    let mesh = &*key.mesh;
    match spec {
        Spec::VirtualRouter(_) => {
            let portless = routes(scope, mesh, Some(&*key.name))
                .find(|(_, route)| route.match_port().is_none());
            if let Some((route, _)) = portless {
                let message = format!("{ROUTE}: route {} names no port", route.key.name);
                return Err(Rejection::invalid(LISTENERS, message));
            }
            check_provided(scope, key)
        }
        Spec::VirtualNode(_) => {
            let portless = routes(scope, mesh, None).find(|(_, route)| {
                let targets = route.action().into_iter();
                let mut targets = targets.flat_map(|(_, action)| &action.weighted_targets);
                targets.any(|target| *target.virtual_node == *key.name && target.port.is_none())
            });
            if let Some((route, _)) = portless {
                let message = format!(
                    "several listeners are not possible while a route targets the node without a port: \
                     route {} of virtual router {}",
                    route.key.name, route.key.parent
                );
                return Err(Rejection::invalid(LISTENERS, message));
            }
            check_provided(scope, key)
        }
        Spec::VirtualGateway(_) => {
            let mut routes = gateway_routes(scope, mesh, Some(&*key.name));
            match routes.find(|(_, route)| route.match_port().is_none()) {
                Some((route, _)) => {
                    let name = &route.key.name;
                    let message = format!("{GATEWAY_ROUTE}: gateway route {name} names no port");
                    Err(Rejection::invalid(LISTENERS, message))
                }
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// Refuses a provider with several listeners for a virtual service to which a gateway route leads without a port.
pub(super) fn check_provider(
    scope: &ScopeView,
    service: &ResourceKey,
    provider: &ResourceKey,
    field: &str,
) -> Result<(), Rejection> {
    let resource = scope.resource(provider);
    if resource.is_none_or(|provider| of(&provider.spec).len() < 2) {
        return Ok(());
    }
    match gateway_route_without_port(scope, service) {
        Some(route) => Err(Rejection::invalid(
            field,
            format!(
                "{} has several listeners, which is not possible while a gateway route leads to the virtual \
                 service without a port: gateway route {} of virtual gateway {}",
                provider.name, route.key.name, route.key.parent
            ),
        )),
        None => Ok(()),
    }
}

fn check_provided(scope: &ScopeView, provider: &ResourceKey) -> Result<(), Rejection> {
    for service in provided_services(scope, provider) {
        if let Some(route) = gateway_route_without_port(scope, &service.key) {
            let message = format!(
                "several listeners are not possible while a gateway route names no target port: gateway route {} \
                 of virtual gateway {}, which leads to virtual service {}",
                route.key.name, route.key.parent, service.key.name
            );
            return Err(Rejection::invalid(LISTENERS, message));
        }
    }
    Ok(())
}

/// A gateway route that leads to a virtual service and does not say to which of its provider's ports.
fn gateway_route_without_port<'a>(
    scope: &'a ScopeView,
    service: &'a ResourceKey,
) -> Option<&'a Arc<Resource>> {
    let mut routes = gateway_routes(scope, &service.mesh, None);
    let portless = routes.find(|(_, route)| {
        route.target().is_some_and(|(_, target)| {
            *target.virtual_service.virtual_service_name == *service.name && target.port.is_none()
        })
    });
    portless.map(|(route, _)| route)
}

fn routes<'a>(
    scope: &'a ScopeView,
    mesh: &'a str,
    router: Option<&'a str>,
) -> impl Iterator<Item = (&'a Arc<Resource>, &'a RouteSpec)> {
    let routes = scope.members(mesh, Kind::Route, router);
    routes.filter_map(|route| match &route.spec {
        Spec::Route(spec) => Some((route, &**spec)),
        _ => None,
    })
}

fn gateway_routes<'a>(
    scope: &'a ScopeView,
    mesh: &'a str,
    gateway: Option<&'a str>,
) -> impl Iterator<Item = (&'a Arc<Resource>, &'a GatewayRouteSpec)> {
    let routes = scope.members(mesh, Kind::GatewayRoute, gateway);
    routes.filter_map(|route| match &route.spec {
        Spec::GatewayRoute(spec) => Some((route, &**spec)),
        _ => None,
    })
}
