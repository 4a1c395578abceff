//! What all workers share about a cluster: its hosts with their health, and its circuit breakers.

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
    /// Unhealthy by the control plane.
    FailedEds = 1,
    FailedActiveCheck = 2,
    FailedOutlierCheck = 4,
    DegradedEds = 8,
    /// Known, but no active check has passed or failed yet.
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
    /// Guards the history of ejections; taken when a host is ejected or swept, not per request.
    ejection: Mutex<Ejection>,
}

/// Hosts are compared by identity: one that comes back after it was forgotten is another host.
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

    /// Returns whether this changed anything.
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

    /// Forgets ejections, since nothing detects outliers any more. Returns whether the host was ejected.
    pub(crate) fn forget_ejections(&self) -> bool {
        let mut ejection = self.ejection.lock();
        ejection.times = 0;
        self.uneject(&mut ejection)
    }

    /// Ejections so far that still count towards the length of the next one.
    pub(crate) fn times_ejected(&self) -> u32 {
        self.ejection.lock().times
    }
}

/// A host as a member of its cluster.
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

/// The part that survives configuration changes.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) breakers: Breakers,
    /// Grows whenever a host's health changes, so that workers rebuild their schedules.
    epoch: AtomicU64,
    /// Survives changed limits, too.
    pub(crate) stats: Arc<HealthStats>,
}

/// Counters of a cluster's outlier detection and active health checks. What is ejected or healthy *now* is not among
/// them; it is counted over the hosts.
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
    /// A state that counts in `stats`.
    pub(crate) fn new(limits: Limits, stats: Arc<HealthStats>) -> Self {
        Self {
            breakers: Breakers {
                connections: Ceiling::new(limits.connections),
                pending: Ceiling::new(limits.pending),
                requests: Ceiling::new(limits.requests),
                retries: Ceiling::new(limits.retries),
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

    /// Notes the outcome of a request for outlier detection. `status` of failures without a response is the one
    /// that the client would see: 503 for a connection that failed, 504 for a timeout.
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

    /// Ejects a host with a probability of `enforcing` percent, if as many hosts may be ejected.
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

/// Limits of what one cluster may have at once, over all workers.
#[derive(Debug)]
pub(crate) struct Breakers {
    pub(crate) connections: Ceiling,
    pub(crate) pending: Ceiling,
    pub(crate) requests: Ceiling,
    pub(crate) retries: Ceiling,
}

#[derive(Debug)]
pub(crate) struct Ceiling {
    pub(crate) limit: u32,
    held: AtomicU32,
}

impl Ceiling {
    fn new(limit: u32) -> Self {
        Self {
            limit,
            held: AtomicU32::new(0),
        }
    }

    /// Takes one place. Without a limit nothing is counted, so that workers share no cache line for it.
    pub(crate) fn try_take(&self) -> bool {
        if self.limit == u32::MAX {
            return true;
        }
        self.held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
                (held < self.limit).then_some(held + 1)
            })
            .is_ok()
    }

    /// Takes one place even above the limit.
    pub(crate) fn take(&self) {
        if self.limit != u32::MAX {
            self.held.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn release(&self) {
        if self.limit != u32::MAX {
            self.held.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.limit != u32::MAX && self.held.load(Ordering::Relaxed) >= self.limit
    }
}

/// How long the ejections and check results of a removed host are kept.
pub(crate) const HOST_HISTORY_TTL: Duration = Duration::from_secs(600);

#[cfg(test)]
pub(crate) mod tests;
