//! The network between pods: the runtime's own network namespace routes.
//!
//! There is no bridge. Each pod has a veth pair of its own, a /32 address and a default route by the [`GATEWAY`]; the
//! fabric has a /32 route to each pod. So every packet between two pods, even of one cluster, passes the fabric's rules
//! and its connection tracking: service addresses and refusals work in one place and in one way.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd as _, AsRawFd as _};

use parking_lot::Mutex;

use crate::Result;
use crate::error::Attempt as _;
use crate::netlink::Netlink;
use crate::netns::Netns;
use crate::route::{self, Change, End, LOOPBACK};

mod range;
mod refusals;
mod rules;
mod ruleset;
#[cfg(test)]
mod tests;

pub use range::Ipv4Range;
pub use refusals::Refusal;
pub use rules::{
    Allowed, ClusterPolicy, ClusterRange, FabricRules, PortRange, Protocol, ServiceRule,
};

/// The default gateway of every pod, an address of the fabric.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

/// Index of the pod's end of its veth pair; loopback has index 1.
const POD_LINK: u32 = 2;
/// Index of the first pod's link in the fabric. Indexes are never reused.
const FIRST_LINK: u32 = 16;

/// The router between pods. All methods may be called from any thread.
#[derive(Debug)]
pub struct Fabric {
    /// Serializes changes.
    state: Mutex<State>,
}

/// Sockets in the fabric's namespace, and the rules that were sent over them.
struct State {
    links: Netlink,
    rules: Netlink,
    next_link: u32,
    applied: Option<FabricRules>,
    /// Counts of refused packets in sets that were replaced since.
    refused: BTreeMap<refusals::Key, u64>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("next_link", &self.next_link)
            .finish_non_exhaustive()
    }
}

/// A pod's network.
#[derive(Clone, Debug)]
pub struct PodNet {
    /// The pod's name, for messages.
    pub name: String,
    /// The pod's address.
    pub address: Ipv4Addr,
    /// The pod's network namespace.
    pub netns: Netns,
    link: u32,
}

impl Fabric {
    /// Turns the calling thread's network namespace into a fabric. The namespace must not be the host's (see
    /// [`crate::sandbox`]).
    ///
    /// # Errors
    /// The kernel refuses a setting or a link.
    pub fn new() -> Result<Self> {
        for (setting, value) in [
            ("ip_forward", "1"),
            // Packets of one pod may leave by the link on which those of another arrive.
            ("conf/all/rp_filter", "0"),
            ("conf/default/rp_filter", "0"),
            ("conf/all/send_redirects", "0"),
            ("conf/default/send_redirects", "0"),
            // Every refusal must be answered: with the kernel's rate limit, later ones of a burst would time out.
            ("icmp_ratemask", "0"),
        ] {
            match fs::write(format!("/proc/sys/net/ipv4/{setting}"), value) {
                // Old kernels have this setting once for the whole machine.
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound && setting != "ip_forward" => {}
                written => written.attempt(|| format!("set net.ipv4.{setting}={value}"))?,
            }
        }
        let mut links = route::open()?;
        let loopback = [
            Change::link_up(LOOPBACK),
            Change::address(LOOPBACK, GATEWAY),
        ];
        route::apply(&mut links, &loopback)?;
        let rules = Netlink::open(libc::NETLINK_NETFILTER as isize)?;
        let state = State {
            links,
            rules,
            next_link: FIRST_LINK,
            applied: None,
            refused: BTreeMap::new(),
        };
        Ok(Self {
            state: Mutex::new(state),
        })
    }

