//! Socket addresses and CIDR ranges.

use std::net::{IpAddr, SocketAddr};

use envoy_types::pb::envoy::config::core::v3 as core;
use ipnet::IpNet;

use super::error::{ConfigError, ConfigResult, ErrorContext, ensure};
use super::field::Wrapped;

/// Host (an IP address or a DNS name) and port of a socket address.
pub(crate) fn host_port(address: Option<&core::Address>) -> ConfigResult<(String, u16)> {
    use core::address::Address;
    use core::socket_address::{PortSpecifier, Protocol};
    let Some(Address::SocketAddress(socket)) = address.and_then(|a| a.address.as_ref()) else {
        return Err(ConfigError::new("address", "must be a socket_address"));
    };
    let field = |name| format!("address.socket_address.{name}");
    ensure(
        socket.protocol == Protocol::Tcp as i32,
        field("protocol"),
        "must be TCP",
    )?;
    let Some(PortSpecifier::PortValue(port)) = &socket.port_specifier else {
        return Err(ConfigError::new(field("port_value"), "is required"));
    };
    let port = u16::try_from(*port)
        .map_err(|_| ConfigError::new(field("port_value"), "is not a port number"))?;
    Ok((socket.address.clone(), port))
}

pub(crate) fn socket_address(address: Option<&core::Address>) -> ConfigResult<SocketAddr> {
    let (host, port) = host_port(address)?;
    let ip = ip_address(&host).context("address.socket_address.address")?;
    Ok(SocketAddr::new(ip, port))
}

fn ip_address(text: &str) -> ConfigResult<IpAddr> {
    text.parse()
        .map_err(|_| ConfigError::new("", format!("{text:?} is not an IP address")))
}

/// An address prefix such as `10.0.0.0/8`.
pub(crate) fn cidr(range: &core::CidrRange) -> ConfigResult<IpNet> {
    let address = ip_address(&range.address_prefix).context("address_prefix")?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let length = u8::try_from(range.prefix_len.value_or(0)).ok();
    length
        .and_then(|length| IpNet::new(address, length).ok())
        .ok_or_else(|| ConfigError::new("prefix_len", format!("must be at most {longest}")))
}
