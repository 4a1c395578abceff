//! Why a request is not taken as from its caller, and how each protocol says so.

use crate::{error::ApiError, wire::Protocol};
use http::StatusCode;

/// Why a request is refused before its operation is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AuthError {
    /// It carries no signature.
    Missing,
    /// The signature cannot be read, or is one of a kind that is not verified here.
    Incomplete(String),
    /// The signature is not one for this request, this service or this time.
    Invalid(String),
    /// A presigned request came after its time.
    Expired,
    /// Nobody has this access key, or the session token is not the key's.
    UnknownKey,
    /// The key's time is over.
    KeyExpired,
    /// The caller is known and may not do this.
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
        use StatusCode as S;
        let is_query = protocol == Protocol::Query;
        // JSON 1.1 answers everything with 400.
        let forbidden = match protocol {
            Protocol::Json11 | Protocol::RpcV2Cbor => S::BAD_REQUEST,
            Protocol::RestJson | Protocol::Query | Protocol::Operator => S::FORBIDDEN,
        };
        let invalid_key = "The security token included in the request is invalid.";
        let expired_key = "The security token included in the request is expired";
        let (status, json, query, message) = match self {
            AuthError::Missing => (
                forbidden,
                "MissingAuthenticationTokenException",
                "MissingAuthenticationToken",
                "Missing Authentication Token".to_owned(),
            ),
            AuthError::Incomplete(why) => (
                S::BAD_REQUEST,
                "IncompleteSignatureException",
                "IncompleteSignature",
                why,
            ),
            AuthError::Invalid(why) => (
                forbidden,
                "InvalidSignatureException",
                "SignatureDoesNotMatch",
                why,
            ),
            AuthError::Expired => (
                S::BAD_REQUEST,
                "RequestExpiredException",
                "RequestExpired",
                "Request has expired.".to_owned(),
            ),
            AuthError::UnknownKey => (
                forbidden,
                "UnrecognizedClientException",
                "InvalidClientTokenId",
                invalid_key.to_owned(),
            ),
            AuthError::KeyExpired => (
                forbidden,
                "ExpiredTokenException",
                "ExpiredToken",
                expired_key.to_owned(),
            ),
            AuthError::Denied(why) => (forbidden, "AccessDeniedException", "AccessDenied", why),
        };
        ApiError::new(status, if is_query { query } else { json }, message)
    }
}
