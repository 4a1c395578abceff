//! Errors of authentication and authorization.

use crate::{error::ApiError, wire::Protocol};
use http::StatusCode;

/// The reason why a request is refused. The message is sent to the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AuthError {
    /// The request has no signature.
    #[error("Missing Authentication Token")]
    Missing,
    /// The signature is malformed, or of an unsupported kind.
    #[error("{0}")]
    Incomplete(String),
    /// The signature does not match this request, this service or this time.
    #[error("{0}")]
    Invalid(String),
    /// A presigned request has expired.
    #[error("Request has expired.")]
    Expired,
    /// There is no such access key, or the session token is not the key's.
    #[error("The security token included in the request is invalid.")]
    UnknownKey,
    /// The key has expired.
    #[error("The security token included in the request is expired")]
    KeyExpired,
    /// The caller is authenticated, but no policy allows the call.
    #[error("{0}")]
    Denied(String),
}

impl AuthError {
    /// The error of a signature that does not match the request.
    pub(super) fn mismatch(canonical: &[u8], to_sign: &str) -> Self {
        // As in AWS, the message shows both texts for comparison. They contain only what the caller sent.
        AuthError::Invalid(format!(
            "The request signature we calculated does not match the signature you provided. Check your AWS \
             Secret Access Key and signing method. Consult the service documentation for details.\n\n\
             The Canonical String for this request should have been\n'{}'\n\n\
             The String-to-Sign should have been\n'{to_sign}'\n",
            String::from_utf8_lossy(canonical)
        ))
    }

    /// The error in a protocol (facts/aws-wire.md §2, "Error codes by failure").
    pub(crate) fn into_api_error(self, protocol: Protocol) -> ApiError {
        let (json, query) = match self {
            Self::Missing => (
                "MissingAuthenticationTokenException",
                "MissingAuthenticationToken",
            ),
            Self::Incomplete(_) => ("IncompleteSignatureException", "IncompleteSignature"),
            Self::Invalid(_) => ("InvalidSignatureException", "SignatureDoesNotMatch"),
            Self::Expired => ("RequestExpiredException", "RequestExpired"),
            Self::UnknownKey => ("UnrecognizedClientException", "InvalidClientTokenId"),
            Self::KeyExpired => ("ExpiredTokenException", "ExpiredToken"),
            Self::Denied(_) => ("AccessDeniedException", "AccessDenied"),
        };
        let status = match (&self, protocol) {
            // JSON 1.1 answers everything with 400.
            (Self::Incomplete(_) | Self::Expired, _)
            | (_, Protocol::Json11 | Protocol::RpcV2Cbor) => StatusCode::BAD_REQUEST,
            (_, Protocol::RestJson | Protocol::Query | Protocol::Operator) => StatusCode::FORBIDDEN,
        };
        let is_query = protocol == Protocol::Query;
        ApiError::new(
            status,
            if is_query { query } else { json },
            self.to_string(),
        )
    }
}
