//! HTTP and gRPC exchanges of probes.

use std::net::SocketAddrV4;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::ProbeError;

/// Maximum bytes of an answer that a probe reads before it closes the connection.
const MAX_ANSWER: usize = 64 << 10;

/// `grpc.health.v1.HealthCheckResponse.ServingStatus.SERVING`.
const SERVING: u8 = 1;

const USER_AGENT: &str = "kube-probe/1.35";

/// Sends a GET; the status of the answer.
pub(super) async fn get(
    stream: TcpStream,
    host: &str,
    path: &str,
    headers: &[(String, String)],
) -> Result<u16, ProbeError> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let mut request = http::Request::get(path)
        .header("host", host)
        .header("user-agent", USER_AGENT)
        .header("connection", "close");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Empty::<Bytes>::new())?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        // Read the body, so that the application sees a complete exchange; a large or endless one is cut.
        let _ = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await;
        Ok(status)
    };
    drive(exchange, connection).await
}

/// Calls `grpc.health.v1.Health/Check` for a service; an empty name stands for the whole server.
pub(super) async fn grpc(
    stream: TcpStream,
    address: SocketAddrV4,
    service: &str,
) -> Result<(), ProbeError> {
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let request = http::Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", USER_AGENT)
        .body(Full::new(check_request(service)?))?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let early = grpc_status(response.headers());
        let body = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await;
        let body = body.map_err(ProbeError::Body)?;
        let late = body.trailers().and_then(grpc_status);
        match early.or(late) {
            Some(code) if code == "0" => {}
            Some(code) => return Err(ProbeError::GrpcStatus(code)),
            None => return Err(ProbeError::NotGrpc),
        }
        match serving_status(&body.to_bytes()) {
            Some(SERVING) => Ok(()),
            Some(status) => Err(ProbeError::NotServing {
                service: service.to_owned(),
                status,
            }),
            None => Err(ProbeError::NotHealthResponse),
        }
    };
    drive(exchange, connection).await
}

fn grpc_status(headers: &http::HeaderMap) -> Option<String> {
    Some(headers.get("grpc-status")?.to_str().ok()?.to_owned())
}

/// A framed `HealthCheckRequest`: field 1 is the service.
fn check_request(service: &str) -> Result<Bytes, ProbeError> {
    // A length of one byte is enough for any name that Kubernetes accepts.
    let length = u8::try_from(service.len()).ok();
    let length = length.filter(|length| *length < 0x80);
    let length = length.ok_or(ProbeError::LongService)?;
    let (field, size) = match length {
        0 => (vec![], 0),
        _ => (vec![0x0a, length], length + 2),
    };
    Ok([&[0, 0, 0, 0, size][..], &field, service.as_bytes()]
        .concat()
        .into())
}

/// Field 1 of a framed `HealthCheckResponse`; zero, which is UNKNOWN, where it is absent.
fn serving_status(frame: &[u8]) -> Option<u8> {
    let (head, message) = frame.split_at_checked(5)?;
    let size = u32::from_be_bytes(*head.last_chunk()?);
    if head[0] != 0 || usize::try_from(size).ok()? != message.len() {
        return None;
    }
    match message {
        [] => Some(0),
        [0x08, status] if *status < 0x80 => Some(*status),
        _ => None,
    }
}

/// Runs an exchange together with its connection. If the connection ends first, the exchange still decides the
/// result.
async fn drive<T, E>(
    exchange: impl Future<Output = Result<T, ProbeError>>,
    connection: impl Future<Output = Result<(), E>>,
) -> Result<T, ProbeError> {
    let driver = async {
        let _ = connection.await;
        std::future::pending().await
    };
    tokio::select! {
        result = exchange => result,
        never = driver => never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::service::service_fn;

    /// A server that gives this answer to every call: grpc-status and message.
    async fn server(status: &'static str, message: &'static [u8]) -> SocketAddrV4 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let std::net::SocketAddr::V4(address) = listener.local_addr().unwrap() else {
            unreachable!()
        };
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = service_fn(
                move |request: http::Request<hyper::body::Incoming>| async move {
                    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                    let asked = request.into_body().collect().await.unwrap().to_bytes();
                    assert_eq!(asked[..], *b"\0\0\0\0\x05\x0a\x03web");
                    http::Response::builder()
                        .header("grpc-status", status)
                        .body(Full::new(Bytes::from_static(message)))
                },
            );
            let http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = http2.serve_connection(TokioIo::new(stream), answer).await;
        });
        address
    }

    #[tokio::test]
    async fn health_service_must_say_that_it_serves() {
        for (status, message, good) in [
            ("0", &b"\0\0\0\0\x02\x08\x01"[..], true),
            ("0", b"\0\0\0\0\x02\x08\x02", false),
            ("0", b"\0\0\0\0\0", false),
            ("0", b"\0\0\0\0\x09\x08\x01", false),
            ("0", b"x", false),
            ("12", b"", false),
        ] {
            let address = server(status, message).await;
            let stream = TcpStream::connect(address).await.unwrap();
            let outcome = grpc(stream, address, "web").await;
            assert_eq!(outcome.is_ok(), good, "{status} {message:?}: {outcome:?}");
        }
    }

    #[test]
    fn long_names_are_refused() {
        assert!(check_request(&"x".repeat(128)).is_err());
        assert_eq!(check_request("").unwrap()[..], [0; 5]);
    }
}
