//! Ports that must be named because a router, node or gateway has several listeners: checked where the reference is
//! written and where a listener is added.
//!
//! A listener may be removed although a route names its port: AWS is not known to reject that (facts/appmesh-api.md §4),
//! and the controller updates the listeners of a router before its routes (facts/controller.md §3), so a rejection would
//! make renumbering impossible. The route matches nothing until it is updated, too.

use super::references::provider_field;
use crate::{
    Rejection, ScopeView,
    appmesh::{
        Kind, Resource, ResourceKey, Spec,
        spec::{GatewayRouteSpec, RouteSpec, VirtualServiceSpec, virtual_service::Provider},
    },
};
use std::sync::Arc;

const ROUTE: &str =
    "Route must define a port match criteria if the Virtual Router has multiple listeners";
const GATEWAY_ROUTE: &str =
    "Gateway route must define a match port if the parent Virtual Gateway has multiple listeners";

const LISTENERS: &str = "spec.listeners";

/// Checks that ports are named where there are several, by this spec and by those that refer to its resource.
pub(super) fn check(scope: &ScopeView, key: &ResourceKey, spec: &Spec) -> Result<(), Rejection> {
    match spec {
        Spec::Route(spec) => check_route(scope, key, spec),
        Spec::GatewayRoute(spec) => check_gateway_route(scope, key, spec),
        Spec::VirtualService(spec) => check_provider(scope, key, spec),
        spec if of(spec).len() > 1 => check_listeners(scope, key),
        _ => Ok(()),
    }
}

/// Checks that the ports that a new or updated route names exist. They may be removed afterwards.
pub(super) fn check_named(
    scope: &ScopeView,
    key: &ResourceKey,
    spec: &Spec,
) -> Result<(), Rejection> {
    let Spec::Route(spec) = spec else {
        return Ok(());
    };
    let Some((member, _)) = spec.action() else {
        return Ok(());
    };
    let is_missing = |port: &u16, ports: &[u16]| !ports.is_empty() && !ports.contains(port);
    let ports = parent_ports(scope, key);
    if let Some(port) = spec.match_port().filter(|port| is_missing(port, &ports)) {
        return Err(Rejection::invalid(
            format!("spec.{member}.match.port"),
            format!("{port} is not a port of the virtual router, which has {ports:?}"),
        ));
    }
    for (i, target) in spec.weighted_targets().iter().enumerate() {
        let node = &target.virtual_node;
        let ports = ports_of(scope, key, Kind::VirtualNode, node);
        if let Some(port) = target.port.filter(|port| is_missing(port, &ports)) {
            return Err(Rejection::invalid(
                format!("spec.{member}.action.weightedTargets[{i}].port"),
                format!("{port} is not a port of virtual node {node}, which has {ports:?}"),
            ));
        }
    }
    Ok(())
}

