//! Cloud Map: JSON 1.1 (facts/cloudmap-api.md). Each operation is a type that reads and writes itself, says
//! what policies protect, and carries itself out.

mod discover;
mod errors;
mod filter;
mod health;
mod ids;
mod instance;
mod namespace;
mod operation;
mod service;
mod service_attributes;
mod tag;

pub use discover::HealthFilter;
pub(crate) use discover::{DiscoverInstances, DiscoverInstancesRevision, DiscoveredShape};
pub(crate) use filter::{Condition, Filter};
pub(crate) use health::{GetInstancesHealthStatus, UpdateInstanceCustomHealthStatus};
pub(crate) use instance::{
    DeregisterInstance, GetInstance, InstanceShape, ListInstances, RegisterInstance,
};
pub(crate) use namespace::{
    CreateHttpNamespace, CreatePrivateDnsNamespace, CreatePublicDnsNamespace, DeleteNamespace,
    DnsNamespaceUpdate, DnsUpdate, GetNamespace, HttpNamespaceUpdate, ListNamespaces,
    NamespaceShape, Properties, UpdateHttpNamespace, UpdatePrivateDnsNamespace,
    UpdatePublicDnsNamespace,
};
pub(crate) use operation::{GetOperation, ListOperations, OperationShape};
pub(crate) use service::{
    CreateService, CustomHealthCheck, DeleteService, DnsConfigInput, DnsConfigUpdate, GetService,
    ListServices, ServiceShape, ServiceUpdate, UpdateService,
};
pub(crate) use service_attributes::{
    DeleteServiceAttributes, GetServiceAttributes, UpdateServiceAttributes,
};
pub(crate) use tag::{ListTagsForResource, TagResource, TagShape, UntagResource};

use crate::{
    call::Call,
    error::ApiError,
    operation::{RpcOperation, operations},
    wire::{Paging, json},
};
use serde::{Deserialize, Serialize};
use tombolo_model::{Command, Reply, apply::cloudmap};

/// The code of input that breaks the model.
const INVALID_INPUT: &str = "InvalidInput";

operations! {
    INVALID_INPUT;

    DiscoverInstances,
    DiscoverInstancesRevision,

    CreateHttpNamespace,
    CreatePrivateDnsNamespace,
    CreatePublicDnsNamespace,
    UpdateHttpNamespace,
    UpdatePrivateDnsNamespace,
    UpdatePublicDnsNamespace,
    DeleteNamespace,
    GetNamespace,
    ListNamespaces,

    CreateService,
    UpdateService,
    DeleteService,
    GetService,
    ListServices,
    GetServiceAttributes,
    UpdateServiceAttributes,
    DeleteServiceAttributes,

    RegisterInstance,
    DeregisterInstance,
    GetInstance,
    ListInstances,
    GetInstancesHealthStatus,
    UpdateInstanceCustomHealthStatus,

    GetOperation,
    ListOperations,

    TagResource,
    UntagResource,
    ListTagsForResource,
}

/// An input that breaks the model.
fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::bad_request(INVALID_INPUT, message)
}

/// The page of a list that an input asks for.
fn paging(
    list: &'static str,
    max_results: Option<i64>,
    next_token: Option<&str>,
) -> Result<Paging, ApiError> {
    // SDKs hand an empty token on as it came.
    let token = next_token.filter(|token| !token.is_empty());
    Paging::new(list, max_results, 1..=100, token).map_err(invalid)
}

/// The output of operations that answer with an operation of the service.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct OperationId {
    pub(crate) operation_id: String,
}

/// The output of operations that answer with nothing.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Empty {}

/// Carries out a command that answers with an operation.
async fn run_operation(call: &Call<'_>, command: cloudmap::Command) -> Result<Vec<u8>, ApiError> {
    match call.commit(Command::CloudMap(command)).await {
        Ok(Reply::Operation(id)) => Ok(json::write(&OperationId {
            operation_id: id.to_string(),
        })),
        Ok(other) => unreachable!("this command answers with an operation, not with {other:?}"),
        Err(error) => Err(errors::from_commit(error)),
    }
}

/// Carries out a command that answers with nothing.
async fn run(call: &Call<'_>, command: cloudmap::Command) -> Result<Vec<u8>, ApiError> {
    call.commit(Command::CloudMap(command))
        .await
        .map_err(errors::from_commit)?;
    Ok(json::write(&Empty {}))
}
