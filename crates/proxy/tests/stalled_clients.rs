//! Clients that send nothing, half of something, or more than their share.

mod rig;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3 as cluster;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::listener::v3 as listener;
use tombolo_proxy::Options;

use rig::client::{self, Connection};
use rig::resources::*;
use rig::upstream::Upstream;
use rig::{Running, envoy, forwarding, wait_for};

/// The HTTP/2 preface, and a frame of settings with nothing in it.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const EMPTY_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

fn connect(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("connects");
    let timeout = Some(Duration::from_secs(20));
    stream.set_read_timeout(timeout).expect("timeout set");
    stream.write_all(bytes).expect("writes");
    stream
}

/// What comes until the peer closes; fails when it does not.
fn read_to_close(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => bytes,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => bytes,
        Err(error) => panic!("still open: {error}"),
    }
}

fn one_worker(listener: &listener::Listener, clusters: &[cluster::Cluster]) -> Running {
    Running::start_with(Options {
        workers: 1,
        static_resources: resource_set(listener, clusters),
        ..Options::default()
    })
}

#[test]
fn a_client_that_leaves_within_the_preface_is_forgotten() {
    let up = Upstream::start("up");
    let proxy = forwarding(everything_to("up"), &[static_cluster("up", &[up.address])]);
    for count in 1..PREFACE.len() {
        drop(connect(proxy.address, &PREFACE[..count]));
    }
    wait_for("the connections to end", || {
        let total = proxy.stat("http.ingress.downstream_cx_total");
        let active = proxy.stat("http.ingress.downstream_cx_active");
        (total == PREFACE.len() as u64 - 1 && active == 0).then_some(())
    });
    let listener = format!("listener.{}", proxy.address.to_string().replace(':', "_"));
    assert_eq!(proxy.stat(&format!("{listener}.downstream_cx_active")), 0);
    assert_eq!(client::get(proxy.address, "/x").status, 200);
}

#[test]
fn a_preface_in_pieces_is_still_one() {
    let up = Upstream::start("up");
    let proxy = forwarding(everything_to("up"), &[static_cluster("up", &[up.address])]);
    let mut stream = connect(proxy.address, &PREFACE[..5]);
    wait_for("the first piece to arrive", || {
        (proxy.stat("http.ingress.downstream_cx_active") == 1).then_some(())
    });
    stream.write_all(&PREFACE[5..]).expect("writes");
    stream.write_all(EMPTY_SETTINGS).expect("writes");
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).expect("an answer");
    assert_eq!(frame[3], 4, "the server's settings");
    assert_eq!(proxy.stat("http.ingress.downstream_cx_http2_total"), 1);
}

#[test]
fn stalled_clients_are_let_go_by_both_proxies() {
    let Some(binary) = envoy::binary() else {
        return;
    };
    let up = Upstream::start("up");
    let clusters = [static_cluster("up", &[up.address])];
    let mut manager = manager(everything_to("up"));
    manager.stream_idle_timeout = millis(500);
    manager.common_http_protocol_options = Some(core::HttpProtocolOptions {
        idle_timeout: millis(1000),
        ..Default::default()
    });
    let listener = ingress(0, http_filter(&manager));
    let theirs = envoy::Envoy::start(&binary, &listener, &clusters);
    let ours = one_worker(&listener, &clusters);
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
        let theirs = read_to_close(connect(theirs.address, bytes));
        let ours = read_to_close(connect(ours.address, bytes));
        let status = |answer: &[u8]| {
            let line = answer.split(|byte| *byte == b'\r').next();
            String::from_utf8_lossy(line.unwrap_or_default()).into_owned()
        };
        if !bytes.starts_with(PREFACE) {
            assert_eq!(status(&ours), status(&theirs), "{what}");
        }
    }
    wait_for("no connection", || {
        (ours.stat("http.ingress.downstream_cx_active") == 0).then_some(())
    });
}

