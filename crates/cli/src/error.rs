//! Errors of commands.

use std::io;

/// The result of a command.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The reason why a command failed. The message includes the next step if there is one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An argument of the command line is invalid.
    #[error("{0}")]
    Usage(String),
    /// A named object does not exist, or the name is ambiguous.
    #[error("{0}")]
    Lookup(String),
    /// Documents are invalid, or a change was refused; the message lists everything.
    #[error("{0}")]
    Rejected(String),
    /// No server answers.
    #[error("{0}")]
    Unreachable(String),
    /// A running `tombolo up` refused, or does not answer.
    #[error(transparent)]
    Local(#[from] tombolo_local::control_socket::Error),
    /// A control plane refused, or does not answer.
    #[error(transparent)]
    Api(#[from] tombolo_api::client::Error),
    /// The operator API of a control plane refused, or does not answer.
    #[error(transparent)]
    Operator(#[from] tombolo_operator::Error),
    /// The result cannot be printed.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    /// An older manifest cannot be rewritten.
    #[error(transparent)]
    Convert(#[from] tombolo_kube::v1beta1::ConvertError),
    /// An object cannot be written as JSON.
    #[error("cannot write JSON")]
    Json(#[from] serde_json::Error),
    /// Threads cannot be started.
    #[error("cannot start threads")]
    Threads(#[source] io::Error),
    /// Signals cannot be caught.
    #[error("cannot catch signals")]
    Signals(#[source] io::Error),
}

impl Error {
    /// An invalid argument.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    /// The error of a call that failed before any change.
    pub(crate) fn before_any_change(self) -> Self {
        match self {
            Self::Api(error) => Self::Rejected(format!("nothing was changed: {error}")),
            other => other,
        }
    }
}
