//! A cache in a record for bytes that a reader derives from it.

use std::{fmt, sync::OnceLock};

/// Bytes that are derived from the record that contains them, at the first use.
///
/// Published records never change, so the bytes are never stale; a clone, which is about to be changed, starts without
/// them. They are not part of the record: neither compared nor stored.
#[derive(Default)]
pub struct Memo(OnceLock<Box<[u8]>>);

impl Memo {
    /// The bytes. All callers must derive the same bytes from one record.
    pub fn get_or_derive(&self, derive: impl FnOnce() -> Vec<u8>) -> &[u8] {
        self.0.get_or_init(|| derive().into_boxed_slice())
    }
}

impl Clone for Memo {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Memo {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memo")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_derived_once_and_not_for_clones() {
        let memo = Memo::default();
        assert_eq!(memo.get_or_derive(|| b"first".to_vec()), b"first");
        assert_eq!(memo.get_or_derive(|| unreachable!()), b"first");
        let clone = memo.clone();
        assert_eq!(clone.get_or_derive(|| b"second".to_vec()), b"second");
        assert_eq!(memo, clone);
    }
}
