//! `VirtualGateway`: an entry point for traffic into the mesh.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use tombolo_model::appmesh::spec;
use tombolo_model::appmesh::spec::logging::Logging;
use tombolo_model::appmesh::spec::tls::BackendDefaults;
use tombolo_model::appmesh::spec::virtual_gateway::VirtualGatewayListener;
use tombolo_model::validation::{Validate, Validator};

use super::object::kind;
use super::{MeshRef, Refs};
use crate::selector;

kind! {
    /// A gateway: the pods that its selector selects run a proxy of their own.
    VirtualGateway(VirtualGatewaySpec) {
        /// Name in the mesh API; by default `<name>_<namespace>`.
        aws_name: String,
        /// Namespaces whose gateway routes belong to it. Absent selects none, its own included.
        namespace_selector: LabelSelector as selector::Described,
        /// Selects its pods in its namespace. Absent selects none.
        pod_selector: LabelSelector as selector::Described,
        /// Selects its gateway routes. Absent selects all.
        gateway_route_selector: LabelSelector as selector::Described,
        /// The ports that it serves.
        listeners: Vec<VirtualGatewayListener<Refs>>,
        /// The access log of its proxy.
        logging: Logging<Refs>,
        /// The client policy of its backends.
        backend_defaults: BackendDefaults<Refs>,
        /// The mesh; written at admission.
        mesh_ref: MeshRef,
    }
}

impl VirtualGatewaySpec {
    /// The spec in the mesh API.
    pub fn to_model(&self) -> spec::VirtualGatewaySpec<Refs> {
        spec::VirtualGatewaySpec {
            // The API requires the list; the CRD does not.
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
