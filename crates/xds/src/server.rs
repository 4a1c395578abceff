//! The control plane's end: one task per stream, driven by snapshots from a [`Source`].
//!
//! Each stream has its own task, its own [`session`] and a short queue, so a proxy that does
//! not read holds up nobody: its snapshots coalesce in the `watch` channel until it does.

pub mod registry;
pub mod session;
mod source;
mod stream;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

pub use source::{Peer, Refusal, RefusalCode, Source};

use self::registry::Registry;
use self::session::Dialect;
use self::session::delta::Delta;
use self::session::sotw::Sotw;
use crate::envoy::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use crate::envoy::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};

/// Limits and timing of a server.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// How many streams may be open at once.
    pub max_streams: usize,
    /// The largest request that is accepted, in bytes.
    pub max_message_bytes: usize,
    /// The interval of HTTP/2 pings; a connection that does not answer within the same
    /// time is closed.
    pub keepalive: Duration,
    /// How long a stream may take to introduce itself.
    pub greeting: Duration,
    /// How long connections may take to close after a shutdown.
    pub drain: Duration,
}

impl Default for ServerOptions {
    fn default() -> ServerOptions {
        ServerOptions {
            max_streams: 50_000,
            max_message_bytes: 16 << 20,
            keepalive: Duration::from_secs(20),
            greeting: Duration::from_secs(20),
            drain: Duration::from_secs(2),
        }
    }
}

/// An aggregated discovery service.
#[derive(Debug)]
pub struct Server<S> {
    source: Arc<S>,
    registry: Registry,
    options: ServerOptions,
}

impl<S: Source> Server<S> {
    /// A server that is not listening yet.
    pub fn new(source: S, options: ServerOptions) -> Server<S> {
        Server {
            source: Arc::new(source),
            registry: Registry::default(),
            options,
        }
    }

    /// The proxies that are connected to this server.
    pub fn registry(&self) -> Registry {
        self.registry.clone()
    }

    /// Serves until `shutdown` is ready, then ends all streams; the proxies will look for
    /// another server.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), tonic::transport::Error> {
        let (stop, stopping) = watch::channel(false);
        let Server {
            source,
            registry,
            options,
        } = self;
        let (keepalive, drain) = (options.keepalive, options.drain);
        let limit = options.max_message_bytes;
        let service = Service {
            source,
            registry,
            options,
            stopping: stopping.clone(),
        };
        let service =
            AggregatedDiscoveryServiceServer::new(service).max_decoding_message_size(limit);
        let incoming = TcpIncoming::from(listener)
            .with_nodelay(Some(true))
            .with_keepalive(Some(keepalive));
        let serving = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(keepalive))
            .http2_keepalive_timeout(Some(keepalive))
            .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
            .add_service(service)
            .serve_with_incoming_shutdown(incoming, until(stopping));
        tokio::pin!(serving);
        tokio::select! {
            result = &mut serving => return result,
            () = shutdown => {}
        }
        stop.send_replace(true);
        tokio::time::timeout(drain, serving).await.unwrap_or(Ok(()))
    }
}

/// A proxy needs one; a few more are in order while it reconnects.
const MAX_STREAMS_PER_CONNECTION: u32 = 64;

/// Responses that may wait for the connection, per stream.
const QUEUE: usize = 2;

async fn until(mut stopping: watch::Receiver<bool>) {
    // An error means that the server is gone, which is a stop too.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

struct Service<S> {
    source: Arc<S>,
    registry: Registry,
    options: ServerOptions,
    stopping: watch::Receiver<bool>,
}

impl<S: Source> Service<S> {
    /// Answers at once, so that a proxy never waits for headers; everything else happens in
    /// the task of the stream.
    fn open<D: Dialect>(
        &self,
        request: Request<Streaming<D::Request>>,
    ) -> Response<ReceiverStream<Result<D::Response, Status>>> {
        let addr = request.remote_addr();
        let (headers, _, inbound) = request.into_parts();
        let (outbound, responses) = tokio::sync::mpsc::channel(QUEUE);
        let stream = stream::Stream::<S, D> {
            source: self.source.clone(),
            registry: self.registry.clone(),
            options: self.options.clone(),
            stopping: self.stopping.clone(),
            peer: Peer::new(addr, headers),
            inbound,
            outbound,
        };
        tokio::spawn(stream.run());
        Response::new(ReceiverStream::new(responses))
    }
}

#[tonic::async_trait]
impl<S: Source> AggregatedDiscoveryService for Service<S> {
    type StreamAggregatedResourcesStream = ReceiverStream<Result<DiscoveryResponse, Status>>;
    type DeltaAggregatedResourcesStream = ReceiverStream<Result<DeltaDiscoveryResponse, Status>>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Ok(self.open::<Sotw>(request))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        Ok(self.open::<Delta>(request))
    }
}
