//! What one cluster may reach in another: the security groups of this little world.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::port_set::PortSet;

/// What is open between clusters where nobody said anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// The ports on which virtual nodes and gateways listen.
    #[default]
    Auto,
    /// Nothing.
    Closed,
    /// Everything.
    Open,
}

impl FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "closed" => Ok(Self::Closed),
            "open" => Ok(Self::Open),
            _ => Err(format!(
                "{text:?} is not a network policy; use auto, closed or open"
            )),
        }
    }
}

/// Ports of one cluster as seen from another. Text form: `FROM:TO:PORT` or `FROM:TO:FIRST-LAST`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// The cluster that calls.
    pub from: String,
    /// The cluster that is called.
    pub to: String,
    /// The ports, of pods rather than of Services.
    pub ports: RangeInclusive<u16>,
}

impl FromStr for Opening {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape = || {
            format!(
                "{text:?} is not a rule; write FROM:TO:PORT or FROM:TO:FIRST-LAST, such as cluster1:cluster2:8080"
            )
        };
        let (rest, ports) = text.rsplit_once(':').ok_or_else(shape)?;
        let (from, to) = rest
            .split_once(':')
            .filter(|(from, to)| !from.is_empty() && !to.is_empty())
            .ok_or_else(shape)?;
        Ok(Self {
            from: from.to_owned(),
            to: to.to_owned(),
            ports: ports_of(ports).ok_or_else(shape)?,
        })
    }
}

/// Reads `8080` or `8080-8090`.
pub fn ports_of(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (0 < first && first <= last).then_some(first..=last)
}

impl fmt::Display for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.from, self.to, self.ports.start())?;
        if self.ports.start() == self.ports.end() {
            Ok(())
        } else {
            write!(f, "-{}", self.ports.end())
        }
    }
}

/// What is said about one direction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Said {
    allowed: PortSet,
    denied: PortSet,
}

/// All rules.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    policy: Policy,
    /// By calling and called cluster.
    said: BTreeMap<(String, String), Said>,
}

/// One direction, as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleView {
    /// The cluster that calls.
    pub from: String,
    /// The cluster that is called.
    pub to: String,
    /// Ports that are open because virtual nodes listen on them, or because of the policy.
    pub auto: String,
    /// Ports opened by hand.
    pub allowed: String,
    /// Ports closed by hand.
    pub denied: String,
    /// What is open in the end.
    pub open: String,
}

impl Rules {
    /// Rules that say nothing beyond a policy.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            said: BTreeMap::new(),
        }
    }

    /// Opens ports, also such as were closed by hand.
    pub fn allow(&mut self, opening: &Opening) {
        let said = self
            .said
            .entry((opening.from.clone(), opening.to.clone()))
            .or_default();
        said.allowed.insert(opening.ports.clone());
        said.denied.remove(opening.ports.clone());
    }

    /// Closes ports. They stay closed even where the policy would open them.
    pub fn deny(&mut self, opening: &Opening) {
        let said = self
            .said
            .entry((opening.from.clone(), opening.to.clone()))
            .or_default();
        said.denied.insert(opening.ports.clone());
        said.allowed.remove(opening.ports.clone());
    }

    /// The ports of `to` that are open to `from`, given those on which its virtual nodes listen.
    pub fn open(&self, from: &str, to: &str, listening: &PortSet) -> PortSet {
        let mut open = self.automatic(listening);
        if let Some(said) = self.said.get(&(from.to_owned(), to.to_owned())) {
            open.extend(said.allowed.ranges());
            for range in said.denied.ranges() {
                open.remove(range);
            }
        }
        open
    }

    fn automatic(&self, listening: &PortSet) -> PortSet {
        match self.policy {
            Policy::Auto => listening.clone(),
            Policy::Closed => PortSet::default(),
            Policy::Open => PortSet::all(),
        }
    }

    /// One direction for a list.
    pub fn view(&self, from: &str, to: &str, listening: &PortSet) -> RuleView {
        let said = self
            .said
            .get(&(from.to_owned(), to.to_owned()))
            .cloned()
            .unwrap_or_default();
        RuleView {
            from: from.to_owned(),
            to: to.to_owned(),
            auto: self.automatic(listening).to_string(),
            allowed: said.allowed.to_string(),
            denied: said.denied.to_string(),
            open: self.open(from, to, listening).to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Opening {
        text.parse().unwrap()
    }

    fn listening() -> PortSet {
        let mut ports = PortSet::default();
        ports.insert(8080..=8080);
        ports
    }

    #[test]
    fn listening_ports_are_open_and_all_else_is_closed() {
        let open = Rules::new(Policy::Auto).open("a", "b", &listening());
        assert!(open.contains(8080) && !open.contains(8081));
    }

    #[test]
    fn denied_port_stays_closed_until_it_is_allowed_again() {
        let mut rules = Rules::new(Policy::Auto);
        rules.deny(&rule("a:b:8080"));
        assert!(rules.open("a", "b", &listening()).is_empty());
        assert!(rules.open("b", "a", &listening()).contains(8080));
        rules.allow(&rule("a:b:8000-8100"));
        assert_eq!(rules.open("a", "b", &listening()).to_string(), "8000-8100");
        rules.deny(&rule("a:b:8050"));
        assert_eq!(
            rules.open("a", "b", &listening()).to_string(),
            "8000-8049,8051-8100"
        );
    }

    #[test]
    fn rules_are_read_as_they_are_written() {
        assert_eq!(rule("a:b:80-90").to_string(), "a:b:80-90");
        assert_eq!(rule("a:b:80").to_string(), "a:b:80");
        for text in ["a:b", "a:b:0", "a:b:9-1", ":b:80", "a:b:x"] {
            assert!(text.parse::<Opening>().is_err(), "{text}");
        }
    }
}
