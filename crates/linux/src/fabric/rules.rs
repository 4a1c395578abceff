//! The rules of the fabric: services, and policies between clusters.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::Ipv4Range;

/// All rules of the fabric, always replaced as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FabricRules {
    /// Service addresses.
    pub services: Vec<ServiceRule>,
    /// Policies between clusters.
    pub policies: Vec<ClusterPolicy>,
}

/// One port of a service address, for the pods of one cluster. Two clusters may use one address for two services.
/// Several rules with the same source, address, protocol and port are merged with all their endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRule {
    /// The pods to which the rule applies.
    pub sources: Vec<Ipv4Range>,
    /// The service's address.
    pub vip: Ipv4Addr,
    /// The service port's protocol.
    pub protocol: Protocol,
    /// The service's port.
    pub port: u16,
    /// Pods and their ports; each connection goes to a random one. Without endpoints, connections are refused.
    pub endpoints: Vec<SocketAddrV4>,
}

/// A protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    pub(super) const ALL: [Self; 2] = [Self::Tcp, Self::Udp];

    /// The protocol's number in IP.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    pub(super) fn from_number(number: u8) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|protocol| protocol.number() == number)
    }
}

/// The connections that one cluster may open to another. Replies are allowed with their connection. Between clusters
/// without a policy everything is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterPolicy {
    /// The cluster that opens connections.
    pub from: ClusterRange,
    /// The cluster that accepts them.
    pub to: ClusterRange,
    /// Open ports; everything else is refused.
    pub allowed: Allowed,
}

/// A cluster's pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterRange {
    /// The cluster's name.
    pub name: String,
    /// The addresses of its pods.
    pub range: Ipv4Range,
}

/// Ports of pods (not of services) that are open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Every protocol and port.
    All,
    /// These ports, TCP and UDP.
    Ports(Vec<PortRange>),
}

/// Ports from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// The lowest port.
    pub first: u16,
    /// The highest port.
    pub last: u16,
}
