//! Internals for the fuzz targets (docs/decisions/0008). Not a stable interface.

use crate::oidc::{KeySet, Token};
use crate::sigv4::{AuthError, Claim, Secret, Signer, authorize, canonical, has_normal_path};
use bytes::Bytes;
use http::request::Parts;

/// A key and its credential scope.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// The access key id.
    pub id: &'a str,
    /// The secret access key.
    pub secret: &'a str,
    /// The session token, if the key has one.
    pub token: Option<&'a str>,
    /// The region of the credential scope.
    pub region: &'a str,
    /// The service of the credential scope.
    pub service: &'a str,
    /// The current time in seconds since 1970.
    pub now: u64,
}

impl Key<'_> {
    /// Signs a request as our client does.
    ///
    /// # Errors
    /// The key is not valid in a header.
    pub fn sign(&self, request: &mut Parts, body: &[u8]) -> Result<(), String> {
        let signer = Signer {
            access_key: self.id,
            secret: &Secret::new(self.secret),
            token: self.token,
            region: self.region,
            service: self.service,
            now: self.now,
        };
        let (method, uri) = (&request.method, &request.uri);
        authorize(&signer, method, uri, &mut request.headers, body)
            .map_err(|error| error.to_string())
    }

    /// Verifies a request in the same order as the server; returns the decoded body.
    ///
    /// # Errors
    /// The reason why the request is refused.
    pub fn verify(&self, request: &Parts, body: Bytes) -> Result<Bytes, String> {
        let verified = || -> Result<Bytes, AuthError> {
            let claim = Claim::read(request)?.ok_or(AuthError::Missing)?;
            let token = claim.token(request)?;
            if claim.access_key != self.id || token.as_deref() != self.token {
                return Err(AuthError::UnknownKey);
            }
            let candidate = claim.check(request, self.service, self.now)?;
            if !has_normal_path(&request.uri) {
                return Err(AuthError::Incomplete("not the normal path".into()));
            }
            let secret = Secret::new(self.secret);
            if candidate.declares_payload() {
                candidate.verify_head(request, &secret)?;
            }
            candidate.verify(request, body, &secret)
        };
        verified().map_err(|refusal| format!("{refusal:?}"))
    }
}

/// Whether a token is signed by a key of a set.
pub fn verifies_token(keys: &[u8], token: &str) -> bool {
    let (Ok(keys), Ok(token)) = (KeySet::read(keys), Token::read(token)) else {
        return false;
    };
    // As the server does before it asks the policies.
    let _ = (token.check_time(1_700_000_000), token.claims().pod());
    token.verify(&keys).is_ok()
}

/// The canonical request. `payload` is its last line.
///
/// # Errors
/// A signed header that is not in the request.
pub fn canonical_request(
    request: &Parts,
    signed_headers: &str,
    payload: &str,
) -> Result<Vec<u8>, String> {
    let (method, uri, headers) = (&request.method, &request.uri, &request.headers);
    canonical::request(method, uri, headers, signed_headers, payload)
        .map_err(|refusal| format!("{refusal:?}"))
}

/// Whether a request's path is normal, which the server requires.
pub fn is_served(request: &Parts) -> bool {
    has_normal_path(&request.uri)
}