/// The ports of a node, a router or a gateway; none of other kinds.
fn of(spec: &Spec) -> Vec<u16> {
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

/// The ports of a resource in the mesh of `key`.
fn ports_of(scope: &ScopeView, key: &ResourceKey, kind: Kind, name: &str) -> Vec<u16> {
    let resource = scope.resource(&ResourceKey::new(key.mesh.clone(), kind, name));
    resource.map_or_else(Vec::new, |resource| of(&resource.spec))
}

/// The ports of the router of a route, or of the gateway of a gateway route.
fn parent_ports(scope: &ScopeView, key: &ResourceKey) -> Vec<u16> {
    let parent = key.parent_key().and_then(|parent| scope.resource(&parent));
    parent.map_or_else(Vec::new, |parent| of(&parent.spec))
}

fn check_route(scope: &ScopeView, key: &ResourceKey, spec: &RouteSpec) -> Result<(), Rejection> {
    let Some((member, _)) = spec.action() else {
        return Ok(());
    };
    if spec.match_port().is_none() && parent_ports(scope, key).len() > 1 {
        let field = format!("spec.{member}.match.port");
        return Err(Rejection::invalid(field, ROUTE));
    }
    for (i, target) in spec.weighted_targets().iter().enumerate() {
        let node = &target.virtual_node;
        let ports = ports_of(scope, key, Kind::VirtualNode, node);
        if target.port.is_none() && ports.len() > 1 {
            return Err(Rejection::invalid(
                format!("spec.{member}.action.weightedTargets[{i}].port"),
                format!(
                    "must be given because virtual node {node} has several listeners: {ports:?}"
                ),
            ));
        }
    }
    Ok(())
}

fn check_gateway_route(
    scope: &ScopeView,
    key: &ResourceKey,
    spec: &GatewayRouteSpec,
) -> Result<(), Rejection> {
    let Some((member, target)) = spec.target() else {
        return Ok(());
    };
    if spec.match_port().is_none() && parent_ports(scope, key).len() > 1 {
        let field = format!("spec.{member}.match.port");
        return Err(Rejection::invalid(field, GATEWAY_ROUTE));
    }
    let service = target.virtual_service.virtual_service_name.as_str();
    let service = ResourceKey::new(key.mesh.clone(), Kind::VirtualService, service);
    let Some(Spec::VirtualService(service)) = scope.resource(&service).map(|it| &it.spec) else {
        return Ok(());
    };
    let Some((kind, provider)) = service.provider.as_ref().map(Provider::target) else {
        return Ok(());
    };
    let ports = ports_of(scope, key, kind, provider);
    if target.port.is_some() || ports.len() < 2 {
        return Ok(());
    }
    Err(Rejection::invalid(
        format!("spec.{member}.action.target.port"),
        format!("must be given because the provider {provider} has several listeners: {ports:?}"),
    ))
}

/// Rejects a provider with several listeners while a gateway route leads to the virtual service without a port.
fn check_provider(
    scope: &ScopeView,
    service: &ResourceKey,
    spec: &VirtualServiceSpec,
) -> Result<(), Rejection> {
    let Some((kind, provider)) = spec.provider.as_ref().map(Provider::target) else {
        return Ok(());
    };
    if ports_of(scope, service, kind, provider).len() < 2 {
        return Ok(());
    }
    match gateway_route_without_port(scope, service) {
        Some(route) => Err(Rejection::invalid(
            provider_field(spec.provider.as_ref()),
            format!(
                "{provider} has several listeners, which is not possible while a gateway route leads to the virtual \
                 service without a port: gateway route {} of virtual gateway {}",
                route.key.name, route.key.parent
            ),
        )),
        None => Ok(()),
    }
}

/// Rejects several listeners: of a router or gateway while one of its routes names no port, of a node while a route
/// targets it without a port, and of a provider while a gateway route leads to its virtual service without a port.
fn check_listeners(scope: &ScopeView, key: &ResourceKey) -> Result<(), Rejection> {
    let (mesh, name) = (&*key.mesh, &*key.name);
    let portless = match key.kind {
        Kind::VirtualRouter => members(scope, mesh, Kind::Route, Some(name), as_route)
            .find(|(_, route)| route.match_port().is_none())
            .map(|(route, _)| format!("{ROUTE}: route {} names no port", route.key.name)),
        Kind::VirtualGateway => members(scope, mesh, Kind::GatewayRoute, Some(name), as_gateway_route)
            .find(|(_, route)| route.match_port().is_none())
            .map(|(route, _)| {
                format!("{GATEWAY_ROUTE}: gateway route {} names no port", route.key.name)
            }),
        Kind::VirtualNode => members(scope, mesh, Kind::Route, None, as_route)
            .find(|(_, route)| {
                let mut targets = route.weighted_targets().iter();
                targets.any(|target| target.virtual_node == name && target.port.is_none())
            })
            .map(|(route, _)| {
                format!(
                    "several listeners are not possible while a route targets the node without a port: \
                     route {} of virtual router {}",
                    route.key.name, route.key.parent
                )
            }),
        _ => None,
    };
    let provided = || {
        let services = members(scope, mesh, Kind::VirtualService, None, as_virtual_service);
        let mut provided = services.filter(|(_, service)| {
            service.provider.as_ref().map(Provider::target) == Some((key.kind, name))
        });
        provided.find_map(|(service, _)| {
            let route = gateway_route_without_port(scope, &service.key)?;
            Some(format!(
                "several listeners are not possible while a gateway route names no target port: gateway route {} \
                 of virtual gateway {}, which leads to virtual service {}",
                route.key.name, route.key.parent, service.key.name
            ))
        })
    };
    match portless.or_else(provided) {
        Some(message) => Err(Rejection::invalid(LISTENERS, message)),
        None => Ok(()),
    }
}

/// A gateway route that leads to a virtual service without naming a port of its provider.
fn gateway_route_without_port<'a>(
    scope: &'a ScopeView,
    service: &'a ResourceKey,
) -> Option<&'a Arc<Resource>> {
    let mut routes = members(
        scope,
        &service.mesh,
        Kind::GatewayRoute,
        None,
        as_gateway_route,
    );
    let portless = routes.find(|(_, route)| {
        route.target().is_some_and(|(_, target)| {
            *target.virtual_service.virtual_service_name == *service.name && target.port.is_none()
        })
    });
    portless.map(|(route, _)| route)
}

/// The resources of a kind in a mesh, of one parent if given, with their specs.
fn members<'a, T>(
    scope: &'a ScopeView,
    mesh: &'a str,
    kind: Kind,
    parent: Option<&'a str>,
    spec: impl Fn(&'a Spec) -> Option<&'a T> + 'a,
) -> impl Iterator<Item = (&'a Arc<Resource>, &'a T)>
where
    T: 'a,
{
    let members = scope.members(mesh, kind, parent);
    members.filter_map(move |resource| Some((resource, spec(&resource.spec)?)))
}

fn as_route(spec: &Spec) -> Option<&RouteSpec> {
    match spec {
        Spec::Route(spec) => Some(spec),
        _ => None,
    }
}

fn as_gateway_route(spec: &Spec) -> Option<&GatewayRouteSpec> {
    match spec {
        Spec::GatewayRoute(spec) => Some(spec),
        _ => None,
    }
}

fn as_virtual_service(spec: &Spec) -> Option<&VirtualServiceSpec> {
    match spec {
        Spec::VirtualService(spec) => Some(spec),
        _ => None,
    }
}
