//! Upstream HTTP connections of one worker to one host: HTTP/1 ones taken last-in first-out, HTTP/2 ones shared.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use http::{Request, Response};
use hyper::client::conn::TrySendError;
use tokio::sync::oneshot;

use super::connect::{ConnectError, connect};
use super::http2::{Connections, Stream};
use super::{Cluster, Upstream};
use crate::cluster_runtime::ClusterRuntime;
use crate::descriptors::Descriptor;
use crate::http::incoming::IncomingBody;
use crate::http::outgoing::OutgoingBody;
use crate::http1::{
    BufferedStream, Limits, OutgoingHead, SendError, UpstreamConnection, WriteCoalescer,
};
use crate::local_arc::LocalArc;
use crate::metrics::ClusterStats;

/// Limits of a response head, unless the cluster's buffer limit sets others.
const DEFAULT_HEAD_LIMITS: Limits = Limits {
    bytes: 400 * 1024,
    fields: 100,
};
/// The least that a buffer limit can set.
const MIN_HEAD_BYTES: usize = 8 * 1024;

#[derive(Default)]
pub(crate) struct Pool {
    idle: RefCell<Vec<IdleConnection>>,
    /// Requests that wait because the connection limit is reached.
    waiting: RefCell<VecDeque<oneshot::Sender<Option<IdleConnection>>>>,
    pub(super) http2: Connections,
    connections: Cell<u32>,
    /// The host was removed: nothing returns to the pool.
    retired: Cell<bool>,
}

/// An HTTP/1 connection without a request on it.
pub(crate) struct IdleConnection {
    connection: Rc<UpstreamConnection>,
    since: Instant,
    served: u32,
}

/// Why no connection could be acquired.
#[derive(Debug)]
pub(crate) enum AcquireError {
    Overflow,
    Connect(ConnectError),
}

impl From<ConnectError> for AcquireError {
    fn from(error: ConnectError) -> Self {
        Self::Connect(error)
    }
}

/// A connection for one request. Dropping it closes an HTTP/1 connection; [`PooledConnection::recycle`] keeps it.
pub(crate) struct PooledConnection {
    cluster: Rc<Cluster>,
    runtime: LocalArc<ClusterRuntime>,
    pub(crate) upstream: Rc<Upstream>,
    connection: Connection,
}

enum Connection {
    Http1 {
        connection: Rc<UpstreamConnection>,
        served: u32,
    },
    Http2(Stream),
    /// For one request only.
    Dedicated(Rc<UpstreamConnection>),
    None,
}

impl PooledConnection {
    /// Counts the request against the cluster's limit and acquires a connection to the host.
    pub(crate) async fn acquire(
        cluster: &Rc<Cluster>,
        upstream: &Rc<Upstream>,
        http2: bool,
    ) -> Result<Self, AcquireError> {
        let mut pooled = Self::begin(cluster, upstream)?;
        if http2 {
            pooled.connection = Connection::Http2(Stream::acquire(cluster, upstream).await?);
        } else {
            let idle = acquire_http1(cluster, upstream).await?;
            pooled.connection = Connection::Http1 {
                connection: idle.connection,
                served: idle.served,
            };
        }
        Ok(pooled)
    }

    /// As [`PooledConnection::acquire`], with a new HTTP/1 connection that may switch protocols and is never kept.
    pub(crate) async fn dedicated(
        cluster: &Rc<Cluster>,
        upstream: &Rc<Upstream>,
    ) -> Result<Self, AcquireError> {
        let mut pooled = Self::begin(cluster, upstream)?;
        let _pending = PendingRequest::take(cluster)?;
        let guard = ConnectionGuard::open(cluster, upstream)?;
        pooled.connection = Connection::Dedicated(connect_http1(cluster, upstream, guard).await?);
        Ok(pooled)
    }

    fn begin(cluster: &Rc<Cluster>, upstream: &Rc<Upstream>) -> Result<Self, AcquireError> {
        let runtime = cluster.runtime();
        if !runtime.state.breakers.requests.try_take() {
            cluster.stats.upstream_rq_pending_overflow.inc();
            return Err(AcquireError::Overflow);
        }
        upstream.active.set(upstream.active.get() + 1);
        cluster.stats.upstream_rq_active.inc();
        // From here on, dropping it releases the slot.
        Ok(Self {
            cluster: cluster.clone(),
            runtime,
            upstream: upstream.clone(),
            connection: Connection::None,
        })
    }

    pub(crate) fn stats(&self) -> &ClusterStats {
        &self.cluster.stats
    }

    pub(crate) fn runtime(&self) -> &ClusterRuntime {
        &self.runtime
    }

