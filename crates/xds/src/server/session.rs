//! The server's state of one stream, without I/O: the client's subscriptions, the versions that were sent, and the next
//! response.
//!
//! [`Session`] is the same for both protocols; [`delta`] and [`sotw`] translate their messages. Requests and snapshots
//! go in, [`Response`]es come out of [`Session::next_push`]:
//!
//! - at most one response of a kind is in flight; changes meanwhile are coalesced;
//! - additions and changes are sent in [`Kind::PUSH_ORDER`]; removals are sent in [`Kind::REMOVAL_ORDER`] once all
//!   additions and changes have been answered (make before break);
//! - listeners and routes wait until the clusters sent before them are warm, unless the client supports atomic updates;
//! - while a client rejects a listener, route configuration or cluster, no resource that its last good version may use
//!   is removed;
//! - a rejected version is not sent again; the next version is.
//!
//! The state is kept as overrides of the snapshot, which all streams of a workload share (see `cow_map`), and a change
//! marks the affected names as dirty. So an idle stream takes little memory, and the cost of a push depends on the
//! change, not on the size of the snapshot.

mod cow_map;
pub mod delta;
mod response;
pub mod sotw;
mod type_state;
mod warming;

#[cfg(test)]
mod convergence_test;
#[cfg(test)]
pub(crate) mod test_support;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use self::response::Response;
use self::type_state::{Changes, InFlight, SentVersion, TypeState};
use self::warming::Warming;
use crate::resource::{Kind, Resource};
use crate::sanitize;
use crate::snapshot::Snapshot;

/// One of the two protocol variants: its requests, and their effect on a session.
pub trait ProtocolVariant: Send + Sync + 'static {
    /// The request message.
    type Request: prost::Message + Default + Send + 'static;
    /// The protocol.
    const PROTOCOL: Protocol;

    /// Takes the node out of a request; only the first request has one.
    fn node(request: &mut Self::Request) -> Option<crate::Node>;
    /// Applies a request to the session.
    fn receive(session: &mut Session, request: Self::Request) -> Result<AckOrNack, Violation>;
}

/// The two variants of the aggregated xDS protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// `DeltaAggregatedResources`: differences, per resource.
    Delta,
    /// `StreamAggregatedResources`: state of the world.
    Sotw,
}

/// The answer in a request to an earlier response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AckOrNack {
    /// No answer: a subscription, or a stale nonce.
    None,
    /// ACK.
    Acked {
        /// The kind of the response.
        kind: Kind,
        /// The revision of the snapshot that was sent.
        revision: u64,
    },
    /// NACK.
    Rejected {
        /// The kind of the response.
        kind: Kind,
        /// The revision of the snapshot that was sent.
        revision: u64,
        /// The rejected resources: those that the reason mentions, or else all that were new in the response.
        names: Vec<Arc<str>>,
        /// The reason that the client gave.
        reason: String,
    },
}

/// A request that exceeds a limit; the stream is closed with the message.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Violation {
    /// Too many subscribed names that do not exist.
    #[error("more than {MAX_NAMES} names of resources that do not exist on one stream")]
    TooManyNames,
    /// A name that is longer than any resource's.
    #[error("a resource name of {0} bytes; the limit is {MAX_NAME_BYTES}")]
    LongName(usize),
}

/// The greatest number of names without a resource that a stream may subscribe to. Names of existing resources take no
/// memory of the stream.
pub const MAX_NAMES: usize = 10_000;
/// The greatest length of a name. The planner's longest are those of clusters, with the names of a mesh and of a node,
/// 255 bytes each.
pub const MAX_NAME_BYTES: usize = 1024;
/// A longer version from a client is none of ours and is not kept.
const MAX_VERSION_BYTES: usize = 64;
/// The maximum length of the reason of a NACK; the rest is cut.
const MAX_REASON_BYTES: usize = 16 << 10;

/// The state of one stream: subscriptions, sent versions, and responses in flight.
#[derive(Debug)]
pub struct Session {
    protocol: Protocol,
    snapshot: Arc<Snapshot>,
    types: [TypeState; 5],
    /// The number of responses so far; the nonce of a response is its number.
    serial: u64,
    /// `None` for a client that supports atomic updates.
    warming: Option<Warming>,
}

impl Session {
    /// A stream without subscriptions.
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

    /// A session for a client that adopts related resources in one step, such as Tombolo's own: listeners and routes do
    /// not wait until clusters are warm.
    pub fn with_atomic_updates(self) -> Session {
        Session {
            warming: None,
            ..self
        }
    }

    /// Replaces the snapshot that the client should have.
    pub fn update(&mut self, snapshot: Arc<Snapshot>) {
        for kind in Kind::ALL {
            for name in self.snapshot.difference(&snapshot, kind) {
                self.types[kind.index()].mark_dirty(name);
            }
        }
        self.snapshot = snapshot;
    }

