//! A call that is answered with an error.
//!
//! Caller and operator get two texts. `message` goes out as it is: it says which part of the input is wrong, and
//! what to do. `cause` is for the log alone: it names files, addresses and peers, which help an operator and not
//! a caller.

use http::StatusCode;
use std::error::Error;

/// An error of any of the APIs. The protocol puts it into its own envelope.
#[derive(Debug)]
pub(crate) struct ApiError {
    /// The HTTP status.
    pub(crate) status: StatusCode,
    /// The AWS error code.
    pub(crate) code: &'static str,
    /// For the caller.
    pub(crate) message: String,
    /// Further members of the error's shape.
    pub(crate) details: Vec<(&'static str, String)>,
    /// For the log.
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

    /// A body that is not JSON, or JSON of another type than the operation's input.
    pub(crate) fn serialization(message: impl Into<String>) -> Self {
        Self::bad_request("SerializationException", message)
    }

    /// A failure of the server that may pass. `code` is the API's own.
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

    /// Adds a member of the error's shape, when its value is known.
    pub(crate) fn with(mut self, member: &'static str, value: Option<String>) -> Self {
        if let Some(value) = value {
            self.details.push((member, value));
        }
        self
    }
}
