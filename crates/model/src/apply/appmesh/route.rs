//! The rules of routes.

use super::{ports, references::require};
use crate::{
    Rejection, ScopeView,
    appmesh::{
        Kind, ResourceKey,
        spec::{RouteSpec, route::WeightedTarget},
    },
};

/// What always holds: targets exist, and a port is named where there are several.
pub(super) fn check(
    scope: &ScopeView,
    key: &ResourceKey,
    spec: &RouteSpec,
) -> Result<(), Rejection> {
    let Some((member, action)) = spec.action() else {
        return Ok(());
    };
    if spec.match_port().is_none() && router_ports(scope, key).len() > 1 {
        let field = format!("spec.{member}.match.port");
        return Err(Rejection::invalid(field, ports::ROUTE));
    }
    for (i, target) in action.weighted_targets.iter().enumerate() {
        let at = format!("spec.{member}.action.weightedTargets[{i}]");
        require(scope, &node(key, target), &format!("{at}.virtualNode"))?;
        let ports = node_ports(scope, key, target);
        if target.port.is_none() && ports.len() > 1 {
            return Err(Rejection::invalid(
                format!("{at}.port"),
                format!(
                    "must be given because virtual node {} has several listeners: {ports:?}",
                    target.virtual_node
                ),
            ));
        }
    }
    Ok(())
}

/// What holds when a route is written: the ports that it names are there. They may go afterwards, see [`ports`].
pub(super) fn check_named_ports(
    scope: &ScopeView,
    key: &ResourceKey,
    spec: &RouteSpec,
) -> Result<(), Rejection> {
    let Some((member, action)) = spec.action() else {
        return Ok(());
    };
    let is_missing = |port, ports: &[u16]| !ports.is_empty() && !ports.contains(&port);
    let ports = router_ports(scope, key);
    if let Some(port) = spec.match_port().filter(|port| is_missing(*port, &ports)) {
        return Err(Rejection::invalid(
            format!("spec.{member}.match.port"),
            format!("{port} is not a port of the virtual router, which has {ports:?}"),
        ));
    }
    for (i, target) in action.weighted_targets.iter().enumerate() {
        let ports = node_ports(scope, key, target);
        if let Some(port) = target.port.filter(|port| is_missing(*port, &ports)) {
            return Err(Rejection::invalid(
                format!("spec.{member}.action.weightedTargets[{i}].port"),
                format!(
                    "{port} is not a port of virtual node {}, which has {ports:?}",
                    target.virtual_node
                ),
            ));
        }
    }
    Ok(())
}

fn router_ports(scope: &ScopeView, key: &ResourceKey) -> Vec<u16> {
    let router = ResourceKey::new(key.mesh.clone(), Kind::VirtualRouter, key.parent.clone());
    let router = scope.resource(&router);
    router.map_or_else(Vec::new, |router| ports::of(&router.spec))
}

fn node_ports(scope: &ScopeView, key: &ResourceKey, target: &WeightedTarget) -> Vec<u16> {
    let node = scope.resource(&node(key, target));
    node.map_or_else(Vec::new, |node| ports::of(&node.spec))
}

fn node(key: &ResourceKey, target: &WeightedTarget) -> ResourceKey {
    let name = target.virtual_node.as_str();
    ResourceKey::new(key.mesh.clone(), Kind::VirtualNode, name)
}
