//! The server's side of one stream, without I/O: what the client subscribed to, what it was sent, and what to send next.
//!
//! [`Session`] is the same for both protocols; [`delta`] and [`sotw`] translate between it
//! and the messages. Requests and snapshots go in, [`Push`]es come out of [`Session::next_push`]:
//!
//! - at most one response of a kind is in flight; changes meanwhile are coalesced;
//! - additions and changes go in [`Kind::PUSH_ORDER`], and only when all of them have been
//!   answered are removals sent, in [`Kind::REMOVAL_ORDER`] (make before break);
//! - listeners and routes wait until the clusters sent before them are warm, unless the
//!   client adopts everything in one step;
//! - while a client is stuck with a rejected listener, route table or cluster, what its
//!   last good version may still use is not taken away from it;
//! - a rejected version is not sent again; the next version is.
//!
//! What is remembered about a client is kept as exceptions from the snapshot, which all streams of a workload
//! share (see `overlay`), and a change marks the names that it touches. So a stream at rest
//! takes little memory, and a push costs what changed, however large the snapshot is.

mod cow_map;
pub mod delta;
mod push;
pub mod sotw;
mod type_state;
mod warming;

#[cfg(test)]
mod convergence_test;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

pub use self::push::Push;
use self::type_state::{InFlight, SentVersion, TypeState, Unsent};
use self::warming::Warming;
use crate::resource::{Kind, Resource};
use crate::sanitize;
use crate::snapshot::Snapshot;

/// How one of the two protocols reads requests.
pub trait ProtocolVariant: Send + Sync + 'static {
    /// The messages of the client.
    type Request: prost::Message + Default + Send + 'static;
    /// Which protocol it is.
    const PROTOCOL: Protocol;

    /// Takes the node out of a request: present in the first one only.
    fn node(request: &mut Self::Request) -> Option<crate::Node>;
    /// Applies a request to the session.
    fn receive(session: &mut Session, request: Self::Request) -> Result<AckOrNack, Violation>;
}

/// The two ways to speak xDS.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// `DeltaAggregatedResources`: differences, per resource.
    Delta,
    /// `StreamAggregatedResources`: state of the world.
    Sotw,
}

/// What a request said about an earlier response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AckOrNack {
    /// Nothing: a subscription, or an answer that is out of date.
    None,
    /// ACK.
    Acked {
        /// The kind of the response.
        kind: Kind,
        /// The revision of the snapshot that the response was made of.
        revision: u64,
    },
    /// NACK.
    Rejected {
        /// The kind of the response.
        kind: Kind,
        /// The revision of the snapshot that the response was made of.
        revision: u64,
        /// The resources that may be to blame: those that the reason mentions, or else all
        /// that were new in the response.
        names: Vec<Arc<str>>,
        /// What the client said.
        reason: String,
    },
}

/// A request that no client should send; the stream is closed with the message.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Violation {
    /// More names than a stream may ask for.
    #[error("more than {MAX_NAMES} names of resources that do not exist on one stream")]
    TooManyNames,
    /// A name longer than any resource has.
    #[error("a resource name of {0} bytes; the limit is {MAX_NAME_BYTES}")]
    LongName(usize),
}

/// How many names a stream may ask for that do not exist: those that do cost it nothing.
pub const MAX_NAMES: usize = 10_000;
/// The longest name that can be asked for. The planner's longest is a cluster's: the names of a mesh and
/// of a node, 255 bytes each, and a little more.
pub const MAX_NAME_BYTES: usize = 1024;
/// A version that a client brings is one of ours, or not worth remembering.
const MAX_VERSION_BYTES: usize = 64;
/// As much of the reason of a NACK is searched for names, and as much is kept.
const MAX_REASON_BYTES: usize = 16 << 10;

/// One stream: subscriptions, what was sent, what is in flight.
#[derive(Debug)]
pub struct Session {
    protocol: Protocol,
    snapshot: Arc<Snapshot>,
    types: [TypeState; 5],
    /// The number of responses; a nonce is the number of its response.
    serial: u64,
    /// `None` for a client that adopts a snapshot as a whole.
    warming: Option<Warming>,
}

