//! Resolves references in inputs: namespaces and services by id or ARN, and accounts.

use super::{errors::from_rejection, invalid};
use crate::{call::Call, error::ApiError};
use std::sync::Arc;
use tombolo_model::{
    Scope, ScopeView,
    apply::cloudmap,
    arn,
    cloudmap::{Namespace, Service},
};

const ACCOUNT_LENGTH: usize = 12;

/// The canonical ARN of a namespace, from its id or ARN; another text is returned unchanged.
pub(super) fn namespace_arn(scope: &Scope, text: &str) -> String {
    let id = arn::bare_id(scope, "namespace", text);
    id.map_or_else(|| text.to_owned(), |id| arn::of_namespace(scope, id))
}

/// The canonical ARN of a service, from its id or ARN; another text is returned unchanged.
pub(super) fn service_arn(scope: &Scope, text: &str) -> String {
    let id = arn::bare_id(scope, "service", text);
    id.map_or_else(|| text.to_owned(), |id| arn::of_service(scope, id))
}

/// The namespace of an id or ARN. For reads only: commands look up namespaces in the state that they change.
pub(super) fn namespace<'a>(
    call: &Call<'_>,
    view: &'a ScopeView,
    id: &str,
) -> Result<&'a Arc<Namespace>, ApiError> {
    cloudmap::namespace(view, &call.scope, id).map_err(from_rejection)
}

/// The service of an id or ARN. For reads only.
pub(super) fn service<'a>(
    call: &Call<'_>,
    view: &'a ScopeView,
    id: &str,
) -> Result<&'a Arc<Service>, ApiError> {
    cloudmap::service(view, &call.scope, id).map_err(from_rejection)
}

/// Whether `OwnerAccount` is absent or the caller's own account; other accounts are not visible.
pub(super) fn is_own(call: &Call<'_>, owner: Option<&str>) -> Result<bool, ApiError> {
    match owner {
        Some(owner) if owner.chars().count() != ACCOUNT_LENGTH => Err(invalid(format!(
            "OwnerAccount: {owner:?} does not have {ACCOUNT_LENGTH} characters"
        ))),
        owner => Ok(owner.is_none_or(|owner| owner == &*call.scope.account)),
    }
}
