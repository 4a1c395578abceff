//! Any object a manifest may hold.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use crate::crd::Resource;

/// An object of a manifest.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// A namespace.
    Namespace(Box<Namespace>),
    /// A deployment.
    Deployment(Box<Deployment>),
    /// A service.
    Service(Box<Service>),
    /// A map of configuration.
    ConfigMap(Box<ConfigMap>),
    /// A secret.
    Secret(Box<Secret>),
    /// A bare pod.
    Pod(Box<Pod>),
    /// One of the seven mesh kinds.
    Mesh(Box<Resource>),
    /// A kind of Istio, as written. Its fields are not checked here.
    Istio(Box<Untyped>),
    /// A kind that a real cluster would run and that is not run here. Reading it gave a warning.
    NotRun(Box<Untyped>),
}

/// An object whose fields are kept as written.
#[derive(Clone, Debug, PartialEq)]
pub struct Untyped {
    /// Group and version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Name, namespace, labels.
    pub metadata: ObjectMeta,
    /// The whole object, as written.
    pub value: Value,
}

/// The metadata of an object, by reference as `$object` is.
macro_rules! metadata {
    ($object:expr, $resource:ident => $of_resource:expr, $typed:ident => $of_typed:expr) => {
        match $object {
            Object::Namespace($typed) => $of_typed,
            Object::Deployment($typed) => $of_typed,
            Object::Service($typed) => $of_typed,
            Object::ConfigMap($typed) => $of_typed,
            Object::Secret($typed) => $of_typed,
            Object::Pod($typed) => $of_typed,
            Object::Mesh($resource) => $of_resource,
            Object::Istio($typed) | Object::NotRun($typed) => $of_typed,
        }
    };
}

impl Object {
    /// `kind:`.
    pub fn kind(&self) -> &str {
        match self {
            Self::Namespace(_) => "Namespace",
            Self::Deployment(_) => "Deployment",
            Self::Service(_) => "Service",
            Self::ConfigMap(_) => "ConfigMap",
            Self::Secret(_) => "Secret",
            Self::Pod(_) => "Pod",
            Self::Mesh(resource) => resource.kind().name(),
            Self::Istio(object) | Self::NotRun(object) => &object.kind,
        }
    }

    /// `apiVersion:`.
    pub fn api_version(&self) -> &str {
        match self {
            Self::Deployment(_) => "apps/v1",
            Self::Mesh(_) => crate::crd::API_VERSION,
            Self::Istio(object) | Self::NotRun(object) => &object.api_version,
            _ => "v1",
        }
    }

    /// Name, namespace, labels.
    pub fn metadata(&self) -> &ObjectMeta {
        metadata!(self, resource => resource.metadata(), object => &object.metadata)
    }

    pub(super) fn metadata_mut(&mut self) -> &mut ObjectMeta {
        metadata!(self, resource => resource.metadata_mut(), object => &mut object.metadata)
    }

    /// `metadata.name`, empty if absent.
    pub fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or_default()
    }

    /// `metadata.namespace`; after reading it is set on every namespaced object and absent on the others.
    pub fn namespace(&self) -> Option<&str> {
        self.metadata().namespace.as_deref()
    }
}
