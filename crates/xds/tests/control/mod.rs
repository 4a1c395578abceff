//! A control plane for tests: one snapshot for every proxy, on a free port of loopback.

#![allow(dead_code, reason = "each test target uses its own part")]

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse,
};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tombolo_xds::server::connected_proxies::{Nack, Proxy};
use tombolo_xds::server::{Peer, ServerOptions, Snapshots, Source};
use tombolo_xds::{ConnectedProxies, Kind, Node, Server, Snapshot, Status};

/// The timeout of conditions that a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Gives the same snapshot to every proxy except those called `nobody`; asks for a token
/// those called `guarded`.
struct Same(watch::Receiver<Arc<Snapshot>>);

impl Source for Same {
    async fn subscribe(&self, node: &Node, peer: &Peer) -> Result<Snapshots, Status> {
        match &*node.id {
            "nobody" => Err(Status::not_found("there is no such node")),
            "guarded" if peer.bearer() != Some("sesame") => {
                Err(Status::unauthenticated("say the word"))
            }
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

    /// Waits until the proxies show what is looked for.
    pub(crate) async fn until<T>(&self, what: &str, find: impl Fn(&[Proxy]) -> Option<T>) -> T {
        let poll = async {
            loop {
                if let Some(found) = find(&self.proxies.proxies()) {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within(what, poll).await
    }

    /// Whether there is a proxy, and all that are connected have acknowledged this revision.
    pub(crate) fn is_acked(&self, revision: u64) -> bool {
        let mut proxies = self.proxies.proxies();
        proxies.retain(|proxy| proxy.connected);
        !proxies.is_empty() && proxies.iter().all(|p| p.revision_acked >= revision)
    }

    /// Waits for that.
    pub(crate) async fn acked(&self, revision: u64) {
        let what = format!("revision {revision} is acknowledged");
        self.until(&what, |_| self.is_acked(revision).then_some(()))
            .await;
    }

    /// Waits until the only proxy has rejected resources of a kind.
    pub(crate) async fn nack(&self, kind: Kind) -> Nack {
        let nack = |proxies: &[Proxy]| proxies.first()?.kinds.get(&kind)?.nack.clone();
        self.until("a rejection is shown", nack).await
    }

    /// Opens a delta stream with this as its first request, if any.
    pub(crate) async fn open_stream(&self, first: Option<DeltaDiscoveryRequest>) -> DeltaStream {
        let url = format!("http://{}", self.addr);
        let client = AggregatedDiscoveryServiceClient::connect(url).await;
        let (requests, outbound) = mpsc::channel(4);
        if let Some(request) = first {
            requests.send(request).await.expect("room for it");
        }
        let mut client = client.expect("a connection");
        let call = client.delta_aggregated_resources(ReceiverStream::new(outbound));
        let responses = within("an answer", call).await.expect("a stream");
        DeltaStream {
            requests,
            responses: responses.into_inner(),
        }
    }

    /// Stops the server and frees its port.
    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        within("the server stops", self.task)
            .await
            .expect("the server does not panic");
    }
}

/// A delta stream, message by message.
pub(crate) struct DeltaStream {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: tonic::Streaming<DeltaDiscoveryResponse>,
}

impl DeltaStream {
    pub(crate) async fn send(&self, kind: Kind, request: DeltaDiscoveryRequest) {
        let type_url = kind.type_url().into();
        let request = DeltaDiscoveryRequest {
            type_url,
            ..request
        };
        self.requests.send(request).await.expect("room for it");
    }

    pub(crate) async fn next(&mut self) -> DeltaDiscoveryResponse {
        let response = within("a response", self.responses.message()).await;
        response.expect("no error").expect("not the end")
    }

    /// Waits for the error with which the server ends the stream.
    pub(crate) async fn ended(&mut self) -> tonic::Code {
        let ended = within("the end of the stream", self.responses.message()).await;
        ended.expect_err("an error").code()
    }
}

/// A first request, of a proxy with this id.
pub(crate) fn hello(id: &str, kind: Kind) -> DeltaDiscoveryRequest {
    let node = Node {
        id: id.into(),
        ..Node::default()
    };
    DeltaDiscoveryRequest {
        node: Some((&node).into()),
        type_url: kind.type_url().into(),
        ..Default::default()
    }
}

/// Waits for something that must happen, but not for ever.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("not within {PATIENCE:?}: {what}"),
    }
}
