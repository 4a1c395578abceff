//! The I/O of one discovery stream: receives requests and snapshots, sends responses.
//!
//! A stream is the body of the answer to its call, and runs while hyper polls for the next frame. So a response is made
//! from the newest snapshot when flow control allows it, and a proxy that does not read blocks no other.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::time::timeout;
use tonic::Status;
use tonic::codegen::http::request::Parts;

use super::connected_proxies::Entry;
use super::grpc_framing::{Requests, message, trailers};
use super::incoming::OpenStream;
use super::metrics::Metrics;
use super::session::{AckOrNack, ProtocolVariant, Session};
use super::{Inner, Peer, Snapshots, Source, stopped};
use crate::node::{ATOMIC_UPDATES, Node};
use crate::propagation::Propagation;
use crate::resource::Kind;
use crate::sanitize;
use crate::snapshot::Snapshot;

/// The greatest number of rejected resources whose names are in one log line.
const MAX_LOGGED_NAMES: usize = 5;

pub(super) struct Stream<S, V: ProtocolVariant> {
    pub(super) server: Arc<Inner<S>>,
    pub(super) peer: Option<SocketAddr>,
    pub(super) open: Option<OpenStream>,
    /// The head of the call, until the source has seen it.
    pub(super) head: Option<Parts>,
    pub(super) requests: Requests<V::Request>,
    /// `None` until the proxy has sent its node.
    pub(super) proxy: Option<ConnectedProxy>,
}

/// A proxy that has sent its node.
pub(super) struct ConnectedProxy {
    entry: Entry,
    session: Session,
    snapshots: Snapshots,
    /// The revision up to which all that may be sent before the proxy answers is sent, or older than this stream.
    sent: u64,
    /// The revision up to which changes are answered, or older than this stream.
    answered: u64,
}

impl<S: Source, V: ProtocolVariant> Stream<S, V> {
    /// The body of the answer: a frame for each response, then the status. Dropping it ends the stream.
    pub(super) fn into_body(self) -> tonic::body::Body {
        let frames = futures::stream::unfold(Some(Box::new(self)), |stream| async move {
            let mut stream = stream?;
            let status = match stream.next().await {
                Ok(Some(response)) => {
                    return Some((Ok::<_, Infallible>(Frame::data(response)), Some(stream)));
                }
                Ok(None) => Status::ok(""),
                Err(status) => {
                    tracing::debug!(peer = ?stream.peer, %status, "ended an xDS stream");
                    status
                }
            };
            Some((Ok(Frame::trailers(trailers(&status))), None))
        });
        tonic::body::Body::new(StreamBody::new(frames))
    }

    /// The next response; `None` once the proxy has closed its side of the stream.
    async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        let stopped = stopped(self.server.stopping.clone());
        tokio::select! {
        response = self.drive() => response,
        () = stopped => Err(Status::unavailable("the server is shutting down")),
        }
    }

    async fn drive(&mut self) -> Result<Option<Bytes>, Status> {
        if self.proxy.is_none() {
            self.proxy = self.connect().await?;
        }
        let Some(proxy) = &mut self.proxy else {
            return Ok(None);
        };
        loop {
            if let Some(push) = proxy.session.next_push() {
                let (kind, revision) = (push.kind, push.revision);
                proxy.trace("sent", kind);
                let resources = proxy.session.sent(kind);
                proxy.entry.sent(kind, revision, resources);
                self.server.metrics.pushed(kind);
                return message(&push, V::PROTOCOL).map(Some);
            }
            proxy.report_progress();
            tokio::select! {
                request = self.requests.next() => {
                    let Some(request) = request? else { return Ok(None) };
                    proxy.receive::<V>(request, &self.server.metrics)?;
                }
                changed = proxy.snapshots.changed() => {
                    changed.map_err(|_| Status::unavailable("the source ended; ask again"))?;
                    let snapshot = proxy.snapshots.borrow_and_update().clone();
                    proxy.session.update(snapshot);
                }
            }
        }
    }

    /// Waits for the first request, which carries the node. `None` if the stream closes before it.
    async fn connect(&mut self) -> Result<Option<ConnectedProxy>, Status> {
        let options = &self.server.options;
        let first = timeout(options.handshake_timeout, self.requests.next()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("no request came"))?;
        let Some(mut request) = first? else {
            return Ok(None);
        };
        let node = V::node(&mut request)
            .ok_or_else(|| Status::invalid_argument("the first request has no node"))?;
        let head = self.head.take();
        let head = head.ok_or_else(|| Status::internal("a stream connects once"))?;
        let peer = Peer::new(self.peer, head);
        let subscribed = self.server.source.subscribe(&node, &peer).await;
        // It holds credentials, which are not needed any more.
        drop(peer);
        if let Err(status) = &subscribed {
            self.server.proxies.refused(&node.id, self.peer, status);
        }
        let mut snapshots = subscribed?;
        let snapshot = snapshots.borrow_and_update().clone();
        if let Some(open) = &self.open {
            open.mark_identified();
        }
        tracing::info!(
            node = %sanitize::log_text(&node.id),
            peer = ?self.peer,
            protocol = ?V::PROTOCOL,
            revision = snapshot.revision(),
            "a proxy connected"
        );
        let before = newest_change(&snapshot);
        let mut session = Session::new(V::PROTOCOL, snapshot);
        if node
            .features
            .iter()
            .any(|feature| feature == ATOMIC_UPDATES)
        {
            session = session.with_atomic_updates();
        }
        let entry = self.enter(node)?;
        let mut proxy = ConnectedProxy {
            entry,
            session,
            snapshots,
            sent: before,
            answered: before,
        };
        proxy.receive::<V>(request, &self.server.metrics)?;
        Ok(Some(proxy))
    }

    fn enter(&self, node: Node) -> Result<Entry, Status> {
        let (proxies, limit) = (&self.server.proxies, self.server.options.max_streams);
        let entry = proxies.connect(node, self.peer, V::PROTOCOL, limit);
        entry.ok_or_else(|| Status::resource_exhausted("this server has too many proxies"))
    }
}

