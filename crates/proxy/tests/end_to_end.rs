//! One running proxy between clients and upstreams: connections, bodies, protocols, drain and admin endpoints.
#![allow(
    deprecated,
    reason = "the short form of a log format, which control planes still send"
)]

mod rig;

use envoy_types::pb::envoy::config::accesslog::v3 as accesslog;
use envoy_types::pb::envoy::config::listener::v3 as listener;
use envoy_types::pb::envoy::config::route::v3 as route;
use envoy_types::pb::envoy::extensions::access_loggers::file::v3 as file_log;
use tombolo_proxy::Options;
use tombolo_xds::Resource;

use rig::client::{self, Connection};
use rig::resources::*;
use rig::upstream::Upstream;
use rig::wire::{connect, read_to_close};
use rig::{Running, closed_port, forwarding, proxy_to, wait_for, wait_until};

#[test]
fn connections_are_kept_and_shared_by_requests() {
    let up = Upstream::start("up");
    let listener = http_ingress(&manager(everything_to("up")));
    let proxy = Running::with_one_worker(&listener, &[up.cluster()]);
    let mut connection = Connection::open(proxy.address);
    for _ in 0..20 {
        assert_eq!(connection.get("/x").status, 200);
    }
    assert_eq!(up.connections(), 1);
    assert_eq!(proxy.stat("cluster.up.upstream_rq_total"), 20);
    assert_eq!(proxy.stat("http.ingress.downstream_rq_2xx"), 20);
    assert_eq!(proxy.stat("http.ingress.downstream_cx_active"), 1);
    assert_eq!(proxy.admin("POST /reset_counters").status, 200);
    assert_eq!(proxy.stat("cluster.up.upstream_rq_total"), 0);
}

#[test]
fn a_refused_connection_is_tried_on_another_host() {
    let up = Upstream::start("up");
    let proxy = proxy_to(static_cluster("both", &[closed_port(), up.address]));
    for _ in 0..40 {
        assert_eq!(client::get(proxy.address, "/x").status, 200);
    }
    assert!(proxy.stat("cluster.both.upstream_cx_connect_fail") > 0);
}

#[test]
fn idle_connection_closed_by_its_peer_loses_no_request() {
    let up = Upstream::start("up");
    let proxy = proxy_to(up.cluster());
    let mut connection = Connection::open(proxy.address);
    for round in 0..100 {
        // The upstream announces keep-alive and closes at once: the next request races with the close.
        let path = if round % 2 == 0 { "/die-after" } else { "/x" };
        assert_eq!(connection.get(path).status, 200, "round {round}");
    }
}

#[test]
fn a_killed_upstream_fails_only_its_requests_under_way() {
    let (one, two) = (Upstream::start("one"), Upstream::start("two"));
    let proxy = proxy_to(static_cluster("both", &[one.address, two.address]));
    let mut connections: Vec<_> = (0..8).map(|_| Connection::open(proxy.address)).collect();
    for connection in &mut connections {
        assert_eq!(connection.get("/warm").status, 200);
    }
    one.stop();
    for _ in 0..20 {
        for connection in &mut connections {
            let response = connection.get("/x");
            assert_eq!(
                (response.status, response.header("x-upstream")),
                (200, Some("two"))
            );
        }
    }
}

#[test]
fn bodies_are_replayed_up_to_the_limit() {
    let up = Upstream::start("up");
    let action = route::RouteAction {
        retry_policy: Some(retries("retriable-status-codes", 2)),
        ..to_cluster("up")
    };
    let table = routes(vec![forward(prefix("/"), action)]);
    let proxy = forwarding(table, &[up.cluster()]);
    let post = |path, size| client::post(proxy.address, path, &"x".repeat(size)).status;
    assert_eq!(post("/flaky/2?small", 1000), 200);
    assert_eq!(up.requests(), 3);
    assert_eq!(post("/flaky/2?large", 100_000), 503);
    assert_eq!(up.requests(), 4);
}

#[test]
fn large_bodies_pass_both_ways() {
    let up = Upstream::start("up");
    let proxy = proxy_to(up.cluster());
    let body = "0123456789abcdef".repeat(256 * 1024);
    let response = client::post(proxy.address, "/echo", &body);
    assert_eq!(response.status, 200);
    assert!(response.text().ends_with(&body));
}

