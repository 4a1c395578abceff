//! One probe of a host: an HTTP request, a call of `grpc.health.v1.Health/Check`, or a TCP exchange.

use bytes::{BufMut, Bytes, BytesMut};
use http::response::Parts;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use super::CheckTarget;
use crate::config::health_check::{GrpcProbe, HttpProbe, Probe, TcpProbe};
use crate::upstream::connect::connect;

/// Maximum bytes of an answer that a probe reads, and of a gRPC answer, which is a small message.
const MAX_ANSWER: usize = 64 * 1024;
const MAX_GRPC_ANSWER: usize = 4096;
const USER_AGENT: &str = "Envoy/HC";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Healthy,
    /// The host answered that it is unhealthy.
    Unhealthy,
    /// No answer in time, or a malformed one.
    NetworkFailure,
}

pub(super) async fn probe(target: &CheckTarget, probe: &Probe) -> Outcome {
    let Ok(stream) = connect(target.address, &target.cluster, target.mark).await else {
        return Outcome::NetworkFailure;
    };
    let healthy = match probe {
        Probe::Grpc(grpc) => probe_grpc(grpc, authority(target, &grpc.authority), stream).await,
        Probe::Http(http) => probe_http(http, authority(target, &http.host), stream).await,
        Probe::Tcp(tcp) => probe_tcp(tcp, stream).await,
    };
    match healthy {
        Some(true) => Outcome::Healthy,
        Some(false) => Outcome::Unhealthy,
        None => Outcome::NetworkFailure,
    }
}

/// The host name of a probe: that of the endpoint, else that of the check, else the cluster's name.
fn authority<'a>(target: &'a CheckTarget, of_check: &'a str) -> &'a str {
    match (&*target.hostname, of_check) {
        ("", "") => &target.cluster.name,
        ("", of_check) => of_check,
        (of_endpoint, _) => of_endpoint,
    }
}

/// Sends a request; the head of the response, and the body unless it is too large or truncated. The body is read so
/// that the server can complete the exchange.
async fn exchange(
    request: Request<Full<Bytes>>,
    stream: TcpStream,
    http2: bool,
    max_body: usize,
) -> Option<(Parts, Option<Collected<Bytes>>)> {
    let io = TokioIo::new(stream);
    let read = async |response: http::Response<hyper::body::Incoming>| {
        let (head, body) = response.into_parts();
        (head, Limited::new(body, max_body).collect().await.ok())
    };
    if http2 {
        let handshake = http2::handshake(TokioExecutor::new(), io).await;
        let (mut sender, connection) = handshake.ok()?;
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        Some(read(sender.send_request(request).await.ok()?).await)
    } else {
        let (mut sender, connection) = http1::handshake(io).await.ok()?;
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        Some(read(sender.send_request(request).await.ok()?).await)
    }
}

async fn probe_http(probe: &HttpProbe, host: &str, stream: TcpStream) -> Option<bool> {
    let mut request = Request::builder().method(probe.method.clone());
    request = if probe.http2 {
        request.uri(format!("http://{host}{}", probe.path))
    } else {
        request.uri(&probe.path).header(header::HOST, host)
    };
    request = request.header(header::USER_AGENT, USER_AGENT);
    for (name, value) in &probe.headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::default()).ok()?;
    let (head, _) = exchange(request, stream, probe.http2, MAX_ANSWER).await?;
    let mut expected = probe.expected.iter();
    Some(expected.any(|(start, end)| (*start..*end).contains(&head.status.as_u16())))
}

#[derive(Clone, PartialEq, Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// `ServingStatus::SERVING`.
const SERVING: i32 = 1;

async fn probe_grpc(probe: &GrpcProbe, authority: &str, stream: TcpStream) -> Option<bool> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{authority}/grpc.health.v1.Health/Check"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, USER_AGENT);
    for (name, value) in &probe.metadata {
        request = request.header(name, value);
    }
    let message = HealthCheckRequest {
        service: probe.service.clone(),
    };
    let request = request.body(Full::new(frame(&message))).ok()?;
    let (head, body) = exchange(request, stream, true, MAX_GRPC_ANSWER).await?;
    let body = body?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    let is_ok = head.status == StatusCode::OK && status_is_ok(&head.headers, &trailers);
    Some(is_ok && is_serving(&body.to_bytes()))
}

/// Frames a length-prefixed gRPC message.
fn frame(message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.encoded_len()).unwrap_or(u32::MAX));
    bytes.put_slice(&message.encode_to_vec());
    bytes.freeze()
}

/// The status of the call is in the trailers, or in the headers of an answer without a message.
fn status_is_ok(headers: &HeaderMap, trailers: &HeaderMap) -> bool {
    let status = trailers.get("grpc-status");
    let status = status.or_else(|| headers.get("grpc-status"));
    status.is_some_and(|status| status == "0")
}

fn is_serving(body: &[u8]) -> bool {
    let Some((prefix, message)) = body.split_first_chunk::<5>() else {
        return false;
    };
    // No compression was accepted, so a compressed answer is invalid.
    prefix[0] == 0
        && HealthCheckResponse::decode(message).is_ok_and(|answer| answer.status == SERVING)
}

async fn probe_tcp(probe: &TcpProbe, mut stream: TcpStream) -> Option<bool> {
    if !probe.send.is_empty() {
        stream.write_all(&probe.send).await.ok()?;
    }
    if probe.receive.is_empty() {
        return Some(true);
    }
    let mut answer = Vec::new();
    loop {
        if contains_in_order(&answer, &probe.receive) {
            return Some(true);
        }
        if answer.len() >= MAX_ANSWER || stream.read_buf(&mut answer).await.ok()? == 0 {
            return Some(false);
        }
    }
}

/// Whether every pattern occurs, each after the previous one.
fn contains_in_order(mut bytes: &[u8], patterns: &[Vec<u8>]) -> bool {
    patterns.iter().all(|pattern| {
        let found = memchr::memmem::find(bytes, pattern);
        if let Some(at) = found {
            bytes = &bytes[at + pattern.len()..];
        }
        found.is_some()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_serving_is_healthy() {
        for (status, healthy) in [(0, false), (1, true), (2, false), (3, false)] {
            let message = frame(&HealthCheckResponse { status });
            assert_eq!(is_serving(&message), healthy);
        }
        assert!(!is_serving(b""));
        assert!(!is_serving(&[1, 0, 0, 0, 2, 8, 1]), "compressed");
        assert!(!is_serving(&[0, 0, 0, 0, 2, 255, 255]), "not protobuf");
    }

    #[test]
    fn the_status_of_the_call_counts() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-status", value.parse().unwrap());
            headers
        };
        let none = HeaderMap::new();
        assert!(status_is_ok(&none, &with("0")));
        assert!(!status_is_ok(&with("0"), &with("12")));
        assert!(!status_is_ok(&none, &none));
    }

    #[test]
    fn patterns_must_come_in_order() {
        let patterns = [b"OK".to_vec(), b"PONG".to_vec()];
        assert!(contains_in_order(b"+OK ready PONG", &patterns));
        assert!(!contains_in_order(b"PONG OK", &patterns));
        assert!(contains_in_order(b"", &[Vec::new()]));
    }
}
