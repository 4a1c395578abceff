//! The names inside clusters, as Kubernetes gives them (its DNS specification 1.1.0).
//!
//! Several clusters can use the same domain: which one a client means is told by the address it asks
//! from. The names are compiled when they change and swapped in one step, so that a question never waits
//! for a change.

mod table;

pub use crate::range::Range;

use crate::{
    reply::Reply,
    zone::{Query, Verdict, Zone},
};
use arc_swap::ArcSwap;
use std::net::IpAddr;
use table::Table;

/// What the clients of one cluster resolve.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// Where its clients are. Where ranges of clusters overlap, the longest prefix decides.
    pub sources: Vec<Range>,
    /// Under which all its names are, for example `cluster.local`.
    pub domain: String,
    /// Its namespaces; those of services need not be listed.
    pub namespaces: Vec<String>,
    /// Its services.
    pub services: Vec<Service>,
}

/// A service in a cluster: `<name>.<namespace>.svc.<domain>`.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What its name leads to.
    pub addresses: Addresses,
    /// Its ports, for `_<port>._<protocol>` names.
    pub ports: Vec<Port>,
}

/// What the name of a service leads to.
#[derive(Clone, Debug)]
pub enum Addresses {
    /// To addresses of its own.
    ClusterIp(Vec<IpAddr>),
    /// To its pods, each of which has a name under the service's.
    Headless(Vec<Endpoint>),
    /// To another name.
    ExternalName(String),
}

/// A pod behind a headless service.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its address.
    pub address: IpAddr,
    /// Its first label; without one, its address with dashes (`10-0-1-5`).
    pub hostname: Option<String>,
}

/// A port of a service.
#[derive(Clone, Debug)]
pub struct Port {
    /// Its name; a port without one (`""`) has no `SRV` name of its own.
    pub name: String,
    /// `tcp`, `udp` or `sctp`, in any case.
    pub protocol: String,
    /// The number. For a headless service, the port of the pods.
    pub port: u16,
}

/// The names of all clusters.
pub struct Clusters {
    views: ArcSwap<Views>,
}

#[derive(Default)]
struct Views {
    /// Each range with the index of its table, longest prefix first.
    sources: Vec<(Range, usize)>,
    tables: Vec<Table>,
}

impl Clusters {
    /// No clusters yet.
    pub fn new() -> Self {
        Self {
            views: ArcSwap::default(),
        }
    }

    /// Replaces everything, in one step. What cannot be a name is left out and logged.
    pub fn replace(&self, clusters: &[Cluster]) {
        let mut sources: Vec<(Range, usize)> = clusters
            .iter()
            .enumerate()
            .flat_map(|(index, cluster)| cluster.sources.iter().map(move |range| (*range, index)))
            .collect();
        sources.sort_by_key(|(range, _)| std::cmp::Reverse(range.prefix));
        self.views.store(
            Views {
                sources,
                tables: clusters.iter().map(Table::compile).collect(),
            }
            .into(),
        );
    }
}

impl Default for Clusters {
    fn default() -> Self {
        Self::new()
    }
}

impl Zone for Clusters {
    fn answer(&self, query: &Query, reply: &mut Reply<'_>) -> Verdict {
        let views = self.views.load();
        // A socket for both families shows IPv4 clients as mapped addresses.
        let from = query.from.to_canonical();
        let mine = views.sources.iter().find(|(range, _)| range.contains(from));
        match mine {
            Some((_, index)) => views.tables[*index].answer(query, reply),
            None if views.tables.iter().any(|table| table.holds(&query.key)) => Verdict::Refused,
            None => Verdict::NotMine,
        }
    }
}

#[cfg(test)]
mod tests;
