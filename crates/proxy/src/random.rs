//! A fast pseudo-random generator for balancing, jitter and request identifiers. Not for secrets.

use std::cell::Cell;
use std::hash::{BuildHasher, Hasher};

use bytes::{Bytes, BytesMut};
use http::HeaderValue;

/// xorshift64*, seeded from the process's hash keys. One per worker.
pub(crate) struct Random(Cell<u64>);

impl Random {
    pub(crate) fn new() -> Self {
        let seed = std::hash::RandomState::new().build_hasher().finish();
        Self(Cell::new(seed | 1))
    }

    pub(crate) fn next(&self) -> u64 {
        let mut x = self.0.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.0.set(x);
        x.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// From 0 to 1, 1 excluded.
    pub(crate) fn fraction(&self) -> f64 {
        // 53 bits are exact in an f64.
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

const ID_LENGTH: usize = 36;
const BATCH: usize = 64;

/// Request identifiers (UUID version 4), written in batches into one buffer so that most cost no allocation.
#[derive(Default)]
pub(crate) struct RequestIds(Cell<Bytes>);

impl RequestIds {
    pub(crate) fn next(&self, random: &Random) -> HeaderValue {
        let mut batch = self.0.take();
        if batch.len() < ID_LENGTH {
            let mut buffer = BytesMut::with_capacity(ID_LENGTH * BATCH);
            for _ in 0..BATCH {
                write_uuid(random, &mut buffer);
            }
            batch = buffer.freeze();
        }
        let id = batch.split_to(ID_LENGTH);
        self.0.set(batch);
        HeaderValue::from_maybe_shared(id).unwrap_or(HeaderValue::from_static("-"))
    }
}

fn write_uuid(random: &Random, out: &mut BytesMut) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let high = (random.next() & 0xffff_ffff_ffff_0fff) | 0x4000;
    let low = (random.next() & 0x3fff_ffff_ffff_ffff) | 0x8000_0000_0000_0000;
    for (index, byte) in high
        .to_be_bytes()
        .into_iter()
        .chain(low.to_be_bytes())
        .enumerate()
    {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.extend_from_slice(b"-");
        }
        out.extend_from_slice(&[
            DIGITS[usize::from(byte >> 4)],
            DIGITS[usize::from(byte & 15)],
        ]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn request_ids_are_distinct_version_4_uuids() {
        let (random, ids) = (Random::new(), RequestIds::default());
        let seen: HashSet<_> = (0..1000)
            .map(|_| ids.next(&random).to_str().unwrap().to_owned())
            .collect();
        assert_eq!(seen.len(), 1000);
        for id in seen {
            assert_eq!(id.len(), 36);
            assert_eq!(&id[14..15], "4");
            assert!("89ab".contains(&id[19..20]), "{id}");
        }
    }

    #[test]
    fn fractions_stay_below_one() {
        let random = Random::new();
        assert!(
            (0..1000)
                .map(|_| random.fraction())
                .all(|f| (0.0..1.0).contains(&f))
        );
    }
}
