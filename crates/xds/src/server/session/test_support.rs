//! Fixtures and helpers of the protocol tests.

use std::net::SocketAddr;

use prost::Message;

use super::*;
use crate::envoy::pb::envoy::service::discovery::v3::{DeltaDiscoveryResponse, DiscoveryResponse};
use crate::envoy::pb::google::rpc;
use crate::sample;

pub(super) fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A listener `l`, its routes `r`, and a cluster with endpoints for each name given.
pub(super) fn mesh(revision: u64, clusters: &[(&str, u32)]) -> Snapshot {
    let mut builder = Snapshot::builder(revision);
    builder.insert(Resource::encode(
        "l",
        &sample::listener("l", at(80), "r", "l"),
    ));
    let first = clusters.first().map_or("none", |(name, _)| name);
    builder.insert(Resource::encode("r", &sample::routes("r", first)));
    for (name, timeout) in clusters {
        builder.insert(Resource::encode(
            *name,
            &sample::cluster(name, name, *timeout),
        ));
        builder.insert(Resource::encode(*name, &sample::endpoints(name, &[at(81)])));
    }
    builder.build()
}

/// A push, decoded as a delta client does.
pub(crate) fn delta_response(push: &Response) -> DeltaDiscoveryResponse {
    decoded(push, Protocol::Delta)
}

/// A push, decoded as a client of the state-of-the-world protocol does.
pub(super) fn sotw_response(push: &Response) -> DiscoveryResponse {
    decoded(push, Protocol::Sotw)
}

fn decoded<M: Message + Default>(push: &Response, protocol: Protocol) -> M {
    let mut bytes = Vec::new();
    push.encode(protocol, &mut bytes);
    let bound = push.max_encoded_len(protocol);
    assert!(bytes.len() <= bound, "{} > {bound}", bytes.len());
    M::decode(&*bytes).expect("our own bytes")
}

pub(super) fn refusal() -> Option<rpc::Status> {
    Some(rpc::Status {
        code: 3,
        message: "no".into(),
        details: Vec::new(),
    })
}

pub(super) fn kind(type_url: &str) -> Kind {
    Kind::from_type_url(type_url).expect("a known type")
}
