//! The delta protocol: <https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol>.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::type_state::{SentVersion, Subscribed};
use super::{AckOrNack, MAX_VERSION_BYTES, Protocol, ProtocolVariant, Session, Violation};
use crate::envoy::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use crate::{Kind, Node};

/// `DeltaAggregatedResources`.
#[derive(Debug)]
pub struct Delta;

impl ProtocolVariant for Delta {
    type Request = DeltaDiscoveryRequest;
    const PROTOCOL: Protocol = Protocol::Delta;

    fn node(request: &mut DeltaDiscoveryRequest) -> Option<Node> {
        request.node.take().map(Node::from)
    }

    /// Applies a request. Its nonce matters for the ACK or NACK only, not for subscriptions.
    fn receive(
        session: &mut Session,
        request: DeltaDiscoveryRequest,
    ) -> Result<AckOrNack, Violation> {
        let Some(kind) = Session::kind_of(&request.type_url) else {
            return Ok(AckOrNack::None);
        };
        let error = request.error_detail.map(|status| status.message);
        let answer = session.record_answer(kind, &request.response_nonce, error);

        let state = session.state(kind);
        let first = !std::mem::replace(&mut state.opened, true);
        let (subscribe, unsubscribe) = (
            request.resource_names_subscribe,
            request.resource_names_unsubscribe,
        );
        if !first && subscribe.is_empty() && unsubscribe.is_empty() {
            return Ok(answer);
        }
        let initial = request.initial_resource_versions;
        // Legacy: a first request without names subscribes to everything.
        let all = first && kind.is_root() && subscribe.is_empty() && unsubscribe.is_empty();
        if all || subscribe.iter().any(|name| name == "*") {
            // A repeated subscription means that the client may have dropped its resources.
            let names = &state.names;
            state.sent.retain(|name| names.contains(name));
            state.wildcard = true;
            // A client without resources waits for a response, even an empty one.
            state.must_respond = !first || initial.is_empty();
            state.mark_all_dirty();
        }
        for name in subscribe.into_iter().filter(|name| name != "*") {
            let name = session.intern_name(kind, name)?;
            let state = session.state(kind);
            // A repeated subscription means that the client may have dropped the resource: it is sent again.
            state.sent.remove(&name);
            state.mark_dirty(&name);
            state.names.insert(name, Subscribed);
        }
        if first {
            for (name, version) in initial {
                // A cluster that was sent before this request came warms only with endpoints that are sent after it,
                // so these are sent although the client already has them.
                let warming = session.warming.as_ref();
                let warming = warming.filter(|_| kind == Kind::Endpoint);
                if warming.is_some_and(|warming| warming.awaits(&name)) {
                    continue;
                }
                let name = session.intern_name(kind, name)?;
                let current = session.snapshot.get(kind, &name).cloned();
                let state = session.state(kind);
                if state.wildcard || state.names.contains(&name) {
                    let sent = match current {
                        Some(resource) if **resource.version() == *version => {
                            SentVersion::Resource(resource)
                        }
                        _ if version.len() <= MAX_VERSION_BYTES => {
                            SentVersion::FromClient(version.into())
                        }
                        _ => SentVersion::stale(),
                    };
                    state.sent.insert(name, sent);
                }
            }
        }
        let snapshot = session.snapshot.clone();
        let state = session.state(kind);
        for name in unsubscribe {
            if name == "*" {
                state.wildcard = false;
                let names = &state.names;
                state.sent.retain(|name| names.contains(name));
                state.nacked.retain(|name| names.contains(name));
                state.mark_all_dirty();
                continue;
            }
            if !state.names.remove(&name) {
                continue;
            }
            state.forget(&name);
            if state.wildcard {
                // The client dropped the name and waits for the result of the wildcard: an existing resource is sent
                // as new, a missing one is removed.
                let name: Arc<str> = name.into();
                if snapshot.get(kind, &name).is_none() {
                    state.sent.insert(name.clone(), SentVersion::stale());
                }
                state.mark_dirty(&name);
            }
        }
        session.check_limits(kind)?;
        Ok(answer)
    }
}
