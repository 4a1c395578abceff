//! A request to one of a control plane's own paths, signed by the caller.

use bytes::Bytes;
use http::{Request, Response, StatusCode, header, request::Builder};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::{env, time::Duration};
use tokio::time::timeout;
use tombolo_api::client::{Endpoint, Keys};

const CONNECT: Duration = Duration::from_secs(5);

/// Sends a request, signed with the caller's AWS credentials for the caller's region; answers once the head
/// of the answer is there. The error names the endpoint.
pub(super) async fn send(
    endpoint: &Endpoint,
    request: Builder,
    body: Bytes,
) -> Result<Response<Incoming>, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{endpoint}: {error}");
    let request = request.header(header::HOST, endpoint.authority());
    let request = request.body(Full::new(body.clone()));
    let mut request = request.map_err(|error| failed(&error))?;
    sign(&mut request, &body)?;
    let stream = timeout(CONNECT, endpoint.connect())
        .await
        .map_err(|_| failed(&"no answer"))?
        .map_err(|error| failed(&error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(&error))?;
    tokio::spawn(connection);
    let answer = sender.send_request(request).await;
    answer.map_err(|error| failed(&error))
}

fn sign<B>(request: &mut Request<B>, body: &[u8]) -> Result<(), String> {
    let region = env::var("AWS_REGION").or_else(|_| env::var("AWS_DEFAULT_REGION"));
    let region = region.as_deref().unwrap_or(super::DEFAULT_REGION);
    Keys::from_environment().sign_operator(region, request, body)
}

/// What a control plane says about a request that it refused.
pub(super) fn refusal(status: StatusCode, body: &[u8]) -> String {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let code = json["__type"].as_str().unwrap_or_default();
    match (status.as_u16(), json["message"].as_str()) {
        (400 | 403, Some(message)) if code.ends_with("Exception") => format!(
            "{code}: {message} (the credentials are those in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, \
             the region is that in AWS_REGION)"
        ),
        (_, Some(message)) => format!("{status}: {message}"),
        (_, None) => status.to_string(),
    }
}