#[test]
fn silent_clients_do_not_hold_up_the_drain() {
    let up = Upstream::start("up");
    let clusters = [static_cluster("up", &[up.address])];
    let mut chains = ingress(0, http_filter(&manager(everything_to("up"))));
    let mut inspected = chains.filter_chains[0].clone();
    inspected.filter_chain_match = Some(listener::FilterChainMatch {
        application_protocols: vec!["h2c".to_owned()],
        ..Default::default()
    });
    chains.filter_chains.push(inspected);
    for listener in [ingress(0, tcp_filter("up")), chains] {
        let mut running = one_worker(&listener, &clusters);
        let _silent = connect(running.address, b"");
        let _half = connect(running.address, &PREFACE[..9]);
        wait_for("both connections", || {
            let name = running.address.to_string().replace(':', "_");
            let active = running.stat(&format!("listener.{name}.downstream_cx_active"));
            (active == 2).then_some(())
        });
        // `quitquitquit` closes what carries no request.
        running.admin("POST /quitquitquit");
        let proxy = running.proxy.take().expect("running");
        let (done, ended) = mpsc::channel();
        std::thread::spawn(move || done.send(proxy.shutdown()));
        let outcome = ended.recv_timeout(Duration::from_secs(20));
        outcome.expect("an end").expect("clean shutdown");
        read_to_close(_silent);
        read_to_close(_half);
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
        let proxy = one_worker(&chosen, &[static_cluster("up", &[up.address])]);
        let mut connection = Connection::open(proxy.address);
        connection.write(b"POST /x HTTP/1.1\r\nhost: a\r\ncontent-");
        wait_for("the first piece to arrive", || {
            let name = proxy.address.to_string().replace(':', "_");
            let active = proxy.stat(&format!("listener.{name}.downstream_cx_active"));
            (active == 1).then_some(())
        });
        let response = connection.request("length: 4\r\n\r\nbody");
        assert_eq!(response.status, 200);
        assert!(response.text().ends_with("body"), "{}", response.text());
    }
}

