//! `VirtualService`: the name that applications call.

use tombolo_model::appmesh::spec;
use tombolo_model::appmesh::spec::virtual_service::Provider;
use tombolo_model::validation::{Validate, Validator};

use super::object::kind;
use super::{MeshRef, OneOf, Refs};

kind! {
    /// A name that applications call, and what provides it.
    VirtualService(VirtualServiceSpec) {
        /// The name that applications call; by default `<name>.<namespace>`.
        aws_name: String,
        /// A node or a router; without one, calls are refused.
        provider: OneOf<Provider<Refs>>,
        /// The mesh; written at admission.
        mesh_ref: MeshRef,
    }
}

impl VirtualServiceSpec {
    /// The spec in the mesh API.
    pub fn to_model(&self) -> spec::VirtualServiceSpec<Refs> {
        spec::VirtualServiceSpec {
            provider: self.provider.clone(),
        }
    }
}

impl Validate for VirtualServiceSpec {
    fn validate(&self, validator: &mut Validator) {
        self.to_model().validate(validator);
    }
}
