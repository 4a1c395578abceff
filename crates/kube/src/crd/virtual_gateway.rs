//! `VirtualGateway`: where traffic enters the mesh.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::{Deserialize, Serialize};

use tombolo_model::appmesh::spec;
use tombolo_model::appmesh::spec::logging::Logging;
use tombolo_model::appmesh::spec::tls::BackendDefaults;
use tombolo_model::appmesh::spec::virtual_gateway::VirtualGatewayListener;
use tombolo_model::validation::{Validate, Validator};

use super::{MeshRef, Object, Refs};
use crate::selector;

/// A gateway: the pods that its selector selects run a proxy of their own.
pub type VirtualGateway = Object<VirtualGatewaySpec>;

/// What a virtual gateway is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VirtualGatewaySpec {
    /// Name in the mesh API; by default `<name>_<namespace>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws_name: Option<String>,
    /// Namespaces whose gateway routes belong to it. Absent selects none, its own included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Which pods of its namespace it is. Absent selects none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
    /// Which gateway routes belong to it. Absent selects all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_route_selector: Option<LabelSelector>,
    /// What it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listeners: Option<Vec<VirtualGatewayListener<Refs>>>,
    /// What its proxy logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logging: Option<Logging<Refs>>,
    /// How it calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_defaults: Option<BackendDefaults<Refs>>,
    /// Its mesh; written at admission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh_ref: Option<MeshRef>,
}

impl VirtualGatewaySpec {
    /// The part that the mesh API has, too.
    pub fn to_model(&self) -> spec::VirtualGatewaySpec<Refs> {
        spec::VirtualGatewaySpec {
            // The API requires the list where the kind leaves it open.
            listeners: self.listeners.clone().unwrap_or_default(),
            backend_defaults: self.backend_defaults.clone(),
            logging: self.logging.clone(),
        }
    }

    /// The listeners, none if absent.
    pub fn listeners(&self) -> &[VirtualGatewayListener<Refs>] {
        self.listeners.as_deref().unwrap_or_default()
    }
}

impl Validate for VirtualGatewaySpec {
    fn validate(&self, validator: &mut Validator) {
        for (name, selector) in [
            ("namespaceSelector", &self.namespace_selector),
            ("podSelector", &self.pod_selector),
            ("gatewayRouteSelector", &self.gateway_route_selector),
        ] {
            selector::check(validator, name, selector.as_ref());
        }
        self.to_model().validate(validator);
    }
}
