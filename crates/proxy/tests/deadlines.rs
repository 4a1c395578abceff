//! Timeouts of clients and upstreams that stop sending or reading, compared with Envoy.

mod rig;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::route::v3 as route;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;

use rig::client::{self, Connection};
use rig::resources::*;
use rig::upstream::Upstream;
use rig::wire::{connect, read_head, scripted, send, silent};
use rig::{Running, envoy, forwarding};

/// Timeouts in milliseconds; 0 is none.
fn with_timeouts(action: route::RouteAction, idle: u64, total: u64) -> route::RouteAction {
    route::RouteAction {
        idle_timeout: millis(idle),
        timeout: millis(total),
        ..action
    }
}

/// Both proxies answer these requests, which stop, with 408.
fn time_out_alike(listener: &Listener, up: &Upstream, requests: &[String]) -> Running {
    let ours = Running::start(listener, &[up.cluster()]);
    let theirs = envoy::Envoy::start(listener, &[up.cluster()]);
    for raw in requests {
        let (status, headers, body) = client::stable(ours.address, raw);
        assert_eq!((status, body.as_str()), (408, "stream timeout"), "{raw}");
        if let Some(theirs) = &theirs {
            let answer = client::stable(theirs.address, raw);
            assert_eq!((status, headers, body), answer, "{raw}");
        }
    }
    ours
}

#[test]
fn a_request_body_that_stops_is_answered_as_envoy_does() {
    let up = Upstream::start("up");
    let retried = route::RouteAction {
        retry_policy: Some(route::RetryPolicy {
            per_try_timeout: millis(200),
            ..retries("5xx", 2)
        }),
        ..with_timeouts(to_cluster("up"), 400, 1000)
    };
    let table = routes(vec![
        forward(prefix("/idle"), with_timeouts(to_cluster("up"), 400, 1000)),
        forward(prefix("/retried"), retried),
    ]);
    let mut requests = Vec::new();
    for path in ["/idle", "/retried"] {
        for rest in [
            "content-length: 5\r\n\r\n",
            "content-length: 5\r\n\r\nx",
            "transfer-encoding: chunked\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\n1",
            "transfer-encoding: chunked\r\n\r\n1\r\nx\r\n",
            "transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nfoo: b",
            "expect: 100-continue\r\ncontent-length: 5\r\n\r\n",
        ] {
            requests.push(format!("POST {path} HTTP/1.1\r\nhost: a\r\n{rest}"));
        }
    }
    let ours = time_out_alike(&http_ingress(&manager(table)), &up, &requests);
    assert!(ours.stat("http.ingress.downstream_rq_idle_timeout") >= 14);
    ours.wait_for_stat("cluster.up.upstream_cx_active", 0);
}

#[test]
fn a_head_that_stops_is_answered_as_envoy_does() {
    let up = Upstream::start("up");
    let config = hcm::HttpConnectionManager {
        stream_idle_timeout: millis(400),
        ..manager(everything_to("up"))
    };
    let requests = [
        "GET /x HTTP/1.1\r\nhost: a\r\n",
        "GET /x",
        "POST /x HTTP/1.1\r\nhost: a\r\n\r",
    ];
    time_out_alike(&http_ingress(&config), &up, &requests.map(str::to_owned));
}

#[test]
fn a_request_body_that_goes_on_slowly_is_waited_for() {
    let up = Upstream::start("up");
    let action = with_timeouts(to_cluster("up"), 1000, 1500);
    let table = routes(vec![forward(prefix("/"), action)]);
    let proxy = forwarding(table, &[up.cluster()]);
    let mut connection = Connection::open(proxy.address);
    connection.write(b"POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\n");
    for byte in b"slowbody" {
        // The test itself: pauses below the idle timeout that add up to more than the total timeout.
        std::thread::sleep(Duration::from_millis(300));
        connection.write(&[*byte]);
    }
    let response = connection.read(false);
    assert_eq!(response.status, 200);
    assert!(response.text().ends_with("slowbody"));
}

#[test]
fn an_http2_upstream_that_never_answers_is_given_up_after_the_timeout() {
    // Speaks HTTP/2 and then stalls.
    let stalled = scripted(|mut stream| {
        let _ = stream.write_all(rig::wire::EMPTY_SETTINGS);
        silent(stream);
    });
    let total = with_timeouts(to_cluster("up"), 60_000, 300);
    let each_try = route::RouteAction {
        retry_policy: Some(route::RetryPolicy {
            per_try_timeout: millis(200),
            ..retries("reset", 1)
        }),
        ..with_timeouts(to_cluster("up"), 60_000, 60_000)
    };
    let table = routes(vec![
        forward(prefix("/total"), total),
        forward(prefix("/try"), each_try),
    ]);
    let proxy = forwarding(table, &[http2_cluster("up", stalled)]);
    for path in ["/total", "/try"] {
        // The body is read by another task than the one that waits for the answer.
        let response = client::post(proxy.address, path, &"x".repeat(100_000));
        assert_eq!(response.status, 504, "{path}");
    }
}

#[test]
fn an_early_answer_does_not_start_the_clock_of_the_response() {
    // Streams both ways: answers at once, and ends when the request ends.
    let address = scripted(|mut stream| {
        let mut seen = read_head(&mut stream).into_bytes();
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n";
        let _ = stream.write_all(head);
        let mut buffer = [0; 1024];
        while !seen.ends_with(b"0\r\n\r\n") {
            match stream.read(&mut buffer) {
                Ok(read @ 1..) => seen.extend_from_slice(&buffer[..read]),
                _ => return,
            }
        }
        let _ = stream.write_all(b"3\r\nbye\r\n0\r\n\r\n");
    });
    let action = with_timeouts(to_cluster("up"), 5000, 400);
    let table = routes(vec![forward(prefix("/"), action)]);
    let proxy = forwarding(table, &[static_cluster("up", &[address])]);
    let mut stream = connect(
        proxy.address,
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n",
    );
    let head = read_head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains("connection: close"), "as Envoy: {head}");
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1200) {
        // The test itself: a request that lasts longer than the response timeout.
        std::thread::sleep(Duration::from_millis(100));
        send(&mut stream, "1\r\nb\r\n");
    }
    send(&mut stream, "0\r\n\r\n");
    let rest = rig::wire::read_all(stream);
    assert!(rest.ends_with("3\r\nbye\r\n0\r\n\r\n"), "{rest}");
}

#[test]
fn a_client_that_does_not_read_its_response_is_disconnected() {
    let address = scripted(|mut stream: TcpStream| {
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n");
        while stream.write_all(&[b'x'; 65536]).is_ok() {}
    });
    let table = routes(vec![
        forward(prefix("/idle"), with_timeouts(to_cluster("up"), 400, 0)),
        forward(prefix("/total"), with_timeouts(to_cluster("up"), 0, 400)),
    ]);
    let proxy = forwarding(table, &[static_cluster("up", &[address])]);
    for path in ["/idle", "/total"] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
        let _stream = connect(proxy.address, request);
        proxy.wait_for_stat("cluster.up.upstream_cx_active", 1);
        proxy.wait_for_stat("cluster.up.upstream_cx_active", 0);
    }
}