impl ConnectedProxy {
    fn receive<V: ProtocolVariant>(
        &mut self,
        request: V::Request,
        metrics: &Metrics,
    ) -> Result<(), Status> {
        let answer = V::receive(&mut self.session, request);
        match answer.map_err(|violation| Status::invalid_argument(violation.to_string()))? {
            AckOrNack::None => {}
            AckOrNack::Acked { kind, revision } => {
                self.trace("acknowledged", kind);
                self.entry.acked(kind, revision);
            }
            AckOrNack::Rejected {
                kind,
                revision,
                names,
                reason,
            } => {
                let resources: Vec<_> = names.iter().take(MAX_LOGGED_NAMES).collect();
                tracing::warn!(
                    parent: self.span(),
                    stream = self.entry.stream(),
                    %kind,
                    revision,
                    ?resources,
                    rejected = names.len(),
                    reason = sanitize::log_text(&reason),
                    "a proxy rejected configuration"
                );
                metrics.rejected(kind);
                self.entry.rejected(kind, revision, names, reason);
            }
        }
        Ok(())
    }

    /// Logs one step of a change, in the span of the change.
    fn trace(&self, step: &'static str, kind: Kind) {
        tracing::trace!(parent: self.span(), stream = self.entry.stream(), %kind, "{step}");
    }

    /// The span of the newest change in the snapshot, which names the API calls behind it.
    fn span(&self) -> Option<tracing::Id> {
        self.session.snapshot().propagations().last()?.span().id()
    }

    /// Records the progress of the proxy. Valid after [`Session::next_push`] returned `None`.
    fn report_progress(&mut self) {
        let snapshot = self.session.snapshot();
        let revision = snapshot.revision();
        if self.session.is_sent() {
            self.entry.all_sent(revision);
        }
        if self.session.is_synced() {
            self.entry.all_acked(revision);
        }
        for propagation in since(snapshot, self.sent) {
            propagation.sent();
        }
        self.sent = self.sent.max(newest_change(snapshot));
        if self.session.is_answered() {
            let acknowledged = self.session.is_synced();
            for propagation in since(snapshot, self.answered) {
                propagation.answered(self.entry.stream(), acknowledged);
            }
            self.answered = self.answered.max(newest_change(snapshot));
        }
    }
}

/// Ends the waits for a proxy that has disconnected.
impl Drop for ConnectedProxy {
    fn drop(&mut self) {
        let newest = self.snapshots.borrow().clone();
        since(&newest, self.sent).for_each(Propagation::sent);
        since(&newest, self.answered).for_each(Propagation::ended);
    }
}

/// The changes after a revision that a snapshot carries.
fn since(snapshot: &Snapshot, revision: u64) -> impl Iterator<Item = &Propagation> {
    let followed = snapshot.propagations().iter().map(Arc::as_ref);
    followed.filter(move |propagation| propagation.revision() > revision)
}

/// The revision of the newest change that a snapshot carries; 0 if it carries none.
fn newest_change(snapshot: &Snapshot) -> u64 {
    let newest = snapshot.propagations().last();
    newest.map_or(0, |propagation| propagation.revision())
}
