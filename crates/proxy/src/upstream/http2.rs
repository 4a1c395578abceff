//! HTTP/2 connections to a host. Each carries as many concurrent requests as both ends permit; another is opened when
//! all are full.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use hyper::client::conn::{TrySendError, http2};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, Notify};

use super::connect::ConnectError;
use super::connection_pool::{AcquireError, ConnectionGuard, PendingRequest};
use super::{ThreadLocalCluster, Upstream};
use crate::config::cluster;
use crate::http::received_body::{
    CONNECTION_WINDOW, HTTP2_FIELDS, IncomingBody, SEND_BUFFER, STREAM_WINDOW, http2_header_list,
};
use crate::http::upstream_request_body::OutgoingBody;

/// The connections of one worker to one host.
#[derive(Default)]
pub(super) struct Connections {
    open: RefCell<Vec<Rc<Connection>>>,
    /// Held while connecting, so that concurrent requests share the connection.
    opening: Mutex<()>,
    /// Notified when a request ends or a connection opens or closes.
    freed: Notify,
}

struct Connection {
    sender: http2::SendRequest<OutgoingBody>,
    /// `SETTINGS_MAX_CONCURRENT_STREAMS` of the host; 0 before its first SETTINGS frame.
    permitted: Cell<usize>,
    active: Cell<u32>,
    /// Number of requests so far.
    served: Cell<u32>,
    /// Time at which the last request ended.
    idle_since: Cell<Instant>,
    settings_changed: Notify,
}

/// One request's slot on a connection; released on drop.
pub(super) struct Stream {
    connection: Rc<Connection>,
    upstream: Rc<Upstream>,
}

impl Connection {
    fn has_room(&self, config: &cluster::Cluster) -> bool {
        let active = self.active.get();
        (active as usize) < self.permitted.get() && active < config.max_concurrent_streams
    }
}

impl Stream {
    /// A slot on a connection with room; a new connection is opened if none has room.
    pub(super) async fn acquire(
        cluster: &Rc<ThreadLocalCluster>,
        upstream: &Rc<Upstream>,
    ) -> Result<Self, AcquireError> {
        match Self::take(cluster, upstream) {
            Some(stream) => Ok(stream),
            // Boxed, because the state of every request would otherwise have room for a rare case.
            None => Box::pin(Self::wait(cluster, upstream)).await,
        }
    }

    async fn wait(
        cluster: &Rc<ThreadLocalCluster>,
        upstream: &Rc<Upstream>,
    ) -> Result<Self, AcquireError> {
        let _pending = PendingRequest::take(cluster)?;
        let connections = &upstream.pool.http2;
        loop {
            let opening = connections.opening.lock().await;
            if let Some(stream) = Self::take(cluster, upstream) {
                return Ok(stream);
            }
            match ConnectionGuard::open(cluster, upstream) {
                Ok(guard) => {
                    let connection = open(cluster, upstream, guard).await?;
                    if !upstream.pool.is_retired() {
                        connections.open.borrow_mut().push(connection.clone());
                        connections.freed.notify_waiters();
                    }
                    return Ok(Self::on(connection, upstream));
                }
                // Without open connections, no slot can become free.
                Err(AcquireError::Overflow) if upstream.pool.connections() > 0 => {}
                Err(error) => return Err(error),
            }
            let freed = pin!(connections.freed.notified());
            drop(opening);
            freed.await;
        }
    }

    fn take(cluster: &ThreadLocalCluster, upstream: &Rc<Upstream>) -> Option<Self> {
        let runtime = cluster.runtime();
        let mut open = upstream.pool.http2.open.borrow_mut();
        open.retain(|connection| !connection.sender.is_closed());
        let at = open
            .iter()
            .position(|connection| connection.has_room(&runtime.config))?;
        let stream = Self::on(open[at].clone(), upstream);
        let limit = runtime.config.max_requests_per_connection;
        if limit.is_some_and(|limit| stream.connection.served.get() >= limit) {
            cluster.stats.upstream_cx_max_requests.inc();
            open.swap_remove(at);
        }
        Some(stream)
    }

    fn on(connection: Rc<Connection>, upstream: &Rc<Upstream>) -> Self {
        connection.active.set(connection.active.get() + 1);
        connection.served.set(connection.served.get() + 1);
        Self {
            connection,
            upstream: upstream.clone(),
        }
    }

    /// Sends a request. On error the request is returned if nothing of it was sent.
    pub(super) async fn send(
        &self,
        request: http::Request<OutgoingBody>,
    ) -> Result<http::Response<IncomingBody>, TrySendError<http::Request<OutgoingBody>>> {
        let mut sender = self.connection.sender.clone();
        let response = sender.try_send_request(request).await?;
        Ok(response.map(IncomingBody::Http2))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let connection = &self.connection;
        connection.active.set(connection.active.get() - 1);
        if connection.active.get() == 0 {
            connection.idle_since.set(Instant::now());
        }
        self.upstream.pool.http2.freed.notify_one();
    }
}

