//! The connected proxies, and the configuration that each of them has acknowledged.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde::Serialize;
use tonic::Status;

use super::refusals::{Refusal, Refusals};
use super::session::Protocol;
use crate::node::Node;
use crate::resource::Kind;

/// Ended streams are kept up to this number and age, so that an operator sees proxies that were connected recently.
const MAX_ENDED: usize = 1000;
const ENDED_RETENTION: Duration = Duration::from_secs(3600);

/// The limits of the names and of the reason of a rejection, which come from the proxy; the rest is cut.
const MAX_NACK_NAMES: usize = 20;
const MAX_NACK_BYTES: usize = 4096;

/// All connected and recently ended streams. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct ConnectedProxies(Arc<Mutex<Streams>>);

#[derive(Debug, Default)]
struct Streams {
    next: u64,
    connected: BTreeMap<u64, Arc<Mutex<Proxy>>>,
    ended: VecDeque<(SystemTime, Proxy)>,
    refusals: Refusals,
}

/// One stream of a proxy, as `tombolo status` shows it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Proxy {
    /// The number of the stream, unique in this process.
    pub stream: u64,
    /// The node that the proxy sent.
    pub node: Node,
    /// The address of the peer's socket.
    pub peer: Option<SocketAddr>,
    /// The protocol of the stream.
    pub protocol: Protocol,
    /// Whether the stream is open.
    pub connected: bool,
    /// When the stream was opened, in milliseconds since 1970.
    pub connected_since_ms: u64,
    /// When the stream ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disconnected_at_ms: Option<u64>,
    /// The newest revision of which every subscribed resource was sent.
    pub revision_sent: u64,
    /// The newest revision of which the proxy acknowledged every subscribed resource. It does not advance while the
    /// proxy rejects a resource.
    pub revision_acked: u64,
    /// The progress of each kind that the proxy has subscribed to.
    pub kinds: BTreeMap<Kind, Progress>,
}

/// The progress of a proxy with one kind of resource.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Progress {
    /// The number of resources that the proxy should have.
    pub resources: usize,
    /// The revision of the last response.
    pub revision_sent: u64,
    /// The revision of the last response that was accepted; 0 if none was.
    pub revision_acked: u64,
    /// The last rejection. It stays after a later response was accepted; compare the revisions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nack: Option<Nack>,
}

/// A rejection.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Nack {
    /// The reason that the proxy gave.
    pub reason: String,
    /// The time of the rejection, in milliseconds since 1970.
    pub at_ms: u64,
    /// The revision of the rejected response.
    pub revision: u64,
    /// The resources that the proxy rejected: those that the reason mentions, or else all that were new in the
    /// response.
    pub names: Vec<Arc<str>>,
}

impl ConnectedProxies {
    /// Every stream: the connected ones, oldest first, then the ended ones, newest first.
    pub fn proxies(&self) -> Vec<Proxy> {
        let (connected, ended) = {
            let mut streams = self.0.lock();
            streams.prune(SystemTime::now());
            let ended: Vec<Proxy> = streams.ended.iter().map(|(_, p)| p.clone()).collect();
            (
                streams.connected.values().cloned().collect::<Vec<_>>(),
                ended,
            )
        };
        let connected = connected.into_iter().map(|proxy| proxy.lock().clone());
        connected.chain(ended.into_iter().rev()).collect()
    }

    /// Proxies that were turned away within the last hour because of who they are or are not, newest first.
    pub fn refusals(&self) -> Vec<Refusal> {
        self.0.lock().refusals.recent(unix_ms(SystemTime::now()))
    }

    /// Notes that a proxy was turned away.
    pub(super) fn refused(&self, node_id: &str, peer: Option<SocketAddr>, status: &Status) {
        let now = unix_ms(SystemTime::now());
        self.0.lock().refusals.note(node_id, peer, status, now);
    }

    /// Adds a stream. `None` if there are already `limit` streams.
    pub(super) fn connect(
        &self,
        node: Node,
        peer: Option<SocketAddr>,
        protocol: Protocol,
        limit: usize,
    ) -> Option<Entry> {
        let mut streams = self.0.lock();
        if streams.connected.len() >= limit {
            return None;
        }
        // The ended stream of a proxy that reconnects is not shown any more.
        let ip = peer.map(|peer| peer.ip());
        streams
            .ended
            .retain(|(_, p)| p.node != node || p.peer.map(|peer| peer.ip()) != ip);
        streams.refusals.take(&node.id, peer);
        streams.next += 1;
        let stream = streams.next;
        let proxy = Arc::new(Mutex::new(Proxy {
            stream,
            node,
            peer,
            protocol,
            connected: true,
            connected_since_ms: unix_ms(SystemTime::now()),
            disconnected_at_ms: None,
            revision_sent: 0,
            revision_acked: 0,
            kinds: BTreeMap::new(),
        }));
        streams.connected.insert(stream, proxy.clone());
        Some(Entry {
            registry: self.clone(),
            stream,
            proxy,
        })
    }
}