    /// The snapshot that the client should have.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// The next response, if there is one to send now.
    pub fn next_push(&mut self) -> Option<Response> {
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
            self.rebase();
        }
        push
    }

    /// Makes the current snapshot the base of the copy-on-write maps.
    fn rebase(&mut self) {
        for kind in Kind::ALL {
            let current = self.snapshot.resources(kind);
            let state = &mut self.types[kind.index()];
            state.names.rebase(current);
            state.sent.rebase(current);
        }
    }

    /// Whether the client has acknowledged every subscribed resource of the current snapshot. Valid after
    /// [`Session::next_push`] returned `None`.
    pub fn is_synced(&self) -> bool {
        self.types.iter().any(|state| state.opened) && self.types.iter().all(TypeState::is_synced)
    }

    /// Whether every subscribed resource of the current snapshot was sent, answered or not. Valid after
    /// [`Session::next_push`] returned `None`.
    pub fn is_sent(&self) -> bool {
        self.types.iter().any(|state| state.opened) && self.types.iter().all(TypeState::is_sent)
    }

    /// Whether every response was acknowledged or rejected, and nothing is left to send. Valid after
    /// [`Session::next_push`] returned `None`.
    pub fn is_answered(&self) -> bool {
        self.is_sent() && self.types.iter().all(|state| state.in_flight.is_none())
    }

    /// The number of resources of a kind that the client was sent and should have.
    pub fn sent(&self, kind: Kind) -> usize {
        self.types[kind.index()].sent.count(SentVersion::is_present)
    }

    fn state(&mut self, kind: Kind) -> &mut TypeState {
        &mut self.types[kind.index()]
    }

    /// A response with the new and changed resources of a kind, and subscribed names that do not exist.
    fn changes(&mut self, kind: Kind) -> Option<Response> {
        if matches!(kind, Kind::Listener | Kind::Route)
            && (self.has_unsent_clusters() || self.waits_for_warming())
        {
            return None;
        }
        let current = self.snapshot.resources(kind);
        let state = &mut self.types[kind.index()];
        if state.in_flight.is_some() || !state.is_dirty() {
            return None;
        }
        let Changes {
            changed,
            mut absent,
            must_respond,
        } = state.take_changes(current);
        if self.protocol == Protocol::Sotw {
            // The state-of-the-world protocol has no way to report a name that does not exist.
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
            self.resend_endpoints(&changed);
            let serial = self.serial + 1;
            self.warming
                .iter_mut()
                .for_each(|warming| warming.begin(&changed, serial));
        }
        let resources = if self.is_full_list(kind) {
            self.all_sent(kind)
        } else {
            changed
        };
        Some(self.push(kind, names, resources, absent, false))
    }

    /// A response with the removed resources of a kind, once the client does not use them any more.
    fn removals(&mut self, kind: Kind) -> Option<Response> {
        let state = &self.types[kind.index()];
        if state.in_flight.is_some() || state.maybe_removed.is_empty() || self.is_in_use(kind) {
            return None;
        }
        let snapshot = self.snapshot.clone();
        let state = self.state(kind);
        let gone = state.take_removals(snapshot.resources(kind));
        for name in &gone {
            state.forget(name);
        }
        state
            .nacked
            .retain(|name| snapshot.get(kind, name).is_some());
        let full_list = self.is_full_list(kind);
        // The state-of-the-world protocol has no way to remove endpoints and routes. Nothing refers to them any
        // more, so it is enough to forget them here.
        if gone.is_empty() || (self.protocol == Protocol::Sotw && !full_list) {
            return None;
        }
        let state = self.state(kind);
        for name in gone.iter().filter(|name| state.names.contains(name)) {
            state.sent.insert(name.clone(), SentVersion::Absent);
        }
        let resources = if full_list {
            self.all_sent(kind)
        } else {
            Vec::new()
        };
        let removed = if full_list { Vec::new() } else { gone.clone() };
        Some(self.push(kind, gone, resources, removed, true))
    }

    /// Whether the client may still use removed resources of this kind, because it rejected the new version of
    /// a resource that refers to this kind.
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

    /// Sends the endpoints of changed clusters again: the client warms a changed cluster with new endpoints,
    /// but does not subscribe to them again.
    fn resend_endpoints(&mut self, clusters: &[Arc<Resource>]) {
        let endpoints = &mut self.types[Kind::Endpoint.index()];
        for reference in clusters.iter().flat_map(|cluster| cluster.references()) {
            if reference.kind == Kind::Endpoint && endpoints.sent.remove(&reference.name) {
                endpoints.mark_dirty(&reference.name);
            }
        }
    }

    /// Whether changed clusters cannot be sent yet, because an earlier response of clusters is not answered. A route to
    /// one of them must not be sent before it, even to a client with atomic updates.
    fn has_unsent_clusters(&self) -> bool {
        let clusters = &self.types[Kind::Cluster.index()];
        clusters.in_flight.is_some() && clusters.is_dirty()
    }

    /// Whether listeners and routes must wait until clusters are warm.
    fn waits_for_warming(&mut self) -> bool {
        let [clusters, endpoints] = [Kind::Cluster, Kind::Endpoint].map(Kind::index);
        let current = self.snapshot.resources(Kind::Endpoint);
        self.warming.as_mut().is_some_and(|warming| {
            warming.must_wait(&self.types[clusters], &self.types[endpoints], current)
        })
    }

    /// Whether responses of this kind must list every resource: in the state-of-the-world protocol, a cluster
    /// or listener that is not in the list is removed.
    fn is_full_list(&self, kind: Kind) -> bool {
        self.protocol == Protocol::Sotw && kind.is_root()
    }

    /// Every resource of a kind that the client was sent, in order, including those that are removed later.
    fn all_sent(&self, kind: Kind) -> Vec<Arc<Resource>> {
        let sent = self.types[kind.index()].sent.iter();
        let mut resources: Vec<Arc<Resource>> = sent
            .filter_map(|(_, sent)| match sent {
                SentVersion::Resource(resource) => Some(resource),
                SentVersion::FromClient(_) | SentVersion::Absent => None,
            })
            .collect();
        resources.sort_by(|a, b| a.name().cmp(b.name()));
        resources
    }

    fn push(
        &mut self,
        kind: Kind,
        names: Vec<Arc<str>>,
        resources: Vec<Arc<Resource>>,
        removed: Vec<Arc<str>>,
        removes: bool,
    ) -> Response {
        self.serial += 1;
        let (serial, revision) = (self.serial, self.snapshot.revision());
        let nonce = serial.to_string();
        let full_list = self.is_full_list(kind);
        let state = self.state(kind);
        state.last_nonce.clone_from(&nonce);
        state.in_flight = Some(InFlight {
            serial,
            nonce: nonce.clone(),
            revision,
            names,
            full_list,
            removes,
        });
        Response {
            kind,
            nonce,
            revision,
            resources,
            removed,
        }
    }

    /// Applies the ACK or NACK in a request: its nonce and its error detail.
    fn record_answer(&mut self, kind: Kind, nonce: &str, error: Option<String>) -> AckOrNack {
        let state = self.state(kind);
        let Some(answered) = state.in_flight.take_if(|flight| flight.nonce == nonce) else {
            return AckOrNack::None; // Stale: the answer to the newest response is on its way.
        };
        let InFlight {
            serial,
            revision,
            mut names,
            full_list,
            removes,
            ..
        } = answered;
        if kind == Kind::Endpoint {
            self.warming
                .iter_mut()
                .for_each(|warming| warming.answered(&names, serial));
        }
        let state = self.state(kind);
        // The client may have adopted a part of a rejected list; which part is not known.
        state.list_rejected = full_list && error.is_some();
        let Some(reason) = error else {
            if !state.nacked.is_empty() {
                state
                    .nacked
                    .retain(|name| !full_list && !names.contains(name));
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
                    // Retried with the next change of this kind; at once would be a loop.
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

    /// The kind of a request. `None` for a type that is not served: such requests are ignored, as the protocol
    /// requires.
    fn kind_of(type_url: &str) -> Option<Kind> {
        let kind = Kind::from_type_url(type_url);
        if kind.is_none() {
            let type_url = sanitize::log_text(type_url);
            tracing::debug!(type_url, "ignored a request of unknown type");
        }
        kind
    }

    /// Interns a name that the client sent: shares the snapshot's own copy if it has the name.
    fn intern_name(&self, kind: Kind, name: String) -> Result<Arc<str>, Violation> {
        if name.len() > MAX_NAME_BYTES {
            return Err(Violation::LongName(name.len()));
        }
        let known = self.snapshot.resources(kind).get_key_value(&*name);
        Ok(known.map_or_else(|| name.into(), |(name, _)| name.clone()))
    }

    /// Checks the limit of the names that a client makes the server keep.
    fn check_limits(&self, kind: Kind) -> Result<(), Violation> {
        let state = &self.types[kind.index()];
        let current = self.snapshot.resources(kind);
        // The first count is an upper bound that is cheaper than the second.
        let is_large = |names: usize| names > MAX_NAMES;
        if is_large(state.names.override_count()) && is_large(state.names.unshared_count(current))
            || is_large(state.sent.override_count()) && is_large(state.sent.unshared_count(current))
        {
            return Err(Violation::TooManyNames);
        }
        Ok(())
    }
}

/// Whether a text contains a name that is not part of a longer name.
fn mentions(text: &str, name: &str) -> bool {
    let is_inner = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '/' | '|');
    !name.is_empty()
        && text.match_indices(name).any(|(at, _)| {
            let (before, after) = (&text[..at], &text[at + name.len()..]);
            !before.ends_with(is_inner) && !after.starts_with(is_inner)
        })
}