impl Connections {
    /// A connection was closed, so another one may be opened.
    pub(super) fn connection_closed(&self) {
        self.freed.notify_one();
    }

    /// For a removed host: connections close after their requests.
    pub(super) fn retire(&self) {
        self.open.borrow_mut().clear();
    }

    /// Closes connections that have been idle too long; returns their number.
    pub(super) fn maintain(&self, now: Instant, idle_timeout: Option<Duration>) -> u64 {
        let Some(timeout) = idle_timeout else {
            return 0;
        };
        let mut open = self.open.borrow_mut();
        let before = open.len();
        open.retain(|connection| {
            connection.active.get() > 0
                || now.saturating_duration_since(connection.idle_since.get()) < timeout
        });
        (before - open.len()) as u64
    }
}

/// A new connection, after the host's first SETTINGS have set its stream limit.
async fn open(
    cluster: &Rc<ThreadLocalCluster>,
    upstream: &Upstream,
    guard: ConnectionGuard,
) -> Result<Rc<Connection>, ConnectError> {
    let stream = cluster.connect(upstream).await?;
    let config = cluster.runtime().config.clone();
    let opened = tokio::time::timeout(config.connect_timeout, handshake(stream, &config, guard));
    let failed = match opened.await {
        Ok(Ok(connection)) => {
            cluster.stats.upstream_cx_http2_total.inc();
            return Ok(connection);
        }
        Ok(Err(error)) => ConnectError::Failed(error),
        Err(_) => ConnectError::Timeout,
    };
    cluster.stats.connect_failed(&failed);
    Err(failed)
}

async fn handshake(
    stream: TcpStream,
    config: &cluster::Cluster,
    guard: ConnectionGuard,
) -> io::Result<Rc<Connection>> {
    let executor = ConnectionExecutor::default();
    executor.0.guard.set(Some(guard));
    let mut builder = http2::Builder::new(executor.clone());
    builder
        .timer(TokioTimer::new())
        // None before the host's SETTINGS.
        .initial_max_send_streams(0)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(http2_header_list(HTTP2_FIELDS.bytes));
    if let Some(keepalive) = config.http2_keepalive {
        builder
            .keep_alive_interval(keepalive.interval)
            .keep_alive_timeout(keepalive.timeout)
            .keep_alive_while_idle(true);
    }
    let (sender, mut driver) = builder
        .handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let connection = Rc::new(Connection {
        sender,
        permitted: Cell::new(0),
        active: Cell::new(0),
        served: Cell::new(0),
        idle_since: Cell::new(Instant::now()),
        settings_changed: Notify::new(),
    });
    // Weak, because the connection closes when it is neither pooled nor in use.
    let weak = Rc::downgrade(&connection);
    tokio::task::spawn_local(async move {
        let ended = std::future::poll_fn(|cx| {
            let polled = Pin::new(&mut driver).poll(cx);
            executor.0.waker.replace(Some(cx.waker().clone()));
            if let Some(connection) = weak.upgrade() {
                let permitted = driver.current_max_send_streams();
                if connection.permitted.replace(permitted) != permitted {
                    connection.settings_changed.notify_waiters();
                }
            }
            polled
        })
        .await;
        if let Some(connection) = weak.upgrade() {
            connection.settings_changed.notify_waiters();
        }
        if let Err(error) = ended {
            tracing::debug!(%error, "upstream connection ended");
        }
    });
    loop {
        let settings_changed = connection.settings_changed.notified();
        if connection.sender.is_closed() {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the connection ended before the first HTTP/2 SETTINGS",
            ));
        }
        if connection.permitted.get() > 0 {
            return Ok(connection.clone());
        }
        settings_changed.await;
    }
}

/// Runs hyper's tasks on this thread. After each poll of the task that reads the connection, the task that checks the
/// host's SETTINGS is woken.
#[derive(Clone, Default)]
struct ConnectionExecutor(Rc<ExecutorState>);

#[derive(Default)]
struct ExecutorState {
    /// Moves into the first task, which reads and writes the connection, and counts the connection as open until it
    /// is closed.
    guard: Cell<Option<ConnectionGuard>>,
    waker: RefCell<Option<Waker>>,
}

impl<F: Future<Output = ()> + 'static> Executor<F> for ConnectionExecutor {
    fn execute(&self, future: F) {
        let Some(guard) = self.0.guard.take() else {
            tokio::task::spawn_local(future);
            return;
        };
        let state = self.0.clone();
        tokio::task::spawn_local(async move {
            let _guard = guard;
            let mut future = pin!(future);
            std::future::poll_fn(|cx| {
                let polled: Poll<()> = future.as_mut().poll(cx);
                if let Some(waker) = &*state.waker.borrow() {
                    waker.wake_by_ref();
                }
                polled
            })
            .await;
        });
    }
}
