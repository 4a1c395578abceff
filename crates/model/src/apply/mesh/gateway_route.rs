//! The rules of gateway routes.

use super::references::require;
use crate::{
    Rejection, ScopeView,
    mesh::{Kind, ResourceKey, Spec, spec::GatewayRouteSpec},
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
    )
}
