//! Gets a small document from the server of an issuer: once, without redirections.

use crate::client::Endpoint;
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{io::AsyncReadExt, time::timeout};

/// Deadline of a document.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The largest document in bytes: a hundred keys of 4096 bits take less.
const MAX_DOCUMENT: usize = 256 << 10;

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("{}", .0.display())]
    File(PathBuf, #[source] io::Error),
    #[error("{0} is longer than 256 KiB")]
    TooLong(String),
    #[error("{0} is not a URL")]
    Url(String),
    #[error(transparent)]
    Endpoint(#[from] crate::client::Error),
    #[error("{0}: nothing within 5 s")]
    Late(String),
    #[error("{0}")]
    Connect(String, #[source] io::Error),
    #[error("{0}")]
    Http(String, #[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("{0} answers {1}")]
    Status(String, StatusCode),
    #[error("the token in {} is no text for a header", .0.display())]
    Token(PathBuf),
}

/// Reads a file.
pub(super) async fn file(path: &Path) -> Result<Vec<u8>, FetchError> {
    let failed = |error| FetchError::File(path.to_owned(), error);
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let mut bytes = Vec::new();
    let mut limited = file.take(MAX_DOCUMENT as u64 + 1);
    limited.read_to_end(&mut bytes).await.map_err(failed)?;
    match bytes.len() > MAX_DOCUMENT {
        true => Err(FetchError::TooLong(path.display().to_string())),
        false => Ok(bytes),
    }
}

/// Gets a document. `authorities` is a PEM file of certificate authorities, in place of the system's; `token` a file
/// whose content is sent as bearer token.
pub(super) async fn url(
    url: &str,
    authorities: Option<&Path>,
    token: Option<&Path>,
) -> Result<Vec<u8>, FetchError> {
    let late = |_| FetchError::Late(url.to_owned());
    let got = timeout(TIMEOUT, get(url, authorities, token)).await;
    got.map_err(late)?
}

async fn get(
    url: &str,
    authorities: Option<&Path>,
    token: Option<&Path>,
) -> Result<Vec<u8>, FetchError> {
    let uri: Uri = url.parse().map_err(|_| FetchError::Url(url.to_owned()))?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(FetchError::Url(url.to_owned()));
    };
    let endpoint = Endpoint::with_authorities(&format!("{scheme}://{authority}"), authorities)?;
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let mut request = Request::get(target)
        .header(header::HOST, authority.as_str())
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, "tombolo")
        .body(Empty::<Bytes>::new())
        .map_err(|_| FetchError::Url(url.to_owned()))?;
    if let Some(path) = token {
        let text = String::from_utf8_lossy(&file(path).await?).into_owned();
        let value = HeaderValue::from_str(&format!("Bearer {}", text.trim()));
        let mut value = value.map_err(|_| FetchError::Token(path.to_owned()))?;
        value.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    let stream = endpoint.connect().await;
    let stream = stream.map_err(|error| FetchError::Connect(url.to_owned(), error))?;
    let failed =
        |error: Box<dyn std::error::Error + Send + Sync>| FetchError::Http(url.to_owned(), error);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(error.into()))?;
    let exchange = async {
        let response = sender.send_request(request).await;
        let response = response.map_err(|error| failed(error.into()))?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(url.to_owned(), response.status()));
        }
        let body = Limited::new(response.into_body(), MAX_DOCUMENT)
            .collect()
            .await;
        Ok(body.map_err(failed)?.to_bytes().to_vec())
    };
    // The connection moves while the exchange waits, and is dropped with it.
    let connection = async {
        let _ = connection.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        got = exchange => got,
        () = connection => unreachable!("it is pending after its end"),
    }
}
