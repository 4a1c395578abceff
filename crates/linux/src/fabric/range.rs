//! Ranges of IPv4 addresses.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// A network and its prefix length, such as `10.1.0.0/16`. The bits beyond the prefix are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ipv4Range {
    address: Ipv4Addr,
    prefix: u8,
}

/// The text is neither an address nor an address and a prefix length from 0 to 32.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not an IPv4 range such as 10.1.0.0/16")]
pub struct InvalidRange(String);

impl Ipv4Range {
    /// The range with this prefix length that contains the address. `None` if the length exceeds 32.
    pub fn new(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        if prefix > 32 {
            return None;
        }
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        Some(Self {
            address: Ipv4Addr::from_bits(address.to_bits() & mask),
            prefix,
        })
    }

    /// The first address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The prefix length: the number of leading bits that all addresses share.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether the address is in the range.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        Self::new(address, self.prefix) == Some(*self)
    }
}

impl fmt::Display for Ipv4Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Ipv4Range {
    type Err = InvalidRange;

    fn from_str(text: &str) -> Result<Self, InvalidRange> {
        let (address, prefix) = text.split_once('/').unwrap_or((text, "32"));
        let parsed = address.parse().ok().zip(prefix.parse().ok());
        parsed
            .and_then(|(address, prefix)| Self::new(address, prefix))
            .ok_or_else(|| InvalidRange(text.to_owned()))
    }
}
