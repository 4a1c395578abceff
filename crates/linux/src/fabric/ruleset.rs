//! From rules to one nf_tables transaction.
//!
//! Services: at prerouting, destination NAT to a random endpoint, for packets of one cluster's pods only. Policies: at
//! forward, for each pair of clusters a chain for the packets of the side that connects and one for the answers, told
//! apart by connection tracking. Both look at every packet rather than waving established connections through: that is
//! what breaks a connection whose permission is withdrawn.

use std::net::SocketAddrV4;

use super::GATEWAY;
use super::rules::{Allowed, ClusterPolicy, FabricRules, Protocol, ServiceRule};
use crate::nft::{
    Batch, Chain, Comparison, Expression, Family, Hook, PacketField, REGISTER_0, REGISTER_1,
    Verdict,
};

pub(super) const TABLE: &str = "tombolo";

/// The most different ports that are remembered per pair of clusters.
const MOST_REFUSED: u32 = 1024;

const PORT_UNREACHABLE: u8 = 3;
const ADMINISTRATIVELY_PROHIBITED: u8 = 13;

const ORIGINAL: u8 = 0;
const REPLY: u8 = 1;

/// The set that counts what the policy of this number refuses.
pub(super) fn refused_set(number: usize) -> String {
    format!("refused-{number}")
}

/// The whole table.
pub(super) fn compile(rules: &FabricRules) -> Batch {
    let mut batch = Batch::replacing(Family::Ipv4, TABLE);
    batch.base_chain(Chain {
        name: "services",
        kind: "nat",
        hook: Hook::Prerouting,
        priority: -100,
    });
    batch.base_chain(Chain {
        name: "endless",
        kind: "filter",
        hook: Hook::Prerouting,
        priority: 0,
    });
    batch.base_chain(Chain {
        name: "policies",
        kind: "filter",
        hook: Hook::Forward,
        priority: 0,
    });
    batch.base_chain(Chain {
        name: "hairpin",
        kind: "nat",
        hook: Hook::Postrouting,
        priority: 100,
    });
    for service in &rules.services {
        add_service(&mut batch, service);
    }
    add_hairpin(&mut batch, &rules.services);
    // An ICMP error goes with the connection that it is about.
    let related = Expression::is_related()
        .into_iter()
        .chain([Expression::verdict(Verdict::Accept)]);
    batch.rule("policies", "errors about connections", related);
    for (number, policy) in rules.policies.iter().enumerate() {
        add_policy(&mut batch, number, policy);
    }
    batch
}

fn add_service(batch: &mut Batch, service: &ServiceRule) {
    let ServiceRule {
        sources,
        vip,
        protocol,
        port,
        endpoints,
    } = service;
    for source in sources {
        let label = format!("service {vip}:{port} for {source}");
        let matches = || {
            let mut matches = Expression::ipv4_within(
                PacketField::IPV4_SOURCE,
                source.address(),
                source.prefix(),
            );
            matches.extend(Expression::ipv4_within(
                PacketField::IPV4_DESTINATION,
                *vip,
                32,
            ));
            matches.extend(Expression::protocol_is(protocol.number()));
            matches.extend(Expression::port_within(
                PacketField::DESTINATION_PORT,
                *port,
                *port,
            ));
            matches
        };
        if endpoints.is_empty() {
            let refusal = match protocol {
                Protocol::Tcp => Expression::reject_tcp(),
                Protocol::Udp => Expression::reject_icmp(PORT_UNREACHABLE),
            };
            batch.rule("endless", &label, matches().into_iter().chain([refusal]));
            continue;
        }
        // Of n endpoints the first is taken in one case of n, else the second in one of n - 1, and so on.
        for (endpoint, left) in endpoints.iter().zip((1..=endpoints.len() as u32).rev()) {
            let mut rule = matches();
            if left > 1 {
                rule.push(Expression::random(left, REGISTER_0));
                rule.push(Expression::compare(
                    REGISTER_0,
                    Comparison::Equal,
                    &0_u32.to_ne_bytes(),
                ));
            }
            rule.extend(to_endpoint(*endpoint));
            batch.rule("services", &label, rule);
        }
    }
}

