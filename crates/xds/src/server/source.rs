//! Where the server gets snapshots from.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;
use tonic::metadata::MetadataMap;

use crate::node::Node;
use crate::snapshot::Snapshot;

/// Decides what a proxy gets.
pub trait Source: Send + Sync + 'static {
    /// Called once per stream, with what the first request said. The receiver always holds
    /// the newest snapshot; proxies of one workload can share a sender. When the sender is
    /// dropped the stream ends, and the proxy asks again.
    fn subscribe(
        &self,
        node: &Node,
        peer: &Peer,
    ) -> impl Future<Output = Result<watch::Receiver<Arc<Snapshot>>, SubscribeError>> + Send;
}

/// The other end of a stream, as the transport sees it.
#[derive(Clone)]
pub struct Peer {
    /// Its address.
    pub addr: Option<SocketAddr>,
    headers: MetadataMap,
}

impl Peer {
    pub(super) fn new(addr: Option<SocketAddr>, headers: MetadataMap) -> Peer {
        Peer { addr, headers }
    }

    /// A header of the call, if it is there once and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(value)
    }

    /// The bearer token of the call.
    pub fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.header("authorization")?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }
}

/// The headers are left out: they hold credentials.
impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

/// Why a proxy gets nothing. The codes are those with which App Mesh answers
/// (`facts/appmesh-api.md` section 7).
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct SubscribeError {
    /// The gRPC code.
    pub code: SubscribeErrorCode,
    /// What the operator of the proxy should know.
    pub message: String,
}

/// The kinds of [`SubscribeError`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SubscribeErrorCode {
    /// The node names something malformed, or something that it depends on is missing (3).
    InvalidArgument,
    /// What the node claims to be does not exist (5).
    NotFound,
    /// The credentials do not allow it (7).
    PermissionDenied,
    /// Too many proxies (8).
    ResourceExhausted,
    /// The source is not ready; try again (14).
    Unavailable,
    /// There are no credentials, or bad ones (16).
    Unauthenticated,
}

impl SubscribeError {
    /// A refusal with a message for the operator of the proxy.
    pub fn new(code: SubscribeErrorCode, message: impl Into<String>) -> SubscribeError {
        SubscribeError {
            code,
            message: message.into(),
        }
    }
}

impl From<SubscribeError> for tonic::Status {
    fn from(refusal: SubscribeError) -> tonic::Status {
        let code = match refusal.code {
            SubscribeErrorCode::InvalidArgument => tonic::Code::InvalidArgument,
            SubscribeErrorCode::NotFound => tonic::Code::NotFound,
            SubscribeErrorCode::PermissionDenied => tonic::Code::PermissionDenied,
            SubscribeErrorCode::ResourceExhausted => tonic::Code::ResourceExhausted,
            SubscribeErrorCode::Unavailable => tonic::Code::Unavailable,
            SubscribeErrorCode::Unauthenticated => tonic::Code::Unauthenticated,
        };
        tonic::Status::new(code, refusal.message)
    }
}
