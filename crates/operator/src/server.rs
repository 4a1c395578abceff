//! The routes of `/tombolo/v1`.

use crate::{
    EXPORT_PATH, ErrorBody, IMPORT_PATH, ImportError, Imported, OPENAPI_PATH, STATUS_PATH, Status,
    backup,
};
use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Query, Request, State, rejection::QueryRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use std::io;
use tokio::sync::mpsc;
use tombolo_store::Store;

/// Maximum bytes of an import: about two million instances.
const MAX_IMPORT: usize = 1 << 30;
/// Bytes of an export that are sent at once, and maximum chunks that wait for a slow reader.
const CHUNK: usize = 64 << 10;
const MAX_CHUNKS: usize = 16;

/// The routes; `status` is called at each status request.
pub fn routes(store: Store, status: impl Fn() -> Status + Clone + Send + Sync + 'static) -> Router {
    let openapi = include_str!("../../../docs/reference/openapi.json");
    let json = [(header::CONTENT_TYPE, "application/json")];
    Router::new()
        .route(EXPORT_PATH, get(export))
        .route(IMPORT_PATH, post(import))
        .with_state(store)
        .route(STATUS_PATH, get(async move || Json(status())))
        .route(OPENAPI_PATH, get(async move || (json, openapi)))
}

/// Streams the text; it is never in memory as a whole.
async fn export(State(store): State<Store>) -> Response {
    let (chunks, mut written) = mpsc::channel(MAX_CHUNKS);
    tokio::task::spawn_blocking(move || {
        let state = tombolo_store::FullState::of(&store.view());
        let mut out = io::BufWriter::with_capacity(CHUNK, ChunkWriter(chunks));
        let written = tombolo_store::export::write(&state, &mut out)
            .and_then(|()| io::Write::flush(&mut out));
        if let Err(error) = written {
            tracing::debug!(%error, "an export was not read to its end");
        }
    });
    let stream = futures::stream::poll_fn(move |context| {
        let chunk = written.poll_recv(context);
        chunk.map(|chunk| chunk.map(Ok::<Bytes, io::Error>))
    });
    let mut response = Body::from_stream(stream).into_response();
    let kind = HeaderValue::from_static("application/yaml");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

struct ChunkWriter(mpsc::Sender<Bytes>);

impl io::Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Bytes::copy_from_slice(bytes));
        sent.map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Deserialize)]
struct ImportQuery {
    #[serde(default)]
    overwrite: bool,
}

async fn import(
    State(store): State<Store>,
    query: Result<Query<ImportQuery>, QueryRejection>,
    request: Request,
) -> Result<Json<Imported>, Response> {
    let query = query.map_err(|error| error_response(INVALID, error.body_text(), Vec::new()))?;
    let Query(ImportQuery { overwrite }) = query;
    let imported = match axum::body::to_bytes(request.into_body(), MAX_IMPORT).await {
        Ok(body) => backup::import(&store, body.into(), overwrite).await,
        Err(error) => Err(ImportError::Invalid(vec![format!("1: {error}")])),
    };
    match imported {
        Ok(revision) => {
            tracing::warn!(revision, overwrite, "a state was imported");
            Ok(Json(Imported { revision }))
        }
        Err(ImportError::Invalid(problems)) => {
            let message = "the text cannot be imported".into();
            Err(error_response(INVALID, message, problems))
        }
        Err(error @ ImportError::NotEmpty(_)) => {
            Err(error_response(NOT_EMPTY, error.to_string(), Vec::new()))
        }
        Err(error @ ImportError::Unavailable(_)) => {
            Err(error_response(UNAVAILABLE, error.to_string(), Vec::new()))
        }
    }
}

/// Error codes.
const INVALID: &str = "ValidationException";
pub(crate) const NOT_EMPTY: &str = "ConflictException";
const UNAVAILABLE: &str = "ServiceUnavailableException";

/// An error in the form of the API server's (`ErrorBody`).
fn error_response(code: &'static str, message: String, problems: Vec<String>) -> Response {
    let status = match code {
        NOT_EMPTY => StatusCode::CONFLICT,
        UNAVAILABLE => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    };
    let headers = [("x-amzn-errortype", code)];
    let code = code.to_owned();
    let body = ErrorBody {
        code,
        message,
        problems,
    };
    (status, headers, Json(body)).into_response()
}
