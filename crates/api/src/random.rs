//! Random bits for request ids, shuffles and jitter. Nothing here keeps a secret.

use std::{
    cell::RefCell,
    hash::{BuildHasher, Hasher, RandomState},
};
use tombolo_model::entropy::Entropy;

thread_local! {
    /// Seeded from the keys that the operating system gives the standard library's hash maps.
    static ENTROPY: RefCell<Entropy> =
        RefCell::new(Entropy::new(RandomState::new().build_hasher().finish()));
}

/// A fresh UUID.
pub(crate) fn uuid() -> String {
    ENTROPY.with_borrow_mut(Entropy::uuid)
}

/// A number below `bound`, which is not zero. The bias of the remainder is below 2^-40 for every list
/// that fits into memory.
pub(crate) fn below(bound: usize) -> usize {
    ENTROPY.with_borrow_mut(|entropy| (entropy.next_u64() % bound as u64) as usize)
}

/// Shortens `items` to at most `most` of them, chosen and ordered at random: the first steps of a
/// Fisher-Yates shuffle, so that the work is bounded by what is kept.
pub(crate) fn sample<T>(items: &mut Vec<T>, most: usize) {
    let kept = most.min(items.len());
    for i in 0..kept {
        let j = i + below(items.len() - i);
        items.swap(i, j);
    }
    items.truncate(kept);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_holds_distinct_items_in_every_order() {
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..1000 {
            let mut items = vec![1, 2, 3];
            sample(&mut items, 2);
            assert_eq!(items.len(), 2);
            assert_ne!(items[0], items[1]);
            seen.insert(items);
        }
        assert_eq!(seen.len(), 6, "all ordered pairs of three");
    }
}
