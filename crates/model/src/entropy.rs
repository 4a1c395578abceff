//! Identifiers that are generated from a seed of the caller, so that `apply` is a pure function.

use crate::Timestamp;

/// A generator of identifiers. Generators with the same seed yield the same identifiers.
#[derive(Clone, Debug)]
pub struct Entropy {
    rng: fastrand::Rng,
}

impl Entropy {
    /// A generator with this seed, which the caller takes from the operating system.
    pub fn new(seed: u64) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.rng.u64(..)
    }

    /// A random text of `length` characters of `a-z0-9`.
    pub fn lower(&mut self, length: usize) -> String {
        const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        (0..length)
            .map(|_| char::from(ALPHABET[(self.next_u64() % 36) as usize]))
            .collect()
    }

    /// A version 4 UUID.
    pub fn uuid(&mut self) -> String {
        let (a, b) = (self.next_u64(), self.next_u64());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            a >> 32,
            (a >> 16) & 0xffff,
            a & 0xfff,
            0x8000 | (b >> 48) & 0x3fff,
            b & 0xffff_ffff_ffff
        )
    }

    /// An operation id: 32 characters, a dash, 8 characters. It starts with the time, so that ids sort by creation.
    pub fn operation_id(&mut self, now: Timestamp) -> String {
        let mut time = now.0;
        let mut head = [b'0'; 9];
        for slot in head.iter_mut().rev() {
            *slot = b"0123456789abcdefghijklmnopqrstuvwxyz"[(time % 36) as usize];
            time /= 36;
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        format!("{head}{}-{}", self.lower(23), self.lower(8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operation_ids_sort_by_time_and_have_the_documented_shape() {
        let mut entropy = Entropy::new(7);
        let first = entropy.operation_id(Timestamp(1_700_000_000_000));
        let second = entropy.operation_id(Timestamp(1_700_000_000_001));
        assert!(first < second);
        assert_eq!((first.len(), first.find('-')), (41, Some(32)));
    }

    #[test]
    fn uuids_carry_version_and_variant() {
        let uuid = Entropy::new(1).uuid();
        assert_eq!(uuid.len(), 36);
        assert_eq!(uuid.as_bytes()[14], b'4');
        assert!(matches!(uuid.as_bytes()[19], b'8'..=b'b'));
    }
}
