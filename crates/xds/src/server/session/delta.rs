//! The delta protocol: <https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol>.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::{Dialect, Protocol, Push, Receipt, Session, Told, Violation};
use crate::Node;
use crate::envoy::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse,
};
use crate::resource::Kind;

/// `DeltaAggregatedResources`.
#[derive(Debug)]
pub struct Delta;

impl Dialect for Delta {
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaDiscoveryResponse;
    const PROTOCOL: Protocol = Protocol::Delta;

    fn node(request: &mut DeltaDiscoveryRequest) -> Option<Node> {
        request.node.take().map(Node::from)
    }

    /// Subscriptions count whatever the nonce; only the answer depends on it.
    fn receive(
        session: &mut Session,
        request: DeltaDiscoveryRequest,
    ) -> Result<Receipt, Violation> {
        let Some(kind) = Kind::from_type_url(&request.type_url) else {
            tracing::debug!(
                type_url = request.type_url,
                "ignored a request of unknown type"
            );
            return Ok(Receipt::None);
        };
        let error = request.error_detail.map(|status| status.message);
        let receipt = session.receipt(kind, &request.response_nonce, error);

        let snapshot = session.snapshot.clone();
        let warming = session.warming.as_ref();
        let track = &mut session.tracks[kind.index()];
        let first = !std::mem::replace(&mut track.opened, true);
        let (subscribe, unsubscribe) = (
            request.resource_names_subscribe,
            request.resource_names_unsubscribe,
        );
        if !first && subscribe.is_empty() && unsubscribe.is_empty() {
            return Ok(receipt);
        }
        track.touch();
        let initial = request.initial_resource_versions;
        // Legacy: a client that opens with no names at all wants everything.
        let all = first && kind.is_root() && subscribe.is_empty() && unsubscribe.is_empty();
        if all || subscribe.iter().any(|name| name == "*") {
            // Asking again means that the client may have forgotten what it had.
            track.told.retain(|name, _| track.names.contains(name));
            track.wildcard = true;
            // A client that holds nothing waits for an answer, even an empty one.
            track.due = !first || initial.is_empty();
        }
        for name in subscribe.into_iter().filter(|name| name != "*") {
            Session::check_name(&name)?;
            // Again: the client may have forgotten it, so it is sent anew.
            track.told.remove(name.as_str());
            track.names.insert(Arc::from(name));
        }
        if first {
            for (name, version) in initial {
                // Held, but not for the cluster that was sent before this request came: it
                // warms only with endpoints that come after it.
                let warming = warming.filter(|_| kind == Kind::Endpoint);
                if warming.is_some_and(|warming| warming.awaits(&name)) {
                    continue;
                }
                if track.wildcard || track.names.contains(name.as_str()) {
                    let told = Told::Present {
                        version: version.into(),
                        resource: None,
                    };
                    track.told.insert(name.into(), told);
                }
            }
        }
        for name in unsubscribe {
            if name == "*" {
                track.wildcard = false;
                track.told.retain(|name, _| track.names.contains(name));
                track.suspects.retain(|name| track.names.contains(name));
                continue;
            }
            let Some(name) = track.names.take(name.as_str()) else {
                continue;
            };
            track.forget(&name);
            if track.wildcard && snapshot.get(kind, &name).is_none() {
                // The client dropped the name and waits to hear whether the wildcard still
                // covers it. If it exists it is sent as new; if not, it must be removed.
                track.told.insert(name, Told::stale());
            }
        }
        session.check_names()?;
        Ok(receipt)
    }

    fn respond(push: Push) -> DeltaDiscoveryResponse {
        DeltaDiscoveryResponse {
            system_version_info: push.revision.to_string(),
            type_url: push.kind.type_url().to_owned(),
            nonce: push.nonce,
            resources: push
                .resources
                .iter()
                .map(|resource| resource.to_wire())
                .collect(),
            removed_resources: push.removed.iter().map(|name| name.to_string()).collect(),
            ..Default::default()
        }
    }
}
