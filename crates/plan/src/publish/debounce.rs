//! Debounces the changes of the store: a single change is pushed at once, changes that follow closely are batched.
//!
//! Changes that come while another is being sent wait for its end. If there are any then, the store is written to faster
//! than changes can be sent; they go on waiting until there is a quiet period between writes, as in istiod's debounce for every change.
//! The quiet period is twice as long as the push took, so that under constant writes pushes take at most a third of
//! the time.

use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep_until};
use tombolo_store::{Event, Watch};
use tombolo_xds::Propagation;

/// The intervals of the debounce.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delays {
    /// The longest wait for the previous push to be sent. A proxy that does not read its stream holds it up.
    pub(super) push: Duration,
    /// The shortest quiet period.
    pub(super) min_quiet: Duration,
    /// The longest wait for a quiet period.
    pub(super) max_wait: Duration,
}

/// The events of a watch, debounced.
pub(super) struct Debounced {
    watch: Watch,
    delays: Delays,
    state: State,
}

enum State {
    /// The next change is pushed at once.
    Idle,
    /// A change is being pushed to the proxies.
    Pushing {
        propagation: Arc<Propagation>,
        begun: Instant,
    },
    /// Changes wait for a quiet period.
    Settling {
        /// The length of the quiet period.
        quiet: Duration,
        /// The end of the quiet period, unless a change comes before.
        quiet_until: Instant,
        /// The end of the wait in any case.
        deadline: Instant,
    },
}

impl Debounced {
    pub(super) fn new(watch: Watch, delays: Delays) -> Self {
        let state = State::Idle;
        Self {
            watch,
            delays,
            state,
        }
    }

    /// Starts the wait for a push: the next event is held back until all streams have sent the last one, which
    /// `propagation` follows.
    pub(super) fn pushing(&mut self, propagation: Arc<Propagation>) {
        let begun = Instant::now();
        self.state = State::Pushing { propagation, begun };
    }

    /// The next event; `None` once the store is closed. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Event> {
        loop {
            match &mut self.state {
                State::Idle => return self.watch.next().await,
                State::Pushing { propagation, begun } => {
                    tokio::select! {
                        () = propagation.sent_by_all() => {}
                        () = sleep_until(*begun + self.delays.push) => {}
                    }
                    let (now, quiet) = (Instant::now(), begun.elapsed() * 2);
                    let quiet = quiet.max(self.delays.min_quiet);
                    self.state = if self.watch.is_pending() {
                        State::Settling {
                            quiet,
                            quiet_until: now + quiet,
                            deadline: now + self.delays.max_wait,
                        }
                    } else {
                        State::Idle
                    };
                }
                State::Settling {
                    quiet,
                    quiet_until,
                    deadline,
                } => {
                    tokio::select! {
                        () = self.watch.announced() => *quiet_until = Instant::now() + *quiet,
                        () = sleep_until(*quiet_until.min(deadline)) => self.state = State::Idle,
                    }
                }
            }
        }
    }
}
