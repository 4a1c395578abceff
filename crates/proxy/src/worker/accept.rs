//! Accepting connections and finding their filter chain.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::Worker;
use crate::config::listener::{Arrival, Filter, Listener};
use crate::generation::Door;
use crate::inspect::{self, Sight};
use crate::original_dst::original_dst;
use crate::tcp::{self, Ends};

/// A socket this worker accepts from, and the listener configuration in force for it.
pub(crate) struct Listening {
    listener: RefCell<Arc<Listener>>,
    stop: CancellationToken,
}

impl Listening {
    /// `None` when this worker's socket was already taken, which a door does not allow twice.
    pub(super) fn start(worker: &Rc<Worker>, door: &Arc<Door>) -> Option<Rc<Self>> {
        let socket = door.socket.take(worker.index)?;
        let socket = match TcpListener::from_std(socket) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::error!(address = %door.socket.address, %error, "listener cannot be used");
                return None;
            }
        };
        let listening = Rc::new(Self {
            listener: RefCell::new(door.listener.clone()),
            stop: CancellationToken::new(),
        });
        tokio::task::spawn_local(accept(worker.clone(), listening.clone(), socket));
        Some(listening)
    }

    /// New connections follow the new configuration.
    pub(super) fn update(&self, listener: Arc<Listener>) {
        *self.listener.borrow_mut() = listener;
    }

    pub(super) fn stop(&self) {
        self.stop.cancel();
    }
}

async fn accept(worker: Rc<Worker>, listening: Rc<Listening>, socket: TcpListener) {
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = socket.accept() => accepted,
            () = listening.stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, remote)) => {
                let listener = listening.listener.borrow().clone();
                tokio::task::spawn_local(welcome(worker.clone(), listener, stream, remote));
            }
            Err(error) => {
                // Out of file descriptors, mostly: wait for some to come back instead of spinning.
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

async fn welcome(
    worker: Rc<Worker>,
    listener: Arc<Listener>,
    stream: TcpStream,
    remote: std::net::SocketAddr,
) {
    let stats = worker.listener_stats(&listener.name);
    stats.downstream_cx_total.inc();
    stats.downstream_cx_active.inc();
    serve(&worker, &listener, stream, remote).await;
    stats.downstream_cx_active.dec();
    stats.downstream_cx_destroy.inc();
}

async fn serve(
    worker: &Rc<Worker>,
    listener: &Listener,
    stream: TcpStream,
    remote: std::net::SocketAddr,
) {
    let Ok(local) = stream.local_addr() else {
        return;
    };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "client connection is gone already");
        return;
    }
    let restored = if listener.original_dst {
        original_dst(&stream)
    } else {
        None
    };
    let dialled = restored.unwrap_or(local);
    let sight = if listener.inspects {
        inspect::look(&stream).await
    } else {
        Sight::default()
    };
    let protocols = [sight.protocol];
    let arrival = Arrival {
        source: remote,
        destination: dialled,
        server_name: &sight.server_name,
        transport: if sight.tls { "tls" } else { "raw_buffer" },
        application_protocols: if sight.protocol.is_empty() {
            &[]
        } else {
            &protocols
        },
    };
    let Some(chain) = listener.choose(&arrival) else {
        worker
            .listener_stats(&listener.name)
            .no_filter_chain_match
            .inc();
        return;
    };
    let ends = Ends {
        remote,
        local,
        dialled,
    };
    match &chain.filter {
        Filter::Http(manager) => super::serve::http(worker, chain, manager, stream, ends).await,
        Filter::Tcp(config) => tcp::proxy(worker.clone(), config.clone(), stream, ends).await,
        Filter::Close => {}
    }
}