#[test]
fn websocket_passes_through_where_the_listener_allows_it() {
    let up = Upstream::start("up");
    let config = with_websocket(manager(everything_to("up")));
    let mut proxy = Running::start(&http_ingress(&config), &[up.cluster()]);
    let mut connection = Connection::open(proxy.address);
    let response = connection.request(
        "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\n\r\n",
    );
    assert_eq!(response.status, 101);
    assert_eq!(response.header("upgrade"), Some("websocket"));
    for word in ["hello", "again"] {
        connection.write(word.as_bytes());
        assert_eq!(connection.read_raw(word.len()), word.as_bytes());
    }
    assert_eq!(proxy.stat("http.ingress.downstream_cx_upgrades_active"), 1);
    assert_eq!(proxy.stat("http.ingress.downstream_cx_active"), 1);
    // The tunnel ends with the proxy and does not delay it.
    proxy.admin("POST /quitquitquit");
    let ending = proxy.proxy.take().expect("running");
    let ended = std::thread::spawn(move || ending.shutdown());
    assert!(connection.is_closed());
    ended.join().expect("no panic").expect("clean shutdown");
}

#[test]
fn raw_connections_are_joined_and_counted() {
    let up = Upstream::start("up");
    let clusters = [static_cluster("both", &[closed_port(), up.address])];
    let proxy = Running::start(&ingress(0, tcp_filter("both")), &clusters);
    for _ in 0..4 {
        assert_eq!(client::get(proxy.address, "/x").status, 200);
    }
    proxy.wait_for_stat("tcp.raw.downstream_cx_total", 4);
    wait_until("bytes", || {
        proxy.stat("tcp.raw.downstream_cx_tx_bytes_total") > 0
    });
}

#[test]
fn filter_chains_are_chosen_by_port_and_protocol() {
    let (by_port, by_default) = (Upstream::start("by-port"), Upstream::start("by-default"));
    let chain = |port: u32, to: &str| listener::FilterChain {
        filter_chain_match: Some(listener::FilterChainMatch {
            destination_port: number(port),
            ..Default::default()
        }),
        filters: vec![http_filter(&manager(everything_to(to)))],
        ..Default::default()
    };
    let mut both = http_ingress(&manager(everything_to("by-default")));
    both.default_filter_chain = both.filter_chains.pop();
    both.filter_chains = vec![chain(1, "by-port")];
    let clusters = [by_port.cluster(), by_default.cluster()];
    let proxy = Running::start(&both, &clusters);
    let response = client::get(proxy.address, "/x");
    assert_eq!(response.header("x-upstream"), Some("by-default"));

    let mut by_protocol = both.clone();
    by_protocol.filter_chains[0].filter_chain_match = Some(listener::FilterChainMatch {
        transport_protocol: "raw_buffer".to_owned(),
        application_protocols: vec!["http/1.1".to_owned()],
        ..Default::default()
    });
    let proxy = Running::start(&by_protocol, &clusters);
    let response = client::get(proxy.address, "/x");
    assert_eq!(response.header("x-upstream"), Some("by-port"));
}

#[test]
fn access_log_lines_have_the_configured_shape() {
    let up = Upstream::start("up");
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("access.log");
    let log = file_log::FileAccessLog {
        path: path.to_string_lossy().into_owned(),
        access_log_format: Some(file_log::file_access_log::AccessLogFormat::Format(
            "%REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_SENT% %UPSTREAM_CLUSTER% %REQ(X-KEY)%\n"
                .to_owned(),
        )),
    };
    let mut config = manager(routes(vec![
        forward(prefix("/x"), to_cluster("up")),
        forward(prefix("/e"), to_cluster("empty")),
    ]));
    config.access_log = vec![accesslog::AccessLog {
        name: "envoy.access_loggers.file".to_owned(),
        config_type: Some(accesslog::access_log::ConfigType::TypedConfig(any(&log))),
        ..Default::default()
    }];
    let clusters = [up.cluster(), static_cluster("empty", &[])];
    let proxy = Running::start(&http_ingress(&config), &clusters);
    client::send(
        proxy.address,
        "GET /x?q=1 HTTP/1.1\r\nhost: a\r\nx-key: k\r\n\r\n",
    );
    client::get(proxy.address, "/e");
    client::get(proxy.address, "/none");
    let text = wait_for("three lines", || {
        let text = std::fs::read_to_string(&path).ok()?;
        (text.lines().count() == 3).then_some(text)
    });
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines[0], "GET /e 503 UH 19 empty -");
    assert_eq!(lines[1], "GET /none 404 NR 0 - -");
    assert!(
        lines[2].starts_with("GET /x?q=1 200 - ") && lines[2].ends_with(" up k"),
        "{}",
        lines[2]
    );
}

