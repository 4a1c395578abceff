//! Room for what a reader derives from a record and wants to derive only once.

use std::{fmt, sync::OnceLock};

/// Bytes that follow from the record that holds them: made at the first use, kept as long as the record.
///
/// Published records never change, so these are never stale; a clone, which is about to be changed, begins
/// without them. They are no part of the record: neither compared nor stored.
#[derive(Default)]
pub struct Memo(OnceLock<Box<[u8]>>);

impl Memo {
    /// The bytes. All callers of one record must derive the same.
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
