//! DNS for `STRICT_DNS` and `LOGICAL_DNS` clusters, through the system's resolver, refreshed for as long as it is
//! wanted. A failed lookup keeps the last answer.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::config::cluster::{Cluster, Discovery, Family};

type Key = (Arc<str>, FamilyKey);

/// `Family` as a map key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct FamilyKey(u8);

impl From<Family> for FamilyKey {
    fn from(family: Family) -> Self {
        Self(family as u8)
    }
}

pub(super) struct Resolver {
    names: HashMap<Key, Name>,
    sender: mpsc::UnboundedSender<Resolved>,
}

struct Name {
    /// `None` until the first lookup ended, well or badly.
    addresses: Option<Vec<IpAddr>>,
    refresh: Duration,
    task: JoinHandle<()>,
}

impl Drop for Name {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A lookup's outcome.
pub(super) struct Resolved {
    key: Key,
    /// `None` when the lookup failed.
    addresses: Option<Vec<IpAddr>>,
}

impl Resolver {
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Resolved>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (
            Self {
                names: HashMap::new(),
                sender,
            },
            receiver,
        )
    }

    /// Looks up the names of these clusters from now on, and no others.
    pub(super) fn want<'a>(&mut self, clusters: impl Iterator<Item = &'a Cluster>) {
        let mut wanted: HashMap<Key, (Duration, Family)> = HashMap::new();
        for cluster in clusters {
            let (Discovery::StrictDns(dns) | Discovery::LogicalDns(dns)) = &cluster.discovery
            else {
                continue;
            };
            for endpoint in &dns.names.endpoints {
                if endpoint.host.parse::<IpAddr>().is_ok() {
                    continue;
                }
                let entry = wanted
                    .entry((endpoint.host.clone(), dns.family.into()))
                    .or_insert((dns.refresh, dns.family));
                entry.0 = entry.0.min(dns.refresh);
            }
        }
        self.names.retain(|key, name| {
            wanted
                .get(key)
                .is_some_and(|(refresh, _)| *refresh == name.refresh)
        });
        for (key, (refresh, family)) in wanted {
            if !self.names.contains_key(&key) {
                let task = tokio::spawn(follow(key.clone(), family, refresh, self.sender.clone()));
                self.names.insert(
                    key,
                    Name {
                        addresses: None,
                        refresh,
                        task,
                    },
                );
            }
        }
    }

    /// Whether a wanted name has not been looked up yet.
    pub(super) fn is_waiting(&self) -> bool {
        self.names.values().any(|name| name.addresses.is_none())
    }

    pub(super) fn note(&mut self, resolved: Resolved) {
        if let Some(name) = self.names.get_mut(&resolved.key) {
            match resolved.addresses {
                Some(addresses) => name.addresses = Some(addresses),
                None => {
                    name.addresses.get_or_insert_default();
                }
            }
        }
    }

    pub(super) fn addresses(&self, host: &Arc<str>, family: Family) -> &[IpAddr] {
        self.names
            .get(&(host.clone(), family.into()))
            .and_then(|name| name.addresses.as_deref())
            .unwrap_or_default()
    }
}

async fn follow(
    key: Key,
    family: Family,
    refresh: Duration,
    sender: mpsc::UnboundedSender<Resolved>,
) {
    loop {
        let addresses = match tokio::net::lookup_host((&*key.0, 0)).await {
            Ok(found) => Some(select(found.map(|address| address.ip()).collect(), family)),
            Err(error) => {
                tracing::debug!(name = %key.0, %error, "lookup failed; the last answer stays");
                None
            }
        };
        if sender
            .send(Resolved {
                key: key.clone(),
                addresses,
            })
            .is_err()
        {
            return;
        }
        tokio::time::sleep(refresh).await;
    }
}

/// The addresses of the wanted family, without repetition, in the resolver's order.
fn select(found: Vec<IpAddr>, family: Family) -> Vec<IpAddr> {
    let mut unique: Vec<IpAddr> = Vec::new();
    for ip in found {
        if !unique.contains(&ip) {
            unique.push(ip);
        }
    }
    let (four, six): (Vec<IpAddr>, Vec<IpAddr>) = unique.iter().partition(|ip| ip.is_ipv4());
    match family {
        Family::V4Only => four,
        Family::V6Only => six,
        Family::V4Preferred if four.is_empty() => six,
        Family::V4Preferred => four,
        Family::V6Preferred if six.is_empty() => four,
        Family::V6Preferred => six,
        Family::All => unique,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_selected_with_fallback_only_when_preferred() {
        let found: Vec<IpAddr> = ["10.0.0.1", "::1", "10.0.0.1"]
            .iter()
            .map(|s| s.parse().unwrap())
            .collect();
        assert_eq!(select(found.clone(), Family::V4Only), found[..1]);
        assert_eq!(select(found.clone(), Family::V6Preferred), found[1..2]);
        assert_eq!(select(found.clone(), Family::All), found[..2]);
        assert_eq!(select(found[..1].to_vec(), Family::V6Preferred), found[..1]);
        assert_eq!(
            select(found[..1].to_vec(), Family::V6Only),
            Vec::<IpAddr>::new()
        );
    }
}
