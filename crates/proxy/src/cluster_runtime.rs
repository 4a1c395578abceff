//! The state of a cluster that all workers share: its hosts with their health, and its circuit breakers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::config::cluster::{Cluster, Limits, Outlier};
use crate::config::endpoint::Health;

/// Envoy's health flags of a host; several may be set at once.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub(crate) enum HealthFlag {
    /// Marked unhealthy by the control plane (EDS).
    FailedEds = 1,
    FailedActiveCheck = 2,
    FailedOutlierCheck = 4,
    DegradedEds = 8,
    /// No active check has completed yet.
    PendingActiveCheck = 16,
}

const UNHEALTHY: u8 = HealthFlag::FailedEds as u8
    | HealthFlag::FailedActiveCheck as u8
    | HealthFlag::FailedOutlierCheck as u8
    | HealthFlag::PendingActiveCheck as u8;

/// One upstream address of one cluster. It outlives configuration changes that keep the address.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) address: SocketAddr,
    pub(crate) hostname: Arc<str>,
    health_flags: AtomicU8,
    consecutive_5xx: AtomicU32,
    consecutive_gateway: AtomicU32,
    /// Guards the history of ejections. Taken when a host is ejected and by the periodic check, not per request.
    ejection: Mutex<Ejection>,
}

/// Hosts are compared by identity: a host that returns after it was forgotten is a different one.
impl PartialEq for Host {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

#[derive(Debug, Default)]
struct Ejection {
    since: Option<Instant>,
    times: u32,
}

impl Host {
    pub(crate) fn new(address: SocketAddr, hostname: Arc<str>) -> Self {
        Self {
            address,
            hostname,
            health_flags: AtomicU8::new(0),
            consecutive_5xx: AtomicU32::new(0),
            consecutive_gateway: AtomicU32::new(0),
            ejection: Mutex::default(),
        }
    }

    pub(crate) fn is_healthy(&self) -> bool {
        self.health_flags.load(Ordering::Relaxed) & UNHEALTHY == 0
    }

    pub(crate) fn has(&self, flag: HealthFlag) -> bool {
        self.health_flags.load(Ordering::Relaxed) & flag as u8 != 0
    }

    /// Returns whether the flag changed.
    pub(crate) fn set(&self, flag: HealthFlag, present: bool) -> bool {
        let bit = flag as u8;
        let before = if present {
            self.health_flags.fetch_or(bit, Ordering::Relaxed)
        } else {
            self.health_flags.fetch_and(!bit, Ordering::Relaxed)
        };
        (before & bit != 0) != present
    }

    pub(crate) fn set_discovered(&self, health: Health) -> bool {
        let unhealthy = self.set(HealthFlag::FailedEds, health == Health::Unhealthy);
        let degraded = self.set(HealthFlag::DegradedEds, health == Health::Degraded);
        unhealthy || degraded
    }

    fn uneject(&self, ejection: &mut Ejection) -> bool {
        ejection.since = None;
        self.consecutive_5xx.store(0, Ordering::Relaxed);
        self.consecutive_gateway.store(0, Ordering::Relaxed);
        self.set(HealthFlag::FailedOutlierCheck, false)
    }

    /// Clears the ejections after outlier detection was removed. Returns whether the host was ejected.
    pub(crate) fn forget_ejections(&self) -> bool {
        let mut ejection = self.ejection.lock();
        ejection.times = 0;
        self.uneject(&mut ejection)
    }

    /// The current ejection multiplier.
    pub(crate) fn times_ejected(&self) -> u32 {
        self.ejection.lock().times
    }
}

/// A host in a cluster, with weight, priority and locality.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member {
    pub(crate) host: Arc<Host>,
    pub(crate) weight: u32,
    pub(crate) priority: u32,
    pub(crate) locality: u32,
    pub(crate) locality_weight: u32,
    pub(crate) check_port: Option<u16>,
    pub(crate) check_hostname: Arc<str>,
    pub(crate) checked: bool,
}

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Members {
    pub(crate) list: Vec<Member>,
    pub(crate) overprovisioning: u32,
}

