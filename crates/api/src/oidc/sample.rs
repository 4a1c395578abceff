//! An issuer for tests: keys made here, and tokens by them.

use super::{KeySet, KeySource, Provider};
use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use std::sync::OnceLock;

pub(crate) const ISSUER: &str = "https://oidc.example/cluster1";
pub(crate) const SUBJECT: &str = "system:serviceaccount:appmesh-system:appmesh-controller";
pub(crate) const NOW: u64 = 1_700_000_000;

/// A key that signs.
pub(crate) enum Signer {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
}

impl Signer {
    pub(crate) fn rsa() -> &'static Self {
        static KEY: OnceLock<Signer> = OnceLock::new();
        KEY.get_or_init(|| Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key")))
    }

    pub(crate) fn p256() -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        Self::P256(key.expect("a key"))
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::P256(_) => "ES256",
        }
    }

    /// The public key, as in a set.
    pub(crate) fn jwk(&self, id: &str) -> Value {
        match self {
            Self::Rsa(key) => {
                // DER (RFC 8017, A.1.1): a modulus of 2048 bits begins behind nine bytes, the exponent is 65537.
                let n = &key.public_key().as_ref()[9..265];
                json!({
                    "kty": "RSA", "kid": id, "use": "sig", "alg": "RS256",
                    "n": BASE64URL_NOPAD.encode(n), "e": "AQAB",
                })
            }
            Self::P256(key) => {
                let point = &key.public_key().as_ref()[1..];
                json!({
                    "kty": "EC", "kid": id, "use": "sig", "crv": "P-256",
                    "x": BASE64URL_NOPAD.encode(&point[..32]),
                    "y": BASE64URL_NOPAD.encode(&point[32..]),
                })
            }
        }
    }

    /// A token with these claims, by the key of this id.
    pub(crate) fn token(&self, id: &str, claims: &Value) -> String {
        self.sign(
            &json!({"alg": self.algorithm(), "kid": id, "typ": "JWT"}),
            claims,
        )
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let encode = |part: &Value| BASE64URL_NOPAD.encode(part.to_string().as_bytes());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let random = SystemRandom::new();
        let signature = match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(
                    &RSA_PKCS1_SHA256,
                    &random,
                    signed.as_bytes(),
                    &mut signature,
                )
                .expect("signed");
                signature
            }
            Self::P256(key) => {
                let signature = key.sign(&random, signed.as_bytes()).expect("signed");
                signature.as_ref().to_vec()
            }
        };
        format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
    }
}

/// The text of a set.
pub(crate) fn key_set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

pub(crate) fn read(keys: &[Value]) -> KeySet {
    KeySet::read(key_set(keys).as_bytes()).expect("a set")
}

/// The claims of a service account's token for AWS.
pub(crate) fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": SUBJECT, "aud": ["sts.amazonaws.com"],
        "exp": NOW + 3600, "nbf": NOW - 10, "iat": NOW - 10,
    })
}

/// The issuer, with its keys in a file.
pub(crate) fn provider(file: &std::path::Path) -> Provider {
    Provider {
        issuer: ISSUER.to_owned(),
        keys: KeySource::File(file.to_owned()),
        authorities: None,
        token: None,
    }
}
