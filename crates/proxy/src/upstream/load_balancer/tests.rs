use super::*;
use crate::cluster_runtime::tests::{member, runtime_of};

struct Rig {
    runtime: ClusterRuntime,
    upstreams: HashMap<SocketAddr, Rc<Upstream>>,
}

/// Hosts given as (priority, weight); host `n` has port `n`.
fn rig(hosts: &[(u32, u32)]) -> Rig {
    let cluster = envoy_types::pb::envoy::config::cluster::v3::Cluster {
        name: "c".to_owned(),
        ..Default::default()
    };
    let config = crate::config::cluster::compile(&cluster).expect("valid cluster");
    let list: Vec<Member> = (0..)
        .zip(hosts)
        .map(|(port, (priority, weight))| Member {
            weight: *weight,
            priority: *priority,
            ..member(port)
        })
        .collect();
    let upstreams = list
        .iter()
        .map(|member| (member.host.address, Upstream::new(member.host.clone())))
        .collect();
    Rig {
        runtime: runtime_of(config, list),
        upstreams,
    }
}

impl Rig {
    fn mark_unhealthy(&self, host: usize) {
        self.runtime.members.list[host]
            .host
            .set(HealthFlag::FailedActiveCheck, true);
    }

    /// The number of picks of each host.
    fn pick_counts(&self, policy: Policy, picks: usize) -> Vec<usize> {
        let mut balancer = Balancer::build(&self.runtime, &self.upstreams);
        let stats = ClusterStats::default();
        let mut counts = vec![0; self.runtime.members.list.len()];
        for _ in 0..picks {
            if let Some(upstream) = balancer.pick(policy, &stats) {
                counts[usize::from(upstream.host.address.port())] += 1;
            }
        }
        counts
    }
}

#[test]
fn round_robin_takes_equal_turns() {
    assert_eq!(
        rig(&[(0, 1); 4]).pick_counts(Policy::RoundRobin, 400),
        [100; 4]
    );
}

#[test]
fn round_robin_follows_weights() {
    let counts = rig(&[(0, 1), (0, 3)]).pick_counts(Policy::RoundRobin, 400);
    assert!((98..=102).contains(&counts[0]), "{counts:?}");
}

#[test]
fn unhealthy_hosts_rest_until_panic() {
    let rig = rig(&[(0, 1); 4]);
    rig.mark_unhealthy(0);
    assert_eq!(rig.pick_counts(Policy::RoundRobin, 300)[0], 0);
    rig.mark_unhealthy(1);
    let counts = rig.pick_counts(Policy::RoundRobin, 300);
    assert_eq!(counts[0], 0, "half healthy is not yet panic");
    rig.mark_unhealthy(2);
    let counts = rig.pick_counts(Policy::RoundRobin, 400);
    assert_eq!(counts, [100; 4], "below half, health is ignored");
}

#[test]
fn traffic_spills_to_the_next_priority_as_the_first_loses_health() {
    let rig = rig(&[(0, 1), (0, 1), (1, 1), (1, 1)]);
    let counts = rig.pick_counts(Policy::RoundRobin, 1000);
    assert_eq!(counts[2] + counts[3], 0, "{counts:?}");
    rig.mark_unhealthy(0);
    // Half of the first priority carries 70 %, at 140 % overprovisioning.
    let counts = rig.pick_counts(Policy::RoundRobin, 10_000);
    assert_eq!(counts[0], 0);
    assert!((6_600..7_400).contains(&counts[1]), "{counts:?}");
    rig.mark_unhealthy(1);
    let counts = rig.pick_counts(Policy::RoundRobin, 1000);
    assert_eq!(counts[0] + counts[1], 0, "{counts:?}");
}

#[test]
fn least_request_prefers_the_idle_host() {
    let rig = rig(&[(0, 1), (0, 1)]);
    let busy = rig.runtime.members.list[0].host.address;
    rig.upstreams[&busy].active.set(50);
    let counts = rig.pick_counts(Policy::LeastRequest { choices: 2 }, 1000);
    assert!(counts[1] > 650, "{counts:?}");
}

#[test]
fn no_member_is_no_host() {
    let rig = rig(&[]);
    let mut balancer = Balancer::build(&rig.runtime, &rig.upstreams);
    let picked = balancer.pick(Policy::RoundRobin, &ClusterStats::default());
    assert!(picked.is_none());
}
