//! Cached values of header fields that nearly every message has, to avoid an allocation for each.

use std::cell::Cell;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderValue;

const ID_LENGTH: usize = 36;
const BATCH: usize = 64;

/// Request ids (UUID version 4), generated in batches in one buffer.
#[derive(Default)]
pub(crate) struct RequestIds(Cell<Bytes>);

impl RequestIds {
    pub(crate) fn next(&self) -> HeaderValue {
        let mut batch = self.0.take();
        if batch.len() < ID_LENGTH {
            let mut buffer = BytesMut::with_capacity(ID_LENGTH * BATCH);
            for _ in 0..BATCH {
                write_uuid(&mut buffer);
            }
            batch = buffer.freeze();
        }
        let id = batch.split_to(ID_LENGTH);
        self.0.set(batch);
        HeaderValue::from_maybe_shared(id).unwrap_or(HeaderValue::from_static("-"))
    }
}

/// A random UUID (RFC 9562 section 5.4). It is predictable, so it must not be used as a secret.
fn write_uuid(out: &mut BytesMut) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    const VERSION: u128 = 0xf << 76;
    const VARIANT: u128 = 0x3 << 62;
    let id = fastrand::u128(..) & !(VERSION | VARIANT) | 0x4 << 76 | 0x2 << 62;
    for (index, byte) in id.to_be_bytes().into_iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.put_u8(b'-');
        }
        out.put_u8(DIGITS[usize::from(byte >> 4)]);
        out.put_u8(DIGITS[usize::from(byte & 15)]);
    }
}

/// Durations as whole milliseconds; short ones are precomputed.
pub(crate) struct Milliseconds(Vec<HeaderValue>);

impl Default for Milliseconds {
    fn default() -> Self {
        Self((0..256u32).map(HeaderValue::from).collect())
    }
}

impl Milliseconds {
    pub(crate) fn get(&self, duration: Duration) -> HeaderValue {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let known = usize::try_from(millis).ok().and_then(|at| self.0.get(at));
        known.cloned().unwrap_or_else(|| HeaderValue::from(millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn request_ids_are_distinct_version_4_uuids() {
        let ids = RequestIds::default();
        let seen: HashSet<_> = (0..1000)
            .map(|_| ids.next().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(seen.len(), 1000);
        for id in seen {
            assert_eq!(id.len(), 36);
            assert_eq!(&id[14..15], "4");
            assert!("89ab".contains(&id[19..20]), "{id}");
        }
    }
}
