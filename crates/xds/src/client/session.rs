//! The client's side of one delta stream, without I/O.
//!
//! Responses go in; requests to send and complete updates come out. A session outlives its streams:
//! [`Session::connect`] starts the next one from what the proxy holds.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::envoy::pb::envoy::config::core::v3 as core;
use crate::envoy::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource as Wire,
};
use crate::envoy::pb::google::rpc;
use crate::resource::{Kind, Resource};
use crate::snapshot::{Builder, Snapshot};

/// A resource that the proxy could not adopt, with the reason.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejection {
    /// The kind of the resource.
    pub kind: Kind,
    /// The name of the rejected resource.
    pub name: Arc<str>,
    /// The reason, for the operator.
    pub reason: String,
}

/// The next change of the proxy's configuration.
#[derive(Clone, Debug)]
pub struct PendingUpdate {
    /// The proxy's full configuration once it has adopted the update.
    pub snapshot: Arc<Snapshot>,
    /// The resources that are new or have a new version, in [`Kind::PUSH_ORDER`].
    pub changed: Vec<Arc<Resource>>,
    /// The removed resources, in [`Kind::REMOVAL_ORDER`].
    pub removed: Vec<(Kind, Arc<str>)>,
}

/// The state of a client across its streams.
#[derive(Debug)]
pub struct Session {
    node: core::Node,
    /// The proxy's current configuration.
    adopted: Snapshot,
    /// The configuration after the outstanding responses, if nothing in them is rejected.
    pending: Snapshot,
    /// The subscriptions of the current stream, indexed by kind.
    subscriptions: [Subscription; 5],
    /// The responses that are neither acknowledged nor rejected yet.
    outstanding: Vec<Outstanding>,
    /// Resources of outstanding responses that are malformed and were not delivered to the consumer.
    unreadable: Vec<Rejection>,
}

/// The subscription to one kind of resource on the current stream.
#[derive(Debug, Default)]
struct Subscription {
    /// Whether a request was sent. The first one has the versions that the proxy already has.
    opened: bool,
    subscribed: BTreeSet<Arc<str>>,
    /// Subscribed names that do not exist, according to the server.
    absent: BTreeSet<Arc<str>>,
}

/// A response that is neither acknowledged nor rejected yet.
#[derive(Debug)]
struct Outstanding {
    kind: Kind,
    nonce: String,
    names: BTreeSet<Arc<str>>,
}

/// The maximum length of the error detail of a NACK; the rest is cut.
const MAX_ERROR_DETAIL_BYTES: usize = 4096;

/// The code of a NACK, `INVALID_ARGUMENT`.
const INVALID_ARGUMENT: i32 = 3;

impl Session {
    /// A client with the configuration `initial` and without a stream.
    pub fn new(node: core::Node, initial: Snapshot) -> Session {
        Session {
            node,
            pending: initial.clone(),
            adopted: initial,
            subscriptions: Default::default(),
            outstanding: Vec::new(),
            unreadable: Vec::new(),
        }
    }

    /// Starts a new stream and returns its first requests. Unanswered responses of the last stream are dropped: the
    /// server sends them again.
    pub fn connect(&mut self) -> Vec<DeltaDiscoveryRequest> {
        self.pending = self.adopted.clone();
        self.subscriptions = Default::default();
        self.outstanding.clear();
        self.unreadable.clear();
        let mut requests = Vec::new();
        for kind in Kind::PUSH_ORDER.into_iter().filter(|kind| kind.is_root()) {
            requests.push(self.subscribe(kind, vec!["*".to_owned()]));
        }
        requests.extend(self.subscribe_to_references());
        if let Some(first) = requests.first_mut() {
            first.node = Some(self.node.clone());
        }
        requests
    }