/// A cluster as all workers see it.
#[derive(Debug)]
pub(crate) struct ClusterRuntime {
    pub(crate) config: Arc<Cluster>,
    pub(crate) members: Arc<Members>,
    pub(crate) state: Arc<State>,
}

/// The state that survives configuration changes.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) breakers: CircuitBreakers,
    /// Incremented when a host's health changes, so that workers rebuild their load-balancer schedules.
    epoch: AtomicU64,
    /// Survives changes of the circuit breakers, too.
    pub(crate) stats: Arc<HealthStats>,
}

/// Counters of a cluster's outlier detection and active health checks. Gauges of the current state are computed from
/// the hosts instead.
#[derive(Debug, Default)]
pub(crate) struct HealthStats {
    pub(crate) ejections_enforced: AtomicU64,
    pub(crate) ejections_overflow: AtomicU64,
    pub(crate) ejections_detected_5xx: AtomicU64,
    pub(crate) check_attempt: AtomicU64,
    pub(crate) check_success: AtomicU64,
    pub(crate) check_failure: AtomicU64,
    pub(crate) check_network_failure: AtomicU64,
}

impl State {
    /// Fresh state that counts in `stats`.
    pub(crate) fn new(limits: Limits, stats: Arc<HealthStats>) -> Self {
        Self {
            breakers: CircuitBreakers {
                connections: CircuitBreaker::new(limits.connections),
                pending: CircuitBreaker::new(limits.pending),
                requests: CircuitBreaker::new(limits.requests),
                retries: CircuitBreaker::new(limits.retries),
            },
            epoch: AtomicU64::new(0),
            stats,
        }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    pub(crate) fn health_changed(&self) {
        self.epoch.fetch_add(1, Ordering::Release);
    }
}

impl ClusterRuntime {
    pub(crate) fn healthy(&self) -> u64 {
        self.count(Host::is_healthy)
    }

    pub(crate) fn ejected(&self) -> u64 {
        self.count(|host| host.has(HealthFlag::FailedOutlierCheck))
    }

    /// Hosts that no active check has found unhealthy.
    pub(crate) fn passing_checks(&self) -> u64 {
        self.count(|host| {
            !host.has(HealthFlag::FailedActiveCheck) && !host.has(HealthFlag::PendingActiveCheck)
        })
    }

    fn count(&self, is_counted: impl Fn(&Host) -> bool) -> u64 {
        let hosts = self.members.list.iter().map(|member| &*member.host);
        hosts.filter(|host| is_counted(host)).count() as u64
    }

    /// Records the result of a request for outlier detection. A failure without a response counts as the status that
    /// the client sees: 503 for a connection failure, 504 for a timeout.
    pub(crate) fn observe(&self, host: &Host, status: u16) {
        let Some(outlier) = &self.config.outlier else {
            return;
        };
        if status < 500 {
            // Loads first: the common case must not dirty a cache line that all workers read.
            if host.consecutive_5xx.load(Ordering::Relaxed) != 0 {
                host.consecutive_5xx.store(0, Ordering::Relaxed);
            }
            if host.consecutive_gateway.load(Ordering::Relaxed) != 0 {
                host.consecutive_gateway.store(0, Ordering::Relaxed);
            }
            return;
        }
        if (502..=504).contains(&status) {
            let count = host.consecutive_gateway.fetch_add(1, Ordering::Relaxed) + 1;
            if count == outlier.consecutive_gateway {
                host.consecutive_gateway.store(0, Ordering::Relaxed);
                self.eject(host, outlier, outlier.enforcing_gateway);
            }
        } else {
            host.consecutive_gateway.store(0, Ordering::Relaxed);
        }
        let count = host.consecutive_5xx.fetch_add(1, Ordering::Relaxed) + 1;
        if count == outlier.consecutive_5xx {
            host.consecutive_5xx.store(0, Ordering::Relaxed);
            let detected = &self.state.stats.ejections_detected_5xx;
            detected.fetch_add(1, Ordering::Relaxed);
            self.eject(host, outlier, outlier.enforcing_5xx);
        }
    }

