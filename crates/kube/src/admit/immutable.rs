//! Fields that cannot change once an object is admitted.

use crate::Violation;
use crate::cluster::ClusterObjects;
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

/// As [`check`], but an object without a membership or a name may be given them.
pub(super) fn check_given(
    old: &Resource,
    new: &Resource,
    objects: &ClusterObjects,
) -> Vec<Violation> {
    let mut member = old.clone();
    carry_over(new, &mut member);
    let mut violations = check(&member, new);
    let is_mesh = |name: &str, uid: &str| {
        let mesh = objects.mesh(name);
        mesh.is_some_and(|mesh| mesh.metadata.uid.as_deref() == Some(uid))
    };
    if old.mesh_ref().is_none()
        && let Some(given) = new.mesh_ref()
        && !is_mesh(&given.name, &given.uid)
    {
        let message = format!("there is no mesh {} of this uid", given.name);
        violations.push(Violation::new("spec.meshRef", message));
    }
    violations
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
