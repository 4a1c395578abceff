//! Rate limit of queries over UDP, per client network.
//!
//! The source of a datagram can be forged, so answers can be made to hit somebody who never asked. Beyond
//! the limit a question gets an answer that says "ask over TCP", which is no longer than the question, and
//! which a real client follows.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    time::Instant,
};

/// Networks that are counted at once. Two that hash to the same bucket replace each other, which lets them
/// ask more, not less.
const BUCKETS: usize = 4096;

/// Counts the questions of each network in the current second. Each worker has its own.
pub(crate) struct Limiter {
    per_second: u32,
    start: Instant,
    keys: RandomState,
    buckets: Box<[Bucket]>,
}

#[derive(Clone, Copy, Default)]
struct Bucket {
    network: u64,
    second: u64,
    count: u32,
}

impl Limiter {
    pub(crate) fn new(per_second: u32) -> Self {
        Self {
            per_second,
            start: Instant::now(),
            keys: RandomState::new(),
            buckets: vec![Bucket::default(); BUCKETS].into(),
        }
    }

    /// Whether the client's network may ask once more.
    pub(crate) fn admits(&mut self, client: IpAddr, now: Instant) -> bool {
        // A network that one party can have: 24 bits of IPv4, 56 of IPv6.
        let network = match client.to_canonical() {
            IpAddr::V4(address) => u64::from(address.to_bits() >> 8),
            IpAddr::V6(address) => (address.to_bits() >> 72) as u64 | 1 << 63,
        };
        let second = now.saturating_duration_since(self.start).as_secs();
        let index = self.keys.hash_one(network) as usize % BUCKETS;
        let bucket = &mut self.buckets[index];
        if (bucket.network, bucket.second) != (network, second) {
            *bucket = Bucket {
                network,
                second,
                count: 0,
            };
        }
        bucket.count = bucket.count.saturating_add(1);
        bucket.count <= self.per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_network_has_so_many_questions_each_second() {
        let mut limiter = Limiter::new(2);
        let now = limiter.start;
        let mut admits = |client: &str, second| {
            let client = client.parse().expect("an address");
            limiter.admits(client, now + Duration::from_secs(second))
        };
        assert!(admits("10.0.0.1", 0));
        assert!(admits("10.0.0.2", 0));
        assert!(!admits("10.0.0.3", 0), "the same network");
        assert!(!admits("::ffff:10.0.0.3", 0), "the same address");
        assert!(admits("10.0.1.1", 0), "another network");
        assert!(admits("fd00::1", 0));
        assert!(admits("fd00::2", 0));
        assert!(!admits("fd00::ff:1:2:3:4", 0), "the same network");
        assert!(admits("10.0.0.3", 1), "another second");
    }
}
