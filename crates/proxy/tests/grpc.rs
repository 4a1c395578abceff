//! HTTP/2 end to end, as gRPC uses it: trailers, retries by gRPC status, many streams on one connection.

mod rig;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use envoy_types::pb::envoy::config::route::v3 as route;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;

use rig::Running;
use rig::http2::{Answer, Sender, dial, empty, server, stop, with_trailers};
use rig::resources::*;

/// Answers `/echo` with the request's body and a trailer, `/fail/N` with `UNAVAILABLE` for the first N calls.
async fn greet(request: Request<Incoming>, call: usize) -> Answer {
    let last = request.uri().path().rsplit('/').next();
    let failing: usize = last.and_then(|n| n.parse().ok()).unwrap_or(0);
    let answer = Response::builder().header("content-type", "application/grpc");
    if call < failing {
        let answer = answer.header("grpc-status", "14");
        return answer.body(empty()).expect("valid");
    }
    let body = request.into_body().collect().await;
    let data = body.map(|body| body.to_bytes()).unwrap_or_default();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().expect("valid"));
    answer.body(with_trailers(data, trailers)).expect("valid")
}

/// A gRPC server; its address, and its numbers of connections and calls.
async fn greeter() -> (SocketAddr, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let greet = move |request| greet(request, counted.fetch_add(1, Ordering::SeqCst));
    let (address, connections) = server(100, greet).await;
    (address, connections, calls)
}

fn proxy(to: SocketAddr) -> Running {
    let action = route::RouteAction {
        retry_policy: Some(retries("unavailable", 2)),
        ..to_cluster("greeter")
    };
    let table = routes(vec![forward(prefix("/greet/"), action)]);
    let listener = http_ingress(&manager(table));
    Running::with_one_worker(&listener, &[http2_cluster("greeter", to)])
}

/// Status, gRPC status from headers or trailers, and body.
async fn call(sender: &mut Sender, path: &str, body: &'static str) -> (u16, String, String) {
    let request = Request::post(format!("http://greeter.test{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::from(body).boxed())
        .expect("valid");
    let response = sender.send_request(request).await.expect("a response");
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("a whole body");
    let trailers = body.trailers().cloned().unwrap_or_default();
    let status = head
        .headers
        .get("grpc-status")
        .or(trailers.get("grpc-status"));
    let status = status.and_then(|status| status.to_str().ok());
    let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    (
        head.status.as_u16(),
        status.unwrap_or_default().to_owned(),
        text,
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn trailers_pass_and_streams_share_one_connection() {
    let (address, connections, _) = greeter().await;
    let proxy = proxy(address);
    let sender = dial(proxy.address).await;
    let calls = (0..50).map(|_| {
        let mut sender = sender.clone();
        async move { call(&mut sender, "/greet/echo", "hello").await }
    });
    for outcome in futures::future::join_all(calls).await {
        assert_eq!(outcome, (200, "0".to_owned(), "hello".to_owned()));
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    stop(sender, proxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn unavailable_is_retried_and_unrouted_calls_are_unimplemented() {
    let (address, _, calls) = greeter().await;
    let proxy = proxy(address);
    let mut sender = dial(proxy.address).await;
    for (path, status, body) in [("/greet/fail/2", "0", "x"), ("/other/echo", "12", "")] {
        let outcome = call(&mut sender, path, "x").await;
        assert_eq!(outcome, (200, status.to_owned(), body.to_owned()), "{path}");
        assert_eq!(calls.load(Ordering::SeqCst), 3);
    }
    stop(sender, proxy).await;
}
