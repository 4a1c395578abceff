//! Admission, as in the App Mesh webhooks: defaults names, decides membership, rejects invalid objects.
//!
//! Membership is decided once, when an object is created, and written into it as `meshRef` (and `virtualGatewayRef`).
//! From then on it cannot change (`facts/controller.md` §2).

mod immutable;
mod membership;
mod rules;
mod warnings;

#[cfg(test)]
mod tests;

pub use warnings::warnings;

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

/// Admits a new object: the object with its `awsName` and its membership, or every violation. It is
/// [`default`] and [`validate`] in one, for clusters without an API server between them.
///
/// `objects` is the cluster without the object.
///
/// # Errors
/// Bounds of the schema, rules between fields, a membership that was written by hand, or one that cannot be decided
/// because nothing, or more than one thing, selects the object.
pub fn create(
    resource: Resource,
    objects: &ClusterObjects,
    family: IpFamily,
) -> Result<Resource, Violations> {
    let mut violations = violations(&resource);
    let (resource, more) = defaulted(resource, objects, family);
    violations.extend(more);
    admitted(resource, violations)
}

/// The first half of the admission of a new object: its `awsName` and its membership. The API server checks the result
/// against the schema before it asks for the second.
///
/// # Errors
/// A membership that was written by hand, or one that cannot be decided because nothing, or more than one thing,
/// selects the object.
pub fn default(
    resource: Resource,
    objects: &ClusterObjects,
    family: IpFamily,
) -> Result<Resource, Violations> {
    let (resource, violations) = defaulted(resource, objects, family);
    admitted(resource, violations)
}

/// The second half: the violations of a new object by itself.
///
/// # Errors
/// Bounds of the schema and rules between fields.
pub fn validate(resource: &Resource) -> Result<(), Violations> {
    judged(violations(resource))
}

/// Admits a change of `old` into `new`: [`default_update`] and [`validate_update`] in one.
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

/// The first half of the admission of a change. An object that was created while nobody admitted becomes a member now,
/// if its membership can be decided.
pub fn default_update(
    old: &Resource,
    mut new: Resource,
    objects: &ClusterObjects,
    family: IpFamily,
) -> Resource {
    immutable::carry_over(old, &mut new);
    force_ip_family(&mut new, family);
    default_aws_name(&mut new);
    if new.metadata().deletion_timestamp.is_none()
        && new.mesh_ref().is_none()
        && let Ok(member) = default(new.clone(), objects, family)
    {
        return member;
    }
    new
}

/// The second half. What is being deleted may change as it likes, since finalizers are removed by a change; and an object
/// whose spec stays as it is was judged when it got it.
///
/// # Errors
/// Bounds of the schema, rules between fields, or a change of something that cannot change. A membership that the old
/// object lacks may be given: to a mesh (and a gateway) that is there.
pub fn validate_update(
    old: &Resource,
    new: &Resource,
    objects: &ClusterObjects,
) -> Result<(), Violations> {
    if new.metadata().deletion_timestamp.is_some() || old.has_same_spec(new) {
        return Ok(());
    }
    let mut violations = violations(new);
    violations.extend(immutable::check_given(old, new, objects));
    judged(violations)
}

fn defaulted(
    mut resource: Resource,
    objects: &ClusterObjects,
    family: IpFamily,
) -> (Resource, Vec<Violation>) {
    let mut violations = membership::written_by_hand(&resource);
    default_aws_name(&mut resource);
    force_ip_family(&mut resource, family);
    if let Err(violation) = membership::decide(&mut resource, objects) {
        violations.push(violation);
    }
    (resource, violations)
}

fn judged(violations: Vec<Violation>) -> Result<(), Violations> {
    if violations.is_empty() {
        Ok(())
    } else {
        Err(Violations(violations))
    }
}

/// The violations of an object by itself.
fn violations(resource: &Resource) -> Vec<Violation> {
    let mut violations = resource.check();
    violations.extend(rules::check(resource));
    violations
}

fn admitted(resource: Resource, violations: Vec<Violation>) -> Result<Resource, Violations> {
    judged(violations).map(|()| resource)
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
