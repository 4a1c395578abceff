//! What the checks count.

use tombolo_model::cloudmap::Health;
use tombolo_telemetry::metrics::{Counter, Family, Gauge, Label, Registry, counters};

/// What health checks count. Clones count together.
#[derive(Clone)]
pub struct Metrics {
    checks: Family<[Label; 1], Counter>,
    changes: Family<[Label; 1], Counter>,
    /// Instances that are checked.
    pub(crate) instances: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            checks: counters("result", ["healthy", "unhealthy", "panicked"]),
            changes: counters("to", ["healthy", "unhealthy"]),
            instances: Gauge::default(),
        }
    }
}

impl Metrics {
    /// Lets a registry read what is counted.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("health");
        registry.register(
            "checks",
            "Health checks that were made, by result",
            self.checks.clone(),
        );
        registry.register(
            "changes",
            "Instances whose health turned, by what it turned to",
            self.changes.clone(),
        );
        registry.register(
            "instances",
            "Instances that this replica checks",
            self.instances.clone(),
        );
    }

    /// `None`: the check itself panicked.
    pub(crate) fn checked(&self, is_healthy: Option<bool>) {
        let result = match is_healthy {
            Some(true) => "healthy",
            Some(false) => "unhealthy",
            None => "panicked",
        };
        self.checks.get_or_create(&[("result", result)]).inc();
    }

    pub(crate) fn changed(&self, health: Health) {
        let to = match health {
            Health::Healthy => "healthy",
            Health::Unhealthy => "unhealthy",
        };
        self.changes.get_or_create(&[("to", to)]).inc();
    }
}
