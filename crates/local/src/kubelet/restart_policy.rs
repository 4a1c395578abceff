//! Restart policy and back-off of containers.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// Kubernetes' pauses between restarts (`CrashLoopBackOff`): 10 s, doubled up to 5 min.
const BACKOFF: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_secs(10))
    .with_max_delay(MAX_PAUSE)
    .with_factor(2.0)
    .without_max_times();

const MAX_PAUSE: Duration = Duration::from_secs(300);

/// Running time after which a container counts as recovered: its next failure is counted as the first.
const RECOVERED: Duration = Duration::from_secs(600);

/// A pod's `restartPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

impl RestartPolicy {
    /// Reads the field; absent means `Always`.
    pub(super) fn read(text: Option<&str>) -> Self {
        match text {
            Some("Never") => Self::Never,
            Some("OnFailure") => Self::OnFailure,
            _ => Self::Always,
        }
    }

    /// Whether a container restarts after this outcome.
    pub(super) fn restarts(self, succeeded: bool) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => !succeeded,
            Self::Never => false,
        }
    }
}

/// The pauses of one container: none before the first restart, then those of `CrashLoopBackOff`.
#[derive(Debug, Default)]
pub(super) struct Backoff(Option<ExponentialBackoff>);

impl Backoff {
    /// The pause before the next start of a container that ran for `ran`.
    pub(super) fn next(&mut self, ran: Duration) -> Duration {
        match &mut self.0 {
            Some(pauses) if ran < RECOVERED => pauses.next().unwrap_or(MAX_PAUSE),
            first => {
                *first = Some(BACKOFF.build());
                Duration::ZERO
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_restart_is_immediate_and_later_ones_double_to_five_minutes() {
        let mut backoff = Backoff::default();
        let pauses = (0..8).map(|_| backoff.next(Duration::from_secs(1)).as_secs());
        assert!(pauses.eq([0, 10, 20, 40, 80, 160, 300, 300]));
    }

    #[test]
    fn ten_good_minutes_forgive_earlier_failures() {
        let mut backoff = Backoff::default();
        backoff.next(Duration::ZERO);
        backoff.next(Duration::ZERO);
        assert_eq!(backoff.next(RECOVERED), Duration::ZERO);
    }
}
