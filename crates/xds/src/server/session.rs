//! The server's side of one stream, without I/O: what the client asked for, what it was
//! told, and what to tell it next.
//!
//! [`Session`] is the same for both protocols; [`delta`] and [`sotw`] translate between it
//! and the messages. Put requests and snapshots in, pull [`Push`]es out:
//!
//! - at most one response of a kind is in flight; changes meanwhile are coalesced;
//! - additions and changes go in [`Kind::PUSH_ORDER`], and only when all of them have been
//!   answered are removals sent, in [`Kind::REMOVAL_ORDER`] (make before break);
//! - listeners and routes wait until the clusters sent before them are warm, unless the
//!   client adopts everything in one step;
//! - while a client is stuck with a rejected listener, route table or cluster, what its
//!   last good version may still use is not taken away from it;
//! - a rejected version is not sent again; the next version is.

pub mod delta;
pub mod sotw;
mod track;
mod warming;

#[cfg(test)]
mod converge;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::track::{InFlight, Told, Track};
use self::warming::Warming;
use crate::resource::{Kind, Resource};
use crate::snapshot::Snapshot;

/// How a protocol reads requests and writes responses.
pub trait Dialect: Send + 'static {
    /// The messages of the client.
    type Request: Send + 'static;
    /// The messages of the server.
    type Response: Send + 'static;
    /// Which protocol it is.
    const PROTOCOL: Protocol;

    /// Takes the node out of a request: present in the first one only.
    fn node(request: &mut Self::Request) -> Option<crate::Node>;
    /// Applies a request to the session.
    fn receive(session: &mut Session, request: Self::Request) -> Result<Receipt, Violation>;
    /// Puts a push on the wire.
    fn respond(push: Push) -> Self::Response;
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

/// A response to send.
#[derive(Clone, Debug)]
pub struct Push {
    /// The kind of all resources in it.
    pub kind: Kind,
    /// Unique within the stream.
    pub nonce: String,
    /// The revision of the snapshot that it comes from.
    pub revision: u64,
    /// The resources to send. In state of the world, for clusters and listeners: all.
    pub resources: Vec<Arc<Resource>>,
    /// Names that are gone or do not exist (delta only).
    pub removed: Vec<Arc<str>>,
}

/// What a request said about an earlier response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Receipt {
    /// Nothing: a subscription, or an answer that is out of date.
    None,
    /// ACK.
    Acked {
        /// The kind of the response.
        kind: Kind,
        /// Its revision.
        revision: u64,
    },
    /// NACK.
    Rejected {
        /// The kind of the response.
        kind: Kind,
        /// Its revision.
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
    #[error("more than {MAX_NAMES} resource names on one stream")]
    TooManyNames,
    /// A name longer than any resource has.
    #[error("a resource name of {0} bytes; the limit is {MAX_NAME_BYTES}")]
    LongName(usize),
}

/// Bounds what one stream can make the server remember.
pub const MAX_NAMES: usize = 100_000;
/// The longest name that can be asked for.
pub const MAX_NAME_BYTES: usize = 4096;

