//! `VirtualService`: the name that applications call.

use serde::{Deserialize, Serialize};
use tombolo_model::appmesh::spec;
use tombolo_model::appmesh::spec::virtual_service::Provider;
use tombolo_model::validation::{Validate, Validator};

use super::{MeshRef, Object, OneOf, Refs};

/// A name that applications call, and what provides it.
pub type VirtualService = Object<VirtualServiceSpec>;

/// What a virtual service is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VirtualServiceSpec {
    /// The name that applications call; by default `<name>.<namespace>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws_name: Option<String>,
    /// A node or a router; without one, calls are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<OneOf<Provider<Refs>>>,
    /// Its mesh; written at admission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh_ref: Option<MeshRef>,
}

impl VirtualServiceSpec {
    /// The part that the mesh API has, too.
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
