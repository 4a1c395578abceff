//! Fairness between replicas that write at the same time.
//!
//! A replica that has just written has the newest state before the others, so under load it would win every compare and
//! swap. Therefore it pauses after each of its writes while others write too: about as long as the others need to catch
//! up and write.

use std::time::{Duration, Instant};

/// The time after a write of another replica in which further ones are expected.
const CONTENTION_WINDOW: Duration = Duration::from_secs(1);
/// The longest pause, for a slow etcd.
const MAX_PAUSE: Duration = Duration::from_millis(20);

/// Paces the writes of this replica.
#[derive(Debug, Default)]
pub(super) struct WritePacer {
    /// The time of the last write of another replica.
    others: Option<Instant>,
    /// The end of the pause.
    next: Option<Instant>,
}

impl WritePacer {
    /// Records a write of another replica, which ends the pause.
    pub(super) fn other_wrote(&mut self, now: Instant) {
        self.others = Some(now);
        self.next = None;
    }

    /// Records a write of this replica that took this long. Starts a pause if other replicas write too.
    pub(super) fn wrote(&mut self, now: Instant, took: Duration) {
        let are_busy = |at: Instant| now.saturating_duration_since(at) < CONTENTION_WINDOW;
        self.next = (self.others.is_some_and(are_busy)).then(|| now + took.min(MAX_PAUSE));
    }

    /// Waits for the end of the pause.
    pub(super) async fn wait_turn(&self) {
        if let Some(next) = self.next {
            tokio::time::sleep_until(next.into()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_pause_only_between_own_writes_and_only_beside_others() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let took = Duration::from_millis(3);
        let mut write_pacer = WritePacer::default();
        write_pacer.wrote(start, took);
        assert_eq!(write_pacer.next, None, "nobody else writes");
        write_pacer.other_wrote(after(1));
        assert_eq!(write_pacer.next, None, "it is our turn");
        write_pacer.wrote(after(5), took);
        assert_eq!(write_pacer.next, Some(after(8)));
        write_pacer.other_wrote(after(6));
        assert_eq!(write_pacer.next, None, "they have had theirs");
        write_pacer.wrote(after(10), Duration::from_secs(5));
        assert_eq!(write_pacer.next, Some(after(30)));
        write_pacer.wrote(after(2000), took);
        assert_eq!(write_pacer.next, None, "the others have stopped");
    }
}
