//! What holds a mesh or a virtual gateway that is being deleted: the objects that are in it.

use std::collections::BTreeMap;
use std::fmt;

use crate::ClusterObjects;
use crate::crd::{Kind, Mesh, Resource, VirtualGateway};

/// How many objects of each kind are members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members(BTreeMap<Kind, usize>);

impl Members {
    /// The members of a mesh or of a virtual gateway; every other kind has none. A backend group is no member: nothing
    /// of it is in the mesh API.
    pub fn of(resource: &Resource, objects: &ClusterObjects) -> Self {
        let mut members = Self::default();
        let kinds = Kind::ALL
            .into_iter()
            .filter(|kind| *kind != Kind::BackendGroup);
        for member in kinds.flat_map(|kind| objects.all(kind)) {
            let is_member = match resource {
                Resource::Mesh(mesh) => is_in_mesh(member, mesh),
                Resource::VirtualGateway(gateway) => is_in_gateway(member, gateway),
                _ => false,
            };
            if is_member {
                *members.0.entry(member.kind()).or_default() += 1;
            }
        }
        members
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn is_in_mesh(member: &Resource, mesh: &Mesh) -> bool {
    member.mesh_ref().is_some_and(|mesh_ref| {
        Some(&mesh_ref.name) == mesh.metadata.name.as_ref()
            && is_same_uid(&mesh_ref.uid, mesh.metadata.uid.as_deref())
    })
}

fn is_in_gateway(member: &Resource, gateway: &VirtualGateway) -> bool {
    let Resource::GatewayRoute(route) = member else {
        return false;
    };
    route
        .spec
        .virtual_gateway_ref
        .as_ref()
        .is_some_and(|gateway_ref| {
            let namespace = gateway_ref.namespace.as_deref();
            Some(&gateway_ref.name) == gateway.metadata.name.as_ref()
                && Some(namespace.unwrap_or(member.namespace()))
                    == gateway.metadata.namespace.as_deref()
                && is_same_uid(&gateway_ref.uid, gateway.metadata.uid.as_deref())
        })
}

/// A uid that was not recorded agrees with any: the local runtime has none.
fn is_same_uid(recorded: &str, uid: Option<&str>) -> bool {
    recorded.is_empty() || uid.is_none_or(|uid| uid == recorded)
}

impl fmt::Display for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (kind, count)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            let plural = if *count == 1 { "" } else { "s" };
            write!(f, "{separator}{count} {kind}{plural}")?;
        }
        Ok(())
    }
}
