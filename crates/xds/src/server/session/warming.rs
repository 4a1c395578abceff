//! Cluster warming: delays listeners and routes until the clusters sent before them are usable.
//!
//! Envoy accepts a cluster before it can use it: the cluster warms until its endpoints have arrived. A route that
//! arrives in between answers 503. So listeners and routes wait until new and changed clusters and their endpoints have
//! been answered. Other changes of endpoints do not count, or a busy service would delay routes for ever.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::type_state::TypeState;
use crate::resource::{Kind, Resource};
use crate::snapshot::Resources;

/// The endpoint sets that clusters are waiting for.
#[derive(Debug, Default)]
pub(super) struct Warming {
    /// The names of endpoint sets, each with the serial number of the response with the cluster. Only endpoints
    /// in a later response warm the cluster.
    awaited: BTreeMap<Arc<str>, u64>,
    /// The number of responses with clusters since all clusters were warm.
    rounds: u32,
}

/// The greatest number of responses with clusters that delay routes: clusters that change faster than a proxy answers
/// must not starve its routes.
const MAX_ROUNDS: u32 = 8;

impl Warming {
    /// Records that clusters are sent with the response of this serial number.
    pub(super) fn begin(&mut self, clusters: &[Arc<Resource>], serial: u64) {
        self.rounds = self.rounds.saturating_add(1);
        for reference in clusters.iter().flat_map(|cluster| cluster.references()) {
            if reference.kind == Kind::Endpoint {
                self.awaited.insert(reference.name.clone(), serial);
            }
        }
    }

    /// Whether a sent cluster waits for these endpoints.
    pub(super) fn awaits(&self, name: &str) -> bool {
        self.awaited.contains_key(name)
    }

    /// Records that the response of this serial number, with these endpoints, was acknowledged or rejected.
    pub(super) fn answered(&mut self, endpoints: &[Arc<str>], serial: u64) {
        for name in endpoints {
            if self.awaited.get(name).is_some_and(|since| *since < serial) {
                self.awaited.remove(name);
            }
        }
    }

    /// Whether listeners and routes must wait.
    pub(super) fn must_wait(
        &mut self,
        clusters: &TypeState,
        endpoints: &TypeState,
        current: &Resources,
    ) -> bool {
        // A client subscribes to the endpoints before it answers the cluster. So endpoints that are not
        // subscribed to by then, or do not exist, are not waited for.
        let is_expected = |name: &Arc<str>| {
            current.contains_key(name) && (endpoints.wildcard || endpoints.names.contains(name))
        };
        if clusters.is_settled() && !self.awaited.keys().any(is_expected) {
            *self = Warming::default();
        }
        let is_warm = clusters.is_settled() && self.awaited.is_empty();
        !is_warm && self.rounds <= MAX_ROUNDS
    }
}
