//! The App Mesh and Cloud Map APIs, as the controllers call them.

mod client;

use std::collections::BTreeMap;
use std::error::Error;

use tombolo_kube::register::Instance;
use tombolo_model::Timestamp;
use tombolo_model::apply::cloudmap::CreateService;
use tombolo_model::appmesh::{Kind, ResourceKey, Spec};
use tombolo_model::cloudmap::NamespaceType;

/// The reason why a call failed. The cause is the client's own error, and is what `Display` shows.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The resource of the call does not exist.
    #[error(transparent)]
    NotFound(Box<dyn Error + Send + Sync>),
    /// A resource of this name exists already.
    #[error(transparent)]
    Exists(Box<dyn Error + Send + Sync>),
    /// Something else still needs what should go.
    #[error(transparent)]
    InUse(Box<dyn Error + Send + Sync>),
    /// The caller may not make the call; the message names the action and the ARN.
    #[error(transparent)]
    Denied(Box<dyn Error + Send + Sync>),
    /// Rejected for any other reason; the same call is rejected again until something changes.
    #[error(transparent)]
    Refused(Box<dyn Error + Send + Sync>),
    /// There was no answer.
    #[error(transparent)]
    Unreachable(Box<dyn Error + Send + Sync>),
}

impl ApiError {
    /// The work queue's outcome of an attempt that failed with this error.
    pub(crate) fn outcome(&self) -> crate::Outcome {
        match self {
            Self::Unreachable(_) => crate::Outcome::Unreachable,
            _ => crate::Outcome::Failed,
        }
    }

    /// Whether the call may succeed when something else has been created or deleted.
    pub(crate) fn waits_for_others(&self) -> bool {
        matches!(self, Self::NotFound(_) | Self::InUse(_))
    }
}

/// The version of a resource: it differs after each change, also when the resource was deleted and created again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// 1 at the creation, incremented by each update.
    pub number: u64,
    /// The time of the last update.
    pub updated: Timestamp,
}

/// A resource as the mesh API describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct DescribedResource {
    /// The ARN.
    pub arn: String,
    /// The version.
    pub version: Version,
    /// The spec.
    pub spec: Spec,
}

/// A resource in a list of the mesh API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedResource {
    /// Mesh, kind, parent and name.
    pub key: ResourceKey,
    /// The ARN.
    pub arn: String,
    /// The version.
    pub version: Version,
}

/// The App Mesh API. Each call has a deadline of its own.
pub trait MeshApi: Send + Sync + 'static {
    /// A resource, if it exists.
    fn describe(
        &self,
        key: &ResourceKey,
    ) -> impl Future<Output = Result<Option<DescribedResource>, ApiError>> + Send;

    /// Creates a resource, tagged with its [owner](crate::OWNER_TAG).
    fn create(
        &self,
        key: &ResourceKey,
        spec: &Spec,
        owner: &str,
    ) -> impl Future<Output = Result<DescribedResource, ApiError>> + Send;

    /// Replaces the spec of a resource.
    fn update(
        &self,
        key: &ResourceKey,
        spec: &Spec,
    ) -> impl Future<Output = Result<DescribedResource, ApiError>> + Send;

    /// Deletes a resource. A missing resource is not an error.
    fn delete(&self, key: &ResourceKey) -> impl Future<Output = Result<(), ApiError>> + Send;

    /// The [owner](crate::OWNER_TAG) of a resource, if it carries one.
    fn owner(&self, arn: &str) -> impl Future<Output = Result<Option<String>, ApiError>> + Send;

    /// Every mesh of the account.
    fn list_meshes(&self) -> impl Future<Output = Result<Vec<ListedResource>, ApiError>> + Send;

    /// Every resource of a kind in a mesh. `parent`: the router of routes, the gateway of gateway routes, else empty.
    fn list(
        &self,
        mesh: &str,
        kind: Kind,
        parent: &str,
    ) -> impl Future<Output = Result<Vec<ListedResource>, ApiError>> + Send;
}

/// A service of the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The id.
    pub id: String,
    /// The ARN.
    pub arn: String,
    /// The name within its namespace.
    pub name: String,
    /// The number of its instances.
    pub instances: u64,
}

/// A namespace of the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// The id.
    pub id: String,
    /// The name.
    pub name: String,
    /// The discovery type of its instances.
    pub kind: NamespaceType,
}

/// The Cloud Map API. Each call has a deadline of its own, and returns when its operation has ended.
pub trait RegistryApi: Send + Sync + 'static {
    /// Every namespace of the account.
    fn list_namespaces(&self) -> impl Future<Output = Result<Vec<Namespace>, ApiError>> + Send;

    /// Creates a private DNS namespace in this VPC.
    fn create_namespace(
        &self,
        name: &str,
        vpc: &str,
    ) -> impl Future<Output = Result<(), ApiError>> + Send;

    /// Every service of a namespace.
    fn list_services(
        &self,
        namespace_id: &str,
    ) -> impl Future<Output = Result<Vec<Service>, ApiError>> + Send;

    /// A service of a namespace by name, if it exists.
    fn find_service(
        &self,
        namespace_id: &str,
        name: &str,
    ) -> impl Future<Output = Result<Option<Service>, ApiError>> + Send;

    /// Creates a service.
    fn create_service(
        &self,
        service: &CreateService,
    ) -> impl Future<Output = Result<Service, ApiError>> + Send;

    /// Deletes a service. A missing service is not an error.
    fn delete_service(&self, id: &str) -> impl Future<Output = Result<(), ApiError>> + Send;

    /// The [owner](crate::OWNER_TAG) of a service, if it carries one.
    fn service_owner(
        &self,
        arn: &str,
    ) -> impl Future<Output = Result<Option<String>, ApiError>> + Send;

    /// Every instance of a service, by id.
    fn list_instances(
        &self,
        service_id: &str,
    ) -> impl Future<Output = Result<BTreeMap<String, Instance>, ApiError>> + Send;

    /// Registers an instance, or replaces the one of the same id.
    fn register(
        &self,
        service_id: &str,
        instance: &Instance,
    ) -> impl Future<Output = Result<(), ApiError>> + Send;

    /// Deregisters an instance. A missing instance is not an error.
    fn deregister(
        &self,
        service_id: &str,
        instance_id: &str,
    ) -> impl Future<Output = Result<(), ApiError>> + Send;
}
