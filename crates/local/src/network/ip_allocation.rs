//! IP address management: divides the VPC range into clusters, and allocates the addresses of pods and Services.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use tombolo_linux::fabric::Ipv4Range;

use crate::cluster::fnv1a;

/// Addresses at the start of a cluster's range that belong to the node.
const NODE: u32 = 16;

/// Addresses at the start of the service range that are reserved for the cluster (DNS is the tenth).
const RESERVED_SERVICES: u32 = 11;

/// A VPC range that cannot be divided.
#[derive(Debug, thiserror::Error)]
#[error("{vpc} is too small for {count} clusters; use a range of /{prefix} or larger")]
pub(crate) struct TooSmall {
    vpc: Ipv4Range,
    count: usize,
    prefix: u32,
}

/// The ranges of `count` clusters inside `vpc`, in order: equal parts, at least sixteen of them, so that a cluster keeps
/// its range when another joins.
///
/// # Errors
/// The range is too small to give each cluster 64 addresses.
pub(crate) fn divide(vpc: Ipv4Range, count: usize) -> Result<Vec<Ipv4Range>, TooSmall> {
    const SMALLEST: u32 = 26;
    let bits = count.max(16).next_power_of_two().trailing_zeros();
    let too_small = || TooSmall {
        vpc,
        count,
        prefix: SMALLEST.saturating_sub(bits),
    };
    let prefix = u32::from(vpc.prefix()) + bits;
    let prefix = u8::try_from(prefix.min(SMALLEST + 1)).unwrap_or(u8::MAX);
    if u32::from(prefix) > SMALLEST {
        return Err(too_small());
    }
    let part = |index: usize| {
        let offset = u32::try_from(index).ok()?.checked_mul(1 << (32 - prefix))?;
        Ipv4Range::new(nth(vpc, offset), prefix)
    };
    (0..count)
        .map(part)
        .collect::<Option<_>>()
        .ok_or_else(too_small)
}

/// Whether two ranges share an address.
pub(crate) fn overlap(one: Ipv4Range, other: Ipv4Range) -> bool {
    one.contains(other.address()) || other.contains(one.address())
}

/// The address of the node of a cluster: the first of its range.
pub(crate) fn node(range: Ipv4Range) -> Ipv4Addr {
    nth(range, 1)
}

/// The address of the cluster's DNS: the tenth of the service range, as Kubernetes has it.
pub(crate) fn dns(services: Ipv4Range) -> Ipv4Addr {
    nth(services, 10)
}

fn nth(range: Ipv4Range, index: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(range.address()).wrapping_add(index))
}

fn size(range: Ipv4Range) -> u32 {
    u32::try_from(1_u64 << (32 - u32::from(range.prefix().min(32)))).unwrap_or(u32::MAX)
}

/// Allocates pod addresses round robin, so that a released address is reused last: stale connections and caches reach
/// nobody rather than another pod.
#[derive(Debug)]
pub(crate) struct PodAddresses {
    range: Ipv4Range,
    next: u32,
    used: BTreeSet<u32>,
}

impl PodAddresses {
    /// Manages all addresses of `range` but the node's and the last one.
    pub(crate) fn new(range: Ipv4Range) -> Self {
        Self {
            range,
            next: NODE,
            used: BTreeSet::new(),
        }
    }

    /// Allocates an address; `None` when all are in use.
    pub(crate) fn allocate(&mut self) -> Option<Ipv4Addr> {
        let last = size(self.range).saturating_sub(1);
        let all = (self.next..last).chain(NODE..self.next.min(last));
        let index = all.into_iter().find(|index| !self.used.contains(index))?;
        self.used.insert(index);
        self.next = index + 1;
        Some(nth(self.range, index))
    }

    /// Releases an address.
    pub(crate) fn release(&mut self, address: Ipv4Addr) {
        self.used
            .remove(&u32::from(address).wrapping_sub(u32::from(self.range.address())));
    }
}

/// A free address of the service range, derived from the Service's name: the same manifests give the same addresses
/// in each run.
pub(crate) fn service_address(
    range: Ipv4Range,
    used: &BTreeSet<Ipv4Addr>,
    namespace: &str,
    name: &str,
) -> Option<Ipv4Addr> {
    let room = size(range).checked_sub(RESERVED_SERVICES + 1)?;
    let start = hash(namespace, name) % room.max(1);
    (0..room)
        .map(|step| nth(range, RESERVED_SERVICES + (start + step) % room))
        .find(|address| !used.contains(address))
}

/// A free node port, derived from the name and port of a Service.
pub(crate) fn node_port(
    used: &BTreeSet<u16>,
    namespace: &str,
    name: &str,
    port: u16,
) -> Option<u16> {
    const FIRST: u16 = 30_000;
    const COUNT: u16 = 2_768;
    let start =
        u16::try_from(hash(namespace, &format!("{name}:{port}")) % u32::from(COUNT)).ok()?;
    (0..COUNT)
        .map(|step| FIRST + (start + step) % COUNT)
        .find(|port| !used.contains(port))
}

fn hash(namespace: &str, name: &str) -> u32 {
    fnv1a(namespace.bytes().chain([b'/']).chain(name.bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Ipv4Range {
        text.parse().unwrap()
    }

    #[test]
    fn clusters_get_equal_parts_that_do_not_move_when_one_joins() {
        let two = divide(range("10.0.0.0/16"), 2).unwrap();
        let three = divide(range("10.0.0.0/16"), 3).unwrap();
        assert_eq!(two[..], three[..2]);
        assert_eq!(three[1].to_string(), "10.0.16.0/20");
        assert!(!overlap(three[0], three[1]));
        assert!(divide(range("10.0.0.0/24"), 2).is_err());
    }

    #[test]
    fn address_released_is_the_last_to_be_used_again() {
        let mut addresses = PodAddresses::new(range("10.0.0.0/26"));
        let first = addresses.allocate().unwrap();
        addresses.release(first);
        let rest: Vec<_> = std::iter::from_fn(|| addresses.allocate()).collect();
        assert_eq!(rest.last(), Some(&first));
        assert_eq!(rest.len(), 64 - 1 - usize::try_from(NODE).unwrap());
    }

    #[test]
    fn services_of_equal_name_get_equal_addresses_and_never_a_used_one() {
        let mut used = BTreeSet::new();
        let first = service_address(range("10.100.0.0/16"), &used, "shop", "web").unwrap();
        assert_eq!(
            Some(first),
            service_address(range("10.100.0.0/16"), &used, "shop", "web")
        );
        used.insert(first);
        assert_ne!(
            Some(first),
            service_address(range("10.100.0.0/16"), &used, "shop", "web")
        );
        assert_eq!(dns(range("10.100.0.0/16")), Ipv4Addr::new(10, 100, 0, 10));
    }
}
