//! The expressions of a rule. A rule runs its expressions in order until one does not match.
//!
//! Attribute numbers are local to each expression; the constants of the `NFTA_*` enums in `nf_tables.h` count from 1,
//! so most expressions are their values in order ([`Expression::of_numbers`]).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::attribute::Attributes;

/// First of the four 32-bit registers this crate uses (NFT_REG32_00).
pub const REGISTER_0: u32 = 8;
/// Second register.
pub const REGISTER_1: u32 = 9;
/// Third register.
pub const REGISTER_2: u32 = 10;
/// Fourth register.
pub const REGISTER_3: u32 = 11;

const VERDICT_REGISTER: u32 = 0;

/// One encoded expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression(pub(super) Attributes);

/// The comparison of a register with bytes in [`Expression::compare`]. Bytes compare as big-endian numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Equal.
    Equal = 0,
    /// Not equal.
    NotEqual = 1,
    /// Less than or equal.
    AtMost = 3,
    /// Greater than or equal.
    AtLeast = 5,
}

/// Packet metadata. All but the protocol are 32-bit numbers in the machine's byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meta {
    /// The packet's mark; for locally generated packets, the socket's mark.
    Mark = 3,
    /// Owner of the socket that sent the packet.
    SocketUser = 10,
    /// Group of the socket that sent the packet.
    SocketGroup = 11,
    /// Transport protocol, one byte.
    Protocol = 16,
}

/// A field of the packet: header (1 network, 2 transport), offset and length in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketField(u32, u32, u32);

impl PacketField {
    /// IPv4 source address.
    pub const IPV4_SOURCE: Self = Self(1, 12, 4);
    /// IPv4 destination address.
    pub const IPV4_DESTINATION: Self = Self(1, 16, 4);
    /// IPv4 source and destination addresses, eight bytes (two registers).
    pub const IPV4_ADDRESSES: Self = Self(1, 12, 8);
    /// IPv6 destination address (four registers).
    pub const IPV6_DESTINATION: Self = Self(1, 24, 16);
    /// TCP or UDP source port.
    pub const SOURCE_PORT: Self = Self(2, 0, 2);
    /// TCP or UDP destination port.
    pub const DESTINATION_PORT: Self = Self(2, 2, 2);
}

/// The verdict at the end of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// Accepts the packet at this hook's chain.
    Accept,
    /// Returns to the calling chain, or applies the chain's policy.
    Return,
    /// Continues in another chain, and returns.
    Jump(&'a str),
}

impl Expression {
    fn of(name: &str, data: Attributes) -> Self {
        Self(Attributes::new().text(1, name).nested(2, &data))
    }

    /// An expression whose attributes are numbers, counted from 1.
    fn of_numbers(name: &str, numbers: &[u32]) -> Self {
        let attributes = (1..).zip(numbers);
        let data = attributes.fold(Attributes::new(), |data, (kind, number)| {
            data.u32(kind, *number)
        });
        Self::of(name, data)
    }

    /// Loads metadata into a register.
    pub fn meta(key: Meta, register: u32) -> Self {
        Self::of_numbers("meta", &[register, key as u32])
    }

    /// Loads a packet field into a register and those that follow it.
    pub fn packet(PacketField(header, offset, length): PacketField, register: u32) -> Self {
        Self::of_numbers("payload", &[register, header, offset, length])
    }

    /// Loads the direction of the packet, one byte: 0 from the side that opened the connection, 1 to it. Ends the
    /// rule for a packet without a connection.
    pub fn connection_direction(register: u32) -> Self {
        const DIRECTION: u32 = 1;
        Self::of_numbers("ct", &[register, DIRECTION])
    }

    /// Continues only for a packet about another connection, such as an ICMP error.
    pub fn is_related() -> Vec<Self> {
        const STATE: u32 = 0;
        const RELATED: u32 = 4;
        vec![
            Self::of_numbers("ct", &[REGISTER_0, STATE]),
            Self::mask(REGISTER_0, &RELATED.to_ne_bytes()),
            Self::compare(REGISTER_0, Comparison::NotEqual, &[0; 4]),
        ]
    }

    /// Loads the type of the packet's source (or destination) address, e.g. RTN_LOCAL, as a 32-bit number.
    pub fn address_type(of_source: bool, register: u32) -> Self {
        const ADDRESS_TYPE: u32 = 3;
        Self::of_numbers(
            "fib",
            &[register, ADDRESS_TYPE, if of_source { 1 } else { 2 }],
        )
    }

    /// Loads a random 32-bit number below `modulus`.
    pub fn random(modulus: u32, register: u32) -> Self {
        const RANDOM: u32 = 1;
        const OFFSET: u32 = 0;
        Self::of_numbers("numgen", &[register, modulus, RANDOM, OFFSET])
    }

    /// Continues only if the comparison of the register with these bytes holds.
    pub fn compare(register: u32, how: Comparison, with: &[u8]) -> Self {
        let data = Attributes::new().u32(1, register).u32(2, how as u32);
        Self::of("cmp", data.nested(3, &value(with)))
    }

    /// Applies a bit mask to the register.
    pub fn mask(register: u32, mask: &[u8]) -> Self {
        let data = Attributes::new()
            .u32(1, register)
            .u32(2, register)
            .u32(3, mask.len() as u32)
            .nested(4, &value(mask))
            .nested(5, &value(&vec![0; mask.len()]));
        Self::of("bitwise", data)
    }

