//! What operators ask a running server beside its status: the whole state, out and in.

use crate::command::dump::{self, Refusal};
use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Query, Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::json;
use std::{collections::HashMap, io};
use tokio::sync::mpsc;
use tombolo_store::Store;

/// The whole state as YAML.
pub(crate) const EXPORT_PATH: &str = "/tombolo/v1/export";
/// Takes such YAML; `?overwrite=true` throws away what is there.
pub(crate) const IMPORT_PATH: &str = "/tombolo/v1/import";

/// Bytes of an export that is taken: about two million instances.
const LARGEST: usize = 1 << 30;
/// Bytes that are handed over at once, and how many of these may wait for a slow reader.
const PIECE: usize = 64 << 10;
const PIECES: usize = 16;

pub(super) fn routes(store: Store) -> Router {
    Router::new()
        .route(EXPORT_PATH, get(export))
        .route(IMPORT_PATH, post(import))
        .with_state(store)
}

/// The text is made as it is read: it is never in memory as a whole.
async fn export(State(store): State<Store>) -> Response {
    let (pieces, written) = mpsc::channel(PIECES);
    tokio::task::spawn_blocking(move || {
        let state = tombolo_store::State::of(&store.view());
        let mut out = io::BufWriter::with_capacity(PIECE, Pieces(pieces));
        // An error: the reader went away.
        let _ =
            tombolo_store::dump::write(&state, &mut out).and_then(|()| io::Write::flush(&mut out));
    });
    let stream = futures::stream::unfold(written, |mut written| async move {
        let piece = written.recv().await?;
        Some((Ok::<Bytes, io::Error>(piece), written))
    });
    let mut response = Body::from_stream(stream).into_response();
    let kind = HeaderValue::from_static("application/yaml");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

struct Pieces(mpsc::Sender<Bytes>);

impl io::Write for Pieces {
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
    let imported = async {
        let body = axum::body::to_bytes(request.into_body(), LARGEST).await;
        let body = body.map_err(|error| Refusal::Text(vec![format!("1: {error}")]))?;
        let read = tokio::task::spawn_blocking(move || match std::str::from_utf8(&body) {
            Ok(text) => dump::read(text),
            Err(error) => {
                let before = &body[..error.valid_up_to()];
                let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
                Err(Refusal::Text(vec![format!(
                    "{line}: this is not UTF-8 text"
                )]))
            }
        });
        let state = read
            .await
            .map_err(|error| Refusal::Other(error.to_string()))??;
        dump::replace(&store, state, overwrite).await
    };
    match imported.await {
        Ok(revision) => {
            tracing::warn!(revision, overwrite, "a state was imported");
            Json(json!({"revision": revision})).into_response()
        }
        Err(Refusal::Text(problems)) => {
            let body = json!({"message": "the text cannot be imported", "problems": problems});
            (StatusCode::BAD_REQUEST, Json(body)).into_response()
        }
        Err(Refusal::NotEmpty(why)) => {
            (StatusCode::CONFLICT, Json(json!({"message": why}))).into_response()
        }
        Err(Refusal::Other(why)) => (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({"message": why})),
        )
            .into_response(),
    }
}
