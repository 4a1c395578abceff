//! Rollout metrics: the progress of the connected proxies, computed at each scrape.

use super::status::Sources;
use tombolo_telemetry::metrics::{Registry, collect};

/// Registers the rollout metrics.
pub(super) fn register(sources: Sources, registry: &mut Registry) {
    collect(registry, move |samples| {
        let status = sources.status();
        let connected = || status.proxies.iter().filter(|proxy| proxy.connected);
        let is_behind = |wanted: Option<u64>, acked| wanted.is_some_and(|wanted| acked < wanted);
        let behind = connected()
            .filter(|proxy| is_behind(proxy.revision_wanted, proxy.revision_acked))
            .count();
        let nacking = connected()
            .filter(|proxy| proxy.kinds.values().any(|kind| kind.nack.is_some()))
            .count();
        let warnings: usize = status.warnings.iter().map(|of| of.warnings.len()).sum();
        samples.gauge(
            "plan_published_revision",
            "The revision up to which every change is compiled and published.",
            status.published_revision,
        )?;
        samples.gauge(
            "plan_warnings",
            "Things that objects ask for and proxies do not do.",
            warnings as u64,
        )?;
        samples.gauge(
            "xds_connected_proxies",
            "Proxies with an open stream.",
            connected().count() as u64,
        )?;
        samples.gauge(
            "xds_behind_proxies",
            "Connected proxies that have not acknowledged what they should hold.",
            behind as u64,
        )?;
        samples.gauge(
            "xds_nacking_proxies",
            "Connected proxies that refuse a part of their configuration.",
            nacking as u64,
        )
    });
}
