//! Upstream HTTP connections of one worker to one host: HTTP/1 connections are reused last-in first-out, HTTP/2 ones
//! are shared.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::client::conn::TrySendError;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::connect::{ConnectError, connect};
use super::http2::{Connections, Stream};
use super::{ThreadLocalCluster, Upstream};
use crate::cluster_runtime::{CircuitBreaker, CircuitBreakers, ClusterRuntime};
use crate::descriptor_budget::Descriptor;
use crate::generation::LocalArc;
use crate::http::received_body::IncomingBody;
use crate::http::upstream_request_body::OutgoingBody;
use crate::http1::{
    BufferedStream, Limits, OutgoingHead, SendError, UpstreamConnection, WriteCoalescer,
};
use crate::metrics::{ClusterStats, GaugeGuard};

/// Limits of a response head, unless the cluster's buffer limit sets others.
const DEFAULT_HEAD_LIMITS: Limits = Limits {
    bytes: 400 * 1024,
    fields: 100,
};
/// Minimum that a buffer limit can set.
const MIN_HEAD_BYTES: usize = 8 * 1024;

#[derive(Default)]
pub(crate) struct Pool {
    idle: RefCell<Vec<ReusableConnection>>,
    /// Requests that wait because the connection limit is reached.
    waiting: RefCell<VecDeque<oneshot::Sender<Option<ReusableConnection>>>>,
    pub(super) http2: Connections,
    connections: Cell<u32>,
    /// Whether the host was removed: nothing returns to the pool.
    retired: Cell<bool>,
}

/// An HTTP/1 connection that can carry one request after another.
struct ReusableConnection {
    connection: Rc<UpstreamConnection>,
    /// Time at which the last request ended.
    idle_since: Instant,
    /// Number of requests so far.
    served: u32,
}

/// The reason why no connection could be acquired.
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
    cluster: Rc<ThreadLocalCluster>,
    runtime: LocalArc<ClusterRuntime>,
    pub(crate) upstream: Rc<Upstream>,
    connection: Connection,
}

enum Connection {
    /// `None` before it is acquired and once it is back in the pool.
    Http1(Option<ReusableConnection>),
    Http2(Stream),
    /// A connection for one request only.
    Dedicated(Rc<UpstreamConnection>),
}

impl PooledConnection {
    /// Counts the request against the cluster's limit and acquires a connection to the host.
    pub(crate) async fn acquire(
        cluster: &Rc<ThreadLocalCluster>,
        upstream: &Rc<Upstream>,
        http2: bool,
    ) -> Result<Self, AcquireError> {
        let mut pooled = Self::begin(cluster, upstream)?;
        pooled.connection = if http2 {
            Connection::Http2(Stream::acquire(cluster, upstream).await?)
        } else {
            Connection::Http1(Some(acquire_http1(cluster, upstream).await?))
        };
        Ok(pooled)
    }

    /// As [`PooledConnection::acquire`], with a new HTTP/1 connection that may switch protocols and is never reused.
    pub(crate) async fn dedicated(
        cluster: &Rc<ThreadLocalCluster>,
        upstream: &Rc<Upstream>,
    ) -> Result<Self, AcquireError> {
        let mut pooled = Self::begin(cluster, upstream)?;
        let _pending = PendingRequest::take(cluster)?;
        let guard = ConnectionGuard::open(cluster, upstream)?;
        pooled.connection = Connection::Dedicated(connect_http1(cluster, upstream, guard).await?);
        Ok(pooled)
    }

