//! Statistics, clusters and listeners in Envoy's text forms.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::cluster_runtime::{ClusterRuntime, HealthFlag, Host};
use crate::generation::Generation;
use crate::metrics::{Registry, Type};

/// One value under its full name and under its Prometheus name and label.
pub(super) struct Stat {
    scope: &'static str,
    name: String,
    metric: &'static str,
    kind: Type,
    value: u64,
}

impl Stat {
    fn full_name(&self) -> String {
        if self.name.is_empty() {
            format!("{}.{}", self.scope, self.metric)
        } else {
            format!("{}.{}.{}", self.scope, self.name, self.metric)
        }
    }
}

pub(super) fn gather(registry: &Registry, generation: &Generation, uptime: &Duration) -> Vec<Stat> {
    let mut stats: Vec<Stat> = Vec::new();
    for totals in registry.totals() {
        // A listener's statistics go by its address, as in Envoy.
        let name = match totals.scope {
            "listener" => {
                let bound = generation
                    .listeners
                    .iter()
                    .find(|bound| bound.listener.name == totals.name);
                bound.map_or_else(
                    || totals.name.to_string(),
                    |bound| bound.socket.address.to_string().replace(':', "_"),
                )
            }
            _ => totals.name.to_string(),
        };
        for (metric, kind, value) in totals.values {
            stats.push(Stat {
                scope: totals.scope,
                name: name.clone(),
                metric,
                kind,
                value,
            });
        }
    }
    for (name, runtime) in &generation.clusters {
        let health = &runtime.state.stats;
        let breakers = &runtime.state.breakers;
        let values = [
            (
                "membership_total",
                Type::Gauge,
                runtime.members.list.len() as u64,
            ),
            ("membership_healthy", Type::Gauge, runtime.healthy() as u64),
            (
                "outlier_detection.ejections_active",
                Type::Gauge,
                runtime.ejected() as u64,
            ),
            (
                "outlier_detection.ejections_enforced_total",
                Type::Counter,
                health.ejections_enforced.load(Ordering::Relaxed),
            ),
            (
                "outlier_detection.ejections_overflow",
                Type::Counter,
                health.ejections_overflow.load(Ordering::Relaxed),
            ),
            (
                "outlier_detection.ejections_detected_consecutive_5xx",
                Type::Counter,
                health.ejections_detected_5xx.load(Ordering::Relaxed),
            ),
            (
                "circuit_breakers.default.cx_open",
                Type::Gauge,
                breakers.connections.is_open().into(),
            ),
            (
                "circuit_breakers.default.rq_pending_open",
                Type::Gauge,
                breakers.pending.is_open().into(),
            ),
            (
                "circuit_breakers.default.rq_open",
                Type::Gauge,
                breakers.requests.is_open().into(),
            ),
            (
                "circuit_breakers.default.rq_retry_open",
                Type::Gauge,
                breakers.retries.is_open().into(),
            ),
        ];
        let has_checks = !runtime.config.health_checks.is_empty();
        let checks = checks(runtime).into_iter().filter(|_| has_checks);
        for (metric, kind, value) in values.into_iter().chain(checks) {
            stats.push(Stat {
                scope: "cluster",
                name: name.to_string(),
                metric,
                kind,
                value,
            });
        }
    }
    let server = [
        ("live", u64::from(generation.number > 0)),
        ("state", if generation.number > 0 { 0 } else { 2 }),
        ("uptime", uptime.as_secs()),
        ("revision", generation.config.revision),
    ];
    for (metric, value) in server {
        stats.push(Stat {
            scope: "server",
            name: String::new(),
            metric,
            kind: Type::Gauge,
            value,
        });
    }
    stats
}

