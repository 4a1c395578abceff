//! What a zone is asked, and what it says.

use crate::key::Key;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::net::IpAddr;

/// Whoever knows some of the names.
pub trait Zone: Send + Sync + 'static {
    /// Answers a question of class `IN` that came from this address. It runs on the thread that serves
    /// the socket, so it must not block; the state it reads is its own.
    fn answer(&self, query: &Query, from: IpAddr) -> Answer;
}

/// A question.
pub struct Query {
    /// The name as asked; answers repeat its upper and lower case, as resolvers expect.
    pub name: Name,
    /// The type asked for; may be `ANY`.
    pub kind: RecordType,
    /// A fresh random number, with which a zone picks among equals.
    pub seed: u64,
    pub(crate) key: Key,
}

impl Query {
    /// A question; `None` if the name is longer than DNS allows.
    pub fn new(name: Name, kind: RecordType, seed: u64) -> Option<Self> {
        let key = Key::of(&name)?;
        Some(Self {
            name,
            kind,
            seed,
            key,
        })
    }

    /// Whether records of this type answer the question.
    pub fn wants(&self, kind: RecordType) -> bool {
        self.kind == kind || self.kind == RecordType::ANY
    }

    /// A record that answers the question.
    pub(crate) fn record(&self, ttl: u32, data: RData) -> Record {
        Record::from_rdata(self.name.clone(), ttl, data)
    }
}

/// What a zone says to a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// These records. If the last one is a `CNAME` and something else was asked for, the server goes on
    /// with its target.
    Records {
        /// At least one.
        answers: Vec<Record>,
        /// Addresses of names in the answers; dropped first when space is short.
        additionals: Vec<Record>,
    },
    /// The name exists without such records. The zone's SOA says for how long that may be remembered.
    NoData(Record),
    /// Neither the name nor any name under it exists.
    NxDomain(Record),
    /// The zone's own name, but not for this client.
    Refused,
    /// Not a name of this zone.
    NotMine,
}

/// SplitMix64 (Steele, Lea, Flood 2014): the few draws that an answer needs, from the query's seed.
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, which must not be 0. Multiplying avoids the division; the bias is below 2^-32.
    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// At most `most` different items in random order.
    pub(crate) fn sample<'a, T>(&mut self, items: &'a [T], most: usize) -> Vec<&'a T> {
        let mut picked: Vec<usize> = Vec::with_capacity(most.min(items.len()));
        if items.len() <= most {
            picked.extend(0..items.len());
        } else {
            // Floyd's method: as many draws as picks, however many items there are.
            for top in items.len() - most..items.len() {
                let drawn = self.below(top + 1);
                picked.push(if picked.contains(&drawn) { top } else { drawn });
            }
        }
        for last in (1..picked.len()).rev() {
            let other = self.below(last + 1);
            picked.swap(last, other);
        }
        picked.into_iter().map(|index| &items[index]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_sample_holds_different_items_and_reaches_all() {
        let items: Vec<usize> = (0..50).collect();
        let mut seen = BTreeSet::new();
        for seed in 0..500 {
            let sample = Draw(seed).sample(&items, 8);
            let different: BTreeSet<usize> = sample.iter().map(|item| **item).collect();
            assert_eq!((sample.len(), different.len()), (8, 8), "seed {seed}");
            seen.extend(different);
        }
        assert_eq!(seen.len(), 50);
    }

    #[test]
    fn few_items_come_all_in_changing_order() {
        let items = [1, 2, 3];
        let mut orders = BTreeSet::new();
        for seed in 0..200 {
            orders.insert(
                Draw(seed)
                    .sample(&items, 8)
                    .into_iter()
                    .copied()
                    .collect::<Vec<_>>(),
            );
        }
        assert_eq!(orders.len(), 6);
        assert!(Draw(1).sample::<u8>(&[], 8).is_empty());
    }
}
