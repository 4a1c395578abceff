//! What may refer to what, and what is kept from deletion by a reference (facts/appmesh-api.md §4).

use super::{gateway_route, ports, route};
use crate::{
    Reason, Rejection, ScopeView, Violation,
    appmesh::{
        Kind, Resource, ResourceKey, Spec,
        spec::{Union, VirtualServiceSpec, virtual_service::Provider},
    },
};
use std::sync::Arc;

/// Whether everything exists that a spec needs when it is written.
pub(super) fn check_written(
    scope: &ScopeView,
    key: &ResourceKey,
    spec: &Spec,
) -> Result<(), Rejection> {
    check(scope, key, spec)?;
    match spec {
        Spec::Route(spec) => route::check_named_ports(scope, key, spec),
        _ => Ok(()),
    }
}

/// What holds of every spec at any time. Backends of nodes may dangle.
pub(super) fn check(scope: &ScopeView, key: &ResourceKey, spec: &Spec) -> Result<(), Rejection> {
    match spec {
        Spec::Route(spec) => route::check(scope, key, spec),
        Spec::GatewayRoute(spec) => gateway_route::check(scope, key, spec),
        Spec::VirtualService(spec) => check_provider(scope, key, spec),
        Spec::VirtualNode(_) | Spec::VirtualRouter(_) | Spec::VirtualGateway(_) => {
            ports::check_listeners(scope, key, spec)
        }
        Spec::Mesh(_) => Ok(()),
    }
}

/// Whether a resource may go: nothing is inside it, nothing refers to it.
pub(super) fn check_unused(scope: &ScopeView, key: &ResourceKey) -> Result<(), Rejection> {
    let mesh = &*key.mesh;
    let name = &*key.name;
    let in_use = |why: String| {
        let what = format!(
            "{} with name {name} cannot be deleted because {why}",
            key.kind
        );
        Err(Rejection::new(Reason::InUse, what))
    };
    match key.kind {
        Kind::Mesh => match scope.mesh_members(mesh).next() {
            Some(member) => in_use(format!(
                "it still has resources, among them {} {}",
                member.key.kind, member.key.name
            )),
            None => Ok(()),
        },
        Kind::VirtualNode => {
            if let Some(route) = scope.members(mesh, Kind::Route, None).find(|route| {
                let Spec::Route(spec) = &route.spec else {
                    return false;
                };
                spec.action().is_some_and(|(_, action)| {
                    action
                        .weighted_targets
                        .iter()
                        .any(|target| target.virtual_node == name)
                })
            }) {
                let route = &route.key;
                return in_use(format!(
                    "it is a target of route {} of virtual router {}",
                    route.name, route.parent
                ));
            }
            match provided_services(scope, key).next() {
                Some(service) => in_use(format!(
                    "it is the provider of virtual service {}",
                    service.key.name
                )),
                None => Ok(()),
            }
        }
        Kind::VirtualRouter => {
            if let Some(route) = scope.members(mesh, Kind::Route, Some(name)).next() {
                return in_use(format!("it still has route {}", route.key.name));
            }
            match provided_services(scope, key).next() {
                Some(service) => {
                    let name = &service.key.name;
                    in_use(format!("it is a VirtualService provider: {name}"))
                }
                None => Ok(()),
            }
        }
        Kind::VirtualService => {
            let referrer = scope.members(mesh, Kind::GatewayRoute, None).find(|route| {
                let Spec::GatewayRoute(spec) = &route.spec else {
                    return false;
                };
                spec.target()
                    .is_some_and(|(_, target)| target.virtual_service.virtual_service_name == name)
            });
            match referrer {
                Some(route) => in_use(format!(
                    "it is being referenced in the following: GATEWAY_ROUTE: [{}]",
                    route.key.name
                )),
                None => Ok(()),
            }
        }
        Kind::VirtualGateway => match scope.members(mesh, Kind::GatewayRoute, Some(name)).next() {
            Some(route) => in_use(format!("it still has gateway route {}", route.key.name)),
            None => Ok(()),
        },
        Kind::Route | Kind::GatewayRoute => Ok(()),
    }
}

/// The virtual services that a node or a router provides.
pub(super) fn provided_services<'a>(
    scope: &'a ScopeView,
    provider: &'a ResourceKey,
) -> impl Iterator<Item = &'a Arc<Resource>> {
    let services = scope.members(&provider.mesh, Kind::VirtualService, None);
    services.filter(move |service| {
        let Spec::VirtualService(spec) = &service.spec else {
            return false;
        };
        let own = spec.provider.as_ref().map(Provider::target);
        own == Some((provider.kind, &*provider.name))
    })
}

fn check_provider(
    scope: &ScopeView,
    key: &ResourceKey,
    spec: &VirtualServiceSpec,
) -> Result<(), Rejection> {
    let Some(provider) = &spec.provider else {
        return Ok(());
    };
    let (kind, name) = provider.target();
    let member = provider.member();
    let field = format!("spec.provider.{member}.{member}Name");
    let target = ResourceKey::new(key.mesh.clone(), kind, name);
    require(scope, &target, &field)?;
    ports::check_provider(scope, key, &target, &field)
}

/// A resource that a field names must exist.
pub(super) fn require(scope: &ScopeView, key: &ResourceKey, field: &str) -> Result<(), Rejection> {
    if scope.resource(key).is_some() {
        return Ok(());
    }
    let missing = format!("{} with name {} is missing", key.kind, key.name);
    Err(Rejection {
        reason: Reason::NotFound,
        message: format!("{missing} (named in {field})"),
        violations: vec![Violation::new(field, missing)],
    })
}
