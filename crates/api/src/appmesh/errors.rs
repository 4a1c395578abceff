//! The App Mesh error for each refusal (facts/appmesh-api.md §1).

use super::BAD_REQUEST;
use crate::wire::Failure;
use http::StatusCode;
use tombolo_model::{Reason, Rejection};
use tombolo_store::CommitError;

pub(super) fn from_commit(error: CommitError) -> Failure {
    match error {
        CommitError::Rejected(rejection) => from_rejection(rejection),
        CommitError::Unavailable(why) => {
            tracing::error!(why, "the store is not available");
            Failure::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailableException",
                "the store is not available; try again",
            )
        }
    }
}

fn from_rejection(rejection: Rejection) -> Failure {
    let (status, code) = match rejection.reason {
        Reason::Invalid => (StatusCode::BAD_REQUEST, BAD_REQUEST),
        Reason::NotFound | Reason::ResourceNotFound => (StatusCode::NOT_FOUND, "NotFoundException"),
        Reason::Conflict => (StatusCode::CONFLICT, "ConflictException"),
        Reason::InUse => (StatusCode::CONFLICT, "ResourceInUseException"),
        Reason::LimitExceeded => (StatusCode::BAD_REQUEST, "LimitExceededException"),
        Reason::TooManyTags => (StatusCode::BAD_REQUEST, "TooManyTagsException"),
        Reason::NamespaceNotFound
        | Reason::NamespaceExists { .. }
        | Reason::ServiceNotFound
        | Reason::ServiceExists { .. }
        | Reason::InstanceNotFound
        | Reason::CustomHealthNotFound
        | Reason::ServiceAttributesLimit
        | Reason::OperationNotFound
        | Reason::DuplicateRequest { .. } => {
            unreachable!("mesh commands are not refused for reasons of the registry")
        }
    };
    Failure::new(status, code, rejection.message)
}

/// An input that breaks the model.
pub(super) fn bad_request(message: impl Into<String>) -> Failure {
    Failure::bad(BAD_REQUEST, message)
}

/// A resource that does not exist.
pub(super) fn not_found(message: impl Into<String>) -> Failure {
    Failure::new(StatusCode::NOT_FOUND, "NotFoundException", message)
}
