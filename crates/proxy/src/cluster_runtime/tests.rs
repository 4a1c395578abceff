use super::*;
use envoy_types::pb::envoy::config::cluster::v3 as proto;
use envoy_types::pb::google::protobuf::{Duration as ProtoDuration, UInt32Value};

fn runtime(hosts: u8, percent: u32) -> ClusterRuntime {
    let config = crate::config::cluster::compile(&proto::Cluster {
        name: "c".to_owned(),
        outlier_detection: Some(proto::OutlierDetection {
            consecutive_5xx: Some(UInt32Value { value: 3 }),
            base_ejection_time: Some(ProtoDuration {
                seconds: 10,
                nanos: 0,
            }),
            max_ejection_percent: Some(UInt32Value { value: percent }),
            ..Default::default()
        }),
        ..Default::default()
    })
    .expect("valid cluster");
    runtime_of(config, (0..hosts).map(|n| member(n.into())).collect())
}

/// A member whose address has this port.
pub(crate) fn member(port: u16) -> Member {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    Member {
        host: Arc::new(Host::new(address, "".into())),
        weight: 1,
        priority: 0,
        locality: 0,
        locality_weight: 0,
        check_port: None,
        check_hostname: "".into(),
        checked: true,
    }
}

pub(crate) fn runtime_of(config: Cluster, list: Vec<Member>) -> ClusterRuntime {
    ClusterRuntime {
        state: Arc::new(State::new(config.limits, Arc::default())),
        config: Arc::new(config),
        members: Arc::new(Members {
            list,
            overprovisioning: 140,
        }),
    }
}

fn fail(runtime: &ClusterRuntime, host: usize, times: usize) {
    for _ in 0..times {
        runtime.observe(&runtime.members.list[host].host, 500);
    }
}

#[test]
fn host_is_ejected_at_the_nth_error_in_a_row() {
    let runtime = runtime(4, 50);
    fail(&runtime, 0, 2);
    runtime.observe(&runtime.members.list[0].host, 200);
    fail(&runtime, 0, 2);
    assert_eq!(runtime.healthy(), 4);
    fail(&runtime, 0, 1);
    assert_eq!(runtime.healthy(), 3);
}

#[test]
fn one_host_may_always_be_ejected() {
    let runtime = runtime(3, 0);
    fail(&runtime, 0, 3);
    fail(&runtime, 1, 3);
    assert_eq!(runtime.healthy(), 2);
}

#[test]
fn ejection_lasts_longer_each_time() {
    let runtime = runtime(2, 100);
    let outlier = runtime.config.outlier.clone().expect("configured");
    let start = Instant::now();
    fail(&runtime, 0, 3);
    runtime.sweep(&outlier, start + Duration::from_secs(5));
    assert_eq!(runtime.healthy(), 1);
    runtime.sweep(&outlier, start + Duration::from_secs(11));
    assert_eq!(runtime.healthy(), 2);
    fail(&runtime, 0, 3);
    runtime.sweep(&outlier, Instant::now() + Duration::from_secs(15));
    assert_eq!(runtime.healthy(), 1);
    runtime.sweep(&outlier, Instant::now() + Duration::from_secs(21));
    assert_eq!(runtime.healthy(), 2);
}

#[test]
fn circuit_breakers_only_count_with_a_limit() {
    let breaker = CircuitBreaker::new(1);
    assert!(breaker.try_acquire());
    assert!(!breaker.try_acquire());
    breaker.release();
    assert!(breaker.try_acquire());
    let none = CircuitBreaker::new(u32::MAX);
    assert!(none.try_acquire() && none.try_acquire() && !none.is_open());
}
