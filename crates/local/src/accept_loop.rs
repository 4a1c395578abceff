//! Accepts connections and serves each in a task of its own: for load balancers, `exec` and the xDS relay.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tombolo_telemetry::Outage;

/// Pause after an accept that failed, usually for lack of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// A listening socket.
pub(crate) trait Accept: Send {
    type Stream: Send;

    /// Accepts a connection. Cancel safe.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        Ok(TcpListener::accept(self).await?.0)
    }
}

impl Accept for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        Ok(UnixListener::accept(self).await?.0)
    }
}

/// Serves at most `limit` connections at a time until dropped, which ends them too; further ones wait in the listen
/// queue. `name` is the listener's name in the log.
pub(crate) async fn run<L: Accept, F: Future<Output = ()> + Send + 'static>(
    name: &'static str,
    listener: L,
    limit: usize,
    serve: impl Fn(L::Stream) -> F,
) {
    let permits = Arc::new(Semaphore::new(limit));
    let mut connections = JoinSet::new();
    let mut outage = Outage::default();
    while let Ok(permit) = permits.clone().acquire_owned().await {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok(stream) => {
                if let Some(failures) = outage.ended() {
                    tracing::info!(listener = name, failures, "connections are accepted again");
                }
                let served = serve(stream);
                connections.spawn(async move {
                    served.await;
                    drop(permit);
                });
            }
            Err(error) => {
                if outage.begins() {
                    tracing::warn!(listener = name, %error, "connections are not accepted");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
