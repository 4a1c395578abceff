//! HTTP/2 end to end, as gRPC uses it: trailers, retries by gRPC status, many streams on one connection.

mod rig;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use envoy_types::pb::envoy::config::route::v3 as route;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};

use rig::Running;
use rig::resources::*;

/// Answers `/echo` with the request's body and a trailer, `/fail/N` with `UNAVAILABLE` for the first N calls.
struct Greeter {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    calls: Arc<AtomicUsize>,
}

impl Greeter {
    async fn start() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = socket.local_addr().expect("bound");
        let (connections, calls) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (seen, counted) = (connections.clone(), calls.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = socket.accept().await {
                seen.fetch_add(1, Ordering::SeqCst);
                let counted = counted.clone();
                let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                    let call = counted.fetch_add(1, Ordering::SeqCst);
                    async move { Ok::<_, Infallible>(greet(request, call).await) }
                });
                let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        Self {
            address,
            connections,
            calls,
        }
    }
}

type Answer = Response<http_body_util::combinators::BoxBody<Bytes, Infallible>>;

async fn greet(request: Request<Incoming>, call: usize) -> Answer {
    let failing: usize = request
        .uri()
        .path()
        .rsplit('/')
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    let answer = Response::builder().header("content-type", "application/grpc");
    if call < failing {
        return answer
            .header("grpc-status", "14")
            .body(Empty::new().boxed())
            .expect("valid");
    }
    let body = request
        .into_body()
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().expect("valid"));
    let frames = vec![
        Ok::<_, Infallible>(Frame::data(body)),
        Ok(Frame::trailers(trailers)),
    ];
    let stream = http_body_util::StreamBody::new(futures::stream::iter(frames));
    answer.body(BodyExt::boxed(stream)).expect("valid")
}

fn proxy(to: SocketAddr) -> Running {
    let policy = route::RetryPolicy {
        retry_on: "unavailable".to_owned(),
        num_retries: number(2),
        ..Default::default()
    };
    let action = route::RouteAction {
        retry_policy: Some(policy),
        ..to_cluster("greeter")
    };
    let table = routes(vec![forward(prefix("/greet/"), action)]);
    let set = resource_set(
        &ingress(0, http_filter(&manager(table))),
        &[http2_cluster("greeter", to)],
    );
    Running::start_with(tombolo_proxy::Options {
        workers: 1,
        static_resources: set,
        ..tombolo_proxy::Options::default()
    })
}

type Sender = hyper::client::conn::http2::SendRequest<Full<Bytes>>;

async fn dial(address: SocketAddr) -> Sender {
    let stream = TcpStream::connect(address).await.expect("connects");
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("speaks HTTP/2");
    tokio::spawn(connection);
    sender
}

/// Status, gRPC status wherever it came, and body.
async fn call(
    sender: &mut Sender,
    path: &str,
    body: &'static str,
) -> (u16, Option<String>, String) {
    let request = Request::post(format!("http://greeter.test{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(Bytes::from(body)))
        .expect("valid");
    let response = sender.send_request(request).await.expect("a response");
    let status = response.status().as_u16();
    let text = |headers: &HeaderMap| {
        headers
            .get("grpc-status")
            .and_then(|s| s.to_str().ok())
            .map(str::to_owned)
    };
    let early = text(response.headers());
    let collected = response.into_body().collect().await.expect("a whole body");
    let late = collected.trailers().and_then(text);
    let body = String::from_utf8_lossy(&collected.to_bytes()).into_owned();
    (status, early.or(late), body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn trailers_pass_and_streams_share_one_connection() {
    let greeter = Greeter::start().await;
    let running = proxy(greeter.address);
    let sender = dial(running.address).await;
    let calls = (0..50).map(|_| {
        let mut sender = sender.clone();
        async move { call(&mut sender, "/greet/echo", "hello").await }
    });
    for outcome in futures::future::join_all(calls).await {
        assert_eq!(outcome, (200, Some("0".to_owned()), "hello".to_owned()));
    }
    assert_eq!(greeter.connections.load(Ordering::SeqCst), 1);
    drop(sender);
    tokio::task::spawn_blocking(move || drop(running))
        .await
        .expect("clean shutdown");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn unavailable_is_retried_and_unrouted_calls_are_unimplemented() {
    let greeter = Greeter::start().await;
    let running = proxy(greeter.address);
    let mut sender = dial(running.address).await;
    assert_eq!(
        call(&mut sender, "/greet/fail/2", "x").await,
        (200, Some("0".to_owned()), "x".to_owned())
    );
    assert_eq!(greeter.calls.load(Ordering::SeqCst), 3);
    assert_eq!(
        call(&mut sender, "/other/echo", "x").await,
        (200, Some("12".to_owned()), String::new())
    );
    assert_eq!(greeter.calls.load(Ordering::SeqCst), 3);
    drop(sender);
    tokio::task::spawn_blocking(move || drop(running))
        .await
        .expect("clean shutdown");
}
