//! Metrics of the xDS server.

use crate::resource::Kind;
use tombolo_telemetry::{
    metrics::{Counters, Registry},
    register,
};

/// Counters by resource type.
#[derive(Clone)]
pub(super) struct Metrics {
    pushes: Counters,
    nacks: Counters,
}

impl Metrics {
    pub(super) fn new() -> Metrics {
        let by_type = || Counters::new("type", Kind::ALL.map(Kind::service));
        Metrics {
            pushes: by_type(),
            nacks: by_type(),
        }
    }

    pub(super) fn pushed(&self, kind: Kind) {
        self.pushes.inc(kind.service());
    }

    pub(super) fn rejected(&self, kind: Kind) {
        self.nacks.inc(kind.service());
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("xds");
        register! { registry;
            "pushes" => self.pushes.family, "Responses sent to proxies";
            "nacks" => self.nacks.family, "Responses that proxies rejected";
        }
    }
}
