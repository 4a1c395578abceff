//! Clients that send nothing, half of a message, or more than their share.

mod rig;

use std::io::Read;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::listener::v3 as listener;
use tombolo_proxy::Options;

use rig::client::{self, Connection};
use rig::pair::Pair;
use rig::resources::*;
use rig::upstream::Upstream;
use rig::wire::{EMPTY_SETTINGS, PREFACE, connect, read_frame, read_to_close, send};
use rig::{Running, wait_for};

#[test]
fn a_client_that_leaves_within_the_preface_is_forgotten() {
    let up = Upstream::start("up");
    let proxy = rig::proxy_to(up.cluster());
    for count in 1..PREFACE.len() {
        drop(connect(proxy.address, &PREFACE[..count]));
    }
    let connections = PREFACE.len() as u64 - 1;
    proxy.wait_for_stat("http.ingress.downstream_cx_total", connections);
    proxy.wait_for_stat("http.ingress.downstream_cx_active", 0);
    proxy.wait_for_stat(&proxy.listener_stat("downstream_cx_active"), 0);
    assert_eq!(client::get(proxy.address, "/x").status, 200);
}

#[test]
fn a_preface_in_pieces_is_recognised() {
    let up = Upstream::start("up");
    let proxy = rig::proxy_to(up.cluster());
    let mut stream = connect(proxy.address, &PREFACE[..5]);
    proxy.wait_for_stat("http.ingress.downstream_cx_active", 1);
    send(&mut stream, [&PREFACE[5..], EMPTY_SETTINGS].concat());
    let (kind, ..) = read_frame(&mut stream).expect("an answer");
    assert_eq!(kind, 4, "the server's settings");
    assert_eq!(proxy.stat("http.ingress.downstream_cx_http2_total"), 1);
}

#[test]
fn stalled_clients_are_disconnected_by_both_proxies() {
    let up = Upstream::start("up");
    let mut manager = manager(everything_to("up"));
    manager.stream_idle_timeout = millis(500);
    manager.common_http_protocol_options = Some(core::HttpProtocolOptions {
        // Longer than the deadline of the second part of a preface and the stream's idle timeout together.
        idle_timeout: millis(2000),
        ..Default::default()
    });
    let Some(pair) = Pair::start(&http_ingress(&manager), &[up.cluster()]) else {
        return;
    };
    // Half a frame of headers: nine bytes that announce sixteen, and four of them.
    let half_headers = [
        PREFACE,
        EMPTY_SETTINGS,
        &[0, 0, 16, 1, 4, 0, 0, 0, 1],
        b"half",
    ]
    .concat();
    let cases: [(&str, &[u8]); 4] = [
        ("nothing", b""),
        ("half a head", b"GET / HTTP/1.1\r\nhost: a"),
        ("half a preface", &PREFACE[..9]),
        ("half a frame of headers", &half_headers),
    ];
    for (what, bytes) in cases {
        let theirs = read_to_close(connect(pair.envoy.address, bytes));
        let ours = read_to_close(connect(pair.ours.address, bytes));
        let status = |answer: &[u8]| {
            let line = answer.split(|byte| *byte == b'\r').next();
            String::from_utf8_lossy(line.unwrap_or_default()).into_owned()
        };
        if !bytes.starts_with(PREFACE) {
            assert_eq!(status(&ours), status(&theirs), "{what}");
        }
    }
    pair.ours
        .wait_for_stat("http.ingress.downstream_cx_active", 0);
}

#[test]
fn silent_clients_do_not_hold_up_the_drain() {
    let up = Upstream::start("up");
    let mut chains = http_ingress(&manager(everything_to("up")));
    let by_protocol = listener::FilterChainMatch {
        application_protocols: vec!["h2c".to_owned()],
        ..Default::default()
    };
    let inspected = matching(&chains.filter_chains[0], by_protocol);
    chains.filter_chains.push(inspected);
    for listener in [ingress(0, tcp_filter("up")), chains] {
        let mut running = Running::with_one_worker(&listener, &[up.cluster()]);
        let clients = [b"", &PREFACE[..9]].map(|bytes| connect(running.address, bytes));
        running.wait_for_stat(&running.listener_stat("downstream_cx_active"), 2);
        // `quitquitquit` closes connections without a request.
        running.admin("POST /quitquitquit");
        let proxy = running.proxy.take().expect("running");
        let (done, ended) = mpsc::channel();
        std::thread::spawn(move || done.send(proxy.shutdown()));
        let outcome = ended.recv_timeout(Duration::from_secs(20));
        outcome.expect("an end").expect("clean shutdown");
        for client in clients {
            read_to_close(client);
        }
    }
}

