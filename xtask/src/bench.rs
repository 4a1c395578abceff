//! Benchmarks that print ratios against peers measured in the same run.

pub(crate) mod hop;
pub(crate) mod propagate;
