//! Accepts connections and selects their filter chain.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tombolo_telemetry::Outage;

use super::Worker;
use crate::config::listener::{ConnectionInfo, Filter, Listener};
use crate::descriptor_budget::Descriptor;
use crate::generation::BoundListener;
use crate::metrics::{GaugeGuard, ListenerStats};
use crate::original_dst::original_dst;
use crate::protocol_detection::{Detection, detect};
use crate::tcp_proxy::{self, ConnectionAddresses};

/// Pauses after a failed accept: the first, and the longest.
const RETRY: Duration = Duration::from_millis(10);
const MAX_RETRY: Duration = Duration::from_secs(1);

/// A socket from which this worker accepts, and the listener's current configuration.
pub(crate) struct ActiveListener {
    listener: RefCell<Arc<Listener>>,
    address: SocketAddr,
    stop: CancellationToken,
    task: RefCell<Option<JoinHandle<()>>>,
}

impl ActiveListener {
    /// `None` when this worker's socket cannot be used.
    pub(super) fn start(worker: &Rc<Worker>, bound: &Arc<BoundListener>) -> Option<Rc<Self>> {
        let socket = bound.socket.take(worker.index)?;
        let socket = match TcpListener::from_std(socket) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::error!(address = %bound.socket.address, %error, "listener cannot be used");
                return None;
            }
        };
        let listening = Rc::new(Self {
            listener: RefCell::new(bound.listener.clone()),
            address: bound.socket.address,
            stop: CancellationToken::new(),
            task: RefCell::default(),
        });
        let task = tokio::task::spawn_local(accept(worker.clone(), listening.clone(), socket));
        listening.task.replace(Some(task));
        Some(listening)
    }

    /// Applies a new configuration to new connections.
    pub(super) fn update(&self, listener: Arc<Listener>) {
        *self.listener.borrow_mut() = listener;
    }

    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    /// Whether the accept loop ended without having been stopped: a bug.
    pub(super) fn has_failed(&self) -> bool {
        !self.stop.is_cancelled()
            && self
                .task
                .borrow()
                .as_ref()
                .is_some_and(JoinHandle::is_finished)
    }
}

async fn accept(worker: Rc<Worker>, listening: Rc<ActiveListener>, socket: TcpListener) {
    let address = listening.address;
    let (mut failing, mut overflowing) = (Outage::default(), Outage::default());
    let mut pause = RETRY;
    loop {
        // Both branches are cancel safe. Connections that the kernel has completed come before the stop.
        let accepted = tokio::select! {
            biased;
            accepted = socket.accept() => accepted,
            () = listening.stop.cancelled() => break,
        };
        let listener = listening.listener.borrow().clone();
        let stats = worker.listener_stats(&listener.name);
        match accepted {
            Ok((stream, remote)) => {
                pause = RETRY;
                if let Some(failures) = failing.ended() {
                    tracing::warn!(%address, failures, "accepting connections again");
                }
                let Some(descriptor) = worker.cluster_context.descriptors.downstream() else {
                    stats.downstream_global_cx_overflow.inc();
                    if overflowing.begins() {
                        tracing::warn!(%address, "too many connections for the limit of open files (ulimit -n): new ones are closed");
                    }
                    continue;
                };
                if let Some(closed) = overflowing.ended() {
                    tracing::warn!(%address, closed, "connections are taken again");
                }
                let connection = Connection {
                    worker: worker.clone(),
                    listener,
                    stats,
                    stream,
                    remote,
                    descriptor,
                };
                tokio::task::spawn_local(connection.serve());
            }
            // The client closed between its handshake and this accept.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                stats.downstream_cx_accept_failed.inc();
                // Out of file descriptors, usually: some have to be closed first.
                if failing.begins() {
                    tracing::warn!(%address, %error, "cannot accept connections; trying until it succeeds");
                }
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = listening.stop.cancelled() => break,
                }
                pause = (pause * 2).min(MAX_RETRY);
            }
        }
    }
}

/// An accepted client connection.
struct Connection {
    worker: Rc<Worker>,
    listener: Arc<Listener>,
    stats: Arc<ListenerStats>,
    stream: TcpStream,
    remote: SocketAddr,
    descriptor: Descriptor,
}

impl Connection {
    async fn serve(self) {
        let Self {
            worker,
            listener,
            stats,
            mut stream,
            remote,
            descriptor: _descriptor,
        } = self;
        stats.downstream_cx_total.inc();
        let _active = GaugeGuard::new(&stats, |stats| &stats.downstream_cx_active)
            .with_end(|stats| &stats.downstream_cx_destroy);
        let Ok(local) = stream.local_addr() else {
            return;
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "client connection is gone already");
            return;
        }
        let restored = listener.original_dst.then(|| original_dst(&stream, local));
        let addresses = ConnectionAddresses {
            remote,
            local,
            original_dst: restored.flatten().unwrap_or(local),
        };
        let mut first = BytesMut::new();
        let mut detection = Detection::default();
        if listener.inspects {
            match inspect(&worker, &listener, &stats, &mut stream, &mut first).await {
                Some(found) => detection = found,
                None => return,
            }
        }
        let connection = ConnectionInfo {
            source: remote,
            destination: addresses.original_dst,
            server_name: &detection.server_name,
            transport: if detection.tls { "tls" } else { "raw_buffer" },
            application_protocols: detection.protocol.as_slice(),
        };
        let Some(chain) = listener.choose(&connection) else {
            stats.no_filter_chain_match.inc();
            return;
        };
        match &chain.filter {
            Filter::Http(manager) => {
                super::serve_http::serve_http(&worker, chain, manager, stream, first, addresses)
                    .await;
            }
            Filter::Tcp(config) => {
                tcp_proxy::proxy(worker, config.clone(), stream, first, addresses).await;
            }
            Filter::Close => {}
        }
    }
}

/// Detects the properties that the choice of a chain needs; `None` when the connection is to be closed.
async fn inspect(
    worker: &Worker,
    listener: &Listener,
    stats: &Arc<ListenerStats>,
    stream: &mut TcpStream,
    first: &mut BytesMut,
) -> Option<Detection> {
    let _active = GaugeGuard::new(stats, |stats| &stats.downstream_pre_cx_active);
    let expiry = async {
        match listener.filters_timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        detection = detect(stream, first) => detection.ok(),
        () = worker.closed() => None,
        () = expiry => {
            stats.downstream_pre_cx_timeout.inc();
            listener.continue_on_timeout.then(Detection::default)
        }
    }
}
