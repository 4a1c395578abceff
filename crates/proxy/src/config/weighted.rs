//! Weighted random choice, such as between weighted clusters.

use super::error::{ConfigResult, ensure};

/// Items with weights, for a random choice in proportion to the weights.
#[derive(Debug)]
pub(crate) struct Weighted<T> {
    items: Vec<(u32, T)>,
    /// The sum of the weights; at least 1.
    total: u64,
}

impl<T> Weighted<T> {
    /// Weights are relative to their sum; `total_weight` is deprecated, and ignored by Envoy too.
    pub(super) fn new(items: Vec<(u32, T)>) -> ConfigResult<Self> {
        let total: u64 = items.iter().map(|(weight, _)| u64::from(*weight)).sum();
        let reason = "weights must add up to a number from 1 to 4294967295";
        let is_valid = (1..=u64::from(u32::MAX)).contains(&total);
        ensure(is_valid, "clusters", reason)?;
        Ok(Self { items, total })
    }

    /// The item at a random position; `random` is any 64 bits.
    pub(crate) fn choose(&self, random: u64) -> &T {
        let mut point = random % self.total;
        for (weight, item) in &self.items {
            match point.checked_sub(u64::from(*weight)) {
                Some(rest) => point = rest,
                None => return item,
            }
        }
        // Unreachable while `total` is the sum of the weights; the first item is a safe fallback.
        &self.items[0].1
    }
}
