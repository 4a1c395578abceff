//! Counts of refused packets, read from the sets that the rules fill.

use std::collections::BTreeMap;

use super::Protocol;
use super::rules::FabricRules;
use super::ruleset::{TABLE, refused_set};
use crate::Result;
use crate::netlink::Netlink;
use crate::nft::{CountedElement, Family, counted_elements};

/// The number of refused packets of one flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The cluster of the sender.
    pub from: String,
    /// The cluster of the destination.
    pub to: String,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The destination port, of the pod.
    pub port: u16,
    /// The number of packets; a refused connection counts as one or a few.
    pub packets: u64,
}

/// Source cluster, destination cluster, protocol and port.
pub(super) type Key = (String, String, Protocol, u16);

/// Reads the counts from the sets of the applied rules.
pub(super) fn read(netlink: &mut Netlink, applied: &FabricRules) -> Result<Vec<(Key, u64)>> {
    let mut counted = Vec::new();
    for (number, policy) in applied.policies.iter().enumerate() {
        let elements = counted_elements(netlink, Family::Ipv4, TABLE, &refused_set(number))?;
        counted.extend(elements.iter().filter_map(|element| {
            let (protocol, port) = decode(element)?;
            let key = (
                policy.from.name.clone(),
                policy.to.name.clone(),
                protocol,
                port,
            );
            Some((key, element.packets))
        }));
    }
    Ok(counted)
}

/// A key has the protocol in one register and the port in the next.
fn decode(element: &CountedElement) -> Option<(Protocol, u16)> {
    let protocol = Protocol::from_number(*element.key.first()?)?;
    let port = u16::from_be_bytes(*element.key.get(4..)?.first_chunk()?);
    Some((protocol, port))
}

pub(super) fn add(total: &mut BTreeMap<Key, u64>, counted: Vec<(Key, u64)>) {
    for (key, packets) in counted {
        *total.entry(key).or_default() += packets;
    }
}

pub(super) fn list(total: BTreeMap<Key, u64>) -> Vec<Refusal> {
    let refusal = |((from, to, protocol, port), packets)| Refusal {
        from,
        to,
        protocol,
        port,
        packets,
    };
    total.into_iter().map(refusal).collect()
}
