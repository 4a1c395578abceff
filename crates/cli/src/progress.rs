//! A word on standard error while something takes its time.

use std::{
    future::Future,
    time::{Duration, Instant},
};

/// How long nobody minds waiting.
const PATIENCE: Duration = Duration::from_secs(2);

/// Does something; says what, when it takes long.
pub(crate) async fn during<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => return done,
        () = tokio::time::sleep(PATIENCE) => eprintln!("{what} …"),
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
        if self.told.elapsed() >= PATIENCE && self.done < self.total {
            self.told = Instant::now();
            eprintln!("{} of {} …", self.done, self.total);
        }
    }
}