impl Session {
    /// A stream that has not asked for anything yet.
    pub fn new(protocol: Protocol, snapshot: Arc<Snapshot>) -> Session {
        let warming = Some(Warming::default());
        Session {
            protocol,
            snapshot,
            types: Default::default(),
            serial: 0,
            warming,
        }
    }

    /// For a client that adopts related resources in one step, such as Tombolo's own: it
    /// gets everything at once, and listeners do not wait for clusters to warm.
    pub fn adopting_whole(self) -> Session {
        Session {
            warming: None,
            ..self
        }
    }

    /// Replaces what the client should hold.
    pub fn update(&mut self, snapshot: Arc<Snapshot>) {
        for kind in Kind::ALL {
            for name in self.snapshot.difference(&snapshot, kind) {
                self.types[kind.index()].touch(name);
            }
        }
        self.snapshot = snapshot;
    }

    /// What the client should hold.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// The next response, if there is one to send now.
    pub fn next_push(&mut self) -> Option<Push> {
        let push = Kind::PUSH_ORDER
            .into_iter()
            .find_map(|kind| self.changes(kind))
            .or_else(|| {
                let settled = self.types.iter().all(TypeState::is_settled);
                let mut kinds = Kind::REMOVAL_ORDER.into_iter();
                if settled {
                    kinds.find_map(|kind| self.removals(kind))
                } else {
                    None
                }
            });
        if push.is_none() {
            self.share();
        }
        push
    }

    /// Makes the current snapshot the base of what is remembered of the client.
    fn share(&mut self) {
        for kind in Kind::ALL {
            let current = self.snapshot.resources(kind);
            let state = &mut self.types[kind.index()];
            state.names.rebase(current);
            state.sent.rebase(current);
        }
    }

    /// Whether the client holds the current snapshot: everything it asked for was sent and
    /// acknowledged, and nothing is left to send. To be asked when [`Session::next_push`] has
    /// nothing.
    pub fn is_synced(&self) -> bool {
        self.types.iter().any(|state| state.opened) && self.types.iter().all(TypeState::is_synced)
    }

    /// Whether the current snapshot was sent, though perhaps not answered yet. To be asked
    /// when [`Session::next_push`] has nothing.
    pub fn is_sent(&self) -> bool {
        self.types.iter().any(|state| state.opened) && self.types.iter().all(TypeState::is_sent)
    }

    /// Whether every response was answered, one way or the other, and nothing is left to send. To be
    /// asked when [`Session::next_push`] has nothing.
    pub fn is_answered(&self) -> bool {
        self.is_sent() && self.types.iter().all(|state| state.in_flight.is_none())
    }

    /// How many resources of a kind the client was sent.
    pub fn sent(&self, kind: Kind) -> usize {
        self.types[kind.index()].sent.count(SentVersion::is_present)
    }

    fn state(&mut self, kind: Kind) -> &mut TypeState {
        &mut self.types[kind.index()]
    }

    /// What is new or changed of a kind, and names that turn out not to exist.
    fn changes(&mut self, kind: Kind) -> Option<Push> {
        if matches!(kind, Kind::Listener | Kind::Route)
            && (self.has_unsent_clusters() || self.waits_for_warming())
        {
            return None;
        }
        let current = self.snapshot.resources(kind);
        let state = &mut self.types[kind.index()];
        if state.in_flight.is_some() || !state.is_touched() {
            return None;
        }
        let Unsent {
            changed,
            mut absent,
            must_respond,
        } = state.take_unsent(current);
        if self.protocol == Protocol::Sotw {
            // State of the world cannot say that something does not exist.
            absent.clear();
        }
        if changed.is_empty() && absent.is_empty() && !must_respond {
            return None;
        }
        let names = changed
            .iter()
            .map(|resource| resource.name().clone())
            .collect();
        for resource in &changed {
            state.record_sent(resource);
        }
        for name in &absent {
            state.sent.insert(name.clone(), SentVersion::Absent);
        }
        if kind == Kind::Cluster {
            self.rewarm(&changed);
            let serial = self.serial + 1;
            self.warming
                .iter_mut()
                .for_each(|warming| warming.begin(&changed, serial));
        }
        let resources = if self.lists_everything(kind) {
            self.everything_sent(kind)
        } else {
            changed
        };
        Some(self.push(kind, names, resources, absent, false))
    }

