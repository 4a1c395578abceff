//! `BackendGroup`: virtual services that nodes can call as one.

use k8s_openapi::NamespaceResourceScope;
use serde::{Deserialize, Serialize};
use tombolo_model::validation::{Validate, Validator};

use super::resource::kind;
use super::{MeshRef, Reference};

kind!(
    /// A list of virtual services that nodes refer to by one name.
    BackendGroup,
    BackendGroupSpec,
    BackendGroupStatus,
    NamespaceResourceScope
);

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

/// A backend group has nothing to report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendGroupStatus {}

impl Validate for BackendGroupSpec {
    fn validate(&self, validator: &mut Validator) {
        validator.field("virtualservices", &self.virtual_services);
    }
}
