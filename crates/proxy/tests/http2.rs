//! HTTP/2 connections: requests per connection, sizes of heads and trailers, and their end.

#![allow(deprecated, reason = "fields that control planes still send")]

mod rig;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use envoy_types::pb::envoy::config::cluster::v3 as cluster;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::route::v3::RouteAction;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::sync::Barrier;

use rig::http2::*;
use rig::resources::*;
use rig::upstream::Upstream;
use rig::wire::{EMPTY_SETTINGS, PREFACE, connect, http2_setting, read_frame, scripted, silent};
use rig::{Running, forwarding, wait_until};

/// One data frame, then trailers of about this size.
fn trailed(size: usize) -> Body {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("13"));
    trailers.insert("grpc-message", large(size));
    with_trailers(Bytes::from_static(b"hi"), trailers)
}

fn large(size: usize) -> HeaderValue {
    HeaderValue::from_str(&"x".repeat(size)).expect("valid")
}

fn with_large_head(size: usize) -> Request<Body> {
    let mut request = get("/x");
    request.headers_mut().insert("x-large", large(size));
    request
}

fn proxy_to(cluster: cluster::Cluster) -> Running {
    let listener = http_ingress(&manager(everything_to("up")));
    Running::with_one_worker(&listener, &[cluster])
}

