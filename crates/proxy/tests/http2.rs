//! HTTP/2 connections: how many requests they carry, how large heads and trailers may be, and how they end.

#![allow(deprecated, reason = "fields that control planes still send")]

mod rig;

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use envoy_types::pb::envoy::config::cluster::v3 as cluster;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Barrier;

use rig::resources::*;
use rig::upstream::Upstream;
use rig::{Running, forwarding, wait_for};

type Answer = Response<BoxBody<Bytes, Infallible>>;
type Body = BoxBody<Bytes, Infallible>;
type Sender = hyper::client::conn::http2::SendRequest<Body>;

/// An HTTP/2 server; returns its address and how many connections it got.
async fn server<F: Future<Output = Answer> + Send + 'static>(
    streams: u32,
    answer: impl Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
) -> (SocketAddr, Arc<AtomicUsize>) {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = socket.local_addr().expect("bound");
    let connections = Arc::new(AtomicUsize::new(0));
    let seen = connections.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            seen.fetch_add(1, Ordering::SeqCst);
            let answer = answer.clone();
            let service = hyper::service::service_fn(move |request| {
                let answered = answer(request);
                async move { Ok::<_, Infallible>(answered.await) }
            });
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .max_concurrent_streams(streams)
                .max_header_list_size(1 << 20)
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    (address, connections)
}

async fn dial(address: SocketAddr) -> Sender {
    let stream = TcpStream::connect(address).await.expect("connects");
    let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .max_header_list_size(1 << 20)
        .handshake(TokioIo::new(stream))
        .await
        .expect("speaks HTTP/2");
    tokio::spawn(connection);
    sender
}

fn get(path: &str) -> Request<Body> {
    Request::get(format!("http://app.test{path}"))
        .header("te", "trailers")
        .body(Empty::new().boxed())
        .expect("valid")
}

/// One piece, then trailers of about this size.
fn trailed(size: usize) -> Body {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("13"));
    trailers.insert("grpc-message", large(size));
    let frames = vec![
        Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"hi"))),
        Ok(Frame::trailers(trailers)),
    ];
    BodyExt::boxed(StreamBody::new(futures::stream::iter(frames)))
}

fn large(size: usize) -> HeaderValue {
    HeaderValue::from_str(&"x".repeat(size)).expect("valid")
}

/// Shuts a proxy down without blocking the runtime that its peers run on.
async fn stop(proxy: Running) {
    tokio::task::spawn_blocking(move || drop(proxy))
        .await
        .expect("clean shutdown");
}

fn proxy_to(cluster: cluster::Cluster) -> Running {
    Running::start_with(tombolo_proxy::Options {
        workers: 1,
        static_resources: resource_set(
            &ingress(0, http_filter(&manager(everything_to("up")))),
            &[cluster],
        ),
        ..tombolo_proxy::Options::default()
    })
}