#[test]
fn http2_is_spoken_on_both_sides() {
    let up = Upstream::start("up");
    // The inner proxy turns HTTP/2 into HTTP/1; the outer one turns HTTP/1 into HTTP/2.
    let inner = proxy_to(up.cluster());
    let outer = proxy_to(http2_cluster("inner", inner.address));
    let mut connection = Connection::open(outer.address);
    for _ in 0..10 {
        let response = connection.request(
            "POST /x HTTP/1.1\r\nhost: shop.test\r\ncookie: a=1\r\ncontent-length: 4\r\n\r\nbody",
        );
        assert_eq!(response.status, 200);
        let text = response.text();
        assert!(
            text.contains("host: shop.test")
                && text.contains("cookie: a=1")
                && text.ends_with("body"),
            "{text}"
        );
    }
    // One connection for each worker of the outer proxy that served a request.
    assert!((1..=2).contains(&inner.stat("http.ingress.downstream_cx_http2_total")));
    assert_eq!(client::get(outer.address, "/status/404").status, 404);
}

#[test]
fn drained_proxy_tells_clients_to_go_and_finishes_requests() {
    let up = Upstream::start("up");
    let mut running = proxy_to(up.cluster());
    let mut connection = Connection::open(running.address);
    connection.write(b"GET /hold HTTP/1.1\r\nhost: a\r\n\r\n");
    up.wait_for_requests(1);
    let proxy = running.proxy.take().expect("running");
    let ending = std::thread::spawn(move || proxy.shutdown());
    wait_until("the drain", || {
        running.admin("GET /ready").text() == "DRAINING\n"
    });
    up.release();
    let response = connection.read(false);
    assert_eq!(response.status, 200);
    assert_eq!(response.header("connection"), Some("close"));
    assert!(connection.is_closed());
    ending.join().expect("no panic").expect("clean shutdown");
}

#[test]
fn admin_endpoints_answer_as_scripts_expect() {
    let up = Upstream::start("up");
    let proxy = proxy_to(up.cluster());
    assert_eq!(client::get(proxy.address, "/x").status, 200);
    assert_eq!(proxy.admin("GET /ready").text(), "LIVE\n");
    let json = |path: &str| -> serde_json::Value {
        let response = proxy.admin(&format!("GET {path}"));
        serde_json::from_slice(&response.body).expect("JSON")
    };
    assert_eq!(json("/server_info")["state"], "LIVE");
    let clusters = proxy.admin("GET /clusters").text();
    assert!(clusters.contains("up::added_via_api::true"), "{clusters}");
    assert!(
        clusters.contains(&format!("up::{}::health_flags::healthy", up.address)),
        "{clusters}"
    );
    let listeners = proxy.admin("GET /listeners").text();
    assert_eq!(listeners, format!("ingress::{}\n", proxy.address));
    let cluster = &json("/config_dump")["configs"][1]["dynamic_active_clusters"][0]["cluster"];
    assert_eq!(cluster["name"], "up");
    let prometheus = proxy.admin("GET /stats/prometheus").text();
    let line = "envoy_cluster_upstream_rq_total{envoy_cluster_name=\"up\"} 1\n";
    assert!(prometheus.contains(line), "{prometheus}");
    assert_eq!(json("/certs"), serde_json::json!({ "certificates": [] }));
    assert_eq!(
        json("/runtime"),
        serde_json::json!({ "layers": ["admin"], "entries": {} })
    );
    let allocated = json("/memory")["allocated"].clone();
    assert!(allocated.as_str().is_some_and(|bytes| bytes != "0"));
    assert_eq!(proxy.admin("GET /reset_counters").status, 405);
    assert_eq!(proxy.admin("GET /nothing").status, 404);
}

