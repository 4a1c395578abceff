//! The names inside clusters, as Kubernetes gives them (its DNS specification 1.1.0).
//!
//! Several clusters can use the same domain: which one a client means is told by the address it asks
//! from. The names are compiled when they change and swapped in one step, so that a question never waits
//! for a change.

mod table;

pub use crate::range::IpNet;

use crate::{
    range::RangeMap,
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
    pub sources: Vec<IpNet>,
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
#[derive(Default)]
pub struct Clusters {
    views: ArcSwap<Views>,
}

#[derive(Default)]
struct Views {
    /// The index of the table of each client.
    sources: RangeMap<usize>,
    tables: Vec<Table>,
}

impl Clusters {
    /// Replaces everything, in one step. What cannot be a name is left out and logged.
    pub fn replace(&self, clusters: &[Cluster]) {
        let sources = clusters
            .iter()
            .enumerate()
            .flat_map(|(index, cluster)| cluster.sources.iter().map(move |range| (*range, index)))
            .collect();
        self.views.store(
            Views {
                sources,
                tables: clusters.iter().map(Table::compile).collect(),
            }
            .into(),
        );
    }
}

impl Zone for Clusters {
    fn answer(&self, query: &Query, reply: &mut Reply<'_>) -> Verdict {
        let views = self.views.load();
        match views.sources.get(query.from) {
            Some(index) => views.tables[*index].answer(query, reply),
            None if views.tables.iter().any(|table| table.holds(&query.key)) => Verdict::Refused,
            None => Verdict::NotMine,
        }
    }
}

#[cfg(test)]
mod tests;
