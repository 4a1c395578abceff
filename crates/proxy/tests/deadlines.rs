//! Clients and upstreams that stop: each is given up after the time that the configuration allows, as Envoy does it.

mod rig;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::config::route::v3 as route;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;

use rig::client::Connection;
use rig::resources::*;
use rig::upstream::Upstream;
use rig::{Running, envoy, forwarding, wait_for};

/// A server that hands each connection to `script` in a thread of its own.
fn scripted(script: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = socket.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in socket.incoming().flatten() {
            let script = script.clone();
            std::thread::spawn(move || script(stream));
        }
    });
    address
}

/// Reads what comes and never answers.
fn silent(mut stream: TcpStream) {
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}

fn with_timeouts(action: route::RouteAction, idle: u64, total: u64) -> route::RouteAction {
    route::RouteAction {
        idle_timeout: millis(idle),
        timeout: millis(total),
        ..action
    }
}

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            break;
        }
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("text")
}

/// Requests whose body stops, at every place where it can.
const STOPPED: [&str; 7] = [
    "content-length: 5\r\n\r\n",
    "content-length: 5\r\n\r\nx",
    "transfer-encoding: chunked\r\n\r\n",
    "transfer-encoding: chunked\r\n\r\n1",
    "transfer-encoding: chunked\r\n\r\n1\r\nx\r\n",
    "transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nfoo: b",
    "expect: 100-continue\r\ncontent-length: 5\r\n\r\n",
];

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
    let listener = ingress(0, http_filter(&manager(table)));
    let clusters = [static_cluster("up", &[up.address])];
    let ours = Running::start(resource_set(&listener, &clusters));
    let theirs = envoy::binary().map(|binary| envoy::Envoy::start(&binary, &listener, &clusters));
    for path in ["/idle", "/retried"] {
        for rest in STOPPED {
            let raw = format!("POST {path} HTTP/1.1\r\nhost: a\r\n{rest}");
            let answer = |address| {
                let mut response = rig::client::send(address, &raw);
                response.headers.retain(|(name, _)| name != "date");
                response.headers.sort();
                (response.status, response.text(), response.headers)
            };
            let got = answer(ours.address);
            assert_eq!((got.0, got.1.as_str()), (408, "stream timeout"), "{raw}");
            if let Some(theirs) = &theirs {
                assert_eq!(got, answer(theirs.address), "{raw}");
            }
        }
    }
    assert!(ours.stat("http.ingress.downstream_rq_idle_timeout") >= 14);
    wait_for("the release", || {
        (ours.stat("cluster.up.upstream_cx_active") == 0).then_some(())
    });
}

#[test]
fn a_request_body_that_goes_on_slowly_is_waited_for() {
    let up = Upstream::start("up");
    let action = with_timeouts(to_cluster("up"), 1000, 1500);
    let proxy = forwarding(
        routes(vec![forward(prefix("/"), action)]),
        &[static_cluster("up", &[up.address])],
    );
    let mut connection = Connection::open(proxy.address);
    connection.write(b"POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\n");
    for byte in b"slowbody" {
        std::thread::sleep(Duration::from_millis(300));
        connection.write(&[*byte]);
    }
    let response = connection.read(false);
    assert_eq!(response.status, 200);
    assert!(response.text().ends_with("slowbody"));
}

#[test]
fn an_http2_upstream_that_never_answers_is_given_up_after_the_timeout() {
    // It says that it speaks HTTP/2, and then nothing.
    let stalled = scripted(|mut stream| {
        let _ = stream.write_all(b"\0\0\0\x04\0\0\0\0\0");
        silent(stream);
    });
    let table = routes(vec![
        forward(
            prefix("/total"),
            with_timeouts(to_cluster("up"), 60_000, 300),
        ),
        forward(
            prefix("/try"),
            route::RouteAction {
                retry_policy: Some(route::RetryPolicy {
                    per_try_timeout: millis(200),
                    ..retries("reset", 1)
                }),
                ..with_timeouts(to_cluster("up"), 60_000, 60_000)
            },
        ),
    ]);
    let proxy = forwarding(table, &[http2_cluster("up", stalled)]);
    for path in ["/total", "/try"] {
        // The body is read by another task than the one that waits for the answer.
        let body = "x".repeat(100_000);
        let response = rig::client::send(
            proxy.address,
            &format!(
                "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            ),
        );
        assert_eq!(response.status, 504, "{path}");
    }
}

#[test]
fn an_early_answer_does_not_start_the_clock_of_the_response() {
    // Streams both ways: it answers at once, and ends when the request ends.
    let address = scripted(|mut stream| {
        let head = read_head(&mut stream);
        let _ =
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n");
        let mut seen = head.into_bytes();
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
    let proxy = forwarding(
        routes(vec![forward(prefix("/"), action)]),
        &[static_cluster("up", &[address])],
    );
    let mut stream = TcpStream::connect(proxy.address).expect("connects");
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("set");
    stream
        .write_all(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n")
        .expect("writes");
    let head = read_head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains("connection: close"), "as Envoy: {head}");
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1200) {
        std::thread::sleep(Duration::from_millis(100));
        stream.write_all(b"1\r\nb\r\n").expect("writes");
    }
    stream.write_all(b"0\r\n\r\n").expect("writes");
    let mut rest = String::new();
    stream.read_to_string(&mut rest).expect("ends in order");
    assert!(rest.ends_with("3\r\nbye\r\n0\r\n\r\n"), "{rest}");
}

#[test]
fn a_head_that_stops_is_answered_as_envoy_does() {
    let up = Upstream::start("up");
    let config = hcm::HttpConnectionManager {
        stream_idle_timeout: millis(400),
        ..manager(everything_to("up"))
    };
    let listener = ingress(0, http_filter(&config));
    let clusters = [static_cluster("up", &[up.address])];
    let ours = Running::start(resource_set(&listener, &clusters));
    let theirs = envoy::binary().map(|binary| envoy::Envoy::start(&binary, &listener, &clusters));
    for raw in [
        "GET /x HTTP/1.1\r\nhost: a\r\n",
        "GET /x",
        "POST /x HTTP/1.1\r\nhost: a\r\n\r",
    ] {
        let answer = |address| {
            let mut response = rig::client::send(address, raw);
            response.headers.retain(|(name, _)| name != "date");
            response.headers.sort();
            (response.status, response.text(), response.headers)
        };
        let got = answer(ours.address);
        assert_eq!((got.0, got.1.as_str()), (408, "stream timeout"), "{raw}");
        if let Some(theirs) = &theirs {
            assert_eq!(got, answer(theirs.address), "{raw}");
        }
    }
}

#[test]
fn a_client_that_does_not_take_its_response_is_let_go() {
    let address = scripted(|mut stream| {
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
        let mut stream = TcpStream::connect(proxy.address).expect("connects");
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes())
            .expect("writes");
        wait_for("the request upstream", || {
            (proxy.stat("cluster.up.upstream_cx_active") == 1).then_some(())
        });
        wait_for("the release", || {
            (proxy.stat("cluster.up.upstream_cx_active") == 0).then_some(())
        });
        drop(stream);
    }
}
