//! Load balancing: priorities and spill-over, panic, then round robin, least request or random.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::rc::Rc;

use super::Upstream;
use crate::cluster_runtime::{ClusterRuntime, HealthFlag, Member};
use crate::config::cluster::Policy;
use crate::metrics::ClusterStats;

/// The schedules for one state of membership and health; a change builds a new balancer.
#[derive(Default)]
pub(crate) struct Balancer {
    epoch: u64,
    /// Priorities, each with its share of traffic in percent.
    levels: Vec<(u32, PriorityLevel)>,
}

/// The hosts of one priority.
struct PriorityLevel {
    hosts: HostSet,
    panic: bool,
}

/// Selectable hosts, with relative weights.
#[derive(Default)]
struct HostSet {
    hosts: Vec<(Rc<Upstream>, f64)>,
    uniform: bool,
    next: usize,
    /// Earliest-deadline-first schedule, used when weights differ. Ties go to the host that was declared first.
    schedule: BinaryHeap<Reverse<(Deadline, usize)>>,
}

/// The bits of a non-negative floating-point number, which have the order of the numbers (IEEE 754).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Deadline(u64);

impl Deadline {
    fn after(self, time: f64) -> Self {
        Self((f64::from_bits(self.0) + time).to_bits())
    }
}

impl Balancer {
    pub(super) fn build(
        runtime: &ClusterRuntime,
        upstreams: &HashMap<SocketAddr, Rc<Upstream>>,
    ) -> Self {
        // Read before the hosts' health: a change in between has a newer epoch and causes another build.
        let epoch = runtime.state.epoch();
        let mut priorities: BTreeMap<u32, Vec<&Member>> = BTreeMap::new();
        for member in &runtime.members.list {
            priorities.entry(member.priority).or_default().push(member);
        }
        let groups: Vec<Vec<&Member>> = priorities.into_values().collect();
        let shares = Shares::compute(
            &groups,
            runtime.members.overprovisioning,
            runtime.config.panic_threshold,
        );
        let levels = groups
            .iter()
            .zip(shares)
            .map(|(group, share)| {
                let members = if share.panic {
                    group.clone()
                } else {
                    usable(group)
                };
                let by_locality = runtime.config.locality_weighted;
                let level = PriorityLevel {
                    hosts: HostSet::build(&members, by_locality, upstreams),
                    panic: share.panic,
                };
                (share.percent, level)
            })
            .collect();
        Self { epoch, levels }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn pick(&mut self, policy: Policy, stats: &ClusterStats) -> Option<Rc<Upstream>> {
        let level = match self.levels.as_mut_slice() {
            [] => return None,
            [(_, only)] => only,
            levels => {
                let point = fastrand::u32(..100);
                let mut until = 0;
                let chosen = levels.iter().position(|(percent, _)| {
                    until += percent;
                    point < until
                });
                &mut levels[chosen.unwrap_or(0)].1
            }
        };
        if level.panic {
            stats.lb_healthy_panic.inc();
        }
        level.hosts.pick(policy)
    }
}

/// Healthy members, or the degraded ones when none is healthy.
fn usable<'a>(group: &[&'a Member]) -> Vec<&'a Member> {
    let (degraded, healthy): (Vec<&Member>, Vec<&Member>) = group
        .iter()
        .copied()
        .filter(|member| member.host.is_healthy())
        .partition(|member| member.host.has(HealthFlag::DegradedEds));
    if healthy.is_empty() {
        degraded
    } else {
        healthy
    }
}

struct Shares {
    percent: u32,
    panic: bool,
}

