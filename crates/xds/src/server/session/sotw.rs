//! State of the world, which older Envoys and their bootstraps speak.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Dialect, Protocol, Push, Receipt, Session, Violation};
use crate::Node;
use crate::envoy::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use crate::resource::Kind;

/// `StreamAggregatedResources`.
#[derive(Debug)]
pub struct Sotw;

impl Dialect for Sotw {
    type Request = DiscoveryRequest;
    type Response = DiscoveryResponse;
    const PROTOCOL: Protocol = Protocol::Sotw;

    fn node(request: &mut DiscoveryRequest) -> Option<Node> {
        request.node.take().map(Node::from)
    }

    /// A request with an old nonce is dropped whole: the client repeats its names when it
    /// answers the newest response.
    fn receive(session: &mut Session, request: DiscoveryRequest) -> Result<Receipt, Violation> {
        let Some(kind) = Kind::from_type_url(&request.type_url) else {
            tracing::debug!(
                type_url = request.type_url,
                "ignored a request of unknown type"
            );
            return Ok(Receipt::None);
        };
        let nonce = request.response_nonce;
        // Without a nonce: the client has not seen a response yet.
        if !nonce.is_empty() && nonce != session.track(kind).last_nonce {
            return Ok(Receipt::None);
        }
        let error = request.error_detail.map(|status| status.message);
        let receipt = session.receipt(kind, &nonce, error);

        let mut names = BTreeSet::new();
        for name in request.resource_names {
            Session::check_name(&name)?;
            names.insert(Arc::<str>::from(name));
        }
        let track = session.track(kind);
        let first = !std::mem::replace(&mut track.opened, true);
        track.named |= !names.is_empty();
        let wildcard = names.remove("*") || (kind.is_root() && !track.named);
        if first || wildcard != track.wildcard || names != track.names {
            track.due |= wildcard && !track.wildcard;
            track.wildcard = wildcard;
            track.names = names;
            if !wildcard {
                // What it no longer asks for it no longer holds.
                track.told.retain(|name, _| track.names.contains(name));
                track.suspects.retain(|name| track.names.contains(name));
            }
            track.touch();
            session.check_names()?;
        }
        Ok(receipt)
    }

    fn respond(push: Push) -> DiscoveryResponse {
        DiscoveryResponse {
            version_info: push.revision.to_string(),
            type_url: push.kind.type_url().to_owned(),
            nonce: push.nonce,
            resources: push
                .resources
                .iter()
                .map(|resource| resource.any())
                .collect(),
            ..Default::default()
        }
    }
}
