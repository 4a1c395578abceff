//! Paces the changes of the store: a single one goes out at once, many go out together.
//!
//! While a change is on its way to the proxies, those behind it wait. If there are any when it has arrived, the store
//! is being written to faster than proxies follow; then they wait on until there is a pause between writes, as
//! istiod's debounce does for every change.

use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep_until};
use tombolo_store::{Event, Watch};
use tombolo_xds::Propagation;

/// How long changes wait for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delays {
    /// For the proxies to answer the change before. One that stalls, or rejects what it gets, does not answer.
    pub(super) push: Duration,
    /// For a pause of this length between writes.
    pub(super) quiet: Duration,
    /// For such a pause at most.
    pub(super) max_quiet: Duration,
}

/// The events of a watch, paced.
pub(super) struct Debounced {
    watch: Watch,
    delays: Delays,
    state: State,
}

enum State {
    /// The next change goes out at once.
    Idle,
    /// A change is on its way to the proxies.
    Pushing {
        propagation: Arc<Propagation>,
        deadline: Instant,
    },
    /// Changes wait for a pause.
    Settling { quiet: Instant, deadline: Instant },
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

    /// `propagation` follows the last event to the proxies; the next event waits for its end.
    pub(super) fn pushing(&mut self, propagation: Arc<Propagation>) {
        let deadline = Instant::now() + self.delays.push;
        self.state = State::Pushing {
            propagation,
            deadline,
        };
    }

    /// The next event; `None`: the store is closed. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Event> {
        loop {
            match &mut self.state {
                State::Idle => return self.watch.next().await,
                State::Pushing {
                    propagation,
                    deadline,
                } => {
                    tokio::select! {
                        () = propagation.done() => {}
                        () = sleep_until(*deadline) => {}
                    }
                    let now = Instant::now();
                    self.state = if self.watch.is_pending() {
                        State::Settling {
                            quiet: now + self.delays.quiet,
                            deadline: now + self.delays.max_quiet,
                        }
                    } else {
                        State::Idle
                    };
                }
                State::Settling { quiet, deadline } => {
                    tokio::select! {
                        () = self.watch.announced() => *quiet = Instant::now() + self.delays.quiet,
                        () = sleep_until(*quiet.min(deadline)) => self.state = State::Idle,
                    }
                }
            }
        }
    }
}
