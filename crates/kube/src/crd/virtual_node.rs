//! `VirtualNode`: a workload, its service discovery, and its backends.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use tombolo_model::appmesh::spec::logging::Logging;
use tombolo_model::appmesh::spec::tls::BackendDefaults;
use tombolo_model::appmesh::spec::virtual_node::{
    Backend, CloudMapDiscovery, Listener, ServiceDiscovery,
};
use tombolo_model::appmesh::spec::{self, UnionOf};
use tombolo_model::validation::{Validate, Validator};

use super::object::kind;
use super::{MeshRef, OneOf, Reference, Refs};
use crate::selector;

kind! {
    /// A workload of the mesh: the pods that its selector selects.
    VirtualNode(VirtualNodeSpec) {
        /// Name in the mesh API; by default `<name>_<namespace>`.
        aws_name: String,
        /// Selects its pods in its namespace. Absent selects none, `{}` all.
        pod_selector: LabelSelector as selector::Described,
        /// The ports that it serves.
        listeners: Vec<Listener<Refs>>,
        /// The service discovery of its endpoints.
        service_discovery: OneOf<ServiceDiscovery<Refs>>,
        /// The virtual services that it calls.
        backends: Vec<OneOf<Backend<Refs>>>,
        /// Groups of virtual services that it calls.
        backend_groups: Vec<Reference>,
        /// The client policy of backends that have none.
        backend_defaults: BackendDefaults<Refs>,
        /// The access log of its proxy.
        logging: Logging<Refs>,
        /// The mesh; written at admission.
        mesh_ref: MeshRef,
    }
}

impl VirtualNodeSpec {
    /// The spec in the mesh API.
    pub fn to_model(&self) -> spec::VirtualNodeSpec<Refs> {
        spec::VirtualNodeSpec {
            backend_defaults: self.backend_defaults.clone(),
            backends: self.backends.clone(),
            listeners: self.listeners.clone(),
            logging: self.logging.clone(),
            service_discovery: self.service_discovery.clone(),
        }
    }

    /// The listeners, none if absent.
    pub fn listeners(&self) -> &[Listener<Refs>] {
        self.listeners.as_deref().unwrap_or_default()
    }

    /// The Cloud Map service of its endpoints, if any.
    pub fn cloud_map(&self) -> Option<&CloudMapDiscovery<Refs>> {
        match self.service_discovery.as_ref()?.get()? {
            ServiceDiscovery::AwsCloudMap(discovery) => Some(discovery),
            ServiceDiscovery::Dns(_) => None,
        }
    }
}

impl Validate for VirtualNodeSpec {
    fn validate(&self, validator: &mut Validator) {
        selector::check(validator, "podSelector", self.pod_selector.as_ref());
        self.to_model().validate(validator);
        validator.field("backendGroups", &self.backend_groups);
    }
}
