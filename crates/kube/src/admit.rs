//! Admission, as in the App Mesh webhooks: defaults names, decides membership, rejects invalid objects.
//!
//! Membership is decided once, when an object is created, and written into it as `meshRef` (and `virtualGatewayRef`).
//! From then on it cannot change (`facts/controller.md` §2).

mod immutable;
mod membership;
mod rules;

#[cfg(test)]
mod tests;

use tombolo_model::appmesh::spec::mesh::{IpPreference, MeshServiceDiscovery};

use crate::cluster::ClusterObjects;
use crate::crd::{Kind, Resource};
use crate::{Violation, Violations};

/// The address family of a cluster's pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IpFamily {
    /// Pods have IPv4 addresses.
    #[default]
    V4,
    /// Pods have IPv6 addresses.
    V6,
}

/// Admits a new object: the object with its `awsName` and its membership, or every violation.
///
/// `objects` is the cluster without the object.
///
/// # Errors
/// Bounds of the schema, rules between fields, a membership that was written by hand, or one that cannot be decided
/// because nothing, or more than one thing, selects the object.
pub fn create(
    mut resource: Resource,
    objects: &ClusterObjects,
    family: IpFamily,
) -> Result<Resource, Violations> {
    let mut violations = violations(&resource);
    violations.extend(membership::written_by_hand(&resource));
    default_aws_name(&mut resource);
    force_ip_family(&mut resource, family);
    if let Err(violation) = membership::decide(&mut resource, objects) {
        violations.push(violation);
    }
    admitted(resource, violations)
}

/// Admits a change of `old` into `new`.
///
/// Fields that admission wrote into the old object and that the new one lacks are carried over, as by the client's
/// merge; that makes applying the same manifest again a change of nothing.
///
/// # Errors
/// Bounds of the schema, rules between fields, or a change of an immutable field.
pub fn update(old: &Resource, mut new: Resource, family: IpFamily) -> Result<Resource, Violations> {
    immutable::carry_over(old, &mut new);
    force_ip_family(&mut new, family);
    let mut violations = violations(&new);
    violations.extend(immutable::check(old, &new));
    admitted(new, violations)
}

/// The violations of an object by itself.
fn violations(resource: &Resource) -> Vec<Violation> {
    let mut violations = resource.check();
    violations.extend(rules::check(resource));
    violations
}

fn admitted(resource: Resource, violations: Vec<Violation>) -> Result<Resource, Violations> {
    if violations.is_empty() {
        Ok(resource)
    } else {
        Err(Violations(violations))
    }
}

/// The default name of an object in the mesh API; `None` for a backend group.
pub fn default_name(kind: Kind, namespace: &str, name: &str) -> Option<String> {
    match kind {
        Kind::Mesh => Some(name.to_owned()),
        Kind::VirtualService => Some(format!("{name}.{namespace}")),
        Kind::VirtualNode | Kind::VirtualRouter | Kind::VirtualGateway | Kind::GatewayRoute => {
            Some(format!("{name}_{namespace}"))
        }
        Kind::BackendGroup => None,
    }
}

fn default_aws_name(resource: &mut Resource) {
    if resource.aws_name().is_some_and(|name| !name.is_empty()) {
        return;
    }
    let name = default_name(resource.kind(), resource.namespace(), resource.name());
    if let Some(slot) = resource.aws_name_mut() {
        *slot = name;
    }
}

/// Overwrites the user's value, as the original controller does and its tests assert.
fn force_ip_family(resource: &mut Resource, family: IpFamily) {
    let Resource::Mesh(mesh) = resource else {
        return;
    };
    let discovery = &mut mesh.spec.mesh_service_discovery;
    let forced = match family {
        IpFamily::V6 => IpPreference::IPv6_ONLY,
        IpFamily::V4 if discovery.is_some() => IpPreference::IPv4_ONLY,
        IpFamily::V4 => return,
    };
    *discovery = Some(MeshServiceDiscovery {
        ip_preference: Some(forced),
    });
}