impl Shares {
    /// Envoy's rule: each priority takes `health × overprovisioning` percent of the load that those before it left.
    /// If all together cannot take 100 %, loads are scaled up and priorities below the threshold ignore health.
    fn compute(groups: &[Vec<&Member>], overprovisioning: u32, threshold: f64) -> Vec<Self> {
        let health: Vec<(f64, u32)> = groups
            .iter()
            .map(|group| {
                let healthy = group
                    .iter()
                    .filter(|member| member.host.is_healthy())
                    .count();
                let percent = healthy as f64 * 100.0 / group.len().max(1) as f64;
                (
                    percent,
                    (percent * f64::from(overprovisioning) / 100.0).min(100.0) as u32,
                )
            })
            .collect();
        let total: u32 = health.iter().map(|(_, available)| *available).sum();
        if total == 0 {
            // No host is healthy: everything goes to the first priority, in panic unless panic is disabled.
            let panic = threshold > 0.0;
            return (0..groups.len())
                .map(|i| Self {
                    percent: if i == 0 { 100 } else { 0 },
                    panic,
                })
                .collect();
        }
        let mut left = 100;
        let mut shares: Vec<Self> = health
            .iter()
            .map(|(healthy, available)| {
                let scaled = if total < 100 {
                    available * 100 / total
                } else {
                    *available
                };
                let percent = scaled.min(left);
                left -= percent;
                Self {
                    percent,
                    panic: total < 100 && *healthy < threshold,
                }
            })
            .collect();
        // The rounding remainder goes to the first priority with load.
        if let Some(first) = shares.iter_mut().find(|share| share.percent > 0) {
            first.percent += left;
        }
        shares
    }
}

impl HostSet {
    fn build(
        members: &[&Member],
        by_locality: bool,
        upstreams: &HashMap<SocketAddr, Rc<Upstream>>,
    ) -> Self {
        let mut sums: HashMap<u32, f64> = HashMap::new();
        if by_locality {
            for member in members {
                *sums.entry(member.locality).or_default() += f64::from(member.weight);
            }
        }
        let hosts: Vec<(Rc<Upstream>, f64)> = members
            .iter()
            .filter_map(|member| {
                let upstream = upstreams.get(&member.host.address)?.clone();
                let mut weight = f64::from(member.weight);
                if let Some(sum) = sums.get(&member.locality) {
                    // A locality without weight gets no traffic when localities are weighted.
                    weight = weight / sum * f64::from(member.locality_weight);
                }
                (weight > 0.0).then_some((upstream, weight))
            })
            .collect();
        let uniform = hosts
            .windows(2)
            .all(|pair| (pair[0].1 - pair[1].1).abs() < f64::EPSILON);
        let schedule = if uniform {
            BinaryHeap::new()
        } else {
            // Random first deadlines, so that workers and proxies do not all start with the same host.
            let entry = |(host, (_, weight)): (usize, &(_, f64))| {
                Reverse((Deadline(0).after(fastrand::f64() / weight), host))
            };
            hosts.iter().enumerate().map(entry).collect()
        };
        let next = if hosts.is_empty() {
            0
        } else {
            fastrand::usize(..hosts.len())
        };
        Self {
            hosts,
            uniform,
            next,
            schedule,
        }
    }

    fn pick(&mut self, policy: Policy) -> Option<Rc<Upstream>> {
        if self.hosts.len() <= 1 {
            return self.hosts.first().map(|(upstream, _)| upstream.clone());
        }
        let index = match policy {
            Policy::RoundRobin => self.in_turn(),
            Policy::Random if self.uniform => fastrand::usize(..self.hosts.len()),
            Policy::Random => self.by_weight(),
            Policy::LeastRequest { choices } => self.least_loaded(choices),
        };
        Some(self.hosts[index].0.clone())
    }

    fn in_turn(&mut self) -> usize {
        if self.uniform {
            let index = self.next;
            self.next = if index + 1 == self.hosts.len() {
                0
            } else {
                index + 1
            };
            return index;
        }
        let Some(mut first) = self.schedule.peek_mut() else {
            return 0;
        };
        let Reverse((deadline, host)) = &mut *first;
        *deadline = deadline.after(1.0 / self.hosts[*host].1);
        *host
    }

    fn by_weight(&self) -> usize {
        let total: f64 = self.hosts.iter().map(|(_, weight)| weight).sum();
        let mut point = fastrand::f64() * total;
        let chosen = self.hosts.iter().position(|(_, weight)| {
            point -= weight;
            point < 0.0
        });
        chosen.unwrap_or(self.hosts.len() - 1)
    }

    /// The least loaded, relative to its weight, of a few random hosts.
    fn least_loaded(&self, choices: u32) -> usize {
        let load = |index: usize| {
            let (upstream, weight) = &self.hosts[index];
            f64::from(upstream.active.get() + 1) / weight
        };
        (0..choices.max(1))
            .map(|_| fastrand::usize(..self.hosts.len()))
            .min_by(|a, b| load(*a).total_cmp(&load(*b)))
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