/// One stream: subscriptions, what was told, what is in flight.
#[derive(Debug)]
pub struct Session {
    protocol: Protocol,
    snapshot: Arc<Snapshot>,
    tracks: [Track; 5],
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
            tracks: Default::default(),
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
            if !self.snapshot.same(&snapshot, kind) {
                self.track(kind).touch();
            }
        }
        self.snapshot = snapshot;
    }

    /// What the client should hold.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// The next response, if there is one to send now.
    pub fn pull(&mut self) -> Option<Push> {
        Kind::PUSH_ORDER
            .into_iter()
            .find_map(|kind| self.changes(kind))
            .or_else(|| {
                let settled = self.tracks.iter().all(Track::is_settled);
                let mut kinds = Kind::REMOVAL_ORDER.into_iter();
                if settled {
                    kinds.find_map(|kind| self.removals(kind))
                } else {
                    None
                }
            })
    }

    /// Whether the client holds the current snapshot: everything it asked for was sent and
    /// acknowledged, and nothing is left to send. To be asked when [`Session::pull`] has
    /// nothing.
    pub fn is_synced(&self) -> bool {
        self.tracks.iter().any(|track| track.opened) && self.tracks.iter().all(Track::is_synced)
    }

    /// Whether the current snapshot was sent, though perhaps not answered yet. To be asked
    /// when [`Session::pull`] has nothing.
    pub fn is_sent(&self) -> bool {
        self.tracks.iter().any(|track| track.opened) && self.tracks.iter().all(Track::is_sent)
    }

    /// How many resources of a kind the client was told.
    pub fn told(&self, kind: Kind) -> usize {
        let told = &self.tracks[kind.index()].told;
        told.values()
            .filter(|told| matches!(told, Told::Present { .. }))
            .count()
    }

    fn track(&mut self, kind: Kind) -> &mut Track {
        &mut self.tracks[kind.index()]
    }

    /// What is new or changed of a kind, and names that turn out not to exist.
    fn changes(&mut self, kind: Kind) -> Option<Push> {
        let protocol = self.protocol;
        if matches!(kind, Kind::Listener | Kind::Route)
            && (self.owes_clusters() || self.is_held_back())
        {
            return None;
        }
        let current = self.snapshot.resources(kind);
        let track = &mut self.tracks[kind.index()];
        if track.in_flight.is_some() || !track.is_touched() {
            return None;
        }
        let mut changed: Vec<Arc<Resource>> = Vec::new();
        let mut absent: Vec<Arc<str>> = Vec::new();
        if track.wildcard {
            changed.extend(current.values().filter(|r| track.needs(r)).cloned());
        }
        for name in &track.names {
            match current.get(name) {
                Some(resource) if !track.wildcard && track.needs(resource) => {
                    changed.push(resource.clone());
                }
                None if protocol == Protocol::Delta && !track.told.contains_key(name) => {
                    absent.push(name.clone());
                }
                _ => {}
            }
        }
        let due = track.take_touched();
        if changed.is_empty() && absent.is_empty() && !due {
            return None;
        }
        let names = changed
            .iter()
            .map(|resource| resource.name().clone())
            .collect();
        for resource in &changed {
            track.tell(resource);
        }
        for name in &absent {
            track.told.insert(name.clone(), Told::Absent);
        }
        if kind == Kind::Cluster {
            self.rewarm(&changed);
            let serial = self.serial + 1;
            self.warming
                .iter_mut()
                .for_each(|warming| warming.begin(&changed, serial));
        }
        let resources = if self.is_whole(kind) {
            self.whole(kind)
        } else {
            changed
        };
        Some(self.push(kind, names, resources, absent, false))
    }

    /// What is gone, once nothing uses it any more.
    fn removals(&mut self, kind: Kind) -> Option<Push> {
        let current = self.snapshot.resources(kind);
        let track = &self.tracks[kind.index()];
        if track.in_flight.is_some() || !track.may_hold_more || self.is_in_use(kind) {
            return None;
        }
        let gone: Vec<Arc<str>> = track.gone(current).cloned().collect();
        let snapshot = self.snapshot.clone();
        let track = self.track(kind);
        track.may_hold_more = false;
        for name in &gone {
            track.forget(name);
        }
        track
            .suspects
            .retain(|name| snapshot.get(kind, name).is_some());
        let whole = self.is_whole(kind);
        // State of the world cannot say that endpoints or routes are gone. Nothing refers to
        // them any more, so forgetting them here is enough.
        if gone.is_empty() || (self.protocol == Protocol::Sotw && !whole) {
            return None;
        }
        let track = self.track(kind);
        for name in gone.iter().filter(|name| track.names.contains(*name)) {
            track.told.insert(name.clone(), Told::Absent);
        }
        let resources = if whole { self.whole(kind) } else { Vec::new() };
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
            .any(|user| !self.tracks[user.index()].suspects.is_empty())
    }

    /// A changed cluster is warmed anew and waits for its endpoints, which the client asked
    /// for long ago and does not ask for again. So they are sent again.
    fn rewarm(&mut self, clusters: &[Arc<Resource>]) {
        let endpoints = &mut self.tracks[Kind::Endpoint.index()];
        for reference in clusters.iter().flat_map(|cluster| cluster.references()) {
            if reference.kind == Kind::Endpoint && endpoints.told.remove(&*reference.name).is_some()
            {
                endpoints.touch();
            }
        }
    }

    /// Whether clusters changed that cannot be sent yet, because an earlier response about clusters is
    /// not answered. A route that names one of them must not overtake it, whoever the client is.
    fn owes_clusters(&self) -> bool {
        let clusters = &self.tracks[Kind::Cluster.index()];
        clusters.in_flight.is_some() && clusters.is_touched()
    }

    /// Whether listeners and routes have to wait until clusters are warm.
    fn is_held_back(&mut self) -> bool {
        let [clusters, endpoints] = [Kind::Cluster, Kind::Endpoint].map(Kind::index);
        let current = self.snapshot.resources(Kind::Endpoint);
        self.warming.as_mut().is_some_and(|warming| {
            warming.holds(&self.tracks[clusters], &self.tracks[endpoints], current)
        })
    }

    /// Whether responses of this kind must list everything: in state of the world, what a
    /// list of clusters or listeners does not contain is gone.
    fn is_whole(&self, kind: Kind) -> bool {
        self.protocol == Protocol::Sotw && kind.is_root()
    }

    /// Everything the client should hold of a kind right now, including what is to be
    /// removed later.
    fn whole(&self, kind: Kind) -> Vec<Arc<Resource>> {
        let told = self.tracks[kind.index()].told.values();
        told.filter_map(Told::resource).cloned().collect()
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
        let whole = self.is_whole(kind);
        let track = self.track(kind);
        track.last_nonce.clone_from(&nonce);
        track.in_flight = Some(InFlight {
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
    fn receipt(&mut self, kind: Kind, nonce: &str, error: Option<String>) -> Receipt {
        let track = self.track(kind);
        let Some(answered) = track.in_flight.take_if(|flight| flight.nonce == nonce) else {
            return Receipt::None; // Stale: the answer to the newest response is on its way.
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
        let track = self.track(kind);
        // What the client keeps of a list that it rejected is not known.
        track.list_rejected = whole && error.is_some();
        let Some(reason) = error else {
            track
                .suspects
                .retain(|name| !whole && !names.contains(name));
            return Receipt::Acked { kind, revision };
        };
        if names.iter().any(|name| mentions(&reason, name)) {
            names.retain(|name| mentions(&reason, name));
        }
        for name in &names {
            // It may have been unsubscribed meanwhile.
            if track.wildcard || track.names.contains(name) {
                track.suspects.insert(name.clone());
                if removes {
                    // Not now, or it would be a loop; with the next change of this kind.
                    track.told.insert(name.clone(), Told::stale());
                }
            }
        }
        Receipt::Rejected {
            kind,
            revision,
            names,
            reason,
        }
    }

    fn check_name(name: &str) -> Result<(), Violation> {
        if name.len() > MAX_NAME_BYTES {
            Err(Violation::LongName(name.len()))
        } else {
            Ok(())
        }
    }

    fn check_names(&self) -> Result<(), Violation> {
        let names: usize = self.tracks.iter().map(|track| track.names.len()).sum();
        if names > MAX_NAMES {
            Err(Violation::TooManyNames)
        } else {
            Ok(())
        }
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
