//! The rules of references between resources, which also prevent deletion (facts/appmesh-api.md §4).

use super::ports;
use crate::{
    Reason, Rejection, ScopeView, Violation,
    appmesh::{Kind, ResourceKey, Spec, spec::virtual_service::Provider},
};

/// Checks the references of a spec that is created or updated.
pub(super) fn check_written(
    scope: &ScopeView,
    key: &ResourceKey,
    spec: &Spec,
) -> Result<(), Rejection> {
    check(scope, key, spec)?;
    ports::check_named(scope, key, spec)
}

/// Checks the invariants of every stored spec: references exist, and ports are named if required.
pub(super) fn check(scope: &ScopeView, key: &ResourceKey, spec: &Spec) -> Result<(), Rejection> {
    for (index, (kind, name)) in references(spec).enumerate() {
        let target = ResourceKey::new(key.mesh.clone(), kind, name);
        if scope.resource(&target).is_none() {
            let field = field(spec, index);
            let missing = format!("{kind} with name {name} is missing");
            return Err(Rejection {
                reason: Reason::NotFound,
                message: format!("{missing} (named in {field})"),
                violations: vec![Violation::new(field, missing)],
            });
        }
    }
    ports::check(scope, key, spec)
}

/// The kind and name of each resource that must exist for a spec. The backends of nodes need not exist.
fn references(spec: &Spec) -> impl Iterator<Item = (Kind, &str)> {
    let (targets, single) = match spec {
        Spec::Route(spec) => (Some(spec.weighted_targets()), None),
        Spec::GatewayRoute(spec) => {
            let name = |(_, service)| (Kind::VirtualService, service);
            (None, spec.target_service().map(name))
        }
        Spec::VirtualService(spec) => (None, spec.provider.as_ref().map(Provider::target)),
        _ => (None, None),
    };
    let targets = targets.into_iter().flatten();
    let targets = targets.map(|target| (Kind::VirtualNode, target.virtual_node.as_str()));
    targets.chain(single)
}

/// The path of one of the [`references`].
fn field(spec: &Spec, index: usize) -> String {
    match spec {
        Spec::Route(spec) => {
            let member = spec.action().map_or("", |(member, _)| member);
            format!("spec.{member}.action.weightedTargets[{index}].virtualNode")
        }
        Spec::GatewayRoute(spec) => {
            let member = spec.target_service().map_or("", |(member, _)| member);
            format!("spec.{member}.action.target.virtualService.virtualServiceName")
        }
        Spec::VirtualService(spec) => provider_field(spec.provider.as_ref()),
        _ => String::new(),
    }
}

/// The path of the name of a provider.
pub(super) fn provider_field(provider: Option<&Provider>) -> String {
    let member = provider.map_or("", crate::appmesh::spec::Union::member);
    format!("spec.provider.{member}.{member}Name")
}

/// Checks that a resource can be deleted: it contains no other resource, and none refers to it.
pub(super) fn check_unused(scope: &ScopeView, key: &ResourceKey) -> Result<(), Rejection> {
    let (mesh, name) = (&*key.mesh, &*key.name);
    let child = |kind| scope.members(mesh, kind, Some(name)).next();
    let inside = match key.kind {
        Kind::Mesh => scope.mesh_members(mesh).next().map(|member| {
            let member = &member.key;
            format!(
                "it still has resources, among them {} {}",
                member.kind, member.name
            )
        }),
        Kind::VirtualRouter => {
            child(Kind::Route).map(|route| format!("it still has route {}", route.key.name))
        }
        Kind::VirtualGateway => child(Kind::GatewayRoute)
            .map(|route| format!("it still has gateway route {}", route.key.name)),
        _ => None,
    };
    let referrers = [Kind::Route, Kind::VirtualService, Kind::GatewayRoute].into_iter();
    let mut referrers = referrers.flat_map(|kind| scope.members(mesh, kind, None));
    let referrer = || {
        let found = referrers.find(|referrer| {
            references(&referrer.spec).any(|reference| reference == (key.kind, name))
        })?;
        let ResourceKey { parent, name, .. } = &found.key;
        Some(match found.key.kind {
            Kind::Route => format!("it is a target of route {name} of virtual router {parent}"),
            Kind::VirtualService => format!("it is a VirtualService provider: {name}"),
            _ => format!("it is being referenced in the following: GATEWAY_ROUTE: [{name}]"),
        })
    };
    match inside.or_else(referrer) {
        Some(why) => Err(Rejection::new(
            Reason::InUse,
            format!(
                "{} with name {name} cannot be deleted because {why}",
                key.kind
            ),
        )),
        None => Ok(()),
    }
}
