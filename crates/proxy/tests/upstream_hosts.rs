//! Choice of upstream hosts: limits, ejection, health checks, DNS names and original destinations.

mod rig;

use envoy_types::pb::envoy::config::cluster::v3 as cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::DiscoveryType;
use envoy_types::pb::envoy::config::core::v3 as core;

use rig::client::{self, Connection};
use rig::resources::*;
use rig::upstream::Upstream;
use rig::{Running, proxy_to, wait_for, wait_until};

/// A check that a host answers at this path; times in milliseconds.
fn health_check(path: &str, timeout: u64, interval: u64) -> core::HealthCheck {
    let http = core::health_check::HttpHealthCheck {
        path: path.to_owned(),
        ..Default::default()
    };
    core::HealthCheck {
        timeout: millis(timeout),
        interval: millis(interval),
        healthy_threshold: number(2),
        unhealthy_threshold: number(2),
        health_checker: Some(core::health_check::HealthChecker::HttpHealthCheck(http)),
        ..Default::default()
    }
}

#[test]
fn the_connection_limit_overflows_with_the_response_of_envoy() {
    let up = Upstream::start("up");
    let limited = cluster::Cluster {
        circuit_breakers: breakers(Thresholds {
            max_connections: number(1),
            max_pending_requests: number(1),
            ..Default::default()
        }),
        ..up.cluster()
    };
    let listener = http_ingress(&manager(everything_to("up")));
    let proxy = Running::with_one_worker(&listener, &[limited]);
    let get = b"GET /hold HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut first = Connection::open(proxy.address);
    first.write(get);
    up.wait_for_requests(1);
    let mut second = Connection::open(proxy.address);
    second.write(get);
    proxy.wait_for_stat("cluster.up.upstream_rq_pending_active", 1);
    let third = client::get(proxy.address, "/x");
    assert_eq!(third.status, 503);
    assert_eq!(third.header("x-envoy-overloaded"), Some("true"));
    assert_eq!(
        third.text(),
        "upstream connect error or disconnect/reset before headers. reset reason: overflow"
    );
    up.release();
    assert_eq!(first.read(false).status, 200);
    assert_eq!(second.read(false).status, 200);
    assert_eq!(up.connections(), 1);
    assert_eq!(proxy.stat("cluster.up.upstream_rq_pending_overflow"), 1);
}

#[test]
fn failing_host_is_ejected_and_returns() {
    let (good, bad) = (Upstream::start("good"), Upstream::start("bad"));
    let third = Upstream::start("third");
    bad.force_status(500);
    let watched = cluster::Cluster {
        outlier_detection: Some(cluster::OutlierDetection {
            consecutive_5xx: number(3),
            interval: millis(50),
            base_ejection_time: millis(300),
            max_ejection_percent: number(50),
            ..Default::default()
        }),
        ..static_cluster("all", &[good.address, bad.address, third.address])
    };
    let proxy = proxy_to(watched);
    let mut failures = 0;
    wait_until("the ejection", || {
        if client::get(proxy.address, "/x").status == 500 {
            failures += 1;
        }
        proxy.stat("cluster.all.outlier_detection.ejections_active") == 1
    });
    assert_eq!(failures, 3);
    bad.force_status(0);
    let before = bad.requests();
    wait_until("the host to serve again", || {
        client::get(proxy.address, "/x");
        bad.requests() > before
    });
    let clusters = proxy.admin("GET /clusters").text();
    assert!(clusters.contains("::times_ejected::"), "{clusters}");
}

#[test]
fn failed_health_check_keeps_requests_away() {
    let (good, bad) = (Upstream::start("good"), Upstream::start("bad"));
    let third = Upstream::start("third");
    bad.force_status(503);
    let checked = cluster::Cluster {
        health_checks: vec![health_check("/ping", 500, 50)],
        ..static_cluster("all", &[good.address, bad.address, third.address])
    };
    let proxy = proxy_to(checked);
    proxy.wait_for_stat("cluster.all.membership_healthy", 2);
    for _ in 0..12 {
        assert_eq!(client::get(proxy.address, "/x").status, 200);
    }
    let clusters = proxy.admin("GET /clusters").text();
    assert!(clusters.contains("/failed_active_hc"), "{clusters}");
    assert_eq!(proxy.stat("cluster.all.health_check.healthy"), 2);
    assert_eq!(proxy.stat("cluster.all.health_check.degraded"), 0);
    bad.force_status(0);
    proxy.wait_for_stat("cluster.all.membership_healthy", 3);
    let count = |name: &str| proxy.stat(&format!("cluster.all.health_check.{name}"));
    assert!(count("failure") > 0 && count("network_failure") == 0);
    third.stop();
    wait_until("a failure to connect", || count("network_failure") > 0);
    // Checks continue: an attempt counts before its outcome, so the outcomes are read first.
    let outcomes = count("success") + count("failure");
    assert!(count("attempt") >= outcomes);
    let prometheus = proxy.admin("GET /stats/prometheus").text();
    let line = "envoy_cluster_health_check_healthy{envoy_cluster_name=\"all\"} ";
    assert!(prometheus.contains(line), "{prometheus}");
}

#[test]
fn logical_dns_hosts_serve_until_a_check_has_failed() {
    let up = Upstream::start("up");
    // The check's answer never arrives, and its timeout is longer than the test.
    let proxy = proxy_to(cluster::Cluster {
        cluster_discovery_type: discovery(DiscoveryType::LogicalDns),
        health_checks: vec![health_check("/stall", 60_000, 60_000)],
        ..up.cluster()
    });
    up.wait_for_requests(1);
    assert_eq!(client::get(proxy.address, "/x").status, 200);
    assert_eq!(proxy.stat("cluster.up.membership_healthy"), 1);
}

#[test]
fn names_are_looked_up() {
    let up = Upstream::start("up");
    for kind in [DiscoveryType::StrictDns, DiscoveryType::LogicalDns] {
        let mut assignment = endpoints("up", &[]);
        let endpoint = named_endpoint("localhost", up.address.port());
        assignment.endpoints[0].lb_endpoints.push(endpoint);
        let proxy = proxy_to(cluster::Cluster {
            cluster_discovery_type: discovery(kind),
            dns_lookup_family: cluster::cluster::DnsLookupFamily::V4Only as i32,
            load_assignment: Some(assignment),
            ..up.cluster()
        });
        let response = wait_for("the name", || {
            Some(client::get(proxy.address, "/x")).filter(|r| r.status == 200)
        });
        assert_eq!(response.header("x-upstream"), Some("up"));
    }
}

#[test]
fn original_dst_cluster_connects_to_the_dialled_address() {
    // Without a redirect the destination is the listener itself, so the port is overridden to a real upstream.
    let up = Upstream::start("up");
    let proxy = proxy_to(cluster::Cluster {
        lb_config: Some(cluster::cluster::LbConfig::OriginalDstLbConfig(
            cluster::cluster::OriginalDstLbConfig {
                upstream_port_override: number(up.address.port().into()),
                ..Default::default()
            },
        )),
        ..passthrough("pass")
    });
    assert_eq!(client::get(proxy.address, "/x").status, 200);
}
