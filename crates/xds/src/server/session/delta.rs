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

    /// Subscriptions count whatever the nonce; only the answer depends on it.
    fn receive(
        session: &mut Session,
        request: DeltaDiscoveryRequest,
    ) -> Result<AckOrNack, Violation> {
        let Some(kind) = Session::kind_of(&request.type_url) else {
            return Ok(AckOrNack::None);
        };
        let error = request.error_detail.map(|status| status.message);
        let answer = session.answered(kind, &request.response_nonce, error);

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
        // Legacy: a client that opens with no names at all wants everything.
        let all = first && kind.is_root() && subscribe.is_empty() && unsubscribe.is_empty();
        if all || subscribe.iter().any(|name| name == "*") {
            // Asking again means that the client may have forgotten what it had.
            let names = &state.names;
            state.sent.retain(|name| names.contains(name));
            state.wildcard = true;
            // A client that holds nothing waits for an answer, even an empty one.
            state.must_respond = !first || initial.is_empty();
            state.touch_all();
        }
        for name in subscribe.into_iter().filter(|name| name != "*") {
            let name = session.name(kind, name)?;
            let state = session.state(kind);
            // Again: the client may have forgotten it, so it is sent anew.
            state.sent.remove(&name);
            state.touch(&name);
            state.names.insert(name, Subscribed);
        }
        if first {
            for (name, version) in initial {
                // Held, but not for the cluster that was sent before this request came: it
                // warms only with endpoints that come after it.
                let warming = session.warming.as_ref();
                let warming = warming.filter(|_| kind == Kind::Endpoint);
                if warming.is_some_and(|warming| warming.awaits(&name)) {
                    continue;
                }
                let name = session.name(kind, name)?;
                let current = session.snapshot.get(kind, &name).cloned();
                let state = session.state(kind);
                if state.wildcard || state.names.contains(&name) {
                    let sent = match current {
                        Some(resource) if **resource.version() == *version => {
                            SentVersion::Resource(resource)
                        }
                        _ if version.len() <= MAX_VERSION_BYTES => {
                            SentVersion::Held(version.into())
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
                state.touch_all();
                continue;
            }
            if !state.names.remove(&name) {
                continue;
            }
            state.forget(&name);
            if state.wildcard {
                // The client dropped the name and waits to hear whether the wildcard still
                // covers it. If it exists it is sent as new; if not, it must be removed.
                let name: Arc<str> = name.into();
                if snapshot.get(kind, &name).is_none() {
                    state.sent.insert(name.clone(), SentVersion::stale());
                }
                state.touch(&name);
            }
        }
        session.check_names(kind)?;
        Ok(answer)
    }
}
