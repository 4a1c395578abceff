//! Metrics of what the parts of the server know together, read when somebody asks.

use super::status::Sources;
use std::fmt;
use tombolo_telemetry::metrics::{
    Collector, ConstGauge, DescriptorEncoder, EncodeMetric, Registry,
};

/// Lets a registry read how far the connected proxies are.
pub(super) fn register(sources: Sources, registry: &mut Registry) {
    registry.register_collector(Box::new(Rollout(sources)));
}

struct Rollout(Sources);

impl fmt::Debug for Rollout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rollout")
    }
}

impl Collector for Rollout {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let status = self.0.status();
        let connected = || status.proxies.iter().filter(|proxy| proxy.connected);
        let is_behind = |wanted: Option<u64>, acked| wanted.is_some_and(|wanted| acked < wanted);
        let behind = connected()
            .filter(|proxy| is_behind(proxy.revision_wanted, proxy.revision_acked))
            .count();
        let nacking = connected()
            .filter(|proxy| proxy.kinds.values().any(|kind| kind.nack.is_some()))
            .count();
        let warnings: usize = status.warnings.iter().map(|of| of.warnings.len()).sum();
        let gauges = [
            (
                "plan_published_revision",
                "The revision up to which every change is compiled and published.",
                status.published_revision,
            ),
            (
                "plan_warnings",
                "Things that objects ask for and proxies do not do.",
                warnings as u64,
            ),
            (
                "xds_connected_proxies",
                "Proxies with an open stream.",
                connected().count() as u64,
            ),
            (
                "xds_behind_proxies",
                "Connected proxies that have not acknowledged what they should hold.",
                behind as u64,
            ),
            (
                "xds_nacking_proxies",
                "Connected proxies that refuse a part of their configuration.",
                nacking as u64,
            ),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value);
            let encoder = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(encoder)?;
        }
        Ok(())
    }
}
