//! The rules of gateway routes.

use super::{ports, references::require};
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
    let Some((member, target)) = spec.target() else {
        return Ok(());
    };
    let gateway = ResourceKey::new(key.mesh.clone(), Kind::VirtualGateway, key.parent.clone());
    let gateway = scope.resource(&gateway);
    if gateway.is_some_and(|gateway| ports::of(&gateway.spec).len() > 1)
        && spec.match_port().is_none()
    {
        let field = format!("spec.{member}.match.port");
        return Err(Rejection::invalid(field, ports::GATEWAY_ROUTE));
    }
    let service = ResourceKey::new(
        key.mesh.clone(),
        Kind::VirtualService,
        target.virtual_service.virtual_service_name.as_str(),
    );
    let field = format!("spec.{member}.action.target.virtualService.virtualServiceName");
    require(scope, &service, &field)?;
    let Some(Spec::VirtualService(service)) = scope.resource(&service).map(|r| &r.spec) else {
        return Ok(());
    };
    let Some((kind, provider)) = service.provider.as_ref().map(Provider::target) else {
        return Ok(());
    };
    let key = ResourceKey::new(key.mesh.clone(), kind, provider);
    let ports = scope
        .resource(&key)
        .map(|provider| ports::of(&provider.spec));
    let ports = ports.unwrap_or_default();
    if target.port.is_some() || ports.len() < 2 {
        return Ok(());
    }
    Err(Rejection::invalid(
        format!("spec.{member}.action.target.port"),
        format!("must be given because the provider {provider} has several listeners: {ports:?}"),
    ))
}
