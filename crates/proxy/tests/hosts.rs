//! Which hosts serve: limits, ejection, health checks, names and dialled addresses.

mod rig;

use envoy_types::pb::envoy::config::cluster::v3 as cluster;
use envoy_types::pb::envoy::config::core::v3 as core;
use tombolo_proxy::Options;

use rig::client::{self, Connection};
use rig::resources::*;
use rig::upstream::Upstream;
use rig::{Running, forwarding, wait_for};

#[test]
fn connection_ceiling_overflows_with_envoys_answer() {
    let up = Upstream::start("up");
    let limited = cluster::Cluster {
        circuit_breakers: Some(cluster::CircuitBreakers {
            thresholds: vec![cluster::circuit_breakers::Thresholds {
                max_connections: number(1),
                max_pending_requests: number(1),
                ..Default::default()
            }],
            ..Default::default()
        }),
        ..static_cluster("up", &[up.address])
    };
    let listener = ingress(0, http_filter(&manager(everything_to("up"))));
    let proxy = Running::start_with(Options {
        workers: 1,
        static_resources: resource_set(&listener, &[limited]),
        ..Options::default()
    });
    let get = b"GET /slow/400 HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut first = Connection::open(proxy.address);
    first.write(get);
    wait_for("the first request upstream", || {
        (up.requests() == 1).then_some(())
    });
    let mut second = Connection::open(proxy.address);
    second.write(get);
    wait_for("the second to wait", || {
        (proxy.stat("cluster.up.upstream_rq_pending_active") == 1).then_some(())
    });
    let third = client::get(proxy.address, "/x");
    assert_eq!(third.status, 503);
    assert_eq!(third.header("x-envoy-overloaded"), Some("true"));
    assert_eq!(
        third.text(),
        "upstream connect error or disconnect/reset before headers. reset reason: overflow"
    );
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
    let proxy = forwarding(everything_to("all"), &[watched]);
    let mut failures = 0;
    wait_for("the ejection", || {
        if client::get(proxy.address, "/x").status == 500 {
            failures += 1;
        }
        (proxy.stat("cluster.all.outlier_detection.ejections_active") == 1).then_some(())
    });
    assert_eq!(failures, 3);
    bad.force_status(0);
    let before = bad.requests();
    wait_for("the host to serve again", || {
        client::get(proxy.address, "/x");
        (bad.requests() > before).then_some(())
    });
    assert!(
        proxy
            .admin("GET /clusters")
            .text()
            .contains("::times_ejected::")
    );
}

#[test]
fn failed_health_check_keeps_requests_away() {
    let (good, bad) = (Upstream::start("good"), Upstream::start("bad"));
    let third = Upstream::start("third");
    bad.force_status(503);
    let checked = cluster::Cluster {
        health_checks: vec![core::HealthCheck {
            timeout: millis(500),
            interval: millis(50),
            healthy_threshold: number(2),
            unhealthy_threshold: number(2),
            health_checker: Some(core::health_check::HealthChecker::HttpHealthCheck(
                core::health_check::HttpHealthCheck {
                    path: "/ping".to_owned(),
                    ..Default::default()
                },
            )),
            ..Default::default()
        }],
        ..static_cluster("all", &[good.address, bad.address, third.address])
    };
    let proxy = forwarding(everything_to("all"), &[checked]);
    wait_for("first verdicts", || {
        (proxy.stat("cluster.all.membership_healthy") == 2).then_some(())
    });
    for _ in 0..12 {
        assert_eq!(client::get(proxy.address, "/x").status, 200);
    }
    assert!(
        proxy
            .admin("GET /clusters")
            .text()
            .contains("/failed_active_hc")
    );
    assert_eq!(proxy.stat("cluster.all.health_check.healthy"), 2);
    assert_eq!(proxy.stat("cluster.all.health_check.degraded"), 0);
    bad.force_status(0);
    wait_for("recovery", || {
        (proxy.stat("cluster.all.membership_healthy") == 3).then_some(())
    });
    let count = |name: &str| proxy.stat(&format!("cluster.all.health_check.{name}"));
    assert!(count("failure") > 0 && count("network_failure") == 0);
    third.stop();
    wait_for("a failure to connect", || {
        (count("network_failure") > 0).then_some(())
    });
    assert!(count("attempt") >= count("success") + count("failure"));
    let prometheus = proxy.admin("GET /stats/prometheus").text();
    let line = "envoy_cluster_health_check_healthy{envoy_cluster_name=\"all\"} ";
    assert!(prometheus.contains(line), "{prometheus}");
}