    fn begin(
        cluster: &Rc<ThreadLocalCluster>,
        upstream: &Rc<Upstream>,
    ) -> Result<Self, AcquireError> {
        let runtime = cluster.runtime();
        if !runtime.state.breakers.requests.try_acquire() {
            cluster.stats.upstream_rq_pending_overflow.inc();
            return Err(AcquireError::Overflow);
        }
        upstream.active.set(upstream.active.get() + 1);
        cluster.stats.upstream_rq_active.inc();
        // Dropping it releases the slot from here on.
        Ok(Self {
            cluster: cluster.clone(),
            runtime,
            upstream: upstream.clone(),
            connection: Connection::Http1(None),
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
        let connection = match &self.connection {
            Connection::Http1(Some(ReusableConnection { connection, .. })) => connection,
            Connection::Dedicated(connection) => connection,
            Connection::Http1(None) | Connection::Http2(_) => return Err(SendError::Unsent(body)),
        };
        connection.send(head, body, write_coalescer).await
    }

    /// Sends a request over HTTP/2. On error the request is returned if nothing of it was sent; `None`: this is not
    /// an HTTP/2 connection.
    pub(crate) async fn send_http2(
        &self,
        request: Request<OutgoingBody>,
    ) -> Option<Result<Response<IncomingBody>, TrySendError<Request<OutgoingBody>>>> {
        match &self.connection {
            Connection::Http2(stream) => Some(stream.send(request).await),
            Connection::Http1(_) | Connection::Dedicated(_) => None,
        }
    }

    /// The connection itself, after it has switched protocols.
    pub(crate) fn take_stream(&mut self) -> Option<(BufferedStream, ConnectionGuard)> {
        match std::mem::replace(&mut self.connection, Connection::Http1(None)) {
            Connection::Dedicated(connection) => connection.into_stream(),
            _ => None,
        }
    }

    /// Returns the connection to the pool after a complete exchange.
    pub(crate) fn recycle(&mut self) {
        let Connection::Http1(slot) = &mut self.connection else {
            return;
        };
        let Some(mut used) = slot.take() else {
            return;
        };
        used.served += 1;
        let limit = self.runtime.config.max_requests_per_connection;
        if limit.is_some_and(|limit| used.served >= limit) {
            self.cluster.stats.upstream_cx_max_requests.inc();
        } else if !self.upstream.pool.retired.get() && used.connection.is_reusable() {
            used.idle_since = Instant::now();
            self.upstream.pool.put(used);
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

    fn put(&self, mut idle: ReusableConnection) {
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

    fn take(&self) -> Option<ReusableConnection> {
        let mut idle = self.idle.borrow_mut();
        std::iter::from_fn(|| idle.pop()).find(|idle| idle.connection.is_alive())
    }

    /// For a removed host: idle connections close now, others after their request.
    pub(crate) fn retire(&self) {
        self.retired.set(true);
        self.idle.borrow_mut().clear();
        self.http2.retire();
    }

    /// Closes connections that have been idle too long; returns their number.
    pub(crate) fn maintain(&self, now: Instant, idle_timeout: Option<Duration>) -> u64 {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|idle| idle.connection.is_alive());
        let before = idle.len();
        if let Some(timeout) = idle_timeout {
            idle.retain(|idle| now.duration_since(idle.idle_since) < timeout);
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
    cluster: &Rc<ThreadLocalCluster>,
    upstream: &Rc<Upstream>,
) -> Result<ReusableConnection, AcquireError> {
    let pool = &upstream.pool;
    loop {
        if let Some(idle) = pool.take() {
            return Ok(idle);
        }
        // Boxed, because the state of every request would otherwise have room for a rare case.
        if let Some(idle) = Box::pin(open(cluster, upstream)).await? {
            return Ok(idle);
        }
    }
}

/// A new connection, or one that another request returns; `None` asks to try the idle ones again.
async fn open(
    cluster: &Rc<ThreadLocalCluster>,
    upstream: &Rc<Upstream>,
) -> Result<Option<ReusableConnection>, AcquireError> {
    let pool = &upstream.pool;
    let _pending = PendingRequest::take(cluster)?;
    let guard = match ConnectionGuard::open(cluster, upstream) {
        Ok(guard) => guard,
        // Without open connections, none can be returned.
        Err(AcquireError::Overflow) if pool.connections() > 0 => {
            let (sender, receiver) = oneshot::channel();
            pool.waiting.borrow_mut().push_back(sender);
            return Ok(receiver.await.unwrap_or_default());
        }
        Err(error) => return Err(error),
    };
    Ok(Some(ReusableConnection {
        connection: connect_http1(cluster, upstream, guard).await?,
        idle_since: Instant::now(),
        served: 0,
    }))
}

/// A new HTTP/1 connection.
async fn connect_http1(
    cluster: &ThreadLocalCluster,
    upstream: &Upstream,
    guard: ConnectionGuard,
) -> Result<Rc<UpstreamConnection>, ConnectError> {
    let stream = cluster.connect(upstream).await?;
    let mut limits = DEFAULT_HEAD_LIMITS;
    if let Some(limit) = cluster.runtime().config.buffer_limit {
        limits.bytes = (limit as usize).max(MIN_HEAD_BYTES);
    }
    cluster.stats.upstream_cx_http1_total.inc();
    Ok(Rc::new(UpstreamConnection::new(stream, limits, guard)))
}

impl ThreadLocalCluster {
    pub(crate) async fn connect(&self, upstream: &Upstream) -> Result<TcpStream, ConnectError> {
        let runtime = self.runtime();
        connect(upstream.host.address, &runtime.config, self.mark())
            .await
            .inspect_err(|error| self.stats.connect_failed(error))
    }
}

/// A unit of a circuit breaker of the cluster; released on drop.
pub(crate) struct Permit {
    runtime: LocalArc<ClusterRuntime>,
    breaker: fn(&CircuitBreakers) -> &CircuitBreaker,
}

impl Permit {
    /// `None` when the limit is reached.
    pub(crate) fn try_acquire(
        runtime: &LocalArc<ClusterRuntime>,
        breaker: fn(&CircuitBreakers) -> &CircuitBreaker,
    ) -> Option<Self> {
        let permitted = breaker(&runtime.state.breakers).try_acquire();
        permitted.then(|| Self {
            runtime: runtime.clone(),
            breaker,
        })
    }

    /// Acquires a unit even beyond the limit.
    fn force_acquire(
        runtime: LocalArc<ClusterRuntime>,
        breaker: fn(&CircuitBreakers) -> &CircuitBreaker,
    ) -> Self {
        breaker(&runtime.state.breakers).force_acquire();
        Self { runtime, breaker }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        (self.breaker)(&self.runtime.state.breakers).release();
    }
}

/// Counts a request as pending until dropped.
pub(super) struct PendingRequest {
    _permit: Permit,
    _active: GaugeGuard<ClusterStats>,
}

impl PendingRequest {
    pub(super) fn take(cluster: &ThreadLocalCluster) -> Result<Self, AcquireError> {
        let stats = &cluster.stats;
        let Some(permit) = Permit::try_acquire(&cluster.runtime(), |breakers| &breakers.pending)
        else {
            stats.upstream_rq_pending_overflow.inc();
            return Err(AcquireError::Overflow);
        };
        stats.upstream_rq_pending_total.inc();
        Ok(Self {
            _permit: permit,
            _active: GaugeGuard::new(stats, |stats| &stats.upstream_rq_pending_active),
        })
    }
}

/// Counts one open upstream connection until dropped.
pub(crate) struct ConnectionGuard {
    upstream: Rc<Upstream>,
    _permit: Permit,
    _active: GaugeGuard<ClusterStats>,
    _descriptor: Descriptor,
}

impl ConnectionGuard {
    /// Counts a new connection against the cluster's limit. As in Envoy, a worker without any connection to this host
    /// may always open one, or it could never serve.
    pub(crate) fn open(
        cluster: &ThreadLocalCluster,
        upstream: &Rc<Upstream>,
    ) -> Result<Self, AcquireError> {
        let runtime = cluster.runtime();
        let stats = &cluster.stats;
        let Some(descriptor) = cluster.context.descriptors.upstream() else {
            stats.upstream_cx_overflow.inc();
            return Err(AcquireError::Overflow);
        };
        let open = &upstream.pool.connections;
        let permit = match Permit::try_acquire(&runtime, |breakers| &breakers.connections) {
            Some(permit) => permit,
            None => {
                stats.upstream_cx_overflow.inc();
                if open.get() > 0 {
                    return Err(AcquireError::Overflow);
                }
                Permit::force_acquire(runtime, |breakers| &breakers.connections)
            }
        };
        stats.upstream_cx_total.inc();
        open.set(open.get() + 1);
        Ok(Self {
            upstream: upstream.clone(),
            _permit: permit,
            _active: GaugeGuard::new(stats, |stats| &stats.upstream_cx_active)
                .with_end(|stats| &stats.upstream_cx_destroy),
            _descriptor: descriptor,
        })
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        // Woken tasks do not run before the rest is released.
        self.upstream.pool.connection_closed();
    }
}
