//! Ranges of client addresses, and the views that they select.

pub use ipnet::IpNet;
use std::{cmp::Reverse, net::IpAddr, str::FromStr};

/// A map from client address ranges to values. If ranges overlap, the longest prefix counts; of equal ones the first.
#[derive(Clone, Debug, Default)]
pub(crate) struct RangeMap<T>(Vec<(IpNet, T)>);

impl<T> RangeMap<T> {
    pub(crate) fn get(&self, client: IpAddr) -> Option<&T> {
        // A dual-stack socket reports IPv4 clients as mapped addresses.
        let client = client.to_canonical();
        let found = self.0.iter().find(|(range, _)| range.contains(&client));
        found.map(|(_, value)| value)
    }
}

impl<T> FromIterator<(IpNet, T)> for RangeMap<T> {
    fn from_iter<I: IntoIterator<Item = (IpNet, T)>>(ranges: I) -> Self {
        let mut ranges: Vec<_> = ranges.into_iter().collect();
        ranges.sort_by_key(|(range, _)| Reverse(range.prefix_len()));
        Self(ranges)
    }
}

/// A VPC and the address range of its clients, written as `vpc-1=10.0.0.0/16`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VpcRange {
    /// The VPC id of private namespaces.
    pub vpc: String,
    /// The address range of its clients.
    pub range: IpNet,
}

/// The text is not a VPC and a range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not like vpc-1=10.0.0.0/16")]
pub struct InvalidVpcRange(String);

impl FromStr for VpcRange {
    type Err = InvalidVpcRange;

    fn from_str(text: &str) -> Result<Self, InvalidVpcRange> {
        let parsed = text.split_once('=').filter(|(vpc, _)| !vpc.is_empty());
        parsed
            .and_then(|(vpc, range)| {
                Some(Self {
                    vpc: vpc.into(),
                    range: range.parse().ok()?,
                })
            })
            .ok_or_else(|| InvalidVpcRange(text.into()))
    }
}

/// The views (split-horizon DNS) of clients. View 0 is that of clients in no VPC; each VPC has its own view.
#[derive(Clone, Debug, Default)]
pub struct Views {
    ranges: RangeMap<usize>,
    vpcs: Vec<String>,
}

impl Views {
    /// The views of the VPCs in these ranges. A VPC may have several ranges. If ranges overlap, the longest
    /// prefix counts; of equal ones the first.
    pub fn new(ranges: impl IntoIterator<Item = VpcRange>) -> Self {
        let mut vpcs: Vec<String> = Vec::new();
        let view = |VpcRange { vpc, range }| {
            let known = vpcs.iter().position(|label| *label == vpc);
            let index = known.unwrap_or_else(|| {
                vpcs.push(vpc);
                vpcs.len() - 1
            });
            (range, index + 1)
        };
        let ranges = ranges.into_iter().map(view).collect();
        Self { ranges, vpcs }
    }

    /// The view of a client.
    pub fn of(&self, client: IpAddr) -> usize {
        self.ranges.get(client).copied().unwrap_or_default()
    }

    /// The view of a VPC's clients; `None` if the VPC has no range.
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
    fn what_is_no_vpc_and_range_is_refused() {
        for text in [
            "10.0.0.0/8",
            "=10.0.0.0/8",
            "vpc-1=10.0.0.0",
            "vpc-1=10.0.1.0/33",
            "vpc-1=fd00::/129",
        ] {
            let error = text.parse::<VpcRange>().expect_err(text);
            assert!(error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn the_longest_prefix_decides_the_view() {
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
