//! An issuer of service account tokens, such as the API server of a cluster.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

/// What tokens name as their issuer. Nothing answers there: its keys are in a file.
pub(crate) const ISSUER: &str = "https://oidc.mesh.test/cluster1";

/// An issuer with one key.
pub(crate) struct Issuer {
    key: EcdsaKeyPair,
    key_id: &'static str,
}

impl Issuer {
    /// An issuer with a new key of this id.
    pub(crate) fn new(key_id: &'static str) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        Self { key, key_id }
    }

    /// Writes the key set.
    pub(crate) fn publish(&self, file: &Path) {
        let point = &self.key.public_key().as_ref()[1..];
        let key = json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.key_id,
            "x": BASE64URL_NOPAD.encode(&point[..32]), "y": BASE64URL_NOPAD.encode(&point[32..]),
        });
        std::fs::write(file, json!({ "keys": [key] }).to_string()).expect("writable");
    }

    /// A token as kubelet mounts it; `claims` are put over the usual ones.
    pub(crate) fn token(&self, subject: &str, audience: &str, claims: &Value) -> String {
        let now = now();
        let namespace = subject.split(':').nth(2).unwrap_or_default();
        let mut all = json!({
            "iss": ISSUER, "sub": subject, "aud": [audience],
            "iat": now, "nbf": now, "exp": now + 3600,
            "kubernetes.io": {
                "namespace": namespace, "pod": {"name": "pod-1", "uid": "uid-1"},
                "serviceaccount": {"name": "default", "uid": "uid-2"},
            },
        });
        for (name, value) in claims.as_object().expect("an object") {
            all[name] = value.clone();
        }
        let header = json!({"alg": "ES256", "kid": self.key_id});
        let encode = |part: &Value| BASE64URL_NOPAD.encode(part.to_string().as_bytes());
        let signed = format!("{}.{}", encode(&header), encode(&all));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes());
        let signature = BASE64URL_NOPAD.encode(signature.expect("signed").as_ref());
        format!("{signed}.{signature}")
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("after 1970").as_secs()
}
