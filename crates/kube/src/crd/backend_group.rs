//! `BackendGroup`: virtual services that nodes can call as one.

use serde::{Deserialize, Serialize};
use tombolo_model::validation::{Validate, Validator};

use super::{MeshRef, Object, Reference};

/// A list of virtual services that nodes refer to by one name.
pub type BackendGroup = Object<BackendGroupSpec>;

/// What a backend group is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendGroupSpec {
    /// Its members. The key is written in lower case throughout.
    #[serde(
        rename = "virtualservices",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub virtual_services: Option<Vec<Reference>>,
    /// Its mesh; written at admission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh_ref: Option<MeshRef>,
}

impl Validate for BackendGroupSpec {
    fn validate(&self, validator: &mut Validator) {
        validator.field("virtualservices", &self.virtual_services);
    }
}
