//! Accepts connections of proxies, with limits for connections without a stream.
//!
//! A proxy opens its stream at once. A connection that has no stream for some time is closed, whether its peer
//! is silent, stops in the middle of the handshake, or closed its last stream. The number of connections on
//! which no proxy has sent its node yet is limited.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::Stream;
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::time::{Sleep, sleep};
use tombolo_telemetry::Outage;
use tonic::transport::server::Connected;

use super::transport::{Certificates, Transport};

/// The delay after a failed accept, for example without a free file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Limits for connections without a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The longest time without a stream.
    pub(super) idle: Duration,
    /// The greatest number of unidentified connections; the oldest is closed when there are more.
    pub(super) unidentified: usize,
}

/// Accepts connections for as long as it is polled.
pub(super) fn incoming(
    listener: TcpListener,
    limits: Limits,
    certificates: Option<Certificates>,
) -> impl Stream<Item = io::Result<Connection>> {
    let state = (
        listener,
        certificates,
        Unidentified::default(),
        Outage::default(),
    );
    futures::stream::unfold(
        state,
        move |(listener, certificates, unidentified, mut outage)| async move {
            let (stream, remote) = loop {
                match listener.accept().await {
                    Ok(accepted) => break accepted,
                    Err(error) => {
                        if outage.begins() {
                            tracing::warn!(%error, "proxies cannot be accepted");
                        }
                        sleep(ACCEPT_PAUSE).await;
                    }
                }
            };
            if let Some(failures) = outage.ended() {
                tracing::info!(failures, "proxies are accepted again");
            }
            // This fails if the peer has already disconnected; then the first read fails too.
            let _ = stream.set_nodelay(true);
            let peer = ConnectedPeer::new(remote);
            unidentified.add(&peer.shared, limits.unidentified);
            let connection = Connection {
                stream: Transport::new(stream, certificates.as_ref()),
                peer,
                idle: None,
                limit: limits.idle,
            };
            Some((
                Ok(connection),
                (listener, certificates, unidentified, outage),
            ))
        },
    )
}

/// The connections on which no proxy has sent its node yet, oldest first.
#[derive(Clone, Default)]
struct Unidentified(Arc<Mutex<VecDeque<Weak<Shared>>>>);

impl Unidentified {
    fn add(&self, connection: &Arc<Shared>, limit: usize) {
        let mut unidentified = self.0.lock();
        unidentified.retain(|connection| {
            let connection = connection.upgrade();
            connection.is_some_and(|connection| !connection.identified.load(Ordering::Relaxed))
        });
        while unidentified.len() >= limit.max(1) {
            if let Some(oldest) = unidentified.pop_front().and_then(|oldest| oldest.upgrade()) {
                oldest.evicted.store(true, Ordering::Relaxed);
                oldest.reader.wake();
            }
        }
        unidentified.push_back(Arc::downgrade(connection));
    }
}

/// The peer of a connection; streams get it from the transport.
#[derive(Clone)]
pub(super) struct ConnectedPeer {
    pub(super) addr: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    streams: AtomicUsize,
    /// Whether a stream on the connection has received a node.
    identified: AtomicBool,
    evicted: AtomicBool,
    /// Wakes the task that reads the connection when one of the above changes.
    reader: AtomicWaker,
}

impl ConnectedPeer {
    fn new(addr: SocketAddr) -> ConnectedPeer {
        let shared = Shared {
            streams: AtomicUsize::new(0),
            identified: AtomicBool::new(false),
            evicted: AtomicBool::new(false),
            reader: AtomicWaker::new(),
        };
        ConnectedPeer {
            addr,
            shared: Arc::new(shared),
        }
    }

    /// Registers an open stream, until the returned guard is dropped.
    pub(super) fn open_stream(&self) -> OpenStream {
        self.shared.streams.fetch_add(1, Ordering::Relaxed);
        OpenStream(self.shared.clone())
    }
}

/// Guard of an open stream, from [`ConnectedPeer::open_stream`].
pub(super) struct OpenStream(Arc<Shared>);

impl OpenStream {
    /// Records that the first request, with a node, was received.
    pub(super) fn mark_identified(&self) {
        self.0.identified.store(true, Ordering::Relaxed);
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
        self.0.reader.wake();
    }
}

/// A connection that fails with an I/O error after too long without a stream.
pub(super) struct Connection {
    stream: Transport,
    peer: ConnectedPeer,
    /// Runs while there is no stream.
    idle: Option<Pin<Box<Sleep>>>,
    limit: Duration,
}

impl Connection {
    /// Ready with an error once the connection was evicted or had no stream for too long.
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let shared = &self.peer.shared;
        shared.reader.register(cx.waker());
        if shared.evicted.load(Ordering::Relaxed) {
            let reason = "too many connections without a stream";
            return Poll::Ready(io::Error::new(io::ErrorKind::ConnectionAborted, reason));
        }
        if shared.streams.load(Ordering::Relaxed) > 0 {
            self.idle = None;
            return Poll::Pending;
        }
        let limit = self.limit;
        let idle = self.idle.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(idle.as_mut().poll(cx));
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }

    /// What came of a call on the transport; while it is pending, whether the connection has expired. HTTP/2 writes
    /// before it reads, and during a TLS handshake both wait for the peer.
    fn or_expired<T>(
        &mut self,
        called: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        match called {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => self.poll_expired(cx).map(Err),
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = ConnectedPeer;

    fn connect_info(&self) -> ConnectedPeer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.or_expired(read, cx)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buffer);
        self.or_expired(written, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.or_expired(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, buffers);
        self.or_expired(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
