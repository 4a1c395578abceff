//! When routes may move to clusters that were just sent.
//!
//! Envoy accepts a cluster before it can use it: it warms, until its endpoints are there.
//! A route that arrives in between answers 503. So listeners and routes wait until new and
//! changed clusters were answered, and their endpoints too. Endpoints that merely change do
//! not count, or a busy service would hold routes up for ever.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::type_state::TypeState;
use crate::resource::{Kind, Resource};
use crate::snapshot::Resources;

/// The endpoint sets that clusters are waiting for.
#[derive(Debug, Default)]
pub(super) struct Warming {
    /// By name: the number of the response with the cluster. Only a later one counts.
    awaited: BTreeMap<Arc<str>, u64>,
    /// How many responses with clusters went out since all was warm.
    rounds: u32,
}

/// A planner that changes clusters faster than a proxy answers must not starve its routes.
const MAX_ROUNDS: u32 = 8;

impl Warming {
    /// Clusters are sent with the response of this number.
    pub(super) fn begin(&mut self, clusters: &[Arc<Resource>], serial: u64) {
        self.rounds = self.rounds.saturating_add(1);
        for reference in clusters.iter().flat_map(|cluster| cluster.references()) {
            if reference.kind == Kind::Endpoint {
                self.awaited.insert(reference.name.clone(), serial);
            }
        }
    }

    /// Whether a cluster waits for these endpoints.
    pub(super) fn awaits(&self, name: &str) -> bool {
        self.awaited.contains_key(name)
    }

    /// The response of this number with these endpoints was answered, one way or the other.
    pub(super) fn answered(&mut self, endpoints: &[Arc<str>], serial: u64) {
        for name in endpoints {
            if self.awaited.get(name).is_some_and(|since| *since < serial) {
                self.awaited.remove(name);
            }
        }
    }

    /// Whether listeners and routes have to wait.
    pub(super) fn holds(
        &mut self,
        clusters: &TypeState,
        endpoints: &TypeState,
        current: &Resources,
    ) -> bool {
        // A client subscribes to the endpoints before it answers the cluster. So what is not
        // subscribed by then, or does not exist, is not waited for.
        let is_coming = |name: &Arc<str>| {
            current.contains_key(name) && (endpoints.wildcard || endpoints.names.contains(name))
        };
        if clusters.is_settled() && !self.awaited.keys().any(is_coming) {
            *self = Warming::default();
        }
        let is_warm = clusters.is_settled() && self.awaited.is_empty();
        !is_warm && self.rounds <= MAX_ROUNDS
    }
}
