//! The App Mesh error for each rejection (facts/appmesh-api.md §1).

use super::BAD_REQUEST;
use crate::error::ApiError;
use http::StatusCode;
use tombolo_model::{Reason, Rejection};
use tombolo_store::CommitError;

pub(super) fn from_commit(error: CommitError) -> ApiError {
    match error {
        CommitError::Rejected(rejection) => from_rejection(rejection),
        CommitError::Unavailable(cause) => {
            ApiError::unavailable("ServiceUnavailableException", cause)
        }
    }
}

fn from_rejection(rejection: Rejection) -> ApiError {
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
    ApiError::new(status, code, rejection.message)
}

/// The error of invalid input.
pub(super) fn bad_request(message: impl Into<String>) -> ApiError {
    ApiError::bad_request(BAD_REQUEST, message)
}

/// The error of a resource that does not exist.
pub(super) fn not_found(message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "NotFoundException", message)
}
