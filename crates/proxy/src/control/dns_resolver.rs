//! DNS resolution for `STRICT_DNS` and `LOGICAL_DNS` clusters, with the system's resolver, at the cluster's refresh
//! rate. A failed lookup keeps the last answer.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3::cluster::DnsLookupFamily;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::config::cluster::{Cluster, Discovery, Dns};

/// Maximum answers that wait for the control thread; with more, lookups wait.
const ANSWERS: usize = 64;

/// A name, and the requested address family.
type Key = (Arc<str>, DnsLookupFamily);

pub(super) struct Resolver {
    names: HashMap<Key, Name>,
    sender: mpsc::Sender<Resolved>,
}

struct Name {
    /// `None` until the first lookup has ended, successfully or not.
    addresses: Option<Vec<IpAddr>>,
    refresh: Duration,
    task: AbortOnDropHandle<()>,
}

/// The result of a lookup.
pub(super) struct Resolved {
    key: Key,
    /// `None` when the lookup failed.
    addresses: Option<Vec<IpAddr>>,
}

/// The DNS settings of a cluster; `None` for clusters without DNS.
pub(super) fn dns(cluster: &Cluster) -> Option<&Dns> {
    match &cluster.discovery {
        Discovery::StrictDns(dns) | Discovery::LogicalDns(dns) => Some(dns),
        Discovery::Eds(_) | Discovery::Static(_) | Discovery::OriginalDst { .. } => None,
    }
}

impl Resolver {
    pub(super) fn new() -> (Self, mpsc::Receiver<Resolved>) {
        let (sender, receiver) = mpsc::channel(ANSWERS);
        let names = HashMap::new();
        (Self { names, sender }, receiver)
    }

    /// Replaces the names to look up.
    pub(super) fn set_names<'a>(&mut self, names: impl Iterator<Item = &'a Dns>) {
        let mut wanted: HashMap<Key, Duration> = HashMap::new();
        for dns in names {
            let hosts = dns.names.endpoints.iter().map(|endpoint| &endpoint.host);
            for host in hosts.filter(|host| host.parse::<IpAddr>().is_err()) {
                let key = (host.clone(), dns.family);
                let refresh = wanted.entry(key).or_insert(dns.refresh);
                *refresh = dns.refresh.min(*refresh);
            }
        }
        self.names.retain(|key, _| wanted.contains_key(key));
        for (key, refresh) in wanted {
            let known = self.names.get(&key);
            if known.is_some_and(|known| known.refresh == refresh) {
                continue;
            }
            let name = Name {
                // A changed interval keeps the addresses: the next lookup may fail.
                addresses: known.and_then(|known| known.addresses.clone()),
                refresh,
                task: start(&key, refresh, &self.sender),
            };
            self.names.insert(key, name);
        }
    }

    /// Restarts lookup tasks that ended unexpectedly; otherwise a name's addresses would never change again.
    pub(super) fn maintain(&mut self) {
        for (key, name) in &mut self.names {
            if name.task.is_finished() {
                tracing::error!(name = %key.0, "the lookups of a name ended; starting them again");
                name.task = start(key, name.refresh, &self.sender);
            }
        }
    }

    /// Whether a name has not been looked up yet.
    pub(super) fn is_waiting(&self) -> bool {
        self.names.values().any(|name| name.addresses.is_none())
    }

    pub(super) fn record(&mut self, resolved: Resolved) {
        if let Some(name) = self.names.get_mut(&resolved.key) {
            let known = name.addresses.take().unwrap_or_default();
            name.addresses = Some(resolved.addresses.unwrap_or(known));
        }
    }

    pub(super) fn addresses(&self, host: &Arc<str>, family: DnsLookupFamily) -> &[IpAddr] {
        let name = self.names.get(&(host.clone(), family));
        name.and_then(|name| name.addresses.as_deref())
            .unwrap_or_default()
    }
}

