//! From endpoints and DNS answers to the hosts of a cluster. Hosts keep their identity, and with it their health and
//! ejections, as long as their address stays.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use super::resolve::Resolver;
use crate::config::cluster::{Cluster, Discovery, Limits};
use crate::config::endpoint::{Assignment, Endpoint};
use crate::fleet::{Ailment, Fleet, Host, MEMORY, Member, Members, State};

/// What outlives the configurations of a cluster.
#[derive(Default)]
pub(super) struct Memory {
    clusters: HashMap<Arc<str>, Known>,
}

struct Known {
    limits: Limits,
    state: Arc<State>,
    hosts: HashMap<SocketAddr, Remembered>,
    /// Endpoints that were found unusable, so that each is reported once.
    reported: HashSet<Arc<str>>,
}

struct Remembered {
    host: Arc<Host>,
    /// Since when it has not been a member.
    absent: Option<Instant>,
}

impl Memory {
    /// The fleet of a cluster; `current` itself when nothing about it changed.
    pub(super) fn fleet(
        &mut self,
        config: &Arc<Cluster>,
        assignment: Option<&Arc<Assignment>>,
        resolver: &Resolver,
        current: Option<&Arc<Fleet>>,
    ) -> Arc<Fleet> {
        let known = self
            .clusters
            .entry(config.name.clone())
            .or_insert_with(|| Known {
                limits: config.limits,
                state: Arc::new(State::new(config.limits)),
                hosts: HashMap::new(),
                reported: HashSet::new(),
            });
        if known.limits != config.limits {
            // Requests in flight give their places back to the old counters; the new ones start empty.
            known.limits = config.limits;
            let stats = known.state.stats.clone();
            known.state = Arc::new(State::with_stats(config.limits, stats));
        }
        let members = members(config, assignment, resolver, known);
        if let Some(current) = current
            && Arc::ptr_eq(&current.config, config)
            && Arc::ptr_eq(&current.state, &known.state)
            && *current.members == members
        {
            return current.clone();
        }
        Arc::new(Fleet {
            config: config.clone(),
            members: Arc::new(members),
            state: known.state.clone(),
        })
    }

    /// Forgets clusters that are gone and hosts absent for long.
    pub(super) fn forget(&mut self, exists: impl Fn(&str) -> bool, now: Instant) {
        self.clusters.retain(|name, known| {
            known.hosts.retain(|_, remembered| {
                remembered
                    .absent
                    .is_none_or(|since| now.saturating_duration_since(since) < MEMORY)
            });
            exists(name)
        });
    }
}

fn members(
    config: &Cluster,
    assignment: Option<&Arc<Assignment>>,
    resolver: &Resolver,
    known: &mut Known,
) -> Members {
    let now = Instant::now();
    let mut list: Vec<Member> = Vec::new();
    for remembered in known.hosts.values_mut() {
        remembered.absent.get_or_insert(now);
    }
    let mut health_changed = false;
    if let Some(assignment) = assignment {
        for endpoint in &assignment.endpoints {
            for ip in addresses(config, endpoint, resolver, &mut known.reported) {
                let address = SocketAddr::new(ip, endpoint.port);
                // An address listed twice is one host, as in Envoy.
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
    match &config.discovery {
        Discovery::StrictDns(dns) => resolver.addresses(&endpoint.host, dns.family).to_vec(),
        Discovery::LogicalDns(dns) => resolver
            .addresses(&endpoint.host, dns.family)
            .first()
            .copied()
            .into_iter()
            .collect(),
        _ => {
            if reported.insert(endpoint.host.clone()) {
                tracing::warn!(cluster = %config.name, host = %endpoint.host, "endpoint is not an IP address; ignored");
            }
            Vec::new()
        }
    }
}

fn host(
    config: &Cluster,
    known: &mut Known,
    endpoint: &Endpoint,
    address: SocketAddr,
) -> Arc<Host> {
    // In DNS clusters the name that was looked up is the host's name, unless another is given.
    let hostname = if endpoint.hostname.is_empty()
        && matches!(
            config.discovery,
            Discovery::StrictDns(_) | Discovery::LogicalDns(_)
        ) {
        &endpoint.host
    } else {
        &endpoint.hostname
    };
    let checked = !config.health_checks.is_empty() && endpoint.health_checked;
    let remembered = known
        .hosts
        .get_mut(&address)
        .filter(|remembered| remembered.host.hostname == *hostname);
    if let Some(remembered) = remembered {
        remembered.absent = None;
        if !checked {
            remembered.host.set(Ailment::Unchecked, false);
            remembered.host.set(Ailment::ActiveCheck, false);
        }
        return remembered.host.clone();
    }
    let host = Arc::new(Host::new(address, hostname.clone()));
    // Envoy sends requests to a LOGICAL_DNS host until a check has failed, and to others once one has passed.
    let waits = checked && !matches!(config.discovery, Discovery::LogicalDns(_));
    host.set(Ailment::Unchecked, waits);
    known.hosts.insert(
        address,
        Remembered {
            host: host.clone(),
            absent: None,
        },
    );
    host
}
