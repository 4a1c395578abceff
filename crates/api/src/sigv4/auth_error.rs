//! Why a request is not taken as from its caller, and how each protocol says so.

use crate::{error::ApiError, wire::Protocol};
use http::StatusCode;

/// Why a request is refused before its operation is read. The message is the one that callers get.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AuthError {
    /// It carries no signature.
    #[error("Missing Authentication Token")]
    Missing,
    /// The signature cannot be read, or is of a kind that is not verified here.
    #[error("{0}")]
    Incomplete(String),
    /// The signature is not one for this request, this service or this time.
    #[error("{0}")]
    Invalid(String),
    /// A presigned request came after its time.
    #[error("Request has expired.")]
    Expired,
    /// No such access key, or the session token is not the key's.
    #[error("The security token included in the request is invalid.")]
    UnknownKey,
    /// The key has expired.
    #[error("The security token included in the request is expired")]
    KeyExpired,
    /// The caller is known and may not do this.
    #[error("{0}")]
    Denied(String),
}

impl AuthError {
    /// A signature that is not what the key's secret makes of this request.
    pub(super) fn mismatch(canonical: &[u8], to_sign: &str) -> Self {
        // As AWS does: nothing in them that the caller did not send, and they show where the two differ.
        AuthError::Invalid(format!(
            "The request signature we calculated does not match the signature you provided. Check your AWS \
             Secret Access Key and signing method. Consult the service documentation for details.\n\n\
             The Canonical String for this request should have been\n'{}'\n\n\
             The String-to-Sign should have been\n'{to_sign}'\n",
            String::from_utf8_lossy(canonical)
        ))
    }

    /// The protocol's error for it (facts/aws-wire.md §2, "Error codes by failure").
    pub(crate) fn at(self, protocol: Protocol) -> ApiError {
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
