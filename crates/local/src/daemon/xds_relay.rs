//! Relays the xDS server to the proxies of pods: a Unix socket that is mounted into their containers and into no
//! others.
//!
//! The server itself listens on the daemon's loopback, which no pod can reach. Access to the socket authenticates a
//! proxy. Bytes are relayed unchanged; the server's own limits apply.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use tokio::net::{TcpStream, UnixListener, UnixStream};

use crate::accept_loop;

/// Maximum concurrent connections; further ones wait. A proxy has one.
const MAX_CONNECTIONS: usize = 4096;

/// Deadline for connecting to the server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens the socket. Every user may connect: proxies run as a user of their own.
///
/// # Errors
/// The file cannot be created.
pub(super) fn bind(path: &Path) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// Relays connections to `server` until dropped.
pub(super) async fn serve(listener: UnixListener, server: SocketAddr) {
    accept_loop::run("xds", listener, MAX_CONNECTIONS, |client| async move {
        if let Err(error) = relay(client, server).await {
            tracing::debug!(%error, "connection of a proxy ended");
        }
    })
    .await;
}

async fn relay(mut client: UnixStream, server: SocketAddr) -> io::Result<()> {
    let connect = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(server));
    let mut server = connect.await.map_err(|_| io::ErrorKind::TimedOut)??;
    server.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn bytes_pass_both_ways_and_the_end_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("xds.sock");
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = tokio::spawn(serve(bind(&path).unwrap(), server.local_addr().unwrap()));
        let mut client = UnixStream::connect(&path).await.unwrap();
        client.write_all(b"ask").await.unwrap();
        let (mut accepted, _) = server.accept().await.unwrap();
        let mut bytes = [0; 3];
        accepted.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"ask");
        accepted.write_all(b"told").await.unwrap();
        drop(accepted);
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"told");
        relay.abort();
    }
}
