//! What one stream knows about one kind.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::cow_map::{Overlay, Shared};
use crate::resource::Resource;
use crate::snapshot::Resources;

/// Subscriptions, what was sent, and what is in flight, for one kind.
#[derive(Debug, Default)]
pub(super) struct TypeState {
    /// Whether there was a request for this kind.
    pub(super) opened: bool,
    /// Whether the client wants everything.
    pub(super) wildcard: bool,
    /// Whether the client ever named a resource; then an empty list no longer means all.
    pub(super) named: bool,
    /// The names that the client asked for.
    pub(super) names: Overlay<Subscribed>,
    /// What the client holds if it accepted everything it was sent.
    pub(super) sent: Overlay<SentVersion>,
    /// The response that is not answered yet.
    pub(super) in_flight: Option<InFlight>,
    /// The nonce of the newest response.
    pub(super) last_nonce: String,
    /// Resources of rejected responses: the client may hold an older version, or none.
    pub(super) nacked: BTreeSet<Arc<str>>,
    /// Whether the last list of everything was rejected. Then the next change of this kind
    /// sends the list again, even if it seems to be what the client has.
    pub(super) list_rejected: bool,
    /// Whether a response is due even if it is empty: the first one of a wildcard, which
    /// the client waits for.
    pub(super) must_respond: bool,
    /// Names that may have to be sent: all that changed since the last response.
    pub(super) unsent: NameSet,
    /// What the client may hold although the snapshot does not have it.
    pub(super) unremoved: NameSet,
    /// Removals that the client rejected; tried again with the next change of this kind.
    rejected_removals: BTreeSet<Arc<str>>,
}

/// A name that the client asked for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Subscribed;

impl Shared for Subscribed {
    fn of(_: &Arc<Resource>) -> Self {
        Subscribed
    }
}

/// What a client was sent for a name.
#[derive(Clone, Debug)]
pub(super) enum SentVersion {
    /// This resource.
    Resource(Arc<Resource>),
    /// The client brought this version from an earlier stream.
    Held(Arc<str>),
    /// It does not exist.
    Absent,
}

impl SentVersion {
    /// The client has something that must be replaced or removed.
    pub(super) fn stale() -> SentVersion {
        SentVersion::Held("".into())
    }

    pub(super) fn is_present(&self) -> bool {
        !matches!(self, SentVersion::Absent)
    }
}

impl Shared for SentVersion {
    fn of(resource: &Arc<Resource>) -> Self {
        SentVersion::Resource(resource.clone())
    }
}

impl PartialEq for SentVersion {
    fn eq(&self, other: &Self) -> bool {
        use SentVersion::{Absent, Held, Resource};
        match (self, other) {
            (Resource(one), Resource(two)) => Arc::ptr_eq(one, two) || one == two,
            (Held(one), Held(two)) => one == two,
            (Absent, Absent) => true,
            _ => false,
        }
    }
}

/// A set of names, or all names.
#[derive(Debug, Default)]
pub(super) struct NameSet {
    pub(super) all: bool,
    pub(super) some: BTreeSet<Arc<str>>,
}

impl NameSet {
    pub(super) fn is_empty(&self) -> bool {
        !self.all && self.some.is_empty()
    }
}

/// A response that waits for its ACK or NACK.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) serial: u64,
    pub(super) nonce: String,
    pub(super) revision: u64,
    /// What was new in it, or what was removed.
    pub(super) names: Vec<Arc<str>>,
    /// Whether it listed everything.
    pub(super) whole: bool,
    /// Whether it only removes. Such a response holds nothing else up.
    pub(super) removes: bool,
}

impl TypeState {
    /// Marks a name.
    pub(super) fn touch(&mut self, name: &Arc<str>) {
        self.unsent.some.insert(name.clone());
        self.unremoved.some.insert(name.clone());
        self.touched();
    }

    /// Marks every name.
    pub(super) fn touch_all(&mut self) {
        self.unsent.all = true;
        self.unremoved.all = true;
        self.touched();
    }

    fn touched(&mut self) {
        self.unremoved.some.append(&mut self.rejected_removals);
        self.must_respond |= self.list_rejected;
    }

