//! Compiles rules into one nf_tables transaction.
//!
//! Services: at prerouting, destination NAT to a random endpoint, for packets of one cluster's pods only. Policies:
//! at forward, for each pair of clusters one chain for the packets of the connecting side and one for the replies,
//! distinguished by connection tracking. Both check every packet, not only new connections, so that a connection
//! breaks when its permission is withdrawn.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};

use super::rules::{Allowed, ClusterPolicy, FabricRules, PortRange, Protocol, ServiceRule};
use super::{GATEWAY, Ipv4Range};
use crate::nft::{
    Batch, Chain, Comparison, Expression, Family, Hook, Meta, PacketField, REGISTER_0, REGISTER_1,
    REGISTER_2, REGISTER_3, Verdict,
};

pub(super) const TABLE: &str = "tombolo";

/// Maximum pairs of protocol and port that are counted for each pair of clusters.
const MAX_REFUSED: u32 = 1024;

const PORT_UNREACHABLE: u8 = 3;
const ADMINISTRATIVELY_PROHIBITED: u8 = 13;

const ORIGINAL: u8 = 0;
const REPLY: u8 = 1;

/// Name of the set that counts the refusals of the policy with this number.
pub(super) fn refused_set(number: usize) -> String {
    format!("refused-{number}")
}

/// Compiles the whole table.
pub(super) fn compile(rules: &FabricRules) -> Batch {
    let mut batch = Batch::replacing(Family::Ipv4, TABLE);
    for (name, kind, hook, priority) in [
        ("services", "nat", Hook::Prerouting, -100),
        ("without-endpoints", "filter", Hook::Prerouting, 0),
        ("policies", "filter", Hook::Forward, 0),
        ("hairpin", "nat", Hook::Postrouting, 100),
    ] {
        batch.base_chain(Chain {
            name,
            kind,
            hook,
            priority,
        });
    }
    add_services(&mut batch, &rules.services);
    add_hairpin(&mut batch, &rules.services);
    // An ICMP error belongs to the connection that it refers to.
    let mut related = Expression::is_related();
    related.push(Expression::verdict(Verdict::Accept));
    batch.rule("policies", "errors about connections", related);
    for (number, policy) in rules.policies.iter().enumerate() {
        add_policy(&mut batch, number, policy);
    }
    batch
}

/// The key of a packet to a service: address, protocol and port, one register each.
type ServiceKey = (Ipv4Addr, Protocol, u16);

/// An element of a service map: a [`ServiceKey`] with the number of an endpoint, and the endpoint.
type KeyAndValue = (Vec<u8>, Vec<u8>);

/// Adds one map for each source range and number of endpoints. The number of lookups per packet does not depend on
/// the number of services, and a service costs a few dozen bytes of the transaction, whose size is limited for
/// ordinary users.
fn add_services(batch: &mut Batch, services: &[ServiceRule]) {
    let mut by_source: BTreeMap<Ipv4Range, BTreeMap<ServiceKey, BTreeSet<SocketAddrV4>>> =
        BTreeMap::new();
    for service in services {
        for source in &service.sources {
            let key = (service.vip, service.protocol, service.port);
            by_source
                .entry(*source)
                .or_default()
                .entry(key)
                .or_default()
                .extend(&service.endpoints);
        }
    }
    for (source, services) in by_source {
        let mut without_endpoints = Vec::new();
        let mut by_count: BTreeMap<usize, Vec<KeyAndValue>> = BTreeMap::new();
        for (key, endpoints) in &services {
            if endpoints.is_empty() {
                without_endpoints.push(service_key(*key));
            }
            for (number, endpoint) in (0_u32..).zip(endpoints) {
                let key = [service_key(*key), number.to_ne_bytes().to_vec()].concat();
                let [high, low] = endpoint.port().to_be_bytes();
                let value = [&endpoint.ip().octets()[..], &[high, low, 0, 0]].concat();
                by_count
                    .entry(endpoints.len())
                    .or_default()
                    .push((key, value));
            }
        }
        for (count, elements) in by_count {
            let map = format!("services-of-{count}-for-{source}");
            batch.constant_map(&map, 16, 8, &elements);
            let mut rule = from_source(source);
            rule.push(Expression::random(
                u32::try_from(count).unwrap_or(u32::MAX),
                REGISTER_3,
            ));
            rule.push(Expression::map_lookup(&map, REGISTER_0, REGISTER_0));
            rule.push(Expression::destination_nat(REGISTER_0, REGISTER_1));
            batch.rule("services", &map, rule);
        }
        if without_endpoints.is_empty() {
            continue;
        }
        let set = format!("services-of-0-for-{source}");
        batch.constant_set(&set, 12, &without_endpoints);
        for (protocol, refusal) in [
            (Protocol::Tcp, Expression::reject_tcp()),
            (Protocol::Udp, Expression::reject_icmp(PORT_UNREACHABLE)),
        ] {
            let mut rule = from_source(source);
            rule.extend([
                Expression::compare(REGISTER_1, Comparison::Equal, &[protocol.number()]),
                Expression::set_lookup(&set, REGISTER_0),
                refusal,
            ]);
            batch.rule("without-endpoints", &set, rule);
        }
    }
}

