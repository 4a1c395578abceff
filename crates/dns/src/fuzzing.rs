//! Internals for the fuzz targets (docs/decisions/0008). Not a stable interface.

use crate::{
    message::{ForwardedQuery, ParsedResponse},
    metrics::Shard,
    reply::Transport,
    responder::{Client, Responder, Step},
    zone::Zone,
};
use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

/// A server without sockets, with an upstream whose answers are passed in.
pub struct Forwarding(Responder);

impl Forwarding {
    /// A server that forwards names that are in none of the zones.
    pub fn new(zones: Vec<Arc<dyn Zone>>) -> Self {
        Self(Responder::new(zones, true, Arc::default(), 1))
    }

    /// The response to a query. If the query is forwarded, `answer` returns the upstream's answer to the
    /// forwarded message. `None` if the client gets no response, or the upstream's answer is not valid.
    pub fn answer(
        &self,
        question: &[u8],
        over_udp: bool,
        seed: u64,
        answer: impl FnOnce(&[u8]) -> Vec<u8>,
    ) -> Option<Vec<u8>> {
        let client = Client {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            transport: match over_udp {
                true => Transport::Udp,
                false => Transport::Tcp,
            },
        };
        let shard = Shard::unshared();
        let mut out = Vec::new();
        match self.0.respond(question, client, seed, &shard, &mut out) {
            Step::Ignore => None,
            Step::Reply => Some(out),
            Step::Forward(pending) => {
                let asked =
                    ForwardedQuery::new(&pending, &mut fastrand::Rng::with_seed(seed), true);
                match asked.parse_response(&answer(&asked.bytes), over_udp) {
                    ParsedResponse::Answer(response) => {
                        self.0.finish(&pending, Some(response), &shard, &mut out);
                        Some(out)
                    }
                    ParsedResponse::Ignored
                    | ParsedResponse::CaseMismatch
                    | ParsedResponse::Truncated => None,
                }
            }
        }
    }
}