impl Streams {
    fn prune(&mut self, now: SystemTime) {
        let is_old = |at: &SystemTime| {
            now.duration_since(*at)
                .is_ok_and(|age| age > ENDED_RETENTION)
        };
        while self.ended.len() > MAX_ENDED || self.ended.front().is_some_and(|(at, _)| is_old(at)) {
            self.ended.pop_front();
        }
    }
}

/// The entry of a connected stream; dropping it marks the stream as ended.
#[derive(Debug)]
pub(super) struct Entry {
    registry: ConnectedProxies,
    stream: u64,
    proxy: Arc<Mutex<Proxy>>,
}

impl Entry {
    /// The number of the stream.
    pub(super) fn stream(&self) -> u64 {
        self.stream
    }

    pub(super) fn sent(&self, kind: Kind, revision: u64, resources: usize) {
        let mut proxy = self.proxy.lock();
        let progress = proxy.kinds.entry(kind).or_default();
        progress.revision_sent = revision;
        progress.resources = resources;
    }

    pub(super) fn acked(&self, kind: Kind, revision: u64) {
        self.proxy
            .lock()
            .kinds
            .entry(kind)
            .or_default()
            .revision_acked = revision;
    }

    pub(super) fn rejected(
        &self,
        kind: Kind,
        revision: u64,
        mut names: Vec<Arc<str>>,
        mut reason: String,
    ) {
        names.truncate(MAX_NACK_NAMES);
        reason.truncate(reason.floor_char_boundary(MAX_NACK_BYTES));
        let at_ms = unix_ms(SystemTime::now());
        let nack = Nack {
            reason,
            at_ms,
            revision,
            names,
        };
        self.proxy.lock().kinds.entry(kind).or_default().nack = Some(nack);
    }

    /// Records that every subscribed resource of this revision was sent.
    pub(super) fn all_sent(&self, revision: u64) {
        self.proxy.lock().revision_sent = revision;
    }

    /// Records that every subscribed resource of this revision was acknowledged.
    pub(super) fn all_acked(&self, revision: u64) {
        self.proxy.lock().revision_acked = revision;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let now = SystemTime::now();
        let mut proxy = self.proxy.lock();
        proxy.connected = false;
        proxy.disconnected_at_ms = Some(unix_ms(now));
        let last = proxy.clone();
        drop(proxy);
        let mut streams = self.registry.0.lock();
        streams.connected.remove(&self.stream);
        streams.ended.push_back((now, last));
        streams.prune(now);
    }
}

fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect(registry: &ConnectedProxies, id: &str) -> Entry {
        let node = Node {
            id: id.into(),
            ..Node::default()
        };
        registry
            .connect(node, None, Protocol::Delta, usize::MAX)
            .expect("no limit")
    }

    #[test]
    fn a_proxy_that_is_back_is_not_shown_as_gone() {
        let registry = ConnectedProxies::default();
        drop(connect(&registry, "one"));
        drop(connect(&registry, "two"));
        let _one = connect(&registry, "one");
        let proxies = registry.proxies();
        let shown: Vec<_> = proxies.iter().map(|p| (&*p.node.id, p.connected)).collect();
        assert_eq!(shown, [("one", true), ("two", false)]);
    }

    #[test]
    fn ended_streams_are_bounded() {
        let registry = ConnectedProxies::default();
        for n in 0..MAX_ENDED + 10 {
            drop(connect(&registry, &n.to_string()));
        }
        assert_eq!(registry.proxies().len(), MAX_ENDED);
    }

    #[test]
    fn streams_beyond_the_limit_are_turned_away() {
        let registry = ConnectedProxies::default();
        let _one = connect(&registry, "one");
        assert!(
            registry
                .connect(Node::default(), None, Protocol::Sotw, 1)
                .is_none()
        );
    }

    #[test]
    fn a_rejection_is_shown_as_json() {
        let registry = ConnectedProxies::default();
        let one = connect(&registry, "one");
        one.sent(Kind::Listener, 3, 2);
        one.rejected(
            Kind::Listener,
            3,
            vec!["http".into()],
            "no such filter".into(),
        );
        let json = serde_json::to_value(registry.proxies()).unwrap();
        let listener = &json[0]["kinds"]["listener"];
        assert_eq!(listener["nack"]["reason"], "no such filter");
        assert_eq!(listener["nack"]["names"][0], "http");
        assert_eq!(
            (&json[0]["protocol"], &json[0]["connected"]),
            (&"delta".into(), &true.into())
        );
    }
}
