//! How long to wait before trying again.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// Exponential backoff with full jitter above half: attempt *n* waits between half and all
/// of `start · 2ⁿ`, never more than `cap`. Jitter keeps ten thousand proxies from coming
/// back in the same instant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backoff {
    /// The longest pause before the first retry.
    pub start: Duration,
    /// The longest pause ever.
    pub cap: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff {
            start: Duration::from_millis(100),
            cap: Duration::from_secs(5),
        }
    }
}

impl Backoff {
    /// The pause after `attempt` failures in a row (from 0), where `random` is any number.
    pub fn pause(&self, attempt: u32, random: u64) -> Duration {
        let most = self
            .start
            .saturating_mul(1 << attempt.min(20))
            .min(self.cap);
        let half = most / 2;
        let span = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX - 1);
        half + Duration::from_nanos(random % (span + 1))
    }
}

/// A number that differs from call to call and from process to process. The standard
/// library seeds its hashers from the system; that is all the randomness jitter needs.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_cap_and_stay_within_their_bounds() {
        let backoff = Backoff::default();
        for (attempt, most) in [(0, 100), (1, 200), (3, 800), (6, 5000), (u32::MAX, 5000)] {
            let most = Duration::from_millis(most);
            for random in [0, 1, u64::MAX / 3, u64::MAX] {
                let pause = backoff.pause(attempt, random);
                assert!(
                    most / 2 <= pause && pause <= most,
                    "{attempt} {random}: {pause:?}"
                );
            }
        }
    }
}
