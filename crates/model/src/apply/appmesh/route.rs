//! The rules of routes.

use super::references::require;
use crate::{
    Rejection, ScopeView,
    appmesh::{Kind, ResourceKey, Spec, spec::RouteSpec},
};

pub(super) fn check(
    scope: &ScopeView,
    key: &ResourceKey,
    spec: &RouteSpec,
) -> Result<(), Rejection> {
    let router = ResourceKey::new(key.mesh.clone(), Kind::VirtualRouter, key.parent.clone());
    if let Some(Spec::VirtualRouter(router)) = scope.resource(&router).map(|r| &r.spec) {
        let ports: Vec<u16> = router.listeners().map(|mapping| mapping.port).collect();
        match spec.match_port() {
            None if ports.len() > 1 => {
                return Err(Rejection::invalid(
                    "spec.match.port",
                    "Route must define a port match criteria if the Virtual Router has multiple \
                     listeners",
                ));
            }
            Some(port) if !ports.is_empty() && !ports.contains(&port) => {
                return Err(Rejection::invalid(
                    "spec.match.port",
                    format!("{port} is not a port of the virtual router, which has {ports:?}"),
                ));
            }
            _ => {}
        }
    }
    let Some((member, action)) = spec.action() else {
        return Ok(());
    };
    for (i, target) in action.weighted_targets.iter().enumerate() {
        let field = format!("spec.{member}.action.weightedTargets[{i}].virtualNode");
        let node = ResourceKey::new(
            key.mesh.clone(),
            Kind::VirtualNode,
            target.virtual_node.as_str(),
        );
        require(scope, &node, &field)?;
        let Some(Spec::VirtualNode(node)) = scope.resource(&node).map(|r| &r.spec) else {
            continue;
        };
        let field = format!("spec.{member}.action.weightedTargets[{i}].port");
        let ports: Vec<u16> = node
            .listeners()
            .iter()
            .map(|l| l.port_mapping.port)
            .collect();
        match target.port {
            None if ports.len() > 1 => {
                return Err(Rejection::invalid(
                    field,
                    format!(
                        "must be given because virtual node {} has several listeners: {ports:?}",
                        target.virtual_node
                    ),
                ));
            }
            Some(port) if !ports.is_empty() && !ports.contains(&port) => {
                return Err(Rejection::invalid(
                    field,
                    format!(
                        "{port} is not a port of virtual node {}",
                        target.virtual_node
                    ),
                ));
            }
            _ => {}
        }
    }
    Ok(())
}
