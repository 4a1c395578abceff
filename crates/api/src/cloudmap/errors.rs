//! The Cloud Map error for each refusal, with the members that SDKs expose (facts/cloudmap-api.md §1).
//! Every modelled error has status 400.

use super::INVALID_INPUT;
use crate::wire::Failure;
use http::StatusCode;
use tombolo_model::{Reason, Rejection};
use tombolo_store::CommitError;

/// The code of more tags than a resource may have.
pub(super) const TOO_MANY_TAGS: &str = "TooManyTagsException";

pub(super) fn from_commit(error: CommitError) -> Failure {
    match error {
        CommitError::Rejected(rejection) => from_rejection(rejection),
        CommitError::Unavailable(why) => {
            tracing::error!(why, "the store is not available");
            Failure::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailable",
                "the store is not available; try again",
            )
        }
    }
}

fn from_rejection(rejection: Rejection) -> Failure {
    let failure = |code| Failure::bad(code, rejection.message);
    match rejection.reason {
        Reason::Invalid => failure(INVALID_INPUT),
        Reason::InUse => failure("ResourceInUse"),
        Reason::LimitExceeded => failure("ResourceLimitExceeded"),
        Reason::TooManyTags => failure(TOO_MANY_TAGS),
        Reason::NamespaceNotFound => failure("NamespaceNotFound"),
        Reason::ServiceNotFound => failure("ServiceNotFound"),
        Reason::InstanceNotFound => failure("InstanceNotFound"),
        Reason::CustomHealthNotFound => failure("CustomHealthNotFound"),
        Reason::ServiceAttributesLimit => failure("ServiceAttributesLimitExceededException"),
        Reason::OperationNotFound => failure("OperationNotFound"),
        Reason::ResourceNotFound => failure("ResourceNotFoundException"),
        Reason::NamespaceExists {
            id,
            creator_request_id,
        } => failure("NamespaceAlreadyExists")
            .with("CreatorRequestId", creator_request_id)
            .with("NamespaceId", Some(id)),
        Reason::ServiceExists {
            id,
            arn,
            creator_request_id,
        } => failure("ServiceAlreadyExists")
            .with("CreatorRequestId", creator_request_id)
            .with("ServiceId", Some(id))
            .with("ServiceArn", Some(arn)),
        Reason::DuplicateRequest { operation_id } => {
            failure("DuplicateRequest").with("DuplicateOperationId", Some(operation_id))
        }
        Reason::NotFound | Reason::Conflict => {
            unreachable!("registry commands are not refused for reasons of the mesh")
        }
    }
}

pub(super) fn namespace_not_found(name: &str) -> Failure {
    Failure::bad(
        "NamespaceNotFound",
        format!("no namespace is called {name}"),
    )
}

pub(super) fn service_not_found(name: &str) -> Failure {
    Failure::bad("ServiceNotFound", format!("no service is called {name}"))
}

pub(super) fn instance_not_found(service: &str, id: &str) -> Failure {
    let message = format!("service {service} has no instance {id}");
    Failure::bad("InstanceNotFound", message)
}
