//! Fields that cannot change once an object is admitted.

use crate::Violation;
use crate::crd::Resource;

const RECREATE: &str = "cannot change; delete the object and create it anew";

/// Copies fields that admission wrote into the old object and that the new one lacks.
pub(super) fn carry_over(old: &Resource, new: &mut Resource) {
    if new.kind() != old.kind() {
        return;
    }
    if let Some(slot) = new.aws_name_mut()
        && slot.as_deref().unwrap_or_default().is_empty()
    {
        *slot = old.aws_name().map(str::to_owned);
    }
    if let Some(slot @ None) = new.mesh_ref_mut() {
        *slot = old.mesh_ref().cloned();
    }
    if let (Resource::GatewayRoute(old), Resource::GatewayRoute(new)) = (old, new)
        && new.spec.virtual_gateway_ref.is_none()
    {
        new.spec
            .virtual_gateway_ref
            .clone_from(&old.spec.virtual_gateway_ref);
    }
}

pub(super) fn check(old: &Resource, new: &Resource) -> Vec<Violation> {
    let mut violations = Vec::new();
    if old.kind() != new.kind() {
        violations.push(Violation::new(
            "kind",
            format!("{} cannot become {}", old.kind(), new.kind()),
        ));
        return violations;
    }
    if old.aws_name() != new.aws_name() {
        violations.push(Violation::new("spec.awsName", RECREATE));
    }
    if old.mesh_ref() != new.mesh_ref() {
        violations.push(Violation::new("spec.meshRef", RECREATE));
    }
    match (old, new) {
        (Resource::GatewayRoute(old), Resource::GatewayRoute(new))
            if old.spec.virtual_gateway_ref != new.spec.virtual_gateway_ref =>
        {
            violations.push(Violation::new("spec.virtualGatewayRef", RECREATE));
        }
        (Resource::VirtualNode(old), Resource::VirtualNode(new))
            if old.spec.cloud_map().is_some() && old.spec.cloud_map() != new.spec.cloud_map() =>
        {
            violations.push(Violation::new(
                "spec.serviceDiscovery.awsCloudMap",
                RECREATE,
            ));
        }
        _ => {}
    }
    violations
}
