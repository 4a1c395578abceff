//! Keys of sessions, which no replica stores: the session token carries the session, sealed with a key that all
//! replicas derive from the secret of their store, and the secret access key is derived from the access key id.

use crate::sigv4::{Secret, sha256};
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    hmac, rand,
};
use data_encoding::{BASE32_NOPAD, BASE64, BASE64URL_NOPAD};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Session tokens longer than this are not opened.
const MAX_TOKEN: usize = 4096;

/// Makes and opens keys of sessions. Clones share what they are derived from.
#[derive(Clone)]
pub(crate) struct SessionKeys(Arc<Keys>);

struct Keys {
    seal: RandomizedNonceKey,
    secrets: hmac::Key,
}

/// A session, as its token says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session {
    /// Twelve digits.
    pub(super) account: String,
    /// The name of the role.
    pub(super) role: String,
    /// The name that its caller has chosen.
    pub(super) name: String,
    pub(super) access_key: String,
    /// Seconds since 1970; the keys are valid before.
    pub(super) expires: u64,
}

/// Keys that were made for a caller.
pub(crate) struct Issued {
    pub(crate) access_key: String,
    pub(crate) secret: Secret,
    pub(crate) token: String,
}

impl SessionKeys {
    /// The keys of all who have this secret.
    ///
    /// # Panics
    /// Never: the derived keys have the lengths that the algorithms take.
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let derive = |purpose: &[u8]| hmac::sign(&root, purpose);
        let seal = derive(b"tombolo: session tokens");
        let secrets = derive(b"tombolo: secrets of sessions");
        Self(Arc::new(Keys {
            seal: RandomizedNonceKey::new(&AES_256_GCM, seal.as_ref())
                .expect("HMAC-SHA256 makes 32 bytes"),
            secrets: hmac::Key::new(hmac::HMAC_SHA256, secrets.as_ref()),
        }))
    }

    /// New keys for a session that ends at `expires`, in seconds since 1970.
    ///
    /// # Panics
    /// The system has no random numbers.
    pub(crate) fn issue(&self, account: &str, role: &str, name: &str, expires: u64) -> Issued {
        let mut random = [0; 10];
        rand::fill(&mut random).expect("the system has random numbers");
        let access_key = format!("ASIA{}", BASE32_NOPAD.encode(&random));
        let session = Session {
            account: account.to_owned(),
            role: role.to_owned(),
            name: name.to_owned(),
            access_key: access_key.clone(),
            expires,
        };
        let mut sealed = serde_json::to_vec(&session).expect("text and numbers");
        let nonce = (self.0.seal)
            .seal_in_place_append_tag(Aad::empty(), &mut sealed)
            .expect("a session is far below the limit of the algorithm");
        let token = [nonce.as_ref().as_slice(), &sealed].concat();
        Issued {
            secret: self.secret(&access_key),
            access_key,
            token: BASE64URL_NOPAD.encode(&token),
        }
    }

    /// The session of a token that one of us made; `None` for all others.
    pub(super) fn open(&self, token: &str) -> Option<Session> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let mut bytes = BASE64URL_NOPAD.decode(token.as_bytes()).ok()?;
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = self
            .0
            .seal
            .open_in_place(nonce, Aad::empty(), sealed)
            .ok()?;
        serde_json::from_slice(opened).ok()
    }

    /// The secret access key that belongs to the access key id of a session.
    pub(super) fn secret(&self, access_key: &str) -> Secret {
        let tag = hmac::sign(&self.0.secrets, access_key.as_bytes());
        Secret::new(BASE64.encode(&tag.as_ref()[..30]))
    }
}

/// The ARN of a session: of a role's path only the last part is in it.
pub(crate) fn arn(account: &str, role: &str, session: &str) -> String {
    let role = role.rsplit('/').next().unwrap_or(role);
    format!("arn:aws:sts::{account}:assumed-role/{role}/{session}")
}

/// The id of a session: that of the role, which is made from its ARN, and the name.
pub(crate) fn user_id(account: &str, role: &str, session: &str) -> String {
    let arn = format!("arn:aws:iam::{account}:role/{role}");
    let id = sha256(arn.as_bytes())[..17].to_ascii_uppercase();
    format!("AROA{id}:{session}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_where_the_secret_is_the_same() {
        let (one, replica) = (SessionKeys::new(&[7; 32]), SessionKeys::new(&[7; 32]));
        let issued = one.issue("111122223333", "r", "s", 99);
        let session = replica.open(&issued.token).expect("of the same store");
        assert_eq!((session.role.as_str(), session.expires), ("r", 99));
        assert_eq!(session.access_key, issued.access_key);
        assert_eq!(replica.secret(&issued.access_key), issued.secret);
        assert!(SessionKeys::new(&[8; 32]).open(&issued.token).is_none());
        for broken in ["", "x", &issued.token[1..], &issued.token[..40]] {
            assert!(one.open(broken).is_none(), "{broken}");
        }
        let other = one.issue("111122223333", "r", "s", 99);
        assert_ne!(other.access_key, issued.access_key);
        assert_eq!(issued.access_key.len(), 20);
        assert_eq!(issued.secret.expose().len(), 40);
    }
}
