//! The task of one stream.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::registry::{Connection, Registry};
use super::session::{Dialect, Receipt, Session};
use super::{Peer, ServerOptions, Source, until};
use crate::node::{ADOPTS_WHOLE, Node};

pub(super) struct Stream<S, D: Dialect> {
    pub(super) source: Arc<S>,
    pub(super) registry: Registry,
    pub(super) options: ServerOptions,
    pub(super) stopping: watch::Receiver<bool>,
    pub(super) peer: Peer,
    pub(super) inbound: Streaming<D::Request>,
    pub(super) outbound: mpsc::Sender<Result<D::Response, Status>>,
}

impl<S: Source, D: Dialect> Stream<S, D> {
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
        let greeting = timeout(self.options.greeting, self.inbound.message()).await;
        let greeting = greeting.map_err(|_| Status::deadline_exceeded("no request came"))?;
        let Some(mut request) = greeting? else {
            return Ok(());
        };
        let node: Node = D::node(&mut request)
            .ok_or_else(|| Status::invalid_argument("the first request has no node"))?;
        let mut snapshots = self.source.subscribe(&node, &self.peer).await?;
        let snapshot = snapshots.borrow_and_update().clone();
        tracing::info!(
            node = node.id,
            peer = ?self.peer.addr,
            protocol = ?D::PROTOCOL,
            revision = snapshot.revision(),
            "a proxy connected"
        );
        let adopts_whole = node.features.iter().any(|feature| feature == ADOPTS_WHOLE);
        let limit = self.options.max_streams;
        let connected = self
            .registry
            .connect(node, self.peer.addr, D::PROTOCOL, limit);
        let mut connection = connected
            .ok_or_else(|| Status::resource_exhausted("this server has too many proxies"))?;
        let mut session = Session::new(D::PROTOCOL, snapshot);
        if adopts_whole {
            session = session.adopting_whole();
        }
        receive::<D>(&mut session, &connection, request)?;

        let mut may_send = true;
        loop {
            tokio::select! {
                // A response is made only when there is room for it, from what is newest.
                permit = self.outbound.reserve(), if may_send => {
                    let Ok(permit) = permit else { return Ok(()) };
                    match session.pull() {
                        Some(push) => {
                            let (kind, revision) = (push.kind, push.revision);
                            connection.sent(kind, revision, session.told(kind));
                            permit.send(Ok(D::respond(push)));
                        }
                        None => {
                            may_send = false;
                            progress(&session, &mut connection);
                        }
                    }
                }
                request = self.inbound.message() => {
                    let Some(request) = request? else { return Ok(()) };
                    receive::<D>(&mut session, &connection, request)?;
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

fn receive<D: Dialect>(
    session: &mut Session,
    connection: &Connection,
    request: D::Request,
) -> Result<(), Status> {
    let receipt = D::receive(session, request);
    match receipt.map_err(|violation| Status::invalid_argument(violation.to_string()))? {
        Receipt::None => {}
        Receipt::Acked { kind, revision } => connection.acked(kind, revision),
        Receipt::Rejected {
            kind,
            revision,
            names,
            reason,
        } => {
            tracing::warn!(%kind, revision, ?names, reason, "a proxy rejected configuration");
            connection.rejected(kind, revision, names, reason);
        }
    }
    Ok(())
}

/// There is nothing more to send for now.
fn progress(session: &Session, connection: &mut Connection) {
    let revision = session.snapshot().revision();
    if session.is_sent() {
        connection.all_sent(revision);
    }
    if session.is_synced() {
        connection.all_acked(revision);
    }
}
