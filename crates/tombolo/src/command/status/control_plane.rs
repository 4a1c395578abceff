//! Asking a control plane how it goes.

use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How much of an answer is read: ten thousand proxies take about ten megabytes.
const LARGEST: usize = 256 << 20;

/// What the status page of the control plane at `authority` (host:port) answers.
pub(super) async fn status(authority: &str) -> Result<Value, String> {
    match tokio::time::timeout(PATIENCE, get(authority)).await {
        Ok(answer) => answer.map_err(|error| format!("{authority}: {error}")),
        Err(_) => Err(format!(
            "{authority}: no answer within {} s",
            PATIENCE.as_secs()
        )),
    }
}

async fn get(authority: &str) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
    let stream = tokio::net::TcpStream::connect(authority).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut request = http::Request::get(tombolo_api::STATUS_PATH)
        .header("host", authority)
        .body(Empty::<bytes::Bytes>::new())?;
    crate::command::sign(&mut request, b"")?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), LARGEST)
        .collect()
        .await?
        .to_bytes();
    if !status.is_success() {
        return Err(crate::command::refusal(status, &body).into());
    }
    Ok(serde_json::from_slice(&body)?)
}
