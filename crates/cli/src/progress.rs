//! Messages on standard error during long operations.

use crate::terminal;
use std::{
    future::Future,
    time::{Duration, Instant},
};

/// Pause before the first message, and between messages.
const INTERVAL: Duration = Duration::from_secs(2);

/// Awaits `work`; prints `what` when it takes longer than [`INTERVAL`].
pub(crate) async fn during<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => return done,
        () = tokio::time::sleep(INTERVAL) => terminal::progress(format_args!("{what} …")),
    }
    work.await
}

/// Counts finished items, and prints the count at intervals.
pub(crate) struct Progress {
    total: usize,
    done: usize,
    reported: Instant,
}

impl Progress {
    pub(crate) fn of(total: usize) -> Self {
        Self {
            total,
            done: 0,
            reported: Instant::now(),
        }
    }

    /// Counts one more finished item.
    pub(crate) fn step(&mut self) {
        self.done += 1;
        if self.reported.elapsed() >= INTERVAL && self.done < self.total {
            self.reported = Instant::now();
            terminal::progress(format_args!("{} of {} …", self.done, self.total));
        }
    }
}
