//! A set of ports, as few ranges as possible.

use std::fmt;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use tombolo_linux::fabric::PortRange;

/// Ports in order, as disjoint ranges that do not touch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PortSet(Vec<(u16, u16)>);

impl PortSet {
    /// Every port.
    pub(crate) fn all() -> Self {
        Self(vec![(1, u16::MAX)])
    }

    /// Adds ports.
    pub(crate) fn insert(&mut self, ports: RangeInclusive<u16>) {
        let (mut first, mut last) = (*ports.start(), *ports.end());
        if first > last {
            return;
        }
        self.0.retain(|(low, high)| {
            let apart = *high < first.saturating_sub(1) || *low > last.saturating_add(1);
            if !apart {
                first = first.min(*low);
                last = last.max(*high);
            }
            apart
        });
        let at = self.0.partition_point(|(low, _)| *low < first);
        self.0.insert(at, (first, last));
    }

    /// Removes ports.
    pub(crate) fn remove(&mut self, ports: RangeInclusive<u16>) {
        let (first, last) = (*ports.start(), *ports.end());
        let mut rest = Vec::with_capacity(self.0.len() + 1);
        for (low, high) in self.0.drain(..) {
            if high < first || low > last {
                rest.push((low, high));
                continue;
            }
            if low < first {
                rest.push((low, first - 1));
            }
            if high > last {
                rest.push((last + 1, high));
            }
        }
        self.0 = rest;
    }

    /// Whether a port is in the set.
    pub(crate) fn contains(&self, port: u16) -> bool {
        self.0
            .iter()
            .any(|(low, high)| (*low..=*high).contains(&port))
    }

    /// The ranges, in order.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = RangeInclusive<u16>> {
        self.0.iter().map(|(low, high)| *low..=*high)
    }

    /// The ranges as the kernel interface takes them.
    pub(crate) fn port_ranges(&self) -> Vec<PortRange> {
        self.0
            .iter()
            .map(|(first, last)| PortRange {
                first: *first,
                last: *last,
            })
            .collect()
    }
}

impl Extend<RangeInclusive<u16>> for PortSet {
    fn extend<I: IntoIterator<Item = RangeInclusive<u16>>>(&mut self, ranges: I) {
        for range in ranges {
            self.insert(range);
        }
    }
}

impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (low, high)) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            if low == high {
                write!(f, "{comma}{low}")?
            } else {
                write!(f, "{comma}{low}-{high}")?
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn behaves_like_a_set_of_numbers(steps in prop::collection::vec((any::<bool>(), 1_u16..60, 0_u16..10), 0..30)) {
            let (mut set, mut model) = (PortSet::default(), BTreeSet::new());
            for (add, first, length) in steps {
                let range = first..=first + length;
                if add {
                    set.insert(range.clone());
                    model.extend(range);
                } else {
                    set.remove(range.clone());
                    model.retain(|port| !range.contains(port));
                }
            }
            let members: BTreeSet<u16> = set.ranges().flatten().collect();
            prop_assert_eq!(members, model);
            let ranges: Vec<_> = set.ranges().collect();
            prop_assert!(ranges.windows(2).all(|pair| pair[0].end() + 1 < *pair[1].start()));
        }
    }

    #[test]
    fn edges_of_the_port_space_hold() {
        let mut set = PortSet::all();
        set.remove(65535..=65535);
        set.remove(1..=1);
        assert_eq!(set.to_string(), "2-65534");
        set.insert(65535..=65535);
        assert_eq!(set.to_string(), "2-65535");
    }
}
