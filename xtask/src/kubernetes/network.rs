//! The network of the clusters: one routed range, like two EKS clusters in one VPC.
//!
//! A bridge joins the nodes, each a network namespace of its own, and the addresses of the control planes and load
//! balancers, which are the machine's. Pods keep their source address on the way to the other cluster. Nothing of the
//! range leaves the machine: what no other route takes is unreachable, and nodes have no way out.

use super::owner::Owner;
use crate::process::{self, Result};
use std::{
    fmt,
    io::Write,
    net::Ipv4Addr,
    process::{Command, Stdio},
};

/// The bridge. Its name is at most 15 bytes long (`IFNAMSIZ`).
pub(super) const BRIDGE: &str = "tombolo-k8s";
/// All addresses of all clusters.
pub(super) const RANGE: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 192, 0, 0), 11);
/// The machine itself, as nodes and pods reach it.
pub(super) const MACHINE: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 1);
/// Most clusters at once.
pub(super) const MAX_CLUSTERS: u8 = 4;
/// The packet filter between clusters.
const TABLE: &str = "tombolo_kubernetes";

/// A cluster's name and addresses. They follow from its number alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cluster {
    /// From 1.
    number: u8,
}

impl Cluster {
    /// The first so many clusters.
    pub(super) fn first(count: u8) -> impl Iterator<Item = Self> {
        (1..=count.min(MAX_CLUSTERS)).map(|number| Self { number })
    }

    /// `a`, `b` …
    pub(super) fn name(self) -> char {
        char::from(b'a' + self.number - 1)
    }

    /// The name of the context in a kubeconfig.
    pub(super) fn context(self) -> String {
        format!("tombolo-{}", self.name())
    }

    /// The name of its node.
    pub(super) fn node_name(self) -> String {
        format!("node-{}", self.name())
    }

    /// The end of the node's link that is on the bridge.
    fn link(self) -> String {
        format!("{BRIDGE}-{}", self.name())
    }

    /// Where etcd and the API server listen: an address of the machine.
    pub(super) fn control_plane(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 200, 0, 20 + self.number)
    }

    /// The address of its node.
    pub(super) fn node(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 200, 0, 10 + self.number)
    }

    /// The addresses of its pods.
    pub(super) fn pods(self) -> String {
        format!("10.{}.0.0/16", 200 + self.number)
    }

    /// The part of them that its only node has: the first that the controller manager gives out.
    pub(super) fn node_pods(self) -> String {
        format!("10.{}.0.0/24", 200 + self.number)
    }

    /// The addresses of its Services.
    pub(super) fn services(self) -> String {
        format!("10.{}.0.0/16", 210 + self.number)
    }

    /// The Service `kubernetes`: the first of the range.
    pub(super) fn api_service(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 210 + self.number, 0, 1)
    }

    /// The Service of the cluster's DNS.
    pub(super) fn dns(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 210 + self.number, 0, 10)
    }

    /// The addresses of its load balancers, which are the machine's.
    pub(super) fn load_balancers(self) -> impl Iterator<Item = Ipv4Addr> {
        (1..255).map(move |host| Ipv4Addr::new(10, 200, self.number, host))
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name())
    }
}

/// Makes the bridge, the routes and the filter between clusters.
pub(super) fn create(count: u8, owner: &Owner) -> Result<()> {
    let (range, length) = RANGE;
    let mut batch = format!(
        "link add {BRIDGE} type bridge\n\
         link set {BRIDGE} addrgenmode none\n\
         addr add {MACHINE}/16 dev {BRIDGE}\n\
         link set {BRIDGE} up\n\
         route add unreachable {range}/{length} metric 9999\n"
    );
    for cluster in Cluster::first(count) {
        let (control_plane, node) = (cluster.control_plane(), cluster.node());
        batch += &format!("addr add {control_plane}/32 dev {BRIDGE}\n");
        for range in [cluster.pods(), cluster.services()] {
            batch += &format!("route add {range} via {node}\n");
        }
    }
    ip_batch(&batch)?;
    set_owner(owner)?;
    // On the bridge a packet is seen as it is between two clusters: a security group's view, before Services are resolved.
    feed(
        Command::new("nft").args(["-f", "-"]),
        &format!(
            "table bridge {TABLE} {{
                set denied {{ type inet_service; }}
                chain forward {{
                    type filter hook forward priority 0; policy accept;
                    tcp dport @denied drop
                    udp dport @denied drop
                }}
            }}"
        ),
    )
}

