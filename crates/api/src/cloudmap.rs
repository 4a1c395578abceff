//! Cloud Map: JSON 1.1 (facts/cloudmap-api.md). Each operation is a type with the members of its input, which
//! implements [`RpcOperation`].

mod command;
mod discover;
mod errors;
mod filter;
mod instance;
mod lookup;
mod namespace;
mod operation;
mod service;
mod tag;

pub(crate) use command::{
    CreateHttpNamespace, CreatePrivateDnsNamespace, CreatePublicDnsNamespace, DeleteNamespace,
    DeleteService, DeleteServiceAttributes, DeregisterInstance, OperationId, RegisterInstance,
    UpdateHttpNamespace, UpdateInstanceCustomHealthStatus, UpdatePrivateDnsNamespace,
    UpdatePublicDnsNamespace, UpdateService, UpdateServiceAttributes,
};
pub use discover::HealthFilter;
pub(crate) use discover::{DiscoverInstances, DiscoverInstancesRevision, DiscoveredShape};
pub(crate) use filter::{Condition, Filter};
pub(crate) use instance::{GetInstance, GetInstancesHealthStatus, InstanceShape, ListInstances};
pub(crate) use namespace::{GetNamespace, ListNamespaces, NamespaceShape};
pub(crate) use operation::{GetOperation, ListOperations, OperationShape};
pub(crate) use service::{
    CreateService, CustomHealthCheck, DnsConfigShape, GetService, GetServiceAttributes,
    ListServices, ServiceShape,
};
pub(crate) use tag::{ListTagsForResource, TagResource, UntagResource};

use crate::{
    error::ApiError,
    operation::{RpcOperation, operations},
    wire::Paging,
};
use serde::{Deserialize, Serialize};

/// The error code of invalid input.
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

/// The error of invalid input.
fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::bad_request(INVALID_INPUT, message)
}

/// The paging of the list of this name.
fn paging(
    list: &'static str,
    max_results: Option<i64>,
    next_token: Option<&str>,
) -> Result<Paging, ApiError> {
    // SDKs may send an empty token, which means none.
    let token = next_token.filter(|token| !token.is_empty());
    Paging::new(list, max_results, 1..=100, token).map_err(|error| invalid(error.to_string()))
}

/// The output of operations without a result.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Empty {}