    /// Continues only if the set contains the register (and the following ones, for long keys).
    pub fn set_lookup(set: &str, register: u32) -> Self {
        Self::of("lookup", Attributes::new().text(1, set).u32(2, register))
    }

    /// Continues only if the map contains the key in the registers from `key` on; loads its value from `into` on.
    pub fn map_lookup(map: &str, key: u32, into: u32) -> Self {
        let data = Attributes::new().text(1, map).u32(2, key).u32(3, into);
        Self::of("lookup", data)
    }

    /// Adds the register to a dynamic set and counts the packet in that element. Continues even when the set is full.
    pub fn count_in(set: &str, register: u32) -> Self {
        const ADD: u32 = 0;
        let data = Attributes::new().text(1, set).u32(3, ADD).u32(4, register);
        Self::of("dynset", data.nested(7, &Self::counter().0))
    }

    /// Counts packets and bytes.
    pub fn counter() -> Self {
        Self::of_numbers("counter", &[])
    }

    /// Loads bytes into a register.
    pub fn immediate(register: u32, bytes: &[u8]) -> Self {
        let data = Attributes::new().u32(1, register);
        Self::of("immediate", data.nested(2, &value(bytes)))
    }

    /// Ends the rule.
    pub fn verdict(verdict: Verdict<'_>) -> Self {
        let (code, chain): (i32, _) = match verdict {
            Verdict::Accept => (1, None),
            Verdict::Jump(chain) => (-3, Some(chain)),
            Verdict::Return => (-5, None),
        };
        let mut inner = Attributes::new().u32(1, code as u32);
        if let Some(chain) = chain {
            inner = inner.text(2, chain);
        }
        let data = Attributes::new().u32(1, VERDICT_REGISTER);
        Self::of(
            "immediate",
            data.nested(2, &Attributes::new().nested(2, &inner)),
        )
    }

    /// IPv4: rewrites the destination to the address in one register and the port in another.
    pub fn destination_nat(address: u32, port: u32) -> Self {
        const DESTINATION: u32 = 1;
        let data = Attributes::new().u32(1, DESTINATION).u32(2, IPV4);
        Self::of("nat", data.u32(3, address).u32(5, port))
    }

    /// IPv4: rewrites the source to the address in the register.
    pub fn source_nat(address: u32) -> Self {
        const SOURCE: u32 = 0;
        Self::of_numbers("nat", &[SOURCE, IPV4, address])
    }

    /// Rewrites the destination to this machine and the port in the register.
    pub fn redirect(port: u32) -> Self {
        Self::of_numbers("redir", &[port])
    }

    /// Refuses with a TCP reset.
    pub fn reject_tcp() -> Self {
        const RESET: u32 = 1;
        Self::of("reject", Attributes::new().u32(1, RESET).bytes(2, &[0]))
    }

    /// Refuses with an ICMP "destination unreachable" of this code (3 port, 13 administratively prohibited).
    pub fn reject_icmp(code: u8) -> Self {
        const ICMP: u32 = 0;
        Self::of("reject", Attributes::new().u32(1, ICMP).bytes(2, &[code]))
    }
}

/// Matches that consist of a few expressions. All use the first register.
impl Expression {
    /// The metadata equals this value.
    pub fn meta_is(key: Meta, value: &[u8]) -> Vec<Self> {
        vec![
            Self::meta(key, REGISTER_0),
            Self::compare(REGISTER_0, Comparison::Equal, value),
        ]
    }

    /// The transport protocol is this one.
    pub fn protocol_is(protocol: u8) -> Vec<Self> {
        Self::meta_is(Meta::Protocol, &[protocol])
    }

    /// The port field is in the range.
    pub fn port_within(field: PacketField, first: u16, last: u16) -> Vec<Self> {
        let compare = |how, port: u16| Self::compare(REGISTER_0, how, &port.to_be_bytes());
        let mut expressions = vec![Self::packet(field, REGISTER_0)];
        if first == last {
            expressions.push(compare(Comparison::Equal, first));
        } else {
            expressions.push(compare(Comparison::AtLeast, first));
            expressions.push(compare(Comparison::AtMost, last));
        }
        expressions
    }

    /// The port field is this one.
    pub fn port_is(field: PacketField, port: u16) -> Vec<Self> {
        Self::port_within(field, port, port)
    }

    /// The IPv4 address field is in the range.
    pub fn ipv4_within(field: PacketField, network: Ipv4Addr, prefix: u8) -> Vec<Self> {
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        let network = network.to_bits() & mask;
        Self::within(field, &network.to_be_bytes(), &mask.to_be_bytes())
    }

    /// The IPv6 address field is in the range.
    pub fn ipv6_within(field: PacketField, network: Ipv6Addr, prefix: u8) -> Vec<Self> {
        let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
        let network = network.to_bits() & mask;
        Self::within(field, &network.to_be_bytes(), &mask.to_be_bytes())
    }

    fn within(field: PacketField, network: &[u8], mask: &[u8]) -> Vec<Self> {
        if mask.iter().all(|byte| *byte == 0) {
            return Vec::new();
        }
        let mut expressions = vec![Self::packet(field, REGISTER_0)];
        if mask.iter().any(|byte| *byte != u8::MAX) {
            expressions.push(Self::mask(REGISTER_0, mask));
        }
        expressions.push(Self::compare(REGISTER_0, Comparison::Equal, network));
        expressions
    }
}

const IPV4: u32 = 2;

fn value(bytes: &[u8]) -> Attributes {
    Attributes::new().bytes(1, bytes)
}
