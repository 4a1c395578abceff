//! SHA-256, HMAC-SHA256 and comparison in constant time.

use aws_lc_rs::{constant_time, digest, hmac};
use data_encoding::HEXLOWER;

/// SHA-256, in lower-case hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// HMAC-SHA256.
pub(super) fn hmac(key: &[u8], message: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message)
}

/// Compares secrets in constant time.
pub(crate) fn is_equal(a: &str, b: &str) -> bool {
    constant_time::verify_slices_are_equal(a.as_bytes(), b.as_bytes()).is_ok()
}
