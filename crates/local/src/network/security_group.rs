//! Rules between clusters, in place of the security groups of a VPC: a default, and what users allow or deny.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::port_set::PortSet;

/// Text that is neither a policy nor a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// There is no policy of this name.
    #[error("{0:?} is not a network policy; use auto, closed or open")]
    Policy(String),
    /// A rule has a different form.
    #[error(
        "{0:?} is not a rule; write FROM:TO:PORT or FROM:TO:FIRST-LAST, such as cluster1:cluster2:8080"
    )]
    Rule(String),
}

/// The ports that are open between clusters by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// The ports on which virtual nodes and gateways listen.
    #[default]
    Auto,
    /// None.
    Closed,
    /// All.
    Open,
}

impl FromStr for Policy {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "auto" => Ok(Self::Auto),
            "closed" => Ok(Self::Closed),
            "open" => Ok(Self::Open),
            _ => Err(ParseError::Policy(text.to_owned())),
        }
    }
}

/// Ports of the pods of one cluster as seen from another. Text form: `FROM:TO:PORT` or `FROM:TO:FIRST-LAST`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRule {
    /// The calling cluster.
    pub from: String,
    /// The called cluster.
    pub to: String,
    /// Ports of pods, not of Services.
    pub ports: RangeInclusive<u16>,
}

impl FromStr for PortRule {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut parts = text.splitn(3, ':');
        let mut part = || parts.next().filter(|part| !part.is_empty());
        match (part(), part(), part().and_then(parse_ports)) {
            (Some(from), Some(to), Some(ports)) => Ok(Self {
                from: from.to_owned(),
                to: to.to_owned(),
                ports,
            }),
            _ => Err(ParseError::Rule(text.to_owned())),
        }
    }
}

/// Reads `8080` or `8080-8090`.
pub fn parse_ports(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (0 < first && first <= last).then_some(first..=last)
}

impl fmt::Display for PortRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ports = PortSet::default();
        ports.insert(self.ports.clone());
        write!(f, "{}:{}:{ports}", self.from, self.to)
    }
}

/// Ports that users opened and closed in one direction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct PolicyOverrides {
    allowed: PortSet,
    denied: PortSet,
}

/// The default and all rules.
#[derive(Debug, Clone, Default)]
pub(crate) struct NetworkPolicy {
    default: Policy,
    /// By calling and called cluster.
    overrides: BTreeMap<(String, String), PolicyOverrides>,
}

/// One direction, as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleView {
    /// The calling cluster.
    pub from: String,
    /// The called cluster.
    pub to: String,
    /// Ports that are open by default.
    pub auto: String,
    /// Ports opened by a rule.
    pub allowed: String,
    /// Ports closed by a rule.
    pub denied: String,
    /// Ports that are open.
    pub open: String,
}

impl NetworkPolicy {
    /// A default without rules.
    pub(crate) fn new(default: Policy) -> Self {
        Self {
            default,
            overrides: BTreeMap::new(),
        }
    }

    fn overrides(&mut self, rule: &PortRule) -> &mut PolicyOverrides {
        let direction = (rule.from.clone(), rule.to.clone());
        self.overrides.entry(direction).or_default()
    }

    /// Opens ports, also those that another rule closed.
    pub(crate) fn allow(&mut self, rule: &PortRule) {
        let overrides = self.overrides(rule);
        overrides.allowed.insert(rule.ports.clone());
        overrides.denied.remove(rule.ports.clone());
    }

    /// Closes ports, also those that are open by default.
    pub(crate) fn deny(&mut self, rule: &PortRule) {
        let overrides = self.overrides(rule);
        overrides.denied.insert(rule.ports.clone());
        overrides.allowed.remove(rule.ports.clone());
    }

    /// The ports of `to` that are open to `from`, given those on which its virtual nodes listen.
    pub(crate) fn open(&self, from: &str, to: &str, listening: &PortSet) -> PortSet {
        let mut open = self.default_ports(listening);
        if let Some(overrides) = self.overrides.get(&(from.to_owned(), to.to_owned())) {
            open.extend(overrides.allowed.ranges());
            for range in overrides.denied.ranges() {
                open.remove(range);
            }
        }
        open
    }

    fn default_ports(&self, listening: &PortSet) -> PortSet {
        match self.default {
            Policy::Auto => listening.clone(),
            Policy::Closed => PortSet::default(),
            Policy::Open => PortSet::all(),
        }
    }

    /// One direction, as lists show it.
    pub(crate) fn view(&self, from: &str, to: &str, listening: &PortSet) -> RuleView {
        let overrides = self.overrides.get(&(from.to_owned(), to.to_owned()));
        let overrides = overrides.cloned().unwrap_or_default();
        RuleView {
            from: from.to_owned(),
            to: to.to_owned(),
            auto: self.default_ports(listening).to_string(),
            allowed: overrides.allowed.to_string(),
            denied: overrides.denied.to_string(),
            open: self.open(from, to, listening).to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> PortRule {
        text.parse().unwrap()
    }

    fn listening() -> PortSet {
        let mut ports = PortSet::default();
        ports.insert(8080..=8080);
        ports
    }

    #[test]
    fn listening_ports_are_open_and_all_else_is_closed() {
        let open = NetworkPolicy::new(Policy::Auto).open("a", "b", &listening());
        assert!(open.contains(8080) && !open.contains(8081));
    }

    #[test]
    fn denied_port_stays_closed_until_it_is_allowed_again() {
        let mut rules = NetworkPolicy::new(Policy::Auto);
        rules.deny(&rule("a:b:8080"));
        assert_eq!(rules.open("a", "b", &listening()), PortSet::default());
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
            assert!(text.parse::<PortRule>().is_err(), "{text}");
        }
    }
}
