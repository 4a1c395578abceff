//! Medians and percentiles.

/// Sorted measurements, for [`median`] and for the range.
pub(crate) fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The median of sorted values.
pub(crate) fn median(values: &[f64]) -> f64 {
    values[values.len() / 2]
}

/// A percentile of sorted values; 100 is the maximum. The default value without values.
pub(crate) fn percentile<T: Copy + Default>(values: &[T], percent: usize) -> T {
    let index = (values.len() * percent / 100).min(values.len().saturating_sub(1));
    values.get(index).copied().unwrap_or_default()
}
