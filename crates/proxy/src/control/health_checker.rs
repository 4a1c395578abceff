//! Active health checks: one task per cluster, host and check.

mod probe;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio_util::task::AbortOnDropHandle;

use crate::cluster_runtime::{ClusterRuntime, HealthFlag, Host, Member, State};
use crate::config::cluster::Cluster;
use crate::config::health_check::HealthCheck;

use probe::{Outcome, probe};

pub(crate) struct HealthChecker {
    tasks: HashMap<(Arc<str>, SocketAddr), HostChecks>,
    /// `SO_MARK` for hosts of clusters that set none.
    mark: Option<u32>,
}

/// The checks of one host.
struct HostChecks {
    config: Arc<Cluster>,
    host: Arc<Host>,
    state: Arc<State>,
    tasks: Vec<AbortOnDropHandle<()>>,
}

impl HostChecks {
    /// Whether a check task has ended unexpectedly; without a restart the host would keep its last result.
    fn has_ended(&self) -> bool {
        self.tasks.iter().any(|task| task.is_finished())
    }
}

impl HealthChecker {
    pub(crate) fn new(mark: Option<u32>) -> Self {
        let tasks = HashMap::new();
        Self { tasks, mark }
    }

    /// Replaces the clusters whose members are checked.
    pub(crate) fn sync<'a>(&mut self, clusters: impl Iterator<Item = &'a Arc<ClusterRuntime>>) {
        let mut tasks = HashMap::new();
        for runtime in clusters.filter(|runtime| !runtime.config.health_checks.is_empty()) {
            for member in runtime.members.list.iter().filter(|member| member.checked) {
                let key = (runtime.config.name.clone(), member.host.address);
                let known = self.tasks.remove(&key).filter(|known| {
                    !known.has_ended()
                        && Arc::ptr_eq(&known.config, &runtime.config)
                        && Arc::ptr_eq(&known.host, &member.host)
                        && Arc::ptr_eq(&known.state, &runtime.state)
                });
                let checks = known.unwrap_or_else(|| start(runtime, member, self.mark));
                tasks.insert(key, checks);
            }
        }
        self.tasks = tasks;
    }

    /// Whether [`HealthChecker::sync`] would restart a check task that ended unexpectedly.
    pub(crate) fn any_has_ended(&self) -> bool {
        self.tasks.values().any(HostChecks::has_ended)
    }
}

fn start(runtime: &Arc<ClusterRuntime>, member: &Member, mark: Option<u32>) -> HostChecks {
    let start = |check: &HealthCheck| {
        let mut address = member.host.address;
        if let Some(port) = member.check_port.or(check.port) {
            address.set_port(port);
        }
        let target = CheckTarget {
            cluster: runtime.config.clone(),
            host: member.host.clone(),
            state: runtime.state.clone(),
            address,
            hostname: member.check_hostname.clone(),
            mark: runtime.config.mark.or(mark),
        };
        AbortOnDropHandle::new(tokio::spawn(keep_checking(target, check.clone())))
    };
    HostChecks {
        config: runtime.config.clone(),
        host: member.host.clone(),
        state: runtime.state.clone(),
        tasks: runtime.config.health_checks.iter().map(start).collect(),
    }
}

struct CheckTarget {
    cluster: Arc<Cluster>,
    host: Arc<Host>,
    state: Arc<State>,
    address: SocketAddr,
    hostname: Arc<str>,
    mark: Option<u32>,
}

async fn keep_checking(target: CheckTarget, check: HealthCheck) {
    let (mut successes, mut failures) = (0, 0);
    loop {
        let stats = &target.state.stats;
        stats.check_attempt.fetch_add(1, Ordering::Relaxed);
        let outcome = tokio::time::timeout(check.timeout, probe(&target, &check.probe)).await;
        let outcome = outcome.unwrap_or(Outcome::NetworkFailure);
        if outcome == Outcome::NetworkFailure {
            stats.check_network_failure.fetch_add(1, Ordering::Relaxed);
        }
        let passed = outcome == Outcome::Healthy;
        if passed {
            stats.check_success.fetch_add(1, Ordering::Relaxed);
            (successes, failures) = (successes + 1, 0);
        } else {
            stats.check_failure.fetch_add(1, Ordering::Relaxed);
            (successes, failures) = (0, failures + 1);
        }
        // As in Envoy, the first result counts at once; later ones need their threshold.
        let first = target.host.has(HealthFlag::PendingActiveCheck);
        let unhealthy = target.host.has(HealthFlag::FailedActiveCheck);
        let counts = match passed {
            true => first || unhealthy && successes >= check.healthy_threshold,
            false => first || !unhealthy && failures >= check.unhealthy_threshold,
        };
        if counts {
            let changed = target.host.set(HealthFlag::FailedActiveCheck, !passed)
                | target.host.set(HealthFlag::PendingActiveCheck, false);
            if changed {
                tracing::info!(cluster = %target.cluster.name, host = %target.address, healthy = passed, "health changed");
                target.state.health_changed();
            }
        }
        tokio::time::sleep(check.interval).await;
    }
}