    /// What is gone, once nothing uses it any more.
    fn removals(&mut self, kind: Kind) -> Option<Push> {
        let state = &self.types[kind.index()];
        if state.in_flight.is_some() || state.unremoved.is_empty() || self.is_in_use(kind) {
            return None;
        }
        let snapshot = self.snapshot.clone();
        let state = self.state(kind);
        let gone = state.take_unremoved(snapshot.resources(kind));
        for name in &gone {
            state.forget(name);
        }
        state
            .nacked
            .retain(|name| snapshot.get(kind, name).is_some());
        let whole = self.lists_everything(kind);
        // State of the world cannot say that endpoints or routes are gone. Nothing refers to
        // them any more, so forgetting them here is enough.
        if gone.is_empty() || (self.protocol == Protocol::Sotw && !whole) {
            return None;
        }
        let state = self.state(kind);
        for name in gone.iter().filter(|name| state.names.contains(name)) {
            state.sent.insert(name.clone(), SentVersion::Absent);
        }
        let resources = if whole {
            self.everything_sent(kind)
        } else {
            Vec::new()
        };
        let removed = if whole { Vec::new() } else { gone.clone() };
        Some(self.push(kind, gone, resources, removed, true))
    }

    /// Whether the client may still use resources of this kind that the snapshot no longer
    /// has, because it rejected the new version of what refers to them.
    fn is_in_use(&self, kind: Kind) -> bool {
        let users: &[Kind] = match kind {
            Kind::Listener => &[],
            Kind::Route => &[Kind::Listener],
            Kind::Cluster => &[Kind::Listener, Kind::Route],
            Kind::Endpoint => &[Kind::Listener, Kind::Route, Kind::Cluster],
            Kind::Secret => &[Kind::Listener, Kind::Cluster],
        };
        users
            .iter()
            .any(|user| !self.types[user.index()].nacked.is_empty())
    }

    /// A changed cluster is warmed anew and waits for its endpoints, which the client asked
    /// for long ago and does not ask for again. So they are sent again.
    fn rewarm(&mut self, clusters: &[Arc<Resource>]) {
        let endpoints = &mut self.types[Kind::Endpoint.index()];
        for reference in clusters.iter().flat_map(|cluster| cluster.references()) {
            if reference.kind == Kind::Endpoint && endpoints.sent.remove(&reference.name) {
                endpoints.touch(&reference.name);
            }
        }
    }

    /// Whether clusters changed that cannot be sent yet, because an earlier response about clusters is
    /// not answered. A route that names one of them must not overtake it, whoever the client is.
    fn has_unsent_clusters(&self) -> bool {
        let clusters = &self.types[Kind::Cluster.index()];
        clusters.in_flight.is_some() && clusters.is_touched()
    }

    /// Whether listeners and routes have to wait until clusters are warm.
    fn waits_for_warming(&mut self) -> bool {
        let [clusters, endpoints] = [Kind::Cluster, Kind::Endpoint].map(Kind::index);
        let current = self.snapshot.resources(Kind::Endpoint);
        self.warming.as_mut().is_some_and(|warming| {
            warming.holds(&self.types[clusters], &self.types[endpoints], current)
        })
    }

    /// Whether responses of this kind must list everything: in state of the world, what a
    /// list of clusters or listeners does not contain is gone.
    fn lists_everything(&self, kind: Kind) -> bool {
        self.protocol == Protocol::Sotw && kind.is_root()
    }

    /// Everything the client should hold of a kind right now, including what is to be
    /// removed later.
    fn everything_sent(&self, kind: Kind) -> Vec<Arc<Resource>> {
        let sent = self.types[kind.index()].sent.iter();
        let mut whole: Vec<Arc<Resource>> = sent
            .filter_map(|(_, sent)| match sent {
                SentVersion::Resource(resource) => Some(resource),
                SentVersion::Held(_) | SentVersion::Absent => None,
            })
            .collect();
        whole.sort_by(|a, b| a.name().cmp(b.name()));
        whole
    }

