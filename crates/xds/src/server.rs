//! The control plane's end: streams of proxies, driven by snapshots from a [`Source`].
//!
//! Each stream has a task and a [`session`] of its own, so a proxy that does not read holds up nobody: its
//! snapshots coalesce in the `watch` channel until it does.

mod codec;
pub mod connected_proxies;
mod connection;
mod metrics;
pub mod session;
mod source;
mod stream;

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
use tonic::metadata::MetadataMap;

pub use source::{Peer, Snapshots, Source};

use self::codec::Requests;
use self::connected_proxies::ConnectedProxies;
use self::connection::{ConnectedPeer, Limits};
use self::metrics::Metrics;
use self::session::ProtocolVariant;
use self::session::delta::Delta;
use self::session::sotw::Sotw;
use self::stream::Stream;

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
    /// How long a stream may take to say who it is, and how long a connection may be without a stream.
    pub handshake_timeout: Duration,
    /// How many connections may not have said who they are. Beyond that the oldest of them is closed.
    pub max_silent_connections: usize,
    /// How long connections may take to close after a shutdown.
    pub drain: Duration,
}

impl Default for ServerOptions {
    fn default() -> ServerOptions {
        ServerOptions {
            max_streams: 50_000,
            max_message_bytes: 4 << 20,
            keepalive: Duration::from_secs(20),
            handshake_timeout: Duration::from_secs(20),
            max_silent_connections: 256,
            drain: Duration::from_secs(2),
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
    /// A server that is not listening yet.
    pub fn new(source: S, options: ServerOptions) -> Server<S> {
        Server {
            source: Arc::new(source),
            proxies: ConnectedProxies::default(),
            options,
            metrics: Metrics::new(),
        }
    }

    /// Shows what the server counts in this registry.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// The proxies that are connected to this server.
    pub fn proxies(&self) -> ConnectedProxies {
        self.proxies.clone()
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
            proxies,
            options,
            metrics,
        } = self;
        let (keepalive, drain) = (options.keepalive, options.drain);
        let limits = Limits {
            idle: options.handshake_timeout,
            silent: options.max_silent_connections,
        };
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
                connection::incoming(listener, limits),
                until(stopping),
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

/// A proxy needs one; a few more are in order while it reconnects.
const MAX_STREAMS_PER_CONNECTION: u32 = 64;

/// The headers of a call: room for signatures and tokens.
const MAX_HEADER_BYTES: u32 = 32 << 10;

async fn until(mut stopping: watch::Receiver<bool>) {
    // An error means that the server is gone, which is a stop too.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// What all streams share.
struct Inner<S> {
    source: Arc<S>,
    proxies: ConnectedProxies,
    options: ServerOptions,
    metrics: Metrics,
    stopping: watch::Receiver<bool>,
}

/// `envoy.service.discovery.v3.AggregatedDiscoveryService`. The generated service would demand responses as messages;
/// these are encoded already.
struct Service<S>(Arc<Inner<S>>);

impl<S> Clone for Service<S> {
    fn clone(&self) -> Service<S> {
        Service(self.0.clone())
    }
}

impl<S: Source> Service<S> {
    /// Answers at once, so that a proxy never waits for headers; everything else happens in the body of the answer.
    fn open<V: ProtocolVariant>(
        &self,
        request: http::Request<tonic::body::Body>,
    ) -> http::Response<tonic::body::Body> {
        let (parts, body) = request.into_parts();
        let peer = parts.extensions.get::<ConnectedPeer>();
        let stream = Stream::<S, V> {
            server: self.0.clone(),
            peer: peer.map(|peer| peer.addr),
            headers: MetadataMap::from_headers(parts.headers),
            open: peer.map(ConnectedPeer::open_stream),
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
