//! The error of a call.
//!
//! It has two texts. `message` is sent to the caller: it names the invalid input and the remedy. `cause` is logged for
//! the operator: it may name files, addresses and peers.

use http::StatusCode;
use std::error::Error;

/// An error of any of the APIs, independent of the protocol.
#[derive(Debug)]
pub(crate) struct ApiError {
    /// The HTTP status.
    pub(crate) status: StatusCode,
    /// The AWS error code.
    pub(crate) code: &'static str,
    /// The message for the caller.
    pub(crate) message: String,
    /// Further members of the error's shape.
    pub(crate) details: Vec<(&'static str, String)>,
    /// The cause, for the log.
    pub(crate) cause: Option<Box<dyn Error + Send + Sync>>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            details: Vec::new(),
            cause: None,
        }
    }

    /// An error with status 400.
    pub(crate) fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// The error of a body that is not JSON, or has wrong JSON types.
    pub(crate) fn serialization(message: impl Into<String>) -> Self {
        Self::bad_request("SerializationException", message)
    }

    /// The error of a temporary failure of the server. `code` depends on the API.
    pub(crate) fn unavailable(
        code: &'static str,
        cause: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        let message = "the service cannot answer now; try again";
        Self {
            cause: Some(cause.into()),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message)
        }
    }

    /// Adds a member of the error's shape, if it has a value.
    pub(crate) fn with(mut self, member: &'static str, value: Option<String>) -> Self {
        if let Some(value) = value {
            self.details.push((member, value));
        }
        self
    }
}
