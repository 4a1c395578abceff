//! Opens upstream sockets.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};

use crate::config::cluster::{Cluster, Protocol};
use crate::config::field::Wrapped;

/// Interval of TCP keep-alive probes on HTTP/2 connections, and the time without an acknowledgement after which a
/// peer is dead.
const PROBE: Duration = Duration::from_secs(10);
const PEER_TIMEOUT: Duration = Duration::from_secs(30);

/// The reason why a connection failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("not connected within the connect timeout")]
    Timeout,
    #[error("cannot connect")]
    Failed(#[source] io::Error),
}

/// Connects within the cluster's connect timeout. A socket mark exempts the connection from the redirect rules that
/// redirected the client's connection here.
pub(crate) async fn connect(
    address: SocketAddr,
    cluster: &Cluster,
    mark: Option<u32>,
) -> Result<TcpStream, ConnectError> {
    match tokio::time::timeout(cluster.connect_timeout, dial(address, cluster, mark)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(ConnectError::Failed(error)),
        Err(_) => Err(ConnectError::Timeout),
    }
}

async fn dial(address: SocketAddr, cluster: &Cluster, mark: Option<u32>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_nodelay(true)?;
    if let Some(mark) = mark {
        SockRef::from(&socket).set_mark(mark)?;
    }
    if cluster.protocol != Protocol::Http1 {
        // Many requests share an HTTP/2 connection and none of them closes it, so the kernel has to detect a dead
        // peer. gRPC servers close connections with frequent PINGs; they do not notice these probes.
        let socket = SockRef::from(&socket);
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(PROBE).with_interval(PROBE))?;
        socket.set_tcp_user_timeout(Some(PEER_TIMEOUT))?;
    }
    if let Some(keepalive) = cluster.keepalive {
        let mut options = TcpKeepalive::new();
        if let Some(seconds) = keepalive.keepalive_time.value() {
            options = options.with_time(Duration::from_secs(seconds.into()));
        }
        if let Some(seconds) = keepalive.keepalive_interval.value() {
            options = options.with_interval(Duration::from_secs(seconds.into()));
        }
        if let Some(probes) = keepalive.keepalive_probes.value() {
            options = options.with_retries(probes);
        }
        SockRef::from(&socket).set_tcp_keepalive(&options)?;
    }
    socket.connect(address).await
}
