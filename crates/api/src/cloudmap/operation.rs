//! Operations. Each one is finished when its id is given out.

use super::{
    ListInput,
    filter::{Condition, Filter},
    ids, invalid, read, write,
};
use crate::wire::{Call, Failure};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tombolo_model::{arn, cloudmap::Operation};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetInput {
    operation_id: String,
    owner_account: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Summary<'a> {
    id: &'a str,
    status: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListOutput<'a> {
    operations: Vec<Summary<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

const SUCCESS: &str = "SUCCESS";
/// Longest id of an operation.
const MAX_ID: usize = 255;

pub(super) fn get(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let input: GetInput = read(call)?;
    let id = &input.operation_id;
    if id.chars().count() > MAX_ID {
        return Err(invalid(format!(
            "OperationId: has more than {MAX_ID} characters"
        )));
    }
    let is_own = ids::is_own(call, input.owner_account.as_deref())?;
    let view = call.view();
    let operation = view
        .scope(&call.scope)
        .filter(|_| is_own)
        .and_then(|scope| scope.operation(id))
        .ok_or_else(|| {
            Failure::bad("OperationNotFound", format!("no operation has the id {id}"))
        })?;
    let at = operation.at.epoch_seconds();
    write(&json!({ "Operation": {
        "Id": operation.id,
        "OwnerAccount": call.scope.account,
        "Type": operation.kind,
        "Status": SUCCESS,
        "CreateDate": at,
        "UpdateDate": at,
        "Targets": operation.targets,
    }}))
}

pub(super) fn list(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let input: ListInput = read(call)?;
    let paging = input.page.paging("operations")?;
    let mut tests = Vec::new();
    for filter in input.filters()? {
        tests.push(test(call, filter)?);
    }
    let view = call.view();
    let operations = (view.scope(&call.scope).into_iter()).flat_map(|scope| scope.operations());
    let matching = operations.filter(|operation| tests.iter().all(|test| test(operation)));
    let page = paging.page(matching, |operation| &operation.id);
    write(&ListOutput {
        operations: page
            .items
            .into_iter()
            .map(|operation| Summary {
                id: &operation.id,
                status: SUCCESS,
            })
            .collect(),
        next_token: page.next,
    })
}

type Test<'a> = Box<dyn Fn(&Operation) -> bool + 'a>;

fn test<'a>(call: &Call<'_>, filter: &'a Filter) -> Result<Test<'a>, Failure> {
    // An ARN of another account, region or type names nothing that an operation was about.
    let has_target = |target: &'static str, word: &str| -> Result<Test<'a>, Failure> {
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
            // The guide and the model spell it differently.
            let wanted = filter.values.iter().any(|v| v == SUCCESS || v == "SUCCEED");
            Ok(Box::new(move |_| wanted))
        }
        "TYPE" => {
            let condition = filter.condition(&[Condition::Eq, Condition::In])?;
            Ok(Box::new(move |operation| {
                let kind = json!(operation.kind);
                kind.as_str()
                    .is_some_and(|kind| filter.matches(condition, kind))
            }))
        }
        "UPDATE_DATE" => {
            filter.condition(&[Condition::Between])?;
            let second = |i: usize| -> Result<f64, Failure> {
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
