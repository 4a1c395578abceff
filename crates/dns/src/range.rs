//! Where clients are: ranges of addresses, and the views that these give.

use std::{fmt, net::IpAddr, str::FromStr};

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Any address in it.
    pub address: IpAddr,
    /// How many of its leading bits matter; at most 32, or 128.
    pub prefix: u8,
}

impl Range {
    /// Whether an address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let differing = match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            _ => return false,
        };
        differing >= u32::from(self.prefix)
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a range like 10.0.1.0/24");
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        if prefix > most {
            return Err(wrong());
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// A VPC and where its clients are, as an operator writes it: `vpc-1=10.0.0.0/16`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VpcRange {
    /// The label that private namespaces were created for.
    pub vpc: String,
    /// The addresses of its clients.
    pub range: Range,
}

impl FromStr for VpcRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((vpc, range)) if !vpc.is_empty() => Ok(Self {
                vpc: vpc.into(),
                range: range.parse()?,
            }),
            _ => Err(format!("{text:?} is not like vpc-1=10.0.0.0/16")),
        }
    }
}

/// Which clients see what. View 0 is that of clients in no VPC; each VPC has one more.
#[derive(Clone, Debug, Default)]
pub struct Views {
    /// Each range with its view, longest prefix first.
    ranges: Vec<(Range, usize)>,
    vpcs: Vec<String>,
}

impl Views {
    /// A VPC may have several ranges. Where ranges overlap, the longest prefix decides; of equal ones the
    /// first.
    pub fn new(vpcs: impl IntoIterator<Item = VpcRange>) -> Self {
        let mut views = Self::default();
        for VpcRange { vpc, range } in vpcs {
            let view = views.view(&vpc).unwrap_or_else(|| {
                views.vpcs.push(vpc);
                views.vpcs.len()
            });
            views.ranges.push((range, view));
        }
        views
            .ranges
            .sort_by_key(|(range, _)| std::cmp::Reverse(range.prefix));
        views
    }

    /// The view of a client.
    pub fn of(&self, client: IpAddr) -> usize {
        if self.ranges.is_empty() {
            return 0;
        }
        // A socket for both families shows IPv4 clients as mapped addresses.
        let client = client.to_canonical();
        let found = self.ranges.iter().find(|(range, _)| range.contains(client));
        found.map_or(0, |(_, view)| *view)
    }

    /// The view of a VPC's clients; `None` if no range has that label.
    pub fn view(&self, vpc: &str) -> Option<usize> {
        let found = self.vpcs.iter().position(|label| label == vpc);
        found.map(|index| index + 1)
    }

    /// The VPCs, in the order of their views, which start at 1.
    pub fn vpcs(&self) -> &[String] {
        &self.vpcs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn ranges_are_read_and_refused() {
        for text in ["10.0.1.0/24", "0.0.0.0/0", "fd00::/128"] {
            let range: Range = text.parse().expect("a range");
            assert_eq!(range.to_string(), text);
        }
        for text in [
            "10.0.1.0",
            "10.0.1.0/33",
            "x/8",
            "fd00::/129",
            "10.0.0.0/-1",
        ] {
            assert!(text.parse::<Range>().is_err(), "{text}");
        }
        let all: Range = "0.0.0.0/0".parse().expect("a range");
        assert!(all.contains(address("255.1.2.3")) && !all.contains(address("::1")));
        for text in ["10.0.0.0/8", "=10.0.0.0/8", "vpc-1=10.0.0.0"] {
            assert!(text.parse::<VpcRange>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_longest_prefix_tells_the_view() {
        let views = [
            "a=10.0.0.0/8",
            "b=10.1.0.0/16",
            "a=fd00::/64",
            "c=10.1.0.0/16",
        ]
        .map(|text| text.parse::<VpcRange>().expect("a range"));
        let views = Views::new(views);
        assert_eq!(views.vpcs(), ["a", "b", "c"]);
        for (client, view) in [
            ("10.2.0.1", 1),
            ("10.1.0.1", 2),
            ("::ffff:10.1.0.1", 2),
            ("fd00::9", 1),
            ("192.0.2.1", 0),
        ] {
            assert_eq!(views.of(address(client)), view, "{client}");
        }
        assert_eq!((views.view("c"), views.view("d")), (Some(3), None));
    }
}