#[test]
fn bytes_read_to_choose_a_chain_are_not_lost() {
    let up = Upstream::start("up");
    for filter in [http_filter(&manager(everything_to("up"))), tcp_filter("up")] {
        let mut chosen = ingress(0, filter);
        chosen.filter_chains[0].filter_chain_match = Some(listener::FilterChainMatch {
            transport_protocol: "raw_buffer".to_owned(),
            application_protocols: vec!["http/1.1".to_owned()],
            ..Default::default()
        });
        let proxy = Running::with_one_worker(&chosen, &[up.cluster()]);
        let mut connection = Connection::open(proxy.address);
        connection.write(b"POST /x HTTP/1.1\r\nhost: a\r\ncontent-");
        proxy.wait_for_stat(&proxy.listener_stat("downstream_cx_active"), 1);
        let response = connection.request("length: 4\r\n\r\nbody");
        assert_eq!(response.status, 200);
        assert!(response.text().ends_with("body"), "{}", response.text());
    }
}

#[test]
fn a_client_that_says_nothing_to_a_chain_by_protocol_is_closed_in_time() {
    let up = Upstream::start("up");
    let mut chosen = ingress(0, tcp_filter("up"));
    let chain = chosen.filter_chains.remove(0);
    let by_protocol = listener::FilterChainMatch {
        application_protocols: vec!["http/1.1".to_owned()],
        ..Default::default()
    };
    chosen.filter_chains.push(matching(&chain, by_protocol));
    chosen.listener_filters_timeout = millis(100);
    let proxy = Running::with_one_worker(&chosen, &[up.cluster()]);
    assert_eq!(read_to_close(connect(proxy.address, "GET /")), b"");
    let timeouts = proxy.listener_stat("downstream_pre_cx_timeout");
    assert_eq!(proxy.stat(&timeouts), 1);

    // With this setting the connection is served without a detected protocol.
    chosen.continue_on_listener_filters_timeout = true;
    chosen.default_filter_chain = Some(chain);
    let proxy = Running::with_one_worker(&chosen, &[up.cluster()]);
    let mut stream = connect(proxy.address, "GET /x HT");
    proxy.wait_for_stat("cluster.up.upstream_cx_active", 1);
    send(&mut stream, "TP/1.1\r\nhost: a\r\n\r\n");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[test]
fn clients_are_refused_when_descriptors_run_out() {
    let up = Upstream::start("up");
    // 16 of 64 are reserved, and an eighth of the rest is for upstream connections: 42 clients.
    let proxy = Running::start_with(Options {
        max_open_files: Some(64),
        static_resources: resource_set(
            &http_ingress(&manager(everything_to("up"))),
            &[up.cluster()],
        ),
        ..Options::default()
    });
    let mut kept: Vec<Connection> = (0..42).map(|_| Connection::open(proxy.address)).collect();
    proxy.wait_for_stat(&proxy.listener_stat("downstream_cx_active"), 42);
    assert!(Connection::open(proxy.address).is_closed());
    let overflow = proxy.listener_stat("downstream_global_cx_overflow");
    assert_eq!(proxy.stat(&overflow), 1);
    // Connected clients are served, since descriptors are reserved for upstream connections.
    assert_eq!(kept[0].get("/x").status, 200);
    kept.truncate(10);
    wait_for("a place", || {
        let mut connection = Connection::open(proxy.address);
        connection.write(b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n");
        connection
            .try_read(false)
            .ok()
            .filter(|answer| answer.status == 200)
    });
}

#[test]
fn connections_to_the_proxy_itself_are_not_passed_through() {
    let everywhere = |filter| {
        let mut listener = ingress(0, filter);
        listener.address = Some(address("0.0.0.0:0".parse().expect("an address")));
        Running::with_one_worker(&listener, &[passthrough("pass")])
    };
    let invalid = "cluster.pass.original_dst_host_invalid";
    let raw = everywhere(tcp_filter("pass"));
    let port = raw.address.port();
    for ip in ["127.0.0.1", "127.0.0.2"] {
        let target = SocketAddr::new(ip.parse().expect("an address"), port);
        assert_eq!(read_to_close(connect(target, "x")), b"");
    }
    assert_eq!(raw.stat(invalid), 2);
    assert_eq!(raw.stat("tcp.raw.downstream_cx_total"), 2);
    assert_eq!(raw.stat("cluster.pass.upstream_cx_total"), 0);

    let http = everywhere(http_filter(&manager(everything_to("pass"))));
    let target = SocketAddr::from(([127, 0, 0, 1], http.address.port()));
    assert_eq!(client::get(target, "/x").status, 503);
    assert_eq!(http.stat("http.ingress.downstream_cx_total"), 1);
}
