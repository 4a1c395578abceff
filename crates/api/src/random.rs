//! Random ids and choices, which need not be cryptographically secure.

use tombolo_model::entropy::Entropy;

/// A version 4 UUID.
pub(crate) fn uuid() -> String {
    Entropy::new(fastrand::u64(..)).uuid()
}

/// Keeps at most `max` random items, in random order: a partial Fisher-Yates shuffle, whose cost depends on the number
/// of kept items.
pub(crate) fn sample<T>(items: &mut Vec<T>, max: usize) {
    let kept = max.min(items.len());
    // The thread's generator is looked up once, because this is on the hot path of every discovery.
    let mut random = fastrand::Rng::new();
    for i in 0..kept {
        let j = random.usize(i..items.len());
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
