//! A relay in a pod: plaintext calls on a Unix socket go to the control plane over TLS, with the pod's token.
//!
//! For proxies that can neither read a token nor believe a private authority, such as AWS's Envoy image. Calls are
//! passed on as they are, in both directions, whatever their protocol is; each connection of the proxy has one to the
//! control plane, and ends with it.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tombolo_telemetry::{ErrorChain, Outage};
use tonic::Status;
use tonic::codegen::http::{Request, Response, header, uri};

use crate::client::{ConnectError, Server, read_token};

/// Connections at a time: a proxy needs one, and one more while it restarts.
const MAX_CONNECTIONS: usize = 64;
/// The interval of HTTP/2 pings to the control plane; a connection that does not answer within the same time is given
/// up.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// The pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where calls go, and what is added to them.
#[derive(Clone, Debug)]
pub struct RelayOptions {
    /// The control plane.
    pub server: Server,
    /// PEM file of the authorities of its certificate; the system's where absent.
    pub authorities: Option<PathBuf>,
    /// A file whose content is sent as bearer token, read for each call.
    pub token_file: Option<PathBuf>,
}

/// Passes calls on until `shutdown` is ready.
pub async fn serve(
    listener: UnixListener,
    options: RelayOptions,
    shutdown: impl Future<Output = ()>,
) {
    let options = Arc::new(options);
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut outage = Outage::default();
    tokio::pin!(shutdown);
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = async {
            let slot = room.clone().acquire_owned().await;
            (listener.accept().await, slot)
        };
        let (accepted, slot) = tokio::select! {
            () = &mut shutdown => return,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                outage.ended();
                let options = options.clone();
                connections.spawn(async move {
                    let _slot = slot;
                    if let Err(error) = pass(stream, options).await {
                        tracing::debug!(%error, "a connection of the proxy ended");
                    }
                });
            }
            Err(error) => {
                if outage.begins() {
                    tracing::warn!(%error, "proxies cannot be accepted");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection of a proxy.
async fn pass(stream: UnixStream, options: Arc<RelayOptions>) -> Result<(), hyper::Error> {
    let upstream = Arc::new(tokio::sync::Mutex::new(None));
    let service = hyper::service::service_fn(move |request| {
        let (options, upstream) = (options.clone(), upstream.clone());
        async move { Ok::<_, Infallible>(forward(request, &options, &upstream).await) }
    });
    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await
}

type Upstream = tokio::sync::Mutex<Option<SendRequest<Incoming>>>;

/// Why a call was not passed on.
#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("HTTP/2")]
    Http(#[from] hyper::Error),
    #[error("the path of the call")]
    Path(#[source] io::Error),
}

async fn forward(
    request: Request<Incoming>,
    options: &RelayOptions,
    upstream: &Upstream,
) -> Response<tonic::body::Body> {
    match try_forward(request, options, upstream).await {
        Ok(response) => response.map(tonic::body::Body::new),
        Err(error) => {
            let why = ErrorChain(&error).to_string();
            tracing::warn!(%why, "the control plane cannot be reached");
            Status::unavailable(format!("the relay of this pod: {why}")).into_http()
        }
    }
}

async fn try_forward(
    mut request: Request<Incoming>,
    options: &RelayOptions,
    upstream: &Upstream,
) -> Result<Response<Incoming>, RelayError> {
    if let Some(path) = &options.token_file {
        let token = read_token(path).await?;
        request.headers_mut().insert(header::AUTHORIZATION, token);
    }
    request.headers_mut().remove(header::HOST);
    let path = request.uri().path_and_query();
    let target = uri::Builder::new()
        .scheme("https")
        .authority(options.server.authority())
        .path_and_query(path.map_or("/", |path| path.as_str()))
        .build();
    *request.uri_mut() = target.map_err(|error| RelayError::Path(io::Error::other(error)))?;
    let mut sender = {
        let mut kept = upstream.lock().await;
        match kept.as_ref().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender.clone(),
            None => kept.insert(connect(options).await?).clone(),
        }
    };
    Ok(sender.send_request(request).await?)
}

async fn connect(options: &RelayOptions) -> Result<SendRequest<Incoming>, RelayError> {
    let stream = options
        .server
        .connect(options.authorities.as_deref())
        .await?;
    let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .handshake(TokioIo::new(stream))
        .await?;
    // It ends when its senders are gone, which are those of one connection of the proxy.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the connection to the control plane ended");
        }
    });
    Ok(sender)
}
