//! When a container that ended is started again.

use std::time::Duration;

/// The pause before the second restart; it doubles from there.
const FIRST_PAUSE: Duration = Duration::from_secs(10);

/// The longest pause between restarts.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// A container that ran this long has recovered: its next failure is its first again.
const RECOVERED: Duration = Duration::from_secs(600);

/// A pod's `restartPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Whatever happened, run it again.
    Always,
    /// Run it again unless it ended with zero.
    OnFailure,
    /// Never.
    Never,
}

impl Policy {
    /// Reads the field; absent means `Always`.
    pub fn read(text: Option<&str>) -> Self {
        match text {
            Some("Never") => Self::Never,
            Some("OnFailure") => Self::OnFailure,
            _ => Self::Always,
        }
    }

    /// Whether a container that ended this way runs again.
    pub fn restarts(self, succeeded: bool) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => !succeeded,
            Self::Never => false,
        }
    }
}

/// The growing pause of one container (`CrashLoopBackOff`). Kubernetes' numbers: at once, then 10 s, 20 s … 5 min.
#[derive(Debug, Default)]
pub struct Backoff {
    pauses: u32,
}

impl Backoff {
    /// The pause before the next start of a container that ran for `ran`.
    pub fn next(&mut self, ran: Duration) -> Duration {
        if ran >= RECOVERED {
            self.pauses = 0;
        }
        let pause = match self.pauses {
            0 => Duration::ZERO,
            count => FIRST_PAUSE
                .saturating_mul(1 << (count - 1).min(16))
                .min(LONGEST_PAUSE),
        };
        self.pauses = self.pauses.saturating_add(1);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_restart_is_immediate_and_later_ones_double_to_five_minutes() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u64> = (0..8)
            .map(|_| backoff.next(Duration::from_secs(1)).as_secs())
            .collect();
        assert_eq!(pauses, [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn ten_good_minutes_forgive_earlier_failures() {
        let mut backoff = Backoff::default();
        backoff.next(Duration::ZERO);
        backoff.next(Duration::ZERO);
        assert_eq!(backoff.next(RECOVERED), Duration::ZERO);
    }
}