#[test]
fn other_hosts_read_metrics_and_nothing_else() {
    let up = Upstream::start("up");
    let listener = http_ingress(&manager(everything_to("up")));
    let proxy = Running::start_with(Options {
        metrics: Some("[::]:0".parse().expect("an address")),
        static_resources: resource_set(&listener, &[up.cluster()]),
        ..Options::default()
    });
    let metrics = proxy.proxy.as_ref().and_then(tombolo_proxy::Proxy::metrics);
    let port = metrics.expect("an address").port();
    let ask = |line: &str| {
        let request = format!("{line} HTTP/1.1\r\nhost: pod\r\nconnection: close\r\n\r\n");
        client::send(([127, 0, 0, 2], port).into(), &request)
    };
    let text = ask("GET /stats/prometheus").text();
    assert!(text.contains("envoy_server_live{} 1"), "{text}");
    assert_eq!(ask("GET /ready").text(), "LIVE\n");
    let live = ask("GET /stats?filter=server.live").text();
    assert_eq!(live, "server.live: 1\n");
    for line in [
        "GET /config_dump",
        "GET /",
        "POST /quitquitquit",
        "POST /stats",
        "POST /reset_counters",
    ] {
        assert_eq!(ask(line).status, 403, "{line}");
    }
    // Off by default.
    let silent = proxy_to(up.cluster());
    let metrics = silent
        .proxy
        .as_ref()
        .and_then(tombolo_proxy::Proxy::metrics);
    assert_eq!(metrics, None);
}

#[test]
fn the_admin_port_and_the_metrics_port_can_be_one_number() {
    let free = std::net::TcpListener::bind("0.0.0.0:0").expect("binds");
    let port = free.local_addr().expect("bound").port();
    drop(free);
    let proxy = tombolo_proxy::Proxy::start(Options {
        workers: 1,
        admin: Some(([127, 0, 0, 1], port).into()),
        metrics: Some(([0, 0, 0, 0], port).into()),
        ..Options::default()
    })
    .expect("starts");
    let ask = |ip: [u8; 4]| {
        let request = "GET /config_dump HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        client::send((ip, port).into(), request).status
    };
    assert_eq!(ask([127, 0, 0, 1]), 200);
    assert_eq!(ask([127, 0, 0, 2]), 403);
    proxy.shutdown().expect("clean shutdown");
}

#[test]
fn bad_resource_rejects_only_itself() {
    let up = Upstream::start("up");
    let secure = with_tls(static_cluster("secure", &[up.address]));
    let listener = http_ingress(&manager(everything_to("up")));
    let mut static_resources = resource_set(&listener, &[up.cluster(), secure]);
    static_resources.push(Resource::received(
        tombolo_xds::Kind::Route,
        "broken",
        "1",
        &[0xff, 0xff, 0xff],
    ));
    let proxy = Running::start_with(Options {
        static_resources,
        ..Options::default()
    });
    assert_eq!(client::get(proxy.address, "/x").status, 200);
    let clusters = proxy.admin("GET /clusters").text();
    assert!(!clusters.contains("secure::"), "{clusters}");
}

#[test]
fn client_that_leaves_releases_its_upstream() {
    let up = Upstream::start("up");
    let proxy = proxy_to(up.cluster());
    let stream = connect(proxy.address, "GET /stall HTTP/1.1\r\nhost: a\r\n\r\n");
    up.wait_for_requests(1);
    drop(stream);
    proxy.wait_for_stat("cluster.up.upstream_rq_active", 0);
    proxy.wait_for_stat("cluster.up.upstream_cx_active", 0);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let up = Upstream::start("up");
    let proxy = proxy_to(up.cluster());
    let mut connection = Connection::open(proxy.address);
    connection.write(
        b"GET /status/201 HTTP/1.1\r\nhost: a\r\n\r\nGET /slow/20 HTTP/1.1\r\nhost: a\r\n\r\nGET /status/202 HTTP/1.1\r\nhost: a\r\n\r\n",
    );
    let statuses: Vec<u16> = (0..3).map(|_| connection.read(false).status).collect();
    assert_eq!(statuses, [201, 200, 202]);
}

#[test]
fn garbage_is_refused_and_affects_no_other_client() {
    let up = Upstream::start("up");
    let proxy = proxy_to(up.cluster());
    for garbage in [
        "\x00\x01\x02\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET / HTTP/1.1\r\nhost a\r\n\r\n",
    ] {
        let answer = read_to_close(connect(proxy.address, garbage));
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.starts_with("HTTP/1.1 400") || answer.starts_with("HTTP/1.1 426"),
            "{answer}"
        );
    }
    assert_eq!(client::get(proxy.address, "/x").status, 200);
}