    fn push(
        &mut self,
        kind: Kind,
        names: Vec<Arc<str>>,
        resources: Vec<Arc<Resource>>,
        removed: Vec<Arc<str>>,
        removes: bool,
    ) -> Push {
        self.serial += 1;
        let (serial, revision) = (self.serial, self.snapshot.revision());
        let nonce = serial.to_string();
        let whole = self.lists_everything(kind);
        let state = self.state(kind);
        state.last_nonce.clone_from(&nonce);
        state.in_flight = Some(InFlight {
            serial,
            nonce: nonce.clone(),
            revision,
            names,
            whole,
            removes,
        });
        Push {
            kind,
            nonce,
            revision,
            resources,
            removed,
        }
    }

    /// Applies the nonce and the error of a request.
    fn answered(&mut self, kind: Kind, nonce: &str, error: Option<String>) -> AckOrNack {
        let state = self.state(kind);
        let Some(answered) = state.in_flight.take_if(|flight| flight.nonce == nonce) else {
            return AckOrNack::None; // Stale: the answer to the newest response is on its way.
        };
        let InFlight {
            serial,
            revision,
            mut names,
            whole,
            removes,
            ..
        } = answered;
        if kind == Kind::Endpoint {
            self.warming
                .iter_mut()
                .for_each(|warming| warming.answered(&names, serial));
        }
        let state = self.state(kind);
        // What the client keeps of a list that it rejected is not known.
        state.list_rejected = whole && error.is_some();
        let Some(reason) = error else {
            if !state.nacked.is_empty() {
                state.nacked.retain(|name| !whole && !names.contains(name));
            }
            return AckOrNack::Acked { kind, revision };
        };
        let reason = sanitize::text(reason, MAX_REASON_BYTES);
        if names.iter().any(|name| mentions(&reason, name)) {
            names.retain(|name| mentions(&reason, name));
        }
        for name in &names {
            // It may have been unsubscribed meanwhile.
            if state.wildcard || state.names.contains(name) {
                state.nacked.insert(name.clone());
                if removes {
                    // Not now, or it would be a loop; with the next change of this kind.
                    state.record_rejected_removal(name);
                }
            }
        }
        AckOrNack::Rejected {
            kind,
            revision,
            names,
            reason,
        }
    }

    /// The kind that a request is about. A request of a type that is not served is ignored, as the protocol says.
    fn kind_of(type_url: &str) -> Option<Kind> {
        let kind = Kind::from_type_url(type_url);
        if kind.is_none() {
            let type_url = sanitize::log_text(type_url);
            tracing::debug!(type_url, "ignored a request of unknown type");
        }
        kind
    }

    /// A name that the client sent: the snapshot's own where it has it, so that it takes no memory.
    fn name(&self, kind: Kind, name: String) -> Result<Arc<str>, Violation> {
        if name.len() > MAX_NAME_BYTES {
            return Err(Violation::LongName(name.len()));
        }
        let known = self.snapshot.resources(kind).get_key_value(&*name);
        Ok(known.map_or_else(|| name.into(), |(name, _)| name.clone()))
    }

    /// Bounds what a client can make the server remember.
    fn check_names(&self, kind: Kind) -> Result<(), Violation> {
        let state = &self.types[kind.index()];
        let current = self.snapshot.resources(kind);
        let is_large = |exceptions: usize| exceptions > MAX_NAMES;
        if is_large(state.names.exceptions()) && is_large(state.names.foreign(current))
            || is_large(state.sent.exceptions()) && is_large(state.sent.foreign(current))
        {
            return Err(Violation::TooManyNames);
        }
        Ok(())
    }
}

/// Whether a text has a name in it that is not part of a longer one.
fn mentions(text: &str, name: &str) -> bool {
    let is_inner = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '/' | '|');
    !name.is_empty()
        && text.match_indices(name).any(|(at, _)| {
            let (before, after) = (&text[..at], &text[at + name.len()..]);
            !before.ends_with(is_inner) && !after.starts_with(is_inner)
        })
}
