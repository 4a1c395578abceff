//! `BackendGroup`: virtual services that nodes can refer to as one.

use tombolo_model::validation::{Validate, Validator};

use super::object::kind;
use super::{MeshRef, Reference};

kind! {
    /// A list of virtual services that nodes refer to by one name.
    BackendGroup(BackendGroupSpec) {
        /// The members. The JSON key is in lower case throughout.
        virtual_services as "virtualservices": Vec<Reference>,
        /// The mesh; written at admission.
        mesh_ref: MeshRef,
    }
}

impl Validate for BackendGroupSpec {
    fn validate(&self, validator: &mut Validator) {
        validator.field("virtualservices", &self.virtual_services);
    }
}