    /// Creates a pod's network namespace and connects it. The name is only used in messages; the address must be new.
    ///
    /// # Errors
    /// The change that the kernel refuses; the link is removed again.
    pub fn add_pod(&self, name: &str, address: Ipv4Addr) -> Result<PodNet> {
        let (netns, links) = Netns::new_with(|| {
            allow_unprivileged_ports_and_pings()?;
            route::open()
        })?;
        let mut pod_links = links?;
        let mut state = self.state.lock();
        let link = state.next_link;
        state.next_link += 1;
        let near_name = format!("pod{link}");
        let near = End {
            index: link,
            name: &near_name,
            hardware: hardware(0, link),
        };
        let far = End {
            index: POD_LINK,
            name: "eth0",
            hardware: hardware(1, link),
        };
        let fabric_side = [
            Change::veth_pair(near, far, netns.as_fd().as_raw_fd()),
            Change::neighbour(link, address, far.hardware),
            Change::direct_route(link, address),
        ];
        let pod_side = [
            Change::link_up(LOOPBACK),
            Change::link_up(POD_LINK),
            Change::address(POD_LINK, address),
            Change::neighbour(POD_LINK, GATEWAY, near.hardware),
            Change::direct_route(POD_LINK, GATEWAY),
            Change::default_route(POD_LINK, GATEWAY),
        ];
        let connected = route::apply(&mut state.links, &fabric_side)
            .and_then(|()| route::apply(&mut pod_links, &pod_side));
        if let Err(error) = connected {
            route::apply(&mut state.links, &[Change::delete_link(link)]).ok();
            return Err(error.within(format!("connect pod {name}")));
        }
        Ok(PodNet {
            name: name.to_owned(),
            address,
            netns,
            link,
        })
    }

    /// Disconnects a pod. Its namespace exists as long as a handle to it. Idempotent.
    ///
    /// # Errors
    /// The kernel refuses the deletion.
    pub fn remove_pod(&self, pod: &PodNet) -> Result<()> {
        let mut state = self.state.lock();
        let change = Change::delete_link(pod.link);
        ignore_absent(route::apply(&mut state.links, &[change]))
    }

    /// Adds a local address to the fabric, so that the runtime can listen on it. Idempotent.
    ///
    /// # Errors
    /// The kernel refuses the address.
    pub fn add_local_address(&self, address: Ipv4Addr) -> Result<()> {
        let mut state = self.state.lock();
        route::apply(&mut state.links, &[Change::address(LOOPBACK, address)])
    }

    /// Replaces all rules at once. Connections that the new policies no longer allow break at their next packet.
    ///
    /// Rules equal to the last ones change nothing. On an error the last ones stay.
    ///
    /// # Errors
    /// The rule that the kernel refuses, with a hint when it lacks a feature or the rules exceed a limit.
    pub fn apply(&self, rules: &FabricRules) -> Result<()> {
        let mut state = self.state.lock();
        if state.applied.as_ref() == Some(rules) {
            return Ok(());
        }
        let batch = ruleset::compile(rules);
        // Packets that are refused between this reading and the replacement are not counted.
        let counted = state.counted()?;
        batch.commit_on(&mut state.rules)?;
        refusals::add(&mut state.refused, counted);
        state.applied = Some(rules.clone());
        Ok(())
    }

    /// Packets that the policies have refused since the fabric was created, by pair of clusters, protocol and port.
    ///
    /// # Errors
    /// The kernel does not return a set.
    pub fn refusals(&self) -> Result<Vec<Refusal>> {
        let mut state = self.state.lock();
        let mut total = state.refused.clone();
        let counted = state.counted()?;
        refusals::add(&mut total, counted);
        Ok(refusals::list(total))
    }
}

impl State {
    /// The counts of the current rules.
    fn counted(&mut self) -> Result<Vec<(refusals::Key, u64)>> {
        let Self { applied, rules, .. } = self;
        match applied {
            Some(applied) => refusals::read(rules, applied),
            None => Ok(Vec::new()),
        }
    }
}

/// Lets programs without capabilities listen on low ports and send pings in the calling thread's network namespace, as
/// container runtimes do.
fn allow_unprivileged_ports_and_pings() -> Result<()> {
    // Where only one group exists, the kernel refuses the full range.
    for (setting, values) in [
        ("ip_unprivileged_port_start", &["0"][..]),
        ("ping_group_range", &["0 2147483647", "0 0"]),
    ] {
        let path = format!("/proc/sys/net/ipv4/{setting}");
        let mut written = Ok(());
        for value in values {
            written = fs::write(&path, value);
            if written.is_ok() {
                break;
            }
        }
        match written {
            // Old kernels do not have this setting.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            written => written.attempt(|| format!("set net.ipv4.{setting}"))?,
        }
    }
    Ok(())
}

/// A unique hardware address: locally administered, then the side and the link.
fn hardware(side: u8, link: u32) -> [u8; 6] {
    let [a, b, c, d] = link.to_be_bytes();
    [0x02, side, a, b, c, d]
}

fn ignore_absent(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if route::is_absent(&error) => Ok(()),
        other => other,
    }
}