    /// Sends a request over HTTP/1.
    pub(crate) async fn send(
        &self,
        head: OutgoingHead<'_>,
        body: OutgoingBody,
        write_coalescer: &WriteCoalescer,
    ) -> Result<Response<IncomingBody>, SendError> {
        match &self.connection {
            Connection::Http1 { connection, .. } | Connection::Dedicated(connection) => {
                connection.send(head, body, write_coalescer).await
            }
            Connection::Http2(_) | Connection::None => Err(SendError::Unsent(body)),
        }
    }

    /// Sends a request over HTTP/2. On error it comes back if nothing of it was sent; `None`: this is no HTTP/2
    /// connection.
    pub(crate) async fn send_http2(
        &self,
        request: Request<OutgoingBody>,
    ) -> Option<Result<Response<IncomingBody>, TrySendError<Request<OutgoingBody>>>> {
        match &self.connection {
            Connection::Http2(stream) => Some(stream.send(request).await),
            Connection::Http1 { .. } | Connection::Dedicated(_) | Connection::None => None,
        }
    }

    /// The connection itself, once it has switched protocols.
    pub(crate) fn take_stream(&self) -> Option<BufferedStream> {
        match &self.connection {
            Connection::Dedicated(connection) => connection.take_stream(),
            _ => None,
        }
    }

    /// Returns the connection to the pool after a complete exchange.
    pub(crate) fn recycle(&mut self) {
        if !matches!(self.connection, Connection::Http1 { .. }) {
            return;
        }
        let Connection::Http1 { connection, served } =
            std::mem::replace(&mut self.connection, Connection::None)
        else {
            return;
        };
        let pool = &self.upstream.pool;
        let served = served + 1;
        let exhausted = self
            .runtime
            .config
            .max_requests_per_connection
            .is_some_and(|most| served >= most);
        if exhausted {
            self.cluster.stats.upstream_cx_max_requests.inc();
        }
        if !exhausted && !pool.retired.get() && connection.is_reusable() {
            pool.put(IdleConnection {
                connection,
                since: Instant::now(),
                served,
            });
        }
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        self.upstream.active.set(self.upstream.active.get() - 1);
        self.cluster.stats.upstream_rq_active.dec();
        self.runtime.state.breakers.requests.release();
    }
}

impl Pool {
    pub(crate) fn connections(&self) -> u32 {
        self.connections.get()
    }

    fn put(&self, mut idle: IdleConnection) {
        while let Some(waiter) = self.waiting.borrow_mut().pop_front() {
            match waiter.send(Some(idle)) {
                Ok(()) => return,
                // The waiter is gone; `send` returns the value.
                Err(Some(back)) => idle = back,
                Err(None) => return,
            }
        }
        self.idle.borrow_mut().push(idle);
    }

    fn take(&self) -> Option<IdleConnection> {
        let mut idle = self.idle.borrow_mut();
        loop {
            let candidate = idle.pop()?;
            if candidate.connection.is_alive() {
                return Some(candidate);
            }
        }
    }

    /// The host is gone: idle connections close now, others after their request, and nothing comes back.
    pub(crate) fn retire(&self) {
        self.retired.set(true);
        self.idle.borrow_mut().clear();
        self.http2.retire();
    }

    /// Closes connections idle for too long; returns how many.
    pub(crate) fn maintain(&self, now: Instant, idle_timeout: Option<Duration>) -> u64 {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|idle| idle.connection.is_alive());
        let before = idle.len();
        if let Some(timeout) = idle_timeout {
            idle.retain(|idle| now.duration_since(idle.since) < timeout);
        }
        (before - idle.len()) as u64 + self.http2.maintain(now, idle_timeout)
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.get()
    }

    fn connection_closed(&self) {
        self.connections.set(self.connections.get() - 1);
        self.http2.connection_closed();
        // The limit has room; the first waiter tries to use it.
        while let Some(waiter) = self.waiting.borrow_mut().pop_front() {
            if waiter.send(None).is_ok() {
                return;
            }
        }
    }
}

/// An HTTP/1 connection for one request: an idle one, a new one, or the first that is returned.
async fn acquire_http1(
    cluster: &Rc<Cluster>,
    upstream: &Rc<Upstream>,
) -> Result<IdleConnection, AcquireError> {
    let pool = &upstream.pool;
    loop {
        if let Some(idle) = pool.take() {
            return Ok(idle);
        }
        // Boxed, because the state of every request would otherwise carry room for what few requests do.
        if let Some(idle) = Box::pin(open(cluster, upstream)).await? {
            return Ok(idle);
        }
    }
}

