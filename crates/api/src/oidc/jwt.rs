//! JSON Web Tokens (RFC 7519) signed with RS256 or ES256.

use super::jwks::{KeySet, PublicKey};
use aws_lc_rs::signature;
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, de::DeserializeOwned};

/// The longest token in bytes, as at AWS.
const MAX_TOKEN: usize = 20_000;
/// Seconds that the issuer's clock may differ from ours.
const SKEW: u64 = 60;

/// A token that was read. Nothing it says is true before [`Token::verify`] and [`Token::check_time`].
#[derive(Debug)]
pub(crate) struct Token<'a> {
    algorithm: Algorithm,
    key_id: Option<String>,
    claims: Claims,
    /// Header and claims as they are signed.
    signed: &'a str,
    signature: Vec<u8>,
}

/// Why a token is not believed. The message is for the bearer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("The ID Token provided is not a valid JWT: {0}")]
    Malformed(&'static str),
    #[error("The ID Token is signed with {0:?}; only RS256 and ES256 are verified")]
    Algorithm(String),
    #[error("Missing a required claim: {0}")]
    Missing(&'static str),
    #[error("Couldn't find the key of the ID Token among those of its issuer")]
    UnknownKey,
    #[error("The signature of the ID Token is wrong")]
    Signature,
    #[error("Token expired: current date/time {now} must be before the expiration date/time {end}")]
    Expired { now: u64, end: u64 },
    #[error("Token not yet valid: current date/time {now} must not be before {begin}")]
    NotYet { now: u64, begin: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Rs256,
    Es256,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that a reader must understand.
    crit: Option<serde_json::Value>,
}

/// What a token says.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(crate) struct Claims {
    #[serde(rename = "iss", default)]
    pub(crate) issuer: String,
    #[serde(rename = "sub", default)]
    pub(crate) subject: String,
    #[serde(rename = "aud", default)]
    pub(crate) audiences: Audiences,
    /// Seconds since 1970; whole in practice, a number by RFC 7519.
    #[serde(rename = "exp")]
    expires: Option<f64>,
    #[serde(rename = "nbf")]
    not_before: Option<f64>,
    #[serde(rename = "iat")]
    issued_at: Option<f64>,
    #[serde(rename = "kubernetes.io", default)]
    kubernetes: Option<Kubernetes>,
}

/// One audience or several.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Audiences {
    One(String),
    Several(Vec<String>),
}

/// What Kubernetes adds to the tokens of service accounts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
struct Kubernetes {
    #[serde(default)]
    namespace: String,
    pod: Option<Named>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Named {
    name: String,
    uid: String,
}

/// The pod that a token was made for; it ends to be valid at the API server when the pod is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

impl Default for Audiences {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl Audiences {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        let all = match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(several) => several.as_slice(),
        };
        all.iter().map(String::as_str)
    }
}

impl Claims {
    /// When the token ends, in seconds since 1970.
    pub(crate) fn expires(&self) -> u64 {
        seconds(self.expires.unwrap_or_default())
    }

    /// The pod that the token is bound to, if it is bound to one.
    pub(crate) fn pod(&self) -> Option<Pod> {
        let kubernetes = self.kubernetes.as_ref()?;
        let pod = kubernetes.pod.as_ref()?;
        Some(Pod {
            namespace: kubernetes.namespace.clone(),
            name: pod.name.clone(),
            uid: pod.uid.clone(),
        })
    }
}

impl<'a> Token<'a> {
    /// Reads a token and checks that it says what every token must.
    pub(crate) fn read(text: &'a str) -> Result<Self, TokenError> {
        if text.len() > MAX_TOKEN {
            return Err(TokenError::Malformed("it is longer than 20000 bytes"));
        }
        let malformed = TokenError::Malformed("it must have three parts between dots");
        let (signed, signature) = text.rsplit_once('.').ok_or(malformed.clone())?;
        let (header, claims) = signed.split_once('.').ok_or(malformed.clone())?;
        if claims.contains('.') {
            return Err(malformed);
        }
        let header: Header = part(header)?;
        let algorithm = match header.alg.as_str() {
            "RS256" => Algorithm::Rs256,
            "ES256" => Algorithm::Es256,
            _ => return Err(TokenError::Algorithm(header.alg.chars().take(20).collect())),
        };
        if header.crit.is_some() {
            return Err(TokenError::Malformed("its extensions are not known here"));
        }
        let claims: Claims = part(claims)?;
        for (name, is_missing) in [
            ("iss", claims.issuer.is_empty()),
            ("sub", claims.subject.is_empty()),
            ("aud", claims.audiences.iter().next().is_none()),
            ("exp", claims.expires.is_none()),
        ] {
            if is_missing {
                return Err(TokenError::Missing(name));
            }
        }
        let signature = BASE64URL_NOPAD.decode(signature.as_bytes());
        Ok(Self {
            algorithm,
            key_id: header.kid,
            claims,
            signed,
            signature: signature
                .map_err(|_| TokenError::Malformed("its signature is not base64url"))?,
        })
    }

    /// What it says.
    pub(crate) fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Checks the signature.
    pub(crate) fn verify(&self, keys: &KeySet) -> Result<(), TokenError> {
        let mut fitting = keys.of_id(self.key_id.as_deref()).filter(|key| {
            matches!(
                (self.algorithm, key),
                (Algorithm::Rs256, PublicKey::Rsa { .. }) | (Algorithm::Es256, PublicKey::P256(_))
            )
        });
        let Some(first) = fitting.next() else {
            return Err(TokenError::UnknownKey);
        };
        let mut all = std::iter::once(first).chain(fitting);
        match all.any(|key| self.is_signed_by(key)) {
            true => Ok(()),
            false => Err(TokenError::Signature),
        }
    }

    fn is_signed_by(&self, key: &PublicKey) -> bool {
        let message = self.signed.as_bytes();
        let verified = match key {
            PublicKey::Rsa { n, e } => signature::RsaPublicKeyComponents { n, e }.verify(
                &signature::RSA_PKCS1_2048_8192_SHA256,
                message,
                &self.signature,
            ),
            PublicKey::P256(point) => {
                let key =
                    signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point);
                key.verify(message, &self.signature)
            }
        };
        verified.is_ok()
    }

    /// Checks that the token is valid now; `now` is in seconds since 1970.
    pub(crate) fn check_time(&self, now: u64) -> Result<(), TokenError> {
        let end = self.claims.expires();
        if now >= end.saturating_add(SKEW) {
            return Err(TokenError::Expired { now, end });
        }
        let begins = [self.claims.not_before, self.claims.issued_at];
        for begin in begins.into_iter().flatten().map(seconds) {
            if begin > now.saturating_add(SKEW) {
                return Err(TokenError::NotYet { now, begin });
            }
        }
        Ok(())
    }
}

/// Numbers that are none count as 0: such a token is expired.
fn seconds(number: f64) -> u64 {
    // Conversions saturate; NaN becomes 0.
    number.floor() as u64
}

fn part<T: DeserializeOwned>(text: &str) -> Result<T, TokenError> {
    let bytes = BASE64URL_NOPAD
        .decode(text.as_bytes())
        .map_err(|_| TokenError::Malformed("its parts are not base64url"))?;
    serde_json::from_slice(&bytes)
        .map_err(|_| TokenError::Malformed("its parts are not the JSON of a token"))
}

#[cfg(test)]
mod tests;
