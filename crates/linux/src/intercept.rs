//! Redirection of a pod's traffic to its sidecar, as App Mesh's init container does it (facts/controller.md §5).
//!
//! Inbound TCP to the application's ports goes to the sidecar's ingress port, outbound TCP to its egress port. The
//! sidecar itself is exempt, by its user, its group or, where only one user exists, the mark of its sockets.

use std::net::IpAddr;
use std::path::Path;

use crate::nft::{
    Batch, Chain, Comparison, Expression, Family, Hook, Meta, PacketField, REGISTER_0, Verdict,
};
use crate::{Error, Result};

mod config;

pub use config::{AddressRange, ConfigError, InterceptConfig};

const TABLE: &str = "tombolo-intercept";
const TCP: u8 = 6;
/// RTN_LOCAL: an address of this network namespace.
const LOCAL: u32 = 2;

/// Installs the redirections in the current network namespace, replacing earlier ones.
///
/// # Errors
/// The rule that the kernel refused; without the capability `NET_ADMIN`, with a hint.
pub fn apply(config: &InterceptConfig) -> Result<()> {
    compile(config, Family::Ipv4).commit().map_err(explain)?;
    if config.ipv6 && has_ipv6() {
        compile(config, Family::Ipv6).commit().map_err(explain)?;
    }
    Ok(())
}

/// Removes the redirections from the current network namespace. Idempotent.
///
/// # Errors
/// As [`apply`].
pub fn clear() -> Result<()> {
    Batch::deleting(Family::Ipv4, TABLE).commit()?;
    if has_ipv6() {
        Batch::deleting(Family::Ipv6, TABLE).commit()?;
    }
    Ok(())
}

fn has_ipv6() -> bool {
    Path::new("/proc/sys/net/ipv6").exists()
}

fn explain(error: Error) -> Error {
    match error.raw_os_error() {
        Some(libc::EPERM) => {
            error.hint("redirecting needs the capability NET_ADMIN in the pod's network namespace")
        }
        _ => error,
    }
}

fn compile(config: &InterceptConfig, family: Family) -> Batch {
    let mut batch = Batch::replacing(family, TABLE);
    for (name, hook) in [("inbound", Hook::Prerouting), ("outbound", Hook::Output)] {
        batch.base_chain(Chain {
            name,
            kind: "nat",
            hook,
            priority: -100,
        });
    }
    add_inbound(&mut batch, config);
    add_outbound(&mut batch, config, family);
    batch
}

fn add_inbound(batch: &mut Batch, config: &InterceptConfig) {
    for port in &config.app_ports {
        let mut rule = Expression::protocol_is(TCP);
        rule.push(Expression::address_type(true, REGISTER_0));
        rule.push(Expression::compare(
            REGISTER_0,
            Comparison::NotEqual,
            &LOCAL.to_ne_bytes(),
        ));
        rule.extend(Expression::port_is(PacketField::DESTINATION_PORT, *port));
        rule.extend(redirect(config.ingress_port));
        batch.rule("inbound", &format!("port {port} to the sidecar"), rule);
    }
}

fn add_outbound(batch: &mut Batch, config: &InterceptConfig, family: Family) {
    let mut exempt = |label: &str, mut matches: Vec<Expression>| {
        matches.push(Expression::verdict(Verdict::Return));
        batch.rule("outbound", label, matches);
    };
    let own = [
        (Meta::SocketUser, config.ignored_uid, "the sidecar's user"),
        (Meta::SocketGroup, config.ignored_gid, "the sidecar's group"),
        (Meta::Mark, config.socket_mark, "the sidecar's sockets"),
    ];
    for (key, value, label) in own {
        if let Some(value) = value {
            exempt(label, Expression::meta_is(key, &value.to_ne_bytes()));
        }
    }
    let local = vec![
        Expression::address_type(false, REGISTER_0),
        Expression::compare(REGISTER_0, Comparison::Equal, &LOCAL.to_ne_bytes()),
    ];
    exempt("addresses of the pod", local);
    for port in &config.ignored_ports {
        let mut matches = Expression::protocol_is(TCP);
        matches.extend(Expression::port_is(PacketField::DESTINATION_PORT, *port));
        exempt(&format!("ignored port {port}"), matches);
    }
    for range in &config.ignored_addresses {
        let matches = match (family, range.address) {
            (Family::Ipv4, IpAddr::V4(address)) => {
                Expression::ipv4_within(PacketField::IPV4_DESTINATION, address, range.prefix)
            }
            (Family::Ipv6, IpAddr::V6(address)) => {
                Expression::ipv6_within(PacketField::IPV6_DESTINATION, address, range.prefix)
            }
            _ => continue,
        };
        exempt(&format!("ignored address {range}"), matches);
    }
    let mut rule = Expression::protocol_is(TCP);
    rule.extend(redirect(config.egress_port));
    batch.rule("outbound", "everything else to the sidecar", rule);
}

fn redirect(port: u16) -> [Expression; 2] {
    [
        Expression::immediate(REGISTER_0, &port.to_be_bytes()),
        Expression::redirect(REGISTER_0),
    ]
}
