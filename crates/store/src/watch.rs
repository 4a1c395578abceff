//! Watches: announce changes to readers, which may be slow.

use parking_lot::Mutex;
use std::{
    fmt,
    sync::{Arc, Weak},
};
use tokio::sync::Notify;
use tombolo_model::{Change, View};
use tombolo_telemetry::{Causes, metrics::Counter};

/// The greatest number of changes that are kept for a watcher; a slower one gets a resync.
const MAX_PENDING: usize = 16_384;

/// An event of a watch.
pub enum Event {
    /// Changes since the last event, in order. The view has them, and perhaps newer ones, which are in the next event.
    Changed {
        /// The current state.
        view: Arc<View>,
        /// The changes since the last event.
        changes: Vec<Change>,
        /// The ids of the API calls that caused these changes, at this replica or another.
        causes: Causes,
    },
    /// The full state: at the start, when the watcher fell behind, and when the state was replaced.
    Resync {
        /// The current state.
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

/// A watch of a store. Dropping it ends the watch.
pub struct Watch {
    mailbox: Arc<Mailbox>,
    view: Arc<dyn Fn() -> Arc<View> + Send + Sync>,
}

#[derive(Default)]
struct Mailbox {
    /// Guards the changes that this watcher has not taken yet; locked only to add to them or to take them.
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
    fn set_resync(&mut self, resyncs: &Counter) {
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
    /// Guards the list; locked by the writer while it announces changes.
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
                pending.set_resync(&self.resyncs);
            } else if !pending.resync {
                pending.changes.extend_from_slice(changes);
                pending.causes.extend(causes);
            }
            drop(pending);
            mailbox.wake.notify_one();
            true
        });
    }

    /// Sends a resync to all watchers, because the full state was replaced.
    pub(crate) fn resync(&self) {
        for mailbox in self.mailboxes.lock().iter().filter_map(Weak::upgrade) {
            mailbox.pending.lock().set_resync(&self.resyncs);
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
    /// The next event; the first is a resync with the current state. `None` once the store is closed. Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.take() {
                return event;
            }
            self.mailbox.wake.notified().await;
        }
    }

    /// Whether [`Watch::next`] would return at once.
    pub fn is_pending(&self) -> bool {
        let pending = self.mailbox.pending.lock();
        pending.resync || pending.closed || !pending.changes.is_empty()
    }

    /// Waits until something is announced after the last call of this or of [`Watch::next`], without taking it. May
    /// return early once. Cancel safe.
    pub async fn announced(&mut self) {
        self.mailbox.wake.notified().await;
    }

    /// Takes the next event: `None` if there is none yet, `Some(None)` if the store is closed.
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
