//! What the server counts.

use crate::resource::Kind;
use tombolo_telemetry::metrics::{Counter, Family, Label, Registry, counters};

/// Counters by resource type.
#[derive(Clone)]
pub(super) struct Metrics {
    pushes: Family<[Label; 1], Counter>,
    nacks: Family<[Label; 1], Counter>,
}

impl Metrics {
    pub(super) fn new() -> Metrics {
        let by_type = || counters("type", Kind::ALL.map(Kind::service));
        Metrics {
            pushes: by_type(),
            nacks: by_type(),
        }
    }

    pub(super) fn pushed(&self, kind: Kind) {
        count(&self.pushes, kind);
    }

    pub(super) fn rejected(&self, kind: Kind) {
        count(&self.nacks, kind);
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("xds");
        let help = "Responses sent to proxies";
        registry.register("pushes", help, self.pushes.clone());
        let help = "Responses that proxies rejected";
        registry.register("nacks", help, self.nacks.clone());
    }
}

fn count(counters: &Family<[Label; 1], Counter>, kind: Kind) {
    counters.get_or_create(&[("type", kind.service())]).inc();
}
