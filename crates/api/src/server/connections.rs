//! Accepts connections and serves HTTP/1 on them; drains them at shutdown.

use super::{Server, write_timeout::WriteTimeout};
use axum::body::Body;
use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, future::Future, io, pin::pin, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tombolo_telemetry::Outage;

/// The maximum size of a request's head in bytes. SDKs send a few kilobytes, session tokens included.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// The delay after a failed accept, which usually means that there is no free file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

pub(super) async fn serve(
    server: Server,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    tracing::info!(%address, "listening");
    let drain = server.config.drain;
    let permits = Arc::new(Semaphore::new(server.config.max_connections));
    let server = Arc::new(server);
    let (stop, stopping) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut outage = Outage::default();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = async {
            // The semaphore is never closed, so this waits for a permit and always gets one.
            let permit = permits.clone().acquire_owned().await.ok();
            (permit, listener.accept().await)
        };
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            (permit, accepted) = accepted => match accepted {
                Ok((stream, _)) => {
                    if let Some(failures) = outage.ended() {
                        tracing::info!(%address, failures, "accepting connections again");
                    }
                    let (server, stopping) = (server.clone(), stopping.clone());
                    connections.spawn(async move {
                        connection(server, stream, stopping).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    if outage.begins() {
                        tracing::warn!(%address, %error, "cannot accept a connection");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    // An error means that there is no open connection.
    let _ = stop.send(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    if timeout(drain, drained).await.is_err() {
        tracing::warn!(%address, "closing connections that did not finish in time");
    }
    Ok(())
}

async fn connection(server: Arc<Server>, stream: TcpStream, stopping: watch::Receiver<bool>) {
    // Without Nagle's algorithm, small answers do not wait for the acknowledgement of earlier ones.
    let _ = stream.set_nodelay(true);
    let Some(tls) = &server.tls else {
        return requests(server, stream, stopping).await;
    };
    match timeout(server.config.read_timeout, tls.acceptor().accept(stream)).await {
        Ok(Ok(stream)) => requests(server, stream, stopping).await,
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => tracing::debug!("TLS handshake timed out"),
    }
}

async fn requests(
    server: Arc<Server>,
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    mut stopping: watch::Receiver<bool>,
) {
    let read_timeout = server.config.read_timeout;
    let service = service_fn(move |request: Request<Incoming>| {
        let server = server.clone();
        async move { Ok::<_, Infallible>(server.handle(request.map(Body::new)).await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(read_timeout)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(
                TokioIo::new(WriteTimeout::new(stream, read_timeout)),
                service
            )
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection failed");
    }
}
