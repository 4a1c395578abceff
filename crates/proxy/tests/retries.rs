//! The number of times an application receives a request: as behind Envoy, and once if it has begun to respond.

mod rig;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use envoy_types::pb::envoy::config::route::v3 as route;

use rig::client::{Connection, raw_post};
use rig::pair::Pair;
use rig::resources::*;
use rig::upstream::Upstream;
use rig::wire::{connect, read_head, read_to_close, scripted};
use rig::{Running, forwarding};

/// A server that answers each request with the given bytes and closes; its address and number of requests.
fn answering(answer: &'static [u8]) -> (SocketAddr, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let address = scripted(move |mut stream| {
        if !read_head(&mut stream).is_empty() {
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = stream.write_all(answer);
        }
    });
    (address, count)
}

#[test]
fn a_request_that_was_answered_in_part_is_executed_once() {
    for answer in [
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".as_slice(),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nrubbish\r\n",
    ] {
        let (address, count) = answering(answer);
        // Two proxies, as between two workloads; the first of them retries every failure.
        let inner = rig::proxy_to(static_cluster("app", &[address]));
        let action = route::RouteAction {
            retry_policy: Some(retries("5xx,reset,connect-failure", 3)),
            ..to_cluster("inner")
        };
        for cluster in [
            static_cluster("inner", &[inner.address]),
            http2_cluster("inner", inner.address),
        ] {
            let table = routes(vec![forward(prefix("/"), action.clone())]);
            let outer = forwarding(table, &[cluster]);
            for method in ["GET", "POST"] {
                let before = count.load(Ordering::SeqCst);
                let request = raw_post("/x", "hi").replace("POST", method);
                let got = read_to_close(connect(outer.address, request));
                let got = String::from_utf8_lossy(&got);
                assert!(got.starts_with("HTTP/1.1 200 OK"), "{got}");
                assert!(got.contains("half"), "{got}");
                assert!(
                    !got.ends_with("0\r\n\r\n"),
                    "not as if it were whole: {got}"
                );
                assert_eq!(count.load(Ordering::SeqCst) - before, 1, "{method}");
            }
        }
    }
}

#[test]
fn a_truncated_body_without_a_length_ends_in_a_reset() {
    let (address, _) =
        answering(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    let config = planned(manager(everything_to("app")));
    let clusters = [static_cluster("app", &[address])];
    let proxy = Running::start(&http_ingress(&config), &clusters);
    let mut stream = connect(proxy.address, "GET /x HTTP/1.0\r\nhost: a\r\n\r\n");
    let ended = stream.read_to_end(&mut Vec::new());
    assert!(
        ended.is_err(),
        "a close in order would say that the body is whole"
    );
}

/// The conditions of the planner's policies, and the other conditions of Envoy.
const CONDITIONS: [&str; 9] = [
    "",
    "5xx",
    "gateway-error",
    "reset",
    "connect-failure",
    "refused-stream",
    "retriable-status-codes",
    "unavailable",
    "unavailable,connect-failure,refused-stream,retriable-status-codes",
];

#[test]
fn attempts_on_a_connection_that_breaks_agree() {
    let mut table = Vec::new();
    for (at, on) in CONDITIONS.iter().enumerate() {
        let policy = (!on.is_empty()).then(|| route::RetryPolicy {
            retry_back_off: Some(route::retry_policy::RetryBackOff {
                base_interval: millis(1),
                max_interval: millis(2),
            }),
            ..retries(on, 3)
        });
        table.push(forward(
            prefix(&format!("/{at}/")),
            route::RouteAction {
                retry_policy: policy,
                prefix_rewrite: "/".to_owned(),
                ..to_cluster("up")
            },
        ));
    }
    let up = Upstream::start("up");
    let listener = http_ingress(&manager(routes(table)));
    let Some(pair) = Pair::start(&listener, &[up.cluster()]) else {
        return;
    };
    // The upstream reads the request and closes; the connection is new, or has served a request before.
    let attempts = |address, at: usize, method: &str, reused: bool| {
        let mut connection = Connection::open(address);
        if reused {
            assert_eq!(connection.get(&format!("/{at}/warm")).status, 200);
        } else {
            up.drop_connections();
        }
        let before = up.requests();
        let raw = format!("{method} /{at}/close HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
        let status = connection.request(&raw).status;
        (status, up.requests() - before)
    };
    for (at, on) in CONDITIONS.iter().enumerate() {
        for method in ["GET", "POST"] {
            for reused in [true, false] {
                assert_eq!(
                    attempts(pair.ours.address, at, method, reused),
                    attempts(pair.envoy.address, at, method, reused),
                    "{method} with {on:?}, reused: {reused}"
                );
            }
        }
    }
}
