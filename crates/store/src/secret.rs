//! The secret of a store, from which its replicas derive the keys that they share.

use std::fmt;

/// 32 random bytes, made when the store is first opened. Who uses them derives a key of its own for each purpose.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    /// A new secret.
    ///
    /// # Panics
    /// The system has no random numbers.
    pub(crate) fn random() -> Self {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).expect("the system has random numbers");
        Self(bytes)
    }

    /// The secret as it is stored; `None` when it has another length.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes themselves.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

/// It is never shown.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use crate::Store;

    #[tokio::test]
    async fn a_store_keeps_its_secret_and_no_other_has_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(directory.path()).expect("opened");
        let secret = store.secret().clone();
        store.close().await;
        let again = Store::open(directory.path()).expect("opened again");
        assert_eq!(*again.secret(), secret);
        assert_ne!(*Store::memory().secret(), secret);
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }
}
