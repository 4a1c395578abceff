//! Namespaces and services are named by id or by ARN, wherever an input has an id.

use super::invalid;
use crate::{call::Call, error::ApiError};
use std::sync::Arc;
use tombolo_model::{
    Scope, ScopeView, arn,
    cloudmap::{Namespace, Service},
};

const MAX_LENGTH: usize = 255;
const MAX_INSTANCE_LENGTH: usize = 64;
const ACCOUNT_LENGTH: usize = 12;

/// The ARN of the namespace of an id or ARN, in our own spelling. What names nothing here stays as it is.
pub(super) fn namespace_arn(scope: &Scope, text: &str) -> String {
    let id = arn::bare_id(scope, "namespace", text);
    id.map_or_else(|| text.to_owned(), |id| arn::of_namespace(scope, id))
}

/// As [`namespace_arn`], of a service.
pub(super) fn service_arn(scope: &Scope, text: &str) -> String {
    let id = arn::bare_id(scope, "service", text);
    id.map_or_else(|| text.to_owned(), |id| arn::of_service(scope, id))
}

/// The bare id of a namespace. An ARN of another account, region or type names nothing here.
pub(super) fn namespace_id<'a>(call: &Call<'_>, text: &'a str) -> Result<&'a str, ApiError> {
    check(text)?;
    arn::bare_id(&call.scope, "namespace", text).ok_or_else(|| no_namespace(text))
}

/// The bare id of a service.
pub(super) fn service_id<'a>(call: &Call<'_>, text: &'a str) -> Result<&'a str, ApiError> {
    check(text)?;
    arn::bare_id(&call.scope, "service", text).ok_or_else(|| no_service(text))
}

/// The namespace of an id or ARN. Only for reading: a command decides on the state that it changes.
pub(super) fn namespace<'a>(
    call: &Call<'_>,
    scope: Option<&'a ScopeView>,
    text: &str,
) -> Result<&'a Arc<Namespace>, ApiError> {
    let id = namespace_id(call, text)?;
    scope
        .and_then(|scope| scope.namespace(id))
        .ok_or_else(|| no_namespace(text))
}

/// The service of an id or ARN, and the scope that it is in. Only for reading, too.
pub(super) fn service<'a>(
    call: &Call<'_>,
    scope: Option<&'a ScopeView>,
    text: &str,
) -> Result<(&'a ScopeView, &'a Arc<Service>), ApiError> {
    let id = service_id(call, text)?;
    scope
        .and_then(|scope| Some((scope, scope.service(id)?)))
        .ok_or_else(|| no_service(text))
}

/// Checks the id of an instance that is asked for.
pub(super) fn check_instance_id(text: &str) -> Result<(), ApiError> {
    if text.chars().count() > MAX_INSTANCE_LENGTH {
        let message = format!("an instance's id has up to {MAX_INSTANCE_LENGTH} characters");
        return Err(invalid(message));
    }
    Ok(())
}

/// Whether an input is about the caller's own account, which is all that there is to see.
pub(super) fn is_own(call: &Call<'_>, owner: Option<&str>) -> Result<bool, ApiError> {
    match owner {
        Some(owner) if owner.chars().count() != ACCOUNT_LENGTH => Err(invalid(format!(
            "OwnerAccount: {owner:?} has not {ACCOUNT_LENGTH} characters"
        ))),
        owner => Ok(owner.is_none_or(|owner| owner == &*call.scope.account)),
    }
}

fn no_namespace(text: &str) -> ApiError {
    let message = format!("no namespace has the id {text}");
    ApiError::bad_request("NamespaceNotFound", message)
}

fn no_service(text: &str) -> ApiError {
    let message = format!("no service has the id {text}");
    ApiError::bad_request("ServiceNotFound", message)
}

fn check(text: &str) -> Result<(), ApiError> {
    if !(1..=MAX_LENGTH).contains(&text.chars().count()) {
        let message = format!("an id or ARN has 1 to {MAX_LENGTH} characters");
        return Err(invalid(message));
    }
    Ok(())
}