/// Says whose clusters are up.
pub(super) fn set_owner(owner: &Owner) -> Result<()> {
    let alias = owner.to_string();
    quiet(Command::new("ip").args(["link", "set", BRIDGE, "alias", &alias]))
}

/// Joins the network namespace of a process to the bridge, as the node of a cluster.
pub(super) fn join(cluster: Cluster, count: u8, pid: u32) -> Result<()> {
    let link = cluster.link();
    ip_batch(&format!(
        "link add {link} type veth peer name eth0 netns {pid}\n\
         link set {link} addrgenmode none master {BRIDGE} up\n"
    ))?;
    let mut inside = format!(
        "link set lo up\n\
         addr add {}/16 dev eth0\n\
         link set eth0 up\n\
         route add unreachable default metric 9999\n",
        cluster.node()
    );
    for other in Cluster::first(count).filter(|other| *other != cluster) {
        inside += &format!("route add {} via {}\n", other.pods(), other.node());
    }
    let target = pid.to_string();
    let mut ip = Command::new("nsenter");
    ip.args(["--target", &target, "--net", "ip", "-batch", "-"]);
    feed(&mut ip, &inside)?;
    let mut forward = Command::new("nsenter");
    forward.args(["--target", &target, "--net", "sysctl", "-qw"]);
    quiet(forward.arg("net.ipv4.ip_forward=1"))
}

/// Adds an address to the machine, for a load balancer.
pub(super) fn add_address(address: Ipv4Addr) -> Result<()> {
    change_address("add", address)
}

/// Removes it again.
pub(super) fn remove_address(address: Ipv4Addr) -> Result<()> {
    change_address("del", address)
}

fn change_address(verb: &str, address: Ipv4Addr) -> Result<()> {
    let address = format!("{address}/32");
    quiet(Command::new("ip").args(["addr", verb, &address, "dev", BRIDGE]))
}

/// Closes a port between clusters, over TCP and UDP: packets to it are dropped, as by a security group.
pub(super) fn deny(port: u16) -> Result<()> {
    change_denied("add", port)
}

/// Opens it again.
pub(super) fn allow(port: u16) -> Result<()> {
    // One that is not denied cannot be deleted: it is added first.
    deny(port)?;
    change_denied("delete", port)
}

fn change_denied(verb: &str, port: u16) -> Result<()> {
    let element = format!("{{ {port} }}");
    quiet(Command::new("nft").args([verb, "element", "bridge", TABLE, "denied", &element]))
}

/// Removes everything again that [`create`] and [`join`] made; what is not there is no error.
pub(super) fn remove() {
    let (range, length) = RANGE;
    let range = format!("{range}/{length}");
    for cluster in Cluster::first(MAX_CLUSTERS) {
        attempt(Command::new("ip").args(["link", "del", &cluster.link()]));
    }
    attempt(Command::new("ip").args(["route", "del", "unreachable", &range, "metric", "9999"]));
    attempt(Command::new("nft").args(["delete", "table", "bridge", TABLE]));
    attempt(Command::new("ip").args(["link", "del", BRIDGE]));
}

/// Why the range cannot be used on this machine: it has other addresses or routes of it.
pub(super) fn conflict() -> Result<Option<String>> {
    let routes = process::output(Command::new("ip").args(["-4", "route", "show", "table", "all"]))?;
    let resolvers = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    Ok(conflict_in(&routes, &resolvers))
}

