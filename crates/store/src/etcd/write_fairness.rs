//! Pacing of writes, so that replicas that write at the same time get equal shares.
//!
//! A replica that has just written knows the newest state before the others do, so it would
//! win against them again and again while its callers keep it busy. Therefore it lets some time pass after
//! each write of its own, as long as others write too: about as long as the others need to come next.

use std::time::{Duration, Instant};

/// For how long after a write of another replica more of them are expected.
const CONTENTION_WINDOW: Duration = Duration::from_secs(1);
/// The longest pause, when etcd is slow.
const MAX_PAUSE: Duration = Duration::from_millis(20);

/// When this replica may write again.
#[derive(Debug, Default)]
pub(super) struct WritePacer {
    others: Option<Instant>,
    next: Option<Instant>,
}

impl WritePacer {
    /// Another replica has written.
    pub(super) fn other_wrote(&mut self, now: Instant) {
        self.others = Some(now);
        // Its turn is over.
        self.next = None;
    }

    /// This replica has written, and etcd took so long for it.
    pub(super) fn wrote(&mut self, now: Instant, took: Duration) {
        let are_busy = |at: Instant| now.saturating_duration_since(at) < CONTENTION_WINDOW;
        self.next = (self.others.is_some_and(are_busy)).then(|| now + took.min(MAX_PAUSE));
    }

    /// Waits until it is this replica's turn.
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
