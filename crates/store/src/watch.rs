//! Announcing changes to readers that may be slow.

use parking_lot::Mutex;
use std::{
    fmt,
    sync::{Arc, Weak},
};
use tokio::sync::Notify;
use tombolo_model::{Change, View};
use tombolo_telemetry::{Causes, metrics::Counter};

/// Changes that are kept for one slow watcher; beyond that it is told to look at everything again.
const PENDING: usize = 16_384;

/// What a watcher is told.
pub enum Event {
    /// These changes happened, in this order, since the last event. The view holds them, and perhaps
    /// newer ones, which will be told next.
    Changed {
        /// The state.
        view: Arc<View>,
        /// What led to it.
        changes: Vec<Change>,
        /// The API calls that made these changes, at this replica or another.
        causes: Causes,
    },
    /// The state as a whole: at the start, and when the watcher fell behind.
    Resync {
        /// The state.
        view: Arc<View>,
    },
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Changed { view, changes, .. } => {
                write!(
                    f,
                    "Changed({} changes, revision {})",
                    changes.len(),
                    view.revision
                )
            }
            Event::Resync { view } => write!(f, "Resync(revision {})", view.revision),
        }
    }
}

/// A reader's place in the stream of changes. Dropping it ends the announcements.
pub struct Watch {
    inbox: Arc<Inbox>,
    view: Arc<dyn Fn() -> Arc<View> + Send + Sync>,
}

#[derive(Default)]
struct Inbox {
    /// Guards what waits for this watcher; held only to add to it or to take it.
    waiting: Mutex<Waiting>,
    wake: Notify,
}

struct Waiting {
    changes: Vec<Change>,
    causes: Causes,
    resync: bool,
    closed: bool,
}

impl Waiting {
    /// What waits is no longer told change by change.
    fn start_again(&mut self, resyncs: &Counter) {
        self.changes = Vec::new();
        self.causes = Causes::default();
        if !self.resync {
            resyncs.inc();
        }
        self.resync = true;
    }
}

impl Default for Waiting {
    fn default() -> Self {
        Self {
            changes: Vec::new(),
            causes: Causes::default(),
            resync: true,
            closed: false,
        }
    }
}

/// All watchers of a store.
#[derive(Default)]
pub(crate) struct Watchers {
    /// Guards the list; held by the writer while it hands out changes.
    inboxes: Mutex<Vec<Weak<Inbox>>>,
    /// Watchers that were told to look at everything again.
    resyncs: Counter,
}

impl Watchers {
    pub(crate) fn add(&self, view: Arc<dyn Fn() -> Arc<View> + Send + Sync>) -> Watch {
        let inbox = Arc::new(Inbox::default());
        self.inboxes.lock().push(Arc::downgrade(&inbox));
        Watch { inbox, view }
    }

    pub(crate) fn announce(&self, changes: &[Change], causes: &Causes) {
        self.inboxes.lock().retain(|inbox| {
            let Some(inbox) = inbox.upgrade() else {
                return false;
            };
            let mut waiting = inbox.waiting.lock();
            if waiting.changes.len() + changes.len() > PENDING {
                waiting.start_again(&self.resyncs);
            } else if !waiting.resync {
                waiting.changes.extend_from_slice(changes);
                waiting.causes.extend(causes);
            }
            drop(waiting);
            inbox.wake.notify_one();
            true
        });
    }

    /// The state came from elsewhere as a whole: everybody looks at everything again.
    pub(crate) fn resync(&self) {
        for inbox in self.inboxes.lock().iter().filter_map(Weak::upgrade) {
            inbox.waiting.lock().start_again(&self.resyncs);
            inbox.wake.notify_one();
        }
    }

    pub(crate) fn resyncs(&self) -> &Counter {
        &self.resyncs
    }

    /// How many changes wait for the slowest watcher.
    pub(crate) fn most_pending(&self) -> usize {
        let inboxes = self.inboxes.lock();
        let pending = inboxes.iter().filter_map(Weak::upgrade);
        pending
            .map(|inbox| inbox.waiting.lock().changes.len())
            .max()
            .unwrap_or_default()
    }

    pub(crate) fn close(&self) {
        for inbox in self.inboxes.lock().iter().filter_map(Weak::upgrade) {
            inbox.waiting.lock().closed = true;
            inbox.wake.notify_one();
        }
    }
}

impl Watch {
    /// The next event. The first answers at once with the current state. `None`: the store is closed.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.take() {
                return event;
            }
            self.inbox.wake.notified().await;
        }
    }

    /// `None`: nothing to tell yet; `Some(None)`: the end.
    fn take(&self) -> Option<Option<Event>> {
        let mut waiting = self.inbox.waiting.lock();
        if std::mem::take(&mut waiting.resync) {
            waiting.changes = Vec::new();
            drop(waiting);
            return Some(Some(Event::Resync {
                view: (self.view)(),
            }));
        }
        if !waiting.changes.is_empty() {
            let changes = std::mem::take(&mut waiting.changes);
            let causes = std::mem::take(&mut waiting.causes);
            drop(waiting);
            return Some(Some(Event::Changed {
                view: (self.view)(),
                changes,
                causes,
            }));
        }
        waiting.closed.then_some(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tombolo_model::{RecordKey, Scope};

    #[tokio::test]
    async fn a_watcher_that_fell_behind_is_told_the_whole_state() {
        let watchers = Watchers::default();
        let mut watch = watchers.add(Arc::new(Arc::<View>::default));
        assert!(matches!(watch.next().await, Some(Event::Resync { .. })));
        let scope = Scope::new("111122223333", "us-west-2");
        let changes = vec![Change::Delete(scope, RecordKey::Namespace("n".into())); 5000];
        for _ in 0..3 {
            watchers.announce(&changes, &Causes::default());
        }
        assert!(
            matches!(watch.next().await, Some(Event::Changed { changes, .. }) if changes.len() == 15_000)
        );
        for _ in 0..4 {
            watchers.announce(&changes, &Causes::default());
        }
        assert!(matches!(watch.next().await, Some(Event::Resync { .. })));
    }
}
