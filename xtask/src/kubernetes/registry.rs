//! A registry that is only read: it answers for every registry's name, so that manifests run unchanged.

use super::{images::Images, network::MACHINE};
use crate::{
    image::oci::{Blobs, MANIFEST},
    process::Result,
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::{convert::Infallible, sync::Arc};
use tokio::{net::TcpListener, sync::Mutex};

/// Where it listens, on the machine's address.
pub(super) const PORT: u16 = 5000;
const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// Listens, and answers from then on.
pub(super) async fn start(images: Images) -> Result<()> {
    let listener = TcpListener::bind((MACHINE, PORT)).await;
    let listener = listener.map_err(|error| format!("{MACHINE}:{PORT}: {error}"))?;
    let registry = Arc::new(Registry {
        blobs: images.blobs(),
        images: Mutex::new(images),
    });
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                continue;
            };
            let registry = registry.clone();
            let service = service_fn(move |request| {
                let registry = registry.clone();
                async move { Ok::<_, Infallible>(registry.answer(request).await) }
            });
            tokio::spawn(async move {
                // A client that leaves is no fault of ours.
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    Ok(())
}

struct Registry {
    blobs: Blobs,
    /// Held while an image is made, so that none is made twice.
    images: Mutex<Images>,
}

/// What a path of the distribution API asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked<'a> {
    Version,
    /// By tag or by digest.
    Manifest(&'a str, &'a str),
    Blob(&'a str),
}

impl<'a> Asked<'a> {
    fn read(path: &'a str) -> Option<Self> {
        let rest = path.strip_prefix("/v2")?.trim_matches('/');
        if rest.is_empty() {
            return Some(Self::Version);
        }
        let (before, reference) = rest.rsplit_once('/')?;
        let (repository, kind) = before.rsplit_once('/')?;
        match kind {
            "manifests" => Some(Self::Manifest(repository, reference)),
            "blobs" => Some(Self::Blob(reference)),
            _ => None,
        }
    }
}

type Answer = Response<Full<Bytes>>;

impl Registry {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            return refusal(StatusCode::METHOD_NOT_ALLOWED, "this registry is only read");
        }
        let path = request.uri().path();
        let answer = match Asked::read(path) {
            Some(Asked::Version) => answer("application/json", None, Bytes::from_static(b"{}")),
            Some(Asked::Manifest(repository, reference)) => {
                self.manifest(repository, reference).await
            }
            Some(Asked::Blob(digest)) => self.blob(digest, "application/octet-stream").await,
            None => refusal(StatusCode::NOT_FOUND, path),
        };
        eprintln!("registry: {} {path}: {}", request.method(), answer.status());
        if request.method() == Method::HEAD {
            // Its length stays that of the body which it is asked about.
            return answer.map(|_| Full::default());
        }
        answer
    }

    async fn manifest(&self, repository: &str, reference: &str) -> Answer {
        if reference.starts_with("sha256:") {
            return self.blob(reference, MANIFEST).await;
        }
        let mut images = self.images.lock().await;
        let made = tokio::task::block_in_place(|| images.manifest(repository));
        drop(images);
        match made {
            Ok(Some(manifest)) => {
                self.blob(&format!("sha256:{}", manifest.digest), MANIFEST)
                    .await
            }
            Ok(None) => refusal(
                StatusCode::NOT_FOUND,
                &format!("no image is known as {repository}: see xtask/src/kubernetes/images.rs"),
            ),
            Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, &error),
        }
    }

    async fn blob(&self, digest: &str, media_type: &str) -> Answer {
        let name = digest.strip_prefix("sha256:").unwrap_or_default();
        let Some(path) = self.blobs.path(name) else {
            return refusal(StatusCode::BAD_REQUEST, "a digest is sha256 and 64 digits");
        };
        match tokio::fs::read(path).await {
            Ok(bytes) => answer(media_type, Some(digest), bytes.into()),
            Err(_) => refusal(StatusCode::NOT_FOUND, digest),
        }
    }
}

fn answer(media_type: &str, digest: Option<&str>, bytes: Bytes) -> Answer {
    let mut response = Response::builder()
        .header(CONTENT_TYPE, media_type)
        .header(CONTENT_LENGTH, bytes.len());
    if let Some(digest) = digest {
        response = response.header(DIGEST, digest);
    }
    response
        .body(Full::new(bytes))
        .expect("media types and digests are header values")
}

fn refusal(status: StatusCode, why: &str) -> Answer {
    let body = json!({ "errors": [{ "code": "UNKNOWN", "message": why }] });
    let mut answer = answer("application/json", None, body.to_string().into());
    *answer.status_mut() = status;
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_the_distribution_specification_has_them() {
        for (path, asked) in [
            ("/v2/", Some(Asked::Version)),
            ("/v2/pause/manifests/1", Some(Asked::Manifest("pause", "1"))),
            ("/v2/a/b/manifests/v1", Some(Asked::Manifest("a/b", "v1"))),
            ("/v2/a/b/blobs/sha256:00", Some(Asked::Blob("sha256:00"))),
            ("/v2/a/tags/list", None),
            ("/v3/", None),
            ("/", None),
        ] {
            assert_eq!(Asked::read(path), asked, "{path}");
        }
    }
}
