//! Computes the hosts of a cluster from endpoints and DNS answers. Hosts keep their identity, and with it their
//! health and ejections, as long as their address stays.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use super::dns_resolver::{Resolver, dns};
use crate::cluster_runtime::{
    ClusterRuntime, HOST_HISTORY_TTL, HealthFlag, Host, Member, Members, State,
};
use crate::config::cluster::{Cluster, Discovery, Limits};
use crate::config::endpoint::{Assignment, Endpoint};

/// The state of hosts that survives configuration changes, per cluster.
#[derive(Default)]
pub(super) struct HostHistory {
    clusters: HashMap<Arc<str>, ClusterHistory>,
}

struct ClusterHistory {
    limits: Limits,
    state: Arc<State>,
    hosts: HashMap<SocketAddr, TrackedHost>,
    /// Endpoints that were found unusable, so that each is reported once.
    reported: HashSet<Arc<str>>,
}

struct TrackedHost {
    host: Arc<Host>,
    /// Time since which it has not been a member.
    absent: Option<Instant>,
}

impl HostHistory {
    /// The runtime of a cluster; `current` itself when nothing changed.
    pub(super) fn runtime(
        &mut self,
        config: &Arc<Cluster>,
        assignment: Option<&Arc<Assignment>>,
        resolver: &Resolver,
        current: Option<&Arc<ClusterRuntime>>,
    ) -> Arc<ClusterRuntime> {
        let known = self
            .clusters
            .entry(config.name.clone())
            .or_insert_with(|| ClusterHistory {
                limits: config.limits,
                state: Arc::new(State::new(config.limits, Arc::default())),
                hosts: HashMap::new(),
                reported: HashSet::new(),
            });
        if known.limits != config.limits {
            // Requests in flight release the old circuit breakers; the new ones start empty.
            known.limits = config.limits;
            let stats = known.state.stats.clone();
            known.state = Arc::new(State::new(config.limits, stats));
        }
        let members = members(config, assignment, resolver, known);
        if let Some(current) = current
            && Arc::ptr_eq(&current.config, config)
            && Arc::ptr_eq(&current.state, &known.state)
            && *current.members == members
        {
            return current.clone();
        }
        Arc::new(ClusterRuntime {
            config: config.clone(),
            members: Arc::new(members),
            state: known.state.clone(),
        })
    }

    /// Drops clusters that were removed, and hosts that have been absent for [`HOST_HISTORY_TTL`].
    pub(super) fn forget(&mut self, exists: impl Fn(&str) -> bool, now: Instant) {
        self.clusters.retain(|name, known| {
            let is_recent = |since| now.saturating_duration_since(since) < HOST_HISTORY_TTL;
            known
                .hosts
                .retain(|_, tracked| tracked.absent.is_none_or(is_recent));
            exists(name)
        });
    }
}

fn members(
    config: &Cluster,
    assignment: Option<&Arc<Assignment>>,
    resolver: &Resolver,
    known: &mut ClusterHistory,
) -> Members {
    let now = Instant::now();
    let mut list: Vec<Member> = Vec::new();
    for tracked in known.hosts.values_mut() {
        tracked.absent.get_or_insert(now);
    }
    let mut health_changed = false;
    if let Some(assignment) = assignment {
        for endpoint in &assignment.endpoints {
            for ip in addresses(config, endpoint, resolver, &mut known.reported) {
                let address = SocketAddr::new(ip, endpoint.port);
                // An address that is listed twice is one host, as in Envoy.
                if list.iter().any(|member| member.host.address == address) {
                    continue;
                }
                let host = host(config, known, endpoint, address);
                health_changed |= host.set_discovered(endpoint.health);
                if config.outlier.is_none() {
                    health_changed |= host.forget_ejections();
                }
                list.push(Member {
                    host,
                    weight: endpoint.weight,
                    priority: endpoint.priority,
                    locality: endpoint.locality,
                    locality_weight: endpoint.locality_weight,
                    check_port: endpoint.health_check_port,
                    check_hostname: endpoint.health_check_hostname.clone(),
                    checked: endpoint.health_checked,
                });
            }
        }
    }
    if health_changed {
        known.state.health_changed();
    }
    Members {
        list,
        overprovisioning: assignment.map_or(140, |assignment| assignment.overprovisioning),
    }
}

fn addresses(
    config: &Cluster,
    endpoint: &Endpoint,
    resolver: &Resolver,
    reported: &mut HashSet<Arc<str>>,
) -> Vec<IpAddr> {
    if let Ok(ip) = endpoint.host.parse() {
        return vec![ip];
    }
    let Some(dns) = dns(config) else {
        if reported.insert(endpoint.host.clone()) {
            tracing::warn!(cluster = %config.name, host = %endpoint.host, "endpoint is not an IP address; ignored");
        }
        return Vec::new();
    };
    let found = resolver
        .addresses(&endpoint.host, dns.family)
        .iter()
        .copied();
    match config.discovery {
        Discovery::LogicalDns(_) => found.take(1).collect(),
        _ => found.collect(),
    }
}

fn host(
    config: &Cluster,
    known: &mut ClusterHistory,
    endpoint: &Endpoint,
    address: SocketAddr,
) -> Arc<Host> {
    // In DNS clusters the looked-up name is the hostname, unless another one is given.
    let hostname = if endpoint.hostname.is_empty() && dns(config).is_some() {
        &endpoint.host
    } else {
        &endpoint.hostname
    };
    let checked = !config.health_checks.is_empty() && endpoint.health_checked;
    let tracked = known
        .hosts
        .get_mut(&address)
        .filter(|tracked| tracked.host.hostname == *hostname);
    if let Some(tracked) = tracked {
        tracked.absent = None;
        if !checked {
            tracked.host.set(HealthFlag::PendingActiveCheck, false);
            tracked.host.set(HealthFlag::FailedActiveCheck, false);
        }
        return tracked.host.clone();
    }
    let host = Arc::new(Host::new(address, hostname.clone()));
    // Envoy sends requests to a LOGICAL_DNS host until a check has failed, and to others only once a check has
    // passed.
    let waits = checked && !matches!(config.discovery, Discovery::LogicalDns(_));
    host.set(HealthFlag::PendingActiveCheck, waits);
    known.hosts.insert(
        address,
        TrackedHost {
            host: host.clone(),
            absent: None,
        },
    );
    host
}
