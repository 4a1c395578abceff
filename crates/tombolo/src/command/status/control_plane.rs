//! Asking a control plane how it goes.

use crate::command::call;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Limited};
use serde_json::Value;
use std::time::Duration;
use tombolo_api::client::Endpoint;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How much of an answer is read: ten thousand proxies take about ten megabytes.
const LARGEST: usize = 256 << 20;

/// What the status page of a control plane answers.
pub(super) async fn status(endpoint: &Endpoint) -> Result<Value, String> {
    match tokio::time::timeout(PATIENCE, get(endpoint)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!(
            "{endpoint}: no answer within {} s",
            PATIENCE.as_secs()
        )),
    }
}

async fn get(endpoint: &Endpoint) -> Result<Value, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{endpoint}: {error}");
    let request = Request::get(tombolo_api::STATUS_PATH);
    let response = call::send(endpoint, request, Bytes::new()).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), LARGEST)
        .collect()
        .await
        .map_err(|error| failed(&error))?
        .to_bytes();
    if !status.is_success() {
        return Err(failed(&call::refusal(status, &body)));
    }
    serde_json::from_slice(&body).map_err(|error| failed(&error))
}
