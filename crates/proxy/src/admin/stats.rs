//! `/stats`: statistics as text, as JSON and in the Prometheus format.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::cluster_runtime::ClusterRuntime;
use crate::generation::Generation;
use crate::metrics::{Registry, ScopeStats, Type, Value};

/// All statistics: the workers' counters, and values derived from the current generation.
pub(super) fn gather(
    registry: &Registry,
    generation: &Generation,
    uptime: Duration,
) -> Vec<ScopeStats> {
    let mut groups = registry.aggregate();
    // Statistics of a listener carry its address, as in Envoy.
    for group in groups.iter_mut().filter(|group| group.scope == "listener") {
        let mut listeners = generation.listeners.iter();
        if let Some(bound) = listeners.find(|bound| bound.listener.name == group.name) {
            let address = bound.socket.address.to_string();
            group.name = address.replace(':', "_").into();
        }
    }
    let clusters = generation.clusters.iter();
    groups.extend(clusters.map(|(name, runtime)| ScopeStats {
        scope: "cluster",
        name: name.clone(),
        values: cluster_values(runtime),
    }));
    let live = generation.number > 0;
    groups.push(ScopeStats {
        scope: "server",
        name: "".into(),
        values: vec![
            gauge("live", live),
            gauge("state", if live { 0u64 } else { 2 }),
            gauge("uptime", uptime.as_secs()),
            gauge("revision", generation.config.revision),
        ],
    });
    groups
}

fn gauge(metric: &'static str, value: impl Into<u64>) -> Value {
    (metric, Type::Gauge, value.into())
}

fn counter(metric: &'static str, counter: &AtomicU64) -> Value {
    (metric, Type::Counter, counter.load(Ordering::Relaxed))
}

/// Values of a cluster other than the workers' counters.
fn cluster_values(runtime: &ClusterRuntime) -> Vec<Value> {
    let health = &runtime.state.stats;
    let breakers = &runtime.state.breakers;
    let mut values = vec![
        gauge("membership_total", runtime.members.list.len() as u64),
        gauge("membership_healthy", runtime.healthy()),
        gauge("outlier_detection.ejections_active", runtime.ejected()),
        counter(
            "outlier_detection.ejections_enforced_total",
            &health.ejections_enforced,
        ),
        counter(
            "outlier_detection.ejections_overflow",
            &health.ejections_overflow,
        ),
        counter(
            "outlier_detection.ejections_detected_consecutive_5xx",
            &health.ejections_detected_5xx,
        ),
    ];
    let breakers = [
        ("circuit_breakers.default.cx_open", &breakers.connections),
        (
            "circuit_breakers.default.rq_pending_open",
            &breakers.pending,
        ),
        ("circuit_breakers.default.rq_open", &breakers.requests),
        ("circuit_breakers.default.rq_retry_open", &breakers.retries),
    ];
    values.extend(breakers.map(|(metric, breaker)| gauge(metric, breaker.is_open())));
    if !runtime.config.health_checks.is_empty() {
        let network_failure = &health.check_network_failure;
        values.extend([
            counter("health_check.attempt", &health.check_attempt),
            counter("health_check.success", &health.check_success),
            counter("health_check.failure", &health.check_failure),
            counter("health_check.network_failure", network_failure),
            gauge("health_check.healthy", runtime.passing_checks()),
            // Active checks never find a host degraded; only the control plane reports that.
            gauge("health_check.degraded", 0u64),
        ]);
    }
    values
}

/// Full names and values of the statistics whose names contain `filter`, sorted by name.
fn named(groups: &[ScopeStats], filter: &str) -> BTreeMap<String, u64> {
    let mut named = BTreeMap::new();
    for group in groups {
        let name = &group.name;
        let dot = if name.is_empty() { "" } else { "." };
        for (metric, _, value) in &group.values {
            named.insert(format!("{}{dot}{name}.{metric}", group.scope), *value);
        }
    }
    named.retain(|name, _| name.contains(filter));
    named
}

pub(super) fn text(groups: &[ScopeStats], filter: &str) -> String {
    let named = named(groups, filter).into_iter();
    named
        .map(|(name, value)| format!("{name}: {value}\n"))
        .collect()
}

pub(super) fn json(groups: &[ScopeStats], filter: &str) -> serde_json::Value {
    let named = named(groups, filter).into_iter();
    let list: Vec<_> = named
        .map(|(name, value)| serde_json::json!({ "name": name, "value": value }))
        .collect();
    serde_json::json!({ "stats": list })
}

/// The Prometheus format with Envoy's names: dashboards of App Mesh read `envoy_cluster_upstream_rq`, not
/// `envoy_cluster_upstream_rq_total_total`. The control plane's encoder appends `_total` to every counter, so it
/// cannot write these names.
pub(super) fn prometheus(groups: &[ScopeStats]) -> String {
    let mut families: BTreeMap<String, (Type, String)> = BTreeMap::new();
    for group in groups {
        let label = match group.scope {
            "http" => "envoy_http_conn_manager_prefix",
            "cluster" => "envoy_cluster_name",
            "listener" => "envoy_listener_address",
            "tcp" => "envoy_tcp_prefix",
            _ => "",
        };
        let labels = match label {
            "" => String::new(),
            label => format!("{label}=\"{}\"", escape(&group.name)),
        };
        for (metric, kind, value) in &group.values {
            let name = format!("envoy_{}_{}", group.scope, metric.replace('.', "_"));
            let line = format!("{name}{{{labels}}} {value}\n");
            let family = families.entry(name);
            let (_, lines) = family.or_insert_with(|| (*kind, String::new()));
            lines.push_str(&line);
        }
    }
    let mut out = String::new();
    for (name, (kind, lines)) in families {
        // Writing to a String cannot fail.
        let _ = write!(out, "# TYPE {name} {}\n{lines}", kind.as_str());
    }
    out
}

/// A label value (Prometheus exposition format).
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
