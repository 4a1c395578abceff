//! What is counted. The catalogue is docs/reference/controller.md.

use std::sync::atomic::AtomicU64;

use tombolo_kube::crd::Kind;
use tombolo_telemetry::metrics::{Counter, Family, Gauge, Registry};
use tombolo_telemetry::register;

type Label = [(&'static str, &'static str); 1];

/// The counters of a controller or a webhook. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    watch_failures: Family<Label, Counter>,
    objects: Family<Label, Gauge>,
    patches: Family<Label, Counter>,
    events_dropped: Counter,
    is_leader: Gauge<i64>,
    lease_failures: Counter<u64, AtomicU64>,
}

impl Metrics {
    /// Lets a registry read them.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("kubernetes");
        register! { registry;
            "watch_failures" => self.watch_failures, "Failures of watches of the API server, by kind";
            "objects" => self.objects, "Objects that are known, by kind";
            "object_patches" => self.patches, "Changes of mesh objects that were sent to the API server, by kind";
            "events_dropped" => self.events_dropped, "Events that were not written because too many were waiting";
            "is_leader" => self.is_leader, "Whether this replica reconciles: 1 or 0";
            "lease_failures" => self.lease_failures, "Attempts to take or renew a Lease that failed";
        }
    }

    pub(crate) fn watch_failed(&self, kind: &'static str) {
        self.watch_failures.get_or_create(&[("kind", kind)]).inc();
    }

    pub(crate) fn objects(&self, kind: &'static str, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.objects.get_or_create(&[("kind", kind)]).set(count);
    }

    pub(crate) fn patched(&self, kind: Kind) {
        self.patches.get_or_create(&[("kind", kind.name())]).inc();
    }

    pub(crate) fn event_dropped(&self) {
        self.events_dropped.inc();
    }

    pub(crate) fn leader(&self, is_leader: bool) {
        self.is_leader.set(is_leader.into());
    }

    pub(crate) fn lease_failed(&self) {
        self.lease_failures.inc();
    }
}