/// `/head/N` and `/trailers/N` have so many bytes; anything else says how many bytes of trailers came.
async fn sized(request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    let size = path
        .rsplit('/')
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    if path.starts_with("/head/") {
        return Response::builder()
            .header("x-large", large(size))
            .body(Empty::new().boxed())
            .expect("valid");
    }
    if path.starts_with("/trailers/") {
        return Response::new(trailed(size));
    }
    let trailers = match request.into_body().collect().await {
        Ok(body) => body.trailers().cloned().unwrap_or_default(),
        Err(_) => HeaderMap::new(),
    };
    let seen = trailers.get("grpc-message").map_or(0, HeaderValue::len);
    Response::builder()
        .header("x-seen", seen)
        .body(Empty::new().boxed())
        .expect("valid")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_and_trailers_pass_up_to_the_limit_and_fail_clearly_beyond() {
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
        let request = Request::post("http://app.test/x")
            .body(trailed(size))
            .expect("valid");
        let response = send(request).await;
        assert_eq!(response.headers()["x-seen"], size.to_string());
        let mut request = get("/x");
        request.headers_mut().insert("x-large", large(size));
        assert_eq!(send(request).await.status(), 200);
    }
    for size in [62_000, 120_000] {
        let response = send(get(&format!("/head/{size}"))).await;
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY, "{size}");
        let response = send(get(&format!("/trailers/{size}"))).await;
        let body = response.into_body().collect().await;
        assert!(body.is_err(), "{size}: cut, not shortened");
        let request = Request::post("http://app.test/x")
            .body(trailed(size))
            .expect("valid");
        let response = send(request).await;
        assert_eq!(
            response.status(),
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "{size}"
        );
        let mut request = get("/x");
        request.headers_mut().insert("x-large", large(size));
        let response = send(request).await;
        assert_eq!(
            response.status(),
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "{size}"
        );
    }
    let mut request = get("/x");
    for at in 0..101 {
        let name = http::HeaderName::from_bytes(format!("x-{at}").as_bytes()).expect("valid");
        request
            .headers_mut()
            .insert(name, HeaderValue::from_static("y"));
    }
    let response = send(request).await;
    assert_eq!(
        response.status(),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    );
    drop(sender);
    stop(proxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_connection_is_opened_when_the_upstreams_limit_is_reached() {
    const CALLS: usize = 15;
    // Nobody is answered before all have arrived.
    let all = Arc::new(Barrier::new(CALLS));
    let (address, connections) = server(5, move |_| {
        let all = all.clone();
        async move {
            all.wait().await;
            Response::new(Empty::new().boxed())
        }
    })
    .await;
    let proxy = proxy_to(http2_cluster("up", address));
    let sender = dial(proxy.address).await;
    for _ in 0..2 {
        let calls = (0..CALLS).map(|_| {
            let mut sender = sender.clone();
            async move {
                sender
                    .send_request(get("/x"))
                    .await
                    .expect("a response")
                    .status()
            }
        });
        for status in futures::future::join_all(calls).await {
            assert_eq!(status, 200);
        }
    }
    assert_eq!(
        connections.load(Ordering::SeqCst),
        3,
        "five on each, and used again"
    );
    drop(sender);
    stop(proxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_wait_for_a_place_when_no_more_connections_are_allowed() {
    let (address, connections) = server(2, |_| async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Response::new(Empty::new().boxed())
    })
    .await;
    let limited = cluster::Cluster {
        circuit_breakers: Some(cluster::CircuitBreakers {
            thresholds: vec![cluster::circuit_breakers::Thresholds {
                max_connections: number(1),
                ..Default::default()
            }],
            ..Default::default()
        }),
        ..http2_cluster("up", address)
    };
    let proxy = proxy_to(limited);
    let sender = dial(proxy.address).await;
    let calls = (0..20).map(|_| {
        let mut sender = sender.clone();
        async move {
            sender
                .send_request(get("/x"))
                .await
                .expect("a response")
                .status()
        }
    });
    for status in futures::future::join_all(calls).await {
        assert_eq!(status, 200);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    drop(sender);
    stop(proxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_serves_as_many_requests_as_it_may() {
    let (address, connections) =
        server(100, |_| async { Response::new(Empty::new().boxed()) }).await;
    let limited = cluster::Cluster {
        max_requests_per_connection: number(2),
        ..http2_cluster("up", address)
    };
    let proxy = proxy_to(limited);
    let mut sender = dial(proxy.address).await;
    for _ in 0..6 {
        let response = sender.send_request(get("/x")).await.expect("a response");
        assert_eq!(response.status(), 200);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 3);
    drop(sender);
    stop(proxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_take_its_response_is_let_go() {
    let up = Upstream::start("up");
    let table = routes(vec![forward(
        prefix("/"),
        envoy_types::pb::envoy::config::route::v3::RouteAction {
            idle_timeout: millis(300),
            ..to_cluster("up")
        },
    )]);
    let proxy = forwarding(table, &[static_cluster("up", &[up.address])]);
    // The response echoes the request, and the client's window is smaller than that.
    let stream = TcpStream::connect(proxy.address).await.expect("connects");
    let (mut sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(1000)
        .handshake(TokioIo::new(stream))
        .await
        .expect("speaks HTTP/2");
    tokio::spawn(connection);
    let large = http_body_util::Full::new(Bytes::from(vec![b'x'; 100_000]));
    let request = Request::post("http://app.test/x")
        .body(large.boxed())
        .expect("valid");
    let response = sender.send_request(request).await.expect("a response");
    assert_eq!(response.status(), 200);
    let checked = tokio::task::spawn_blocking(move || {
        wait_for("the release", || {
            (proxy.stat("cluster.up.upstream_rq_active") == 0).then_some(())
        });
        proxy
    });
    let proxy = checked.await.expect("released");
    let body = response.into_body().collect().await;
    assert!(body.is_err(), "reset");
    let response = sender.send_request(get("/x")).await.expect("a response");
    assert_eq!(response.status(), 200, "the connection goes on");
    drop(sender);
    stop(proxy).await;
}

#[test]
fn an_upstream_that_speaks_no_http2_fails_clearly() {
    let up = Upstream::start("up");
    let proxy = forwarding(everything_to("up"), &[http2_cluster("up", up.address)]);
    let response = rig::client::get(proxy.address, "/x");
    assert_eq!(response.status, 503);
    wait_for("the release", || {
        (proxy.stat("cluster.up.upstream_cx_active") == 0).then_some(())
    });
}

#[test]
fn a_client_that_does_not_answer_the_goodbye_is_let_go() {
    let up = Upstream::start("up");
    let config = hcm::HttpConnectionManager {
        common_http_protocol_options: Some(core::HttpProtocolOptions {
            max_connection_duration: millis(300),
            ..Default::default()
        }),
        ..manager(everything_to("up"))
    };
    let proxy = Running::start(resource_set(
        &ingress(0, http_filter(&config)),
        &[static_cluster("up", &[up.address])],
    ));
    let mut stream = std::net::TcpStream::connect(proxy.address).expect("connects");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("set");
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .expect("writes");
    let mut seen = Vec::new();
    stream.read_to_end(&mut seen).expect("ends in order");
    assert!(
        frames(&seen).iter().any(|(kind, _, _)| *kind == 7),
        "GOAWAY"
    );
}

#[test]
fn an_upstream_that_does_not_answer_pings_is_let_go() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = socket.local_addr().expect("bound");
    std::thread::spawn(move || {
        for mut stream in socket.incoming().flatten() {
            let _ = stream.write_all(b"\0\0\0\x04\0\0\0\0\0");
            std::thread::spawn(move || std::io::copy(&mut stream, &mut std::io::sink()));
        }
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
    let action = envoy_types::pb::envoy::config::route::v3::RouteAction {
        timeout: millis(0),
        ..to_cluster("up")
    };
    let proxy = forwarding(routes(vec![forward(prefix("/"), action)]), &[pinged]);
    assert_eq!(rig::client::get(proxy.address, "/x").status, 503);
    wait_for("the release", || {
        (proxy.stat("cluster.up.upstream_cx_active") == 0).then_some(())
    });
}

/// The frames' types, flags and payloads, as far as they are whole.
fn frames(mut bytes: &[u8]) -> Vec<(u8, u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [a, b, c, kind, flags, _, _, _, _, rest @ ..] = bytes {
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        let Some(payload) = rest.get(..length) else {
            break;
        };
        frames.push((*kind, *flags, payload.to_vec()));
        bytes = &rest[length..];
    }
    frames
}

#[test]
fn the_number_of_streams_is_announced_as_envoy_does() {
    let up = Upstream::start("up");
    let listener = ingress(0, http_filter(&manager(everything_to("up"))));
    let clusters = [static_cluster("up", &[up.address])];
    let streams = |address: SocketAddr| {
        let mut stream = std::net::TcpStream::connect(address).expect("connects");
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("set");
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
            .expect("writes");
        let mut seen = Vec::new();
        loop {
            let mut buffer = [0; 4096];
            let read = stream.read(&mut buffer).expect("reads");
            assert!(read > 0, "closed");
            seen.extend_from_slice(&buffer[..read]);
            let settings = frames(&seen)
                .into_iter()
                .find(|(kind, flags, _)| *kind == 4 && *flags == 0);
            if let Some((_, _, payload)) = settings {
                return payload
                    .chunks(6)
                    .find(|setting| setting[..2] == [0, 3])
                    .map(|setting| {
                        u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]])
                    });
            }
        }
    };
    let ours = Running::start(resource_set(&listener, &clusters));
    assert_eq!(streams(ours.address), Some(1024));
    if let Some(binary) = rig::envoy::binary() {
        let theirs = rig::envoy::Envoy::start(&binary, &listener, &clusters);
        assert_eq!(streams(theirs.address), Some(1024));
    }
}
