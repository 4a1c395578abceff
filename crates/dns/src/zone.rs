//! The interface of zones to the server.

use crate::{
    name::{Key, Name},
    record::RecordType,
    reply::Reply,
};
use fastrand::Rng;
use std::net::IpAddr;

/// A source of DNS records.
pub trait Zone: Send + Sync + 'static {
    /// Answers a query of class `IN` by adding records to the reply. It runs on the thread that serves the
    /// socket, so it must not block for long.
    fn answer(&self, query: &Query, reply: &mut Reply<'_>) -> Verdict;
}

/// A query of class `IN`.
pub struct Query {
    /// The queried record type; may be `ANY`.
    pub kind: RecordType,
    /// The client's address.
    pub from: IpAddr,
    /// The index of the client's view in [`crate::range::Views`].
    pub view: usize,
    /// A random number per query, for the choice and order of records.
    pub seed: u64,
    pub(crate) key: Key,
}

impl Query {
    /// Whether records of this type answer the query.
    pub fn wants(&self, kind: RecordType) -> bool {
        self.kind == kind || self.kind == RecordType::ANY
    }
}

/// A zone's answer to a query.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The zone added records.
    Found,
    /// The zone added an alias (`CNAME`); the server continues with the target.
    Alias(Target),
    /// The records of the target must be answered under the query's name (CNAME flattening); the zone added nothing. If
    /// they are not available, the server adds an alias with this TTL, in seconds.
    Flatten(Target, u32),
    /// The name exists without records of the type. The zone added its SOA for negative caching.
    NoData,
    /// Neither the name nor any name under it exists. The zone added its SOA.
    NxDomain,
    /// The zone does not answer this client.
    Refused,
    /// The name is not in the zone.
    NotInZone,
}

/// The target of an alias.
#[derive(Debug, PartialEq, Eq)]
pub struct Target(pub(crate) Name);

/// The greatest number of picks that are shuffled.
const MAX_SHUFFLED: usize = 64;

/// Picks at most `max` different indexes below `count`. Up to 64 are in random order; more are consecutive from
/// a random start.
pub(crate) fn sample(rng: &mut Rng, count: usize, max: usize, mut pick: impl FnMut(usize)) {
    let picks = max.min(count);
    if picks <= 1 {
        if picks == 1 {
            pick(if count == 1 { 0 } else { rng.usize(..count) });
        }
        return;
    }
    if picks > MAX_SHUFFLED {
        let start = rng.usize(..count);
        (0..picks).for_each(|step| pick((start + step) % count));
        return;
    }
    let mut picked = [0; MAX_SHUFFLED];
    let picked = &mut picked[..picks];
    if picks == count {
        picked
            .iter_mut()
            .enumerate()
            .for_each(|(index, slot)| *slot = index);
    } else {
        // Floyd's algorithm: as many draws as picks, independent of `count`.
        for done in 0..picks {
            let top = count - picks + done;
            let drawn = rng.usize(..=top);
            let is_taken = picked[..done].contains(&drawn);
            picked[done] = if is_taken { top } else { drawn };
        }
    }
    for last in (1..picks).rev() {
        picked.swap(last, rng.usize(..=last));
    }
    picked.iter().for_each(|index| pick(*index));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn sample(seed: u64, count: usize, max: usize) -> Vec<usize> {
        let mut picked = Vec::new();
        super::sample(&mut Rng::with_seed(seed), count, max, |index| {
            picked.push(index)
        });
        picked
    }

    #[test]
    fn a_sample_holds_different_items_and_reaches_all() {
        for (count, max, expected) in [(50, 8, 8), (50, 1, 1), (300, 200, 200), (9, 64, 9)] {
            let mut seen = BTreeSet::new();
            for seed in 0..500 {
                let sample = sample(seed, count, max);
                let different: BTreeSet<usize> = sample.iter().copied().collect();
                assert_eq!((sample.len(), different.len()), (expected, expected));
                seen.extend(different);
            }
            assert_eq!(seen, (0..count).collect());
        }
    }

    #[test]
    fn few_items_come_all_in_changing_order() {
        let orders: BTreeSet<Vec<usize>> = (0..200).map(|seed| sample(seed, 3, 8)).collect();
        assert_eq!(orders.len(), 6);
        assert!(sample(1, 0, 8).is_empty());
    }
}
