//! Timestamps, as the AWS APIs write them.

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Seconds with a fraction of milliseconds: the JSON number of AWS timestamps.
    pub fn epoch_seconds(self) -> f64 {
        // Milliseconds since 1970 stay far below 2^53, so the division is exact to the millisecond.
        self.0 as f64 / 1000.0
    }
}