fn conflict_in(routes: &str, resolvers: &str) -> Option<String> {
    let (range, length) = RANGE;
    let taken = routes.lines().find(|line| {
        let mut words = line.split_whitespace();
        // `local 10.0.0.1 dev …`, `10.0.0.0/8 via …`.
        let first = words.next().unwrap_or_default();
        let destination = if first.starts_with(|char: char| char.is_ascii_digit()) {
            first
        } else {
            words.next().unwrap_or_default()
        };
        let (address, bits) = destination.split_once('/').unwrap_or((destination, "32"));
        let bits = bits.parse().unwrap_or(32);
        let is_ours = line.contains(BRIDGE) || line.contains("unreachable");
        // A wider route, as to a corporate network, is no conflict: ours are more specific.
        !is_ours && bits >= length && address.parse().is_ok_and(is_inside)
    });
    if let Some(route) = taken {
        return Some(format!(
            "the machine has a route of {range}/{length} already: {}",
            route.trim()
        ));
    }
    let resolver = resolvers.lines().find_map(|line| {
        let address = line.strip_prefix("nameserver")?.trim();
        address.parse().is_ok_and(is_inside).then_some(address)
    })?;
    Some(format!(
        "the machine's resolver {resolver} is of {range}/{length}"
    ))
}

fn is_inside(address: Ipv4Addr) -> bool {
    let (range, length) = RANGE;
    let mask = u32::MAX << (32 - length);
    address.to_bits() & mask == range.to_bits()
}

/// Runs `ip` once for many lines; it ends with an error at the first that fails.
fn ip_batch(lines: &str) -> Result<()> {
    feed(Command::new("ip").args(["-batch", "-"]), lines)
}

/// Runs a program that reads from its standard input, and tells what it prints only if it fails.
fn feed(command: &mut Command, input: &str) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |error: std::io::Error| format!("{program}: {error}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input.as_bytes()).map_err(failed)?;
    drop(stdin);
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program}: {}\n{input}", told.trim()))
}

fn quiet(command: &mut Command) -> Result<()> {
    feed(command, "")
}

/// Runs a program that may fail because what it removes is not there.
fn attempt(command: &mut Command) {
    let _ = quiet(command);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_clusters_are_inside_of_the_range_and_differ() {
        let clusters: Vec<Cluster> = Cluster::first(MAX_CLUSTERS).collect();
        let names: String = clusters.iter().map(|cluster| cluster.name()).collect();
        assert_eq!(names, "abcd");
        let mut seen = vec![MACHINE];
        for cluster in clusters {
            seen.extend([cluster.node(), cluster.control_plane()]);
            seen.extend([cluster.dns(), cluster.api_service()]);
            seen.extend(cluster.load_balancers());
            assert!(cluster.link().len() <= 15);
        }
        assert!(seen.iter().all(|address| is_inside(*address)));
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }

    #[test]
    fn a_route_or_a_resolver_of_the_range_is_a_conflict() {
        let resolver = "nameserver 10.255.255.53\n";
        let free = "default via 192.0.2.1 dev eth0\n\
                    10.0.0.0/8 via 192.0.2.1 dev eth0\n\
                    10.201.0.0/16 via 10.200.0.11 dev tombolo-k8s\n\
                    unreachable 10.192.0.0/11 metric 9999\n\
                    local 10.255.0.1 dev lo table local\n";
        assert_eq!(conflict_in(free, resolver), None);
        let taken = conflict_in("10.200.4.0/24 dev docker0 scope link", resolver);
        assert!(taken.is_some_and(|why| why.contains("docker0")));
        let local = conflict_in("local 10.223.0.1 dev eth1 table local", resolver);
        assert!(local.is_some_and(|why| why.contains("eth1")));
        let resolver = conflict_in(free, "# ours\nnameserver 10.193.0.2\n");
        assert!(resolver.is_some_and(|why| why.contains("10.193.0.2")));
    }
}
