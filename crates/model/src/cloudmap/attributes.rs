//! The attributes of an instance, and the values of those that Cloud Map reserves.

use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::Deref,
};

/// The IPv4 address.
pub const INSTANCE_IPV4: &str = "AWS_INSTANCE_IPV4";
/// The IPv6 address.
pub const INSTANCE_IPV6: &str = "AWS_INSTANCE_IPV6";
/// The port, from 0 to 65535.
pub const INSTANCE_PORT: &str = "AWS_INSTANCE_PORT";
/// The target of a CNAME record.
pub const INSTANCE_CNAME: &str = "AWS_INSTANCE_CNAME";
/// A DNS name whose addresses are those of the instance.
pub const ALIAS_DNS_NAME: &str = "AWS_ALIAS_DNS_NAME";
/// The id of an EC2 instance.
pub const EC2_INSTANCE_ID: &str = "AWS_EC2_INSTANCE_ID";
/// The health at registration: `HEALTHY` or `UNHEALTHY`.
pub const INIT_HEALTH_STATUS: &str = "AWS_INIT_HEALTH_STATUS";
/// The prefix of reserved attributes.
pub const RESERVED: &str = "AWS_";

/// All attributes of an instance as registered, including the reserved ones. Addresses and port are parsed once, when
/// this is constructed from a registration, a stored record or an export. An invalid address is `None`; registrations
/// with one are rejected.
///
/// Dereferences to the map.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Attributes {
    map: BTreeMap<String, String>,
    ipv4: Option<Ipv4Addr>,
    ipv6: Option<Ipv6Addr>,
    port: Option<u16>,
}

impl Attributes {
    /// The IPv4 address.
    pub fn ipv4(&self) -> Option<Ipv4Addr> {
        self.ipv4
    }

    /// The IPv6 address.
    pub fn ipv6(&self) -> Option<Ipv6Addr> {
        self.ipv6
    }

    /// The port.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The address: IPv4 where there are both, as health checks and lists take it.
    pub fn address(&self) -> Option<IpAddr> {
        let v6 = self.ipv6.map(IpAddr::V6);
        self.ipv4.map(IpAddr::V4).or(v6)
    }
}

impl From<BTreeMap<String, String>> for Attributes {
    fn from(map: BTreeMap<String, String>) -> Self {
        let text = |key| map.get(key).map(String::as_str);
        Self {
            ipv4: text(INSTANCE_IPV4).and_then(|text| text.parse().ok()),
            ipv6: text(INSTANCE_IPV6).and_then(|text| text.parse().ok()),
            port: text(INSTANCE_PORT).and_then(|text| text.parse().ok()),
            map,
        }
    }
}

impl From<Attributes> for BTreeMap<String, String> {
    fn from(attributes: Attributes) -> Self {
        attributes.map
    }
}

impl FromIterator<(String, String)> for Attributes {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(pairs: T) -> Self {
        BTreeMap::from_iter(pairs).into()
    }
}

impl Deref for Attributes {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        &self.map
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn addresses_are_read_from_what_was_stored_and_written_back_as_they_were() {
        let stored = json!({
            "AWS_INSTANCE_IPV4": "10.0.0.1", "AWS_INSTANCE_IPV6": "FD00:0::1",
            "AWS_INSTANCE_PORT": "080", "color": "red",
        });
        let attributes: Attributes = serde_json::from_value(stored.clone()).expect("a map");
        assert_eq!(attributes.ipv4(), Some(Ipv4Addr::new(10, 0, 0, 1)));
        assert_eq!(attributes.ipv6(), "fd00::1".parse().ok());
        assert_eq!(attributes.port(), Some(80));
        assert_eq!(attributes["color"], "red");
        assert_eq!(serde_json::to_value(&attributes).ok(), Some(stored));
    }

    #[test]
    fn what_is_no_address_is_none() {
        for (key, value) in [
            (INSTANCE_IPV4, "fd00::1"),
            (INSTANCE_IPV4, "10.0.0.01"),
            (INSTANCE_IPV6, "10.0.0.1"),
            (INSTANCE_PORT, "65536"),
            (INSTANCE_PORT, "-1"),
        ] {
            let attributes = Attributes::from_iter([(key.to_owned(), value.to_owned())]);
            let read = (attributes.address(), attributes.port());
            assert_eq!(read, (None, None), "{key} {value}");
        }
    }
}