fn start(key: &Key, refresh: Duration, sender: &mpsc::Sender<Resolved>) -> AbortOnDropHandle<()> {
    let task = keep_resolving(key.clone(), refresh, sender.clone());
    AbortOnDropHandle::new(tokio::spawn(task))
}

async fn keep_resolving(key: Key, refresh: Duration, sender: mpsc::Sender<Resolved>) {
    loop {
        let addresses = match tokio::net::lookup_host((&*key.0, 0)).await {
            Ok(found) => Some(select(found.map(|address| address.ip()).collect(), key.1)),
            Err(error) => {
                tracing::debug!(name = %key.0, %error, "lookup failed; the last answer stays");
                None
            }
        };
        let key = key.clone();
        if sender.send(Resolved { key, addresses }).await.is_err() {
            return;
        }
        tokio::time::sleep(refresh).await;
    }
}

/// The addresses of the requested family, without duplicates, in the resolver's order.
fn select(found: Vec<IpAddr>, family: DnsLookupFamily) -> Vec<IpAddr> {
    let mut unique: Vec<IpAddr> = Vec::new();
    for ip in found {
        if !unique.contains(&ip) {
            unique.push(ip);
        }
    }
    let (four, six): (Vec<IpAddr>, Vec<IpAddr>) = unique.iter().partition(|ip| ip.is_ipv4());
    match family {
        DnsLookupFamily::V4Only => four,
        DnsLookupFamily::V6Only => six,
        DnsLookupFamily::V4Preferred if four.is_empty() => six,
        DnsLookupFamily::V4Preferred => four,
        DnsLookupFamily::Auto if six.is_empty() => four,
        DnsLookupFamily::Auto => six,
        DnsLookupFamily::All => unique,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::endpoint::{Assignment, Endpoint, Health};

    fn names(host: &str, refresh: u64) -> Dns {
        let endpoint = Endpoint {
            host: host.into(),
            port: 80,
            hostname: "".into(),
            weight: 1,
            priority: 0,
            locality: 0,
            locality_weight: 0,
            health: Health::Healthy,
            health_check_port: None,
            health_check_hostname: "".into(),
            health_checked: false,
        };
        let endpoints = vec![endpoint];
        Dns {
            names: Arc::new(Assignment {
                endpoints,
                ..Assignment::default()
            }),
            refresh: Duration::from_secs(refresh),
            family: DnsLookupFamily::V4Only,
        }
    }

    #[tokio::test]
    async fn another_refresh_rate_keeps_the_addresses() {
        // Lookups of `.invalid` fail (RFC 2606).
        let host: Arc<str> = "app.invalid".into();
        let found: IpAddr = "10.0.0.1".parse().expect("an address");
        let (mut resolver, _answers) = Resolver::new();
        resolver.set_names([names(&host, 5)].iter());
        resolver.record(Resolved {
            key: (host.clone(), DnsLookupFamily::V4Only),
            addresses: Some(vec![found]),
        });
        resolver.set_names([names(&host, 60)].iter());
        assert_eq!(resolver.addresses(&host, DnsLookupFamily::V4Only), [found]);
        assert!(!resolver.is_waiting());
    }

    #[test]
    fn families_are_selected_with_fallback_only_when_preferred() {
        let found: Vec<IpAddr> = ["10.0.0.1", "::1", "10.0.0.1"]
            .iter()
            .map(|s| s.parse().unwrap())
            .collect();
        assert_eq!(select(found.clone(), DnsLookupFamily::V4Only), found[..1]);
        assert_eq!(select(found.clone(), DnsLookupFamily::Auto), found[1..2]);
        assert_eq!(select(found.clone(), DnsLookupFamily::All), found[..2]);
        assert_eq!(
            select(found[..1].to_vec(), DnsLookupFamily::Auto),
            found[..1]
        );
        assert_eq!(
            select(found[..1].to_vec(), DnsLookupFamily::V6Only),
            Vec::<IpAddr>::new()
        );
    }
}