    /// Applies a response to the pending update and returns subscriptions to new references. The response stays
    /// outstanding until [`Session::answer`].
    pub fn receive(&mut self, response: DeltaDiscoveryResponse) -> Vec<DeltaDiscoveryRequest> {
        let Some(kind) = Kind::from_type_url(&response.type_url) else {
            tracing::warn!(
                type_url = response.type_url,
                "ignored a response of unknown type"
            );
            return Vec::new();
        };
        let revision = response.system_version_info.parse();
        let mut pending = self
            .pending
            .edit(revision.unwrap_or(self.pending.revision()));
        let mut names = BTreeSet::new();
        for wire in response.resources {
            let name: Arc<str> = wire.name.as_str().into();
            names.insert(name.clone());
            match self.read(kind, wire) {
                Ok(Some(resource)) => {
                    self.subscriptions[kind.index()].absent.remove(&name);
                    pending.insert(resource);
                }
                Ok(None) => {}
                Err(reason) => self.unreadable.push(Rejection { kind, name, reason }),
            }
        }
        for name in response.removed_resources {
            pending.remove(kind, &name);
            let subscription = &mut self.subscriptions[kind.index()];
            if let Some(name) = subscription.subscribed.get(name.as_str()) {
                subscription.absent.insert(name.clone());
            }
        }
        self.pending = pending.build();
        self.outstanding.push(Outstanding {
            kind,
            nonce: response.nonce,
            names,
        });
        if kind.is_root() {
            self.subscribe_to_references()
        } else {
            Vec::new()
        }
    }

    /// Whether there is an outstanding response.
    pub fn is_pending(&self) -> bool {
        !self.outstanding.is_empty()
    }

    /// Whether every resource that the pending update refers to has arrived or does not exist.
    pub fn is_complete(&self) -> bool {
        Kind::ALL.into_iter().all(|kind| {
            let absent = &self.subscriptions[kind.index()].absent;
            let held = self.pending.resources(kind);
            referenced(kind, [&self.pending])
                .iter()
                .all(|name| held.contains_key(name) || absent.contains(name))
        })
    }

    /// The change that the consumer should adopt; `None` if nothing differs from its current configuration.
    pub fn pending_update(&self) -> Option<PendingUpdate> {
        let (mut changed, mut removed) = (Vec::new(), Vec::new());
        for kind in Kind::PUSH_ORDER {
            let held = self.adopted.resources(kind);
            let pending = self.pending.resources(kind);
            let is_new = |resource: &&Arc<Resource>| held.get(resource.name()) != Some(resource);
            changed.extend(pending.values().filter(is_new).cloned());
        }
        for kind in Kind::REMOVAL_ORDER {
            let pending = self.pending.resources(kind);
            let gone = self
                .adopted
                .resources(kind)
                .keys()
                .filter(|n| !pending.contains_key(*n));
            removed.extend(gone.map(|name| (kind, name.clone())));
        }
        if changed.is_empty() && removed.is_empty() {
            return None;
        }
        Some(PendingUpdate {
            snapshot: Arc::new(self.pending.clone()),
            changed,
            removed,
        })
    }

    /// Adopts the pending update without the rejected resources; returns the ACK or NACK of each outstanding response.
    pub fn answer(&mut self, mut rejections: Vec<Rejection>) -> Vec<DeltaDiscoveryRequest> {
        let mut pending = self.pending.edit(self.pending.revision());
        for Rejection { kind, name, .. } in &rejections {
            match self.adopted.get(*kind, name) {
                Some(before) => pending.insert(before.clone()),
                None => pending.remove(*kind, name),
            };
        }
        self.pending = pending.build();
        self.adopted = self.pending.clone();
        rejections.append(&mut self.unreadable);
        let answers = std::mem::take(&mut self.outstanding)
            .into_iter()
            .map(|outstanding| {
                let Outstanding { kind, nonce, names } = outstanding;
                let of_response = rejections
                    .iter()
                    .filter(|r| r.kind == kind && names.contains(&r.name));
                DeltaDiscoveryRequest {
                    type_url: kind.type_url().to_owned(),
                    response_nonce: nonce,
                    error_detail: error_detail(of_response),
                    ..Default::default()
                }
            });
        let mut requests: Vec<_> = answers.collect();
        requests.extend(self.unsubscribe_unreferenced());
        requests
    }

    /// Decodes one resource of a response. `None` if it is not subscribed to, or unchanged.
    fn read(&self, kind: Kind, wire: Wire) -> Result<Option<Resource>, String> {
        if !kind.is_root()
            && !self.subscriptions[kind.index()]
                .subscribed
                .contains(wire.name.as_str())
        {
            return Ok(None); // Crossed with our unsubscription.
        }
        let Some(body) = wire.resource else {
            return match self.pending.get(kind, &wire.name) {
                // A heartbeat: the resource without its body.
                Some(held) if **held.version() == *wire.version => Ok(None),
                _ => Err("the resource has no body".to_owned()),
            };
        };
        if body.type_url != kind.type_url() {
            return Err(format!("the body is a {:?}", body.type_url));
        }
        Ok(Some(Resource::received(
            kind,
            wire.name,
            wire.version,
            &body.value,
        )))
    }

