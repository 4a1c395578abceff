use super::*;
use crate::cluster_runtime::{Host, Members, State};
use std::sync::Arc;

struct Rig {
    runtime: ClusterRuntime,
    upstreams: HashMap<SocketAddr, Rc<Upstream>>,
    random: Random,
}

/// Hosts given as (priority, weight); host `n` has port `n`.
fn rig(hosts: &[(u32, u32)]) -> Rig {
    let cluster = envoy_types::pb::envoy::config::cluster::v3::Cluster {
        name: "c".to_owned(),
        ..Default::default()
    };
    let config = crate::config::cluster::compile(&cluster).expect("valid cluster");
    let list: Vec<Member> = hosts
        .iter()
        .enumerate()
        .map(|(index, (priority, weight))| Member {
            host: Arc::new(Host::new(
                SocketAddr::from(([127, 0, 0, 1], index as u16)),
                "".into(),
            )),
            weight: *weight,
            priority: *priority,
            locality: 0,
            locality_weight: 0,
            check_port: None,
            check_hostname: "".into(),
            checked: true,
        })
        .collect();
    let upstreams = list
        .iter()
        .map(|member| (member.host.address, Upstream::new(member.host.clone())))
        .collect();
    let state = Arc::new(State::new(config.limits));
    let members = Arc::new(Members {
        list,
        overprovisioning: 140,
    });
    Rig {
        runtime: ClusterRuntime {
            config: Arc::new(config),
            members,
            state,
        },
        upstreams,
        random: Random::new(),
    }
}

impl Rig {
    fn sicken(&self, host: usize) {
        self.runtime.members.list[host]
            .host
            .set(HealthFlag::FailedActiveCheck, true);
    }

    /// How often each host is picked.
    fn spread(&self, policy: Policy, picks: usize) -> Vec<usize> {
        let mut balancer = Balancer::build(&self.runtime, &self.upstreams, &self.random);
        let stats = ClusterStats::default();
        let mut counts = vec![0; self.runtime.members.list.len()];
        for _ in 0..picks {
            if let Some(upstream) = balancer.pick(policy, &self.random, &stats) {
                counts[usize::from(upstream.host.address.port())] += 1;
            }
        }
        counts
    }
}

#[test]
fn round_robin_takes_equal_turns() {
    assert_eq!(rig(&[(0, 1); 4]).spread(Policy::RoundRobin, 400), [100; 4]);
}

#[test]
fn round_robin_follows_weights() {
    let counts = rig(&[(0, 1), (0, 3)]).spread(Policy::RoundRobin, 400);
    assert!((98..=102).contains(&counts[0]), "{counts:?}");
}

#[test]
fn unhealthy_hosts_rest_until_panic() {
    let rig = rig(&[(0, 1); 4]);
    rig.sicken(0);
    assert_eq!(rig.spread(Policy::RoundRobin, 300)[0], 0);
    rig.sicken(1);
    assert_eq!(
        rig.spread(Policy::RoundRobin, 300)[0],
        0,
        "half healthy is not yet panic"
    );
    rig.sicken(2);
    assert_eq!(
        rig.spread(Policy::RoundRobin, 400),
        [100; 4],
        "below half, health is ignored"
    );
}

#[test]
fn traffic_spills_to_the_next_priority_as_the_first_loses_health() {
    let rig = rig(&[(0, 1), (0, 1), (1, 1), (1, 1)]);
    let counts = rig.spread(Policy::RoundRobin, 1000);
    assert_eq!(counts[2] + counts[3], 0, "{counts:?}");
    rig.sicken(0);
    // Half of the first priority carries 70 %, at 140 % overprovisioning.
    let counts = rig.spread(Policy::RoundRobin, 10_000);
    assert_eq!(counts[0], 0);
    assert!((6_600..7_400).contains(&counts[1]), "{counts:?}");
    rig.sicken(1);
    let counts = rig.spread(Policy::RoundRobin, 1000);
    assert_eq!(counts[0] + counts[1], 0, "{counts:?}");
}

#[test]
fn least_request_prefers_the_idle_host() {
    let rig = rig(&[(0, 1), (0, 1)]);
    for upstream in rig
        .upstreams
        .values()
        .filter(|upstream| upstream.host.address.port() == 0)
    {
        upstream.active.set(50);
    }
    let counts = rig.spread(Policy::LeastRequest { choices: 2 }, 1000);
    assert!(counts[1] > 650, "{counts:?}");
}

#[test]
fn no_member_is_no_host() {
    let rig = rig(&[]);
    let mut balancer = Balancer::build(&rig.runtime, &rig.upstreams, &rig.random);
    assert!(
        balancer
            .pick(Policy::RoundRobin, &rig.random, &ClusterStats::default())
            .is_none()
    );
}
