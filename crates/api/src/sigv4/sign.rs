//! Signs requests, with keys that are derived from a secret.

use super::{
    ALGORITHM, AuthError, TERMINATOR, canonical,
    claim::incomplete,
    date,
    hash::{hmac, sha256},
};
use data_encoding::HEXLOWER;
use http::{HeaderMap, HeaderValue, Method, Uri, header};
use std::fmt;

/// A secret access key or a session token. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// The signing key for one day, region and service.
    pub(super) fn derive(&self, date: &str, region: &str, service: &str) -> SigningKey {
        let key = hmac(format!("AWS4{}", self.0).as_bytes(), date.as_bytes());
        let key = hmac(key.as_ref(), region.as_bytes());
        let key = hmac(key.as_ref(), service.as_bytes());
        SigningKey(hmac(key.as_ref(), TERMINATOR.as_bytes()).as_ref().to_vec())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The signing key of a secret for one day, region and service.
pub(super) struct SigningKey(Vec<u8>);

impl SigningKey {
    pub(super) fn sign(&self, to_sign: &str) -> String {
        HEXLOWER.encode(hmac(&self.0, to_sign.as_bytes()).as_ref())
    }
}

pub(super) fn string_to_sign(timestamp: &str, scope: &str, canonical: &[u8]) -> String {
    format!("{ALGORITHM}\n{timestamp}\n{scope}\n{}", sha256(canonical))
}

/// The key, scope and time of a signature.
pub(crate) struct Signer<'a> {
    pub(crate) access_key: &'a str,
    pub(crate) secret: &'a Secret,
    pub(crate) token: Option<&'a str>,
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
    /// The current time in seconds since 1970.
    pub(crate) now: u64,
}

/// Signs a request: adds `X-Amz-Date`, `X-Amz-Security-Token` and `Authorization`. All its headers are signed;
/// it must have `Host`.
///
/// # Errors
/// [`AuthError::Incomplete`] if a key is not valid in a header.
pub(crate) fn authorize(
    signer: &Signer<'_>,
    method: &Method,
    uri: &Uri,
    headers: &mut HeaderMap,
    body: &[u8],
) -> Result<(), AuthError> {
    let timestamp = date::basic(signer.now);
    let value = |text: &str| {
        HeaderValue::from_str(text)
            .map_err(|_| incomplete("the credentials are no text for a header"))
    };
    headers.insert("x-amz-date", value(&timestamp)?);
    if let Some(token) = signer.token {
        headers.insert("x-amz-security-token", value(token)?);
    }
    let mut names: Vec<&str> = headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    let signed_headers = names.join(";");
    let canonical = canonical::request(method, uri, headers, &signed_headers, &sha256(body))?;
    let date = &timestamp[..8];
    let scope = format!("{date}/{}/{}/{TERMINATOR}", signer.region, signer.service);
    let key = signer.secret.derive(date, signer.region, signer.service);
    let signature = key.sign(&string_to_sign(&timestamp, &scope, &canonical));
    let authorization = format!(
        "{ALGORITHM} Credential={}/{scope}, SignedHeaders={signed_headers}, Signature={signature}",
        signer.access_key
    );
    headers.insert(header::AUTHORIZATION, value(&authorization)?);
    Ok(())
}