    /// Subscribes to references that are not subscribed to yet.
    fn subscribe_to_references(&mut self) -> Vec<DeltaDiscoveryRequest> {
        let mut requests = Vec::new();
        for kind in Kind::PUSH_ORDER.into_iter().filter(|kind| !kind.is_root()) {
            // References of the current configuration count too, because the pending update may be rejected.
            let referenced = referenced(kind, [&self.adopted, &self.pending]);
            let subscribed = &mut self.subscriptions[kind.index()].subscribed;
            let new: Vec<Arc<str>> = referenced.difference(subscribed).cloned().collect();
            if !new.is_empty() {
                subscribed.extend(new.iter().cloned());
                let names = new.iter().map(|name| name.to_string()).collect();
                requests.push(self.subscribe(kind, names));
            }
        }
        requests
    }

    /// Unsubscribes from resources without references and removes them from the pending update. The consumer gets the
    /// removal with the next update.
    fn unsubscribe_unreferenced(&mut self) -> Vec<DeltaDiscoveryRequest> {
        let mut requests = Vec::new();
        let mut pending: Builder = self.pending.edit(self.pending.revision());
        for kind in Kind::PUSH_ORDER.into_iter().filter(|kind| !kind.is_root()) {
            let referenced = referenced(kind, [&self.adopted, &self.pending]);
            for name in self
                .pending
                .resources(kind)
                .keys()
                .filter(|n| !referenced.contains(*n))
            {
                pending.remove(kind, name);
            }
            let Subscription {
                subscribed, absent, ..
            } = &mut self.subscriptions[kind.index()];
            let unused: Vec<Arc<str>> = subscribed.difference(&referenced).cloned().collect();
            if !unused.is_empty() {
                subscribed.retain(|name| referenced.contains(name));
                absent.retain(|name| referenced.contains(name));
                requests.push(DeltaDiscoveryRequest {
                    type_url: kind.type_url().to_owned(),
                    resource_names_unsubscribe: unused.iter().map(|n| n.to_string()).collect(),
                    ..Default::default()
                });
            }
        }
        self.pending = pending.build();
        requests
    }

    /// A request that subscribes to names. The first one of a kind has the versions that the proxy already has.
    fn subscribe(&mut self, kind: Kind, names: Vec<String>) -> DeltaDiscoveryRequest {
        let opened = std::mem::replace(&mut self.subscriptions[kind.index()].opened, true);
        let mut initial = HashMap::new();
        if !opened {
            let held = self.adopted.resources(kind).values();
            let known = held.filter(|r| kind.is_root() || names.iter().any(|n| **n == **r.name()));
            initial.extend(known.map(|r| (r.name().to_string(), r.version().to_string())));
        }
        DeltaDiscoveryRequest {
            type_url: kind.type_url().to_owned(),
            resource_names_subscribe: names,
            initial_resource_versions: initial,
            ..Default::default()
        }
    }
}

/// The names of one kind that any of the snapshots refers to.
fn referenced<const N: usize>(kind: Kind, snapshots: [&Snapshot; N]) -> BTreeSet<Arc<str>> {
    let mut names = BTreeSet::new();
    for snapshot in snapshots {
        // Only clusters and listeners have references.
        for root in Kind::ALL.into_iter().filter(|kind| kind.is_root()) {
            let references = snapshot
                .resources(root)
                .values()
                .flat_map(|r| r.references());
            names.extend(
                references
                    .filter(|r| r.kind == kind)
                    .map(|r| r.name.clone()),
            );
        }
    }
    names
}

/// The `error_detail` of a NACK; `None`, which is an ACK, if there are no rejections.
fn error_detail<'a>(rejections: impl Iterator<Item = &'a Rejection>) -> Option<rpc::Status> {
    let lines: Vec<String> = rejections
        .map(|r| format!("{}: {}", r.name, r.reason))
        .collect();
    if lines.is_empty() {
        return None;
    }
    let mut message = lines.join("; ");
    if message.len() > MAX_ERROR_DETAIL_BYTES {
        message.truncate(message.floor_char_boundary(MAX_ERROR_DETAIL_BYTES));
        message.push('…');
    }
    Some(rpc::Status {
        code: INVALID_ARGUMENT,
        message,
        details: Vec::new(),
    })
}
