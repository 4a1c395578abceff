//! `tcp_proxy`: connects to a host of a cluster and copies bytes both ways until an end closes or both are idle.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio_util::io::InspectReader;
use tombolo_telemetry::ErrorChain;

use crate::cluster_runtime::Host;
use crate::config::format::LogFields;
use crate::config::tcp_proxy::TcpProxy;
use crate::metrics::GaugeGuard;
use crate::upstream::connection_pool::ConnectionGuard;
use crate::worker::Worker;

/// The reason why copying ended.
#[derive(Debug)]
pub(crate) enum CloseReason {
    /// Both directions were closed.
    Closed,
    Failed(io::Error),
    Idle,
    /// The maximum duration has passed, or the proxy closes.
    Stopped,
}

/// Bytes copied: from the client, and to the client.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BytesCopied {
    pub(crate) up: u64,
    pub(crate) down: u64,
}

/// Copies bytes both ways until an end closes, both are idle for the idle time, or `stop` completes. Half-closes are
/// forwarded.
pub(crate) async fn join<A, B>(
    client: &mut A,
    server: &mut B,
    idle: Option<Duration>,
    stop: impl Future<Output = ()>,
) -> (CloseReason, BytesCopied)
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (up, down) = (Cell::new(0), Cell::new(0));
    let count = |total: &Cell<u64>, read: &[u8]| total.set(total.get() + read.len() as u64);
    let mut client = InspectReader::new(client, |read| count(&up, read));
    let mut server = InspectReader::new(server, |read| count(&down, read));
    let silence = async {
        let Some(idle) = idle else {
            return std::future::pending().await;
        };
        // Four checks per period bound the error to a quarter, without a timer per read.
        let (mut seen, mut quiet) = ((0, 0), 0);
        while quiet < 4 {
            tokio::time::sleep(idle / 4).await;
            let now = (up.get(), down.get());
            quiet = if now == seen { quiet + 1 } else { 0 };
            seen = now;
        }
    };
    let reason = tokio::select! {
        copied = copy_bidirectional(&mut client, &mut server) => copied.map_or_else(CloseReason::Failed, |_| CloseReason::Closed),
        () = silence => CloseReason::Idle,
        () = stop => CloseReason::Stopped,
    };
    let (up, down) = (up.get(), down.get());
    (reason, BytesCopied { up, down })
}

/// The addresses of one client connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionAddresses {
    pub(crate) remote: SocketAddr,
    pub(crate) local: SocketAddr,
    /// The original destination, where the listener restores it; else `local`.
    pub(crate) original_dst: SocketAddr,
}

/// Serves one client connection of a `tcp_proxy` chain. `first` are bytes already read from it.
pub(crate) async fn proxy(
    worker: Rc<Worker>,
    config: Arc<TcpProxy>,
    mut client: TcpStream,
    first: BytesMut,
    addresses: ConnectionAddresses,
) {
    let stats = worker.tcp_stats(&config.stat_prefix);
    stats.downstream_cx_total.inc();
    let _active = GaugeGuard::new(&stats, |stats| &stats.downstream_cx_active);
    let (start, started) = (SystemTime::now(), Instant::now());
    let name = config.cluster(fastrand::u64(..));
    let mut fields = LogFields {
        start: Some(start),
        upstream_cluster: name,
        local: Some(addresses.local),
        remote: Some(addresses.remote),
        flags: "-",
        ..LogFields::default()
    };
    match connect(&worker, &config, name, addresses.original_dst).await {
        Ok((mut server, guard, host)) => {
            fields.upstream_host = Some(host);
            let until = config.max_duration.map(|duration| started + duration);
            let stop = async {
                tokio::select! {
                    () = worker.closed() => {}
                    () = sleep_until(until) => {}
                }
            };
            let joined = forward(&mut client, &mut server, &first, config.idle_timeout, stop);
            let (reason, copied) = joined.await;
            match reason {
                CloseReason::Idle => stats.idle_timeout.inc(),
                CloseReason::Failed(error) => {
                    tracing::debug!(%error, remote = %addresses.remote, "connection broke")
                }
                CloseReason::Closed | CloseReason::Stopped => {}
            }
            stats.downstream_cx_rx_bytes_total.add(copied.up);
            stats.downstream_cx_tx_bytes_total.add(copied.down);
            fields.bytes_received = copied.up;
            fields.bytes_sent = copied.down;
            drop(guard);
        }
        Err(flags) => {
            if flags == "NC" {
                stats.downstream_cx_no_route.inc();
            }
            fields.flags = flags;
        }
    }
    fields.duration = Some(started.elapsed());
    for log in &config.access_logs {
        worker.logs.write(log, &fields);
    }
}

/// Sends the bytes already read, then joins the two connections.
async fn forward(
    client: &mut TcpStream,
    server: &mut TcpStream,
    first: &[u8],
    idle: Option<Duration>,
    stop: impl Future<Output = ()>,
) -> (CloseReason, BytesCopied) {
    if let Err(error) = server.write_all(first).await {
        return (CloseReason::Failed(error), BytesCopied::default());
    }
    let (reason, mut copied) = join(client, server, idle, stop).await;
    copied.up += first.len() as u64;
    (reason, copied)
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Connects to a host of the cluster; each attempt prefers a host that was not tried before. The error is the access
/// log's response flag.
async fn connect(
    worker: &Worker,
    config: &TcpProxy,
    name: &str,
    original_dst: SocketAddr,
) -> Result<(TcpStream, ConnectionGuard, SocketAddr), &'static str> {
    let cluster = worker.local().clusters.get(name).cloned().ok_or("NC")?;
    let mut tried: Vec<Arc<Host>> = Vec::new();
    let members = cluster.runtime().members.list.len();
    // A refused connection is not a failure while there is another host.
    let attempts = (config.connect_attempts as usize)
        .max(members.min(3))
        .max(1);
    let mut flag = "UH";
    for _ in 0..attempts {
        let picked = cluster.pick(Some(original_dst), &tried, 3);
        let upstream = picked.ok_or("UH")?;
        let guard = ConnectionGuard::open(&cluster, &upstream).map_err(|_| "UO")?;
        match cluster.connect(&upstream).await {
            Ok(stream) => {
                cluster.runtime().observe(&upstream.host, 200);
                return Ok((stream, guard, upstream.host.address));
            }
            Err(error) => {
                let reason = ErrorChain(&error);
                tracing::debug!(error = %reason, host = %upstream.host.address, "upstream connection failed");
                cluster.runtime().observe(&upstream.host, 503);
                tried.push(upstream.host.clone());
                flag = "UF";
            }
        }
    }
    Err(flag)
}
