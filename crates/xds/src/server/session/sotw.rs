//! The state-of-the-world protocol, which older Envoys and their bootstraps use.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::type_state::Subscribed;
use super::{AckOrNack, Protocol, ProtocolVariant, Session, Violation};
use crate::Node;
use crate::envoy::pb::envoy::service::discovery::v3::DiscoveryRequest;

/// `StreamAggregatedResources`.
#[derive(Debug)]
pub struct Sotw;

impl ProtocolVariant for Sotw {
    type Request = DiscoveryRequest;
    const PROTOCOL: Protocol = Protocol::Sotw;

    fn node(request: &mut DiscoveryRequest) -> Option<Node> {
        request.node.take().map(Node::from)
    }

    /// Applies a request. One with a stale nonce is ignored: the client repeats its names when it answers the newest
    /// response.
    fn receive(session: &mut Session, request: DiscoveryRequest) -> Result<AckOrNack, Violation> {
        let Some(kind) = Session::kind_of(&request.type_url) else {
            return Ok(AckOrNack::None);
        };
        let nonce = request.response_nonce;
        // A request without a nonce comes from a client that has not seen a response yet.
        if !nonce.is_empty() && nonce != session.state(kind).last_nonce {
            return Ok(AckOrNack::None);
        }
        let error = request.error_detail.map(|status| status.message);
        let answer = session.record_answer(kind, &nonce, error);

        let mut names: BTreeSet<Arc<str>> = BTreeSet::new();
        for name in request.resource_names {
            names.insert(session.intern_name(kind, name)?);
        }
        let state = session.state(kind);
        let first = !std::mem::replace(&mut state.opened, true);
        state.named |= !names.is_empty();
        let wildcard = names.remove("*") || (kind.is_root() && !state.named);
        if first {
            state.mark_all_dirty();
        }
        if wildcard != state.wildcard {
            state.must_respond |= wildcard;
            state.wildcard = wildcard;
            state.mark_all_dirty();
        }
        let dropped: Vec<Arc<str>> = state
            .names
            .iter()
            .map(|(name, _)| name)
            .filter(|name| !names.contains(*name))
            .cloned()
            .collect();
        for name in &dropped {
            state.names.remove(name);
            state.mark_dirty(name);
        }
        for name in names {
            if !state.names.contains(&name) {
                state.mark_dirty(&name);
                state.names.insert(name, Subscribed);
            }
        }
        if !wildcard && (first || !dropped.is_empty() || !state.dirty.is_empty()) {
            // The client drops resources that it does not subscribe to any more.
            let names = &state.names;
            state.sent.retain(|name| names.contains(name));
            state.nacked.retain(|name| names.contains(name));
        }
        session.check_limits(kind)?;
        Ok(answer)
    }
}
