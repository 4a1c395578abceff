//! The Cloud Map error for each rejection, with the members that SDKs expose (facts/cloudmap-api.md §1).
//! Every modelled error has status 400.

use super::INVALID_INPUT;
use crate::error::ApiError;
use tombolo_model::{Reason, Rejection};
use tombolo_store::CommitError;

/// The error code of more tags than a resource may have.
pub(super) const TOO_MANY_TAGS: &str = "TooManyTagsException";

pub(super) fn from_commit(error: CommitError) -> ApiError {
    match error {
        CommitError::Rejected(rejection) => from_rejection(rejection),
        CommitError::Unavailable(cause) => ApiError::unavailable("ServiceUnavailable", cause),
    }
}

pub(super) fn from_rejection(rejection: Rejection) -> ApiError {
    let error = |code| ApiError::bad_request(code, rejection.message);
    match rejection.reason {
        Reason::Invalid => error(INVALID_INPUT),
        Reason::InUse => error("ResourceInUse"),
        Reason::LimitExceeded => error("ResourceLimitExceeded"),
        Reason::TooManyTags => error(TOO_MANY_TAGS),
        Reason::NamespaceNotFound => error("NamespaceNotFound"),
        Reason::ServiceNotFound => error("ServiceNotFound"),
        Reason::InstanceNotFound => error("InstanceNotFound"),
        Reason::CustomHealthNotFound => error("CustomHealthNotFound"),
        Reason::ServiceAttributesLimit => error("ServiceAttributesLimitExceededException"),
        Reason::OperationNotFound => error("OperationNotFound"),
        Reason::ResourceNotFound => error("ResourceNotFoundException"),
        Reason::NamespaceExists {
            id,
            creator_request_id,
        } => error("NamespaceAlreadyExists")
            .with("CreatorRequestId", creator_request_id)
            .with("NamespaceId", Some(id)),
        Reason::ServiceExists {
            id,
            arn,
            creator_request_id,
        } => error("ServiceAlreadyExists")
            .with("CreatorRequestId", creator_request_id)
            .with("ServiceId", Some(id))
            .with("ServiceArn", Some(arn)),
        Reason::DuplicateRequest { operation_id } => {
            error("DuplicateRequest").with("DuplicateOperationId", Some(operation_id))
        }
        Reason::NotFound | Reason::Conflict => {
            unreachable!("Cloud Map commands are not rejected for reasons of App Mesh")
        }
    }
}

pub(super) fn namespace_not_found(name: &str) -> ApiError {
    ApiError::bad_request(
        "NamespaceNotFound",
        format!("no namespace is called {name}"),
    )
}

pub(super) fn service_not_found(name: &str) -> ApiError {
    ApiError::bad_request("ServiceNotFound", format!("no service is called {name}"))
}
