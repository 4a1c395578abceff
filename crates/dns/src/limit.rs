//! Limits per client: queries per second over UDP, connections, and queries that wait for upstreams.

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
    used: Mutex<Used>,
}

/// The permits in use.
#[derive(Default)]
struct Used {
    count: usize,
    by_client: HashMap<IpAddr, usize>,
}

/// The permit of one connection or query; dropping it releases the permit.
pub(crate) struct ClientPermit {
    limit: Arc<ClientLimit>,
    client: IpAddr,
}

impl ClientLimit {
    pub(crate) fn new(max: usize, max_per_client: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            max_per_client,
            used: Mutex::default(),
        })
    }

    /// A permit for a client; `None` if one of the limits is reached.
    pub(crate) fn acquire(self: &Arc<Self>, client: IpAddr) -> Option<ClientPermit> {
        let mut used = self.used.lock();
        let own = used.by_client.get(&client).copied().unwrap_or_default();
        if used.count >= self.max || own >= self.max_per_client {
            return None;
        }
        used.count += 1;
        used.by_client.insert(client, own + 1);
        let limit = self.clone();
        Some(ClientPermit { limit, client })
    }
}

impl Drop for ClientPermit {
    fn drop(&mut self) {
        let mut used = self.limit.used.lock();
        used.count -= 1;
        if let Some(own) = used.by_client.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                used.by_client.remove(&self.client);
            }
        }
    }
}

/// The number of buckets. Two networks in the same bucket replace each other, which admits more queries, not fewer.
const BUCKETS: usize = 4096;

/// The rate limit of queries over UDP per client network: counts the queries of each network in the current second.
/// Each worker has its own.
///
/// The source address of a datagram can be forged to direct answers at a third party. Beyond the limit a query gets a
/// truncated answer, which is no longer than the query, and a real client repeats the query over TCP.
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

    /// Counts a query; returns whether the client's network is within the limit.
    pub(crate) fn admits(&mut self, client: IpAddr, now: Instant) -> bool {
        // The size of a network that one party may control: 24 bits of IPv4, 56 of IPv6.
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
        assert!(limit.used.lock().by_client.is_empty());
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
