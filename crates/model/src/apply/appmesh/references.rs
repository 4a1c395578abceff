//! What may refer to what, and what is kept from deletion by a reference (facts/appmesh-api.md §4).

use super::{gateway_route, ports, route};
use crate::{
    Reason, Rejection, ScopeView,
    appmesh::{
        Kind, ResourceKey, Spec,
        spec::{VirtualServiceSpec, virtual_service::Provider},
    },
};

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
            match provided_service(
                scope,
                mesh,
                |provider| matches!(provider, Provider::VirtualNode { virtual_node_name } if virtual_node_name == name),
            ) {
                Some(service) => in_use(format!("it is the provider of virtual service {service}")),
                None => Ok(()),
            }
        }
        Kind::VirtualRouter => {
            if let Some(route) = scope.members(mesh, Kind::Route, Some(name)).next() {
                return in_use(format!("it still has route {}", route.key.name));
            }
            match provided_service(
                scope,
                mesh,
                |provider| matches!(provider, Provider::VirtualRouter { virtual_router_name } if virtual_router_name == name),
            ) {
                Some(service) => in_use(format!("it is a VirtualService provider: {service}")),
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

/// The name of a virtual service whose provider is the one looked for.
fn provided_service(
    scope: &ScopeView,
    mesh: &str,
    is_wanted: impl Fn(&Provider) -> bool,
) -> Option<String> {
    scope
        .members(mesh, Kind::VirtualService, None)
        .find(|service| {
            let Spec::VirtualService(spec) = &service.spec else {
                return false;
            };
            spec.provider.as_ref().is_some_and(&is_wanted)
        })
        .map(|service| service.key.name.to_string())
}

fn check_provider(
    scope: &ScopeView,
    key: &ResourceKey,
    spec: &VirtualServiceSpec,
) -> Result<(), Rejection> {
    let Some(provider) = &spec.provider else {
        return Ok(());
    };
    let (kind, name, field) = match provider {
        Provider::VirtualNode { virtual_node_name } => (
            Kind::VirtualNode,
            virtual_node_name,
            "spec.provider.virtualNode.virtualNodeName",
        ),
        Provider::VirtualRouter {
            virtual_router_name,
        } => (
            Kind::VirtualRouter,
            virtual_router_name,
            "spec.provider.virtualRouter.virtualRouterName",
        ),
    };
    let target = ResourceKey::new(key.mesh.clone(), kind, name.as_str());
    require(scope, &target, field)?;
    ports::check_provider(scope, key, provider, field)
}

/// A resource that a field names must exist.
pub(super) fn require(scope: &ScopeView, key: &ResourceKey, field: &str) -> Result<(), Rejection> {
    if scope.resource(key).is_some() {
        return Ok(());
    }
    Err(Rejection {
        reason: Reason::NotFound,
        field: Some(field.to_owned()),
        message: format!(
            "{} with name {} is missing (named in {field})",
            key.kind, key.name
        ),
    })
}
