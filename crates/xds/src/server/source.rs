//! The source of the server's snapshots.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;
use tonic::Status;
use tonic::codegen::http::request::Parts;

use crate::node::Node;
use crate::snapshot::Snapshot;

/// The newest snapshot of a workload.
pub type Snapshots = watch::Receiver<Arc<Snapshot>>;

/// Provides the snapshots of each proxy.
pub trait Source: Send + Sync + 'static {
    /// Subscribes to the snapshots of a proxy; called once per stream, with the node of the first request.
    /// Proxies of one workload can share a sender. Dropping the sender ends the stream, and the proxy
    /// reconnects.
    ///
    /// # Errors
    ///
    /// The status with which the stream ends. App Mesh answers with (`facts/appmesh-api.md` section 7): invalid
    /// argument, for a node that names something malformed or that depends on something missing; not found; permission
    /// denied; resource exhausted, for too many proxies; unavailable, for a proxy that should try again; and
    /// unauthenticated.
    fn subscribe(
        &self,
        node: &Node,
        peer: &Peer,
    ) -> impl Future<Output = Result<Snapshots, Status>> + Send;
}

/// The peer of a stream, from the transport.
#[derive(Clone)]
pub struct Peer {
    /// The address of the peer's socket.
    pub addr: Option<SocketAddr>,
    head: Parts,
}

impl Peer {
    pub(super) fn new(addr: Option<SocketAddr>, head: Parts) -> Peer {
        Peer { addr, head }
    }

    /// The head of the call, which may be signed.
    pub fn head(&self) -> &Parts {
        &self.head
    }

    /// A header of the call, if it occurs exactly once and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.head.headers.get_all(name).iter();
        let value = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(value)
    }

    /// The bearer token of the call.
    pub fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.header("authorization")?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }
}

/// Omits the headers, which contain credentials.
impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}
