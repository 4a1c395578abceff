//! Health as gRPC servers tell it: `grpc.health.v1.Health/Check`.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::TcpStream;

use crate::config::health_check::GrpcProbe;

/// An answer is a few bytes; more than this is no answer to this question.
const MAX_ANSWER: usize = 4096;

/// The status that means "well".
const SERVING: i32 = 1;

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

/// Asks once. `None`: the exchange failed.
pub(super) async fn probe(probe: &GrpcProbe, authority: &str, stream: TcpStream) -> Option<bool> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{authority}/grpc.health.v1.Health/Check"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, "Envoy/HC");
    for (name, value) in &probe.metadata {
        request = request.header(name, value);
    }
    let question = HealthCheckRequest {
        service: probe.service.clone(),
    };
    let request = request.body(Full::new(frame(&question))).ok()?;
    let io = TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .ok()?;
    let task = tokio::spawn(connection);
    let answer = async {
        let response = sender.send_request(request).await.ok()?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.ok()?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        let is_ok = head.status == StatusCode::OK && status_is_ok(&head.headers, &trailers);
        Some(is_ok && serves(&body.to_bytes()))
    };
    let answer = answer.await;
    task.abort();
    answer
}

/// A message with its length in front, as gRPC sends it.
fn frame(message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.encoded_len()).unwrap_or(u32::MAX));
    bytes.put_slice(&message.encode_to_vec());
    bytes.freeze()
}

/// The call's status is in the trailers, or in the headers of an answer without a message.
fn status_is_ok(headers: &HeaderMap, trailers: &HeaderMap) -> bool {
    let status = trailers
        .get("grpc-status")
        .or_else(|| headers.get("grpc-status"));
    status.is_some_and(|status| status == "0")
}

fn serves(body: &[u8]) -> bool {
    let Some((prefix, message)) = body.split_first_chunk::<5>() else {
        return false;
    };
    // Compressed answers were not asked for.
    prefix[0] == 0
        && HealthCheckResponse::decode(message).is_ok_and(|answer| answer.status == SERVING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_serving_is_well() {
        for (status, well) in [(0, false), (1, true), (2, false), (3, false)] {
            assert_eq!(serves(&frame(&HealthCheckResponse { status })), well);
        }
        assert!(!serves(b""));
        assert!(!serves(&[1, 0, 0, 0, 2, 8, 1]), "compressed");
        assert!(!serves(&[0, 0, 0, 0, 2, 255, 255]), "not protobuf");
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
}
