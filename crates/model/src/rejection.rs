//! Rejections of commands.

use crate::{FieldPath, Violation, Violations};
use std::fmt;

/// A rejected command; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Rejection {
    /// The class of the error; each API maps it to its own error code.
    pub reason: Reason,
    /// The invalid fields, as the caller spells them. Empty when no field is invalid.
    pub violations: Vec<Violation>,
    /// The error, the remedy if there is one, and the fields. Returned to the caller unchanged.
    pub message: String,
}

/// The classes of errors of both APIs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The input violates a bound or a rule between fields.
    Invalid,
    /// A mesh resource that the command names does not exist.
    NotFound,
    /// A mesh resource of this name exists, or a token was used for something else.
    Conflict,
    /// Another resource still refers to the resource to be deleted.
    InUse,
    /// A quota would be exceeded.
    LimitExceeded,
    /// More tags than a resource may have.
    TooManyTags,
    /// No such namespace.
    NamespaceNotFound,
    /// A namespace of this name exists: its id, and the token that created it.
    NamespaceExists {
        /// The id of the existing namespace.
        id: String,
        /// The token of the call that created it.
        creator_request_id: Option<String>,
    },
    /// No such service.
    ServiceNotFound,
    /// A service of this name exists in the namespace.
    ServiceExists {
        /// The id of the existing service.
        id: String,
        /// The ARN of the existing service.
        arn: String,
        /// The token of the call that created it.
        creator_request_id: Option<String>,
    },
    /// No such instance.
    InstanceNotFound,
    /// The service has no custom health check, so the health of its instances cannot be set.
    CustomHealthNotFound,
    /// The service would have more attributes than a service may have.
    ServiceAttributesLimit,
    /// No such operation.
    OperationNotFound,
    /// A token was already used for another request; the id of the operation of that request.
    DuplicateRequest {
        /// The operation of the first request.
        operation_id: String,
    },
    /// No such taggable resource.
    ResourceNotFound,
}

impl Rejection {
    /// A rejection without a field.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            violations: Vec::new(),
            message: message.into(),
        }
    }

    /// An invalid field: the message is prefixed with the field's path.
    pub fn invalid(field: impl Into<FieldPath>, message: impl fmt::Display) -> Self {
        Violations::from(Violation::new(field, message.to_string())).into()
    }

    /// The first invalid field.
    pub fn field(&self) -> Option<String> {
        let first = self.violations.first();
        first.map(|violation| violation.field.to_string())
    }
}

impl From<Violations> for Rejection {
    fn from(violations: Violations) -> Self {
        Self {
            reason: Reason::Invalid,
            message: violations.to_string(),
            violations: violations.0,
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
