//! The Cloud Map door: JSON 1.1 (facts/cloudmap-api.md).

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

use crate::wire::{self, Call, Failure, Paging, door::CLOUD_MAP_TARGET};
use filter::Filter;
use serde::{Deserialize, Serialize};
use tombolo_model::{Command, Reply, apply::cloudmap};

/// The code of input that breaks the model.
const INVALID_INPUT: &str = "InvalidInput";

/// Routes a call and carries it out. This table is the list of operations.
pub(crate) async fn answer(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let target = call
        .request
        .headers
        .get("x-amz-target")
        .and_then(|target| target.to_str().ok())
        .unwrap_or_default();
    tracing::trace!(target, scope = %call.scope, request_id = call.request_id, "called");
    match target.strip_prefix(CLOUD_MAP_TARGET).unwrap_or_default() {
        "DiscoverInstances" => discover::instances(call),
        "DiscoverInstancesRevision" => discover::revision(call),

        "CreateHttpNamespace" => namespace::create_http(call).await,
        "CreatePrivateDnsNamespace" => namespace::create_private(call).await,
        "CreatePublicDnsNamespace" => namespace::create_public(call).await,
        "UpdateHttpNamespace" => namespace::update_http(call).await,
        "UpdatePrivateDnsNamespace" => namespace::update_private(call).await,
        "UpdatePublicDnsNamespace" => namespace::update_public(call).await,
        "DeleteNamespace" => namespace::delete(call).await,
        "GetNamespace" => namespace::get(call),
        "ListNamespaces" => namespace::list(call),

        "CreateService" => service::create(call).await,
        "UpdateService" => service::update(call).await,
        "DeleteService" => service::delete(call).await,
        "GetService" => service::get(call),
        "ListServices" => service::list(call),
        "GetServiceAttributes" => service_attributes::get(call),
        "UpdateServiceAttributes" => service_attributes::update(call).await,
        "DeleteServiceAttributes" => service_attributes::delete(call).await,

        "RegisterInstance" => instance::register(call).await,
        "DeregisterInstance" => instance::deregister(call).await,
        "GetInstance" => instance::get(call),
        "ListInstances" => instance::list(call),
        "GetInstancesHealthStatus" => health::get(call),
        "UpdateInstanceCustomHealthStatus" => health::update(call).await,

        "GetOperation" => operation::get(call),
        "ListOperations" => operation::list(call),

        "TagResource" => tag::tag(call).await,
        "UntagResource" => tag::untag(call).await,
        "ListTagsForResource" => tag::list(call),

        _ => Err(Failure::bad(
            "UnknownOperationException",
            format!("Cloud Map has no operation {target:?}"),
        )),
    }
}

/// Reads an operation's input.
fn read<'a, T: Deserialize<'a>>(call: &'a Call<'_>) -> Result<T, Failure> {
    wire::json::read(&call.body, INVALID_INPUT)
}

/// Writes an operation's output.
fn write(output: &impl Serialize) -> Result<Vec<u8>, Failure> {
    Ok(json(output))
}

fn json(output: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(output).expect("outputs have string keys only")
}

/// An input that breaks the model.
fn invalid(message: impl Into<String>) -> Failure {
    Failure::bad(INVALID_INPUT, message)
}

/// The members by which every list is paged.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PageInput {
    max_results: Option<i64>,
    next_token: Option<String>,
}

impl PageInput {
    fn paging(&self, list: &'static str) -> Result<Paging, Failure> {
        // SDKs hand an empty token on as it came.
        let token = self.next_token.as_deref().filter(|token| !token.is_empty());
        Paging::new(list, self.max_results, 1..=100, token).map_err(invalid)
    }
}

/// The input of what is about one namespace or service.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct IdInput {
    /// An id or an ARN.
    id: String,
}

/// The input of lists that can be filtered.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListInput {
    filters: Option<Vec<Filter>>,
    #[serde(flatten)]
    page: PageInput,
}

impl ListInput {
    fn filters(&self) -> Result<&[Filter], Failure> {
        let filters = self.filters.as_deref().unwrap_or_default();
        if filters.len() > filter::MOST {
            let (many, most) = (filters.len(), filter::MOST);
            return Err(invalid(format!("Filters: {many} are more than {most}")));
        }
        Ok(filters)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct OperationIdOutput<'a> {
    operation_id: &'a str,
}

/// Carries out a command that answers with an operation.
async fn run_operation(call: &Call<'_>, command: cloudmap::Command) -> Result<Vec<u8>, Failure> {
    match call.commit(Command::CloudMap(command)).await {
        Ok(Reply::Operation(operation_id)) => write(&OperationIdOutput {
            operation_id: &operation_id,
        }),
        Ok(other) => unreachable!("this command answers with an operation, not with {other:?}"),
        Err(error) => Err(errors::from_commit(error)),
    }
}
