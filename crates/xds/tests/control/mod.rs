//! A control plane for tests: one snapshot for every proxy, on a free port of loopback.

#![allow(dead_code, reason = "each test target uses its own part")]

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tombolo_xds::server::{Peer, ServerOptions, Source, SubscribeError, SubscribeErrorCode};
use tombolo_xds::{ConnectedProxies, Node, Server, Snapshot};

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Gives the same snapshot to every proxy except those called `nobody`; asks for a token
/// those called `guarded`.
struct Same(watch::Receiver<Arc<Snapshot>>);

impl Source for Same {
    async fn subscribe(
        &self,
        node: &Node,
        peer: &Peer,
    ) -> Result<watch::Receiver<Arc<Snapshot>>, SubscribeError> {
        match &*node.id {
            "nobody" => Err(SubscribeError::new(
                SubscribeErrorCode::NotFound,
                "there is no such node",
            )),
            "guarded" if peer.bearer() != Some("sesame") => Err(SubscribeError::new(
                SubscribeErrorCode::Unauthenticated,
                "say the word",
            )),
            _ => Ok(self.0.clone()),
        }
    }
}

pub(crate) struct Control {
    pub(crate) addr: SocketAddr,
    pub(crate) proxies: ConnectedProxies,
    snapshots: watch::Sender<Arc<Snapshot>>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Control {
    pub(crate) async fn start(snapshot: Snapshot) -> Control {
        Control::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), snapshot).await
    }

    pub(crate) async fn start_with(options: ServerOptions, snapshot: Snapshot) -> Control {
        Control::serve(SocketAddr::from(([127, 0, 0, 1], 0)), options, snapshot).await
    }

    pub(crate) async fn start_at(addr: SocketAddr, snapshot: Snapshot) -> Control {
        Control::serve(addr, ServerOptions::default(), snapshot).await
    }

    async fn serve(addr: SocketAddr, options: ServerOptions, snapshot: Snapshot) -> Control {
        let listener = TcpListener::bind(addr).await.expect("a port of loopback");
        let addr = listener.local_addr().expect("a bound socket");
        let (snapshots, source) = watch::channel(Arc::new(snapshot));
        let server = Server::new(Same(source), options);
        let proxies = server.proxies();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let shutdown = async { drop(stopped.await) };
            server
                .serve(listener, shutdown)
                .await
                .expect("serves until it is stopped");
        });
        Control {
            addr,
            proxies,
            snapshots,
            stop: Some(stop),
            task,
        }
    }

    pub(crate) fn publish(&self, snapshot: Snapshot) {
        self.snapshots.send_replace(Arc::new(snapshot));
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshots.borrow().clone()
    }

    /// Stops the server and frees its port.
    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        within("the server stops", self.task)
            .await
            .expect("the server does not panic");
    }
}

/// Waits for something that must happen, but not for ever.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("not within {PATIENCE:?}: {what}"),
    }
}

/// Waits until the registry shows what is looked for.
pub(crate) async fn until<T>(
    registry: &ConnectedProxies,
    what: &str,
    find: impl Fn(&ConnectedProxies) -> Option<T>,
) -> T {
    let poll = async {
        loop {
            if let Some(found) = find(registry) {
                return found;
            }
            // Rejections do not tick, so look again anyway.
            let mut changes = registry.changes();
            drop(tokio::time::timeout(Duration::from_millis(20), changes.changed()).await);
        }
    };
    within(what, poll).await
}
