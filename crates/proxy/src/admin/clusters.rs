//! `/clusters`: the state of clusters and hosts, in Envoy's text form.

use std::fmt::Write as _;

use crate::cluster_runtime::{HealthFlag, Host};
use crate::generation::Generation;
use crate::metrics::Registry;

pub(super) fn text(generation: &Generation, registry: &Registry) -> String {
    let totals = registry.aggregate();
    let mut out = String::new();
    for (name, runtime) in &generation.clusters {
        // Writing to a String cannot fail.
        let mut line = |key: &str, value: &dyn std::fmt::Display| {
            let _ = writeln!(out, "{name}::{key}::{value}");
        };
        let breakers = &runtime.state.breakers;
        line("observability_name", name);
        for (label, breaker) in [
            ("max_connections", &breakers.connections),
            ("max_pending_requests", &breakers.pending),
            ("max_requests", &breakers.requests),
            ("max_retries", &breakers.retries),
        ] {
            let unlimited = breaker.limit == u32::MAX;
            let limit = if unlimited {
                i32::MAX as u32
            } else {
                breaker.limit
            };
            line(&format!("default_priority::{label}"), &limit);
        }
        line("added_via_api", &true);
        let mut counted = totals.iter();
        let counted = counted.find(|totals| totals.scope == "cluster" && totals.name == *name);
        for metric in [
            "upstream_cx_active",
            "upstream_rq_active",
            "upstream_rq_total",
        ] {
            line(metric, &counted.map_or(0, |totals| totals.get(metric)));
        }
        for member in &runtime.members.list {
            let host = &member.host;
            let mut line = |key: &str, value: &dyn std::fmt::Display| {
                line(&format!("{}::{key}", host.address), value);
            };
            line("hostname", &host.hostname);
            line("health_flags", &health_flags(host));
            line("weight", &member.weight);
            line("priority", &member.priority);
            line("times_ejected", &host.times_ejected());
        }
    }
    out
}

/// `health_flags` of `/clusters`, with Envoy's names.
fn health_flags(host: &Host) -> String {
    let flags = [
        (HealthFlag::FailedActiveCheck, "/failed_active_hc"),
        (HealthFlag::FailedOutlierCheck, "/failed_outlier_check"),
        (HealthFlag::FailedEds, "/failed_eds_health"),
        (HealthFlag::DegradedEds, "/degraded_eds_health"),
        (HealthFlag::PendingActiveCheck, "/pending_active_hc"),
    ];
    let set = flags.iter().filter(|(flag, _)| host.has(*flag));
    let set: String = set.map(|(_, name)| *name).collect();
    if set.is_empty() {
        "healthy".to_owned()
    } else {
        set
    }
}
