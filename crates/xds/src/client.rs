//! The xDS client of a proxy: a delta stream that reconnects by itself and delivers complete, consistent updates.
//!
//! The client subscribes to all clusters and listeners and to the resources that they refer to, waits until an update
//! is complete across kinds, and turns the consumer's answer into ACK and NACK. While there is no control plane, the
//! proxy keeps its configuration.

mod connect;
mod run;
pub mod session;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tombolo_telemetry::supervisor::Delays;

pub use connect::{ConnectError, Connector, Server, read_token};
pub use session::Rejection;

use crate::node::Node;
use crate::resource::{Kind, Resource};
use crate::snapshot::Snapshot;

/// The address of the control plane, the identity of the proxy, and timing.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// `host:port`, `http://host:port`, `https://host:port` or `unix:///path`.
    pub endpoint: String,
    /// PEM file of the authorities of the server's certificate, for `https`; the system's where absent. It is read
    /// at each connection, since certificates are renewed.
    pub authorities: Option<PathBuf>,
    /// The identity of this proxy.
    pub node: Node,
    /// The configuration that the proxy already has, such as the last good one from disk: the server sends only
    /// the differences.
    pub initial: Snapshot,
    /// The delays between attempts to connect; they start again after each success. Their jitter spreads the reconnects
    /// of many proxies.
    pub delays: Delays,
    /// The wait after each response for further ones, so that resources that are sent together are applied together.
    pub debounce: Duration,
    /// The longest wait of an update for the resources that it refers to. After that it is delivered without them: a
    /// partial configuration is better than none.
    pub completion_timeout: Duration,
    /// The timeout of opening a stream. Some servers open it with the first response only.
    pub open_timeout: Duration,
    /// A file whose content is sent as the bearer token. It is read for each connection, because such tokens rotate.
    pub token_file: Option<PathBuf>,
    /// The interval of HTTP/2 pings, and the timeout of each.
    pub keepalive: Duration,
    /// The largest response that is accepted, in bytes.
    pub max_message_bytes: usize,
}

impl ClientOptions {
    /// Options with the default timing.
    pub fn new(endpoint: impl Into<String>, node: Node) -> ClientOptions {
        ClientOptions {
            endpoint: endpoint.into(),
            authorities: None,
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

/// A running client, from which updates are received in order. Dropping it ends the client.
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
    /// If the endpoint in the options is not valid.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn start(options: ClientOptions) -> Result<Client, InvalidEndpoint> {
        let endpoint = run::endpoint(&options)?;
        let (report, status) = watch::channel(Status::default());
        // One update at a time: the next one depends on the answer to this one.
        let (sender, updates) = mpsc::channel(1);
        tokio::spawn(run::run(endpoint, options, report, sender));
        Ok(Client { updates, status })
    }

    /// The next update. `None` only when the runtime shuts down or the client's task panicked:
    /// a lost control plane makes the client try again, not end. Cancel safe.
    pub async fn next(&mut self) -> Option<Update> {
        self.updates.recv().await
    }

    /// Subscribes to the state of the connection.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }
}

/// The state of a client's connection.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// Whether a stream is open and has answered.
    pub connected: bool,
    /// Attempts to connect since the last success.
    pub attempts: u32,
    /// The reason why the last stream or attempt failed.
    pub last_error: Option<String>,
}

/// A complete change of the proxy's configuration. Answer it with [`Update::accept`] or [`Update::reject`]; dropping it
/// unanswered rejects every resource in it.
#[derive(Debug)]
pub struct Update {
    /// The proxy's full configuration once it has adopted this update.
    pub snapshot: Arc<Snapshot>,
    /// The resources that are new or have a new version, in [`Kind::PUSH_ORDER`].
    pub changed: Vec<Arc<Resource>>,
    /// The removed resources, in [`Kind::REMOVAL_ORDER`].
    pub removed: Vec<(Kind, Arc<str>)>,
    answer: oneshot::Sender<Vec<Rejection>>,
}

impl Update {
    /// Acknowledges the update: all of it was adopted.
    pub fn accept(self) {
        self.reject(Vec::new());
    }

    /// Acknowledges the update except for these resources. The proxy keeps their previous version, or none if they are
    /// new. An empty list accepts everything. Removals cannot be rejected.
    pub fn reject(self, rejections: Vec<Rejection>) {
        // The client is gone only when the runtime shuts down.
        let _ = self.answer.send(rejections);
    }
}

/// The endpoint in the options is not valid.
#[derive(Debug, thiserror::Error)]
#[error(
    "{endpoint:?} is not an xDS endpoint: {reason}; use host:port, http://host:port, https://host:port or unix:///path"
)]
pub struct InvalidEndpoint {
    /// The endpoint as it was configured.
    pub endpoint: String,
    /// The error, for the operator.
    pub reason: String,
}
