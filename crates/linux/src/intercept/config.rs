//! The environment variables of the init container.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The connections that are redirected, and those that are exempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterceptConfig {
    /// The port to which inbound connections are redirected.
    pub ingress_port: u16,
    /// The port to which outbound connections are redirected.
    pub egress_port: u16,
    /// Ports whose inbound connections are redirected.
    pub app_ports: Vec<u16>,
    /// The sidecar's user.
    pub ignored_uid: Option<u32>,
    /// The sidecar's group.
    pub ignored_gid: Option<u32>,
    /// `SO_MARK` of the sidecar's sockets.
    pub socket_mark: Option<u32>,
    /// Destination ports of connections that are not redirected.
    pub ignored_ports: Vec<u16>,
    /// Destination addresses of connections that are not redirected.
    pub ignored_addresses: Vec<AddressRange>,
    /// Whether IPv6 is redirected too, if the namespace has it.
    pub ipv6: bool,
}

/// An address with a prefix length, of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    /// Any address of the range.
    pub address: IpAddr,
    /// Prefix length: at most 32 for IPv4, 128 for IPv6.
    pub prefix: u8,
}

/// A missing or malformed environment variable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A required variable is not set.
    #[error("{variable} is not set; it must be {expected}")]
    Missing {
        /// The name of the variable.
        variable: &'static str,
        /// The expected form of its value.
        expected: &'static str,
    },
    /// The variable, or one item of its list, is malformed.
    #[error("{variable} has the value \"{value}\"; it must be {expected}")]
    Invalid {
        /// The name of the variable.
        variable: &'static str,
        /// The malformed part.
        value: String,
        /// The expected form.
        expected: &'static str,
    },
    /// Nothing distinguishes the sidecar's connections from the application's: they would be redirected to the
    /// sidecar in a loop.
    #[error(
        "none of APPMESH_IGNORE_UID, APPMESH_IGNORE_GID and TOMBOLO_SOCKET_MARK is set; one must tell the sidecar's own connections apart"
    )]
    NothingIgnored,
}

const PORT: &str = "a port from 1 to 65535";
const NUMBER: &str = "a number from 0 to 4294967295";
const RANGE: &str = "a comma-separated list of IP addresses and CIDR ranges";
const SWITCH: &str = "0 or 1";

impl InterceptConfig {
    /// Reads the variables of App Mesh's init container (`APPMESH_*`) and `TOMBOLO_SOCKET_MARK`. An empty variable
    /// counts as unset. `None`: `APPMESH_START_ENABLED` is 0 or unset, so nothing is redirected.
    ///
    /// # Errors
    /// A variable is missing or malformed.
    pub fn from_env(get: &dyn Fn(&str) -> Option<String>) -> Result<Option<Self>, ConfigError> {
        let env = Environment(get);
        if !env.switch("APPMESH_START_ENABLED")?.unwrap_or(false) {
            return Ok(None);
        }
        let config = Self {
            ingress_port: env.required_port("APPMESH_ENVOY_INGRESS_PORT")?,
            egress_port: env.required_port("APPMESH_ENVOY_EGRESS_PORT")?,
            app_ports: env.ports("APPMESH_APP_PORTS")?,
            ignored_uid: env.number("APPMESH_IGNORE_UID")?,
            ignored_gid: env.number("APPMESH_IGNORE_GID")?,
            socket_mark: env.number("TOMBOLO_SOCKET_MARK")?,
            ignored_ports: env.ports("APPMESH_EGRESS_IGNORED_PORTS")?,
            ignored_addresses: env
                .list("APPMESH_EGRESS_IGNORED_IP", RANGE, |item| item.parse().ok())?,
            ipv6: env.switch("APPMESH_ENABLE_IPV6")?.unwrap_or(false),
        };
        if config.ignored_uid.is_none()
            && config.ignored_gid.is_none()
            && config.socket_mark.is_none()
        {
            return Err(ConfigError::NothingIgnored);
        }
        Ok(Some(config))
    }
}

struct Environment<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Environment<'_> {
    fn text(&self, variable: &str) -> Option<String> {
        (self.0)(variable)
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty())
    }

    fn parsed<T>(
        &self,
        variable: &'static str,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.text(variable) else {
            return Ok(None);
        };
        match parse(&value) {
            Some(parsed) => Ok(Some(parsed)),
            None => Err(ConfigError::Invalid {
                variable,
                value,
                expected,
            }),
        }
    }

    fn switch(&self, variable: &'static str) -> Result<Option<bool>, ConfigError> {
        self.parsed(variable, SWITCH, |value| match value {
            "0" => Some(false),
            "1" => Some(true),
            _ => None,
        })
    }

    /// Decimal, or hexadecimal after `0x`.
    fn number(&self, variable: &'static str) -> Result<Option<u32>, ConfigError> {
        self.parsed(variable, NUMBER, |value| match value.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None => value.parse().ok(),
        })
    }

    fn required_port(&self, variable: &'static str) -> Result<u16, ConfigError> {
        self.parsed(variable, PORT, port)?
            .ok_or(ConfigError::Missing {
                variable,
                expected: PORT,
            })
    }

    fn ports(&self, variable: &'static str) -> Result<Vec<u16>, ConfigError> {
        self.list(variable, PORT, port)
    }

    fn list<T>(
        &self,
        variable: &'static str,
        expected: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, ConfigError> {
        let value = self.text(variable).unwrap_or_default();
        let items = value
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty());
        items
            .map(|item| {
                parse(item).ok_or_else(|| ConfigError::Invalid {
                    variable,
                    value: item.to_owned(),
                    expected,
                })
            })
            .collect()
    }
}

fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port != 0)
}

impl FromStr for AddressRange {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(drop)?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), |prefix| prefix.parse().map_err(drop))?;
        if prefix > longest {
            Err(())
        } else {
            Ok(Self { address, prefix })
        }
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests;
