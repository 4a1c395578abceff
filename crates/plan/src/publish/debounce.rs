//! Paces the changes of the store: a single one goes out at once, many go out together.
//!
//! While a change is being sent to the proxies, those behind it wait. If there are any when it has been sent, the store
//! is being written to faster than changes can be sent; then they wait on until there is a pause between writes, as
//! istiod's debounce does for every change. The pause is twice as long as the push took, so that pushes of a storm
//! take a third of the time at most.

use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep_until};
use tombolo_store::{Event, Watch};
use tombolo_xds::Propagation;

/// The intervals of the debounce.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delays {
    /// For the change before to be sent. A proxy that does not read its stream holds it up.
    pub(super) push: Duration,
    /// The shortest pause between writes that is waited for.
    pub(super) min_quiet: Duration,
    /// For a pause at most.
    pub(super) max_wait: Duration,
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
    /// A change is being sent to the proxies.
    Pushing {
        propagation: Arc<Propagation>,
        begun: Instant,
    },
    /// Changes wait for a pause.
    Settling {
        pause: Duration,
        /// When there was a pause, unless a change comes.
        quiet: Instant,
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

    /// `propagation` follows the last event to the proxies; the next event waits until all of it is sent.
    pub(super) fn pushing(&mut self, propagation: Arc<Propagation>) {
        let begun = Instant::now();
        self.state = State::Pushing { propagation, begun };
    }

    /// The next event; `None`: the store is closed. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Event> {
        loop {
            match &mut self.state {
                State::Idle => return self.watch.next().await,
                State::Pushing { propagation, begun } => {
                    tokio::select! {
                        () = propagation.sent_by_all() => {}
                        () = sleep_until(*begun + self.delays.push) => {}
                    }
                    let (now, pause) = (Instant::now(), begun.elapsed() * 2);
                    let pause = pause.max(self.delays.min_quiet);
                    self.state = if self.watch.is_pending() {
                        State::Settling {
                            pause,
                            quiet: now + pause,
                            deadline: now + self.delays.max_wait,
                        }
                    } else {
                        State::Idle
                    };
                }
                State::Settling {
                    pause,
                    quiet,
                    deadline,
                } => {
                    tokio::select! {
                        () = self.watch.announced() => *quiet = Instant::now() + *pause,
                        () = sleep_until(*quiet.min(deadline)) => self.state = State::Idle,
                    }
                }
            }
        }
    }
}
