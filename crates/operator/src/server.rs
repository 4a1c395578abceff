//! The routes of `/tombolo/v1`.

use crate::{
    EXPORT_PATH, IMPORT_PATH, ImportError, Imported, OPENAPI_PATH, Refusal, STATUS_PATH, Status,
    backup,
};
use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Query, Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use std::{collections::HashMap, io};
use tokio::sync::mpsc;
use tombolo_store::Store;

/// Largest import in bytes: about two million instances.
const MAX_IMPORT: usize = 1 << 30;
/// Bytes of an export that are sent at once, and how many such chunks may wait for a slow reader.
const CHUNK: usize = 64 << 10;
const MAX_CHUNKS: usize = 16;

/// The routes: `status` is asked at each request for the state of the server.
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

/// Streams the text; it is never in memory at once.
async fn export(State(store): State<Store>) -> Response {
    let (chunks, mut written) = mpsc::channel(MAX_CHUNKS);
    tokio::task::spawn_blocking(move || {
        let state = tombolo_store::State::of(&store.view());
        let mut out = io::BufWriter::with_capacity(CHUNK, ChunkWriter(chunks));
        let written =
            tombolo_store::dump::write(&state, &mut out).and_then(|()| io::Write::flush(&mut out));
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

async fn import(
    State(store): State<Store>,
    Query(query): Query<HashMap<String, String>>,
    request: Request,
) -> Response {
    let overwrite = query.get("overwrite").is_some_and(|value| value == "true");
    let imported = match axum::body::to_bytes(request.into_body(), MAX_IMPORT).await {
        Ok(body) => backup::import(&store, body.into(), overwrite).await,
        Err(error) => Err(ImportError::Invalid(vec![format!("1: {error}")])),
    };
    let (status, refusal) = match imported {
        Ok(revision) => {
            tracing::warn!(revision, overwrite, "a state was imported");
            return Json(Imported { revision }).into_response();
        }
        Err(ImportError::Invalid(problems)) => {
            let message = "the text cannot be imported".into();
            (StatusCode::BAD_REQUEST, Refusal { message, problems })
        }
        Err(error @ ImportError::NotEmpty(_)) => (StatusCode::CONFLICT, refusal(&error)),
        Err(error @ ImportError::Unavailable(_)) => {
            (StatusCode::SERVICE_UNAVAILABLE, refusal(&error))
        }
    };
    (status, Json(refusal)).into_response()
}

fn refusal(error: &ImportError) -> Refusal {
    Refusal {
        message: error.to_string(),
        problems: Vec::new(),
    }
}
