//! Watches: changes announced to readers that may be slow.

use parking_lot::Mutex;
use std::{
    fmt,
    sync::{Arc, Weak},
};
use tokio::sync::Notify;
use tombolo_model::{Change, View};
use tombolo_telemetry::{Causes, metrics::Counter};

/// Changes that are kept for one slow watcher; beyond that it gets a resync.
const MAX_PENDING: usize = 16_384;

/// An event of a watch.
pub enum Event {
    /// These changes happened, in this order, since the last event. The view holds them, and perhaps
    /// newer ones, which the next event has.
    Changed {
        /// The state.
        view: Arc<View>,
        /// The changes since the last event.
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

/// A reader's position in the stream of changes. Dropping it unsubscribes.
pub struct Watch {
    mailbox: Arc<Mailbox>,
    view: Arc<dyn Fn() -> Arc<View> + Send + Sync>,
}

#[derive(Default)]
struct Mailbox {
    /// Guards the changes that this watcher has not taken yet; held only to add to them or to take them.
    pending: Mutex<Pending>,
    wake: Notify,
}

struct Pending {
    changes: Vec<Change>,
    causes: Causes,
    resync: bool,
    closed: bool,
}

impl Pending {
    /// Replaces pending changes by a resync.
    fn start_again(&mut self, resyncs: &Counter) {
        self.changes = Vec::new();
        self.causes = Causes::default();
        if !self.resync {
            resyncs.inc();
        }
        self.resync = true;
    }
}

impl Default for Pending {
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
    mailboxes: Mutex<Vec<Weak<Mailbox>>>,
    /// Resyncs that were sent to watchers.
    resyncs: Counter,
}

impl Watchers {
    pub(crate) fn add(&self, view: Arc<dyn Fn() -> Arc<View> + Send + Sync>) -> Watch {
        let mailbox = Arc::new(Mailbox::default());
        self.mailboxes.lock().push(Arc::downgrade(&mailbox));
        Watch { mailbox, view }
    }

    pub(crate) fn announce(&self, changes: &[Change], causes: &Causes) {
        self.mailboxes.lock().retain(|mailbox| {
            let Some(mailbox) = mailbox.upgrade() else {
                return false;
            };
            let mut pending = mailbox.pending.lock();
            if pending.changes.len() + changes.len() > MAX_PENDING {
                pending.start_again(&self.resyncs);
            } else if !pending.resync {
                pending.changes.extend_from_slice(changes);
                pending.causes.extend(causes);
            }
            drop(pending);
            mailbox.wake.notify_one();
            true
        });
    }

    /// The whole state was replaced: all watchers get a resync.
    pub(crate) fn resync(&self) {
        for mailbox in self.mailboxes.lock().iter().filter_map(Weak::upgrade) {
            mailbox.pending.lock().start_again(&self.resyncs);
            mailbox.wake.notify_one();
        }
    }

    pub(crate) fn resyncs(&self) -> &Counter {
        &self.resyncs
    }

    /// The number of changes that wait for the slowest watcher.
    pub(crate) fn most_pending(&self) -> usize {
        let mailboxes = self.mailboxes.lock();
        let pending = mailboxes.iter().filter_map(Weak::upgrade);
        pending
            .map(|mailbox| mailbox.pending.lock().changes.len())
            .max()
            .unwrap_or_default()
    }

    pub(crate) fn close(&self) {
        for mailbox in self.mailboxes.lock().iter().filter_map(Weak::upgrade) {
            mailbox.pending.lock().closed = true;
            mailbox.wake.notify_one();
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
            self.mailbox.wake.notified().await;
        }
    }

    /// Whether [`Watch::next`] would answer at once.
    pub fn is_pending(&self) -> bool {
        let pending = self.mailbox.pending.lock();
        pending.resync || pending.closed || !pending.changes.is_empty()
    }

    /// Waits until there is more than there was at the last call of this or of [`Watch::next`], without taking it. May
    /// answer once too early. Cancel safe.
    pub async fn announced(&mut self) {
        self.mailbox.wake.notified().await;
    }

    /// `None`: no event yet; `Some(None)`: the store is closed.
    fn take(&self) -> Option<Option<Event>> {
        let mut pending = self.mailbox.pending.lock();
        if std::mem::take(&mut pending.resync) {
            pending.changes = Vec::new();
            drop(pending);
            return Some(Some(Event::Resync {
                view: (self.view)(),
            }));
        }
        if !pending.changes.is_empty() {
            let changes = std::mem::take(&mut pending.changes);
            let causes = std::mem::take(&mut pending.causes);
            drop(pending);
            return Some(Some(Event::Changed {
                view: (self.view)(),
                changes,
                causes,
            }));
        }
        pending.closed.then_some(None)
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
