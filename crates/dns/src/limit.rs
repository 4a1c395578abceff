//! Limits of what clients may take: queries per second over UDP, connections, queries that wait for upstreams.

use parking_lot::Mutex;
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::Arc,
    time::Instant,
};

/// A limit of concurrent connections or queries, in total and per client.
pub(crate) struct ClientLimit {
    max: usize,
    max_per_client: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    count: usize,
    by_client: HashMap<IpAddr, usize>,
}

/// One connection or query within the limit; dropping it frees its place.
pub(crate) struct ClientPermit {
    limit: Arc<ClientLimit>,
    client: IpAddr,
}

impl ClientLimit {
    pub(crate) fn new(max: usize, max_per_client: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            max_per_client,
            held: Mutex::default(),
        })
    }

    /// `None`: the client has its share already, or all are taken.
    pub(crate) fn acquire(self: &Arc<Self>, client: IpAddr) -> Option<ClientPermit> {
        let mut held = self.held.lock();
        let own = held.by_client.get(&client).copied().unwrap_or_default();
        if held.count >= self.max || own >= self.max_per_client {
            return None;
        }
        held.count += 1;
        held.by_client.insert(client, own + 1);
        let limit = self.clone();
        Some(ClientPermit { limit, client })
    }
}

impl Drop for ClientPermit {
    fn drop(&mut self) {
        let mut held = self.limit.held.lock();
        held.count -= 1;
        if let Some(own) = held.by_client.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                held.by_client.remove(&self.client);
            }
        }
    }
}

/// Networks that are counted at once. Two that hash to the same bucket replace each other, which lets them
/// ask more, not less.
const BUCKETS: usize = 4096;

/// Rate limit of queries over UDP, per client network: counts those of each network in the current second. Each worker
/// has its own.
///
/// The source of a datagram can be forged, so answers can be made to hit somebody who never asked. Beyond the limit a
/// query gets a truncated answer, which is no longer than the query, and after which a real client asks over TCP.
pub(crate) struct RateLimiter {
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

impl RateLimiter {
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
    fn no_client_can_take_everything() {
        let limit = ClientLimit::new(5, 3);
        let acquire = |last| limit.acquire(IpAddr::from([10, 0, 0, last]));
        let one: Vec<_> = (0..9).filter_map(|_| acquire(1)).collect();
        assert_eq!(one.len(), 3);
        let two: Vec<_> = (0..9).filter_map(|_| acquire(2)).collect();
        assert_eq!(one.len() + two.len(), 5);
        assert!(acquire(3).is_none());
        drop(one);
        assert!(acquire(1).is_some());
        drop(two);
        assert!(limit.held.lock().by_client.is_empty());
    }

    #[test]
    fn a_network_has_so_many_questions_each_second() {
        let mut limiter = RateLimiter::new(2);
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