/// Statistics of active health checks, which only clusters that have some show.
fn checks(runtime: &ClusterRuntime) -> [(&'static str, Type, u64); 6] {
    let health = &runtime.state.stats;
    let counter = |name, counter: &AtomicU64| {
        let value = counter.load(Ordering::Relaxed);
        (name, Type::Counter, value)
    };
    [
        counter("health_check.attempt", &health.check_attempt),
        counter("health_check.success", &health.check_success),
        counter("health_check.failure", &health.check_failure),
        counter(
            "health_check.network_failure",
            &health.check_network_failure,
        ),
        (
            "health_check.healthy",
            Type::Gauge,
            runtime.passing_checks() as u64,
        ),
        // No check of ours finds a host degraded; the control plane may say so.
        ("health_check.degraded", Type::Gauge, 0),
    ]
}

pub(super) fn stats(stats: &[Stat], filter: &str) -> String {
    let mut lines: Vec<String> = stats
        .iter()
        .map(|stat| format!("{}: {}", stat.full_name(), stat.value))
        .filter(|line| line.contains(filter))
        .collect();
    lines.sort();
    lines.push(String::new());
    lines.join("\n")
}

pub(super) fn stats_json(stats: &[Stat], filter: &str) -> serde_json::Value {
    let list: Vec<_> = stats
        .iter()
        .map(|stat| (stat.full_name(), stat.value))
        .filter(|(name, _)| name.contains(filter))
        .map(|(name, value)| serde_json::json!({ "name": name, "value": value }))
        .collect();
    serde_json::json!({ "stats": list })
}

/// Envoy's names, whatever they count: dashboards of App Mesh read `envoy_cluster_upstream_rq`, not
/// `envoy_cluster_upstream_rq_total_total`. The encoder that the control plane uses appends `_total` to every counter,
/// so it cannot write these.
pub(super) fn prometheus(stats: &[Stat]) -> String {
    let mut families: BTreeMap<String, (Type, Vec<&Stat>)> = BTreeMap::new();
    for stat in stats {
        let name = format!("envoy_{}_{}", stat.scope, stat.metric.replace('.', "_"));
        families
            .entry(name)
            .or_insert_with(|| (stat.kind, Vec::new()))
            .1
            .push(stat);
    }
    let mut out = String::new();
    for (name, (kind, stats)) in families {
        let kind = if kind == Type::Counter {
            "counter"
        } else {
            "gauge"
        };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "# TYPE {name} {kind}");
        for stat in stats {
            let label = match stat.scope {
                "http" => "envoy_http_conn_manager_prefix",
                "cluster" => "envoy_cluster_name",
                "listener" => "envoy_listener_address",
                "tcp" => "envoy_tcp_prefix",
                _ => "",
            };
            let _ = if label.is_empty() {
                writeln!(out, "{name}{{}} {}", stat.value)
            } else {
                writeln!(
                    out,
                    "{name}{{{label}=\"{}\"}} {}",
                    escape(&stat.name),
                    stat.value
                )
            };
        }
    }
    out
}

/// A label value (Prometheus exposition format).
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

pub(super) fn listeners(generation: &Generation) -> String {
    generation
        .listeners
        .iter()
        .fold(String::new(), |mut out, bound| {
            let _ = writeln!(out, "{}::{}", bound.listener.name, bound.socket.address);
            out
        })
}

pub(super) fn clusters(generation: &Generation, registry: &Registry) -> String {
    let totals = registry.totals();
    let value = |cluster: &str, metric: &str| {
        totals
            .iter()
            .filter(|totals| totals.scope == "cluster" && &*totals.name == cluster)
            .flat_map(|totals| &totals.values)
            .find(|(name, ..)| *name == metric)
            .map_or(0, |(.., value)| *value)
    };
    let mut out = String::new();
    for (name, runtime) in &generation.clusters {
        let limits = &runtime.state.breakers;
        let _ = writeln!(out, "{name}::observability_name::{name}");
        for (label, ceiling) in [
            ("max_connections", &limits.connections),
            ("max_pending_requests", &limits.pending),
            ("max_requests", &limits.requests),
            ("max_retries", &limits.retries),
        ] {
            let limit = if ceiling.limit() == u32::MAX {
                i32::MAX as u32
            } else {
                ceiling.limit()
            };
            let _ = writeln!(out, "{name}::default_priority::{label}::{limit}");
        }
        let _ = writeln!(out, "{name}::added_via_api::true");
        for metric in [
            "upstream_cx_active",
            "upstream_rq_active",
            "upstream_rq_total",
        ] {
            let _ = writeln!(out, "{name}::{metric}::{}", value(name, metric));
        }
        for member in &runtime.members.list {
            let address = member.host.address;
            let _ = writeln!(out, "{name}::{address}::hostname::{}", member.host.hostname);
            let _ = writeln!(
                out,
                "{name}::{address}::health_flags::{}",
                health_flags(&member.host)
            );
            let _ = writeln!(out, "{name}::{address}::weight::{}", member.weight);
            let _ = writeln!(out, "{name}::{address}::priority::{}", member.priority);
            let _ = writeln!(
                out,
                "{name}::{address}::times_ejected::{}",
                member.host.times_ejected()
            );
        }
    }
    out
}

/// `health_flags` of `/clusters`, in Envoy's words.
fn health_flags(host: &Host) -> String {
    let mut flags = String::new();
    for (flag, name) in [
        (HealthFlag::FailedActiveCheck, "/failed_active_hc"),
        (HealthFlag::FailedOutlierCheck, "/failed_outlier_check"),
        (HealthFlag::FailedEds, "/failed_eds_health"),
        (HealthFlag::DegradedEds, "/degraded_eds_health"),
        (HealthFlag::PendingActiveCheck, "/pending_active_hc"),
    ] {
        if host.has(flag) {
            flags.push_str(name);
        }
    }
    if flags.is_empty() {
        "healthy".to_owned()
    } else {
        flags
    }
}
