//! HTTP/2 servers and clients of another implementation.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};

use super::Running;

pub type Body = BoxBody<Bytes, Infallible>;
pub type Answer = Response<Body>;
pub type Sender = http2::SendRequest<Body>;

pub fn empty() -> Body {
    Empty::new().boxed()
}

/// A body of one data frame and trailers.
pub fn with_trailers(data: Bytes, trailers: HeaderMap) -> Body {
    let frames = [Ok(Frame::data(data)), Ok(Frame::trailers(trailers))];
    BodyExt::boxed(StreamBody::new(futures::stream::iter(frames)))
}

/// A server; its address, and its number of connections.
pub async fn server<F: Future<Output = Answer> + Send + 'static>(
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

/// A client whose streams have a window of this many bytes.
pub async fn dial_with(address: SocketAddr, window: u32) -> Sender {
    let stream = TcpStream::connect(address).await.expect("connects");
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(window)
        .max_header_list_size(1 << 20)
        .handshake(TokioIo::new(stream))
        .await
        .expect("speaks HTTP/2");
    tokio::spawn(connection);
    sender
}

pub async fn dial(address: SocketAddr) -> Sender {
    dial_with(address, 1 << 20).await
}

pub fn get(path: &str) -> Request<Body> {
    Request::get(format!("http://app.test{path}"))
        .header("te", "trailers")
        .body(empty())
        .expect("valid")
}

pub fn post(path: &str, body: Body) -> Request<Body> {
    let request = Request::post(format!("http://app.test{path}"));
    request.body(body).expect("valid")
}

/// Sends the same request `count` times at once, and expects 200 each time.
pub async fn get_at_once(sender: &Sender, count: usize) {
    let calls = (0..count).map(|_| {
        let mut sender = sender.clone();
        async move { sender.send_request(get("/x")).await.expect("a response") }
    });
    for response in futures::future::join_all(calls).await {
        assert_eq!(response.status(), 200);
    }
}

/// Shuts a proxy down without blocking the runtime that its peers run on.
pub async fn stop(sender: Sender, proxy: Running) {
    drop(sender);
    let stopped = tokio::task::spawn_blocking(move || drop(proxy));
    stopped.await.expect("clean shutdown");
}
