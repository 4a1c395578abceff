//! Reads of operations, the asynchronous requests of Cloud Map. Here each is finished when its id is returned.

use super::{Condition, Filter, filter, invalid, lookup, paging};
use crate::{
    call::Call,
    error::ApiError,
    operation::{ANY, RpcOperation, reply},
    wire::epoch,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tombolo_model::{Scope, Timestamp, arn, cloudmap::Operation};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetOperation {
    pub(crate) operation_id: String,
    pub(crate) owner_account: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListOperations {
    pub(crate) filters: Option<Vec<Filter>>,
    pub(crate) max_results: Option<i64>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetOperationOutput {
    pub(crate) operation: OperationShape,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct OperationShape {
    pub(crate) id: String,
    pub(crate) owner_account: String,
    #[serde(rename = "Type")]
    pub(crate) kind: String,
    /// `SUBMITTED`, `PENDING`, `SUCCESS` or `FAIL`; here always `SUCCESS`.
    pub(crate) status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error_message: Option<String>,
    #[serde(with = "epoch")]
    pub(crate) create_date: Timestamp,
    #[serde(with = "epoch")]
    pub(crate) update_date: Timestamp,
    pub(crate) targets: BTreeMap<String, String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListOperationsOutput {
    pub(crate) operations: Vec<OperationSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct OperationSummary {
    pub(crate) id: String,
    pub(crate) status: String,
}

const SUCCESS: &str = "SUCCESS";
/// Maximum length of an operation id.
const MAX_ID: usize = 255;

impl RpcOperation for GetOperation {
    type Output = GetOperationOutput;

    fn resource(&self, _: &Scope) -> String {
        ANY.to_owned()
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let id = &self.operation_id;
        if id.chars().count() > MAX_ID {
            return Err(invalid(format!(
                "OperationId: has more than {MAX_ID} characters"
            )));
        }
        let is_own = lookup::is_own(call, self.owner_account.as_deref())?;
        let view = call.view();
        let operation = view.scope_or_empty(&call.scope).operation(id);
        let operation = operation.filter(|_| is_own).ok_or_else(|| {
            let message = format!("no operation has the id {id}");
            ApiError::bad_request("OperationNotFound", message)
        })?;
        reply::<Self>(&GetOperationOutput {
            operation: OperationShape {
                id: operation.id.to_string(),
                owner_account: call.scope.account.to_string(),
                kind: operation.kind.as_str().to_owned(),
                status: SUCCESS.to_owned(),
                error_code: None,
                error_message: None,
                create_date: operation.at,
                update_date: operation.at,
                targets: operation.targets.clone(),
            },
        })
    }
}

impl RpcOperation for ListOperations {
    type Output = ListOperationsOutput;

    fn resource(&self, _: &Scope) -> String {
        ANY.to_owned()
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let paging = paging("operations", self.max_results, self.next_token.as_deref())?;
        let mut tests = Vec::new();
        for filter in filter::checked(self.filters.as_deref())? {
            tests.push(test(call, filter)?);
        }
        let view = call.view();
        let view = view.scope_or_empty(&call.scope);
        // Operations of a deleted namespace are not listed, as in AWS (facts/cloudmap-api.md §6).
        // `GetOperation` returns them, because clients poll the deletion of a namespace.
        let operations = view.operations().filter(|operation| {
            let namespace = operation.targets.get("NAMESPACE");
            namespace.is_none_or(|id| view.namespace(id).is_some())
        });
        let matching = operations.filter(|operation| tests.iter().all(|test| test(operation)));
        let page = paging.page(matching, |operation| &operation.id);
        let summary = |operation: &std::sync::Arc<Operation>| OperationSummary {
            id: operation.id.to_string(),
            status: SUCCESS.to_owned(),
        };
        reply::<Self>(&ListOperationsOutput {
            operations: page.items.into_iter().map(summary).collect(),
            next_token: page.next,
        })
    }
}

/// The predicate of a filter.
type Test<'a> = Box<dyn Fn(&Operation) -> bool + 'a>;

fn test<'a>(call: &Call<'_>, filter: &'a Filter) -> Result<Test<'a>, ApiError> {
    // An ARN of another account, region or type is no target of an operation.
    let has_target = |target: &'static str, word: &str| -> Result<Test<'a>, ApiError> {
        filter.condition(&[Condition::Eq])?;
        let id = arn::bare_id(&call.scope, word, &filter.values[0]);
        Ok(Box::new(move |operation| {
            id.is_some() && operation.targets.get(target).map(String::as_str) == id
        }))
    };
    match filter.name.as_str() {
        "NAMESPACE_ID" => has_target("NAMESPACE", "namespace"),
        "SERVICE_ID" => has_target("SERVICE", "service"),
        "STATUS" => {
            filter.condition(&[Condition::Eq, Condition::In])?;
            // The developer guide has another spelling than the API model.
            let includes_success = filter.values.iter().any(|v| v == SUCCESS || v == "SUCCEED");
            Ok(Box::new(move |_| includes_success))
        }
        "TYPE" => {
            let condition = filter.condition(&[Condition::Eq, Condition::In])?;
            Ok(Box::new(move |operation| {
                filter.matches(condition, operation.kind.as_str())
            }))
        }
        "UPDATE_DATE" => {
            filter.condition(&[Condition::Between])?;
            let second = |i: usize| -> Result<f64, ApiError> {
                let value = &filter.values[i];
                let second = value.parse().ok().filter(|second: &f64| second.is_finite());
                second.ok_or_else(|| {
                    invalid(format!(
                        "Filters: UPDATE_DATE: {value:?} is not a Unix time"
                    ))
                })
            };
            let range = second(0)?..=second(1)?;
            if range.is_empty() {
                return Err(invalid("Filters: UPDATE_DATE: the end is before the start"));
            }
            Ok(Box::new(move |operation| {
                range.contains(&operation.at.epoch_seconds())
            }))
        }
        _ => Err(filter.unknown()),
    }
}
