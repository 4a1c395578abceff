//! Namespaces and services are named by id or by ARN, wherever an input has an id.

use super::{errors, invalid};
use crate::wire::{Call, Failure};
use std::sync::Arc;
use tombolo_model::{
    ScopeView, arn,
    registry::{Namespace, Service},
};

const MAX_LENGTH: usize = 255;

/// The bare id of a namespace. An ARN of another account, region or type names nothing here.
pub(super) fn namespace_id<'a>(call: &Call<'_>, text: &'a str) -> Result<&'a str, Failure> {
    check(text)?;
    arn::bare_id(&call.scope, "namespace", text).ok_or_else(|| errors::namespace_not_found(text))
}

/// The bare id of a service.
pub(super) fn service_id<'a>(call: &Call<'_>, text: &'a str) -> Result<&'a str, Failure> {
    check(text)?;
    arn::bare_id(&call.scope, "service", text).ok_or_else(|| errors::service_not_found(text))
}

/// The namespace of an id or ARN.
pub(super) fn namespace<'a>(
    call: &Call<'_>,
    scope: Option<&'a ScopeView>,
    text: &str,
) -> Result<&'a Arc<Namespace>, Failure> {
    let id = namespace_id(call, text)?;
    scope
        .and_then(|scope| scope.namespace(id))
        .ok_or_else(|| errors::namespace_not_found(text))
}

/// The service of an id or ARN, and the scope that it is in.
pub(super) fn service<'a>(
    call: &Call<'_>,
    scope: Option<&'a ScopeView>,
    text: &str,
) -> Result<(&'a ScopeView, &'a Arc<Service>), Failure> {
    let id = service_id(call, text)?;
    scope
        .and_then(|scope| Some((scope, scope.service(id)?)))
        .ok_or_else(|| errors::service_not_found(text))
}

fn check(text: &str) -> Result<(), Failure> {
    if text.is_empty() || text.len() > MAX_LENGTH {
        let message = format!("an id or ARN has 1 to {MAX_LENGTH} characters");
        return Err(invalid(message));
    }
    Ok(())
}
