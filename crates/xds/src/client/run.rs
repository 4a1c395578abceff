//! The task of a client: connects, runs the session over a stream, and reconnects.

use std::sync::Arc;
use std::time::Duration;

use backon::BackoffBuilder;
use futures::future::Either;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tombolo_telemetry::{ErrorChain, Outage};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Endpoint;
use tonic::{Request, Streaming};

use super::connect::{ConnectError, Server, read_token};
use super::session::{PendingUpdate, Rejection, Session};
use super::{ClientOptions, InvalidEndpoint, Status, Update};
use crate::envoy::pb::envoy::config::core::v3 as core;
use crate::envoy::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use crate::envoy::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse,
};
use crate::node::ATOMIC_UPDATES;

/// The length of the queue of requests to the server: more than a session ever sends at once. If it stays full for
/// [`SEND_TIMEOUT`], the stream is closed.
const REQUEST_QUEUE: usize = 32;
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The delay between attempts if the delays in the options are finite and used up.
const MAX_PAUSE: Duration = Duration::from_secs(5);

pub(super) fn endpoint(options: &ClientOptions) -> Result<Endpoint, InvalidEndpoint> {
    let given = options.endpoint.trim();
    let invalid = |reason: String| InvalidEndpoint {
        endpoint: given.to_owned(),
        reason,
    };
    let uri = match given.split_once("://") {
        None => format!("http://{given}"),
        Some(("http" | "unix", _)) => given.to_owned(),
        // The transport takes care of TLS itself.
        Some(("https", rest)) => format!("http://{rest}"),
        Some((scheme, _)) => return Err(invalid(format!("unknown scheme {scheme:?}"))),
    };
    let endpoint = Endpoint::from_shared(uri).map_err(|error| invalid(error.to_string()))?;
    if !given.starts_with("unix:") && endpoint.uri().port_u16().is_none() {
        return Err(invalid("there is no port".to_owned()));
    }
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(options.keepalive)
        .keep_alive_timeout(options.keepalive)
        .keep_alive_while_idle(true))
}

