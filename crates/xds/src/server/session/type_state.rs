//! The state of one resource type on one stream.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::cow_map::{CowMap, FromResource};
use crate::resource::Resource;
use crate::snapshot::Resources;

/// The subscriptions, sent versions and response in flight of one resource type.
#[derive(Debug, Default)]
pub(super) struct TypeState {
    /// Whether there was a request for this type.
    pub(super) opened: bool,
    /// Whether the client subscribes to all resources.
    pub(super) wildcard: bool,
    /// Whether the client ever named a resource; since then an empty list does not mean all resources.
    pub(super) named: bool,
    /// The names that the client subscribes to.
    pub(super) names: CowMap<Subscribed>,
    /// The version of each resource that the client has if it accepted all responses.
    pub(super) sent: CowMap<SentVersion>,
    /// The response that is not answered yet.
    pub(super) in_flight: Option<InFlight>,
    /// The nonce of the newest response.
    pub(super) last_nonce: String,
    /// Resources of rejected responses: the client may have an older version, or none.
    pub(super) nacked: BTreeSet<Arc<str>>,
    /// Whether the last full list was rejected. The next change of this type sends the full list again, even if
    /// it equals the one that was sent.
    pub(super) list_rejected: bool,
    /// Whether a response is due even if it is empty: the client waits for the first response to a wildcard.
    pub(super) must_respond: bool,
    /// Names that may have to be sent: those that changed since the last response.
    pub(super) dirty: NameSet,
    /// Names that may have to be removed: those that changed since the last removal.
    pub(super) maybe_removed: NameSet,
    /// Removals that the client rejected; retried with the next change of this type.
    rejected_removals: BTreeSet<Arc<str>>,
}

/// Marks a name that the client subscribes to.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Subscribed;

impl FromResource for Subscribed {
    fn from_resource(_: &Arc<Resource>) -> Self {
        Subscribed
    }
}

/// The version of a resource that a client has.
#[derive(Clone, Debug)]
pub(super) enum SentVersion {
    /// This resource was sent.
    Resource(Arc<Resource>),
    /// The client has this version from an earlier stream, according to its `initial_resource_versions`.
    FromClient(Arc<str>),
    /// The client was told that the resource does not exist.
    Absent,
}

impl SentVersion {
    /// An unknown version, which must be replaced or removed.
    pub(super) fn stale() -> SentVersion {
        SentVersion::FromClient("".into())
    }

    pub(super) fn is_present(&self) -> bool {
        !matches!(self, SentVersion::Absent)
    }
}

impl FromResource for SentVersion {
    fn from_resource(resource: &Arc<Resource>) -> Self {
        SentVersion::Resource(resource.clone())
    }
}

impl PartialEq for SentVersion {
    fn eq(&self, other: &Self) -> bool {
        use SentVersion::{Absent, FromClient, Resource};
        match (self, other) {
            (Resource(one), Resource(two)) => Arc::ptr_eq(one, two) || one == two,
            (FromClient(one), FromClient(two)) => one == two,
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
    /// The names that are new in the response, or that it removes.
    pub(super) names: Vec<Arc<str>>,
    /// Whether the response lists all resources.
    pub(super) full_list: bool,
    /// Whether the response only removes. Other types do not wait for its answer.
    pub(super) removes: bool,
}

impl TypeState {
    /// Marks a name whose resource may have to be sent or removed.
    pub(super) fn mark_dirty(&mut self, name: &Arc<str>) {
        self.dirty.some.insert(name.clone());
        self.maybe_removed.some.insert(name.clone());
        self.retry_rejected();
    }

    /// Marks every name.
    pub(super) fn mark_all_dirty(&mut self) {
        self.dirty.all = true;
        self.maybe_removed.all = true;
        self.retry_rejected();
    }

    /// Retries rejected removals and a rejected full list, now that this type has changed.
    fn retry_rejected(&mut self) {
        self.maybe_removed.some.append(&mut self.rejected_removals);
        self.must_respond |= self.list_rejected;
    }

    /// Whether there may be something to send.
    pub(super) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty() || self.must_respond
    }

    /// The resources that are new or changed for the client, and subscribed names that do not exist, in order.
    /// Clears the dirty names.
    pub(super) fn take_changes(&mut self, current: &Resources) -> Changes {
        let NameSet { all, some } = std::mem::take(&mut self.dirty);
        let mut changes = Changes {
            must_respond: std::mem::take(&mut self.must_respond),
            ..Changes::default()
        };
        if !all {
            for name in &some {
                if self.wildcard || self.names.contains(name) {
                    self.add_change(name, current, &mut changes);
                }
            }
        } else if self.wildcard {
            let resources = current.values();
            changes.changed = resources.filter(|r| self.needs(r)).cloned().collect();
            let names = self.names.iter().map(|(name, _)| name);
            for name in names.filter(|name| !current.contains_key(*name)) {
                self.add_change(name, current, &mut changes);
            }
        } else {
            for (name, _) in self.names.iter() {
                self.add_change(name, current, &mut changes);
            }
        }
        changes
    }

    fn add_change(&self, name: &Arc<str>, current: &Resources, changes: &mut Changes) {
        match current.get(name) {
            Some(resource) if self.needs(resource) => changes.changed.push(resource.clone()),
            None if self.names.contains(name) && !self.sent.contains(name) => {
                changes.absent.push(name.clone());
            }
            _ => {}
        }
    }

    /// Whether this version was not sent to the client.
    fn needs(&self, resource: &Resource) -> bool {
        match self.sent.get(resource.name()) {
            Some(SentVersion::Resource(sent)) => sent.version() != resource.version(),
            Some(SentVersion::FromClient(version)) => version != *resource.version(),
            Some(SentVersion::Absent) | None => true,
        }
    }

    pub(super) fn record_sent(&mut self, resource: &Arc<Resource>) {
        let sent = SentVersion::Resource(resource.clone());
        self.sent.insert(resource.name().clone(), sent);
    }

    /// Records that the client rejected the removal of a resource.
    pub(super) fn record_rejected_removal(&mut self, name: &Arc<str>) {
        self.sent.insert(name.clone(), SentVersion::stale());
        self.rejected_removals.insert(name.clone());
    }

    /// Forgets a name.
    pub(super) fn forget(&mut self, name: &str) {
        self.sent.remove(name);
        self.nacked.remove(name);
    }

    /// The names that the client has and that do not exist any more, in order. Clears `maybe_removed`.
    pub(super) fn take_removals(&mut self, current: &Resources) -> Vec<Arc<str>> {
        let NameSet { all, some } = std::mem::take(&mut self.maybe_removed);
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

    /// Whether all additions and changes were sent and answered.
    pub(super) fn is_settled(&self) -> bool {
        !self.is_dirty() && self.in_flight.as_ref().is_none_or(|flight| flight.removes)
    }

    /// Whether all additions and changes were sent.
    pub(super) fn is_sent(&self) -> bool {
        !self.is_dirty()
    }

    /// Whether the client has acknowledged all changes and removals.
    pub(super) fn is_synced(&self) -> bool {
        let accepted =
            self.nacked.is_empty() && !self.list_rejected && self.rejected_removals.is_empty();
        self.is_sent() && self.in_flight.is_none() && accepted && self.maybe_removed.is_empty()
    }
}

/// The result of [`TypeState::take_changes`].
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) changed: Vec<Arc<Resource>>,
    /// Subscribed names that do not exist, which the client was not told yet.
    pub(super) absent: Vec<Arc<str>>,
    /// Whether a response is due even if it is empty.
    pub(super) must_respond: bool,
}
