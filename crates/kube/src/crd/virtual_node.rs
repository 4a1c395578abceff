//! `VirtualNode`: a workload, how it is found, and whom it calls.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::{Deserialize, Serialize};
use tombolo_model::appmesh::spec::logging::Logging;
use tombolo_model::appmesh::spec::tls::BackendDefaults;
use tombolo_model::appmesh::spec::virtual_node::{
    Backend, CloudMapDiscovery, Listener, ServiceDiscovery,
};
use tombolo_model::appmesh::spec::{self, UnionOf};
use tombolo_model::validation::{Validate, Validator};

use super::{MeshRef, Object, OneOf, Reference, Refs};
use crate::selector;

/// A workload of the mesh: the pods that its selector selects.
pub type VirtualNode = Object<VirtualNodeSpec>;

/// What a virtual node is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VirtualNodeSpec {
    /// Name in the mesh API; by default `<name>_<namespace>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws_name: Option<String>,
    /// Which pods of the namespace it is. Absent selects none, `{}` all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
    /// What it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listeners: Option<Vec<Listener<Refs>>>,
    /// How others find it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_discovery: Option<OneOf<ServiceDiscovery<Refs>>>,
    /// Whom it calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backends: Option<Vec<OneOf<Backend<Refs>>>>,
    /// Whom it calls, by group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_groups: Option<Vec<Reference>>,
    /// How it calls, unless a backend says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_defaults: Option<BackendDefaults<Refs>>,
    /// What its proxy logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logging: Option<Logging<Refs>>,
    /// Its mesh; written at admission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh_ref: Option<MeshRef>,
}

impl VirtualNodeSpec {
    /// The part that the mesh API has, too.
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

    /// The Cloud Map service it is found by, if any.
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
