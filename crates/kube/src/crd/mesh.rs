//! `Mesh`: the boundary inside which names are shared.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use tombolo_model::appmesh::spec;
use tombolo_model::appmesh::spec::mesh::{EgressFilter, MeshServiceDiscovery};
use tombolo_model::validation::{Validate, Validator};

use super::object::kind;
use crate::selector;

kind! {
    /// A mesh. Namespaces that its selector selects are inside.
    Mesh(MeshSpec) {
        /// Name in the mesh API; by default the object's own.
        aws_name: String,
        /// Selects the namespaces inside. Absent selects none, `{}` selects all.
        namespace_selector: LabelSelector as selector::Described,
        /// The treatment of traffic to destinations outside the mesh.
        egress_filter: EgressFilter,
        /// Account that owns the mesh, when it is shared from another one.
        mesh_owner: String,
        /// Address family preference of every node in the mesh.
        mesh_service_discovery: MeshServiceDiscovery,
    }
}

impl MeshSpec {
    /// The spec in the mesh API.
    pub fn to_model(&self) -> spec::MeshSpec {
        spec::MeshSpec {
            egress_filter: self.egress_filter,
            service_discovery: self.mesh_service_discovery,
        }
    }
}

impl Validate for MeshSpec {
    fn validate(&self, validator: &mut Validator) {
        selector::check(
            validator,
            "namespaceSelector",
            self.namespace_selector.as_ref(),
        );
        // The CRD names this member otherwise.
        validator.field("meshServiceDiscovery", &self.mesh_service_discovery);
        if let Some(owner) = &self.mesh_owner
            && (owner.len() != 12 || !owner.bytes().all(|byte| byte.is_ascii_digit()))
        {
            validator.deny(
                "meshOwner",
                format!("{owner:?} is not an account id; it must be 12 digits, in quotes"),
            );
        }
    }
}