/// `/head/N` and `/trailers/N` have so many bytes; any other path answers with the number of bytes of trailers
/// received.
async fn sized(request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    let last = path.rsplit('/').next();
    let size = last.and_then(|n| n.parse().ok()).unwrap_or(0);
    let answer = |name, value: HeaderValue| {
        let answer = Response::builder().header(name, value);
        answer.body(empty()).expect("valid")
    };
    if path.starts_with("/head/") {
        return answer("x-large", large(size));
    }
    if path.starts_with("/trailers/") {
        return Response::new(trailed(size));
    }
    let body = request.into_body().collect().await.ok();
    let trailers = body.and_then(|body| body.trailers().cloned());
    let message = trailers.and_then(|trailers| trailers.get("grpc-message").cloned());
    answer("x-seen", message.map_or(0, |message| message.len()).into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_and_trailers_pass_up_to_the_limit_and_fail_clearly_beyond() {
    const TOO_LARGE: StatusCode = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    let (address, _) = server(100, sized).await;
    let proxy = proxy_to(http2_cluster("up", address));
    let sender = dial(proxy.address).await;
    let send = |request| {
        let mut sender = sender.clone();
        async move { sender.send_request(request).await.expect("a response") }
    };
    for size in [10_000, 20_000, 50_000, 59_000] {
        let response = send(get(&format!("/head/{size}"))).await;
        assert_eq!(response.headers()["x-large"].len(), size);
        let body = send(get(&format!("/trailers/{size}"))).await.into_body();
        let body = body.collect().await.expect("whole");
        let trailers = body.trailers().expect("trailers");
        assert_eq!(trailers["grpc-message"].len(), size);
        let response = send(post("/x", trailed(size))).await;
        assert_eq!(response.headers()["x-seen"], size.to_string());
        assert_eq!(send(with_large_head(size)).await.status(), 200);
    }
    for size in [62_000, 120_000] {
        let response = send(get(&format!("/head/{size}"))).await;
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY, "{size}");
        let response = send(get(&format!("/trailers/{size}"))).await;
        let body = response.into_body().collect().await;
        assert!(body.is_err(), "{size}: cut, not shortened");
        let response = send(post("/x", trailed(size))).await;
        assert_eq!(response.status(), TOO_LARGE, "{size}");
        let response = send(with_large_head(size)).await;
        assert_eq!(response.status(), TOO_LARGE, "{size}");
    }
    let mut request = get("/x");
    for at in 0..101 {
        let name = HeaderName::from_bytes(format!("x-{at}").as_bytes()).expect("valid");
        request
            .headers_mut()
            .insert(name, HeaderValue::from_static("y"));
    }
    assert_eq!(send(request).await.status(), TOO_LARGE);
    stop(sender, proxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_connection_is_opened_when_the_upstreams_limit_is_reached() {
    const CALLS: usize = 15;
    // No request is answered before all have arrived.
    let all = Arc::new(Barrier::new(CALLS));
    let (address, connections) = server(5, move |_| {
        let all = all.clone();
        async move {
            all.wait().await;
            Response::new(empty())
        }
    })
    .await;
    let proxy = proxy_to(http2_cluster("up", address));
    let sender = dial(proxy.address).await;
    get_at_once(&sender, CALLS).await;
    get_at_once(&sender, CALLS).await;
    let connections = connections.load(Ordering::SeqCst);
    assert_eq!(connections, 3, "five on each, and used again");
    stop(sender, proxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_wait_for_a_stream_when_no_more_connections_are_allowed() {
    // Each request is answered together with another one, so that both streams are in use.
    let pair = Arc::new(Barrier::new(2));
    let (address, connections) = server(2, move |_| {
        let pair = pair.clone();
        async move {
            pair.wait().await;
            Response::new(empty())
        }
    })
    .await;
    let proxy = proxy_to(cluster::Cluster {
        circuit_breakers: breakers(Thresholds {
            max_connections: number(1),
            ..Default::default()
        }),
        ..http2_cluster("up", address)
    });
    let sender = dial(proxy.address).await;
    get_at_once(&sender, 20).await;
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    stop(sender, proxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_serves_as_many_requests_as_it_may() {
    let answer = |_| async { Response::new(empty()) };
    let (address, connections) = server(100, answer).await;
    let proxy = proxy_to(cluster::Cluster {
        max_requests_per_connection: number(2),
        ..http2_cluster("up", address)
    });
    let sender = dial(proxy.address).await;
    for _ in 0..6 {
        get_at_once(&sender, 1).await;
    }
    assert_eq!(connections.load(Ordering::SeqCst), 3);
    stop(sender, proxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_its_response_is_disconnected() {
    let up = Upstream::start("up");
    let action = RouteAction {
        idle_timeout: millis(300),
        ..to_cluster("up")
    };
    let table = routes(vec![forward(prefix("/"), action)]);
    let proxy = forwarding(table, &[up.cluster()]);
    // The response echoes the request, and the client's window is smaller than that.
    let mut sender = dial_with(proxy.address, 1000).await;
    let large = Full::new(Bytes::from(vec![b'x'; 100_000]));
    let response = sender.send_request(post("/x", large.boxed())).await;
    let response = response.expect("a response");
    assert_eq!(response.status(), 200);
    let checked = tokio::task::spawn_blocking(move || {
        proxy.wait_for_stat("cluster.up.upstream_rq_active", 0);
        proxy
    });
    let proxy = checked.await.expect("released");
    let body = response.into_body().collect().await;
    assert!(body.is_err(), "reset");
    // The connection stays open.
    get_at_once(&sender, 1).await;
    stop(sender, proxy).await;
}

#[test]
fn an_upstream_that_speaks_no_http2_fails_clearly() {
    let up = Upstream::start("up");
    let proxy = rig::proxy_to(http2_cluster("up", up.address));
    assert_eq!(rig::client::get(proxy.address, "/x").status, 503);
    proxy.wait_for_stat("cluster.up.upstream_cx_active", 0);
}

#[test]
fn a_client_that_does_not_answer_goaway_is_disconnected() {
    let up = Upstream::start("up");
    let config = hcm::HttpConnectionManager {
        common_http_protocol_options: Some(core::HttpProtocolOptions {
            max_connection_duration: millis(300),
            ..Default::default()
        }),
        ..manager(everything_to("up"))
    };
    let proxy = Running::start(&http_ingress(&config), &[up.cluster()]);
    let mut stream = connect(proxy.address, [PREFACE, EMPTY_SETTINGS].concat());
    let frames: Vec<_> = std::iter::from_fn(|| read_frame(&mut stream).ok()).collect();
    assert!(
        frames.iter().any(|(kind, ..)| *kind == 7),
        "GOAWAY: {frames:?}"
    );
    assert_eq!(rig::wire::read_all(stream), "", "closed");
}

#[test]
fn an_upstream_that_does_not_answer_pings_is_disconnected() {
    let address = scripted(|mut stream| {
        let _ = stream.write_all(EMPTY_SETTINGS);
        silent(stream);
    });
    let options = core::Http2ProtocolOptions {
        connection_keepalive: Some(core::KeepaliveSettings {
            interval: millis(200),
            timeout: millis(200),
            ..Default::default()
        }),
        ..Default::default()
    };
    let pinged = cluster::Cluster {
        http2_protocol_options: Some(options),
        ..static_cluster("up", &[address])
    };
    let action = RouteAction {
        timeout: millis(0),
        ..to_cluster("up")
    };
    let proxy = forwarding(routes(vec![forward(prefix("/"), action)]), &[pinged]);
    assert_eq!(rig::client::get(proxy.address, "/x").status, 503);
    wait_until("the release", || {
        proxy.stat("cluster.up.upstream_cx_active") == 0
    });
}

#[test]
fn streams_of_one_connection_are_limited_as_by_envoy() {
    const MAX_CONCURRENT_STREAMS: u16 = 3;
    let up = Upstream::start("up");
    let listener = http_ingress(&manager(everything_to("up")));
    let start = |max_open_files| {
        Running::start_with(tombolo_proxy::Options {
            max_open_files: Some(max_open_files),
            static_resources: resource_set(&listener, &[up.cluster()]),
            ..Default::default()
        })
    };
    let few = start(1024);
    assert_eq!(
        http2_setting(few.address, MAX_CONCURRENT_STREAMS),
        Some(128)
    );
    let many = start(1 << 20);
    let ours = http2_setting(many.address, MAX_CONCURRENT_STREAMS);
    assert_eq!(ours, Some(1024));
    if let Some(envoy) = rig::envoy::Envoy::start(&listener, &[up.cluster()]) {
        assert_eq!(ours, http2_setting(envoy.address, MAX_CONCURRENT_STREAMS));
    }
}
