//! What one stream knows about one kind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::resource::Resource;
use crate::snapshot::Resources;

/// Subscriptions, what was told, and what is in flight, for one kind.
#[derive(Debug, Default)]
pub(super) struct Track {
    /// Whether there was a request for this kind.
    pub(super) opened: bool,
    /// Whether the client wants everything.
    pub(super) wildcard: bool,
    /// Whether the client ever named a resource; then an empty list no longer means all.
    pub(super) named: bool,
    /// The names that the client asked for.
    pub(super) names: BTreeSet<Arc<str>>,
    /// What the client holds if it accepted everything it was sent.
    pub(super) told: BTreeMap<Arc<str>, Told>,
    /// The response that is not answered yet.
    pub(super) in_flight: Option<InFlight>,
    /// The nonce of the newest response.
    pub(super) last_nonce: String,
    /// Resources of rejected responses: the client may hold an older version, or none.
    pub(super) suspects: BTreeSet<Arc<str>>,
    /// Whether the last list of everything was rejected. Then the next change of this kind
    /// sends the list again, even if it seems to be what the client has.
    pub(super) list_rejected: bool,
    /// Whether a response is due even if it is empty: the first one of a wildcard, which
    /// the client waits for.
    pub(super) due: bool,
    /// Whether something to send may have come up since it was last looked for.
    touched: bool,
    /// Whether the client may hold something that the snapshot does not have.
    pub(super) may_hold_more: bool,
}

/// What a client was told about a name.
#[derive(Debug)]
pub(super) enum Told {
    /// It has this version. The resource is not known if the client brought the version
    /// from an earlier stream.
    Present {
        version: Arc<str>,
        resource: Option<Arc<Resource>>,
    },
    /// It does not exist.
    Absent,
}

impl Told {
    /// The client has something that must be replaced or removed.
    pub(super) fn stale() -> Told {
        Told::Present {
            version: "".into(),
            resource: None,
        }
    }

    pub(super) fn resource(&self) -> Option<&Arc<Resource>> {
        match self {
            Told::Present { resource, .. } => resource.as_ref(),
            Told::Absent => None,
        }
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

impl Track {
    /// Something changed: look for things to send.
    pub(super) fn touch(&mut self) {
        self.touched = true;
        self.may_hold_more = true;
        self.due |= self.list_rejected;
    }

    pub(super) fn is_touched(&self) -> bool {
        self.touched || self.due
    }

    /// Marks as looked at; whether a response is due in any case.
    pub(super) fn take_touched(&mut self) -> bool {
        self.touched = false;
        std::mem::take(&mut self.due)
    }

    /// Whether the client was not told this version.
    pub(super) fn needs(&self, resource: &Resource) -> bool {
        match self.told.get(resource.name()) {
            Some(Told::Present { version, .. }) => version != resource.version(),
            Some(Told::Absent) | None => true,
        }
    }

    pub(super) fn tell(&mut self, resource: &Arc<Resource>) {
        let version = resource.version().clone();
        let told = Told::Present {
            version,
            resource: Some(resource.clone()),
        };
        self.told.insert(resource.name().clone(), told);
    }

    /// Drops all memory of a name.
    pub(super) fn forget(&mut self, name: &str) {
        self.told.remove(name);
        self.suspects.remove(name);
    }

    /// The names that the client holds and that do not exist any more.
    pub(super) fn gone<'a>(&'a self, current: &Resources) -> impl Iterator<Item = &'a Arc<str>> {
        let held = self
            .told
            .iter()
            .filter(|(_, told)| matches!(told, Told::Present { .. }));
        held.map(|(name, _)| name)
            .filter(|name| !current.contains_key(*name))
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
        let accepted = self.suspects.is_empty() && !self.list_rejected;
        self.is_sent() && self.in_flight.is_none() && accepted && !self.may_hold_more
    }
}
