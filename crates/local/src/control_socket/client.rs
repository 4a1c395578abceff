//! The client of the control socket.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use http::{Method, Request};
use http_body_util::{BodyDataStream, BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::exec_fd_passing;
use super::run_dir::{self, RunDirError};
use super::types::*;

/// Maximum bytes of an answer that is read as a whole.
const MAX_ANSWER: usize = 64 << 20;

/// Talks to one runtime. Each call uses a connection of its own: calls are rare and come from people.
///
/// # Errors
/// Every call fails when the runtime does not answer, and with [`Error::Refused`] when its arguments are invalid or
/// name something that does not exist.
#[derive(Debug, Clone)]
pub struct Client {
    dir: PathBuf,
}

/// The reason why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No runtime answers.
    #[error("no runtime named {name} is up; start one with `tombolo up{}`", if name == "default" { String::new() } else { format!(" --name {name}") })]
    NotRunning {
        /// The name of the runtime.
        name: String,
    },
    /// The name is not valid for a runtime.
    #[error(transparent)]
    Name(#[from] RunDirError),
    /// The runtime refused the request.
    #[error(transparent)]
    Refused(ErrorResponse),
    /// The socket failed.
    #[error("the runtime does not answer: {0}")]
    Io(#[from] io::Error),
    /// The connection broke.
    #[error("the runtime does not answer: {0}")]
    Http(#[from] hyper::Error),
    /// The request cannot be made.
    #[error("the runtime does not answer: {0}")]
    Request(#[from] http::Error),
    /// The answer broke, or is too long.
    #[error("the runtime does not answer: {0}")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer is not understood.
    #[error("the runtime does not answer: {0}")]
    Json(#[from] serde_json::Error),
    /// The runtime ended while a program ran.
    #[error("the runtime does not answer: the runtime ended")]
    Ended,
}

impl Client {
    /// The runtime of this name.
    ///
    /// # Errors
    /// [`Error::NotRunning`] when none answers.
    pub fn find(name: &str) -> Result<Self, Error> {
        let dir = run_dir::of(name)?;
        if !run_dir::alive(&dir) {
            let name = name.to_owned();
            return Err(Error::NotRunning { name });
        }
        Ok(Self { dir })
    }

    /// The runtime whose sockets are in `dir`.
    pub(crate) fn at(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<http::Response<Incoming>, Error> {
        let Ok(stream) = UnixStream::connect(self.dir.join(run_dir::CONTROL)).await else {
            let name = self.dir.file_name().unwrap_or_default();
            let name = name.to_string_lossy().into_owned();
            return Err(Error::NotRunning { name });
        };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "tombolo")
            .header("content-type", "application/json")
            .body(Full::new(body))?;
        let response = sender.send_request(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = read_body(response).await?;
        Err(Error::Refused(
            serde_json::from_slice(&body).unwrap_or_else(|_| {
                ErrorResponse::new(format!("{status}: {}", String::from_utf8_lossy(&body)))
            }),
        ))
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, Error> {
        let response = self.send(method, path, body).await?;
        Ok(serde_json::from_slice(&read_body(response).await?)?)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        let body = serde_json::to_vec(body)?;
        self.call(Method::POST, path, body.into()).await
    }

    /// Names, addresses and clusters of the runtime.
    pub async fn info(&self) -> Result<Info, Error> {
        self.get("/v1/info").await
    }

    /// Workloads, pods and problems.
    pub async fn status(&self) -> Result<Status, Error> {
        self.get("/v1/status").await
    }

    /// Objects by kind, namespace, name and labels; one entry for each cluster that was asked.
    pub async fn list(&self, query: &Query) -> Result<Vec<ClusterObjects>, Error> {
        self.post("/v1/objects", query).await
    }

    /// Applies manifests, all or none. The error lists every problem, each with file and line.
    pub async fn apply(&self, apply: &Apply) -> Result<ApplyReply, Error> {
        self.post("/v1/apply", apply).await
    }

    /// Deletes objects; the names of those that were there, as `kubectl` writes them.
    pub async fn delete(&self, delete: &Delete) -> Result<Vec<String>, Error> {
        self.post("/v1/delete", delete).await
    }

    /// Changes the number of pods of a Deployment.
    pub async fn scale(&self, scale: &Scale) -> Result<(), Error> {
        self.post("/v1/scale", scale).await
    }

    /// The bytes of a log as they are written.
    pub async fn logs(
        &self,
        query: &LogQuery,
    ) -> Result<impl Stream<Item = Result<Bytes, Error>> + Unpin + use<>, Error> {
        let body = serde_json::to_vec(query)?;
        let response = self.send(Method::POST, "/v1/logs", body.into()).await?;
        Ok(BodyDataStream::new(response.into_body()).map_err(Error::from))
    }

    /// The rules between clusters.
    pub async fn rules(&self) -> Result<Vec<RuleView>, Error> {
        self.get("/v1/rules").await
    }

    /// Opens ports of a cluster to another.
    pub async fn allow(&self, rule: &PortRule) -> Result<(), Error> {
        self.post("/v1/rules/allow", rule).await
    }

    /// Closes ports of a cluster to another.
    pub async fn deny(&self, rule: &PortRule) -> Result<(), Error> {
        self.post("/v1/rules/deny", rule).await
    }

    /// Asks the runtime to stop; does not wait for that.
    pub async fn stop(&self) -> Result<(), Error> {
        self.post("/v1/stop", &()).await
    }

    /// Runs a program in a container with this process' standard input, output and error; its exit code. Signal
    /// numbers sent to `signals` are forwarded to it.
    pub async fn exec(
        &self,
        query: &ExecQuery,
        signals: tokio::sync::mpsc::Receiver<i32>,
    ) -> Result<i32, Error> {
        exec_fd_passing::run(&self.dir.join(run_dir::EXEC), query, signals).await
    }
}

async fn read_body(response: http::Response<Incoming>) -> Result<Bytes, Error> {
    let body = Limited::new(response.into_body(), MAX_ANSWER)
        .collect()
        .await;
    Ok(body.map_err(Error::Body)?.to_bytes())
}
