//! Exporting from a running server, and importing into it.

use super::Refusal;
use crate::command::server::operator::{EXPORT_PATH, IMPORT_PATH};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::{io::Write, net::SocketAddr, time::Duration};

const CONNECT: Duration = Duration::from_secs(5);

type Result<T> = std::result::Result<T, String>;

pub(super) async fn export(server: SocketAddr, out: &mut impl Write) -> Result<()> {
    let request = Request::get(EXPORT_PATH).body(Full::default());
    let mut response = send(server, request).await?;
    if response.status() != StatusCode::OK {
        let status = response.status();
        return Err(format!("{server}: {status}"));
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
    server: SocketAddr,
    text: String,
    overwrite: bool,
) -> std::result::Result<u64, Refusal> {
    let path = format!("{IMPORT_PATH}?overwrite={overwrite}");
    let request = Request::post(path).body(Full::new(Bytes::from(text)));
    let answer = async {
        let response = send(server, request).await?;
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

async fn send(
    server: SocketAddr,
    request: std::result::Result<Request<Full<Bytes>>, http::Error>,
) -> Result<Response<Incoming>> {
    let failed = |error: &dyn std::fmt::Display| format!("{server}: {error}");
    let mut request = request.map_err(|error| failed(&error))?;
    let host = server.to_string().parse().expect("an address is a header");
    request.headers_mut().insert(http::header::HOST, host);
    let connect = tokio::net::TcpStream::connect(server);
    let stream = tokio::time::timeout(CONNECT, connect)
        .await
        .map_err(|_| failed(&"no answer"))?
        .map_err(|error| failed(&error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(&error))?;
    tokio::spawn(connection);
    sender
        .send_request(request)
        .await
        .map_err(|error| failed(&error))
}
