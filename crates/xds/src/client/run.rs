//! The task behind a client: connect, drive the session, start over.

use std::sync::Arc;
use std::time::Duration;

use futures::future::Either;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Endpoint;
use tonic::{Request, Streaming};

use super::session::{Offer, Rejection, Session};
use super::{ClientOptions, InvalidEndpoint, Status, Update, Wanted, backoff};
use crate::envoy::pb::envoy::config::core::v3 as core;
use crate::envoy::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use crate::envoy::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse,
};
use crate::node::ADOPTS_WHOLE;

/// Requests that may wait for the connection. More than a session ever sends at once; a
/// server that does not take them for [`STALL`] is given up.
const REQUESTS: usize = 32;
const STALL: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(5);

pub(super) fn endpoint(options: &ClientOptions) -> Result<Endpoint, InvalidEndpoint> {
    let given = options.endpoint.trim();
    let invalid = |reason: String| InvalidEndpoint {
        endpoint: given.to_owned(),
        reason,
    };
    let uri = match given.split_once("://") {
        None => format!("http://{given}"),
        Some(("http", _)) => given.to_owned(),
        Some((scheme, _)) => return Err(invalid(format!("unknown scheme {scheme:?}"))),
    };
    let endpoint = Endpoint::from_shared(uri).map_err(|error| invalid(error.to_string()))?;
    if endpoint.uri().port_u16().is_none() {
        return Err(invalid("there is no port".to_owned()));
    }
    Ok(endpoint
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(options.keepalive)
        .keep_alive_timeout(options.keepalive)
        .keep_alive_while_idle(true))
}

/// Why a stream ended.
enum End {
    /// Nobody takes updates any more.
    Unused,
    /// The stream failed; whether it had answered before.
    Failed { reason: String, answered: bool },
}

pub(super) async fn run(
    endpoint: Endpoint,
    options: ClientOptions,
    wants: watch::Receiver<Wanted>,
    report: watch::Sender<Status>,
    offers: mpsc::Sender<Update>,
) {
    let mut node = core::Node::from(&options.node);
    node.client_features.push(ADOPTS_WHOLE.to_owned());
    let session = Session::new(node, options.initial.clone());
    let backoff = options.backoff;
    let mut client = Running {
        options,
        wants,
        report,
        offers,
        session,
    };
    let mut attempt = 0;
    loop {
        let (reason, answered) = match client.stream(&endpoint).await {
            End::Unused => return,
            End::Failed { reason, answered } => (reason, answered),
        };
        attempt = if answered { 0 } else { attempt + 1 };
        tracing::info!(endpoint = %endpoint.uri(), reason, attempt, "the xDS stream ended");
        client.report.send_modify(|status| {
            status.connected = false;
            status.attempts = attempt;
            status.last_error = Some(reason);
        });
        let pause = backoff.pause(attempt.saturating_sub(1), backoff::random());
        tokio::select! {
            () = sleep(pause) => {}
            () = client.offers.closed() => return,
        }
    }
}

struct Running {
    options: ClientOptions,
    wants: watch::Receiver<Wanted>,
    report: watch::Sender<Status>,
    offers: mpsc::Sender<Update>,
    session: Session,
}

impl Running {
    /// Opens one stream and drives it to its end.
    async fn stream(&mut self, endpoint: &Endpoint) -> End {
        let mut answered = false;
        let offers = self.offers.clone();
        let result = tokio::select! {
            // Dropping the stream is all the goodbye that the server needs.
            () = offers.closed() => return End::Unused,
            result = self.drive(endpoint, &mut answered) => result,
        };
        match result {
            Ok(()) => End::Unused,
            Err(reason) => End::Failed { reason, answered },
        }
    }

