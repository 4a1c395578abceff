//! Metrics of health checks.

use tombolo_model::cloudmap::Health;
use tombolo_telemetry::{
    metrics::{Counters, Gauge, Registry},
    register,
};

/// The metrics of health checks. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    checks: Counters,
    changes: Counters,
    /// The number of checked instances.
    pub(crate) instances: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            checks: Counters::new("result", ["healthy", "unhealthy", "panicked"]),
            changes: Counters::new("to", ["healthy", "unhealthy"]),
            instances: Gauge::default(),
        }
    }
}

impl Metrics {
    /// Registers the metrics.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("health");
        register! { registry;
            "checks" => self.checks.family, "Health checks that were made, by result";
            "changes" => self.changes.family, "Instances whose health turned, by what it turned to";
            "instances" => self.instances, "Instances that this replica checks";
        }
    }

    /// Counts a result; `None` if the check panicked.
    pub(crate) fn checked(&self, is_healthy: Option<bool>) {
        self.checks.inc(match is_healthy {
            Some(true) => "healthy",
            Some(false) => "unhealthy",
            None => "panicked",
        });
    }

    pub(crate) fn changed(&self, health: Health) {
        self.changes.inc(match health {
            Health::Healthy => "healthy",
            Health::Unhealthy => "unhealthy",
        });
    }
}
