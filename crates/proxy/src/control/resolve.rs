//! DNS for `STRICT_DNS` and `LOGICAL_DNS` clusters, through the system's resolver, refreshed at the cluster's rate. A
//! failed lookup keeps the last answer.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3::cluster::DnsLookupFamily;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::config::cluster::{Cluster, Discovery};

/// Answers that may wait for the control thread; lookups wait when there are more.
const ANSWERS: usize = 64;

type Key = (Arc<str>, DnsLookupFamily);

pub(super) struct Resolver {
    names: HashMap<Key, Name>,
    sender: mpsc::Sender<Resolved>,
}

struct Name {
    /// `None` until the first lookup ended, well or badly.
    addresses: Option<Vec<IpAddr>>,
    refresh: Duration,
    family: DnsLookupFamily,
    task: JoinHandle<()>,
}

impl Name {
    /// Replaces the task that looks the name up.
    fn follow(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.task.abort();
        self.task = tokio::spawn(task);
    }
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
    pub(super) fn new() -> (Self, mpsc::Receiver<Resolved>) {
        let (sender, receiver) = mpsc::channel(ANSWERS);
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
        let mut wanted: HashMap<Key, (Duration, DnsLookupFamily)> = HashMap::new();
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
                    .entry((endpoint.host.clone(), dns.family))
                    .or_insert((dns.refresh, dns.family));
                entry.0 = entry.0.min(dns.refresh);
            }
        }
        self.names.retain(|key, _| wanted.contains_key(key));
        for (key, (refresh, family)) in wanted {
            match self.names.entry(key) {
                // Another interval is no reason to forget the addresses: the next lookup may fail.
                Entry::Occupied(mut known) if known.get().refresh != refresh => {
                    let task = follow(known.key().clone(), family, refresh, self.sender.clone());
                    let known = known.get_mut();
                    known.refresh = refresh;
                    known.follow(task);
                }
                Entry::Occupied(_) => {}
                Entry::Vacant(unknown) => {
                    let task = follow(unknown.key().clone(), family, refresh, self.sender.clone());
                    unknown.insert(Name {
                        addresses: None,
                        refresh,
                        family,
                        task: tokio::spawn(task),
                    });
                }
            }
        }
    }

    /// Starts lookups again that have ended by themselves: a bug, which must not freeze a name's addresses.
    pub(super) fn maintain(&mut self) {
        for (key, name) in &mut self.names {
            if name.task.is_finished() {
                tracing::error!(name = %key.0, "the lookups of a name ended; starting them again");
                let task = follow(key.clone(), name.family, name.refresh, self.sender.clone());
                name.follow(task);
            }
        }
    }

    /// Whether a name has not been looked up yet.
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

    pub(super) fn addresses(&self, host: &Arc<str>, family: DnsLookupFamily) -> &[IpAddr] {
        self.names
            .get(&(host.clone(), family))
            .and_then(|name| name.addresses.as_deref())
            .unwrap_or_default()
    }
}

async fn follow(
    key: Key,
    family: DnsLookupFamily,
    refresh: Duration,
    sender: mpsc::Sender<Resolved>,
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
            .await
            .is_err()
        {
            return;
        }
        tokio::time::sleep(refresh).await;
    }
}

/// The addresses of the wanted family, without repetition, in the resolver's order.
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

    /// Addresses for `name` that a lookup is said to have found; lookups of `.invalid` fail (RFC 2606).
    fn resolver_with(name: &str, found: &str) -> Resolver {
        let (mut resolver, _answers) = Resolver::new();
        resolver.want([cluster(name, 5)].iter());
        resolver.note(Resolved {
            key: (name.into(), DnsLookupFamily::V4Only),
            addresses: Some(vec![found.parse().expect("an address")]),
        });
        resolver
    }

    #[allow(deprecated, reason = "the fields that control planes still send")]
    fn cluster(name: &str, refresh: i64) -> Cluster {
        use envoy_types::pb::envoy::config::{
            cluster::v3 as proto, core::v3 as core, endpoint::v3 as endpoint,
        };
        use envoy_types::pb::google::protobuf::Duration;
        let socket = core::SocketAddress {
            address: name.to_owned(),
            port_specifier: Some(core::socket_address::PortSpecifier::PortValue(80)),
            ..Default::default()
        };
        let address = core::Address {
            address: Some(core::address::Address::SocketAddress(socket)),
        };
        let identifier = endpoint::lb_endpoint::HostIdentifier::Endpoint(endpoint::Endpoint {
            address: Some(address),
            ..Default::default()
        });
        let locality = endpoint::LocalityLbEndpoints {
            lb_endpoints: vec![endpoint::LbEndpoint {
                host_identifier: Some(identifier),
                ..Default::default()
            }],
            ..Default::default()
        };
        let kind = proto::cluster::DiscoveryType::StrictDns as i32;
        crate::config::cluster::compile(&proto::Cluster {
            name: "app".to_owned(),
            cluster_discovery_type: Some(proto::cluster::ClusterDiscoveryType::Type(kind)),
            dns_lookup_family: DnsLookupFamily::V4Only as i32,
            dns_refresh_rate: Some(Duration {
                seconds: refresh,
                nanos: 0,
            }),
            load_assignment: Some(endpoint::ClusterLoadAssignment {
                endpoints: vec![locality],
                ..Default::default()
            }),
            ..Default::default()
        })
        .expect("a cluster")
    }

    #[tokio::test]
    async fn another_refresh_rate_keeps_the_addresses() {
        let mut resolver = resolver_with("app.invalid", "10.0.0.1");
        resolver.want([cluster("app.invalid", 60)].iter());
        let found = resolver.addresses(&"app.invalid".into(), DnsLookupFamily::V4Only);
        assert_eq!(found, ["10.0.0.1".parse::<IpAddr>().expect("an address")]);
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
