//! The task of one stream.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::connected_proxies::{ConnectedProxies, Entry};
use super::connection::OpenStream;
use super::session::{AckOrNack, ProtocolVariant, Push, Session};
use super::{Peer, ServerOptions, Source, until};
use crate::foreign;
use crate::node::{ADOPTS_WHOLE, Node};
use crate::resource::Kind;
use crate::snapshot::Snapshot;

/// Names of rejected resources in one line of the log.
const MAX_LOGGED_NAMES: usize = 5;

pub(super) struct Stream<S, D: ProtocolVariant> {
    pub(super) source: Arc<S>,
    pub(super) proxies: ConnectedProxies,
    pub(super) options: ServerOptions,
    pub(super) stopping: watch::Receiver<bool>,
    pub(super) peer: Peer,
    pub(super) open: Option<OpenStream>,
    pub(super) inbound: Streaming<D::Request>,
    pub(super) outbound: mpsc::Sender<Result<Push, Status>>,
}

impl<S: Source, D: ProtocolVariant> Stream<S, D> {
    pub(super) async fn run(mut self) {
        let outbound = self.outbound.clone();
        let stopping = self.stopping.clone();
        let result = tokio::select! {
            result = self.drive() => result,
            () = until(stopping) => Err(Status::unavailable("the server is shutting down")),
            () = outbound.closed() => return,
        };
        if let Err(status) = result {
            tracing::debug!(peer = ?self.peer.addr, %status, "ended an xDS stream");
            // A proxy that does not even take its goodbye is cut off with the connection.
            let _ = timeout(self.options.drain, outbound.send(Err(status))).await;
        }
    }

    /// Drives the stream until the proxy ends it (`Ok`) or we do.
    async fn drive(&mut self) -> Result<(), Status> {
        let greeting = timeout(self.options.handshake_timeout, self.inbound.message()).await;
        let greeting = greeting.map_err(|_| Status::deadline_exceeded("no request came"))?;
        let Some(mut request) = greeting? else {
            return Ok(());
        };
        let node: Node = D::node(&mut request)
            .ok_or_else(|| Status::invalid_argument("the first request has no node"))?;
        let mut snapshots = self.source.subscribe(&node, &self.peer).await?;
        let snapshot = snapshots.borrow_and_update().clone();
        if let Some(open) = &self.open {
            open.introduced();
        }
        tracing::info!(
            node = %foreign::shown(&node.id),
            peer = ?self.peer.addr,
            protocol = ?D::PROTOCOL,
            revision = snapshot.revision(),
            "a proxy connected"
        );
        let adopts_whole = node.features.iter().any(|feature| feature == ADOPTS_WHOLE);
        let limit = self.options.max_streams;
        let connected = self
            .proxies
            .connect(node, self.peer.addr, D::PROTOCOL, limit);
        let mut entry = connected
            .ok_or_else(|| Status::resource_exhausted("this server has too many proxies"))?;
        let mut session = Session::new(D::PROTOCOL, snapshot);
        if adopts_whole {
            session = session.adopting_whole();
        }
        receive::<D>(&mut session, &entry, request)?;

        let mut may_send = true;
        // The last snapshot of which everything was answered.
        let mut answered: Option<Arc<Snapshot>> = None;
        loop {
            tokio::select! {
                // A response is made only when there is room for it, from what is newest.
                permit = self.outbound.reserve(), if may_send => {
                    let Ok(permit) = permit else { return Ok(()) };
                    match session.next_push() {
                        Some(push) => {
                            let (kind, revision) = (push.kind, push.revision);
                            trace(session.snapshot(), entry.stream(), "sent", kind);
                            entry.sent(kind, revision, session.sent(kind));
                            permit.send(Ok(push));
                        }
                        None => {
                            may_send = false;
                            progress(&session, &mut entry, &mut answered);
                        }
                    }
                }
                request = self.inbound.message() => {
                    let Some(request) = request? else { return Ok(()) };
                    receive::<D>(&mut session, &entry, request)?;
                    may_send = true;
                }
                changed = snapshots.changed() => {
                    changed.map_err(|_| Status::unavailable("the source ended; ask again"))?;
                    session.update(snapshots.borrow_and_update().clone());
                    may_send = true;
                }
            }
        }
    }
}

fn receive<D: ProtocolVariant>(
    session: &mut Session,
    entry: &Entry,
    request: D::Request,
) -> Result<(), Status> {
    let answer = D::receive(session, request);
    match answer.map_err(|violation| Status::invalid_argument(violation.to_string()))? {
        AckOrNack::None => {}
        AckOrNack::Acked { kind, revision } => {
            trace(session.snapshot(), entry.stream(), "acknowledged", kind);
            entry.acked(kind, revision);
        }
        AckOrNack::Rejected {
            kind,
            revision,
            names,
            reason,
        } => {
            let resources: Vec<_> = names.iter().take(MAX_LOGGED_NAMES).collect();
            tracing::warn!(
                %kind,
                revision,
                ?resources,
                rejected = names.len(),
                reason = foreign::shown(&reason),
                "a proxy rejected configuration"
            );
            entry.rejected(kind, revision, names, reason);
        }
    }
    Ok(())
}

/// One step of a change on its way, in the span of the change.
fn trace(snapshot: &Snapshot, stream: u64, step: &'static str, kind: Kind) {
    if let Some(propagation) = snapshot.propagation() {
        propagation
            .span()
            .in_scope(|| tracing::trace!(stream, %kind, "{step}"));
    }
}

/// There is nothing more to send for now.
fn progress(session: &Session, entry: &mut Entry, answered: &mut Option<Arc<Snapshot>>) {
    let snapshot = session.snapshot();
    let revision = snapshot.revision();
    if session.is_sent() {
        entry.all_sent(revision);
    }
    if session.is_synced() {
        entry.all_acked(revision);
    }
    let is_new = |before: &Arc<Snapshot>| !Arc::ptr_eq(before, snapshot);
    if session.is_answered() && answered.as_ref().is_none_or(is_new) {
        if let Some(propagation) = snapshot.propagation() {
            propagation.answered();
        }
        *answered = Some(snapshot.clone());
    }
}
