//! Why a call failed.

use http::{HeaderMap, StatusCode};
use serde_json::Value;

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The server refused the call, or could not carry it out.
    #[error("{code}: {message}{}", credentials_hint(code))]
    Service {
        /// The HTTP status.
        status: u16,
        /// The AWS error code.
        code: String,
        /// The server's explanation.
        message: String,
        /// `x-amzn-requestid`: what the server's log calls this request.
        request_id: Option<String>,
        /// Lines of an import that are wrong; empty for every other call.
        problems: Vec<String>,
    },
    /// There was no answer, also after trying again.
    #[error("{0}")]
    Transport(String),
    /// The answer is not one that this client understands.
    #[error("the server's answer is not understood: {0}")]
    Protocol(String),
    /// The endpoint cannot be used.
    #[error("{0}")]
    Endpoint(String),
    /// Nothing can be signed with the keys.
    #[error("{0}")]
    Credentials(String),
}

impl From<serde_json::Error> for Error {
    /// An answer that is not what the operation answers.
    fn from(error: serde_json::Error) -> Self {
        Self::Protocol(error.to_string())
    }
}

/// Where the credentials of a call come from, for the errors that are about them.
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
    /// The AWS error code of a refusal.
    pub fn code(&self) -> Option<&str> {
        match self {
            Error::Service { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Whether what the call was about does not exist.
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

    /// Whether something of this name already exists.
    pub fn is_conflict(&self) -> bool {
        matches!(
            self.code(),
            Some("ConflictException" | "NamespaceAlreadyExists" | "ServiceAlreadyExists")
        )
    }

    /// Whether something else still needs what should go.
    pub fn is_in_use(&self) -> bool {
        matches!(
            self.code(),
            Some("ResourceInUseException" | "ResourceInUse")
        )
    }

    /// Reads a refusal: the code is in a header or in the body, the message in either spelling.
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
        // Namespaces before and addresses after the code are decoration.
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

    /// Whether the same call may succeed later.
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
