//! Zones: what the server asks them, and how they answer.

use crate::{
    name::{Key, Name},
    record::RecordType,
    reply::Reply,
};
use fastrand::Rng;
use std::net::IpAddr;

/// A source of names.
pub trait Zone: Send + Sync + 'static {
    /// Answers a question of class `IN` by adding to the reply. It runs on the thread that serves the
    /// socket, so it must not block for long; the state it reads is its own.
    fn answer(&self, query: &Query, reply: &mut Reply<'_>) -> Verdict;
}

/// A question.
pub struct Query {
    /// The type asked for; may be `ANY`.
    pub kind: RecordType,
    /// The client's address.
    pub from: IpAddr,
    /// The client's view, of [`crate::range::Views`].
    pub view: usize,
    /// A fresh random number, with which a zone picks among equals.
    pub seed: u64,
    pub(crate) key: Key,
}

impl Query {
    /// Whether records of this type answer the question.
    pub fn wants(&self, kind: RecordType) -> bool {
        self.kind == kind || self.kind == RecordType::ANY
    }
}

/// A zone's answer to a query.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It added records.
    Found,
    /// It added an alias (`CNAME`); the server goes on with the target.
    Alias(Target),
    /// The records of the target are to be shown as those of the name asked for; nothing was added. Where
    /// they cannot be had, the server adds an alias with this TTL instead.
    Flatten(Target, u32),
    /// The name exists without such records. It added the zone's SOA, which says for how long that may be
    /// remembered.
    NoData,
    /// Neither the name nor any name under it exists. It added the zone's SOA.
    NxDomain,
    /// The zone's own name, but not for this client.
    Refused,
    /// Not a name of this zone.
    NotMine,
}

/// The target of an alias.
#[derive(Debug, PartialEq, Eq)]
pub struct Target(pub(crate) Name);

/// Picks that are shuffled, at most.
const MAX_SHUFFLED: usize = 64;

/// Picks at most `max` different ones of `count` things, by index. Up to 64 come in random order;
/// more come one after the other from a random start.
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
        // Floyd's method: as many draws as picks, however many things there are.
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

    fn sample(seed: u64, count: usize, most: usize) -> Vec<usize> {
        let mut picked = Vec::new();
        super::sample(&mut Rng::with_seed(seed), count, most, |index| {
            picked.push(index)
        });
        picked
    }

    #[test]
    fn a_sample_holds_different_items_and_reaches_all() {
        for (count, most, expected) in [(50, 8, 8), (50, 1, 1), (300, 200, 200), (9, 64, 9)] {
            let mut seen = BTreeSet::new();
            for seed in 0..500 {
                let sample = sample(seed, count, most);
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