    async fn drive(&mut self, endpoint: &Endpoint, answered: &mut bool) -> Result<(), String> {
        let wanted = self.wants.borrow_and_update().clone();
        self.session.want(wanted, false);
        let (requests, outbound) = mpsc::channel(REQUESTS);
        // Queued before the call: a server may wait for them before it answers at all.
        send(&requests, self.session.connect()).await?;
        let mut responses = self.call(endpoint, outbound).await?;

        let mut arrivals = Arrivals::default();
        loop {
            let due = arrivals.due(&self.session, &self.options);
            let due = match due {
                Some(at) => Either::Left(sleep_until(at)),
                None => Either::Right(std::future::pending()),
            };
            tokio::select! {
                response = responses.message() => {
                    let response = response.map_err(|status| describe(&status))?;
                    let response = response.ok_or("the server closed the stream")?;
                    if !std::mem::replace(answered, true) {
                        self.report.send_modify(|status| {
                            status.connected = true;
                            status.attempts = 0;
                        });
                    }
                    let follow_up = self.session.receive(response);
                    send(&requests, follow_up).await?;
                    arrivals.note();
                }
                () = due => {
                    arrivals = Arrivals::default();
                    let Some(verdict) = self.hand_over().await else { return Ok(()) };
                    let answers = self.session.answer(verdict);
                    let rejected = self.session.rejected();
                    let revision = self.session.adopted().revision();
                    self.report.send_modify(|status| {
                        status.revision = revision;
                        status.rejected = rejected;
                    });
                    send(&requests, answers).await?;
                }
                // An error means that all handles are gone, and with them new wishes.
                Ok(()) = self.wants.changed() => {
                    let wanted = self.wants.borrow_and_update().clone();
                    let follow_up = self.session.want(wanted, true);
                    send(&requests, follow_up).await?;
                }
            }
        }
    }

    async fn call(
        &self,
        endpoint: &Endpoint,
        outbound: mpsc::Receiver<DeltaDiscoveryRequest>,
    ) -> Result<Streaming<DeltaDiscoveryResponse>, String> {
        let mut request = Request::new(ReceiverStream::new(outbound));
        if let Some(token) = self.token().await? {
            request.metadata_mut().insert("authorization", token);
        }
        let channel = endpoint.connect().await.map_err(|error| chain(&error))?;
        let mut client = AggregatedDiscoveryServiceClient::new(channel)
            .max_decoding_message_size(self.options.max_message_bytes);
        let call = client.delta_aggregated_resources(request);
        Ok(call.await.map_err(|status| describe(&status))?.into_inner())
    }

    async fn token(&self) -> Result<Option<MetadataValue<Ascii>>, String> {
        let Some(path) = &self.options.token_file else {
            return Ok(None);
        };
        let unusable = |reason: String| format!("token file {}: {reason}", path.display());
        let read = tokio::fs::read_to_string(path).await;
        let token = read.map_err(|error| unusable(error.to_string()))?;
        let mut value = MetadataValue::try_from(format!("Bearer {}", token.trim()))
            .map_err(|_| unusable("not a token".to_owned()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// Hands the pending update over and waits for the verdict. `None` if nobody takes it.
    ///
    /// Meanwhile the stream is not read: the server is held back by flow control, and the
    /// next update is built on this verdict.
    async fn hand_over(&mut self) -> Option<Vec<Rejection>> {
        let Some(Offer {
            snapshot,
            changed,
            removed,
        }) = self.session.offer()
        else {
            return Some(Vec::new());
        };
        let (verdict, answer) = oneshot::channel();
        let offered = changed.clone();
        self.offers
            .send(Update {
                snapshot,
                changed,
                removed,
                verdict,
            })
            .await
            .ok()?;
        match answer.await {
            Ok(rejections) => Some(rejections),
            Err(_) => Some(offered.iter().map(unanswered).collect()),
        }
    }
}

fn unanswered(resource: &Arc<crate::Resource>) -> Rejection {
    Rejection {
        kind: resource.kind(),
        name: resource.name().clone(),
        reason: "the proxy dropped the update".to_owned(),
    }
}

/// When the responses that are waiting arrived.
#[derive(Default)]
struct Arrivals {
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Arrivals {
    fn note(&mut self) {
        let now = Instant::now();
        self.first.get_or_insert(now);
        self.last = Some(now);
    }

    /// When to hand over what is pending: soon if it is complete, else after a while.
    fn due(&self, session: &Session, options: &ClientOptions) -> Option<Instant> {
        if !session.is_pending() {
            return None;
        }
        let latest = self.first? + options.settle;
        if session.is_complete() {
            Some((self.last? + options.linger).min(latest))
        } else {
            Some(latest)
        }
    }
}

async fn send(
    requests: &mpsc::Sender<DeltaDiscoveryRequest>,
    batch: Vec<DeltaDiscoveryRequest>,
) -> Result<(), String> {
    for request in batch {
        let sent = timeout(STALL, requests.send(request)).await;
        let sent = sent.map_err(|_| "the server takes no requests")?;
        sent.map_err(|_| "the stream is closed")?;
    }
    Ok(())
}

fn describe(status: &tonic::Status) -> String {
    match std::error::Error::source(status) {
        Some(source) => chain(source),
        None => format!("{:?}: {}", status.code(), status.message()),
    }
}

/// An error with its causes, which transports keep to themselves otherwise.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(|error| error.to_string())
        .collect::<Vec<_>>()
        .join(": ")
}
