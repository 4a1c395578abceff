//! SHA-256, as lower-case hexadecimal digits.

use aws_lc_rs::digest::{Context, SHA256};
use std::{
    fmt::Write as _,
    io::{self, Write},
};

/// The digest of some bytes.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let mut context = Context::new(&SHA256);
    context.update(bytes);
    digits(context)
}

/// Passes on what is written, and counts and digests it.
pub(crate) struct Digesting<W> {
    inner: W,
    context: Context,
    size: u64,
}

impl<W: Write> Digesting<W> {
    /// Nothing has been written yet.
    pub(crate) fn new(inner: W) -> Self {
        Self {
            inner,
            context: Context::new(&SHA256),
            size: 0,
        }
    }

    /// The writer, the digest and the number of bytes.
    pub(crate) fn finish(self) -> (W, String, u64) {
        (self.inner, digits(self.context), self.size)
    }
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.context.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn digits(context: Context) -> String {
    let digest = context.finish();
    digest
        .as_ref()
        .iter()
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_passed_on_counted_and_digested() {
        let mut digesting = Digesting::new(Vec::new());
        digesting.write_all(b"ab").expect("a vector takes all");
        digesting.write_all(b"c").expect("a vector takes all");
        let (bytes, digest, size) = digesting.finish();
        assert_eq!((bytes.as_slice(), size), (b"abc".as_slice(), 3));
        assert_eq!(digest, sha256(b"abc"));
        // FIPS 180-2, appendix B.1.
        assert!(digest.starts_with("ba7816bf8f01cfea"));
    }
}