/// Matches the source; loads the other parts of a [`ServiceKey`].
fn from_source(source: Ipv4Range) -> Vec<Expression> {
    let mut rule = within(PacketField::IPV4_SOURCE, source);
    rule.extend([
        Expression::packet(PacketField::IPV4_DESTINATION, REGISTER_0),
        Expression::meta(Meta::Protocol, REGISTER_1),
        Expression::packet(PacketField::DESTINATION_PORT, REGISTER_2),
    ]);
    rule
}

fn within(field: PacketField, range: Ipv4Range) -> Vec<Expression> {
    Expression::ipv4_within(field, range.address(), range.prefix())
}

fn service_key((vip, protocol, port): ServiceKey) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    [
        &vip.octets()[..],
        &[protocol.number(), 0, 0, 0, high, low, 0, 0],
    ]
    .concat()
}

/// A pod that reaches itself through a service would receive a packet from its own address and drop it; the packet
/// gets the gateway's address as its source.
fn add_hairpin(batch: &mut Batch, services: &[ServiceRule]) {
    let endpoints = services.iter().flat_map(|service| &service.endpoints);
    let addresses: BTreeSet<[u8; 4]> = endpoints.map(|endpoint| endpoint.ip().octets()).collect();
    let pairs: Vec<Vec<u8>> = addresses.iter().map(|ip| [*ip, *ip].concat()).collect();
    if pairs.is_empty() {
        return;
    }
    batch.constant_set("to-itself", 8, &pairs);
    let rule = [
        Expression::packet(PacketField::IPV4_ADDRESSES, REGISTER_0),
        Expression::set_lookup("to-itself", REGISTER_0),
        Expression::immediate(REGISTER_0, &GATEWAY.octets()),
        Expression::source_nat(REGISTER_0),
    ];
    batch.rule("hairpin", "a pod reaches itself through a service", rule);
}

fn add_policy(batch: &mut Batch, number: usize, policy: &ClusterPolicy) {
    let ClusterPolicy { from, to, allowed } = policy;
    let set = refused_set(number);
    // One register for the protocol and one for the port.
    batch.counting_set(&set, 8, MAX_REFUSED);
    let Allowed::Ports(ports) = allowed else {
        return;
    };
    let pair = format!("from {} to {}", from.name, to.name);
    let (requests, replies) = (format!("requests-{number}"), format!("replies-{number}"));
    for chain in [&requests, &replies] {
        batch.chain(chain);
    }
    for (chain, field) in [
        (&requests, PacketField::DESTINATION_PORT),
        (&replies, PacketField::SOURCE_PORT),
    ] {
        for protocol in Protocol::ALL {
            for PortRange { first, last } in ports {
                let mut rule = Expression::protocol_is(protocol.number());
                rule.extend(Expression::port_within(field, *first, *last));
                rule.push(Expression::verdict(Verdict::Accept));
                batch.rule(chain, &format!("{pair}, ports {first}-{last}"), rule);
            }
        }
    }
    for protocol in Protocol::ALL {
        let mut rule = Expression::protocol_is(protocol.number());
        rule.push(Expression::packet(
            PacketField::DESTINATION_PORT,
            REGISTER_1,
        ));
        rule.push(Expression::count_in(&set, REGISTER_0));
        batch.rule(&requests, &format!("count refused packets {pair}"), rule);
    }
    // Each side is refused at its next packet: the connecting side by the first chain, the other side by the second.
    let refuse = format!("refuse {pair}");
    for chain in [&requests, &replies] {
        let mut tcp = Expression::protocol_is(Protocol::Tcp.number());
        tcp.push(Expression::reject_tcp());
        batch.rule(chain, &refuse, tcp);
        let other = Expression::reject_icmp(ADMINISTRATIVELY_PROHIBITED);
        batch.rule(chain, &refuse, [other]);
    }
    for (chain, direction, source, destination) in
        [(&requests, ORIGINAL, from, to), (&replies, REPLY, to, from)]
    {
        let mut rule = within(PacketField::IPV4_SOURCE, source.range);
        rule.extend(within(PacketField::IPV4_DESTINATION, destination.range));
        rule.push(Expression::connection_direction(REGISTER_0));
        rule.push(Expression::compare(
            REGISTER_0,
            Comparison::Equal,
            &[direction],
        ));
        rule.push(Expression::verdict(Verdict::Jump(chain)));
        batch.rule("policies", &pair, rule);
    }
}
