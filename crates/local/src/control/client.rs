//! The other end of the control socket, for the command line and for tests.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::Stream;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::exec;
use super::run_dir;
use super::types::*;

/// Bytes of an answer that is read whole.
const LARGEST: usize = 64 << 20;

/// Talks to one runtime. Each call is a connection of its own: calls are rare and come from people.
#[derive(Debug, Clone)]
pub struct Client {
    dir: PathBuf,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody is there.
    #[error("no runtime named {name} is up; start one with `tombolo up{}`", if name == "default" { String::new() } else { format!(" --name {name}") })]
    NotRunning {
        /// The name looked for.
        name: String,
    },
    /// The runtime refused.
    #[error("{}", refused(.0))]
    Refused(Refusal),
    /// The connection broke.
    #[error("the runtime does not answer: {0}")]
    Broken(String),
}

fn refused(refusal: &Refusal) -> String {
    let mut text = refusal.message.clone();
    for problem in &refusal.problems {
        text.push('\n');
        text.push_str(problem);
    }
    text
}

fn broken(error: impl std::fmt::Display) -> Error {
    Error::Broken(error.to_string())
}

impl Client {
    /// The runtime of this name.
    ///
    /// # Errors
    /// [`Error::NotRunning`] when nobody answers there.
    pub fn find(name: &str) -> Result<Self, Error> {
        let dir = run_dir::of(name).map_err(Error::Broken)?;
        if !run_dir::alive(&dir) {
            return Err(Error::NotRunning {
                name: name.to_owned(),
            });
        }
        Ok(Self { dir })
    }

    /// The runtime whose sockets are in `dir`.
    pub fn at(dir: &Path) -> Self {
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
        let name = || {
            self.dir
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        };
        let stream = UnixStream::connect(self.dir.join(run_dir::CONTROL)).await;
        let stream = stream.map_err(|_| Error::NotRunning { name: name() })?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "tombolo")
            .header("content-type", "application/json");
        let response = sender
            .send_request(request.body(Full::new(body)).map_err(broken)?)
            .await
            .map_err(broken)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = Limited::new(response.into_body(), LARGEST)
            .collect()
            .await
            .map_err(broken)?
            .to_bytes();
        Err(Error::Refused(
            serde_json::from_slice(&body).unwrap_or_else(|_| Refusal {
                message: format!("{status}: {}", String::from_utf8_lossy(&body)),
                problems: Vec::new(),
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
        if response.status() == StatusCode::NO_CONTENT {
            return serde_json::from_str("null").map_err(broken);
        }
        let body = Limited::new(response.into_body(), LARGEST)
            .collect()
            .await
            .map_err(broken)?
            .to_bytes();
        serde_json::from_slice(&body).map_err(broken)
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        let body = serde_json::to_vec(body).map_err(broken)?;
        self.call(Method::POST, path, body.into()).await
    }

    /// Who and where it is.
    ///
    /// # Errors
    /// As every call: see [`Error`].
    pub async fn info(&self) -> Result<Info, Error> {
        self.call(Method::GET, "/v1/info", Bytes::new()).await
    }

    /// How it goes.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn status(&self) -> Result<Status, Error> {
        self.call(Method::GET, "/v1/status", Bytes::new()).await
    }

    /// Objects by kind, namespace, name and labels; one entry for each cluster that was asked.
    ///
    /// # Errors
    /// Refused for a kind or cluster that does not exist, and for a name that nothing has.
    pub async fn list(&self, query: &Query) -> Result<Vec<ClusterObjects>, Error> {
        self.post("/v1/objects", query).await
    }

    /// Applies manifests, all or nothing.
    ///
    /// # Errors
    /// Refused with every problem, each with file and line.
    pub async fn apply(&self, apply: &Apply) -> Result<ApplyReply, Error> {
        self.post("/v1/apply", apply).await
    }

    /// Deletes objects; the names of those that were there, as `kubectl` writes them.
    ///
    /// # Errors
    /// Refused when the question is not understood.
    pub async fn delete(&self, delete: &Delete) -> Result<Vec<String>, Error> {
        self.post("/v1/delete", delete).await
    }

    /// Changes the number of pods of a Deployment.
    ///
    /// # Errors
    /// Refused when there is no such Deployment.
    pub async fn scale(&self, scale: &Scale) -> Result<(), Error> {
        self.post("/v1/scale", scale).await
    }

    /// The bytes of a log, as they come.
    ///
    /// # Errors
    /// Refused when there is no such pod, container or earlier run.
    pub async fn logs(
        &self,
        query: &LogQuery,
    ) -> Result<impl Stream<Item = Result<Bytes, Error>> + Unpin + use<>, Error> {
        let body = serde_json::to_vec(query).map_err(broken)?;
        let response = self.send(Method::POST, "/v1/logs", body.into()).await?;
        Ok(Box::pin(futures::stream::unfold(
            response.into_body(),
            |mut body| async {
                loop {
                    match body.frame().await? {
                        Ok(frame) => match frame.into_data() {
                            Ok(data) => return Some((Ok(data), body)),
                            Err(_) => continue,
                        },
                        Err(error) => return Some((Err(broken(error)), body)),
                    }
                }
            },
        )))
    }

    /// The rules between clusters.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn rules(&self) -> Result<Vec<RuleView>, Error> {
        self.call(Method::GET, "/v1/rules", Bytes::new()).await
    }

    /// Opens ports of one cluster to another.
    ///
    /// # Errors
    /// Refused for clusters that do not exist.
    pub async fn allow(&self, opening: &Opening) -> Result<(), Error> {
        self.post("/v1/rules/allow", opening).await
    }

    /// Closes ports of one cluster to another.
    ///
    /// # Errors
    /// Refused for clusters that do not exist.
    pub async fn deny(&self, opening: &Opening) -> Result<(), Error> {
        self.post("/v1/rules/deny", opening).await
    }

    /// Asks the runtime to stop; it is gone a moment later.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn stop(&self) -> Result<(), Error> {
        self.post("/v1/stop", &()).await
    }

    /// Runs a program in a container with this process' standard input, output and error; its exit code.
    /// Signals given to `signals` by number reach it.
    ///
    /// # Errors
    /// Refused when there is no such pod, container or program.
    pub async fn exec(
        &self,
        query: &ExecQuery,
        signals: tokio::sync::mpsc::Receiver<i32>,
    ) -> Result<i32, Error> {
        exec::run(&self.dir.join(run_dir::EXEC), query, signals).await
    }
}
