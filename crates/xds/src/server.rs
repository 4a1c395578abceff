//! The control plane's end: one task per stream, driven by snapshots from a [`Source`].
//!
//! Each stream has its own task, its own [`session`] and a short queue, so a proxy that does
//! not read holds up nobody: its snapshots coalesce in the `watch` channel until it does.

mod codec;
pub mod connected_proxies;
mod connection;
pub mod session;
mod source;
mod stream;

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::{BoxFuture, Service as TowerService, http};
use tonic::metadata::MetadataMap;
use tonic::{Request, Status, Streaming};

pub use source::{Peer, Source, SubscribeError, SubscribeErrorCode};

use self::codec::{RequestDecoder, ResponseBody};
use self::connected_proxies::ConnectedProxies;
use self::connection::{ConnectedPeer, Limits};
use self::session::delta::Delta;
use self::session::sotw::Sotw;
use self::session::{ProtocolVariant, Push};

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
#[derive(Debug)]
pub struct Server<S> {
    source: Arc<S>,
    proxies: ConnectedProxies,
    options: ServerOptions,
}

impl<S: Source> Server<S> {
    /// A server that is not listening yet.
    pub fn new(source: S, options: ServerOptions) -> Server<S> {
        Server {
            source: Arc::new(source),
            proxies: ConnectedProxies::default(),
            options,
        }
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
        } = self;
        let (keepalive, drain) = (options.keepalive, options.drain);
        let limits = Limits {
            idle: options.handshake_timeout,
            silent: options.max_silent_connections,
        };
        let service = Service {
            source,
            proxies,
            options,
            stopping: stopping.clone(),
        };
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

/// Responses that may wait for the connection, per stream.
const RESPONSE_QUEUE: usize = 2;

async fn until(mut stopping: watch::Receiver<bool>) {
    // An error means that the server is gone, which is a stop too.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

struct Service<S> {
    source: Arc<S>,
    proxies: ConnectedProxies,
    options: ServerOptions,
    stopping: watch::Receiver<bool>,
}

impl<S> Clone for Service<S> {
    fn clone(&self) -> Service<S> {
        Service {
            source: self.source.clone(),
            proxies: self.proxies.clone(),
            options: self.options.clone(),
            stopping: self.stopping.clone(),
        }
    }
}

impl<S: Source> Service<S> {
    /// Answers at once, so that a proxy never waits for headers; everything else happens in
    /// the task of the stream.
    fn open<D: ProtocolVariant>(
        &self,
        request: Request<Streaming<D::Request>>,
    ) -> ReceiverStream<Result<Push, Status>> {
        let connection = request.extensions().get::<ConnectedPeer>().cloned();
        let (headers, _, inbound) = request.into_parts();
        let (outbound, responses) = tokio::sync::mpsc::channel(RESPONSE_QUEUE);
        let stream = stream::Stream::<S, D> {
            source: self.source.clone(),
            proxies: self.proxies.clone(),
            options: self.options.clone(),
            stopping: self.stopping.clone(),
            peer: Peer::new(connection.as_ref().map(|peer| peer.addr), headers),
            open: connection.map(|peer| peer.open_stream()),
            inbound,
            outbound,
        };
        tokio::spawn(stream.run());
        ReceiverStream::new(responses)
    }

    /// A call of one of the two methods of `envoy.service.discovery.v3.AggregatedDiscoveryService`.
    fn serve<D: ProtocolVariant>(
        &self,
        request: http::Request<tonic::body::Body>,
    ) -> http::Response<tonic::body::Body> {
        let (parts, body) = request.into_parts();
        let limit = Some(self.options.max_message_bytes);
        let requests = Streaming::new_request(RequestDecoder::<D>::default(), body, None, limit);
        let metadata = MetadataMap::from_headers(parts.headers);
        let call = Request::from_parts(metadata, parts.extensions, requests);
        let body = ResponseBody::<D>::new(self.open::<D>(call));
        let mut response = http::Response::new(tonic::body::Body::new(body));
        let content = http::HeaderValue::from_static("application/grpc");
        response
            .headers_mut()
            .insert(http::header::CONTENT_TYPE, content);
        response
    }
}

// The generated service would demand responses as messages; these are encoded already.
impl<S: Source> TowerService<http::Request<tonic::body::Body>> for Service<S> {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let path = request.uri().path();
            Ok(
                match path.strip_prefix("/envoy.service.discovery.v3.AggregatedDiscoveryService/") {
                    Some("StreamAggregatedResources") => service.serve::<Sotw>(request),
                    Some("DeltaAggregatedResources") => service.serve::<Delta>(request),
                    _ => Status::unimplemented("only aggregated discovery is served").into_http(),
                },
            )
        })
    }
}