fn to_endpoint(endpoint: SocketAddrV4) -> [Expression; 3] {
    [
        Expression::immediate(REGISTER_0, &endpoint.ip().octets()),
        Expression::immediate(REGISTER_1, &endpoint.port().to_be_bytes()),
        Expression::destination_nat(REGISTER_0, REGISTER_1),
    ]
}

/// A pod that reaches itself through a service would see a packet from its own address on the wire and drop it; it gets
/// the gateway's address instead.
fn add_hairpin(batch: &mut Batch, services: &[ServiceRule]) {
    let mut pairs: Vec<Vec<u8>> = services
        .iter()
        .flat_map(|service| &service.endpoints)
        .map(|endpoint| [endpoint.ip().octets(), endpoint.ip().octets()].concat())
        .collect();
    pairs.sort_unstable();
    pairs.dedup();
    if pairs.is_empty() {
        return;
    }
    batch.constant_set("to-itself", 8, &pairs);
    let rule = [
        Expression::packet(PacketField::IPV4_ADDRESSES, REGISTER_0),
        Expression::lookup("to-itself", REGISTER_0),
        Expression::immediate(REGISTER_0, &GATEWAY.octets()),
        Expression::source_nat(REGISTER_0),
    ];
    batch.rule("hairpin", "a pod reaches itself through a service", rule);
}

fn add_policy(batch: &mut Batch, number: usize, policy: &ClusterPolicy) {
    let ClusterPolicy { from, to, allowed } = policy;
    let set = refused_set(number);
    // One register for the protocol, one for the port.
    batch.counting_set(&set, 8, MOST_REFUSED);
    let Allowed::Ports(ports) = allowed else {
        return;
    };
    let pair = format!("from {} to {}", from.name, to.name);
    let (asked, answered) = (format!("asked-{number}"), format!("answered-{number}"));
    for chain in [&asked, &answered] {
        batch.chain(chain);
    }
    for (chain, field) in [
        (&asked, PacketField::DESTINATION_PORT),
        (&answered, PacketField::SOURCE_PORT),
    ] {
        for (protocol, ports) in Protocol::ALL
            .iter()
            .flat_map(|protocol| ports.iter().map(move |ports| (protocol, ports)))
        {
            let mut rule = Expression::protocol_is(protocol.number());
            rule.extend(Expression::port_within(field, ports.first, ports.last));
            rule.push(Expression::verdict(Verdict::Accept));
            batch.rule(
                chain,
                &format!("{pair}, ports {}-{}", ports.first, ports.last),
                rule,
            );
        }
    }
    for protocol in Protocol::ALL {
        let mut rule = Expression::protocol_is(protocol.number());
        rule.push(Expression::packet(
            PacketField::DESTINATION_PORT,
            REGISTER_1,
        ));
        rule.push(Expression::count_in(&set, REGISTER_0));
        batch.rule(&asked, &format!("count what is refused {pair}"), rule);
    }
    // Both sides learn it with their next packet: the side that connected from the first chain, the other from the second.
    for chain in [&asked, &answered] {
        let mut tcp = Expression::protocol_is(Protocol::Tcp.number());
        tcp.push(Expression::reject_tcp());
        batch.rule(chain, &format!("refuse {pair}"), tcp);
        batch.rule(
            chain,
            &format!("refuse {pair}"),
            [Expression::reject_icmp(ADMINISTRATIVELY_PROHIBITED)],
        );
    }
    for (chain, direction, source, destination) in
        [(&asked, ORIGINAL, from, to), (&answered, REPLY, to, from)]
    {
        let (source, destination) = (source.range, destination.range);
        let mut rule =
            Expression::ipv4_within(PacketField::IPV4_SOURCE, source.address(), source.prefix());
        rule.extend(Expression::ipv4_within(
            PacketField::IPV4_DESTINATION,
            destination.address(),
            destination.prefix(),
        ));
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