#[test]
fn a_client_that_says_nothing_to_a_chain_by_protocol_is_closed_in_time() {
    let up = Upstream::start("up");
    let mut chosen = ingress(0, tcp_filter("up"));
    chosen.filter_chains[0].filter_chain_match = Some(listener::FilterChainMatch {
        application_protocols: vec!["http/1.1".to_owned()],
        ..Default::default()
    });
    chosen.listener_filters_timeout = millis(100);
    let proxy = one_worker(&chosen, &[static_cluster("up", &[up.address])]);
    assert_eq!(read_to_close(connect(proxy.address, b"GET /")), b"");
    let name = proxy.address.to_string().replace(':', "_");
    let timeouts = format!("listener.{name}.downstream_pre_cx_timeout");
    assert_eq!(proxy.stat(&timeouts), 1);

    // Where the listener says so, it goes on as what it is not known to be.
    chosen.continue_on_listener_filters_timeout = true;
    chosen.default_filter_chain = chosen.filter_chains.first().cloned();
    if let Some(chain) = &mut chosen.default_filter_chain {
        chain.filter_chain_match = None;
    }
    let proxy = one_worker(&chosen, &[static_cluster("up", &[up.address])]);
    let mut stream = connect(proxy.address, b"GET /x HT");
    wait_for("the upstream connection", || {
        (proxy.stat("cluster.up.upstream_cx_active") == 1).then_some(())
    });
    stream
        .write_all(b"TP/1.1\r\nhost: a\r\n\r\n")
        .expect("writes");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[test]
fn clients_are_turned_away_when_descriptors_run_out() {
    let up = Upstream::start("up");
    // 16 of 64 are reserved, and an eighth of the rest is for upstream connections: 42 clients.
    let proxy = Running::start_with(Options {
        workers: 1,
        max_open_files: Some(64),
        static_resources: resource_set(
            &ingress(0, http_filter(&manager(everything_to("up")))),
            &[static_cluster("up", &[up.address])],
        ),
        ..Options::default()
    });
    let mut kept: Vec<Connection> = (0..42).map(|_| Connection::open(proxy.address)).collect();
    let name = proxy.address.to_string().replace(':', "_");
    let overflow = format!("listener.{name}.downstream_global_cx_overflow");
    wait_for("42 connections", || {
        let active = proxy.stat(&format!("listener.{name}.downstream_cx_active"));
        (active == 42).then_some(())
    });
    assert!(Connection::open(proxy.address).is_closed());
    assert_eq!(proxy.stat(&overflow), 1);
    // Those that are there are served, since upstream connections have descriptors of their own.
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

/// The value of a setting in the server's first frame.
fn setting(address: SocketAddr, wanted: u16) -> Option<u32> {
    let mut stream = connect(address, &[PREFACE, EMPTY_SETTINGS].concat());
    let mut head = [0; 9];
    stream.read_exact(&mut head).expect("a frame");
    assert_eq!(head[3], 4, "settings come first");
    let mut body = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
    stream.read_exact(&mut body).expect("settings");
    body.chunks_exact(6).find_map(|entry| {
        let id = u16::from_be_bytes([entry[0], entry[1]]);
        let value = u32::from_be_bytes([entry[2], entry[3], entry[4], entry[5]]);
        (id == wanted).then_some(value)
    })
}

#[test]
fn streams_of_one_connection_are_limited_as_by_envoy() {
    const MAX_CONCURRENT_STREAMS: u16 = 3;
    let up = Upstream::start("up");
    let clusters = [static_cluster("up", &[up.address])];
    let listener = ingress(0, http_filter(&manager(everything_to("up"))));
    let start = |max_open_files| {
        Running::start_with(Options {
            max_open_files: Some(max_open_files),
            static_resources: resource_set(&listener, &clusters),
            ..Options::default()
        })
    };
    let few = start(1024);
    assert_eq!(setting(few.address, MAX_CONCURRENT_STREAMS), Some(128));
    let many = start(1 << 20);
    let ours = setting(many.address, MAX_CONCURRENT_STREAMS);
    assert_eq!(ours, Some(1024));
    if let Some(binary) = envoy::binary() {
        let envoy = envoy::Envoy::start(&binary, &listener, &clusters);
        assert_eq!(ours, setting(envoy.address, MAX_CONCURRENT_STREAMS));
    }
}

#[test]
fn connections_to_the_proxy_itself_are_not_passed_through() {
    let passthrough = cluster::Cluster {
        name: "pass".to_owned(),
        lb_policy: cluster::cluster::LbPolicy::ClusterProvided as i32,
        cluster_discovery_type: Some(cluster::cluster::ClusterDiscoveryType::Type(
            cluster::cluster::DiscoveryType::OriginalDst as i32,
        )),
        ..Default::default()
    };
    let everywhere = |filter| {
        let mut listener = ingress(0, filter);
        listener.address = Some(address("0.0.0.0:0".parse().expect("an address")));
        listener
    };
    let invalid = "cluster.pass.original_dst_host_invalid";
    let raw = one_worker(
        &everywhere(tcp_filter("pass")),
        std::slice::from_ref(&passthrough),
    );
    let port = raw.address.port();
    for ip in ["127.0.0.1", "127.0.0.2"] {
        let target = SocketAddr::new(ip.parse().expect("an address"), port);
        assert_eq!(read_to_close(connect(target, b"x")), b"");
    }
    assert_eq!(raw.stat(invalid), 2);
    assert_eq!(raw.stat("tcp.raw.downstream_cx_total"), 2);
    assert_eq!(raw.stat("cluster.pass.upstream_cx_total"), 0);

    let http = one_worker(
        &everywhere(http_filter(&manager(everything_to("pass")))),
        &[passthrough],
    );
    let target = SocketAddr::from(([127, 0, 0, 1], http.address.port()));
    assert_eq!(client::get(target, "/x").status, 503);
    assert_eq!(http.stat("http.ingress.downstream_cx_total"), 1);
}