/// A new connection, or one that another request returns; `None` asks to try the idle ones again.
async fn open(
    cluster: &Rc<Cluster>,
    upstream: &Rc<Upstream>,
) -> Result<Option<IdleConnection>, AcquireError> {
    let pool = &upstream.pool;
    {
        let _pending = PendingRequest::take(cluster)?;
        let guard = match ConnectionGuard::open(cluster, upstream) {
            Ok(guard) => guard,
            // Without a connection there is none to wait for.
            Err(AcquireError::Overflow) if pool.connections() > 0 => {
                let (sender, receiver) = oneshot::channel();
                pool.waiting.borrow_mut().push_back(sender);
                return Ok(receiver.await.unwrap_or_default());
            }
            Err(error) => return Err(error),
        };
        Ok(Some(IdleConnection {
            connection: connect_http1(cluster, upstream, guard).await?,
            since: Instant::now(),
            served: 0,
        }))
    }
}

/// A new HTTP/1 connection.
async fn connect_http1(
    cluster: &Cluster,
    upstream: &Upstream,
    guard: ConnectionGuard,
) -> Result<Rc<UpstreamConnection>, ConnectError> {
    let stream = cluster.connect(upstream).await?;
    let mut limits = DEFAULT_HEAD_LIMITS;
    if let Some(limit) = cluster.runtime().config.buffer_limit {
        limits.bytes = (limit as usize).max(MIN_HEAD_BYTES);
    }
    cluster.stats.upstream_cx_http1_total.inc();
    Ok(Rc::new(UpstreamConnection::new(
        BufferedStream::new(stream, BytesMut::new()),
        limits,
        guard,
    )))
}

impl Cluster {
    pub(crate) async fn connect(
        &self,
        upstream: &Upstream,
    ) -> Result<tokio::net::TcpStream, ConnectError> {
        let runtime = self.runtime();
        match connect(upstream.host.address, &runtime.config, self.mark()).await {
            Ok(stream) => Ok(stream),
            Err(error) => {
                self.stats.connect_failed(&error);
                Err(error)
            }
        }
    }
}

/// Counts a request as pending until dropped.
pub(super) struct PendingRequest {
    cluster: Rc<Cluster>,
    runtime: LocalArc<ClusterRuntime>,
}

impl PendingRequest {
    pub(super) fn take(cluster: &Rc<Cluster>) -> Result<Self, AcquireError> {
        let runtime = cluster.runtime();
        if !runtime.state.breakers.pending.try_take() {
            cluster.stats.upstream_rq_pending_overflow.inc();
            return Err(AcquireError::Overflow);
        }
        cluster.stats.upstream_rq_pending_total.inc();
        cluster.stats.upstream_rq_pending_active.inc();
        Ok(Self {
            cluster: cluster.clone(),
            runtime,
        })
    }
}

impl Drop for PendingRequest {
    fn drop(&mut self) {
        self.cluster.stats.upstream_rq_pending_active.dec();
        self.runtime.state.breakers.pending.release();
    }
}

/// Counts one open upstream connection until dropped.
pub(crate) struct ConnectionGuard {
    cluster: Rc<Cluster>,
    upstream: Rc<Upstream>,
    runtime: LocalArc<ClusterRuntime>,
    _descriptor: Descriptor,
}

impl ConnectionGuard {
    /// Counts a new connection against the cluster's limit. A worker without any connection to this host may always
    /// open one, as in Envoy, or it could never serve.
    pub(crate) fn open(
        cluster: &Rc<Cluster>,
        upstream: &Rc<Upstream>,
    ) -> Result<Self, AcquireError> {
        let runtime = cluster.runtime();
        let Some(descriptor) = cluster.environment.descriptors.upstream() else {
            cluster.stats.upstream_cx_overflow.inc();
            return Err(AcquireError::Overflow);
        };
        let connections = &runtime.state.breakers.connections;
        if !connections.try_take() {
            cluster.stats.upstream_cx_overflow.inc();
            if upstream.pool.connections.get() > 0 {
                return Err(AcquireError::Overflow);
            }
            connections.take();
        }
        cluster.stats.upstream_cx_total.inc();
        cluster.stats.upstream_cx_active.inc();
        upstream
            .pool
            .connections
            .set(upstream.pool.connections.get() + 1);
        Ok(Self {
            cluster: cluster.clone(),
            upstream: upstream.clone(),
            runtime,
            _descriptor: descriptor,
        })
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.cluster.stats.upstream_cx_active.dec();
        self.cluster.stats.upstream_cx_destroy.inc();
        self.runtime.state.breakers.connections.release();
        self.upstream.pool.connection_closed();
    }
}
