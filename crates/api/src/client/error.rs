//! Errors of calls.

use http::{HeaderMap, StatusCode};
use serde_json::Value;

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The server refused the call, or failed to execute it.
    #[error("{code}: {message}{}", credentials_hint(code))]
    Service {
        /// The HTTP status.
        status: u16,
        /// The AWS error code.
        code: String,
        /// The server's explanation.
        message: String,
        /// The id of the request in the server's log (`x-amzn-requestid`).
        request_id: Option<String>,
        /// The errors in the lines of an import; empty for every other call.
        problems: Vec<String>,
    },
    /// There was no answer, also after retries.
    #[error("{0}")]
    Transport(String),
    /// The answer is not valid.
    #[error("the server's answer is not understood: {0}")]
    Protocol(String),
    /// The endpoint is not valid.
    #[error("{0}")]
    Endpoint(String),
    /// The credentials are not valid in a header.
    #[error("{0}")]
    Credentials(String),
}

impl From<serde_json::Error> for Error {
    /// An answer that is not the operation's output.
    fn from(error: serde_json::Error) -> Self {
        Self::Protocol(error.to_string())
    }
}

/// The origin of the credentials, for the messages of errors about them.
fn credentials_hint(code: &str) -> &'static str {
    match code {
        "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "IncompleteSignatureException"
        | "MissingAuthenticationTokenException"
        | "ExpiredTokenException" => {
            " (the credentials are those in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the region is that of \
             --region or in AWS_REGION)"
        }
        _ => "",
    }
}

impl Error {
    /// The AWS error code, if the server answered.
    pub fn code(&self) -> Option<&str> {
        match self {
            Error::Service { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Whether the target of the call does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(
            self.code(),
            Some(
                "NotFoundException"
                    | "ResourceNotFoundException"
                    | "NamespaceNotFound"
                    | "ServiceNotFound"
                    | "InstanceNotFound"
                    | "OperationNotFound"
            )
        )
    }

    /// Whether the name is already used.
    pub fn is_conflict(&self) -> bool {
        matches!(
            self.code(),
            Some("ConflictException" | "NamespaceAlreadyExists" | "ServiceAlreadyExists")
        )
    }

    /// Whether the resource to delete is still in use.
    pub fn is_in_use(&self) -> bool {
        matches!(
            self.code(),
            Some("ResourceInUseException" | "ResourceInUse")
        )
    }

    /// Whether the caller may not make the call.
    pub fn is_denied(&self) -> bool {
        matches!(
            self.code(),
            Some("AccessDeniedException" | "ForbiddenException" | "AccessDenied")
        )
    }

    /// Parses an error answer: the code is in a header or in the body, the message is `message` or `Message`.
    pub(super) fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        let header = |name| {
            let value = headers.get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        let member = |name| json.get(name)?.as_str().map(str::to_owned);
        let code = header("x-amzn-errortype")
            .or_else(|| member("__type"))
            .or_else(|| member("code"))
            .unwrap_or_else(|| status.as_u16().to_string());
        // The code may have a namespace before it (`#`) and a URL after it (`:`).
        let code = code.rsplit('#').next().unwrap_or_default();
        let code = code.split(':').next().unwrap_or_default();
        Error::Service {
            status: status.as_u16(),
            code: code.to_owned(),
            message: member("message")
                .or_else(|| member("Message"))
                .unwrap_or_else(|| String::from_utf8_lossy(body).into_owned()),
            request_id: header("x-amzn-requestid"),
            problems: serde_json::from_value(json["problems"].clone()).unwrap_or_default(),
        }
    }

    /// Whether a retry may succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Transport(_) => true,
            Error::Service { status, code, .. } => {
                matches!(status, 429 | 500 | 502 | 503 | 504)
                    || matches!(
                        code.as_str(),
                        "ThrottlingException" | "RequestLimitExceeded"
                    )
            }
            Error::Protocol(_) | Error::Endpoint(_) | Error::Credentials(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_found_in_either_place_without_decoration() {
        let mut headers = HeaderMap::new();
        let body = br#"{"__type":"com.amazonaws#NamespaceNotFound","Message":"gone"}"#;
        let error = Error::read(StatusCode::BAD_REQUEST, &headers, body);
        assert!(error.is_not_found());
        assert_eq!(error.to_string(), "NamespaceNotFound: gone");
        let decorated = "ConflictException:http://internal.amazon.com/";
        headers.insert("x-amzn-errortype", decorated.parse().expect("legal"));
        assert!(Error::read(StatusCode::CONFLICT, &headers, b"").is_conflict());
    }

    #[test]
    fn an_answer_of_another_server_is_kept_as_it_is() {
        let error = Error::read(StatusCode::BAD_GATEWAY, &HeaderMap::new(), b"<html>");
        assert_eq!(error.to_string(), "502: <html>");
        assert!(error.is_transient());
    }
}
