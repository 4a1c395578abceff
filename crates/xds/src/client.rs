//! The client inside a proxy: a delta stream that keeps itself alive and hands over
//! complete, coherent updates.
//!
//! The client subscribes to all clusters and listeners and to what they refer to, waits until an update is complete
//! across kinds, and turns the consumer's verdict into ACK and NACK. A lost control plane changes nothing that
//! the proxy holds.

mod run;
pub mod session;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tombolo_telemetry::supervisor::Delays;

pub use session::Rejection;

use crate::node::Node;
use crate::resource::{Kind, Resource};
use crate::snapshot::Snapshot;

/// How to reach the control plane, and who is calling.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// `host:port` or `http://host:port`.
    pub endpoint: String,
    /// Who this proxy is.
    pub node: Node,
    /// What the proxy already holds, such as its last good configuration from disk: only
    /// what differs from it is sent.
    pub initial: Snapshot,
    /// The pauses between attempts to connect, from the first again after each success. Their jitter keeps ten
    /// thousand proxies from coming back in the same instant.
    pub delays: Delays,
    /// How long to wait for more after something arrived, so that resources which travel
    /// together are applied together.
    pub debounce: Duration,
    /// How long an update may wait for the resources that it refers to. After that it is
    /// handed over without them: half a configuration beats none.
    pub completion_timeout: Duration,
    /// How long the server may take to open a stream. Servers that wait for a configuration
    /// open it with the first response.
    pub open_timeout: Duration,
    /// A file whose content is sent as bearer token. It is read at each connection, since
    /// such tokens rotate.
    pub token_file: Option<PathBuf>,
    /// The interval of HTTP/2 pings; a connection that does not answer within the same
    /// time is given up.
    pub keepalive: Duration,
    /// The largest response that is accepted, in bytes.
    pub max_message_bytes: usize,
}

impl ClientOptions {
    /// Options with the usual timing.
    pub fn new(endpoint: impl Into<String>, node: Node) -> ClientOptions {
        ClientOptions {
            endpoint: endpoint.into(),
            node,
            initial: Snapshot::default(),
            delays: Delays::new()
                .with_min_delay(Duration::from_millis(50))
                .with_max_delay(Duration::from_millis(2500))
                .with_jitter()
                .without_max_times(),
            debounce: Duration::from_millis(2),
            completion_timeout: Duration::from_secs(1),
            open_timeout: Duration::from_secs(30),
            token_file: None,
            keepalive: Duration::from_secs(20),
            max_message_bytes: 64 << 20,
        }
    }
}

/// A running client: its updates in order. It ends when this is dropped.
#[derive(Debug)]
pub struct Client {
    updates: mpsc::Receiver<Update>,
    status: watch::Receiver<Status>,
}

impl Client {
    /// Starts a client as a task of the current tokio runtime.
    ///
    /// # Errors
    ///
    /// The endpoint in the options is not one.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn start(options: ClientOptions) -> Result<Client, InvalidEndpoint> {
        let endpoint = run::endpoint(&options)?;
        let (report, status) = watch::channel(Status::default());
        // One update at a time: the next one is built on the verdict about this one.
        let (sender, updates) = mpsc::channel(1);
        tokio::spawn(run::run(endpoint, options, report, sender));
        Ok(Client { updates, status })
    }

    /// The next update. `None` only when the runtime shuts down or the client's task panicked:
    /// a lost control plane makes the client try again, not end. Cancel safe.
    pub async fn next(&mut self) -> Option<Update> {
        self.updates.recv().await
    }

    /// The state of the connection, to be observed.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }
}

/// How the client is doing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// Whether a stream is open and has answered.
    pub connected: bool,
    /// Attempts to connect since the last success.
    pub attempts: u32,
    /// Why the last stream or attempt failed.
    pub last_error: Option<String>,
}

/// A complete change of what the proxy holds. Answer it with [`Update::accept`] or
/// [`Update::reject`]; one that is dropped unanswered counts as rejected in whole.
#[derive(Debug)]
pub struct Update {
    /// Everything the proxy holds once it has adopted this update.
    pub snapshot: Arc<Snapshot>,
    /// What is new or has a new version, in [`Kind::PUSH_ORDER`].
    pub changed: Vec<Arc<Resource>>,
    /// What is gone, in [`Kind::REMOVAL_ORDER`].
    pub removed: Vec<(Kind, Arc<str>)>,
    verdict: oneshot::Sender<Vec<Rejection>>,
}

impl Update {
    /// Says that all of it was adopted.
    pub fn accept(self) {
        self.reject(Vec::new());
    }

    /// Says that all of it was adopted except for these resources, of which the proxy
    /// keeps the version that it had, or nothing. An empty list accepts everything.
    /// Removals cannot be rejected.
    pub fn reject(self, rejections: Vec<Rejection>) {
        // The client is gone only when the runtime shuts down.
        let _ = self.verdict.send(rejections);
    }
}

/// The endpoint in the options is not one.
#[derive(Debug, thiserror::Error)]
#[error("{endpoint:?} is not an xDS endpoint: {reason}; use host:port or http://host:port")]
pub struct InvalidEndpoint {
    /// What was given.
    pub endpoint: String,
    /// What is wrong with it.
    pub reason: String,
}
