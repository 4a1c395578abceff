//! Messages on standard error while something takes long.

use crate::terminal;
use std::{
    future::Future,
    time::{Duration, Instant},
};

/// Pause before the first message, and between two.
const INTERVAL: Duration = Duration::from_secs(2);

/// Does something; says what, when it takes long.
pub(crate) async fn during<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => return done,
        () = tokio::time::sleep(INTERVAL) => terminal::progress(format_args!("{what} …")),
    }
    work.await
}

/// Many things, one after the other.
pub(crate) struct Progress {
    total: usize,
    done: usize,
    told: Instant,
}

impl Progress {
    pub(crate) fn of(total: usize) -> Self {
        Self {
            total,
            done: 0,
            told: Instant::now(),
        }
    }

    /// One more is done.
    pub(crate) fn step(&mut self) {
        self.done += 1;
        if self.told.elapsed() >= INTERVAL && self.done < self.total {
            self.told = Instant::now();
            terminal::progress(format_args!("{} of {} …", self.done, self.total));
        }
    }
}
