//! Exporting from a running server, and importing into it.

use super::Refusal;
use crate::command::{
    call::{refusal, send},
    server::operator::{EXPORT_PATH, IMPORT_PATH},
};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use std::io::Write;
use tombolo_api::client::Endpoint;

type Result<T> = std::result::Result<T, String>;

pub(super) async fn export(server: &Endpoint, out: &mut impl Write) -> Result<()> {
    let mut response = send(server, Request::get(EXPORT_PATH), Bytes::new()).await?;
    if response.status() != StatusCode::OK {
        let status = response.status();
        let body = response.into_body().collect().await;
        let body = body.map_or_else(|_| Bytes::new(), |body| body.to_bytes());
        return Err(format!("{server}: {}", refusal(status, &body)));
    }
    while let Some(frame) = response.body_mut().frame().await {
        let frame = frame.map_err(|error| format!("{server}: the export broke off: {error}"))?;
        if let Ok(data) = frame.into_data() {
            out.write_all(&data).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

pub(super) async fn import(
    server: &Endpoint,
    text: String,
    overwrite: bool,
) -> std::result::Result<u64, Refusal> {
    let path = format!("{IMPORT_PATH}?overwrite={overwrite}");
    let answer = async {
        let response = send(server, Request::post(path), Bytes::from(text)).await?;
        let status = response.status();
        let body = response.into_body().collect().await;
        let body = body.map_err(|error| format!("{server}: {error}"))?;
        let json: Value =
            serde_json::from_slice(&body.to_bytes()).map_err(|_| format!("{server}: {status}"))?;
        Ok((status, json))
    };
    let (status, json) = answer.await.map_err(Refusal::Other)?;
    let message = || json["message"].as_str().unwrap_or_default().to_owned();
    match (status, json["problems"].as_array()) {
        (StatusCode::OK, _) => Ok(json["revision"].as_u64().unwrap_or_default()),
        (_, Some(problems)) => Err(Refusal::Text(
            problems
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
        )),
        (StatusCode::CONFLICT, None) => Err(Refusal::NotEmpty(message())),
        _ => Err(Refusal::Other(format!("{server}: {}", message()))),
    }
}