#[test]
fn logical_dns_hosts_serve_until_a_check_has_failed() {
    let up = Upstream::start("up");
    // The check's answer never comes, and it waits for it longer than the test lasts.
    let check = core::HealthCheck {
        timeout: millis(60_000),
        interval: millis(60_000),
        healthy_threshold: number(2),
        unhealthy_threshold: number(2),
        health_checker: Some(core::health_check::HealthChecker::HttpHealthCheck(
            core::health_check::HttpHealthCheck {
                path: "/stall".to_owned(),
                ..Default::default()
            },
        )),
        ..Default::default()
    };
    let mut checked = static_cluster("up", &[up.address]);
    checked.cluster_discovery_type = Some(cluster::cluster::ClusterDiscoveryType::Type(
        cluster::cluster::DiscoveryType::LogicalDns as i32,
    ));
    checked.health_checks = vec![check];
    let proxy = forwarding(everything_to("up"), &[checked]);
    wait_for("the check", || (up.requests() == 1).then_some(()));
    assert_eq!(client::get(proxy.address, "/x").status, 200);
    assert_eq!(proxy.stat("cluster.up.membership_healthy"), 1);
}

#[test]
fn names_are_looked_up() {
    let up = Upstream::start("up");
    let named = |kind: cluster::cluster::DiscoveryType| {
        let mut named = static_cluster("up", &[up.address]);
        named.cluster_discovery_type =
            Some(cluster::cluster::ClusterDiscoveryType::Type(kind as i32));
        named.dns_lookup_family = cluster::cluster::DnsLookupFamily::V4Only as i32;
        let endpoint =
            &mut named.load_assignment.as_mut().expect("set").endpoints[0].lb_endpoints[0];
        let Some(
            envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier::Endpoint(
                endpoint,
            ),
        ) = &mut endpoint.host_identifier
        else {
            unreachable!("the rig makes endpoints")
        };
        let Some(core::address::Address::SocketAddress(socket)) = endpoint
            .address
            .as_mut()
            .and_then(|address| address.address.as_mut())
        else {
            unreachable!("the rig makes socket addresses")
        };
        socket.address = "localhost".to_owned();
        named
    };
    for kind in [
        cluster::cluster::DiscoveryType::StrictDns,
        cluster::cluster::DiscoveryType::LogicalDns,
    ] {
        let proxy = forwarding(everything_to("up"), &[named(kind)]);
        let response = wait_for("the name", || {
            Some(client::get(proxy.address, "/x")).filter(|r| r.status == 200)
        });
        assert_eq!(response.header("x-upstream"), Some("up"));
    }
}

#[test]
fn original_destination_cluster_dials_where_the_client_did() {
    // Without a redirect the destination is the listener itself, so the port is overridden to a real upstream.
    let up = Upstream::start("up");
    let passthrough = cluster::Cluster {
        name: "pass".to_owned(),
        lb_policy: cluster::cluster::LbPolicy::ClusterProvided as i32,
        cluster_discovery_type: Some(cluster::cluster::ClusterDiscoveryType::Type(
            cluster::cluster::DiscoveryType::OriginalDst as i32,
        )),
        lb_config: Some(cluster::cluster::LbConfig::OriginalDstLbConfig(
            cluster::cluster::OriginalDstLbConfig {
                upstream_port_override: number(up.address.port().into()),
                ..Default::default()
            },
        )),
        ..Default::default()
    };
    let proxy = forwarding(everything_to("pass"), &[passthrough]);
    assert_eq!(client::get(proxy.address, "/x").status, 200);
}
