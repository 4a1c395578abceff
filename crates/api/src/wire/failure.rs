//! A call that is answered with an error.

use http::StatusCode;

/// What the caller is told. The door wraps it into its own envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The HTTP status.
    pub(crate) status: StatusCode,
    /// The AWS error code.
    pub(crate) code: &'static str,
    /// Shown to the caller as it is.
    pub(crate) message: String,
    /// Further members of the error's shape.
    pub(crate) details: Vec<(&'static str, String)>,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            details: Vec::new(),
        }
    }

    /// A refusal with status 400, which is most of them.
    pub(crate) fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// A body that is not JSON, or JSON of another type than the operation's input.
    pub(crate) fn serialization(message: impl Into<String>) -> Self {
        Self::bad("SerializationException", message)
    }

    /// Adds a member of the error's shape, when its value is known.
    pub(crate) fn with(mut self, member: &'static str, value: Option<String>) -> Self {
        if let Some(value) = value {
            self.details.push((member, value));
        }
        self
    }
}