    /// Ejects a host with a probability of `enforcing` percent, if `max_ejection_percent` permits.
    fn eject(&self, host: &Host, outlier: &Outlier, enforcing: u32) {
        let mut ejection = host.ejection.lock();
        if fastrand::u32(..100) >= enforcing || host.has(HealthFlag::FailedOutlierCheck) {
            return;
        }
        let ejected = self.ejected();
        let share = ejected * 100 / self.members.list.len().max(1) as u64;
        // One host may always be ejected, however small `max_ejection_percent` is, as App Mesh documents.
        if ejected > 0 && share >= outlier.max_ejection_percent.into() {
            let overflow = &self.state.stats.ejections_overflow;
            overflow.fetch_add(1, Ordering::Relaxed);
            return;
        }
        ejection.since = Some(Instant::now());
        ejection.times = ejection.times.saturating_add(1);
        host.set(HealthFlag::FailedOutlierCheck, true);
        let enforced = &self.state.stats.ejections_enforced;
        enforced.fetch_add(1, Ordering::Relaxed);
        self.state.health_changed();
        tracing::info!(cluster = %self.config.name, host = %host.address, "host ejected");
    }

    /// Unejects hosts whose ejection time is over, and lowers the ejection multiplier of the others. Called once per
    /// `outlier_detection.interval`.
    pub(crate) fn sweep(&self, outlier: &Outlier, now: Instant) {
        for member in &self.members.list {
            let host = &member.host;
            let mut ejection = host.ejection.lock();
            match ejection.since {
                Some(since) => {
                    let length = (outlier.base_ejection * ejection.times).min(outlier.max_ejection);
                    if now.duration_since(since) >= length && host.uneject(&mut ejection) {
                        self.state.health_changed();
                        tracing::info!(cluster = %self.config.name, host = %host.address, "host returned from ejection");
                    }
                }
                None => ejection.times = ejection.times.saturating_sub(1),
            }
        }
    }
}

/// The circuit breakers of one cluster, over all workers, as in Envoy.
#[derive(Debug)]
pub(crate) struct CircuitBreakers {
    pub(crate) connections: CircuitBreaker,
    pub(crate) pending: CircuitBreaker,
    pub(crate) requests: CircuitBreaker,
    pub(crate) retries: CircuitBreaker,
}

/// The limit of one resource of a cluster (connections, pending requests, requests or retries), and the number in use.
#[derive(Debug)]
pub(crate) struct CircuitBreaker {
    pub(crate) limit: u32,
    in_use: AtomicU32,
}

impl CircuitBreaker {
    fn new(limit: u32) -> Self {
        Self {
            limit,
            in_use: AtomicU32::new(0),
        }
    }

    /// Acquires a unit. Without a limit nothing is counted, so that workers share no cache line for it.
    pub(crate) fn try_acquire(&self) -> bool {
        if self.limit == u32::MAX {
            return true;
        }
        self.in_use
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |in_use| {
                (in_use < self.limit).then_some(in_use + 1)
            })
            .is_ok()
    }

    /// Acquires a unit even above the limit.
    pub(crate) fn force_acquire(&self) {
        if self.limit != u32::MAX {
            self.in_use.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn release(&self) {
        if self.limit != u32::MAX {
            self.in_use.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whether the limit is reached, as in Envoy's `*_open` gauges.
    pub(crate) fn is_open(&self) -> bool {
        self.limit != u32::MAX && self.in_use.load(Ordering::Relaxed) >= self.limit
    }
}

/// Time for which the ejections and check results of a removed host are kept.
pub(crate) const HOST_HISTORY_TTL: Duration = Duration::from_secs(600);

#[cfg(test)]
pub(crate) mod tests;
