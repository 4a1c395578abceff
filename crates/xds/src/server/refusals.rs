//! Proxies that were turned away because of who they are, or are not.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;
use tonic::{Code, Status};

/// The newest are kept, up to this number and age.
const MAX_REFUSALS: usize = 100;
const RETENTION: Duration = Duration::from_secs(3600);

/// Proxies that called themselves by one name from one address, and were turned away.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Refusal {
    /// Who the proxy says it is.
    pub node_id: String,
    /// Where it called from the last time.
    pub peer: Option<SocketAddr>,
    /// Whether it is known who it is, but it may not have what it asked for (`PERMISSION_DENIED`); else it is not known
    /// (`UNAUTHENTICATED`).
    pub is_known: bool,
    /// What it was told.
    pub reason: String,
    /// How often.
    pub count: u64,
    /// The last time, in milliseconds since 1970.
    pub at_ms: u64,
}

/// The refusals of a server, oldest first.
#[derive(Debug, Default)]
pub(super) struct Refusals(VecDeque<Refusal>);

impl Refusals {
    /// Notes a status with which a proxy was turned away; those that say nothing about who it is are passed over.
    pub(super) fn note(
        &mut self,
        node_id: &str,
        peer: Option<SocketAddr>,
        status: &Status,
        now_ms: u64,
    ) {
        let is_known = match status.code() {
            Code::PermissionDenied => true,
            Code::Unauthenticated => false,
            _ => return,
        };
        let count = self.take(node_id, peer).map_or(0, |before| before.count) + 1;
        self.0.push_back(Refusal {
            node_id: node_id.to_owned(),
            peer,
            is_known,
            reason: status.message().to_owned(),
            count,
            at_ms: now_ms,
        });
        while self.0.len() > MAX_REFUSALS {
            self.0.pop_front();
        }
    }

    /// Forgets the refusals of a proxy, which was admitted now; answers with what they were.
    pub(super) fn take(&mut self, node_id: &str, peer: Option<SocketAddr>) -> Option<Refusal> {
        let ip = |peer: Option<SocketAddr>| peer.map(|peer| peer.ip());
        let is_same = |known: &Refusal| known.node_id == node_id && ip(known.peer) == ip(peer);
        let at = self.0.iter().position(is_same)?;
        self.0.remove(at)
    }

    /// The refusals that are not old, newest first.
    pub(super) fn recent(&self, now_ms: u64) -> Vec<Refusal> {
        let retention = u64::try_from(RETENTION.as_millis()).unwrap_or(u64::MAX);
        let is_recent = |refusal: &&Refusal| now_ms.saturating_sub(refusal.at_ms) <= retention;
        self.0.iter().rev().filter(is_recent).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_bounded_and_forgotten() {
        let mut refusals = Refusals::default();
        let peer = |port| Some(SocketAddr::from(([10, 0, 0, 1], port)));
        let denied = Status::permission_denied("another's token");
        refusals.note("a", peer(1), &denied, 1);
        refusals.note("a", peer(2), &denied, 2);
        refusals.note("b", peer(3), &Status::unauthenticated("no token"), 3);
        refusals.note("c", peer(4), &Status::not_found("no such node"), 4);
        let shown = refusals.recent(4);
        let shown: Vec<_> = shown
            .iter()
            .map(|it| (it.node_id.as_str(), it.is_known, it.count))
            .collect();
        assert_eq!(shown, [("b", false, 1), ("a", true, 2)]);
        assert!(refusals.take("a", peer(9)).is_some());
        assert_eq!(refusals.recent(4).len(), 1);
        assert!(refusals.recent(3_600_004).is_empty());
        for n in 0..200 {
            refusals.note(&n.to_string(), None, &denied, 5);
        }
        assert_eq!(refusals.0.len(), MAX_REFUSALS);
    }
}
