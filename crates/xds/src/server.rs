//! The aggregated discovery service: sends snapshots from a [`Source`] to proxies.
//!
//! Each stream has its own task and [`session`], so a proxy that does not read blocks no other: its snapshots coalesce
//! in the `watch` channel until it reads again.

pub mod connected_proxies;
mod grpc_framing;
mod incoming;
mod metrics;
mod refusals;
pub mod session;
mod source;
mod stream;
mod transport;

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tombolo_telemetry::metrics::Registry;
use tonic::Status;
use tonic::codegen::{Service as TowerService, http};

pub use refusals::Refusal;
pub use source::{Peer, Snapshots, Source};
pub use transport::Certificates;

use self::connected_proxies::ConnectedProxies;
use self::grpc_framing::Requests;
use self::incoming::{ConnectedPeer, Limits};
use self::metrics::Metrics;
use self::session::ProtocolVariant;
use self::session::delta::Delta;
use self::session::sotw::Sotw;
use self::stream::Stream;

/// Limits and timing of a server.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The greatest number of open streams.
    pub max_streams: usize,
    /// The largest request that is accepted, in bytes.
    pub max_message_bytes: usize,
    /// The interval of HTTP/2 pings, and the timeout of each.
    pub keepalive: Duration,
    /// The timeout of a stream's first request, and of a connection without a stream.
    pub handshake_timeout: Duration,
    /// The greatest number of connections on which no proxy has sent its node yet. The oldest is closed when there are
    /// more.
    pub max_unidentified_connections: usize,
    /// The time for connections to close after a shutdown.
    pub drain: Duration,
    /// Serves TLS with these certificates; plaintext where there are none.
    pub certificates: Option<Certificates>,
}

impl Default for ServerOptions {
    fn default() -> ServerOptions {
        ServerOptions {
            max_streams: 50_000,
            max_message_bytes: 4 << 20,
            keepalive: Duration::from_secs(20),
            handshake_timeout: Duration::from_secs(20),
            max_unidentified_connections: 256,
            drain: Duration::from_secs(2),
            certificates: None,
        }
    }
}

/// An aggregated discovery service.
pub struct Server<S> {
    source: Arc<S>,
    proxies: ConnectedProxies,
    options: ServerOptions,
    metrics: Metrics,
}

impl<S: Source> Server<S> {
    /// A server that does not listen yet.
    pub fn new(source: S, options: ServerOptions) -> Server<S> {
        Server {
            source: Arc::new(source),
            proxies: ConnectedProxies::default(),
            options,
            metrics: Metrics::new(),
        }
    }

    /// Registers the server's metrics.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// The proxies that are or were connected to this server.
    pub fn proxies(&self) -> ConnectedProxies {
        self.proxies.clone()
    }

    /// Serves until `shutdown` is ready, then ends all streams; the proxies reconnect to another server.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), tonic::transport::Error> {
        let (stop, stopping) = watch::channel(false);
        let Server {
            source,
            proxies,
            options,
            metrics,
        } = self;
        let (keepalive, drain) = (options.keepalive, options.drain);
        let limits = Limits {
            idle: options.handshake_timeout,
            unidentified: options.max_unidentified_connections,
        };
        let certificates = options.certificates.clone();
        let service = Service(Arc::new(Inner {
            source,
            proxies,
            options,
            metrics,
            stopping: stopping.clone(),
        }));
        let serving = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(keepalive))
            .http2_keepalive_timeout(Some(keepalive))
            .http2_max_header_list_size(MAX_HEADER_BYTES)
            .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
            .serve_with_incoming_shutdown(
                service,
                incoming::incoming(listener, limits, certificates),
                stopped(stopping),
            );
        tokio::pin!(serving);
        tokio::select! {
            result = &mut serving => return result,
            () = shutdown => {}
        }
        stop.send_replace(true);
        tokio::time::timeout(drain, serving).await.unwrap_or(Ok(()))
    }
}

/// The limit of concurrent HTTP/2 streams. A proxy needs one, and a few more while it reconnects.
const MAX_STREAMS_PER_CONNECTION: u32 = 64;

/// The limit of the headers of a call, with room for signatures and tokens.
const MAX_HEADER_BYTES: u32 = 32 << 10;

/// Waits for the shutdown of the server.
async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error means that the server was dropped.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// The state that all streams share.
struct Inner<S> {
    source: Arc<S>,
    proxies: ConnectedProxies,
    options: ServerOptions,
    metrics: Metrics,
    stopping: watch::Receiver<bool>,
}

/// `envoy.service.discovery.v3.AggregatedDiscoveryService`. The generated service would require responses as messages;
/// ours are already encoded.
struct Service<S>(Arc<Inner<S>>);

impl<S> Clone for Service<S> {
    fn clone(&self) -> Service<S> {
        Service(self.0.clone())
    }
}

impl<S: Source> Service<S> {
    /// Answers a call at once with headers, so that a proxy never waits for them. The body of the answer is the
    /// stream of responses.
    fn open<V: ProtocolVariant>(
        &self,
        request: http::Request<tonic::body::Body>,
    ) -> http::Response<tonic::body::Body> {
        let (mut parts, body) = request.into_parts();
        let peer = std::mem::take(&mut parts.extensions).remove::<ConnectedPeer>();
        let stream = Stream::<S, V> {
            server: self.0.clone(),
            peer: peer.as_ref().map(|peer| peer.addr),
            open: peer.as_ref().map(ConnectedPeer::open_stream),
            head: Some(parts),
            requests: Requests::new(body, self.0.options.max_message_bytes),
            proxy: None,
        };
        let mut response = http::Response::new(stream.into_body());
        let content = http::HeaderValue::from_static("application/grpc");
        response
            .headers_mut()
            .insert(http::header::CONTENT_TYPE, content);
        response
    }
}

impl<S: Source> TowerService<http::Request<tonic::body::Body>> for Service<S> {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let path = request.uri().path();
        let method = path.strip_prefix("/envoy.service.discovery.v3.AggregatedDiscoveryService/");
        ready(Ok(match method {
            Some("StreamAggregatedResources") => self.open::<Sotw>(request),
            Some("DeltaAggregatedResources") => self.open::<Delta>(request),
            _ => Status::unimplemented("only aggregated discovery is served").into_http(),
        }))
    }
}
