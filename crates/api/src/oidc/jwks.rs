//! Sets of public keys (RFC 7517), as issuers publish them.

use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;

/// Keys of one issuer beyond this number are not read.
const MAX_KEYS: usize = 100;

/// The public keys of an issuer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeySet(Vec<(Option<String>, PublicKey)>);

/// A key of a kind that is verified here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PublicKey {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// The uncompressed point.
    P256(Vec<u8>),
}

/// Why a text is no set of keys.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeySetError {
    #[error("not a JSON Web Key Set")]
    Json(#[source] serde_json::Error),
    #[error("no key for RS256 or ES256 is in it")]
    Empty,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Entry {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a set; keys of other kinds and uses are passed over.
    pub(crate) fn read(text: &[u8]) -> Result<Self, KeySetError> {
        let document: Document = serde_json::from_slice(text).map_err(KeySetError::Json)?;
        let entries = document.keys.into_iter().take(MAX_KEYS);
        let keys: Vec<_> = entries
            .filter_map(|entry| {
                let entry: Entry = serde_json::from_value(entry).ok()?;
                Some((entry.kid.clone(), entry.public_key()?))
            })
            .collect();
        match keys.is_empty() {
            true => Err(KeySetError::Empty),
            false => Ok(Self(keys)),
        }
    }

    /// The keys of an id; all keys where a token names none.
    pub(super) fn of_id(&self, id: Option<&str>) -> impl Iterator<Item = &PublicKey> {
        let is_meant = move |known: &Option<String>| id.is_none() || known.as_deref() == id;
        let keys = self.0.iter();
        keys.filter_map(move |(known, key)| is_meant(known).then_some(key))
    }
}

impl Entry {
    fn public_key(&self) -> Option<PublicKey> {
        if self.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return None;
        }
        let decode =
            |text: &Option<String>| BASE64URL_NOPAD.decode(text.as_deref()?.as_bytes()).ok();
        let is_for = |wanted: &str| self.alg.as_deref().is_none_or(|alg| alg == wanted);
        match self.kty.as_str() {
            "RSA" if is_for("RS256") => Some(PublicKey::Rsa {
                n: decode(&self.n)?,
                e: decode(&self.e)?,
            }),
            "EC" if is_for("ES256") && self.crv.as_deref() == Some("P-256") => {
                let (x, y) = (decode(&self.x)?, decode(&self.y)?);
                (x.len() == 32 && y.len() == 32)
                    .then(|| PublicKey::P256([&[4], x.as_slice(), y.as_slice()].concat()))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_other_kinds_are_passed_over() {
        let set = br#"{"keys": [
            {"kty": "RSA", "kid": "a", "n": "AQAB", "e": "AQAB"},
            {"kty": "RSA", "kid": "enc", "use": "enc", "n": "AQAB", "e": "AQAB"},
            {"kty": "RSA", "kid": "ps", "alg": "PS256", "n": "AQAB", "e": "AQAB"},
            {"kty": "EC", "kid": "big", "crv": "P-384", "x": "AQ", "y": "AQ"},
            {"kty": "EC", "kid": "short", "crv": "P-256", "x": "AQ", "y": "AQ"},
            {"kty": "oct", "kid": "secret", "k": "AQAB"}, 7
        ]}"#;
        let set = KeySet::read(set).expect("one of them is for us");
        assert_eq!(set.0.len(), 1);
        assert_eq!(set.of_id(Some("a")).count(), 1);
        assert_eq!(set.of_id(Some("b")).count(), 0);
        assert_eq!(set.of_id(None).count(), 1);
    }

    #[test]
    fn a_text_without_keys_is_no_set() {
        for text in ["", "{}", "[]", r#"{"keys": []}"#, r#"{"keys": {}}"#] {
            assert!(KeySet::read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
