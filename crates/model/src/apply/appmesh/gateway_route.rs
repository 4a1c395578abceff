//! The rules of gateway routes.

use super::references::require;
use crate::{
    Rejection, ScopeView,
    appmesh::{
        Kind, ResourceKey, Spec,
        spec::{GatewayRouteSpec, virtual_service::Provider},
    },
};

pub(super) fn check(
    scope: &ScopeView,
    key: &ResourceKey,
    spec: &GatewayRouteSpec,
) -> Result<(), Rejection> {
    let gateway = ResourceKey::new(key.mesh.clone(), Kind::VirtualGateway, key.parent.clone());
    if let Some(Spec::VirtualGateway(gateway)) = scope.resource(&gateway).map(|r| &r.spec)
        && gateway.listeners.len() > 1
        && spec.match_port().is_none()
    {
        return Err(Rejection::invalid(
            "spec.match.port",
            "Gateway route must define a match port if the parent Virtual Gateway has multiple \
             listeners",
        ));
    }
    let Some(target) = spec.target() else {
        return Ok(());
    };
    let service = ResourceKey::new(
        key.mesh.clone(),
        Kind::VirtualService,
        target.virtual_service.virtual_service_name.as_str(),
    );
    require(
        scope,
        &service,
        "spec.action.target.virtualService.virtualServiceName",
    )?;
    let Some(Spec::VirtualService(service)) = scope.resource(&service).map(|r| &r.spec) else {
        return Ok(());
    };
    let (ports, provider) = match &service.provider {
        Some(Provider::VirtualNode { virtual_node_name }) => (
            ports(scope, key, Kind::VirtualNode, virtual_node_name),
            virtual_node_name,
        ),
        Some(Provider::VirtualRouter {
            virtual_router_name,
        }) => (
            ports(scope, key, Kind::VirtualRouter, virtual_router_name),
            virtual_router_name,
        ),
        None => return Ok(()),
    };
    if target.port.is_some() || ports.len() < 2 {
        return Ok(());
    }
    Err(Rejection::invalid(
        "spec.action.target.port",
        format!("must be given because the provider {provider} has several listeners: {ports:?}"),
    ))
}

/// The ports of a provider in the mesh of a key.
fn ports(scope: &ScopeView, key: &ResourceKey, kind: Kind, name: &str) -> Vec<u16> {
    let provider = ResourceKey::new(key.mesh.clone(), kind, name);
    match scope.resource(&provider).map(|r| &r.spec) {
        Some(Spec::VirtualNode(spec)) => {
            let listeners = spec.listeners().iter();
            listeners.map(|l| l.port_mapping.port).collect()
        }
        Some(Spec::VirtualRouter(spec)) => spec.listeners().map(|m| m.port).collect(),
        _ => Vec::new(),
    }
}
