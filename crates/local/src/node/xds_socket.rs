//! The xDS server as proxies of pods reach it: a Unix socket that is mounted into their containers and into no other.
//!
//! The server itself listens on the runtime's loopback, which no pod can reach. Who has the socket is a proxy; nothing
//! else needs to be proven. Connections are passed on byte by byte; the server's own limits apply to them.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Connections at a time; more wait. A proxy has one.
const MAX_CONNECTIONS: usize = 4096;

/// Pause after a connection could not be accepted: descriptors are short, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long the server may take to accept.
const CONNECT: Duration = Duration::from_secs(5);

/// Opens the socket. Every user may connect: proxies run as a user of their own.
///
/// # Errors
/// The file cannot be made.
pub(super) fn bind(path: &Path) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// Passes connections on to `server` until dropped.
pub(super) async fn serve(listener: UnixListener, server: SocketAddr) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((client, _)) => {
                connections.spawn(async move {
                    if let Err(error) = pass_on(client, server).await {
                        tracing::debug!(%error, "connection of a proxy ended");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "connection of a proxy not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn pass_on(mut client: UnixStream, server: SocketAddr) -> io::Result<()> {
    let connect = tokio::time::timeout(CONNECT, TcpStream::connect(server));
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