/// The reason why a stream could not be opened, or ended.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error("cannot connect")]
    Connect(#[source] tonic::transport::Error),
    /// The transport failed.
    #[error("the connection broke")]
    Broken(#[source] Box<tonic::Status>),
    /// The server ended the stream with a status.
    #[error("{:?}: {}", .0.code(), .0.message())]
    Refused(Box<tonic::Status>),
    #[error("the server closed the stream")]
    Closed,
    #[error("the server takes no requests")]
    Stalled,
    #[error("the server does not answer")]
    Silent,
    #[error(transparent)]
    Token(#[from] ConnectError),
}

impl From<tonic::Status> for StreamError {
    fn from(status: tonic::Status) -> Self {
        match std::error::Error::source(&status) {
            Some(_) => Self::Broken(Box::new(status)),
            None => Self::Refused(Box::new(status)),
        }
    }
}

/// Keeps a stream open until the receiver of updates is dropped.
pub(super) async fn run(
    endpoint: Endpoint,
    options: ClientOptions,
    report: watch::Sender<Status>,
    updates: mpsc::Sender<Update>,
) {
    let mut node = core::Node::from(&options.node);
    node.client_features.push(ATOMIC_UPDATES.to_owned());
    let session = Session::new(node, options.initial.clone());
    let delays = options.delays;
    let mut client = ClientTask {
        options,
        report,
        updates,
        session,
        outage: Outage::default(),
    };
    let mut pauses = delays.build();
    let mut attempts = 0;
    loop {
        let mut answered = false;
        let Err(error) = client.stream(&endpoint, &mut answered).await else {
            return;
        };
        if std::mem::take(&mut answered) {
            attempts = 0;
            pauses = delays.build();
        }
        attempts += 1;
        let reason = ErrorChain(&error).to_string();
        if client.outage.begins() {
            tracing::warn!(endpoint = %endpoint.uri(), %reason, "no connection to the control plane; trying until there is one");
        } else {
            tracing::debug!(endpoint = %endpoint.uri(), %reason, attempts, "still no connection to the control plane");
        }
        client.report.send_modify(|status| {
            status.connected = false;
            status.attempts = attempts;
            status.last_error = Some(reason);
        });
        let pause = pauses.next().unwrap_or(MAX_PAUSE);
        tokio::select! {
            () = sleep(pause) => {}
            () = client.updates.closed() => return,
        }
    }
}

struct ClientTask {
    options: ClientOptions,
    report: watch::Sender<Status>,
    updates: mpsc::Sender<Update>,
    session: Session,
    outage: Outage,
}

impl ClientTask {
    /// Opens one stream and runs it until it ends. `Ok` once the receiver of updates is dropped.
    async fn stream(
        &mut self,
        endpoint: &Endpoint,
        answered: &mut bool,
    ) -> Result<(), StreamError> {
        let updates = self.updates.clone();
        tokio::select! {
            // Dropping the stream resets it at the server.
            () = updates.closed() => Ok(()),
            result = self.drive(endpoint, answered) => result,
        }
    }

    async fn drive(&mut self, endpoint: &Endpoint, answered: &mut bool) -> Result<(), StreamError> {
        let (requests, outbound) = mpsc::channel(REQUEST_QUEUE);
        // Queued before the call: a server may wait for them before it answers at all.
        send(&requests, self.session.connect()).await?;
        let mut responses = self.call(endpoint, outbound).await?;

        let mut received = ReceiveTimes::default();
        loop {
            let due = received.due(&self.session, &self.options);
            let due = match due {
                Some(at) => Either::Left(sleep_until(at)),
                None => Either::Right(std::future::pending()),
            };
            // All branches are cancel safe.
            tokio::select! {
                response = responses.message() => {
                    let response = response?.ok_or(StreamError::Closed)?;
                    if !std::mem::replace(answered, true) {
                        let failures = self.outage.ended().unwrap_or(0);
                        tracing::info!(endpoint = %endpoint.uri(), failures, "connected to the control plane");
                        self.report.send_modify(|status| {
                            status.connected = true;
                            status.attempts = 0;
                        });
                    }
                    let follow_up = self.session.receive(response);
                    send(&requests, follow_up).await?;
                    received.record();
                }
                () = due => {
                    received = ReceiveTimes::default();
                    let Some(rejections) = self.deliver().await else { return Ok(()) };
                    let answers = self.session.answer(rejections);
                    send(&requests, answers).await?;
                }
            }
        }
    }

    async fn call(
        &self,
        endpoint: &Endpoint,
        outbound: mpsc::Receiver<DeltaDiscoveryRequest>,
    ) -> Result<Streaming<DeltaDiscoveryResponse>, StreamError> {
        let mut request = Request::new(ReceiverStream::new(outbound));
        if let Some(token) = self.token().await? {
            request.metadata_mut().insert("authorization", token);
        }
        let channel = match Server::encrypted(&self.options.endpoint) {
            None => endpoint.connect().await,
            Some(server) => {
                let connector = server.connector(self.options.authorities.clone());
                endpoint.connect_with_connector(connector).await
            }
        };
        let channel = channel.map_err(StreamError::Connect)?;
        let mut client = AggregatedDiscoveryServiceClient::new(channel)
            .max_decoding_message_size(self.options.max_message_bytes);
        let call = client.delta_aggregated_resources(request);
        let opened = timeout(self.options.open_timeout, call).await;
        Ok(opened.map_err(|_| StreamError::Silent)??.into_inner())
    }

    async fn token(&self) -> Result<Option<MetadataValue<Ascii>>, StreamError> {
        let Some(path) = &self.options.token_file else {
            return Ok(None);
        };
        let value = read_token(path).await?;
        let value = MetadataValue::try_from(value.as_bytes());
        let mut value = value.map_err(|_| ConnectError::Token(path.clone()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// Delivers the pending update to the consumer and waits for its answer. `None` if the consumer has gone.
    ///
    /// Meanwhile the stream is not read: flow control holds the server back, and the next update depends on
    /// this answer.
    async fn deliver(&mut self) -> Option<Vec<Rejection>> {
        let Some(PendingUpdate {
            snapshot,
            changed,
            removed,
        }) = self.session.pending_update()
        else {
            return Some(Vec::new());
        };
        let (answer, answered) = oneshot::channel();
        let sent = changed.clone();
        self.updates
            .send(Update {
                snapshot,
                changed,
                removed,
                answer,
            })
            .await
            .ok()?;
        match answered.await {
            Ok(rejections) => Some(rejections),
            Err(_) => Some(sent.iter().map(dropped).collect()),
        }
    }
}

fn dropped(resource: &Arc<crate::Resource>) -> Rejection {
    Rejection {
        kind: resource.kind(),
        name: resource.name().clone(),
        reason: "the proxy dropped the update".to_owned(),
    }
}

/// The arrival times of the responses that are not delivered yet.
#[derive(Default)]
struct ReceiveTimes {
    first: Option<Instant>,
    last: Option<Instant>,
}

impl ReceiveTimes {
    fn record(&mut self) {
        let now = Instant::now();
        self.first.get_or_insert(now);
        self.last = Some(now);
    }

    /// The time to deliver the pending update: after the debounce if it is complete, else after the completion timeout.
    fn due(&self, session: &Session, options: &ClientOptions) -> Option<Instant> {
        if !session.is_pending() {
            return None;
        }
        let latest = self.first? + options.completion_timeout;
        if session.is_complete() {
            Some((self.last? + options.debounce).min(latest))
        } else {
            Some(latest)
        }
    }
}

async fn send(
    requests: &mpsc::Sender<DeltaDiscoveryRequest>,
    batch: Vec<DeltaDiscoveryRequest>,
) -> Result<(), StreamError> {
    for request in batch {
        let sent = timeout(SEND_TIMEOUT, requests.send(request)).await;
        let sent = sent.map_err(|_| StreamError::Stalled)?;
        sent.map_err(|_| StreamError::Closed)?;
    }
    Ok(())
}