    /// Whether there may be something to send.
    pub(super) fn is_touched(&self) -> bool {
        !self.unsent.is_empty() || self.must_respond
    }

    /// What is new or changed for the client, and names that turn out not to exist, in order. Clears the marks.
    pub(super) fn take_unsent(&mut self, current: &Resources) -> Unsent {
        let NameSet { all, some } = std::mem::take(&mut self.unsent);
        let mut unsent = Unsent {
            must_respond: std::mem::take(&mut self.must_respond),
            ..Unsent::default()
        };
        if !all {
            for name in &some {
                if self.wildcard || self.names.contains(name) {
                    self.check(name, current, &mut unsent);
                }
            }
        } else if self.wildcard {
            let resources = current.values();
            unsent.changed = resources.filter(|r| self.needs(r)).cloned().collect();
            let names = self.names.iter().map(|(name, _)| name);
            for name in names.filter(|name| !current.contains_key(*name)) {
                self.check(name, current, &mut unsent);
            }
        } else {
            for (name, _) in self.names.iter() {
                self.check(name, current, &mut unsent);
            }
        }
        unsent
    }

    fn check(&self, name: &Arc<str>, current: &Resources, unsent: &mut Unsent) {
        match current.get(name) {
            Some(resource) if self.needs(resource) => unsent.changed.push(resource.clone()),
            None if self.names.contains(name) && !self.sent.contains(name) => {
                unsent.absent.push(name.clone());
            }
            _ => {}
        }
    }

    /// Whether the client was not sent this version.
    fn needs(&self, resource: &Resource) -> bool {
        match self.sent.get(resource.name()) {
            Some(SentVersion::Resource(sent)) => sent.version() != resource.version(),
            Some(SentVersion::Held(version)) => version != *resource.version(),
            Some(SentVersion::Absent) | None => true,
        }
    }

    pub(super) fn record_sent(&mut self, resource: &Arc<Resource>) {
        let sent = SentVersion::Resource(resource.clone());
        self.sent.insert(resource.name().clone(), sent);
    }

    /// The client rejected that this is removed.
    pub(super) fn record_rejected_removal(&mut self, name: &Arc<str>) {
        self.sent.insert(name.clone(), SentVersion::stale());
        self.rejected_removals.insert(name.clone());
    }

    /// Drops all memory of a name.
    pub(super) fn forget(&mut self, name: &str) {
        self.sent.remove(name);
        self.nacked.remove(name);
    }

    /// The names that the client holds and that do not exist any more, in order. Clears the marks.
    pub(super) fn take_unremoved(&mut self, current: &Resources) -> Vec<Arc<str>> {
        let NameSet { all, some } = std::mem::take(&mut self.unremoved);
        let is_gone = |name: &Arc<str>, sent: Option<SentVersion>| {
            sent.is_some_and(|sent| sent.is_present()) && !current.contains_key(name)
        };
        if !all {
            let mut gone = some;
            gone.retain(|name| is_gone(name, self.sent.get(name)));
            return gone.into_iter().collect();
        }
        let sent = self.sent.iter();
        let mut gone: Vec<Arc<str>> = sent
            .filter(|(name, sent)| is_gone(name, Some(sent.clone())))
            .map(|(name, _)| name.clone())
            .collect();
        gone.sort();
        gone
    }

    /// Whether all additions were sent and answered.
    pub(super) fn is_settled(&self) -> bool {
        !self.is_touched() && self.in_flight.as_ref().is_none_or(|flight| flight.removes)
    }

    /// Whether the client was sent everything new.
    pub(super) fn is_sent(&self) -> bool {
        !self.is_touched()
    }

    /// Whether the client holds what it should.
    pub(super) fn is_synced(&self) -> bool {
        let accepted =
            self.nacked.is_empty() && !self.list_rejected && self.rejected_removals.is_empty();
        self.is_sent() && self.in_flight.is_none() && accepted && self.unremoved.is_empty()
    }
}

/// What [`TypeState::take_unsent`] found.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    pub(super) changed: Vec<Arc<Resource>>,
    /// Names that the client asked for and that do not exist, if it does not know that yet.
    pub(super) absent: Vec<Arc<str>>,
    /// Whether a response is due in any case.
    pub(super) must_respond: bool,
}
